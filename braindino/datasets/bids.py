"""Any BIDS dataset, for pretraining: anatomical scans by their entities, people by `participants.tsv`."""

import re
from pathlib import Path
from typing import Any

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.manifest import Manifest, ManifestBuilder, is_missing
from braindino.datasets.tables import read_table
from braindino.datasets.walk import MASK_LIKE, find_scans, nothing_found, stem, telling

SUFFIXES = {
    "T1w": "T1w", "T2w": "T2w", "FLAIR": "FLAIR", "PD": "PD", "PDw": "PD", "inplaneT1": "T1w",
    "inplaneT2": "T2w", "T2star": "T2star", "T2starw": "T2star", "angio": "MRA",
}  # fmt: skip
_ENTITY = re.compile(r"(?:^|_)([a-zA-Z]+)-([a-zA-Z0-9+]+)")
_AGE = ("age", "age (years)", "age_at_scan", "participant_age", "age at mri")


class BIDS(ScanDataModule):
    """Anatomical scans of a BIDS dataset (`sub-X[/ses-Y]/anat/..._<suffix>.nii.gz`); no labels.

    Sex and age come from `participants.tsv` where it has them. Further `acq-` and `run-` entities stay in the
    columns of those names. The dataset's name is that of the folder that holds its subjects, below the root
    with the folders above it (`siteA`, `europe/siteA`), less such as `rawdata` that name none; a person is a
    subject of a dataset.

    Args:
        root: the dataset's folder (a folder of several is fine), or a manifest.
        store: folder of prepared scans.
        suffixes: which scans to take, as BIDS calls them.
        derivatives: whether to take what lies in folders called `derivatives`.
        **options: see `ScanDataModule`.
    """

    name = "bids"

    def __init__(
        self,
        root: Path | str,
        store: Path | str = "store",
        *,
        suffixes: tuple[str, ...] = tuple(SUFFIXES),
        derivatives: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(root, store, **options)
        self.suffixes = suffixes
        self.derivatives = derivatives

    def index(self, root: Path) -> Manifest:
        """Manifest of the scans under `root`."""
        rows = ManifestBuilder(root.absolute().name or "bids")
        tables: dict[Path, dict[str, dict[str, Any]]] = {}
        found = False
        for path in find_scans(root, rows):
            name = stem(path)
            named = entities(path)
            subject, suffix = named.get("sub", ""), name.rpartition("_")[2]
            if not subject:
                rows.drop(path, "", "no sub-<label> in its name")
            elif "derivatives" in path.relative_to(root).parts and not self.derivatives:
                rows.drop(path, subject, "derivative")
            elif MASK_LIKE.search(suffix) or "label" in named:
                rows.drop(path, subject, "mask or segmentation, by its name")
            elif suffix not in self.suffixes:
                rows.drop(path, subject, f"suffix {suffix} is not wanted")
            else:
                found = True
                top = _dataset_folder(path, subject, root)
                if top not in tables:
                    tables[top] = participants(top)
                person = tables[top].get(subject, {})
                below = top.relative_to(root.absolute()).parts
                dataset = "/".join(telling(below)) or root.absolute().name
                rows.keep(
                    path, subject, SUFFIXES.get(suffix, suffix), session=named.get("ses", ""),
                    group=f"{dataset}:{subject}", dataset=dataset, acq=named.get("acq", ""),
                    run=named.get("run", ""), sex=person.get("sex", ""), age=person.get("age", ""),
                )  # fmt: skip
        if not found:
            wanted = self.suffixes[0] if len(self.suffixes) == 1 else f"{{{','.join(self.suffixes)}}}"
            looked_for = f"sub-<label>[/ses-<label>]/anat/sub-<label>_..._{wanted}.nii.gz"
            raise nothing_found(root, self.name, looked_for)
        return rows.build()


def entities(path: Path) -> dict[str, str]:
    """The entities of a BIDS file name: `sub-01_ses-2_T1w` -> {"sub": "01", "ses": "2"}."""
    return dict(_ENTITY.findall(stem(path)))


def participants(folder: Path, required: bool = False) -> dict[str, dict[str, Any]]:
    """`participants.tsv` of a dataset by subject label: `sex` and `age`.

    Nothing without the table; if it is `required`, TableError, and so too when it has no ages.
    """
    tsv = folder / "participants.tsv"
    if not tsv.is_file() and not required:
        return {}
    ages = {"age": _AGE}
    wanted, optional = {"id": ("participant_id",)}, {"sex": ("sex", "gender")}
    if required:
        table = read_table(tsv, {**wanted, **ages}, optional)
    else:
        table = read_table(tsv, wanted, {**optional, **ages})
    people = {}
    for row in table.to_dict("records"):
        age = re.sub(r"^0+(?=\d)|[yY]$", "", str(row.get("age", "")))
        readable = not is_missing(age) and re.fullmatch(r"\d+(\.\d+)?", age)
        people[str(row["id"]).removeprefix("sub-")] = {
            "sex": row.get("sex", ""),
            "age": age if readable else "",
        }
    return people


def _dataset_folder(path: Path, subject: str, root: Path) -> Path:
    """The folder that holds `sub-<label>/`, else `root`: a corpus may be a folder of datasets."""
    for folder in path.parents:
        if folder.name == f"sub-{subject}":
            return folder.parent.absolute()
        if folder == root:
            break
    return root.absolute()
