"""Set up every test: one thread, no SLURM job, no network, because tensors are tiny and cores are shared.

Inside a SLURM job or under torchrun Lightning would treat each test as a part of that job.
"""

import os
import socket
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_SILENT", "true")
for name in list(os.environ):
    if name.startswith(("SLURM_", "TORCHELASTIC_")) or name in {
        "RANK",
        "LOCAL_RANK",
        "WORLD_SIZE",
        "MASTER_PORT",
    }:
        del os.environ[name]

HERE = {None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0", socket.gethostname()}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Block network access in every test and in the commands that it runs in its process."""
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def only_here(host: Any, *arguments: Any, **options: Any) -> Any:
        assert host in HERE, f"asked for the address of {host}"
        return look_up(host, *arguments, **options)

    def only_to_here(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX or address[0] in HERE, f"spoke to {address}"
        connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", only_here)
    monkeypatch.setattr(socket.socket, "connect", only_to_here)
