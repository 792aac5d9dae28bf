"""Weights, gradients and optimiser state spread over the processes (FSDP2), for large models."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy, ParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer


class Sharded(ModelParallelStrategy):
    """`--trainer.strategy braindino.pretraining.Sharded`: FSDP2 over all processes.

    A checkpoint is one file with whole tensors, as without it, so that `export`, `init_from` and another
    number of processes can read it.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Every process is a part of one data-parallel group."""
        assert self.cluster_environment is not None
        self._data_parallel_size = self.num_processes * self.num_nodes
        super().setup_environment()

    # Lightning's own way numbers the optimiser's states by the order of the model's parameters, which is not
    # that of the groups: what is then loaded belongs to other weights. Here all is as without sharding.

    @property
    def lightning_restore_optimizer(self) -> bool:
        """By `load_optimizer_state_dict`."""
        return True

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """As `state_dict` gives it, with whole tensors; all processes must ask."""
        state = optimizer.state_dict()
        return {**state, "state": {i: _each(values, _whole) for i, values in state["state"].items()}}

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """The file, on every process."""
        return ParallelStrategy.load_checkpoint(self, checkpoint_path, weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Every process takes its part."""
        assert self.lightning_module is not None
        options = StateDictOptions(full_state_dict=True, strict=strict)
        set_model_state_dict(self.lightning_module, checkpoint["state_dict"], options=options)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Every process takes its part."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            weights = [p for group in optimizer.param_groups for p in group["params"]]
            parts = {i: _each(values, _part_like(weights[i])) for i, values in state["state"].items()}
            optimizer.load_state_dict({**state, "state": parts})


def _each(values: dict[str, Tensor], change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    return {name: change(value) for name, value in values.items()}


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor().cpu() if isinstance(tensor, DTensor) else tensor.cpu()


def _part_like(weight: Tensor) -> Callable[[Tensor], Tensor]:
    def part(tensor: Tensor) -> Tensor:
        if not isinstance(weight, DTensor) or tensor.shape != weight.shape:
            return tensor  # the number of the step
        return distribute_tensor(tensor.to(weight.device), weight.device_mesh, weight.placements)

    return part


def shard(network: Any, mesh: DeviceMesh) -> None:
    """Spread a student, teacher or Gram teacher, in place: each block by itself, and the rest together.

    The rest (heads, tokens, patch embedding) stays whole from the forward to the end of the backward pass, as
    the losses need the prototypes too.
    """
    # torch warns of changes in place of what a forward pass returns; nothing here does that
    warnings.filterwarnings("ignore", ".*returned a view tensor.*")
    for block in network.backbone.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh, reshard_after_forward=False)
    register_fsdp_forward_method(network, "tokens")  # what the monitors call, past the heads


def local(tensors: list[Tensor]) -> list[Tensor]:
    """Of sharded tensors the part that this process has; others as they are."""
    return [t.to_local() if isinstance(t, DTensor) else t for t in tensors]


def is_sharded(tensors: list[Tensor]) -> bool:
    """Whether these are parts only."""
    return any(isinstance(t, DTensor) for t in tensors)


def put_away(network: nn.Module) -> None:
    """Leave every process only its part of the weights, after a forward pass without a backward pass."""
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
