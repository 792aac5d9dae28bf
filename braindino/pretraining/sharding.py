"""FSDP2 for large models: weights, gradients and optimiser state spread over the processes."""

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
    """FSDP2 over all processes: `--trainer.strategy braindino.pretraining.Sharded`.

    A checkpoint is one file with whole tensors, as without sharding, so that `export`, `init_from` and
    another number of processes can read it.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Make all processes one data-parallel group."""
        assert self.cluster_environment is not None
        self._data_parallel_size = self.num_processes * self.num_nodes
        super().setup_environment()

    # Lightning numbers the optimiser's states by the order of the model's parameters, which is not that of
    # the groups, so that loaded states would belong to other weights. The methods below use that of groups.

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Return True: Lightning calls `load_optimizer_state_dict`."""
        return True

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return the optimiser's state with whole tensors; all processes must call this."""
        state = optimizer.state_dict()
        return {**state, "state": {i: _each(values, _whole) for i, values in state["state"].items()}}

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Read the checkpoint's file, on every process."""
        return ParallelStrategy.load_checkpoint(self, checkpoint_path, weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Load the part of the weights that belongs to this process."""
        assert self.lightning_module is not None
        options = StateDictOptions(full_state_dict=True, strict=strict)
        set_model_state_dict(self.lightning_module, checkpoint["state_dict"], options=options)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Load the part of the optimiser's state that belongs to this process."""
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
        # The number of the step is a scalar.
        if not isinstance(weight, DTensor) or tensor.shape != weight.shape:
            return tensor
        return distribute_tensor(tensor.to(weight.device), weight.device_mesh, weight.placements)

    return part


def shard(network: Any, mesh: DeviceMesh) -> None:
    """Shard a student, teacher or Gram teacher, in place: each block by itself, then the rest.

    The rest (heads, tokens, patch embedding) stays whole from the forward to the end of the backward pass, as
    the losses need the prototypes too.

    Args:
        network: see `Trunk`.
        mesh: mesh of the processes.
    """
    # torch warns of in-place changes of the output of a forward pass; there are none here.
    warnings.filterwarnings("ignore", ".*returned a view tensor.*")
    for block in network.backbone.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh, reshard_after_forward=False)
    # The monitors call this method instead of `forward`, as they need no heads.
    register_fsdp_forward_method(network, "tokens")


def local(tensors: list[Tensor]) -> list[Tensor]:
    """Return the part of each sharded tensor on this process, and other tensors unchanged."""
    return [t.to_local() if isinstance(t, DTensor) else t for t in tensors]


def is_sharded(tensors: list[Tensor]) -> bool:
    """Return whether any of these tensors is a part only."""
    return any(isinstance(t, DTensor) for t in tensors)


def reshard(network: nn.Module) -> None:
    """Leave every process only its part of the weights, after a forward pass without backward."""
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
