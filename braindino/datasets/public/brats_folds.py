"""BraTS cases of a fold file, as fine-tuning of SwinUNETR and BrainSegFounder reads it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from braindino.datasets.brats_names import person_of_brats
from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.manifest import MASK, Manifest, ManifestBuilder
from braindino.datasets.masks import TUMOUR_REGIONS, enhancing_four
from braindino.documents import load_json
from braindino.errors import DatasetError

IMAGE_ORDER = ("FLAIR", "T1c", "T1w", "T2w")


class BraTSFolds(ScanDataModule):
    """Cases of `{"training": [{"fold": 0, "image": [flair, t1ce, t1, t2], "label": ...}, ...]}`.

    The file's folds are used as they are: `fold` is the test part, and the weights are chosen on the next
    fold. (The authors report results of the fold on which they chose.) The person follows from the case's
    name, and is the name itself if it is not one of BraTS. If a person has cases in several folds, only those
    of the tested fold, or else of the next one, are used.

    Args:
        root: the JSON file; its paths are relative to `images`.
        store: folder of prepared scans.
        images: folder of the scans; that of the JSON file if omitted.
        fold: the fold to test, from 0.
        **options: see `ScanDataModule`; `folds` follows from the file.
    """

    name = "brats_folds"
    modalities: ClassVar[tuple[str, ...]] = IMAGE_ORDER
    regions: ClassVar[Mapping[str, tuple[int, ...]]] = TUMOUR_REGIONS
    mask_rule = staticmethod(enhancing_four)

    def __init__(
        self,
        root: Path | str,
        store: Path | str = "store",
        *,
        images: Path | str | None = None,
        fold: int = 0,
        **options: Any,
    ) -> None:
        entries = _entries(Path(root))
        folds = 1 + max(entry["fold"] for entry in entries)
        if folds < 3:
            raise DatasetError(f"{root}: {folds} folds; three are needed to train, choose and test.")
        if not 0 <= fold < folds:
            raise DatasetError(f"data.fold {fold}: {root} has the folds 0 to {folds - 1}.")
        super().__init__(root, store, folds=folds, fold=fold, **options)
        self.images = Path(root).parent if images is None else Path(images)

    @property
    def manifest(self) -> Manifest:
        """Return the file's manifest, read once."""
        if self._manifest is None:
            self._manifest = self.choose(self.index(self.root))
        return self._manifest

    def index(self, root: Path) -> Manifest:
        """Return the manifest of the file's cases, with their fold."""
        rows = ManifestBuilder(self.name)
        folds: dict[str, tuple[int, str]] = {}  # person -> fold that is used, and a case in it
        count = self.folds or 1
        # The tested fold comes first, then the next one: the first fold of a person counts.
        order = sorted(_entries(root), key=lambda entry: (entry["fold"] - (self.fold or 0)) % count)
        for entry in order:
            paths = [*entry["image"], entry["label"]]
            subject = Path(paths[0]).parent.name or Path(paths[0]).name.split(".")[0]
            group = person_of_brats(subject) or f"{self.name}:{subject}"
            first, case = folds.setdefault(group, (entry["fold"], subject))
            for modality, path in zip((*IMAGE_ORDER, MASK), paths, strict=True):
                if entry["fold"] != first:
                    rows.drop(self.images / path, subject, f"the same person as {case} in fold {first}")
                elif (self.images / path).is_file():
                    rows.keep(self.images / path, subject, modality, group=group, fold=entry["fold"])
                else:
                    rows.drop(self.images / path, subject, "no such file")
        return rows.build()

    def _fold(self, cases: pd.DataFrame, folds: int) -> pd.Series:
        """Return the fold of each case as the file has it."""
        return cases["fold"].astype(int)


def _entries(file: Path) -> list[dict[str, Any]]:
    """Return the cases that a fold file lists.

    Raises:
        DatasetError: the file cannot be read, or a case lacks its images, label or fold.
    """
    try:
        content = load_json(file)
    except FileNotFoundError:
        raise DatasetError(f"{file}: no such fold file.") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file}: cannot be read as JSON ({error}).") from None
    entries = content.get("training") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DatasetError(f'{file}: expected {{"training": [...]}} with one entry per case.')
    for number, entry in enumerate(entries):
        images = entry.get("image") if isinstance(entry, dict) else None
        if not isinstance(images, list) or len(images) != len(IMAGE_ORDER):
            raise DatasetError(
                f"{file}, case {number}: `image` must list {len(IMAGE_ORDER)} files: "
                f"{', '.join(IMAGE_ORDER)}."
            )
        if not isinstance(entry.get("label"), str) or not isinstance(entry.get("fold"), int):
            raise DatasetError(f"{file}, case {number}: needs `label` (a file) and `fold` (a number from 0).")
    return entries
