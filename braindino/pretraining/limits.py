"""Range checks of settings: an impossible value is refused by its key when a config is read."""

import math
from typing import Any

from braindino.errors import BraindinoError


def positive(config: Any, section: str, *names: str) -> None:
    """Refuse numbers that are not above 0, or not finite.

    Args:
        config: object whose attributes are checked.
        section: key of the object within `model`; empty for `model` itself.
        names: names of the attributes.
    """
    for name in names:
        value = getattr(config, name)
        _require(math.isfinite(value) and value > 0, section, name, value, "a number above 0")


def not_negative(config: Any, section: str, *names: str) -> None:
    """Refuse numbers below 0, or not finite; None means unset and passes.

    Args:
        config: object whose attributes are checked.
        section: key of the object within `model`; empty for `model` itself.
        names: names of the attributes.
    """
    for name in names:
        value = getattr(config, name)
        good = value is None or (math.isfinite(value) and value >= 0)
        _require(good, section, name, value, "0 or a number above it")


def fraction(config: Any, section: str, *names: str) -> None:
    """Refuse numbers outside 0 to 1; None means unset and passes.

    Args:
        config: object whose attributes are checked.
        section: key of the object within `model`; empty for `model` itself.
        names: names of the attributes.
    """
    for name in names:
        value = getattr(config, name)
        _require(value is None or 0 <= value <= 1, section, name, value, "a number from 0 to 1")


def rising(config: Any, section: str, *names: str, low: float = 0.0, high: float = math.inf) -> None:
    """Refuse pairs that do not rise, or leave the range from `low` (excluded) to `high`.

    Args:
        config: object whose attributes are checked.
        section: key of the object within `model`; empty for `model` itself.
        names: names of the attributes.
        low: bound that the first number must exceed.
        high: largest second number.
    """
    for name in names:
        value = getattr(config, name)
        limit = "" if math.isinf(high) else f", at most {high:g}"
        expected = f"two rising numbers above {low:g}{limit}"
        good = len(value) == 2 and low < value[0] <= value[1] <= high
        _require(good, section, name, value, expected)


def _require(good: bool, section: str, name: str, value: Any, expected: str) -> None:
    if not good:
        key = f"model.{section}.{name}" if section else f"model.{name}"
        raise BraindinoError(f"{key}: {value} is not possible; expected {expected}.")
