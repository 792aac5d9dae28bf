"""A loader raises if shared memory is too small or a worker dies or hangs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils.data import Dataset

from braindino.datasets import loading
from braindino.datasets.loading import Loader, shared_size, worker_error, worker_options
from braindino.errors import BraindinoError


class Usage(NamedTuple):
    free: int


class Blocks(Dataset[torch.Tensor]):
    """Tensors of 40 kB; worker processes fail by `fault`."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        if torch.utils.data.get_worker_info() is not None:
            if self.fault == "death":
                os._exit(3)
            if self.fault == "silence":
                torch.multiprocessing.Event().wait(60)
        return torch.full((10_000,), float(index))


class Full(torch.Tensor):
    """A tensor that cannot be passed on, as if the shared memory were full."""

    def __reduce_ex__(self, _: Any) -> Any:
        raise RuntimeError("unable to write to file </torch_1>: No space left on device (28)")


def loader(fault: str = "", workers: int = 1, **options: Any) -> Loader:
    return Loader(Blocks(fault), batch_size=4, **{**worker_options(workers), **options})


def test_loader_returns_the_same_batches_with_workers() -> None:
    assert all(torch.equal(a, b) for a, b in zip(loader(workers=0), loader(workers=2), strict=True))


def test_loader_refuses_too_little_shared_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loading, "SHARED", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(600_000))
    assert len(list(loader(workers=1))) == 2  # 3 x 160 kB
    with pytest.raises(BraindinoError, match=r"data.num_workers 2: .* need 0.9 MB .* 0.6 MB are free in"):
        list(loader(workers=2))
    assert len(list(loader(workers=0))) == 2
    monkeypatch.setattr(loading, "SHARED", tmp_path / "none")  # a system without it
    assert len(list(loader(workers=2))) == 2


@pytest.mark.parametrize(
    ("fault", "part"), [("death", "exited unexpectedly"), ("silence", "timed out after 1 seconds")]
)
def test_loader_ends_when_a_worker_dies_or_is_silent(fault: str, part: str) -> None:
    with pytest.raises(BraindinoError, match=rf"died, or returned none.*{part}(.|\n)*--data.num_workers 0"):
        list(loader(fault, timeout=1 if fault == "silence" else 60))


def test_loader_ends_when_a_batch_cannot_be_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    """Sending fails in a thread of the worker; torch itself would wait forever."""

    class Unsendable(Blocks):
        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.zeros(3).as_subclass(Full)

    with pytest.raises(BraindinoError, match="exited unexpectedly"):
        list(Loader(Unsendable(), batch_size=None, **worker_options(1)))
    assert "a worker cannot pass on its batch: unable to write" in capfd.readouterr().err


def test_loader_with_an_unfinished_epoch_does_not_delay_the_end_of_the_process() -> None:
    code = (
        "from tests.datasets.test_loading import loader\n"
        "blocks = loader(workers=1)\n"
        "blocks.itself = blocks\n"  # as in a trainer: objects of a circle are alive at exit
        "next(iter(blocks))\n"
        "raise SystemExit(143)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 143


def test_loader_measures_a_batch_without_changing_random_states(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Order(torch.utils.data.Sampler[list[int]]):
        def __init__(self) -> None:
            self.random = torch.Generator().manual_seed(0)

        def __iter__(self) -> Any:
            yield from torch.randperm(8, generator=self.random).split(4)

    def batches() -> list[torch.Tensor]:
        torch.manual_seed(0)
        got = list(Loader(Blocks(), batch_sampler=Order(), **worker_options(1)))
        return [*got, torch.rand(1)]

    expected = batches()
    monkeypatch.setattr(loading, "LARGE_BATCH", 2**60)  # so that a batch is loaded to be measured
    assert all(torch.equal(a, b) for a, b in zip(batches(), expected, strict=True))


def test_shared_size_counts_pages_of_every_tensor() -> None:
    assert shared_size({"a": torch.zeros(1), "b": [torch.zeros(1025), 3, "x"], "c": (None,)}) == 3 * 4096


def test_worker_error_is_none_for_other_errors() -> None:
    assert worker_error(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    killed = RuntimeError("DataLoader worker (pid 3) is killed by signal: Bus error. It is possible that ...")
    assert "Bus error" in str(worker_error(killed))
