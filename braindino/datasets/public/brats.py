"""BraTS 2021, 2023 and 2024 (GoAT): masks of tumour regions, or the sequence of a volume."""

import re
from pathlib import Path
from typing import Any, ClassVar, Literal

from braindino.datasets.brats_names import (
    BratsCase,
    parse_brats2021,
    parse_brats2023,
    parse_brats2024_goat,
)
from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.discovery import find_scans, no_scan_error, stem
from braindino.datasets.manifest import MASK, Manifest, ManifestBuilder
from braindino.datasets.masks import TUMOUR_REGIONS, enhancing_four
from braindino.errors import DatasetError

_OLD = {"t1": "T1w", "t1ce": "T1c", "t2": "T2w", "flair": "FLAIR", "seg": MASK}
_NEW = {"t1n": "T1w", "t1c": "T1c", "t2w": "T2w", "t2f": "FLAIR", "seg": MASK}
_SUFFIX = re.compile(r"[-_]([a-z0-9]+)$")
SEQUENCES = {"T1c": "T1c", "T1w": "T1n", "FLAIR": "FLAIR", "T2w": "T2w"}  # modality -> class
VOLUME = "volume"


class BraTS(ScanDataModule):
    """Base of the BraTS editions: four registered, skull-stripped sequences and a tumour mask.

    Labels are 1 necrotic core, 2 oedema, 3 enhancing tumour; the regions WT, TC, ET overlap. Cases are
    recognised by their names at any depth.

    Attributes:
        suffixes: ending of a file's name -> modality.
        looked_for: example of the names of files, for messages.

    Args:
        root: folder that holds the cases at any depth, or a manifest.
        store: folder of prepared scans.
        target: "mask" drops cases without one; "sequence" makes each volume a case of its own, to be
            recognised as T1c, T1n, FLAIR or T2w.
        modalities: some of T1w, T1c, T2w, FLAIR; with target "sequence" the classes.
        **options: see `ScanDataModule`.
    """

    modalities: ClassVar[tuple[str, ...]] = ("T1w", "T1c", "T2w", "FLAIR")
    regions = TUMOUR_REGIONS
    suffixes: ClassVar[dict[str, str]] = _NEW
    looked_for: ClassVar[str]

    def __init__(
        self,
        root: Path | str,
        store: Path | str = "store",
        *,
        target: Literal["mask", "sequence"] = "mask",
        modalities: list[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(root, store, **options)
        if target not in ("mask", "sequence"):
            raise DatasetError(f"data.target {target!r}: expected mask or sequence.")
        self.use_modalities(modalities, self.modalities)
        if target == "sequence":
            self.target = ("sequence",)  # type: ignore[misc]
            self.sequences = {name: SEQUENCES[name] for name in SEQUENCES if name in self.modalities}
            self.classes = tuple(self.sequences.values())  # type: ignore[misc]
            self.modalities = (VOLUME,)  # type: ignore[misc]

    def index(self, root: Path) -> Manifest:
        """Return the manifest of all cases."""
        rows = ManifestBuilder(self.name)
        has_cases = False
        for path in find_scans(root, rows):
            match = _SUFFIX.search(stem(path))
            suffix = match.group(1) if match else ""
            case = self.case(stem(path)[: match.start()] if match else "")
            if case is None or suffix not in self.suffixes:
                rows.drop(path, "", f"not named as {self.name} does ({self.looked_for})")
                continue
            subject, session, site, group = case
            has_cases = True
            if reason := self.cohort_exclusion_reason(site):
                rows.drop(path, subject, reason)
            else:
                rows.keep(path, subject, self.suffixes[suffix], group=group, session=session, site=site)
        if not has_cases:
            raise no_scan_error(root, self.name, self.looked_for)
        return rows.build()

    @classmethod
    def case(cls, name: str) -> BratsCase | None:
        """Return the ids that a case's name contains, or None for a name of another form."""
        raise NotImplementedError

    def cohort_exclusion_reason(self, cohort: str) -> str:
        """Return why a cohort is excluded, or `""`."""
        return ""

    def choose(self, manifest: Manifest) -> Manifest:
        """See `ScanDataModule.choose`; with target "sequence" each volume becomes a case of its own.

        Masks are then neither in the table nor in what was dropped.
        """
        if self.target != ("sequence",) or "sequence" in manifest.table:
            return super().choose(manifest)
        volumes = manifest.table[manifest.table["modality"] != MASK].reset_index(drop=True)
        chosen = Manifest(volumes, manifest.dropped).without(
            [
                "" if name in self.sequences else f"{name}: is not one of {', '.join(self.sequences)}"
                for name in volumes["modality"]
            ]
        )
        label = chosen.table["modality"].map(self.sequences)
        session = (chosen.table["session"].astype(str) + "-" + label).str.removeprefix("-")
        table = chosen.table.assign(modality=VOLUME, session=session, sequence=label)
        return super().choose(Manifest(table, chosen.dropped))


class BraTS2021(BraTS):
    """BraTS 2021, glioma; enhancing tumour has label 4 in its files.

    Two pairs of cases are known to be one patient each."""

    name = "brats2021"
    suffixes = _OLD
    looked_for = "BraTS2021_00000_{t1,t1ce,t2,flair,seg}.nii.gz"
    mask_rule = staticmethod(enhancing_four)

    @classmethod
    def case(cls, name: str) -> BratsCase | None:
        """See `braindino.datasets.brats_names.parse_brats2021`."""
        return parse_brats2021(name)


class BraTS2023(BraTS):
    """BraTS 2023: glioma (GLI), meningioma (MEN), metastases (MET); also PED and SSA.

    The cohort is the site. The person is identified by cohort and number: some people of GLI have two
    timepoints.

    Args:
        root: see `BraTS`.
        store: see `BraTS`.
        cohorts: some of GLI, MEN, MET, PED, SSA; by default the first three.
        **options: see `BraTS`.
    """

    name = "brats2023"
    stratify: ClassVar[tuple[str, ...]] = ("site",)
    looked_for = "BraTS-GLI-00000-000-{t1n,t1c,t2w,t2f,seg}.nii.gz"

    def __init__(
        self,
        root: Path | str,
        store: Path | str = "store",
        *,
        cohorts: list[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(root, store, **options)
        self.cohorts = ["GLI", "MEN", "MET"] if cohorts is None else cohorts
        unknown = [name for name in self.cohorts if name not in ("GLI", "MEN", "MET", "PED", "SSA")]
        if unknown or not self.cohorts:
            raise DatasetError(f"data.cohorts: {self.cohorts}; expected some of GLI, MEN, MET, PED, SSA.")

    @classmethod
    def case(cls, name: str) -> BratsCase | None:
        """See `braindino.datasets.brats_names.parse_brats2023`."""
        return parse_brats2023(name)

    def cohort_exclusion_reason(self, cohort: str) -> str:
        """See `BraTS.cohort_exclusion_reason`."""
        return "" if cohort in self.cohorts else f"cohort {cohort} is not requested"


class BraTS2024GoAT(BraTS):
    """BraTS 2024, generalizability across tumours: cohorts of 2023 under new numbers."""

    name = "brats2024_goat"
    looked_for = "BraTS-GoAT-00000-{t1n,t1c,t2w,t2f,seg}.nii.gz"

    @classmethod
    def case(cls, name: str) -> BratsCase | None:
        """See `braindino.datasets.brats_names.parse_brats2024_goat`."""
        return parse_brats2024_goat(name)
