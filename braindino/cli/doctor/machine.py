"""Check the machine: processors, memory, limits of loader workers, and external programs."""

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from braindino.cli.doctor.checks import Outcome, gigabytes
from braindino.errors import BraindinoError
from braindino.version import PACKAGE

GB = 10**9
MIN_MEMORY = 8 * GB  # torch, a ViT-B and a few scans in float64 take 5
MIN_SHARED = 2 * GB  # eight workers with two batches of 100 slices each; containers give 64 MB
MIN_FILES = 1024  # 64 open maps, and some per worker
MEMINFO = Path("/proc/meminfo")
# Memory limit of a container, in control groups version 2 and 1.
MEMORY_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
SHARED = Path("/dev/shm")


def processors(environment: Mapping[str, str] = os.environ) -> Iterator[Outcome]:
    """Check the processors of this process, and the number of threads that the environment sets."""
    installed, ours = os.cpu_count() or 1, len(os.sched_getaffinity(0))
    threads = environment.get("OMP_NUM_THREADS", "").strip()
    detail = f"{ours} of {installed} may be used" if ours < installed else f"{ours}"
    detail += f", OMP_NUM_THREADS={threads}" if threads else ""
    # OpenMP accepts a list, one number per nested level.
    numbers = [part.strip() for part in threads.split(",")]
    if threads and not all(part.isdecimal() and int(part) > 0 for part in numbers):
        remedy = f"not a number, nor a list of numbers, above 0; OpenMP ignores it: OMP_NUM_THREADS={ours}"
        yield Outcome("processors", "WARN", detail, remedy)
    elif threads and int(numbers[0]) > ours:
        yield Outcome("processors", "WARN", detail, f"more threads than processors: OMP_NUM_THREADS={ours}")
    elif ours == 1:
        remedy = "request more (SLURM: --cpus-per-task): one prepares scans and feeds a GPU slowly"
        yield Outcome("processors", "WARN", detail, remedy)
    else:
        yield Outcome("processors", "PASS", detail)


def memory(meminfo: Path = MEMINFO, limits: tuple[Path, ...] = MEMORY_LIMITS) -> Iterator[Outcome]:
    """Check main memory, or the share that a container or job may use."""
    facts = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    total, free = (int(facts[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    texts = [path.read_text().strip() for path in limits if path.is_file()]
    limit = min((int(text) for text in texts if text.isdigit()), default=total)
    detail = f"{gigabytes(free)} of {gigabytes(total)} free"
    if limit < total:
        detail += f", {gigabytes(limit)} for this container or job"
    if min(limit, total) < MIN_MEMORY:
        remedy = "keep `--jobs` of prepare at 1 or 2, and data.num_workers low"
        yield Outcome("memory", "WARN", detail, remedy)
    else:
        yield Outcome("memory", "PASS", detail)


def shared_memory(folder: Path = SHARED) -> Iterator[Outcome]:
    """Check the shared memory through which loader workers pass their batches."""
    if not folder.is_dir():
        yield Outcome("shared memory", "WARN", f"no {folder}", "set data.num_workers to 0")
        return
    size = shutil.disk_usage(folder)
    detail = f"{gigabytes(size.free)} of {gigabytes(size.total)} free"
    if size.free < MIN_SHARED:
        remedy = "give the container more (docker run --shm-size=8g), or set data.num_workers to 0"
        yield Outcome("shared memory", "WARN", detail, remedy)
    else:
        yield Outcome("shared memory", "PASS", detail)


def open_files() -> Iterator[Outcome]:
    """Check the number of files that a process may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = soft == resource.RLIM_INFINITY
    detail = "no limit" if unlimited else str(soft)
    if not unlimited and soft < MIN_FILES:
        limit = "" if hard == resource.RLIM_INFINITY else f" (at most {hard})"
        yield Outcome("open files", "WARN", detail, f"ulimit -n 4096{limit}; loaders with workers need them")
    else:
        yield Outcome("open files", "PASS", detail)


def dicom() -> Iterator[Outcome]:
    """Check the converter of DICOM series."""
    from braindino.scans.dicom.series import find_converter

    try:
        converter = find_converter()
    except BraindinoError:
        remedy = "pip install 'braindino[dicom]'; not needed for NIfTI, MGH or Analyze"
        yield Outcome("dcm2niix", "WARN", "none: DICOM series cannot be read", remedy)
        return
    try:
        done = subprocess.run([converter, "--version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        remedy = "pip install --force-reinstall 'braindino[dicom]'"
        yield Outcome("dcm2niix", "FAIL", f"{converter} does not run ({error})", remedy)
        return
    version = next((word for word in done.stdout.split() if word.startswith("v1.")), "unknown version")
    yield Outcome("dcm2niix", "PASS", f"{version}, {converter}")


def git() -> Iterator[Outcome]:
    """Check git, which gives the commit of a checkout in `environment.json`."""
    if not (PACKAGE.parent / ".git").exists():
        yield Outcome("git", "PASS", "not needed: braindino is installed, not run from a checkout")
    elif (program := shutil.which("git")) is None:
        remedy = "install git, or put it on the PATH; runs work without it"
        yield Outcome(
            "git", "WARN", "none on the PATH: runs do not record the commit of this checkout", remedy
        )
    else:
        yield Outcome("git", "PASS", program)


def slurm(environment: Mapping[str, str] = os.environ) -> Iterator[Outcome]:
    """Check the scheduler: whether this is a job, and whether jobs can be submitted."""
    if job := environment.get("SLURM_JOB_ID"):
        facts = [f"in job {job}"]
        for name, what in (
            ("SLURM_NTASKS", "tasks"),
            ("SLURM_CPUS_PER_TASK", "processors per task"),
            ("SLURM_GPUS_ON_NODE", "GPUs on this node"),
        ):
            facts += [f"{what}: {environment[name]}"] if name in environment else []
        yield Outcome("SLURM", "PASS", ", ".join(facts))
    elif shutil.which("sbatch") is None:
        yield Outcome("SLURM", "PASS", "not on this machine, and needed only to submit jobs")
    elif find_spec("submitit") is None:
        remedy = "pip install 'braindino[cluster]'; batch scripts work without it"
        yield Outcome("SLURM", "WARN", "sbatch exists, submitit does not: no `--submit`", remedy)
    else:
        yield Outcome("SLURM", "PASS", "sbatch and submitit exist")
