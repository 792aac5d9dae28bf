"""Interface of the data of a probe, and moments of features."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from braindino.encoders.base import Encoder

Batch = dict[str, Tensor]


class CaseData(Protocol):
    """Data of N cases, numbered as in `ProbeCases`: features, whole scans, or slices with masks.

    Attributes:
        encoder: the encoder to run on every batch; None if the batches contain features.
        shape: arguments of `build` of the pooling (for a dense head, of the decoder).
    """

    encoder: Encoder | None

    @property
    def shape(self) -> dict[str, Any]:
        """Return the arguments of `build` of the pooling (for a dense head, of the decoder)."""

    def train_target(self, cases: Tensor) -> Tensor:
        """Return the targets of some cases, or the regions of their masks, for `Head.build`."""

    def sample(self, cases: Tensor) -> Iterable[Batch]:
        """Return batches of the cases numbered `cases` from which the features are standardised."""

    def loader(self, cases: Tensor, batch_size: int, shuffle: int | None = None) -> Any:
        """Return batches of some cases; a seed in `shuffle` makes them those of training."""


def running_moments(parts: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and deviation (dim,) over the rows of all parts; 1 for a constant column.

    Parts are merged by their means (Chan et al. 1983, "Algorithms for computing the sample variance") in
    float64, which separates deviations of a millionth of the mean from rounding.

    Args:
        parts: tensors (n, dim).
    """
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for part in _doubles(parts):
        part_mean = part.mean(dim=0)
        shift, total = part_mean - mean, count + len(part)
        within = (part - part_mean).square().sum(dim=0)
        squares = squares + within + shift.square() * (count * len(part) / total)
        mean, count = mean + shift * (len(part) / total), total
    spread = (squares / count).sqrt()
    constant = spread <= 1e-7 * mean.abs()
    return mean.float(), spread.masked_fill(constant, 1.0).float()


def _doubles(parts: Iterable[Tensor]) -> Iterator[Tensor]:
    for part in parts:
        if len(part):
            yield part.cpu().double()
