"""The contract that every fusion model keeps, and saving and loading in the Hugging Face layout."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import FusionError
from ..weights import CONFIG_NAME, WEIGHTS_NAME, read_tensors

if TYPE_CHECKING:
    from ..control import Control


@dataclass(frozen=True)
class Context:
    """What a model knows of the whole image while it fuses a tile.

    `maps` (B, ..., h, w) lie on a grid `FusionModel.context_scale` times coarser than the image; tiling crops
    them to the tile. A map of 1x1 is a value of the whole image and is passed on as it is.
    """

    maps: tuple[Tensor, ...]

    def crop(self, rows: slice, cols: slice) -> Context:
        """The part of a tile; `rows` and `cols` count in cells of the coarse grid."""
        return Context(tuple(m if m.shape[-2:] == (1, 1) else m[..., rows, cols] for m in self.maps))


class FusionModel(nn.Module):
    """N images of one scene in, one image out.

    forward: sources (B, N, C, H, W) in [0, 1] -> fused (B, C, H, W) in [0, 1]. H and W are multiples of `stride`
    (tiling.py pads). A model with `channels` = 1 decides on luma, which is plane 0; if `carries_chroma`, further planes
    (chroma, centred at 0) may follow and are blended by the same weights.

    A model whose result at a pixel depends on the pixels within `halo` alone can be tiled as it is. A model with
    `context_scale` = s has a global part: `reduce` turns sources into maps s times smaller (local, within `halo`),
    `context` sees those maps of the whole image, and `forward` gets the crop of the context for its tile. Without a
    given context, `forward` computes it from its own input, so a whole image needs one call.
    """

    config: Any
    stride: ClassVar[int] = 1
    halo: int | None = 0
    margin: ClassVar[int] = 0
    """Pixels by which tiling surrounds an image, by reflection, for networks whose own padding with zeros would show at its border."""
    arity: tuple[int, int | None] = (2, None)
    channels: Literal[1, 3] = 1
    """Luma or RGB. This, `halo`, `arity` and `ordered` may depend on the configuration."""
    carries_chroma: ClassVar[bool] = False
    ordered: bool = False
    """Whether the sources have roles: then they come as stack.order_of_roles says, grey before colour, darker before brighter."""
    low_precision: ClassVar[bool] = True
    """Whether the network may run in bfloat16 or float16 without a visible change."""
    repairs: bool = False
    """Whether it can be told what is wrong with its sources (`tell`): where a user says nothing, estimate.py finds it out."""
    context_scale: ClassVar[int | None] = None
    context_halo: ClassVar[int | None] = None
    """Cells around a tile that its context depends on; None: on the whole image, so it is computed in one go."""
    context_bytes: int = 0
    """Peak bytes per cell of the coarse grid and source while the context is computed (benchmarks/memory.py)."""
    stored_bytes: int = 0
    """Bytes per cell and source that the reduced maps and the context take."""
    working_bytes: int = 64
    """Peak bytes per pixel, source and plane while a tile is fused (benchmarks/memory.py)."""

    def reduce(self, sources: Tensor) -> Tensor:
        """sources (B, N, C, H, W) -> maps (B, N, K, H/s, W/s); only for models with a `context_scale`."""
        raise TypeError(f"{type(self).__name__} has no context")

    def context(self, reduced: Tensor) -> Context:
        """Maps of the whole image (B, N, K, H/s, W/s) -> its context; only with a `context_scale`."""
        raise TypeError(f"{type(self).__name__} has no context")

    def forward(self, sources: Tensor, context: Context | None = None) -> Tensor:
        raise NotImplementedError

    def weights(self, sources: Tensor, context: Context | None = None) -> Tensor | None:
        """Share of each source in each pixel of the result, (B, N, H, W), sums to 1; None if the model has none."""
        return None

    def explain(self, sources: Tensor, context: Context | None = None) -> dict[str, Tensor]:
        """How the result came about, by name: numbers of the whole image (B,) and maps (B, H, W); {} if the model has none."""
        return {}

    @property
    def shows(self) -> bool:
        """Whether the model tells where classes are, by `masks`."""
        return type(self).masks is not FusionModel.masks

    def masks(self, sources: Tensor, classes: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Where classes of CamVid are, by name: probability of each pixel (B, H, W) in [0, 1]. classes: None takes those told; {} if the model has none."""
        return {}

    def check_arity(self, n: int) -> None:
        """Raises FusionError where the model cannot take `n` images."""
        low, high = self.arity
        if n < low or (high is not None and n > high):
            takes = f"exactly {low}" if low == high else f"{low} or more"
            raise FusionError(
                f"{type(self).__name__} takes {takes} images, not {n}: for any number of images use --model anyfuse"
            )

    def tell(self, control: Control, order: Sequence[int]) -> list[str]:
        """Takes what a user asks for, for the calls that follow; returns warnings on wishes without effect.

        order: places in the user's list of the sources that the model gets. Raises FusionError for a wish that the model cannot fulfil.
        """
        if control.degradations or control.tone or control.segment:
            raise FusionError(
                f"{type(self).__name__} follows no instructions; mmaif repairs, ditfuse changes light and shows things; or leave --say out"
            )
        return [] if control.empty else [f"{type(self).__name__} does the same whatever is said"]

    def prepare(self) -> None:
        """Gets what the model needs beside its own weights, as a frozen backbone; raises FusionError where that is not to be had."""

    # ------------------------------------------------------------------ saving and loading

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes config.json and model.safetensors (float16 is kept as it is) into `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {"system": type(self).__name__, **asdict(self.config)}
        (folder / CONFIG_NAME).write_text(json.dumps(config, indent=1) + "\n")
        state = {k: v.contiguous() for k, v in self.state_dict().items()}
        (folder / WEIGHTS_NAME).write_bytes(save(state, metadata={"format": "pt"}))

    def load_weights(self, path: str | Path) -> None:
        """Loads a safetensors file strictly; a FusionError names the first keys that don't fit."""
        path = Path(path)
        own = self.state_dict()
        state = {k: v for k, v in read_tensors(path).items() if self.accepts(k)}
        missing = sorted(own.keys() - state.keys())
        unexpected = sorted(state.keys() - own.keys())
        shapes = sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)
        if missing or unexpected or shapes:
            wrong = [f"missing {k}" for k in missing[:2]] + [f"unexpected {k}" for k in unexpected[:2]]
            wrong += [f"{k} is {tuple(state[k].shape)} for {tuple(own[k].shape)}" for k in shapes[:2]]
            count = len(missing) + len(unexpected) + len(shapes)
            raise FusionError(
                f"{path}: {count} keys don't fit {type(self).__name__} ({'; '.join(wrong)}): "
                "these weights belong to another model or configuration"
            )
        self.load_state_dict({k: v.to(own[k].dtype) for k, v in state.items()}, strict=True)

    def accepts(self, key: str) -> bool:
        """Whether a key of a weights file is looked at; others are passed over in silence."""
        return True


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """(total, trainable) number of parameters."""
    total = sum(p.numel() for p in model.parameters())
    return total, sum(p.numel() for p in model.parameters() if p.requires_grad)


def flatten_set(x: Tensor) -> Tensor:
    """(B, N, C, H, W) -> (B*N, C, H, W)"""
    return x.flatten(0, 1)


def unflatten_set(x: Tensor, n: int) -> Tensor:
    """(B*N, C, H, W) -> (B, N, C, H, W)"""
    return torch.unflatten(x, 0, (-1, n))
