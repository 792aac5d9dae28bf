"""`cases.csv` and `dropped.csv` of a run: the used and the dropped cases of a study."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from braindino.csv_text import csv_text
from braindino.datasets.pretraining.exclude import SCANS
from braindino.files import atomic_write
from braindino.probing.data.cases import ProbeCases

COLUMNS = ("path", "subject", "case", "reason")


def write_cases(run_dir: Path, cases: ProbeCases, contents: Mapping[str, Sequence[str]]) -> None:
    """Write `cases.csv`: case, group and split of all cases, and the digests of their scans.

    In cross-validation the column `fold` is the fold that tests a case, and every split is `test`, because
    an exclude list for pretraining must contain all of them.

    Args:
        run_dir: run folder of the study.
        cases: all cases of the study.
        contents: key -> digests of a scan, as `Store.digests` returns them.
    """
    columns = ["case", "group", "split"]
    table = cases.table
    if cases.folds is not None:
        columns, table = [*columns, "fold"], table.assign(split="test")
    columns.append(SCANS)
    keys = table[[f"key_{name}" for name in cases.modalities]].to_numpy(object)
    digests = [" ".join(digest for key in row for digest in contents.get(key, ())) for row in keys]
    table = table.assign(**{SCANS: digests})
    with atomic_write(run_dir / "cases.csv") as file:
        file.write(csv_text(table[columns]))


def write_dropped(run_dir: Path, scans: pd.DataFrame, cases: pd.DataFrame) -> dict[str, Any]:
    """Write `dropped.csv`: every scan and case that the study does not use, with the reason.

    Args:
        run_dir: run folder of the study.
        scans: `path`, `subject` and `reason` of the scans that the dataset and the store dropped.
        cases: `case` and `reason` of the cases that the protocol excludes.

    Returns:
        `scans`, `cases`: their numbers; `reasons`: number of each reason, the most frequent first.
    """
    dropped = pd.concat([scans, cases], ignore_index=True).reindex(columns=list(COLUMNS)).fillna("")
    with atomic_write(run_dir / "dropped.csv") as file:
        file.write(csv_text(dropped))
    counts = dropped["reason"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    reasons = {str(reason): int(count) for reason, count in counts.items()}
    return {"scans": len(scans), "cases": len(cases), "reasons": reasons}
