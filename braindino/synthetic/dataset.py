"""Give all writers of synthetic datasets the same arguments and state."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Protocol

import numpy as np

from braindino.synthetic.files import Planted, save_scan
from braindino.synthetic.rendering import Rendered, SyntheticHead

Shape = tuple[int, int, int]
SHAPE: Shape = (48, 56, 48)


@dataclass(frozen=True)
class SyntheticDataset:
    """Hold the arguments and the state of a dataset while it is written.

    Attributes:
        root: folder to write to.
        people: number of people.
        sessions: maximum number of sessions of a person; datasets with one session ignore it.
        shape: voxels along right, anterior, superior.
        seed: seed of people and scans.
        rng: random numbers of this dataset.
        planted: what was written, for tests.
    """

    root: Path
    people: int
    sessions: int
    shape: Shape
    seed: int
    rng: np.random.Generator
    planted: Planted = field(default_factory=Planted)

    def person(self, number: int, age: float, sex: str, atrophy: float = 0.0) -> SyntheticHead:
        """Return the head of person `number`, a different one for every seed; atrophy is at least 0."""
        return SyntheticHead(self.seed * 100_003 + number, age, sex, max(0.0, atrophy))

    def save_scan(self, path: Path, rendered: Rendered, codes: str) -> None:
        """Write a scan as int16 NIfTI with a random gain and its axes turned to `codes`."""
        save_scan(self.rng, path, rendered, codes)


class Writer(Protocol):
    """Write a synthetic dataset in its native layout."""

    def __call__(
        self, root: Path, people: int = 60, sessions: int = ..., shape: Shape = SHAPE, seed: int = 0
    ) -> Planted:
        """Write the dataset.

        Args:
            root: folder to write to.
            people: number of people.
            sessions: maximum number of sessions of a person; datasets with one session ignore it.
            shape: voxels along right, anterior, superior.
            seed: another seed gives other people; the same seed gives the same scans.

        Returns:
            The scans that an index should list, and the numbers of files that it should drop.
        """


def writer(stream: int, sessions: int = 1) -> Callable[[Callable[[SyntheticDataset], None]], Writer]:
    """Decorate a function that fills a dataset, to give it the arguments of `Writer`.

    Args:
        stream: second part of the random generator's seed. Some datasets have the same; another number would
            change the files of a dataset.
        sessions: default for the argument of that name.
    """

    def decorate(write: Callable[[SyntheticDataset], None]) -> Writer:
        @wraps(write)
        def written(
            root: Path, people: int = 60, sessions: int = sessions, shape: Shape = SHAPE, seed: int = 0
        ) -> Planted:
            rng = np.random.default_rng([seed, stream])
            dataset = SyntheticDataset(Path(root), people, sessions, shape, seed, rng)
            write(dataset)
            return dataset.planted

        # Without it, tools would show the signature of the decorated function.
        del written.__wrapped__
        return written

    return decorate
