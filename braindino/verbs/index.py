"""Index a dataset: list its scans, and the files that are excluded, in a manifest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from braindino.datasets import dataset_class
from braindino.datasets.manifest import Manifest, is_manifest
from braindino.datasets.options import check_option_names, option_names
from braindino.errors import BraindinoError
from braindino.files import describe_special_file
from braindino.progress import hide_progress


@dataclass
class IndexedManifest(Manifest):
    """The manifest of an indexed dataset, and the dataset's label.

    Attributes:
        dataset: name or dotted path of the dataset.
        target: columns of `table` with the label; empty if a mask is the label, or there is none.
        label_counts: class -> number of cases, class 0 first; empty unless the label is a class.
    """

    dataset: str = ""
    target: tuple[str, ...] = ()
    label_counts: dict[str, int] = field(default_factory=dict)


def index(
    root: Path | str,
    dataset: str = "folder",
    out: Path | str | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> IndexedManifest:
    """Read a dataset in its native layout and return its manifest: one row per scan.

    Nothing is changed, and only names and tables are read. Every file that is not in `table` is in `dropped`
    with its reason, or in `passed_over`.

    Args:
        root: the dataset's folder, as its owners distribute it; for `cohort` also the table itself.
        dataset: a name in `braindino.datasets.DATASETS`, or the dotted path of a `ScanDataModule` subclass.
        out: file to write the manifest to, with `<stem>.dropped.csv` beside it. The datasets `adni` and
            `folder` then convert DICOM series by dcm2niix into `<stem>_nifti/`, one volume each. If omitted,
            nothing is written and DICOM series are dropped, unless `options` has a folder `dicom`.
        options: options of the dataset by name, such as `{"max_days": 90}`; see its class.
        progress: False shows no progress bar.

    Returns:
        The manifest with what was dropped; paths are absolute.

    Raises:
        BraindinoError: an unknown dataset or option, no scan of the dataset in the folder, a table that
            cannot be used, or `out` exists and is not a manifest.
    """
    out = None if out is None else Path(out)
    if out is not None:
        _refuse_to_overwrite(out)
    dataset_type = dataset_class(dataset)
    options = dict(options or {})
    check_option_names(dataset_type, options)
    if out is not None and "dicom" in option_names(dataset_type):
        options = {"dicom": out.with_name(f"{out.stem}_nifti"), **options}
    module = dataset_type(root, **options)
    with hide_progress(not progress):
        manifest = module.manifest
    if out is not None:
        manifest.write(out)
    # A dataset whose scans are all dropped has a table without the column of the label.
    has_labels = set(module.target) <= set(manifest.table.columns)
    return IndexedManifest(
        manifest.table,
        manifest.dropped,
        manifest.passed_over,
        dataset=dataset,
        target=tuple(module.target),
        label_counts=module.label_counts(manifest) if has_labels else {},
    )


def _refuse_to_overwrite(out: Path) -> None:
    """Raise BraindinoError where a file exists that is not a manifest, such as a user's table."""
    if not out.exists():
        return
    if describe_special_file(out) or (out.stat().st_size and not is_manifest(out)):
        raise BraindinoError(f"{out}: exists and is not a manifest; give another name with --out.")
