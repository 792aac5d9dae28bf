"""The class that data modules derive from: Lightning's, except in a process that only lists files.

Importing Lightning takes 4 s of processor time and 800 MB, of which `braindino index` uses nothing.
"""

from typing import TYPE_CHECKING

from braindino.datasets.listing import lists_only

__all__ = ["DataModule"]

if TYPE_CHECKING or not lists_only():
    from lightning.pytorch import LightningDataModule as DataModule
else:

    class DataModule:
        """What `index` needs of a data module."""
