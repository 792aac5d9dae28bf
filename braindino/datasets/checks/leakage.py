"""Leakage: who or what is in more than one part of a split, or was seen in pretraining."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from braindino.datasets.splits import PARTS
from braindino.errors import BraindinoError
from braindino.scans.seen import Seen
from braindino.scans.store.store import Store


def contents_of(cases: pd.DataFrame, modalities: Sequence[str], store: Store) -> dict[str, tuple[str, ...]]:
    """Return key -> digests of the scans of cases, by which a scan is the same in every store."""
    keys = pd.unique(cases[[f"key_{name}" for name in modalities]].to_numpy(object).ravel())
    return store.digests(key for key in keys if key)


def audit(
    cases: pd.DataFrame,
    modalities: Sequence[str],
    seen: Seen | None,
    contents: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return what a reader must know about leakage before believing a result.

    Args:
        cases: with `case`, `group`, `split` and `key_<modality>`; keys name scans by their content. With a
            column `fold` everybody is tested once, and the folds are the parts.
        modalities: the scans of a case.
        seen: people and scans of the encoder's pretraining, or None if it does not record them.
        contents: key -> digests of a scan (`contents_of`); without them only keys of persons are compared.

    Returns:
        `shared_scans`: list of {`scan`, `cases`} for every scan that several people's cases are made of;
        `shared_scans_across_parts`: how many of them are in several parts; `pretraining`: None, or the
        result of `overlap`.

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
        "pretraining": None if seen is None else overlap(cases, modalities, seen, contents or {}),
    }


def overlap(
    cases: pd.DataFrame, modalities: Sequence[str], seen: Seen, contents: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return whom of the cases' people an encoder has seen, by their keys and by their scans.

    A person has been seen when the key (`<dataset>:<person>`) is listed, or a scan of one of the cases.

    Returns:
        `people`: how many; `test`: of the test part; `listed`: who; `scans`: how many of the cases' scans;
        `by_name_only`: people whose key is listed and none of whose scans is, though scans are recorded;
        `gaps`: why the encoder's list is incomplete.
    """
    keys = cases[[f"key_{name}" for name in modalities]].to_numpy(object)
    by_key = {key: bool(seen.scans.intersection(contents.get(key, ()))) for key in set(keys.ravel()) if key}
    by_scan = set(cases.loc[[any(by_key.get(key, False) for key in row) for row in keys], "group"])
    by_name = seen.people_among(cases["group"])
    people = by_scan | by_name
    tested = cases if "fold" in cases else cases[cases["split"] == "test"]
    return {
        "people": len(people),
        "test": len(people & set(tested["group"])),
        "listed": sorted(people),
        "scans": sum(by_key.values()),
        "by_name_only": len(by_name - by_scan) if seen.scans and contents else 0,
        "gaps": list(seen.gaps),
    }
