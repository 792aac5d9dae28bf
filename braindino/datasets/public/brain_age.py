"""Brain age over the life span: IXI, LONG579 and Pixar combined into one dataset."""

from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.manifest import Manifest
from braindino.datasets.public.ixi import IXI
from braindino.datasets.public.long579 import LONG579
from braindino.datasets.public.pixar import Pixar
from braindino.datasets.splits import bins
from braindino.errors import DatasetError, LayoutError

DATASET_CLASSES: dict[str, type[ScanDataModule]] = {"ixi": IXI, "long579": LONG579, "pixar": Pixar}
_PATTERNS = {
    "ixi": "IXI[0-9][0-9][0-9]-*-T1.nii*",
    "long579": "sub-5[0-9][0-9][0-9]",
    "pixar": "sub-pixar[0-9]*",
}


class BrainAge(ScanDataModule):
    """Age in years from T1w: adults of IXI, children of LONG579, both in Pixar.

    Each row has the name of its dataset. As age differs strongly between the datasets, splits and label
    fractions are balanced over the dataset and the quintile of age within it, and results can be reported
    per dataset.

    Args:
        root: folder with a folder for each of the three, which are recognised by the names in them
            (`IXI002-Guys-0828-T1.nii.gz`, `sub-5007`, `sub-pixar001`), or a manifest.
        store: folder of prepared scans.
        datasets: names of the datasets to take; all three by default.
        ixi: folder of IXI, if it is not under `root`.
        long579: folder of LONG579, if it is not under `root`.
        pixar: folder of Pixar, if it is not under `root`.
        **options: see `ScanDataModule`.
    """

    name = "brain_age"
    target: ClassVar[tuple[str, ...]] = ("age",)
    stratify: ClassVar[tuple[str, ...]] = ("dataset",)

    def __init__(
        self,
        root: Path | str,
        store: Path | str = "store",
        *,
        datasets: list[str] | None = None,
        ixi: Path | str | None = None,
        long579: Path | str | None = None,
        pixar: Path | str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(root, store, **options)
        self.datasets = list(DATASET_CLASSES) if datasets is None else datasets
        unknown = [name for name in self.datasets if name not in DATASET_CLASSES]
        if unknown or not self.datasets:
            raise DatasetError(
                f"data.datasets: {self.datasets}; expected some of {', '.join(DATASET_CLASSES)}."
            )
        self.roots = {"ixi": ixi, "long579": long579, "pixar": pixar}

    def index(self, root: Path) -> Manifest:
        """Return the manifests of the parts, concatenated."""
        tables, dropped = [], []
        for name in self.datasets:
            given = self.roots[name]
            manifest = DATASET_CLASSES[name](root).index(
                self._find(root, name) if given is None else Path(given)
            )
            tables.append(manifest.table)
            dropped.append(manifest.dropped)
        return Manifest(pd.concat(tables, ignore_index=True), pd.concat(dropped, ignore_index=True))

    def strata(self, cases: pd.DataFrame) -> pd.Series:
        """Return the quintile of age within each dataset: `ixi/0` ... `pixar/4`."""
        quintile = cases.groupby("dataset")["target"].transform(bins)
        return cases["dataset"] + "/" + quintile.fillna(0).astype(int).astype(str)

    @staticmethod
    def _find(root: Path, name: str) -> Path:
        """Return the folder of one dataset: at most two levels below `root`, or `root` itself."""
        if not root.is_dir():
            raise LayoutError(f"{root}: {'is not a folder' if root.exists() else 'no such folder'}.")
        for depth in ("", "*/", "*/*/"):
            entries = sorted(root.glob(depth + _PATTERNS[name]))
            # The table of IXI may be beside the folder of its scans.
            if entries and name == "ixi" and depth:
                return root / entries[0].relative_to(root).parts[0]
            if entries:
                return entries[0].parent
        raise LayoutError(
            f"{root}: no folder of {name} (with {_PATTERNS[name]}) here or two levels below.\n"
            f"Give data.{name}, or list in data.datasets those that you have."
        )
