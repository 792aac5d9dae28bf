"""Synthetic copies of datasets in their native layouts: heads with known labels, and planted quirks."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from braindino.synthetic.files import Planted

# Name on the command line -> "module:function"; each takes root, people, sessions, shape, seed.
GENERATORS = {
    "abide": "abide:write_abide",
    "adni": "adni:write_adni",
    "atlas": "atlas:write_atlas",
    "bids": "bids:write_bids",
    "brain_age": "brain_age:write_brain_age",
    "brats2021": "brats:write_brats2021",
    "brats2023": "brats:write_brats2023",
    "brats2024_goat": "brats:write_brats2024_goat",
    "cohort": "cohort:write_cohort",
    "folder": "folder:write_folder",
    "ixi": "ixi:write_ixi",
    "long579": "long579:write_long579",
    "oasis": "oasis:write_oasis",
    "pixar": "pixar:write_pixar",
    "ucsf_pdgm": "ucsf_pdgm:write_ucsf_pdgm",
    "upenn_gbm": "upenn_gbm:write_upenn_gbm",
}


def generator(name: str) -> "Callable[..., Planted]":
    """The function that writes the dataset `name`; KeyError when there is none."""
    module, _, function = GENERATORS[name].partition(":")
    found: Callable[..., Planted] = getattr(import_module(f"{__name__}.{module}"), function)
    return found
