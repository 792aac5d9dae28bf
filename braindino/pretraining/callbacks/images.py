"""Callbacks that draw into the run folder: patch tokens of fixed slices, and views."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from braindino.analysis.figures.slice_view import SliceView
from braindino.analysis.principal_components import principal_colours
from braindino.encoders.maps import slice_view
from braindino.errors import BraindinoError
from braindino.pretraining.callbacks.drawing import draw_patches, draw_views, grey, window, with_mask
from braindino.pretraining.callbacks.stored_slices import store_of, stored_slice, takes_part, teacher_tokens
from braindino.pretraining.module import DINOModule
from braindino.scans.preprocessing import decode
from braindino.scans.store.store import Store
from braindino.scans.subset import evenly_spaced

MAX_LOCAL_CROPS = 4


class PatchPictures(pl.Callback):
    """Draw `pictures/patches_step<N>.png`: the teacher's patch tokens as colours.

    The slices are the same in every picture: middle ones of scans evenly spaced over the store.

    Args:
        every: optimiser steps between two pictures.
        slices: number of slices in a picture.

    Raises:
        BraindinoError: a number below 1; when the training starts, a data module without a store.
    """

    def __init__(self, every: int = 1000, slices: int = 8) -> None:
        if min(every, slices) < 1:
            raise BraindinoError("PatchPictures: every and slices must be at least 1.")
        self.every, self.slices = every, slices
        self._drawn = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Raise BraindinoError, before any step, if there is no store to take slices from."""
        store_of(trainer, type(self).__name__)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Draw a picture on the first process if one is due."""
        step = trainer.global_step
        if step % self.every or step == self._drawn or not takes_part(trainer):
            return
        self._drawn = step
        assert isinstance(pl_module, DINOModule)
        slices, views = self._fixed_slices(store_of(trainer, type(self).__name__))
        rows, columns = grid = pl_module.teacher.grid(slices)
        tokens = torch.unflatten(teacher_tokens(trainer, pl_module, slices[:, None])[1], 1, grid)
        if not trainer.is_global_zero:
            return
        in_patches = (slices != 0).float().unfold(1, slices.shape[1] // rows, slices.shape[1] // rows)
        in_patches = in_patches.unfold(2, slices.shape[2] // columns, slices.shape[2] // columns)
        foreground = in_patches.mean(dim=(3, 4)).numpy() > 0.5
        colours = principal_colours(tokens.cpu().numpy(), foreground)
        title = f"patch tokens of the teacher, first three principal components, step {step}"
        draw_patches(_folder(trainer) / f"patches_step{step:07d}.png", slices.numpy(), colours, title, views)

    def _fixed_slices(self, store: Store) -> tuple[torch.Tensor, list[SliceView]]:
        """Return slices (N, H, W), z-scored, at 50, 35 and 65 % of the foreground in turn."""
        index = store.index().drop_duplicates("key", ignore_index=True)
        chosen = index.iloc[evenly_spaced(len(index), self.slices)]
        slices, views = [], []
        for i, row in enumerate(chosen.to_dict("records")):
            position = row["first"] + (row["last"] - row["first"]) * (0.5, 0.35, 0.65)[i % 3]
            slices.append(stored_slice(store, row["key"], round(position), row["scale"], row["zero_point"]))
            views.append(slice_view(store, row["key"]))
        return torch.stack(slices), views


class ViewPictures(pl.Callback):
    """Draw `pictures/views_step<N>.png`: slices of a batch, their views and masked patches.

    Args:
        every: optimiser steps between two pictures.
        slices: number of slices of the batch in a picture.

    Raises:
        BraindinoError: a number below 1.
    """

    def __init__(self, every: int = 1000, slices: int = 4) -> None:
        if min(every, slices) < 1:
            raise BraindinoError("ViewPictures: every and slices must be at least 1.")
        self.every, self.slices = every, slices
        self._drawn = -1

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Draw the views of this batch on the first process, if a picture is due.

        Views are a function of seed, batch number and process, so that drawing them changes nothing.
        """
        step = trainer.global_step
        if step % self.every or step == self._drawn or not trainer.is_global_zero:
            return
        self._drawn = step
        assert isinstance(pl_module, DINOModule)
        views, masks, _ = pl_module.views_of(batch, pl_module.batches)
        plain = decode(batch["slices"], batch["scale"], batch["zero_point"]).float().cpu().numpy()
        grid = pl_module.student.grid(views.global_crops)
        mask = masks.mask.cpu().reshape(*views.global_crops.shape[:2], *grid).numpy()
        rows = []
        for b, image in enumerate(plain[: self.slices]):
            row = [("slice", window(image))]
            for v, crops in enumerate(views.global_crops):
                row.append((f"global {v + 1}", with_mask(_crop_in_grey(crops[b], image), mask[v, b])))
            if views.gram_crops is not None:
                row.append(("Gram 1", _crop_in_grey(views.gram_crops[0, b], image)))
            for v, crops in enumerate(views.local_crops[:MAX_LOCAL_CROPS]):
                row.append((f"local {v + 1}", _crop_in_grey(crops[b], image)))
            rows.append(row)
        title = f"views of step {step}, masked patches in red"
        views_of = _views(trainer, batch, len(rows))
        draw_views(_folder(trainer) / f"views_step{step:07d}.png", rows, title, views_of)


def _crop_in_grey(crop: torch.Tensor, image: Any) -> Any:
    """Return a crop (1, h, w) as (h, w) in 0-1, by the intensity window of its slice (H, W)."""
    return grey(crop[0].cpu().numpy(), image)


def _views(trainer: pl.Trainer, batch: Any, count: int) -> list[SliceView] | None:
    """Return the orientation of the first slices of a batch.

    Args:
        trainer: trainer of the run.
        batch: see `SliceDataModule`.
        count: number of slices.

    Returns:
        One view per slice; None where the data module has no store of scans.
    """
    data = getattr(trainer, "datamodule", None)
    store, scans = getattr(data, "store", None), getattr(data, "scans", None)
    if store is None or scans is None or "scan" not in batch:
        return None
    return [slice_view(store, scans["key"].iloc[int(number)]) for number in batch["scan"][:count]]


def _folder(trainer: pl.Trainer) -> Path:
    return Path(trainer.default_root_dir) / "pictures"
