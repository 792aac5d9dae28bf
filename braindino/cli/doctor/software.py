"""Check Python and packages: installed versions against the requirements of this package."""

import platform
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata

from braindino.cli.config.files import shipped_configs
from braindino.cli.doctor.checks import Outcome
from braindino.version import PACKAGE

PYTHON = (3, 11)
# Extras for users, and what fails without them. Not `dicom`, because a dcm2niix on the PATH is enough; it is
# checked as a program.
EXTRAS = {
    "cluster": "`--submit` (SLURM job arrays) is refused",
    "onnx": "`export --onnx` is refused",
    "umap": "`space --method umap` is refused",
    "tensorboard": "metrics go to metrics.csv only",
}


def python() -> Iterator[Outcome]:
    """Check the interpreter."""
    detail = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info < PYTHON:
        yield Outcome("Python", "FAIL", detail, "make an environment with Python 3.11 or newer")
    else:
        yield Outcome("Python", "PASS", detail)


def package() -> Iterator[Outcome]:
    """Check the shipped configs."""
    try:
        count = len(shipped_configs())
    except StopIteration:
        count = 0
    if count:
        yield Outcome("shipped configs", "PASS", f"{count} found")
    else:
        remedy = "reinstall: pip install --force-reinstall braindino"
        yield Outcome("shipped configs", "FAIL", "none found", remedy)


def packages(requirements: Iterable[str] | None = None) -> Iterator[Outcome]:
    """Check required packages, then those of `EXTRAS`, by their metadata without importing them.

    Args:
        requirements: requirements in the form of package metadata; by default those of braindino.
    """
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in (_requirements() if requirements is None else requirements)]
    for requirement in wanted:
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _package_outcome(requirement.name, str(requirement.specifier), "")
    for extra in EXTRAS:
        for requirement in wanted:
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                continue
            if requirement.marker.evaluate({"extra": extra}):
                yield _package_outcome(requirement.name, str(requirement.specifier), extra)


def _requirements() -> list[str]:
    """Return the requirements of a checkout's pyproject.toml, else of the installed package."""
    file = PACKAGE.parent / "pyproject.toml"
    if not file.is_file():
        return metadata.requires("braindino") or []
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].items()
    return [
        *project["dependencies"],
        *(f'{line}; extra == "{extra}"' for extra, lines in extras for line in lines),
    ]


def _package_outcome(name: str, specifier: str, extra: str) -> Outcome:
    """Return the outcome of one package.

    Args:
        name: name of the package.
        specifier: allowed versions.
        extra: its optional group, or "" if it is required.
    """
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
