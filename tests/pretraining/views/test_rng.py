"""Streams of a batch: equal for equal numbers, unrelated for different ones."""

import itertools

import torch

from braindino.pretraining.views.rng import Randomness

CPU = torch.device("cpu")


def test_randomness_of_equal_numbers_gives_equal_streams() -> None:
    def draw(seed: int, batch: int, process: int) -> tuple[float, float]:
        r = Randomness.of(seed, batch, process, CPU)
        return float(r.host.random()), torch.rand((), generator=r.device).item()

    numbers = list(itertools.product(range(3), repeat=3))
    draws = [draw(*n) for n in numbers]
    assert draws == [draw(*n) for n in numbers]
    for stream in zip(*draws, strict=True):
        assert len(set(stream)) == len(numbers)


def test_randomness_neither_uses_nor_changes_the_global_state() -> None:
    state = torch.get_rng_state()
    r = Randomness.of(0, 0, 0, CPU)
    torch.rand(3, generator=r.device)
    assert torch.equal(torch.get_rng_state(), state)
