"""A check and its outcome; whatever a check trips over becomes an outcome too, never a crash."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Status = Literal["PASS", "WARN", "FAIL"]


@dataclass(frozen=True)
class Outcome:
    """What was found about one thing.

    Attributes:
        name: the thing: a package, a folder, a limit.
        status: PASS, WARN (works, but not everything or not well) or FAIL (something will not work).
        found: what there is, in a few words.
        remedy: what to do about it, one line; empty when nothing need be done.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""


Check = Callable[[], Iterable[Outcome]]


def outcomes(name: str, check: Check) -> Iterator[Outcome]:
    """The outcomes of a check; if it breaks, a FAIL under `name` that says how."""
    try:
        yield from check()
    except Exception as error:  # a broken installation raises anything, and it is what is looked for
        told = str(error).strip().splitlines() or [""]
        yield Outcome(
            name,
            "FAIL",
            f"could not be checked ({type(error).__name__}: {told[0][:200]})",
            "reinstall: pip install --force-reinstall braindino",
        )


def gigabytes(size: float) -> str:
    """Bytes for a person: `3.2 GB`, `120 GB`, `64 MB`."""
    value, unit = (size / 1e9, "GB") if size >= 1e9 else (size / 1e6, "MB")
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
