"""Sums, maxima and rows over all training processes; with one process, the identity."""

import torch
from torch import Tensor
from torch.distributed import ReduceOp, all_reduce, get_rank, get_world_size, is_available, is_initialized


def world_size() -> int:
    """Return the number of training processes."""
    return get_world_size() if is_available() and is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return get_rank() if is_available() and is_initialized() else 0


def print_on_rank_zero(text: str) -> None:
    """Print a line, on the first process only."""
    if rank() == 0:
        print(text, flush=True)


def sum_over_processes(value: Tensor) -> Tensor:
    """Sum `value` over all processes, in place, and return it; no gradient flows."""
    if world_size() > 1:
        all_reduce(value, op=ReduceOp.SUM)
    return value


def maximum_over_processes(value: Tensor) -> Tensor:
    """Take the elementwise maximum over all processes, in place; no gradient flows."""
    if world_size() > 1:
        all_reduce(value, op=ReduceOp.MAX)
    return value


class _GatherRows(torch.autograd.Function):
    """Concatenate the rows of all processes; a row's gradient returns to its own process."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, rows: Tensor) -> Tensor:
        gathered = rows.new_zeros(world_size(), *rows.shape)
        gathered[rank()] = rows
        all_reduce(gathered)
        return gathered.flatten(0, 1)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        all_reduce(gradient)
        return gradient.chunk(world_size())[rank()]


def gather_rows(rows: Tensor) -> Tensor:
    """Concatenate the rows of all processes by rank, with gradients.

    Args:
        rows: (n, ...), n equal on all processes.

    Returns:
        (processes * n, ...).
    """
    if world_size() == 1:
        return rows
    gathered: Tensor = _GatherRows.apply(rows)
    return gathered
