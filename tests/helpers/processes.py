"""Run a function in several gloo processes and collect what each returns."""

import io
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _work(
    rank: int,
    world: int,
    port: int,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    pipe: Connection,
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    try:
        answer = (True, function(rank, world, *arguments))
    except Exception:
        answer = (False, traceback.format_exc())
    buffer = io.BytesIO()
    torch.save(answer, buffer)
    pipe.send_bytes(buffer.getvalue())
    dist.destroy_process_group()


def run_processes(function: Callable[..., Any], world: int, *arguments: Any) -> list[Any]:
    """Return [function(rank, world, *arguments) for each rank], each in a forked process."""
    context = mp.get_context("fork")
    port = _free_port()
    pipes, processes = [], []
    for rank in range(world):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(rank, world, port, function, arguments, sender))
        process.start()
        sender.close()
        pipes.append(receiver)
        processes.append(process)
    answers = [torch.load(io.BytesIO(pipe.recv_bytes()), weights_only=True) for pipe in pipes]
    for process in processes:
        process.join()
    for succeeded, value in answers:
        assert succeeded, value
    return [value for _, value in answers]
