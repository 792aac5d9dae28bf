"""Leakage: who or what is in more than one part of a split, or was seen in pretraining."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from braindino.datasets.splits import PARTS
from braindino.errors import BraindinoError


def audit(
    cases: pd.DataFrame, modalities: Sequence[str], pretraining_people: frozenset[str] | None
) -> dict[str, Any]:
    """What a reader must know before believing a result.

    Args:
        cases: with `case`, `group`, `split` and `key_<modality>`; keys name scans by their content. With a
            column `fold` everybody is tested once, and the folds are the parts.
        pretraining_people: `"<dataset>:<person>"`, or None if the encoder does not record them.

    Returns:
        `shared_scans`: list of {`scan`, `cases`} for every scan that several people's cases are made of;
        `shared_scans_across_parts`: how many of them are in several parts; `pretraining`: None, or
        {`people`: how many of the cases' people the encoder has seen, `test`: of the test part, `listed`:
        who}.

    Raises:
        BraindinoError: a person is in two parts, or a part is empty.
    """
    part = "fold" if "fold" in cases else "split"
    parts = cases.groupby("group")[part].nunique()
    if (parts > 1).any():
        shared = sorted(parts.index[parts > 1])
        raise BraindinoError(
            f"{len(shared)} people are in more than one part of the split, the first is {shared[0]}.\n"
            "All cases of a person belong in one part."
        )
    for name in PARTS:
        if not (cases["split"] == name).any():
            raise BraindinoError(
                f"the {name} part of the split has no cases; a probe trains on train, chooses the epoch "
                "on val and reports test."
            )
    columns = [f"key_{name}" for name in modalities]
    scans = cases.melt(["case", "group", part], columns, value_name="scan").query("scan != ''")
    owners = scans.groupby("scan").agg(
        people=("group", "nunique"),
        parts=(part, "nunique"),
        cases=("case", lambda names: sorted(set(names))),
    )
    copied = owners[owners["people"] > 1]
    return {
        "shared_scans": [{"scan": str(scan), "cases": row["cases"]} for scan, row in copied.iterrows()],
        "shared_scans_across_parts": int((copied["parts"] > 1).sum()),
        "pretraining": _seen(cases, pretraining_people),
    }


def _seen(cases: pd.DataFrame, people: frozenset[str] | None) -> dict[str, Any] | None:
    if people is None:
        return None
    seen = cases[cases["group"].isin(people)]
    return {
        "people": int(seen["group"].nunique()),
        "test": int(
            seen["group"].nunique() if "fold" in seen else seen.query("split == 'test'")["group"].nunique()
        ),
        "listed": sorted(seen["group"].unique()),
    }
