"""Settings of every test: one thread, as tensors are tiny and threads on a busy machine wait in turn."""

import os
import socket
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_SILENT", "true")

HERE = {None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0", socket.gethostname()}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test, and so no command that one runs in its own process, may speak to another machine."""
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def only_here(host: Any, *arguments: Any, **options: Any) -> Any:
        assert host in HERE, f"asked for the address of {host}"
        return look_up(host, *arguments, **options)

    def only_to_here(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX or address[0] in HERE, f"spoke to {address}"
        connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", only_here)
    monkeypatch.setattr(socket.socket, "connect", only_to_here)
