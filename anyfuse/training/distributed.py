"""Training on several processes, as `torchrun` and `accelerate launch` start them: data-parallel, one model a process.

    draws      every process draws the whole batch of a step and keeps its part, so their number changes no draw
    losses     those that are nonlinear in a batch know the whole batch (`Batch.whole`); scalars are averaged
    gradients  are averaged before they are clipped, in buckets, whatever strategy made them
    files      the first process alone writes

With one process every function here gives back what it was given.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.batches import Batch
from ..errors import FusionError
from ..models.unifusion.additions import RunningNorm

BUCKET = 1 << 24
"""Numbers that are averaged at a time: 64 MB."""
PATIENCE = timedelta(hours=6)
"""How long processes wait for the first one, which may have a pool of samples to make. The launcher ends them all
where one fails."""

_RUNS = itertools.count()
"""Numbers of the runs in this process; each has addresses of its own."""

SEED_STEP, STEP_RANK = 1_000_003, 65_537
"""Primes that keep the seeds of runs, steps and processes apart."""

if dist.is_available():
    from torch.distributed.tensor import DTensor

    PARTS: tuple[type, ...] = (DTensor,)
else:
    PARTS = ()
"""Kinds of tensors that are kept in parts by all processes."""

SomeBatch = TypeVar("SomeBatch", bound=Batch)


def world() -> int:
    """How many processes train together, 1 or more."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if world() > 1 else 0


def launched() -> int:
    """How many processes a launcher has started, by its variables; 1 without one."""
    known = all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))
    return int(os.environ["WORLD_SIZE"]) if known else 1


@contextmanager
def processes(device: torch.device) -> Iterator[torch.device]:
    """Joins the other processes of a launcher for the time of a run.

    Args:
        device: on which kind of device to compute; of several GPUs each process of a machine takes its own.

    Yields:
        The device of this process.

    Raises:
        FusionError: more processes on this machine than GPUs, or a torch without torch.distributed.
    """
    if launched() < 2 or world() > 1:
        yield device
        return
    if not dist.is_available():
        raise FusionError("this build of torch has no torch.distributed; start one process")
    if device.type == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise FusionError(f"{torch.cuda.device_count()} GPUs for process {local + 1}: start one process a GPU")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    store, number, count = next(dist.rendezvous("env://", timeout=PATIENCE))
    # A launcher keeps the addresses of the processes' last group; a second run in them would call those and wait.
    store = dist.PrefixStore(f"run {next(_RUNS)}", store)
    dist.init_process_group(backend, timeout=PATIENCE, store=store, rank=number, world_size=count)
    try:
        yield device
    finally:
        dist.destroy_process_group()


@contextmanager
def first_alone() -> Iterator[None]:
    """The first process does the body alone; the others do it when it is done, and find what it has written."""
    if rank():
        dist.barrier()
    yield
    if world() > 1 and not rank():
        dist.barrier()


def wait_for_all() -> None:
    """Returns when every process is here."""
    if world() > 1:
        dist.barrier()


def own_draws(seed: int, step: int) -> None:
    """Gives each process but the first random numbers of its own, for what models and strategies draw (drop path,
    noise); batches are drawn by a generator that all have in common.
    """
    if rank():
        torch.manual_seed(((seed * SEED_STEP + step) * STEP_RANK + rank()) % 2**63)


def equal_start(model: nn.Module) -> None:
    """All processes begin with the first one's weights."""
    if world() > 1:
        for value in model.state_dict().values():
            dist.broadcast(value, 0)


# ---------------------------------------------------------------------- parts of a batch


def part_of(batch: SomeBatch, index: int, count: int) -> SomeBatch:
    """Rows index, index + count, ... of a batch of B rows; `whole` is the batch that it is a part of."""
    if count == 1:
        return batch
    rows = len(batch.sources)
    cut: dict[str, Any] = {"whole": batch.whole or batch}
    for f in fields(batch):
        value = getattr(batch, f.name)
        if isinstance(value, Tensor | list | tuple) and f.name != "whole" and len(value) == rows:
            cut[f.name] = value[index::count]
    return replace(batch, **cut)


def parts_of(batches: Sequence[Batch], count: int) -> list[list[Batch]]:
    """The batches of a step in `count` lists, each with a part of every batch."""
    return [[part_of(batch, index, count) for batch in batches] for index in range(count)]


def own_parts(batches: Sequence[Batch]) -> list[Batch]:
    """What this process learns from."""
    return [part_of(batch, rank(), world()) for batch in batches]


def check_tasks(tasks: Mapping[str, int], accumulate: int) -> None:
    """Raises FusionError where the sets of a task do not divide by the processes and the parts of a step."""
    if accumulate < 1:
        raise FusionError(f"accumulate {accumulate}: give 1 part or more")
    count = world() * accumulate
    odd = {task: sets for task, sets in tasks.items() if sets % count}
    if odd:
        remedy = " ".join(f"--set tasks.{task}={-(-sets // count) * count}" for task, sets in odd.items())
        raise FusionError(
            f"{world()} process(es) of {accumulate} part(s) a step cannot share {', '.join(odd)} evenly; give {remedy}"
        )


# ---------------------------------------------------------------------- values of all processes


def mean_of_all(value: Tensor) -> Tensor:
    """The mean over all processes, without a gradient."""
    if world() == 1:
        return value.detach()
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / world()


def at_value(losses: Tensor, value: Tensor) -> Tensor:
    """The value `value` with the gradient of `losses`: of a mean whose other parts are elsewhere."""
    return losses + (value - losses).detach()


def pooled(losses: Tensor) -> Tensor:
    """The mean of all processes, with the gradient of this one's part."""
    return losses if world() == 1 else at_value(losses, mean_of_all(losses))


def mean_values(values: dict[str, Any]) -> dict[str, Any]:
    """Means over all processes of numbers by name; one that a process lacks is the mean of the others."""
    if world() == 1:
        return values
    every: list[dict[str, float] | None] = [None] * world()
    dist.all_gather_object(every, {name: float(value) for name, value in values.items()})
    return mean_logs([one for one in every if one is not None])


def mean_logs(logs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of each name's values, over those that have it."""
    if len(logs) == 1:
        return dict(logs[0])
    names = dict.fromkeys(name for log in logs for name in log)
    lists = {name: [log[name] for log in logs if name in log] for name in names}
    return {name: sum(values[1:], values[0]) / len(values) for name, values in lists.items()}


def any_of(flag: bool) -> bool:
    """Whether it is true of some process."""
    if world() == 1:
        return flag
    value = torch.tensor(float(flag))
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return bool(value)


def all_equal(number: int) -> bool:
    """Whether all processes have the same number."""
    every = torch.tensor([number, -number])
    if world() > 1:
        dist.all_reduce(every, dist.ReduceOp.MAX)
    return int(every[0]) == -int(every[1])


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """The mean over all processes of each parameter's gradient; none stays where no process has one.

    Gradients of weights in parts are means already.
    """
    if world() == 1:
        return
    trained = [p for p in parameters if p.requires_grad and not isinstance(p, PARTS)]
    while trained:
        taken, size = 0, 0
        while taken < len(trained) and (not taken or size + trained[taken].numel() <= BUCKET):
            size += trained[taken].numel()
            taken += 1
        _average(trained[:taken])
        trained = trained[taken:]


def _average(bucket: Sequence[nn.Parameter]) -> None:
    """One bucket; a number for each parameter says whether some process has its gradient."""
    own = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
    there = torch.tensor([float(p.grad is not None) for p in bucket], device=bucket[0].device)
    flat = torch.cat([g.flatten().float() for g in own] + [there])
    dist.all_reduce(flat)
    *means, there = flat.split([p.numel() for p in bucket] + [len(bucket)])
    for p, grad, mean, some in zip(bucket, own, means, there.tolist(), strict=True):
        if some:
            p.grad = grad.copy_(mean.view(grad.shape) / world())


def mean_gradients(gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Gradients that belong to no optimiser, averaged; the same are None in all processes."""
    return [None if g is None else mean_of_all(g) for g in gradients]


# ---------------------------------------------------------------------- norms over the whole batch


class _SumOfAll(torch.autograd.Function):
    """The sum over all processes; so is the gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        """The sum."""
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """The sum of the gradients."""
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def batch_moments(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean (C,) and biased variance (C,) of (B, C, H, W) over all processes, and the numbers of a channel."""
    x = x.float()
    count = x.numel() // x.shape[1] * world()
    mean: Tensor = _SumOfAll.apply(x.sum((0, 2, 3))) / count
    variance: Tensor = _SumOfAll.apply((x - mean[:, None, None]).square().sum((0, 2, 3))) / count
    return mean, variance, count


def share_norms(model: nn.Module) -> None:
    """Batch norms of the model see the batch of all processes in training; their weights and names stay."""
    if world() == 1:
        return
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.forward = partial(_norm, module, module.forward)  # type: ignore[method-assign]


def _norm(norm: nn.BatchNorm2d, usual: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Batch norm over all processes in training, the usual one in use."""
    if not norm.training:
        return usual(x)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    running = isinstance(norm, RunningNorm)
    with torch.set_grad_enabled(torch.is_grad_enabled() and not running):
        mean, variance, count = batch_moments(x)
    with torch.no_grad():
        share = norm.share() if isinstance(norm, RunningNorm) else norm.momentum or 0.1
        norm.running_mean.lerp_(mean, share)
        norm.running_var.lerp_(variance * count / max(1, count - 1), share)
        norm.num_batches_tracked += 1
    if running:
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return ((x - mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]).to(x.dtype)
