"""Check PyTorch in a separate process: its start, its torchvision, and its GPUs."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from braindino.cli.doctor.checks import Outcome, gigabytes

TIMEOUT_S = 180  # a first import from a cold network disk takes a minute
# Run in another process, because a mismatched build may end it without an exception.
_PROGRAM = """
import json
facts = {}
try:
    import torch
    facts["torch"] = str(torch.__version__)
    facts["cuda"] = torch.version.cuda or torch.version.hip
    facts["gpus"] = []
    for i in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(i)
        with torch.cuda.device(i):
            free, total = torch.cuda.mem_get_info()
            bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        facts["gpus"].append({"name": about.name, "free": free, "total": total, "bf16": bf16})
except BaseException as error:
    facts["torch_error"] = f"{type(error).__name__}: {error}"
else:
    try:
        import torchvision
    except BaseException as error:
        facts["torchvision_error"] = f"{type(error).__name__}: {error}"
print("FACTS" + json.dumps(facts))
"""
PAIR = "install both again from one index: pip install --force-reinstall torch torchvision"


def torch_facts() -> dict[str, Any]:
    """Return version, CUDA and GPUs (memory in bytes) of PyTorch, or the error of its import."""
    command = [sys.executable, "-W", "ignore", "-c", _PROGRAM]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return {"torch_error": f"its import did not end within {TIMEOUT_S} s"}
    except OSError as error:
        return {"torch_error": f"Python could not be started ({error.strerror})"}
    for line in done.stdout.splitlines():
        if line.startswith("FACTS"):
            facts: dict[str, Any] = json.loads(line.removeprefix("FACTS"))
            return facts
    last = (done.stderr.strip().splitlines() or ["no output"])[-1]
    return {"torch_error": f"its import ended Python (exit code {done.returncode}): {last}"}


def pairing(facts: dict[str, Any]) -> Iterator[Outcome]:
    """Check that torch starts and that torchvision is of the same release and build."""
    if "torch_error" in facts:
        yield Outcome("torch starts", "FAIL", _line(facts["torch_error"]), PAIR)
        return
    built = f"CUDA {facts['cuda']}" if facts["cuda"] else "CPU only"
    yield Outcome("torch starts", "PASS", f"{facts['torch']} ({built})")
    if "torchvision_error" in facts:
        yield Outcome("torchvision fits torch", "FAIL", _line(facts["torchvision_error"]), PAIR)
        return
    version, required = metadata.version("torchvision"), _torch_of_torchvision()
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    if not SpecifierSet(required).contains(Version(facts["torch"]).public, prereleases=True):
        mismatch = f"torchvision {version} is made for torch{required}, not {facts['torch']}"
        yield Outcome("torchvision fits torch", "FAIL", mismatch, PAIR)
    else:
        yield Outcome("torchvision fits torch", "PASS", f"torchvision {version}")


def gpu(facts: dict[str, Any]) -> Iterator[Outcome]:
    """Check GPUs, their memory and bfloat16."""
    if "torch_error" in facts:
        yield Outcome("GPU", "FAIL", "torch does not start, so none can be seen", PAIR)
        return
    if not facts["gpus"]:
        driver = shutil.which("nvidia-smi") is not None
        if driver and not facts["cuda"]:
            remedy = "torch is a CPU build: pip install --force-reinstall torch torchvision"
        elif driver and os.environ.get("CUDA_VISIBLE_DEVICES") is not None:
            remedy = f"CUDA_VISIBLE_DEVICES is {os.environ['CUDA_VISIBLE_DEVICES']!r}: unset it"
        elif driver:
            remedy = "compare `nvidia-smi` with torch's CUDA version; in a container give --gpus all"
        else:
            remedy = "none needed for the demo, a tiny model and probes; pretraining at size needs one"
        yield Outcome("GPU", "WARN", "none", remedy)
    for number, about in enumerate(facts["gpus"]):
        name = f"GPU {number}"
        detail = f"{about['name']}, {gigabytes(about['free'])} of {gigabytes(about['total'])} free"
        if not about["bf16"]:
            remedy = "set trainer.precision to 16-mixed or 32-true; the shipped configs use bf16-mixed"
            yield Outcome(name, "WARN", f"{detail}, no bfloat16", remedy)
        elif about["free"] < about["total"] / 2:
            yield Outcome(name, "WARN", detail, "another process uses it: see `nvidia-smi`")
        else:
            yield Outcome(name, "PASS", f"{detail}, bfloat16")


def _torch_of_torchvision() -> str:
    """Return the torch release of the installed torchvision, as `==2.8.0`, or "" if unknown."""
    from packaging.requirements import Requirement

    for line in metadata.requires("torchvision") or ():
        requirement = Requirement(line)
        if requirement.name == "torch":
            return str(requirement.specifier)
    return ""


def _line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:200]
