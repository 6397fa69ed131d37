"""The state of weights and optimisers in files of a size that is easy to carry, from which another run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from ..models.base import FusionModel
from .strategies.weighting import Strategy

PART = 15_500_000
"""Bytes of a part of the state."""


def save_state(folder: Path, model: FusionModel, strategy: Strategy, facts: Mapping[str, Any]) -> list[Path]:
    """Writes state.0, state.1, ... of PART bytes each: weights in float32, moments in bfloat16.

    Args:
        folder: of the run.
        model: whose weights it has.
        strategy: whose state it has.
        facts: plain values, as JSON takes them.

    Returns:
        The files.
    """
    tensors = {f"model.{k}": v.detach().cpu() for k, v in model.state_dict().items()}
    plain: dict[str, Any] = {}

    def flatten(value: Any, path: str) -> Any:
        if isinstance(value, Tensor):
            moment = value.ndim > 0 and value.is_floating_point() and value.numel() > 64
            tensors[path] = value.detach().cpu().to(torch.bfloat16) if moment else value.detach().cpu()
            return {"tensor": path}
        if isinstance(value, dict):
            return {"items": [[k, flatten(v, f"{path}.{k}")] for k, v in value.items()]}
        if isinstance(value, list | tuple):
            return {"list": [flatten(v, f"{path}.{i}") for i, v in enumerate(value)]}
        return {"plain": value}

    plain = {"strategy": flatten(strategy.state_dict(), "strategy"), "facts": dict(facts)}
    data = save({k: v.contiguous() for k, v in tensors.items()}, metadata={"plain": json.dumps(plain)})
    paths = []
    for index, start in enumerate(range(0, len(data), PART)):
        paths.append(folder / f"state.{index}")
        paths[-1].write_bytes(data[start : start + PART])
    return paths


def read_facts(folder: Path) -> dict[str, Any]:
    """The facts that `save_state` was given."""
    return dict(_header((folder / "state.0").read_bytes())["facts"])


def _header(data: bytes) -> dict[str, Any]:
    """What the header of the state holds beside tensors."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return dict(json.loads(header["__metadata__"]["plain"]))


def load_state(folder: Path, model: FusionModel, strategy: Strategy) -> dict[str, Any]:
    """Reads what `save_state` wrote.

    Args:
        folder: of the earlier run.
        model: gets the weights.
        strategy: gets its state.

    Returns:
        The facts.
    """
    parts = sorted(folder.glob("state.*"), key=lambda p: int(p.suffix[1:]))
    data = b"".join(p.read_bytes() for p in parts)
    place = next(model.parameters()).device  # a rate that is a tensor belongs there too
    tensors = {k: v.to(place) for k, v in load(data).items()}
    plain = _header(data)

    def restore(node: dict[str, Any]) -> Any:
        if "tensor" in node:
            value = tensors[node["tensor"]]
            return value.float() if value.dtype == torch.bfloat16 else value
        if "items" in node:
            return {k: restore(v) for k, v in node["items"]}
        return [restore(v) for v in node["list"]] if "list" in node else node["plain"]

    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    strategy.load_state_dict(restore(plain["strategy"]))
    return dict(plain["facts"])
