"""Choose the labelled scans that a callback of pretraining measures on, split by person."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from braindino.datasets.cells import is_missing
from braindino.datasets.manifest import Manifest
from braindino.datasets.splits import split_people
from braindino.errors import BraindinoError
from braindino.scans.store.store import Store

Task = Literal["classification", "regression"]
FRACTIONS = (0.7, 0.3, 0.0)  # of people, where the manifest has no column `split`


@dataclass(frozen=True)
class LabelledScans:
    """Choice of the labelled scans of a manifest.

    Attributes:
        manifest: CSV of `braindino index`. With a column `split` in it, `train` and `val` are used; else 30 %
            of the people are set apart for validation.
        target: column of the label.
        task: "classification" takes the labels as names, "regression" as numbers.
        scans: maximum number of scans that are chosen.
        seed: seed of the choice of scans, and of the people set apart.
        callback: name of the class that measures, for messages.
    """

    manifest: Path
    target: str
    task: Task
    scans: int
    seed: int
    callback: str

    def choose(self, store: Store) -> pd.DataFrame:
        """Return the chosen scans that are in `store`: the manifest's columns, `key`, and `split`.

        Raises:
            BraindinoError: no such column, labels that are no numbers, or too few labelled scans in the
                store for both parts.
        """
        table = Manifest.read(self.manifest).table
        if self.target not in table.columns:
            raise BraindinoError(
                f"{self.manifest}: no column {self.target!r} ({self.callback}.target); the columns are "
                f"{', '.join(table.columns)}."
            )
        table = table[~table[self.target].map(is_missing)]
        if "split" in table.columns:
            table = table[table["split"].isin(["train", "val"])]
        table = table.assign(key=[store.key_of(path) or "" for path in table["path"]])
        table = table[table["key"] != ""]
        table = table.sample(min(self.scans, len(table)), random_state=self.seed).reset_index(drop=True)
        if self.task == "regression":
            table[self.target] = self._numbers(table[self.target])
        else:
            table[self.target] = table[self.target].astype(str)
        if "split" not in table.columns and len(set(table["group"])) > 1:
            stratum = None if self.task == "regression" else self.target
            table["split"] = split_people(table, FRACTIONS, stratum, self.seed, complete=False)
        if "split" not in table.columns or set(table["split"]) != {"train", "val"}:
            raise BraindinoError(
                f"{self.manifest}: of its scans with a {self.target!r}, {len(table)} are in {store.path}; "
                f"{self.callback} needs some people to train on and others to validate on.\n"
                f"Prepare the manifest's scans into the store, or remove the {self.callback}."
            )
        return table

    def _numbers(self, values: pd.Series) -> pd.Series:
        try:
            return values.astype(float)
        except ValueError as error:
            raise BraindinoError(
                f"{self.manifest}: column {self.target!r} is not numeric ({error}); "
                f"set task: classification of the {self.callback}."
            ) from None
