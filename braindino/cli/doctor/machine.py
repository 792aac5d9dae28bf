"""The machine: processors, memory, what loaders' workers need, and the programs that verbs call."""

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
LITTLE_MEMORY = 8 * GB  # torch, a ViT-B and a few scans in float64 come to 5
LITTLE_SHARED = 2 * GB  # eight workers with two batches of 100 slices each; containers give 64 MB
FEW_FILES = 1024  # 64 open maps, and some per worker
MEMINFO = Path("/proc/meminfo")
# Where a container's limit stands, of control groups version 2 and 1.
MEMORY_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
SHARED = Path("/dev/shm")


def processors(environment: Mapping[str, str] = os.environ) -> Iterator[Outcome]:
    """Those that this process may use, and the number of threads that the environment asks for."""
    installed, ours = os.cpu_count() or 1, len(os.sched_getaffinity(0))
    threads = environment.get("OMP_NUM_THREADS", "").strip()
    found = f"{ours} of {installed} may be used" if ours < installed else f"{ours}"
    found += f", OMP_NUM_THREADS={threads}" if threads else ""
    numbers = [part.strip() for part in threads.split(",")]  # OpenMP takes a list: one per nested level
    if threads and not all(part.isdecimal() and int(part) > 0 for part in numbers):
        remedy = f"not a number, nor a list of numbers, above 0; OpenMP ignores it: OMP_NUM_THREADS={ours}"
        yield Outcome("processors", "WARN", found, remedy)
    elif threads and int(numbers[0]) > ours:
        yield Outcome("processors", "WARN", found, f"more threads than processors: OMP_NUM_THREADS={ours}")
    elif ours == 1:
        remedy = "ask for more (SLURM: --cpus-per-task): one prepares scans and feeds a GPU slowly"
        yield Outcome("processors", "WARN", found, remedy)
    else:
        yield Outcome("processors", "PASS", found)


def memory(meminfo: Path = MEMINFO, limits: tuple[Path, ...] = MEMORY_LIMITS) -> Iterator[Outcome]:
    """Main memory, or what a container or job may take of it."""
    facts = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    total, free = (int(facts[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    texts = [path.read_text().strip() for path in limits if path.is_file()]
    limit = min((int(text) for text in texts if text.isdigit()), default=total)
    found = f"{gigabytes(free)} of {gigabytes(total)} free"
    if limit < total:
        found += f", {gigabytes(limit)} for this container or job"
    if min(limit, total) < LITTLE_MEMORY:
        remedy = "keep `--jobs` of prepare at 1 or 2, and data.num_workers low"
        yield Outcome("memory", "WARN", found, remedy)
    else:
        yield Outcome("memory", "PASS", found)


def shared_memory(folder: Path = SHARED) -> Iterator[Outcome]:
    """What workers of a data loader hand their batches over in."""
    if not folder.is_dir():
        yield Outcome("shared memory", "WARN", f"no {folder}", "set data.num_workers to 0")
        return
    size = shutil.disk_usage(folder)
    found = f"{gigabytes(size.free)} of {gigabytes(size.total)} free"
    if size.free < LITTLE_SHARED:
        remedy = "give the container more (docker run --shm-size=8g), or set data.num_workers to 0"
        yield Outcome("shared memory", "WARN", found, remedy)
    else:
        yield Outcome("shared memory", "PASS", found)


def open_files() -> Iterator[Outcome]:
    """How many files a process may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = soft == resource.RLIM_INFINITY
    found = "no limit" if unlimited else str(soft)
    if not unlimited and soft < FEW_FILES:
        most = "" if hard == resource.RLIM_INFINITY else f" (at most {hard})"
        yield Outcome("open files", "WARN", found, f"ulimit -n 4096{most}; loaders with workers need them")
    else:
        yield Outcome("open files", "PASS", found)


def dicom() -> Iterator[Outcome]:
    """The converter of DICOM series."""
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
    """What names the commit of a checkout in `environment.json`."""
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
    """The scheduler: can jobs be submitted from here, are we in one."""
    if job := environment.get("SLURM_JOB_ID"):
        told = [f"in job {job}"]
        for name, what in (
            ("SLURM_NTASKS", "tasks"),
            ("SLURM_CPUS_PER_TASK", "processors per task"),
            ("SLURM_GPUS_ON_NODE", "GPUs on this node"),
        ):
            told += [f"{what}: {environment[name]}"] if name in environment else []
        yield Outcome("SLURM", "PASS", ", ".join(told))
    elif shutil.which("sbatch") is None:
        yield Outcome("SLURM", "PASS", "not on this machine, and needed only to submit jobs")
    elif find_spec("submitit") is None:
        remedy = "pip install 'braindino[cluster]'; batch scripts work without it"
        yield Outcome("SLURM", "WARN", "sbatch is there, submitit is not: no `--submit`", remedy)
    else:
        yield Outcome("SLURM", "PASS", "sbatch is there, and submitit")
