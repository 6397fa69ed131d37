"""The contract that every fusion model keeps, and saving and loading in the Hugging Face layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..arrays import Tensor, nn, torch
from ..errors import FusionError
from ..weights import load_state, save_folder

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
    `context_scale` = s has a global part: `global_features` turns sources into maps s times smaller (local, within
    `halo`), `context` sees those maps of the whole image, and `forward` gets the crop of the context for its tile.
    Without a given context, `forward` computes it from its own input, so a whole image needs one call.
    """

    config: Any
    stride: ClassVar[int] = 1
    halo: int | None = 0
    margin: ClassVar[int] = 0
    """Pixels by which tiling surrounds an image, by reflection, for networks whose own padding with zeros would show at
    its border.
    """
    arity: tuple[int, int | None] = (2, None)
    channels: Literal[1, 3] = 1
    """Luma or RGB. This, `halo`, `arity` and `ordered` may depend on the configuration."""
    carries_chroma: ClassVar[bool] = False
    ordered: bool = False
    """Whether the sources have roles: then they come as image.roles.find_roles says, grey before colour, darker
    before brighter.
    """
    low_precision: bool = True
    """Whether the network may run in bfloat16 or float16 without a visible change."""
    restores: bool = False
    """Whether it takes degradations of its sources as a condition. Where a user names none, they are estimated."""
    controls: bool = False
    """Whether it takes light and contrast of its result as a condition."""
    context_scale: ClassVar[int | None] = None
    context_halo: int | None = None
    """Cells around a tile that its context depends on; None: on the whole image, so it is computed in one go."""
    context_bytes: int = 0
    """Peak bytes per cell of the coarse grid and source while the context is computed (experiments/memory.py)."""
    stored_bytes: int = 0
    """Bytes per cell and source that the reduced maps and the context take."""
    working_bytes: int = 64
    """Peak bytes per pixel, source and plane while a tile is fused (experiments/memory.py)."""

    def global_features(self, sources: Tensor) -> Tensor:
        """sources (B, N, C, H, W) -> maps (B, N, K, H/s, W/s); only for models with a `context_scale`."""
        raise TypeError(f"{type(self).__name__} has no context")

    def statistics(self, reduced: Tensor) -> Tensor | None:
        """What depends on the whole image at once, as its mean: global features (B, N, K, H/s, W/s) of one source or
        more -> (B, N, ...); None if the model needs none.
        """
        return None

    def with_statistics(self, reduced: Tensor, statistics: Tensor | None = None) -> Tensor:
        """Global features with those statistics; comes before `context`. None: the statistics of `reduced` itself."""
        return reduced

    def context(self, reduced: Tensor) -> Context:
        """Maps of the whole image (B, N, K, H/s, W/s) -> its context; only with a `context_scale`."""
        raise TypeError(f"{type(self).__name__} has no context")

    def condition(self, control: Control, order: Sequence[int]) -> Any:
        """A user's request as a value for `forward`, `weights` and `explain`. The model keeps no state of it.

        Args:
            control: the request.
            order: for each source that the model gets, its place in the user's list.

        Raises:
            FusionError: the model cannot fulfil the request.
        """
        if control.degradations or control.tone or control.segment:
            raise FusionError(
                f"{type(self).__name__} follows no instructions; mmaif restores, ditfuse changes light and segments; "
                "or leave --say out"
            )
        return None

    def ignored(self, control: Control) -> list[str]:
        """A warning for each part of a request that has no effect with this model."""
        return [] if control.empty else [f"{type(self).__name__} ignores instructions"]

    def forward(self, sources: Tensor, condition: Any = None, context: Context | None = None) -> Tensor:
        """Fuses a batch of sets.

        Args:
            sources: (B, N, C, H, W) in [0, 1], H and W multiples of `stride`.
            condition: of `condition`; None: no request.
            context: of `context`, cropped to the tile; None: it is computed from `sources`.

        Returns:
            (B, C, H, W) in [0, 1].
        """
        raise NotImplementedError

    def forward_adjusted(self, sources: Tensor, condition: Any, adjust: Callable[[Context], Context]) -> Tensor:
        """As `forward` of whole images, whose context goes through `adjust` first: video keeps decisions steady so.

        Only for models with a `context_scale`. The context that `adjust` gets may be kept; it is not changed later.
        """
        context = self.context(self.with_statistics(self.global_features(sources)))
        return self.forward(sources, condition, adjust(context))

    def weights(self, sources: Tensor, condition: Any = None, context: Context | None = None) -> Tensor | None:
        """Share of each source in each pixel of the result, (B, N, H, W), sums to 1; None if the model has none."""
        return None

    def explain(self, sources: Tensor, condition: Any = None, context: Context | None = None) -> dict[str, Tensor]:
        """How the result came about, by name: numbers of the whole image (B,) and maps (B, H, W); {} if the model has
        none.
        """
        return {}

    def check_explains(self, condition: Any = None) -> None:
        """Raises FusionError where `explain` has nothing to give under this condition."""
        if type(self).explain is FusionModel.explain:
            raise FusionError(f"{type(self).__name__} explains nothing")

    @property
    def has_masks(self) -> bool:
        """Whether the model segments classes, by `masks`."""
        return type(self).masks is not FusionModel.masks

    def masks(self, sources: Tensor, classes: Iterable[str] = ()) -> dict[str, Tensor]:
        """Probability (B, H, W) in [0, 1] of each of CamVid's `classes` at each pixel, by name; {} if the model has
        none.
        """
        return {}

    def check_arity(self, n: int) -> None:
        """Raises FusionError where the model cannot take `n` images."""
        low, high = self.arity
        if n < low or (high is not None and n > high):
            takes = f"exactly {low}" if low == high else f"{low} or more"
            raise FusionError(
                f"{type(self).__name__} takes {takes} images, not {n}: for any number of images use --model anyfuse"
            )

    def prepare(self) -> None:
        """Loads what the model needs beside its own weights, as a frozen backbone.

        Raises FusionError where that is not available.
        """

    # ------------------------------------------------------------------ saving and loading

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes config.json and model.safetensors (float16 is kept as it is) into `folder`."""
        save_folder(Path(folder), {"system": type(self).__name__, **asdict(self.config)}, self.state_dict())

    def load_weights(self, path: str | Path) -> None:
        """Loads a safetensors file strictly; a FusionError names the first keys that don't fit."""
        load_state(self, Path(path), self.accepts)

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
