"""The public names of the package."""

import subprocess
import sys

import pytest

import braindino


@pytest.mark.parametrize("name", braindino.__all__)
def test_public_name_is_importable(name: str) -> None:
    assert getattr(braindino, name) is not None
    assert name in dir(braindino)


def test_all_lists_the_public_names() -> None:
    assert sorted(braindino.__all__) == sorted(["__version__", *braindino._NAMES])
    assert list(braindino._NAMES) == sorted(braindino._NAMES, key=str.lower)


def test_rooms_are_attributes() -> None:
    for room in braindino._ROOMS:
        assert getattr(braindino, room).__name__ == f"braindino.{room}"


def test_unknown_name_raises() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'encode'"):
        _ = braindino.encode  # type: ignore[attr-defined]


def test_import_loads_nothing_heavy() -> None:
    heavy = ("torch", "pandas", "numpy", "lightning")
    code = f"import sys, braindino; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
