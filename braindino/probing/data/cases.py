"""The cases of a study, and batches of their cached features in memory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd
import torch
from torch import Tensor

from braindino.analysis.predictions import TRAITS
from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.splits import PARTS, nested_fraction, parts_of_fold
from braindino.encoders.base import Encoder
from braindino.errors import BraindinoError
from braindino.files import digest_of_json
from braindino.probing.heads.base import Head
from braindino.probing.pooling import Pooling

Missing = Literal["mask", "drop"]
TIME_EVENT = ("time", "event")


@dataclass(frozen=True)
class ProbeCases:
    """The N cases of a data module that a probe can use, numbered from 0.

    Attributes:
        table: rows of the data module's `cases`, indexed from 0.
        target: (N,) or (N, T) targets, encoded by the head.
        target_names: names of the targets.
        classes: names of the classes, or of the regions of a mask; empty for numbers.
        modalities: the scans of a case.
        strata: (N,) stratum of each case, for the choice of labelled people.
        excluded: `case` and `reason` of the cases that cannot be used.
        folds: number of folds in the column `fold` of the table; None without the column.
    """

    table: pd.DataFrame
    target: Tensor
    target_names: tuple[str, ...]
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    strata: pd.Series
    excluded: pd.DataFrame
    folds: int | None = None

    @classmethod
    def of(
        cls,
        datamodule: ScanDataModule,
        head: Head,
        missing: Missing,
        unusable: Mapping[int, str] | None = None,
    ) -> "ProbeCases":
        """Return the cases that are in a part of the split and have scans.

        Args:
            datamodule: the dataset, after `setup`.
            head: encodes the targets.
            missing: "mask" uses a case that has any of the modalities, "drop" only one that has all.
            unusable: row label -> reason, of cases that cannot be used for other reasons.

        Raises:
            BraindinoError: the head cannot use the targets, or no case is left.
        """
        _check_kind(datamodule, head)
        cases, modalities = datamodule.cases, tuple(datamodule.modalities)
        reasons = _reasons(cases, modalities, missing, unusable or {})
        table = cases[reasons == ""].reset_index(drop=True)
        if table.empty:
            raise BraindinoError(f"none of {len(cases)} cases can be used; the first: {reasons.iloc[0]}.")
        folds = datamodule.folds if datamodule.fold is None else None
        if folds is None:
            table = table.drop(columns="fold", errors="ignore")
        # Columns of any name are time and event.
        if len(datamodule.target) == 2:
            table = table.assign(**{name: table[datamodule.target[i]] for i, name in enumerate(TIME_EVENT)})
        return cls(
            table=table,
            target=head.encode(table, datamodule.classes),
            target_names=tuple(datamodule.target),
            classes=tuple(datamodule.regions if head.dense else datamodule.classes),
            modalities=modalities,
            strata=datamodule.strata(table),
            excluded=pd.DataFrame({"case": cases["case"], "reason": reasons})[reasons != ""],
            folds=folds,
        )

    def of_fold(self, number: int) -> "ProbeCases":
        """Return the same cases with the split of which fold `number` is the test part."""
        assert self.folds is not None
        split = parts_of_fold(self.table["fold"], number, self.folds)
        return replace(self, table=self.table.assign(split=split))

    def part(self, split: str) -> pd.DataFrame:
        """Return the cases of a part of the split: "train", "val" or "test"."""
        return self.table[self.table["split"] == split]

    def labelled(self, fraction: float, seed: int) -> pd.DataFrame:
        """Return the cases of a fraction of the training people, balanced over the target.

        For one seed a smaller fraction is part of a larger one.
        """
        train = self.part("train").assign(stratum=self.strata)
        return nested_fraction(train, fraction, seed, "stratum").drop(columns="stratum")

    @property
    def keys(self) -> list[str]:
        """Return the keys of all scans, modality by modality."""
        return [key for name in self.modalities for key in self.table[f"key_{name}"] if key]

    @property
    def digest(self) -> str:
        """Return the digest of everything about the cases that a result depends on."""
        columns = ["case", "group", "split", *(f"key_{name}" for name in self.modalities)]
        columns += [] if self.folds is None else ["fold"]
        columns += [name for name in TRAITS if name in self.table]
        # Cell by cell, because `astype(str)` of pandas 3 leaves a missing age NaN, which is not JSON.
        return digest_of_json([self.table[columns].map(str).to_numpy().tolist(), self.target.tolist()])


def _check_kind(datamodule: ScanDataModule, head: Head) -> None:
    if head.dense != (not datamodule.target):
        label = " and ".join(datamodule.target) or "a mask"
        raise BraindinoError(
            f"{type(head).__name__} predicts {'masks' if head.dense else 'no masks'}; the label of this "
            f"dataset, with its options, is {label}.\n"
            "Give another head, or choose by the dataset's options (task, target) what is to be predicted."
        )


def _reasons(
    cases: pd.DataFrame, modalities: tuple[str, ...], missing: Missing, unusable: Mapping[int, str]
) -> pd.Series:
    """Return the reason why each case cannot be used; "" for a case that can."""
    present = cases[[f"key_{name}" for name in modalities]] != ""
    reasons = pd.Series("", index=cases.index)
    reasons[~cases["split"].isin(PARTS)] = "in no part of the split"
    if missing == "drop":
        for name in modalities:
            reasons[(reasons == "") & ~present[f"key_{name}"]] = f"no {name} (probe.missing: drop)"
    reasons[(reasons == "") & ~present.any(axis=1)] = "no scan"
    for row, reason in unusable.items():
        reasons[row] = reasons[row] or reason
    return reasons


class CaseFeatures:
    """Features of N cases with M scans each, in memory; see `CaseData`.

    Pooling over slices without parameters is done here, once, and D becomes 1. Without it, K scans take
    K x D x dim x 4 bytes: 0.4 MB per scan of 128 slices and 768 features.

    Args:
        cases: all cases of the study; each has at least one scan.
        features: key -> (D, dim).
        pooling: pooling of the probe.
    """

    def __init__(self, cases: ProbeCases, features: Mapping[str, Tensor], pooling: Pooling) -> None:
        keys = cases.table[[f"key_{name}" for name in cases.modalities]].to_numpy(dtype=object)
        scans = sorted(set(keys[keys != ""]))
        row_of = {key: row for row, key in enumerate(scans)}
        self.rows = torch.tensor([[row_of.get(key, -1) for key in case] for case in keys])
        loaded = []
        for key in scans:
            values = features[key].float()
            if not pooling.trains_on_slices:
                values = pooling.pool_slices(values, torch.ones(len(values), dtype=torch.bool))[None]
            loaded.append(values)
        depths = torch.tensor([len(values) for values in loaded])
        self.features = torch.nn.utils.rnn.pad_sequence(loaded, batch_first=True)
        self.slices = torch.arange(int(depths.max())) < depths[:, None]
        self.target = cases.target
        self.encoder: Encoder | None = None

    @property
    def shape(self) -> dict[str, int]:
        """Return the arguments of `Pooling.build`: features per slice, and number of modalities."""
        return {"embed_dim": self.features.shape[-1], "modalities": self.rows.shape[1]}

    def train_target(self, cases: Tensor) -> Tensor:
        """Return the targets of the cases numbered `cases`."""
        return self.target[cases]

    def batch(self, cases: Tensor) -> dict[str, Tensor]:
        """Return "features" (B, M, D, dim), "mask" (B, M, D), "target" and "case" of B cases."""
        rows = self.rows[cases]
        present = rows >= 0
        rows = rows.clamp(min=0)
        return {
            "features": self.features[rows] * present[..., None, None],
            "mask": self.slices[rows] & present[..., None],
            "target": self.target[cases],
            "case": cases,
        }

    def sample(self, cases: Tensor) -> "Batches":
        """Return batches of the cases numbered `cases`."""
        return self.loader(cases, 64)

    def loader(self, cases: Tensor, batch_size: int, shuffle: int | None = None) -> "Batches":
        """Return batches of some cases; a seed in `shuffle` gives another order every epoch."""
        return Batches(self, cases, batch_size, shuffle)


class Batches:
    """Iterate over batches; each pass takes the next order of the random sequence.

    Args:
        data: the features.
        cases: numbers of the cases.
        batch_size: cases per batch.
        shuffle: seed of the orders; None for the order of `cases`.
    """

    def __init__(self, data: CaseFeatures, cases: Tensor, batch_size: int, shuffle: int | None) -> None:
        self.data, self.cases, self.batch_size = data, cases, batch_size
        self.random = None if shuffle is None else torch.Generator().manual_seed(shuffle)

    def __len__(self) -> int:
        """Return the number of batches of a pass; the last may be smaller."""
        return -(-len(self.cases) // self.batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield the batches of a pass."""
        cases = self.cases
        if self.random is not None:
            cases = cases[torch.randperm(len(cases), generator=self.random)]
        for chosen in torch.split(cases, self.batch_size):
            yield self.data.batch(chosen)
