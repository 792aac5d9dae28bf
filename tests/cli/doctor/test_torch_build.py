"""Check PyTorch in another process: broken imports, mismatched builds, GPUs."""

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from braindino.cli.doctor import torch_build

FINE: dict[str, Any] = {"torch": "2.9.1+cu128", "cuda": "12.8", "gpus": []}


def a_gpu(**changes: Any) -> dict[str, Any]:
    about = {"name": "A GPU", "free": 79e9, "total": 80e9, "bf16": True, **changes}
    return {**FINE, "gpus": [about]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("raise ImportError('libcudart.so.13: cannot open')", "ImportError: libcudart.so.13"),
        ("import os; os.abort()", "ended Python"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("x = 1", "AttributeError"),
        ("import time; time.sleep(60)", "did not end within 1 s"),
    ],
)
def test_torch_facts_reports_broken_torch(
    body: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(torch_build, "TIMEOUT_S", 1 if "sleep" in body else 60)
    facts = torch_build.torch_facts()
    (outcome,) = torch_build.pairing(facts)
    assert outcome.status == "FAIL"
    assert expected in outcome.detail
    assert "torchvision" in outcome.remedy
    assert [gpu.status for gpu in torch_build.gpu(facts)] == ["FAIL"]


def pair(required: str, facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.setattr(
        metadata, "requires", lambda name: ["numpy", f"torch ({required})" if required else "pillow"]
    )
    *_, outcome = torch_build.pairing(facts)
    return outcome.name, outcome.status


@pytest.mark.parametrize(
    ("required", "status"), [("==2.9.1", "PASS"), (">=2.9", "PASS"), ("==2.8.0", "FAIL"), ("", "PASS")]
)
def test_pairing_fails_for_torchvision_of_other_release(
    required: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pair(required, FINE, monkeypatch) == ("torchvision fits torch", status)


def test_pairing_fails_for_torchvision_of_other_build(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {**FINE, "torchvision_error": "RuntimeError: operator torchvision::nms does not exist\nmore"}
    assert pair("==2.9.1", facts, monkeypatch) == ("torchvision fits torch", "FAIL")


@pytest.mark.parametrize(
    ("facts", "status", "expected"),
    [
        (a_gpu(), "PASS", "79 GB of 80 GB free, bfloat16"),
        (a_gpu(bf16=False), "WARN", "trainer.precision"),
        (a_gpu(free=3e9), "WARN", "another process"),
        (FINE, "WARN", "none needed for the demo"),
    ],
)
def test_gpu_reports_memory_and_bfloat16(
    facts: dict[str, Any], status: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    (outcome,) = torch_build.gpu(facts)
    assert outcome.status == status
    assert expected in outcome.detail + outcome.remedy


@pytest.mark.parametrize(
    ("cuda", "visible", "expected"),
    [(None, None, "CPU build"), ("12.8", "", "unset it"), ("12.8", None, "--gpus all")],
)
def test_gpu_explains_driver_without_gpu(
    cuda: str | None, visible: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.touch()
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    (outcome,) = torch_build.gpu({**FINE, "cuda": cuda})
    assert expected in outcome.remedy
