"""Online segmentation probe: a head on the teacher's patch tokens, fitted every few steps."""

from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.segmentation import DiceScore

from braindino.datasets import DATASETS, Cohort, dataset_class
from braindino.datasets.grid_masks import GridMask, grid_masks
from braindino.datasets.manifest import Manifest
from braindino.errors import BraindinoError
from braindino.pretraining.callbacks.labelled_scans import FRACTIONS
from braindino.pretraining.callbacks.linear_head import fit_linear_head
from braindino.pretraining.callbacks.online_callback import (
    OnlineCallback,
    gather_features,
    share_of_process,
)
from braindino.pretraining.callbacks.stored_slices import store_of, stored_slice
from braindino.pretraining.module import DINOModule
from braindino.scans.store.store import Store

LABELS = 256


class OnlineSegmentationProbe(OnlineCallback):
    """Log `val/online_dice` of a linear head on the frozen teacher's patch tokens.

    The head has one output per region and patch (a 1 x 1 convolution, fitted as a logistic regression). It is
    fitted from zero each time on slices of the training people, and evaluated on those of the validation
    people. A patch belongs to a region when at least half of its pixels do. Masks serve this number only,
    never the training.

    Dice is computed per case and region over all chosen slices, averaged over the cases whose mask has the
    region, then over the regions. A region without a patch in one of the two parts does not count. A value
    that is not defined is not logged: one warning names the reason.

    Args:
        manifest: CSV of `braindino index` that lists scans and masks. With a column `split` in it, `train`
            and `val` are used; else 30 % of the people are set apart for validation. Only cases whose scan is
            in the training's store count.
        regions: regions of the masks, such as `{lesion: [1]}`: name -> the labels that make it up. None takes
            those of the manifest's dataset, if that is one of `braindino index --dataset`.
        modality: modality of the scan that the teacher sees, such as `FLAIR`; may be omitted if there is only
            one.
        ignore_labels: numbers in the masks that count as background.
        every_n_steps: optimiser steps between two measurements.
        scans: maximum number of cases.
        slices: number of slices per case, evenly spaced over those that show a region, or over those with
            foreground if none does.
        weight_decay: L2 penalty of the head, on tokens of length 1 on average.
        seed: seed of the choice of cases, and of the people set apart.

    Raises:
        BraindinoError: a number out of range; when the training starts, no store, a manifest without usable
            masks, labels that no region names, or too few cases in the store.
    """

    metric = "val/online_dice"

    def __init__(
        self,
        manifest: Path,
        regions: dict[str, list[int]] | None = None,
        modality: str | None = None,
        ignore_labels: list[int] | None = None,
        every_n_steps: int = 1000,
        scans: int = 100,
        slices: int = 4,
        weight_decay: float = 1e-5,
        seed: int = 0,
    ) -> None:
        super().__init__(every_n_steps, scans, slices, weight_decay, seed)
        self.manifest, self.regions, self.modality = Path(manifest), dict(regions or {}), modality
        self.ignore_labels = ignore_labels
        self._cases = pd.DataFrame()
        self._positions: list[list[int]] = []
        self._labels = torch.zeros(0)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose cases and slices, label their patches, and warn if no region can be measured."""
        assert isinstance(pl_module, DINOModule)
        store = store_of(trainer, type(self).__name__)
        masks = self._choose(store)
        self._positions = [self._slices_of(i, mask) for i, mask in enumerate(masks)]
        patch_size: tuple[int, int] = pl_module.teacher.backbone.patch_embed.patch_size
        members = torch.zeros(LABELS, len(self.regions))
        for column, labels in enumerate(self.regions.values()):
            members[labels, column] = 1
        self._labels = torch.stack(
            [
                torch.stack([patch_labels(mask.slice(p), members, patch_size) for p in positions])
                for mask, positions in zip(masks, self._positions, strict=True)
            ]
        )
        self._drop_absent_regions()

    def _choose(self, store: Store) -> list[GridMask]:
        """Set the cases, a row each with `split` and how the scan is decoded; return their masks."""
        table = Manifest.read(self.manifest).table
        names = sorted(set(table["dataset"]))
        dataset = dataset_class(names[0]) if len(names) == 1 and names[0] in DATASETS else Cohort
        if not self.regions:
            self.regions = {name: list(labels) for name, labels in dataset.regions.items()}
        if not self.regions:
            raise BraindinoError(
                f"{self.manifest}: the regions of the dataset {', '.join(names)} are not known.\n"
                f"Set regions of the {type(self).__name__}, such as {{lesion: [1]}}."
            )
        data = Cohort(
            self.manifest,
            store.path,
            task="segmentation",
            regions=self.regions,
            modalities=None if self.modality is None else [self.modality],
            fractions=FRACTIONS,
            split_seed=self.seed,
            split_file=self.manifest if "split" in table.columns else None,
            ignore_labels=self.ignore_labels,
        )
        data.mask_rule = dataset.mask_rule  # type: ignore[method-assign]
        data.setup()
        if len(data.modalities) > 1:
            raise BraindinoError(
                f"{self.manifest}: has scans of {', '.join(data.modalities)}; name one of them in "
                f"modality of the {type(self).__name__}."
            )
        key = f"key_{data.modalities[0]}"
        cases = data.cases[data.cases["split"].isin(["train", "val"]) & (data.cases[key] != "")]
        data.cases = cases.sample(min(self.scans, len(cases)), random_state=self.seed).sort_index()
        masks = grid_masks(data)[0]
        cases = data.cases.loc[sorted(masks)]
        if set(cases["split"]) != {"train", "val"}:
            raise BraindinoError(
                f"{self.manifest}: of its cases with a mask, {len(cases)} are in {store.path}; "
                f"{type(self).__name__} needs some people to train on and others to validate on.\n"
                f"Prepare the manifest's scans into the store, or remove the {type(self).__name__}."
            )
        index = store.index().drop_duplicates("key").set_index("key")
        columns = index[["first", "last", "scale", "zero_point"]]
        self._cases = cases[[key, "split"]].set_axis(["key", "split"], axis=1).join(columns, on="key")
        return [masks[int(row)] for row in cases.index]

    def _slices_of(self, case: int, mask: GridMask) -> list[int]:
        """Return the positions of a case's slices."""
        labels = [label for labels in self.regions.values() for label in labels]
        positions = np.flatnonzero(mask.present[:, labels].any(axis=1))
        if not len(positions):
            row = self._cases.iloc[case]
            positions = np.arange(row["first"], row["last"] + 1)
        chosen = np.linspace(0, len(positions) - 1, self.slices).round().astype(int)
        return [int(position) for position in positions[chosen]]

    def _drop_absent_regions(self) -> None:
        """Keep the regions that both parts have patches of; warn if that leaves none."""
        is_train = self._is_train()
        present = torch.stack(
            [self._labels[part].flatten(0, 1).any(dim=-1).any(dim=0) for part in (is_train, ~is_train)]
        )
        measured = present.all(dim=0)
        self._labels = self._labels[:, :, measured]
        self.undefined = not measured.any()
        if self.undefined:
            self.skip(
                f"no region ({', '.join(self.regions)}) covers half a patch in masks of training people "
                "and in masks of validation people"
            )

    def _is_train(self) -> Tensor:
        return torch.tensor((self._cases["split"] == "train").tolist())

    def measure(self, trainer: pl.Trainer, module: DINOModule) -> Tensor | None:
        """Fit the head on the patch tokens of this moment and return its Dice."""
        store = store_of(trainer, type(self).__name__)
        rows = self._cases.to_dict("records")

        def images_of(i: int) -> Tensor:
            row = rows[i]
            slices = [
                stored_slice(store, row["key"], p, row["scale"], row["zero_point"])
                for p in self._positions[i]
            ]
            return torch.stack(slices)

        return self.score(gather_features(trainer, module, len(rows), images_of, lambda _, patches: patches))

    def score(self, tokens: Tensor) -> Tensor | None:
        """Return the Dice of a head fitted to the tokens of this moment.

        Args:
            tokens: (N, S, P, D) patch tokens of the chosen slices of the chosen cases.

        Returns:
            A scalar, equal on all processes; None if the tokens are not finite.
        """
        if not tokens.isfinite().all():
            return None
        is_train = self._is_train()
        labels = self._labels.to(tokens.device)  # (N, S, R, P)
        regions = labels.shape[2]
        head = fit_linear_head(
            tokens[is_train].flatten(0, 2),
            labels[is_train].movedim(2, -1).flatten(0, 2).to(tokens.dtype),
            regions,
            F.binary_cross_entropy_with_logits,
            self.weight_decay,
        )
        tokens, labels = tokens[~is_train], labels[~is_train]
        dice = []
        for region in range(regions):
            truth = labels[:, None, :, region]  # (n, 1, S, P)
            cases = share_of_process(truth.flatten(1).any(dim=1).nonzero()[:, 0])
            # Each case has the region: no Dice is 0 / 0, which versions of torchmetrics count differently.
            metric = DiceScore(1, average="none").to(tokens.device)
            metric.update(head(tokens[cases])[:, None, ..., region] > 0, truth[cases])
            dice.append(metric.compute().mean())
        return torch.stack(dice).mean()


def patch_labels(labels: np.ndarray, members: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """Return which patches belong to which region: at least half of their pixels do.

    Args:
        labels: (H, W) uint8, numbers of the mask.
        members: (256, R) float32, 1 where a label belongs to a region.
        patch_size: rows and columns of a patch in pixels.

    Returns:
        (R, patches) bool, patches row by row as the teacher's tokens.
    """
    inside = members[torch.from_numpy(labels.astype(np.int64))].movedim(-1, 0)
    return F.avg_pool2d(inside, patch_size).flatten(1) >= 0.5
