"""Any PyTorch module as a fusion model, in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import FusionError
from ..weights import save_folder
from .base import Context, FusionModel

Call = Literal["pair", "stack", "set"]


@dataclass(frozen=True)
class WrapConfig:
    """How a module is called, and what tiling has to know."""

    module: str  # name of its class
    call: Call = "pair"
    channels: Literal[1, 3] = 1
    images: int = 2
    halo: int | None = None
    stride: int = 1
    ordered: bool = True


class Wrapped(FusionModel):
    """A plain `nn.Module` under the contract of `FusionModel`. See `wrap`."""

    def __init__(self, module: nn.Module, config: WrapConfig) -> None:
        super().__init__()
        self.module, self.config = module, config
        self.halo, self.ordered, self.channels = config.halo, config.ordered, config.channels
        self.arity = (2, None) if config.call == "set" else (config.images, config.images)
        self.stride = config.stride  # type: ignore[misc]

    def forward(self, sources: Tensor, condition: Any = None, context: Context | None = None) -> Tensor:
        """(B, N, C, H, W) in [0, 1] -> (B, C, H, W) in [0, 1]; FusionError where the module gives another shape."""
        call = self.config.call
        if call == "set":
            fused = self.module(sources)
        elif call == "stack":
            fused = self.module(sources.flatten(1, 2))
        else:
            fused = self.module(*sources.unbind(1))
        shape = (sources.shape[0], *sources.shape[2:])
        if not isinstance(fused, Tensor) or fused.shape != shape:
            got = tuple(fused.shape) if isinstance(fused, Tensor) else type(fused).__name__
            raise FusionError(f"{self.config.module} gives {got} for {shape}: see call= and channels= of wrap")
        return fused.to(sources.dtype).clamp(0, 1)

    def save_pretrained(self, folder: Any) -> None:
        """Writes the state_dict of the module as model.safetensors, and how it was wrapped as config.json.

        The code of the module is not ours to write: load the state_dict into it, and wrap it again. `--model` refuses
        the folder.
        """
        save_folder(Path(folder), {"system": "Wrapped", **asdict(self.config)}, self.module.state_dict())


def wrap(
    module: nn.Module | Callable[..., Tensor],
    *,
    call: Call = "pair",
    channels: Literal[1, 3] = 1,
    images: int = 2,
    halo: int | None = None,
    stride: int = 1,
    ordered: bool = True,
) -> FusionModel:
    """A plain PyTorch module, or a function of tensors, as a model that `Fuser`, `fuse` and `bench` take.

        fuser = Fuser(wrap(net))

    Args:
        module: what fuses. It gets values in [0, 1] and gives (B, C, H, W); what lies outside [0, 1] is cut off.
        call: 'pair': module(a, b), each (B, C, H, W); 'stack': module(x), x (B, N*C, H, W); 'set': module(x), x (B, N,
            C, H, W), for any number of images.
        channels: C, 1 for luma or 3 for RGB.
        images: how many it takes, unless `call` is 'set'.
        halo: pixels around a pixel that its result depends on, which tiles then overlap by. None: the whole image is
            fused in one piece.
        stride: height and width are padded to a multiple of it.
        ordered: whether the images have roles: infrared before visible, darker before brighter. False: any order.

    Returns:
        The model in evaluation mode.

    Raises:
        FusionError: a choice that does not exist.
    """
    if call not in ("pair", "stack", "set"):
        raise FusionError(f"call='{call}': give pair, stack or set")
    if channels not in (1, 3) or images < 2 or stride < 1 or (halo is not None and halo < 0):
        raise FusionError("wrap: channels is 1 or 3, images 2 or more, stride 1 or more, halo None or 0 or more")
    if not callable(module):
        raise FusionError(f"wrap takes an nn.Module or a function, not a {type(module).__name__}")
    name = type(module).__name__ if isinstance(module, nn.Module) else getattr(module, "__name__", "function")
    net = module if isinstance(module, nn.Module) else _Function(module)
    return Wrapped(net, WrapConfig(name, call, channels, images, halo, stride, ordered)).eval()


class _Function(nn.Module):
    """A function as a module without weights."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the function gives."""
        return torch.as_tensor(self.function(*inputs))
