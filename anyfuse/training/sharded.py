"""Weights in parts (FSDP2): each process keeps a part of every block, its gradient and its moments.

Blocks alone are in parts: they hold nearly all weights of a transformer. A block is whole while it computes. Everything
else is as in `distributed`. Checkpoints hold whole tensors, so a run resumes with any number of processes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .distributed import PARTS, rank, world


def is_part(value: Any) -> bool:
    """Whether a tensor is kept in parts by all processes."""
    return isinstance(value, PARTS)


def own(value: Tensor) -> Tensor:
    """The part of this process, which shares its memory; a tensor that all processes have as it is."""
    local: Tensor = value.to_local() if is_part(value) else value  # type: ignore[attr-defined]
    return local


def shard(blocks: Iterable[nn.Module], device: torch.device | str) -> None:
    """Keeps the weights of blocks in parts from now on; one process keeps them whole."""
    if world() == 1:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # FSDP2 warns of results that are views: the layers never change one in place
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
    mesh = init_device_mesh(torch.device(device).type, (world(),))
    for block in blocks:
        fully_shard(block, mesh=mesh)


def whole(value: Any) -> Any:
    """A state with its tensors whole, on the CPU where they were in parts. All processes call it; others than the first
    get None for those tensors.
    """
    if is_part(value):
        full = value.full_tensor()
        return None if rank() else full.cpu()
    if isinstance(value, Mapping):
        return {name: whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [whole(one) for one in value]
    return value


def in_parts(value: Tensor, like: Any) -> Tensor:
    """A whole tensor, which all processes have, in parts as `like` is."""
    if not is_part(like) or is_part(value):
        return value
    from torch.distributed.tensor import distribute_tensor

    place = value.to(like.device, like.dtype)
    return distribute_tensor(place, like.device_mesh, like.placements, src_data_rank=None)


def states_in_parts(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A state of the model, in parts where the model is."""
    known = model.state_dict()
    return {name: in_parts(value, known.get(name)) for name, value in state.items()}


def moments_in_parts(optimiser: torch.optim.Optimizer) -> None:
    """Cuts what an optimiser has loaded, as its parameters are."""
    for parameter, state in optimiser.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = in_parts(value, parameter)


def has_parts(parameters: Iterable[Tensor]) -> bool:
    """Whether some are in parts."""
    return any(map(is_part, parameters))


def clip_parts(parameters: Sequence[nn.Parameter], largest: float) -> Tensor:
    """As torch's `clip_grad_norm_`, where some gradients are in parts."""
    grads = [p.grad for p in parameters if p.grad is not None]
    sums = [torch.zeros((), device=own(grads[0]).device) for _ in range(2)]  # of those in parts, of the others
    for grad in grads:
        sums[not is_part(grad)] += own(grad).float().square().sum()
    dist.all_reduce(sums[0])
    norm = (sums[0] + sums[1]).sqrt()
    share = (largest / (norm + 1e-6)).clamp(max=1.0)
    for grad in grads:
        own(grad).mul_(share)
    return norm
