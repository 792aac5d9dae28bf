"""Write synthetic copies of datasets in their native layouts, with known labels."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from braindino.synthetic.dataset import SyntheticDataset as SyntheticDataset
    from braindino.synthetic.dataset import Writer
    from braindino.synthetic.dataset import writer as writer
    from braindino.synthetic.files import write_csv as write_csv
    from braindino.synthetic.rendering import render as render

__all__ = ["SyntheticDataset", "render", "write_csv", "writer"]
# Public name -> module, imported on first use.
_NAMES = {"SyntheticDataset": "dataset", "render": "rendering", "write_csv": "files", "writer": "dataset"}

# Name on the command line -> "module:function" of a `Writer`.
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


def generator(name: str) -> "Writer":
    """Return the function that writes a dataset.

    Args:
        name: a key of GENERATORS.

    Raises:
        KeyError: there is no dataset of that name.
    """
    module, _, function = GENERATORS[name].partition(":")
    write: Writer = getattr(import_module(f"{__name__}.{module}"), function)
    return write


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _NAMES:
        return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
