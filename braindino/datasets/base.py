"""Base class of data modules: Lightning's, or an empty class if only files are listed.

Importing Lightning takes 4 s of processor time and 800 MB; `braindino index` needs nothing of it.
"""

from typing import TYPE_CHECKING

from braindino.datasets.listing import lists_only

__all__ = ["DataModule"]

if TYPE_CHECKING or not lists_only():
    from lightning.pytorch import LightningDataModule as DataModule
else:

    class DataModule:
        """Empty base class for `braindino index`, which uses nothing of Lightning's."""
