"""Files of predictions: tables, and masks as BIDS derivatives in the native space of a scan."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braindino.csv_text import csv_text
from braindino.files import atomic_write, write_json
from braindino.probing.predict.admission import AdmittedCases
from braindino.probing.predict.inputs import NewScan, Rejection
from braindino.probing.predict.predictor import Prediction
from braindino.probing.predict.probe import FinishedProbe
from braindino.scans.nifti import write_volume
from braindino.scans.store.store import Store
from braindino.version import __version__

_BIDS_NAME = re.compile(r"sub-[A-Za-z0-9]+(_[a-z]+-[A-Za-z0-9]+)*")
BIDS_VERSION = "1.10.0"


def write_predictions(
    out: Path,
    predictions: Iterable[tuple[str, Prediction | Rejection]],
    probe: FinishedProbe,
    cases: Mapping[str, Mapping[str, NewScan]],
    admitted: AdmittedCases,
    store: Store,
) -> tuple[pd.DataFrame, list[Rejection]]:
    """Write predictions.csv, rejects.csv, survival curves and masks of new cases.

    Args:
        out: folder to write into.
        predictions: result of `predict_cases`.
        probe: the probe.
        cases: case -> modality -> scan.
        admitted: the admitted cases.
        store: store that contains the scans.

    Returns:
        The rows of predictions.csv, and all rejections.
    """
    name = probe.run.absolute().parent.parent.name
    describe_derivatives(out, f"{name} by braindino", probe.run, probe.facts["encoder"]["spec"])
    rows: list[dict[str, Any]] = []
    curves: list[pd.DataFrame] = []
    rejections = list(admitted.rejections)
    for case, prediction in predictions:
        if isinstance(prediction, Rejection):
            rejections.append(prediction)
            continue
        scans = cases[case]
        used = [scans[modality] for modality in admitted.keys[case] if modality in scans]
        sources = ";".join(str(scan.source) for scan in used or scans.values())
        row = {"case": case, "scans": sources, **prediction.columns}
        if prediction.masks:
            files = _write_case_masks(out, case, plain_label(name), prediction, probe, admitted, store)
            row["mask"] = ";".join(file.relative_to(out).as_posix() for file in files)
        if prediction.curve is not None:
            curves.append(prediction.curve.assign(case=case)[["case", "time", "survival"]])
        rows.append({**row, "warnings": "; ".join(admitted.warnings[case])})
    if curves:
        write_table(out / "survival.csv", pd.concat(curves), ["case", "time", "survival"])
    table = pd.DataFrame(rows)
    write_table(out / "predictions.csv", table, ["case", "scans"])
    write_table(out / "rejects.csv", pd.DataFrame(rejections), ["case", "path", "check", "reason"])
    return table, rejections


def _write_case_masks(
    out: Path,
    case: str,
    desc: str,
    prediction: Prediction,
    probe: FinishedProbe,
    admitted: AdmittedCases,
    store: Store,
) -> list[Path]:
    """Write the masks of a case in the space of its first scan; return their files."""
    keys = admitted.keys[case]
    geometry = store.geometry(next(key for name in probe.modalities if (key := keys.get(name))))
    exclusive = bool(getattr(next(iter(probe.modules.values())).head, "exclusive", True))
    return write_masks(out, case, desc, prediction.masks, np.asarray(geometry.affine), exclusive)


def describe_derivatives(out: Path, name: str, probe: Path, encoder: str) -> None:
    """Write `dataset_description.json`, by which a folder is BIDS derivatives.

    Args:
        out: the folder.
        name: name of the dataset.
        probe: run folder of the probe.
        encoder: the encoder.
    """
    made = f"Predictions of the probe {probe} on the encoder {encoder}; for research use, no clinical claim."
    write_json(
        out / "dataset_description.json",
        {
            "Name": name,
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "braindino", "Version": __version__, "Description": made}],
        },
    )


def write_table(path: Path, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Write a CSV in which `columns` come first, and exist even without rows."""
    order = [*columns, *(name for name in table.columns if name not in columns)]
    with atomic_write(path) as file:
        file.write(csv_text(table.reindex(columns=order)))


def write_masks(
    out: Path, case: str, desc: str, masks: Mapping[str, np.ndarray], affine: np.ndarray, exclusive: bool
) -> list[Path]:
    """Write the masks of a case, and return their files `sub-<label>[/ses-<label>]/anat/...`.

    Exclusive regions are written as one `..._desc-<desc>_dseg.nii.gz` with labels from 1 in the order of
    `masks`, which a `.tsv` beside it names; other regions as a `..._label-<region>_desc-<desc>_mask.nii.gz`
    each.

    Args:
        out: folder of the derivatives.
        case: name of the case.
        desc: BIDS label `desc`.
        masks: region -> (X, Y, Z) bool in the native space of the scan.
        affine: (4, 4), from voxels to mm.
        exclusive: whether regions exclude each other.
    """
    base = case if _BIDS_NAME.fullmatch(case) else f"sub-{plain_label(case)}"
    parts = [part for part in base.split("_") if part.startswith(("sub-", "ses-"))]
    folder = out.joinpath(*parts, "anat")
    if not exclusive:
        files = [folder / f"{base}_label-{plain_label(region)}_desc-{desc}_mask.nii.gz" for region in masks]
        for file, mask in zip(files, masks.values(), strict=True):
            write_volume(file, mask.astype(np.uint8), affine)
        return files
    labels = np.zeros(next(iter(masks.values())).shape, np.uint8)
    for number, mask in enumerate(masks.values(), start=1):
        # If several regions have half of the votes, the first counts.
        labels[mask & (labels == 0)] = number
    file = folder / f"{base}_desc-{desc}_dseg.nii.gz"
    write_volume(file, labels, affine)
    with atomic_write(folder / f"{base}_desc-{desc}_dseg.tsv") as table:
        table.write("index\tname\n")
        table.writelines(f"{number}\t{region}\n" for number, region in enumerate(masks, start=1))
    return [file]


def plain_label(text: str) -> str:
    """Return letters and digits only, as BIDS labels have."""
    return re.sub(r"[^A-Za-z0-9]", "", text) or "x"
