"""Synthetic copies of datasets in their native layouts: heads with known labels, and planted quirks."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from braindino.datasets.synthetic.files import Planted

# Name on the command line -> "module:function"; each takes root, people, sessions, shape, seed.
GENERATORS = {
    "abide": "abide:write_abide",
    "adni": "adni:write_adni",
    "cohort": "cohort:write_cohort",
    "ixi": "ixi:write_ixi",
    "oasis": "oasis:write_oasis",
}


def generator(name: str) -> "Callable[..., Planted]":
    """The function that writes the dataset `name`; KeyError when there is none."""
    module, _, function = GENERATORS[name].partition(":")
    found: Callable[..., Planted] = getattr(import_module(f"{__name__}.{module}"), function)
    return found
