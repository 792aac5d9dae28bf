"""What a probe trains on, whichever way its cases come: kept features, whole scans, or slices with masks."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from braindino.encoders.base import Encoder

Batch = dict[str, Tensor]


class CaseData(Protocol):
    """N cases, numbered as in `ProbeCases`.

    Attributes:
        encoder: to be run on every batch; None where the batches hold features already.
        shape: what the pooling (of a dense head, the decoder) is built for, its arguments by name.
    """

    encoder: Encoder | None

    @property
    def shape(self) -> dict[str, int]:
        """See above."""

    def train_target(self, cases: Tensor) -> Tensor:
        """What the head may know of the targets of the cases numbered `cases` before it is trained."""

    def sample(self, cases: Tensor) -> Iterable[Batch]:
        """Batches that show what the cases numbered `cases` hold, to be standardised by."""

    def loader(self, cases: Tensor, batch_size: int, shuffle: int | None = None) -> Any:
        """Batches of the cases numbered `cases`; a seed in `shuffle` makes them those of training."""


def running_moments(parts: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and deviation (dim,) over the rows of all parts (n, dim), float32; 1 where a column is constant.

    Parts are merged by their own means (Chan et al. 1983, "Algorithms for computing the sample variance"), in
    float64: deviations of a millionth of the mean are told from rounding.
    """
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for part in _doubles(parts):
        own = part.mean(dim=0)
        away, total = own - mean, count + len(part)
        squares = squares + (part - own).square().sum(dim=0) + away.square() * (count * len(part) / total)
        mean, count = mean + away * (len(part) / total), total
    spread = (squares / count).sqrt()
    constant = spread <= 1e-7 * mean.abs()
    return mean.float(), spread.masked_fill(constant, 1.0).float()


def _doubles(parts: Iterable[Tensor]) -> Iterator[Tensor]:
    for part in parts:
        if len(part):
            yield part.cpu().double()
