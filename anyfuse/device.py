"""Where a network computes, and in what number format."""

from __future__ import annotations

from .arrays import torch
from .errors import FusionError


def pick_device(name: str) -> torch.device:
    """auto: CUDA where there is one, else the CPU."""
    if not isinstance(name, str):
        raise FusionError(f"--device {name!r}: a device is a word; give auto, cpu or cuda")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, ValueError):
        raise FusionError(f"--device {name}: no such device; give auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise FusionError(f"--device {name}: this machine or this build of torch has no CUDA; give cpu or auto")
    if device.type not in ("cpu", "cuda", "mps") or (device.type == "mps" and not torch.backends.mps.is_available()):
        raise FusionError(f"--device {name}: not on this machine, or not supported; give auto, cpu or cuda")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """auto: float32."""
    known = {
        "auto": torch.float32,
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
    }
    if not isinstance(name, str) or name not in known:
        raise FusionError(f"--dtype {name}: give {', '.join(known)}")
    return known[name]
