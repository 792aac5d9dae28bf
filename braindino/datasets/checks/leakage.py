"""Find leakage: people or scans in several parts of a split, or seen in pretraining."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from braindino.datasets.splits import PARTS
from braindino.errors import BraindinoError
from braindino.scans.seen import Seen
from braindino.scans.store.store import Store


def contents_of(cases: pd.DataFrame, modalities: Sequence[str], store: Store) -> dict[str, tuple[str, ...]]:
    """Return key -> digests of the scans of cases; digests do not depend on the store.

    Args:
        cases: table with the columns `key_<modality>`.
        modalities: the scans of a case.
        store: the prepared scans.
    """
    keys = pd.unique(cases[[f"key_{name}" for name in modalities]].to_numpy(object).ravel())
    return store.digests([key for key in keys if key])


def audit(
    cases: pd.DataFrame,
    modalities: Sequence[str],
    seen: Seen | None,
    contents: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return the leakage between the parts of a split, and between pretraining and the cases.

    Args:
        cases: table with `case`, `group`, `split`, `key_<modality>`; keys identify scans by content. With
            a column `fold`, every person is tested once, and the folds are the parts.
        modalities: the scans of a case.
        seen: people and scans of the encoder's pretraining, or None if it does not record them.
        contents: key -> digests of a scan (`contents_of`); without them only keys of people are compared.

    Returns:
        Dictionary with `shared_scans`: list of {`scan`, `cases`} for every scan in cases of several people;
        `shared_scans_across_parts`: how many of them are in several parts; `pretraining`: None, or the
        result of `pretraining_overlap`.

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
        "pretraining": None if seen is None else pretraining_overlap(cases, modalities, seen, contents or {}),
    }


def pretraining_overlap(
    cases: pd.DataFrame, modalities: Sequence[str], seen: Seen, contents: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return the people of cases that an encoder has seen, by their keys and by their scans.

    A person counts as seen if the key (`<dataset>:<person>`) or a scan of one of the cases is listed.

    Args:
        cases: table with `group`, `split` or `fold`, and `key_<modality>`.
        modalities: the scans of a case.
        seen: people and scans of the encoder's pretraining.
        contents: key -> digests of a scan (`contents_of`).

    Returns:
        Dictionary with `people`: number of people seen; `test`: number in the test part; `listed`: their
        keys; `scans`: number of the cases' scans seen; `by_name_only`: number of people whose key is listed
        but none of their scans, although scans are recorded; `gaps`: why the encoder's list is incomplete.
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
