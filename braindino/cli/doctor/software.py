"""Python and packages: installed versions against the floors of the package's own metadata."""

import platform
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata

from braindino.cli.config.files import shipped_configs
from braindino.cli.doctor.checks import Outcome
from braindino.version import PACKAGE

PYTHON = (3, 11)
# Extras for who uses the package, and what fails without them; the others are for who develops it.
# Not `dicom`: a dcm2niix on the PATH does as well, so it is looked for as a program.
EXTRAS = {
    "cluster": "`--submit` (SLURM job arrays) is refused",
    "onnx": "`export --onnx` is refused",
    "umap": "`space --method umap` is refused",
    "tensorboard": "metrics go to metrics.csv only",
}


def python() -> Iterator[Outcome]:
    """The interpreter."""
    found = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info < PYTHON:
        yield Outcome("Python", "FAIL", found, "make an environment with Python 3.11 or newer")
    else:
        yield Outcome("Python", "PASS", found)


def package() -> Iterator[Outcome]:
    """The package's own files besides its code."""
    try:
        found = len(shipped_configs())
    except StopIteration:
        found = 0
    if found:
        yield Outcome("shipped configs", "PASS", f"{found} found")
    else:
        remedy = "reinstall: pip install --force-reinstall braindino"
        yield Outcome("shipped configs", "FAIL", "none found", remedy)


def packages(requirements: Iterable[str] | None = None) -> Iterator[Outcome]:
    """Every required package, then those of `EXTRAS`; only their metadata is read, nothing is imported.

    Args:
        requirements: as a package's metadata lists them; by default those of braindino.
    """
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in (_requirements() if requirements is None else requirements)]
    for requirement in wanted:
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _judge(requirement.name, str(requirement.specifier), "")
    for extra in EXTRAS:
        for requirement in wanted:
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                continue
            if requirement.marker.evaluate({"extra": extra}):
                yield _judge(requirement.name, str(requirement.specifier), extra)


def _requirements() -> list[str]:
    """Those of a checkout as its pyproject.toml has them now, else those of the installed package."""
    file = PACKAGE.parent / "pyproject.toml"
    if not file.is_file():
        return metadata.requires("braindino") or []
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].items()
    return [
        *project["dependencies"],
        *(f'{line}; extra == "{extra}"' for extra, lines in extras for line in lines),
    ]


def _judge(name: str, specifier: str, extra: str) -> Outcome:
    """One package; `extra` is the optional group that it belongs to, if it is not required."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion, Version

    remedy = f"pip install '{f'braindino[{extra}]' if extra else name + specifier}'"
    try:
        versions = metadata.metadata(name).get_all("Version") or [""]
    except metadata.PackageNotFoundError:
        if extra:
            return Outcome(name, "WARN", f"not installed: {EXTRAS[extra]}", remedy)
        return Outcome(name, "FAIL", "not installed", remedy)
    repair = f"pip install --force-reinstall '{name}{specifier}'"
    try:
        fits = SpecifierSet(specifier).contains(Version(versions[0]), prereleases=True)
    except InvalidVersion:
        return Outcome(name, "FAIL", f"damaged: its metadata give the version {versions[0]!r}", repair)
    if not fits:
        return Outcome(name, "WARN" if extra else "FAIL", f"{versions[0]}, expected {specifier}", remedy)
    return Outcome(name, "PASS", versions[0])
