"""Define checks and their outcomes; errors of a check become outcomes too."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Status = Literal["PASS", "WARN", "FAIL"]


@dataclass(frozen=True)
class Outcome:
    """Outcome of one check.

    Attributes:
        name: name of the package, folder or limit.
        status: PASS, WARN (works, but not everything or not well) or FAIL (something will not work).
        detail: the state, in a few words.
        remedy: instruction in one line; empty if nothing is to be done.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


Check = Callable[[], Iterable[Outcome]]


def outcomes(name: str, check: Check) -> Iterator[Outcome]:
    """Yield the outcomes of a check, or a FAIL if the check raises.

    Args:
        name: name of the outcome if the check raises.
        check: yields outcomes.
    """
    try:
        yield from check()
    except Exception as error:  # a broken installation may raise any error
        message = str(error).strip().splitlines() or [""]
        yield Outcome(
            name,
            "FAIL",
            f"could not be checked ({type(error).__name__}: {message[0][:200]})",
            "reinstall: pip install --force-reinstall braindino",
        )


def gigabytes(size: float) -> str:
    """Return a number of bytes as text: `3.2 GB`, `120 GB`, `64 MB`."""
    value, unit = (size / 1e9, "GB") if size >= 1e9 else (size / 1e6, "MB")
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
