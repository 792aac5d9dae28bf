"""Cases in memory as a probe trains on them: their features, gathered batch by batch with tensor indexing."""

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

    table: its `cases` with a fresh index. target: as the head wants it. left_out: `case` and `reason` of
    those that were not usable. folds: of how many the column `fold` of the table tells; None without it.
    """

    table: pd.DataFrame
    target: Tensor
    target_names: tuple[str, ...]
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    strata: pd.Series
    left_out: pd.DataFrame
    folds: int | None = None

    @classmethod
    def of(
        cls,
        datamodule: ScanDataModule,
        head: Head,
        missing: Missing,
        unusable: Mapping[int, str] | None = None,
    ) -> "ProbeCases":
        """Take the cases that are in a part of the split and have scans.

        Args:
            datamodule: after `setup`.
            head: encodes the targets; raises BraindinoError if it cannot.
            missing: "mask" keeps a case that has any of the modalities, "drop" only one that has all.
            unusable: row labels of cases that cannot be used for other reasons, and these.
        """
        _check_kind(datamodule, head)
        cases, modalities = datamodule.cases, tuple(datamodule.modalities)
        reasons = _left_out(cases, modalities, missing, unusable or {})
        table = cases[reasons == ""].reset_index(drop=True)
        if table.empty:
            raise BraindinoError(f"none of {len(cases)} cases can be used; the first: {reasons.iloc[0]}.")
        folds = datamodule.folds if datamodule.fold is None else None
        if folds is None:
            table = table.drop(columns="fold", errors="ignore")
        if len(datamodule.target) == 2:  # whatever a cohort calls them
            table = table.assign(**{name: table[datamodule.target[i]] for i, name in enumerate(TIME_EVENT)})
        return cls(
            table=table,
            target=head.encode(table, datamodule.classes),
            target_names=tuple(datamodule.target),
            classes=tuple(datamodule.regions if head.dense else datamodule.classes),
            modalities=modalities,
            strata=datamodule.strata(table),
            left_out=pd.DataFrame({"case": cases["case"], "reason": reasons})[reasons != ""],
            folds=folds,
        )

    def of_fold(self, number: int) -> "ProbeCases":
        """The same cases, split so that fold `number` is tested."""
        assert self.folds is not None
        split = parts_of_fold(self.table["fold"], number, self.folds)
        return replace(self, table=self.table.assign(split=split))

    def part(self, split: str) -> pd.DataFrame:
        """The cases of "train", "val" or "test"."""
        return self.table[self.table["split"] == split]

    def labelled(self, fraction: float, seed: int) -> pd.DataFrame:
        """A fraction of the training people: nested for one seed, balanced over the target."""
        train = self.part("train").assign(stratum=self.strata)
        return nested_fraction(train, fraction, seed, "stratum").drop(columns="stratum")

    @property
    def keys(self) -> list[str]:
        """Of all scans, modality by modality."""
        return [key for name in self.modalities for key in self.table[f"key_{name}"] if key]

    @property
    def digest(self) -> str:
        """Of everything about the cases that a result depends on."""
        columns = ["case", "group", "split", *(f"key_{name}" for name in self.modalities)]
        columns += [] if self.folds is None else ["fold"]
        columns += [name for name in TRAITS if name in self.table]
        # One by one: `astype(str)` leaves a missing age NaN under pandas 3, which no JSON holds.
        return digest_of_json([self.table[columns].map(str).to_numpy().tolist(), self.target.tolist()])


def _check_kind(datamodule: ScanDataModule, head: Head) -> None:
    if head.dense != (not datamodule.target):
        label = " and ".join(datamodule.target) or "a mask"
        raise BraindinoError(
            f"{type(head).__name__} predicts {'masks' if head.dense else 'no masks'}; the label of this "
            f"dataset, as its options are, is {label}.\n"
            "Give another head, or say by the dataset's options (task, target) what is to be predicted."
        )


def _left_out(
    cases: pd.DataFrame, modalities: tuple[str, ...], missing: Missing, unusable: Mapping[int, str]
) -> pd.Series:
    """Why a case cannot be used, or nothing."""
    there = cases[[f"key_{name}" for name in modalities]] != ""
    reasons = pd.Series("", index=cases.index)
    reasons[~cases["split"].isin(PARTS)] = "in no part of the split"
    if missing == "drop":
        for name in modalities:
            reasons[(reasons == "") & ~there[f"key_{name}"]] = f"no {name} (probe.missing: drop)"
    reasons[(reasons == "") & ~there.any(axis=1)] = "no scan"
    for row, reason in unusable.items():
        reasons[row] = reasons[row] or reason
    return reasons


class CaseFeatures:
    """N cases with M scans each, and the features of all K scans that occur, in memory.

    Where pooling over slices has no parameters it is done here, once: the slices D become 1. Memory is
    K x D x dim x 4 bytes, so 0.4 MB per scan of 128 x 768 when it is not.

    Args:
        cases: each has one scan at least; the order of their modalities is the order of M.
        features: scan key -> (D, dim).
        pooling: decides what is done beforehand.
    """

    def __init__(self, cases: ProbeCases, features: Mapping[str, Tensor], pooling: Pooling) -> None:
        keys = cases.table[[f"key_{name}" for name in cases.modalities]].to_numpy(dtype=object)
        scans = sorted(set(keys[keys != ""]))
        place = {key: row for row, key in enumerate(scans)}
        self.rows = torch.tensor([[place.get(key, -1) for key in case] for case in keys])
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
        self.encoder: Encoder | None = None  # has done its work

    @property
    def shape(self) -> dict[str, int]:
        """What a pooling is built for: width of the features of a slice, and number of modalities."""
        return {"embed_dim": self.features.shape[-1], "modalities": self.rows.shape[1]}

    def train_target(self, cases: Tensor) -> Tensor:
        """The targets of the cases numbered `cases`."""
        return self.target[cases]

    def batch(self, cases: Tensor) -> dict[str, Tensor]:
        """Of cases number `cases` (B,): "features" (B, M, D, dim), "mask" (B, M, D), "target", "case"."""
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
        """All that the cases numbered `cases` hold."""
        return self.loader(cases, 64)

    def loader(self, cases: Tensor, batch_size: int, shuffle: int | None = None) -> "Batches":
        """Batches of the cases numbered `cases`; a seed in `shuffle` gives another order every epoch."""
        return Batches(self, cases, batch_size, shuffle)


class Batches:
    """An iterable of batches; each pass takes the next order of the random sequence."""

    def __init__(self, data: CaseFeatures, cases: Tensor, batch_size: int, shuffle: int | None) -> None:
        self.data, self.cases, self.batch_size = data, cases, batch_size
        self.random = None if shuffle is None else torch.Generator().manual_seed(shuffle)

    def __len__(self) -> int:
        """Number of batches of a pass; the last may be smaller."""
        return -(-len(self.cases) // self.batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """One pass."""
        cases = self.cases
        if self.random is not None:
            cases = cases[torch.randperm(len(cases), generator=self.random)]
        for chosen in cases.split(self.batch_size):
            yield self.data.batch(chosen)
