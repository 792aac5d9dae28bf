"""Sums and maxima over all training processes (the identity for one), and a voice for all of them."""

import torch
from torch import Tensor
from torch.distributed import ReduceOp, all_reduce, get_rank, get_world_size, is_available, is_initialized


def world_size() -> int:
    """Number of training processes."""
    return get_world_size() if is_available() and is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return get_rank() if is_available() and is_initialized() else 0


def say(text: str) -> None:
    """Print a line, on the first process only."""
    if rank() == 0:
        print(text, flush=True)


def sum_over_processes(value: Tensor) -> Tensor:
    """Sum of `value` over all processes, in place; no gradient flows."""
    if world_size() > 1:
        all_reduce(value, op=ReduceOp.SUM)
    return value


def maximum_over_processes(value: Tensor) -> Tensor:
    """Elementwise maximum of `value` over all processes, in place; no gradient flows."""
    if world_size() > 1:
        all_reduce(value, op=ReduceOp.MAX)
    return value


class _GatherRows(torch.autograd.Function):
    """Concatenate the rows of all processes; the gradient of a row returns to the process that owns it."""

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
        return gradient.unflatten(0, (world_size(), -1))[rank()]


def gather_rows(rows: Tensor) -> Tensor:
    """Rows of all processes by rank, with gradients: (n, d) -> (processes * n, d), n equal everywhere."""
    if world_size() == 1:
        return rows
    return _GatherRows.apply(rows)
