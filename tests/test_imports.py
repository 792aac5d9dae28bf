"""Tests share code through `tests/helpers` only."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.mark.parametrize("file", sorted(TESTS.rglob("*.py")), ids=lambda file: str(file.relative_to(TESTS)))
def test_tests_import_helpers_only(file: Path) -> None:
    modules = [
        node.module or ""
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
    ]
    assert [
        name for name in modules if name.startswith("tests.") and not name.startswith("tests.helpers")
    ] == []
