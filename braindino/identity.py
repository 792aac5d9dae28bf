"""Give classes and functions literal ids, so that digests survive renames and moves."""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])


def stable_id(name: str) -> Callable[[T], T]:
    """Decorate a class or function with the id that stands for it in digests and files.

    Args:
        name: the id. It must never change: cached features, cached masks and finished probes contain it.
    """

    def decorate(thing: T) -> T:
        assert "stable_id" not in vars(thing), f"{thing!r} has two ids"
        thing.stable_id = name  # type: ignore[attr-defined]
        return thing

    return decorate


def id_of(thing: Callable[..., Any]) -> str:
    """Return the literal id of a class or function, else its name.

    A subclass does not inherit the id of its parent, because it computes something different.
    """
    return str(vars(thing).get("stable_id", thing.__name__))
