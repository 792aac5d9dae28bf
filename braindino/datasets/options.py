"""Options of a dataset: the arguments of its class besides `root` and `store`."""

from collections.abc import Iterable
from difflib import get_close_matches
from inspect import signature

from braindino.datasets.datamodule import ScanDataModule
from braindino.errors import BraindinoError


def option_names(dataset: type[ScanDataModule]) -> list[str]:
    """Return the names of a dataset's own options, those of its base datasets included.

    Options that every dataset has (see `ScanDataModule`) are not among them: they do not affect an index.
    """
    bases = dataset.__mro__[: dataset.__mro__.index(ScanDataModule)]
    names = [name for base in bases if "__init__" in vars(base) for name in signature(base).parameters]
    return [name for name in names if name not in ("root", "store", "options")]


def check_option_names(dataset: type[ScanDataModule], options: Iterable[str]) -> None:
    """Raise BraindinoError, with the nearest name, for an option that a dataset does not have."""
    names = option_names(dataset)
    for option in options:
        if option not in names:
            near = get_close_matches(option, names, 1, 0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            listed = ", ".join(names) or "none"
            raise BraindinoError(f"{dataset.name} has no option {option!r}.{hint} There are: {listed}.")
