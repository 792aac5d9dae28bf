"""Synthetic slices, and a small data module with the batches of `SliceDataModule`."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from braindino.scans.contract import Preprocessing


def structured_slices(count: int, size: int, seed: int = 0) -> Tensor:
    """Return varying ellipses with rim, cavity, blobs and stripes, (count, size, size) uint8."""
    g = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")

    def draw(low: float, high: float) -> Tensor:
        return (torch.rand(count, 1, 1, generator=g) * (high - low) + low).expand(count, size, size)

    def disc(cy: Tensor, cx: Tensor, ry: Tensor, rx: Tensor) -> Tensor:
        return torch.sigmoid((1 - ((y - cy) / ry) ** 2 - ((x - cx) / rx) ** 2) * 8)

    cy, cx, ry, rx = draw(-0.1, 0.1), draw(-0.1, 0.1), draw(0.6, 0.9), draw(0.5, 0.8)
    head = disc(cy, cx, ry, rx)
    image = head * draw(80, 140) + (head - disc(cy, cx, ry * 0.85, rx * 0.85)) * 100
    image -= disc(cy, cx, draw(0.1, 0.35), draw(0.08, 0.25)) * 70
    for _ in range(2):
        image += disc(draw(-0.5, 0.5), draw(-0.4, 0.4), draw(0.05, 0.2), draw(0.05, 0.2)) * draw(-60, 80)
    stripes = torch.sin((x * draw(-1, 1) + y * draw(-1, 1)) * draw(5, 25))
    image += head * stripes * 20
    return image.clamp(0, 254).round().to(torch.uint8)


class _Slices(Dataset[dict[str, Tensor]]):
    def __init__(self, slices: Tensor) -> None:
        self.slices = slices

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return {
            "slices": self.slices[i],
            "scale": torch.tensor(0.02),
            "zero_point": torch.tensor(40.0),
            "scan": torch.tensor(i),
            "slice": torch.tensor(0),
        }


class _Resumable(DataLoader[dict[str, Tensor]]):
    """Continues after the batch at which its state was taken."""

    done = skip = 0

    def __iter__(self) -> Any:
        skip, self.skip = self.skip, 0
        for i, batch in enumerate(super().__iter__()):
            if i >= skip:
                self.done = i + 1
                yield batch

    def state_dict(self) -> dict[str, int]:
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.skip = state["done"]


class FakeSlices(pl.LightningDataModule):
    """The same slices in the same order in every pass."""

    contract = Preprocessing(size=(32, 32))

    def __init__(self, count: int = 64, size: int = 32, batch_size: int = 8) -> None:
        super().__init__()
        self.slices, self.batch_size = structured_slices(count, size), batch_size

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return _Resumable(_Slices(self.slices), self.batch_size, drop_last=True)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return DataLoader(_Slices(self.slices[: 2 * self.batch_size]), self.batch_size)
