"""Any size within a memory budget: tiles with the context their model asks for, so that no seam can be seen.

An image is padded by reflection to a multiple of the model's stride, and by its `margin` on all sides, never resized. A model with a global part gets it from
the whole image first (`FusionModel.context`), then the tiles; each tile is fused with `halo` pixels around it and cut back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import FusionError
from .models.base import Context, FusionModel

Window = tuple[slice, slice]
Reader = Callable[[Window], Tensor]
"""Window inside the image -> planes of all sources there, (N, C, h, w) float32."""

PREFERRED_TILE = 1024
WHOLE_BYTES = 3 * 2**28
"""Without a budget, what can be fused within this many bytes goes in one piece, and the rest in preferred tiles, whatever those take."""
SMALLEST_TILE = 64
CONTEXT_TILE = 256


@dataclass(frozen=True)
class Plan:
    """Where the tiles of an image lie: `side` without the halo, padded size, halo; `tiles` goes through the windows.

    The image begins `margin` pixels from the top left of the padded image.
    """

    height: int
    width: int
    padded_height: int
    padded_width: int
    side: int
    halo: int
    margin: int = 0

    def tiles(self, padded: bool = False) -> Iterator[Tile]:
        """Row by row, those with a part of the image; `inner` lies in the image, or in the padded image."""
        margin = 0 if padded else self.margin
        height, width = (self.padded_height, self.padded_width) if padded else (self.height, self.width)
        for top in range(0, margin + height, self.side):
            for left in range(0, margin + width, self.side):
                rows = _span(top, self.side, self.halo, margin, height, self.padded_height)
                cols = _span(left, self.side, self.halo, margin, width, self.padded_width)
                outer, inner, cut = zip(rows, cols, strict=True)
                yield Tile(outer, inner, cut)

    @property
    def count(self) -> int:
        return math.ceil((self.margin + self.height) / self.side) * math.ceil((self.margin + self.width) / self.side)

    @property
    def whole(self) -> bool:
        """Whether one tile sees all."""
        return self.side >= max(self.padded_height, self.padded_width)


@dataclass(frozen=True)
class Tile:
    """`outer` is what the model sees (padded coordinates), `inner` what is kept (image coordinates), `cut` inner within outer."""

    outer: Window
    inner: Window
    cut: Window


def _span(start: int, side: int, halo: int, margin: int, size: int, padded: int) -> tuple[slice, slice, slice]:
    low, high = max(0, start - halo), min(padded, start + side + halo)
    first, stop = max(start, margin), min(start + side, margin + size)
    return slice(low, high), slice(first - margin, stop - margin), slice(first - low, stop - low)


def plan(
    model: FusionModel,
    n: int,
    planes: int,
    height: int,
    width: int,
    budget: int | None = None,
    tile: int | None = None,
) -> Plan:
    """Tiles for `n` sources of `planes` planes each.

    budget: bytes that fusing may use beside the images themselves; None: one piece up to `WHOLE_BYTES`, else tiles of 1024. tile: side to use instead. A budget
    under which not even the smallest tile fits is a FusionError that says how much is needed.
    """
    unit, padded, halo = _layout(model, height, width)
    if model.halo is None:  # needs the whole image
        side = max(padded)
    elif tile is not None:
        side = max(unit, tile // unit * unit)
    else:
        context = _context_bytes(model, n, padded)
        whole = _tile_bytes(model, n, planes, max(padded), padded) + context <= WHOLE_BYTES
        side = max(padded) if whole else math.ceil((PREFERRED_TILE + 2 * model.margin) / unit) * unit
        if budget is not None:
            while side > SMALLEST_TILE and _tile_bytes(model, n, planes, side + 2 * halo, padded) + context > budget:
                side -= unit
    least = least_bytes(model, n, planes, height, width)
    if budget is not None and least > budget:
        raise FusionError(
            f"fusing {n} images of {width}x{height} with {type(model).__name__} takes {least / 2**20:.0f} MiB at least, and "
            f"--max-memory leaves {budget / 2**20:.0f} MiB"
        )
    return Plan(height, width, *padded, side, halo, model.margin)


def least_bytes(model: FusionModel, n: int, planes: int, height: int, width: int) -> int:
    """The smallest budget that `plan` accepts: the smallest tile and the context, or the whole image for a model without a halo."""
    _, padded, halo = _layout(model, height, width)
    side = max(padded) if model.halo is None else SMALLEST_TILE + 2 * halo
    return _tile_bytes(model, n, planes, side, padded) + _context_bytes(model, n, padded)


def _layout(model: FusionModel, height: int, width: int) -> tuple[int, tuple[int, int], int]:
    """Unit that tiles start at multiples of, padded size, halo in pixels."""
    unit = math.lcm(model.stride, model.context_scale or 1)
    rows, cols = (math.ceil((size + 2 * model.margin) / unit) * unit for size in (height, width))
    return unit, (rows, cols), math.ceil((model.halo or 0) / unit) * unit


def _tile_bytes(model: FusionModel, n: int, planes: int, side: int, padded: tuple[int, int]) -> int:
    area = min(side, padded[0]) * min(side, padded[1])
    return area * n * (model.working_bytes + 16 * planes)


def _context_bytes(model: FusionModel, n: int, padded: tuple[int, int]) -> int:
    if model.context_scale is None:
        return 0
    cells = padded[0] * padded[1] // model.context_scale**2
    at_once = cells if model.context_halo is None else min(cells, (CONTEXT_TILE + 2 * model.context_halo) ** 2)
    return n * (cells * model.stored_bytes + at_once * model.context_bytes)


def reflect(window: slice, size: int) -> Tensor:
    """Indices of `window`, which may pass both ends of `size` pixels, reflected at the border (edge not repeated)."""
    index = torch.arange(window.start, window.stop)
    if size == 1:
        return torch.zeros_like(index)
    period = 2 * (size - 1)
    index = index.remainder(period)
    return torch.where(index < size, index, period - index)


def read_padded(read: Reader, window: Window, height: int, width: int, margin: int = 0) -> Tensor:
    """The window of a padded image: pixels past the border come by reflection, (N, C, h, w)."""
    rows, cols = (slice(w.start - margin, w.stop - margin) for w in window)
    if min(rows.start, cols.start) >= 0 and rows.stop <= height and cols.stop <= width:
        return read((rows, cols))
    row_index, col_index = reflect(rows, height), reflect(cols, width)
    top, left = int(row_index.min()), int(col_index.min())
    inside = read((slice(top, int(row_index.max()) + 1), slice(left, int(col_index.max()) + 1)))
    return inside[..., row_index - top, :][..., col_index - left]


@torch.inference_mode()
def whole_context(model: FusionModel, layout: Plan, read: Reader, device: torch.device) -> Context | None:
    """The context of the whole image, gathered tile by tile; None where the model has none or one tile is the whole."""
    scale = model.context_scale
    if scale is None or layout.whole:
        return None
    cells = (layout.padded_height // scale, layout.padded_width // scale)
    reduced: Tensor | None = None
    for tile in layout.tiles(padded=True):
        sources = read_padded(read, tile.outer, layout.height, layout.width, layout.margin)
        part = model.reduce(sources[None].to(device))
        if reduced is None:
            reduced = part.new_empty((*part.shape[:-2], *cells))
        reduced[..., _cells(tile.inner[0], scale), _cells(tile.inner[1], scale)] = part[
            ..., _cells(tile.cut[0], scale), _cells(tile.cut[1], scale)
        ]
    assert reduced is not None
    if model.context_halo is None:
        return model.context(reduced)
    maps: list[Tensor] = []
    for tile in Plan(*cells, *cells, CONTEXT_TILE, model.context_halo).tiles():
        found = model.context(reduced[..., tile.outer[0], tile.outer[1]]).maps
        maps = maps or [m.new_empty((*m.shape[:-2], *cells)) for m in found]
        for whole, m in zip(maps, found, strict=True):
            whole[..., tile.inner[0], tile.inner[1]] = m[..., tile.cut[0], tile.cut[1]]
    return Context(tuple(maps))


def _cells(pixels: slice, scale: int) -> slice:
    return slice(pixels.start // scale, pixels.stop // scale)


def fuse_whole(model: FusionModel, planes: Tensor) -> Tensor:
    """Sources (N, C, H, W) -> fused (C, H, W) in one piece, on the model's device, padded as `fuse_tiles` pads."""
    n, count, height, width = planes.shape
    layout = plan(model, n, count, height, width, tile=1 << 30)
    found: list[Tensor] = []
    device = next(model.parameters(), planes).device
    fuse_tiles(
        model, layout, lambda w: planes[..., w[0], w[1]], lambda _, fused, __: found.append(fused), device=device
    )
    return found[0]


@torch.inference_mode()
def fuse_tiles(
    model: FusionModel,
    layout: Plan,
    read: Reader,
    sink: Callable[[Window, Tensor, Tensor | None], None],
    *,
    device: torch.device | str = "cpu",
    with_weights: bool = False,
    explained: dict[str, Tensor] | None = None,
    masks: dict[str, Tensor] | None = None,
    keep: bool = False,
) -> None:
    """Fuses tile by tile; `sink(window, fused (C, h, w), weights (N, h, w) or None)` gets each part of the image once.

    `explained` is filled, where given, with what `FusionModel.explain` tells: scalars and whole maps (H, W) on the CPU;
    `masks` with those of `FusionModel.masks` (H, W), of each part before its sink is called. keep: the first source is the result, nothing is fused.
    """
    device = torch.device(device)
    context = whole_context(model, layout, read, device)
    scale = model.context_scale or 1
    for tile in layout.tiles():
        sources = read_padded(read, tile.outer, layout.height, layout.width, layout.margin)[None].to(device)
        part = None
        if context is not None:
            part = context.crop(_cells(tile.outer[0], scale), _cells(tile.outer[1], scale))
        fused = (sources[:, 0] if keep else model(sources, context=part))[0][..., tile.cut[0], tile.cut[1]]
        shares = None
        if with_weights:
            found = model.weights(sources, context=part)
            shares = None if found is None else found[0][..., tile.cut[0], tile.cut[1]]
        told = {} if explained is None else model.explain(sources, context=part)
        shown = {} if masks is None else model.masks(sources)
        for whole, parts in ((explained, told), (masks, shown)):
            for name, value in parts.items():
                assert whole is not None
                if value.ndim == 1:
                    whole[name] = value[0].float().cpu()
                    continue
                if name not in whole:
                    whole[name] = torch.zeros(layout.height, layout.width)
                whole[name][tile.inner] = value[0][tile.cut].float().cpu()
        sink(tile.inner, fused, shares)
