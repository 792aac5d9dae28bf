"""Write the test of a 3-D segmentation as the same files that a probe writes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braindino.analysis.metrics.mask_metrics import segmentation_row
from braindino.analysis.metrics.segmentation import REGION, ROW
from braindino.analysis.metrics.surface_dice import TOLERANCE
from braindino.analysis.predictions import TRAITS, align_risks, format_predictions
from braindino.analysis.results import add_details, summarise
from braindino.csv_text import csv_text
from braindino.datasets.checks.leakage import audit, contents_of
from braindino.datasets.splits import PARTS
from braindino.datasets.volume_cases import VolumeCases
from braindino.files import atomic_write, write_json
from braindino.scans.geometry import restore_regions
from braindino.scans.seen import Seen

SELECTION = "weights chosen on validation, test evaluated once"


class CaseRows:
    """Rows of predictions.csv, gathered case by case.

    Args:
        data: the cases.
        seed: seed of the run, for the column of that name.
        nsd_tolerance: distance up to which surfaces agree, of the surface Dice [mm].

    Attributes:
        rows: one per case and region.
    """

    def __init__(self, data: VolumeCases, seed: int, nsd_tolerance: float = TOLERANCE) -> None:
        self.data, self.seed, self.nsd_tolerance = data, seed, nsd_tolerance
        self.rows: list[dict[str, Any]] = []

    def add(self, case: int, masks: np.ndarray) -> None:
        """Compare the predicted masks of a case with the reference masks, in native space.

        Args:
            case: row label of the dataset's `cases`.
            masks: predicted, on the store's grid (R, D, H, W) bool.
        """
        cases = self.data.cases
        row = cases.cases.loc[case]
        key = next(key for name in cases.modalities if (key := row[f"key_{name}"]))
        # Regions overlap, or are thresholded each by itself: they do not compete for voxels.
        restored = restore_regions(masks, self.data.store.geometry(key), exclusive=False)
        reference = cases.labels_of(case)
        known = {"case": row["case"], "group": row["group"], "split": row["split"], "seed": self.seed}
        traits = {name: row[name] for name in TRAITS if name in row}
        for (name, labels), mask in zip(cases.regions.items(), restored, strict=True):
            truth = np.isin(reference.data, labels)
            numbers = segmentation_row(mask, truth, reference.affine, self.nsd_tolerance)
            self.rows.append(
                {**known, "fraction": self.data.fraction, REGION: name}
                | dict(zip(ROW, numbers, strict=True))
                | traits
            )


def write_test_results(
    folder: Path,
    rows: CaseRows,
    encoder: dict[str, str],
    seen: Seen | None,
    step: int,
    resamples: int,
) -> dict[str, Any]:
    """Write predictions.csv, cases.csv, dropped.csv and results.json.

    A probe's metrics.csv is not written: here the file of that name contains the training curve.

    Args:
        folder: folder of the run.
        rows: the cases' rows of predictions.csv.
        encoder: `name`, which it started from, and `digest` of the weights.
        seen: people and scans seen in pretraining, or None if that is not recorded.
        step: optimiser step of the weights.
        resamples: draws of people for the intervals.

    Returns:
        The content of results.json.
    """
    data = rows.data
    table = data.cases.cases.loc[data.scans["case"]].assign(split=data.scans["split"].to_numpy())
    dropped = pd.concat([data.cases.dropped, data.excluded], ignore_index=True).fillna("")
    predictions = pd.DataFrame(rows.rows)
    with atomic_write(folder / "predictions.csv") as file:
        file.write(format_predictions(predictions))
    with atomic_write(folder / "cases.csv") as file:
        file.write(csv_text(table[["case", "group", "split"]]))
    with atomic_write(folder / "dropped.csv") as file:
        file.write(csv_text(dropped))
    predictions = align_risks(predictions)
    results: dict[str, Any] = {
        "task": "segmentation",
        "target": ["mask"],
        "classes": list(data.cases.regions),
        "encoder": encoder,
        "selection": SELECTION,
        "folds": None,
        "asked": {"seeds": [rows.seed], "fractions": [data.fraction]},
        "cases": {part: _counts(table[table["split"] == part]) for part in PARTS},
        "dropped": {
            "scans": len(data.cases.dropped),
            "cases": len(data.excluded),
            "reasons": {str(reason): int(n) for reason, n in dropped["reason"].value_counts().items()},
        },
        "audit": audit(table, data.modalities, seen, contents_of(table, data.modalities, data.store)),
        **summarise(predictions, [_training_facts(rows, table, step)], resamples),
        "baselines": {},
    }
    add_details(results, predictions, resamples)
    write_json(folder / "results.json", results)
    return results


def _training_facts(rows: CaseRows, table: pd.DataFrame, step: int) -> dict[str, Any]:
    """Return what was trained on, and the optimiser step of the evaluated weights."""
    train = table[table["split"] == "train"]
    return {
        "seed": rows.seed,
        "fraction": rows.data.fraction,
        "train_cases": len(train),
        "train_people": int(train["group"].nunique()),
        "step": step,
    }


def _counts(cases: pd.DataFrame) -> dict[str, int]:
    return {"cases": len(cases), "people": int(cases["group"].nunique())}
