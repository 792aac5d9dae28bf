"""Who was judged, and what was left out on the way there: `cases.csv` and `dropped.csv` of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from braindino.csv_text import csv_text
from braindino.datasets.pretraining.exclude import SCANS
from braindino.files import atomic_write
from braindino.probing.data.cases import ProbeCases

COLUMNS = ("path", "subject", "case", "reason")


def keep_cases(run_dir: Path, cases: ProbeCases, contents: Mapping[str, Sequence[str]]) -> None:
    """Write `cases.csv`: case, group and split of all that the study uses, and the digests of their scans.

    In cross-validation the column `fold` says in which fold a case is tested, and every split is `test`: that
    is what an exclude list for pretraining has to know.

    Args:
        run_dir: of the study.
        cases: all of them.
        contents: key -> digests of a scan, as `Store.digests` gives them.
    """
    columns = ["case", "group", "split"]
    table = cases.table
    if cases.folds is not None:
        columns, table = [*columns, "fold"], table.assign(split="test")
    columns.append(SCANS)
    keys = table[[f"key_{name}" for name in cases.modalities]].to_numpy(object)
    digests = [[digest for key in row for digest in contents.get(key, ())] for row in keys]
    table = table.assign(**{SCANS: [" ".join(found) for found in digests]})
    with atomic_write(run_dir / "cases.csv") as file:
        file.write(csv_text(table[columns]))


def keep_dropped(run_dir: Path, scans: pd.DataFrame, cases: pd.DataFrame) -> dict[str, Any]:
    """Write `dropped.csv`: every scan and every case that the study does not use, with its reason.

    Args:
        scans: `path`, `subject` and `reason` of what the dataset and the store dropped.
        cases: `case` and `reason` of what the protocol left out.

    Returns:
        `scans`, `cases`: how many; `reasons`: how many of each, the most frequent first.
    """
    dropped = pd.concat([scans, cases], ignore_index=True).reindex(columns=list(COLUMNS)).fillna("")
    with atomic_write(run_dir / "dropped.csv") as file:
        file.write(csv_text(dropped))
    counts = dropped["reason"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    reasons = {str(reason): int(count) for reason, count in counts.items()}
    return {"scans": len(scans), "cases": len(cases), "reasons": reasons}
