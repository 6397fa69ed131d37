"""Any size within a memory budget: tiles with the context their model asks for, so that no seam can be seen.

An image is padded by reflection to a multiple of the model's stride, and by its `margin` on all sides. It is never
resized. A model with a global part gets it from the whole image first (`FusionModel.context`), then come the tiles.
Each tile is run with `halo` pixels around it and cut back.

What happens in a tile is a step: `(sources, context) -> named maps`. pipeline.py has the steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import FusionError, MemoryLimitError
from .models.base import Context, FusionModel
from .runtime import resident_bytes

Window = tuple[slice, slice]
Reader = Callable[[Window], Tensor]
"""Window inside the image -> planes of all sources there, (N, C, h, w) float32."""
Step = Callable[[Tensor, Context | None], Mapping[str, Tensor]]
"""Sources (1, N, C, h, w) and the context of the tile -> maps (1, ..., h, w) and numbers (1,), by name."""

PREFERRED_TILE = 1024
WHOLE_BYTES = 3 * 2**28
"""Without a budget, an image that needs no more bytes than this is run in one piece. A larger one gets preferred tiles.
"""
SMALLEST_TILE = 64
CONTEXT_TILE = 256


@dataclass(frozen=True)
class Tile:
    """One tile. outer: what the model sees, in padded coordinates. inner: what is kept, in image coordinates. cut:
    inner within outer.
    """

    outer: Window
    inner: Window
    cut: Window


@dataclass(frozen=True)
class TileGrid:
    """Where the tiles of an image lie. `tiles` goes through them row by row."""

    height: int  # of the image, in pixels
    width: int  # of the image
    padded_height: int  # of the padded image
    padded_width: int  # of the padded image
    side: int  # of a tile without its halo
    halo: int  # pixels around a tile
    margin: int = 0  # offset of the image in the padded image, from the top left

    def tiles(self, padded: bool = False) -> Iterator[Tile]:
        """The tiles that hold a part of the image, or of the padded image; `inner` counts in that image."""
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
        """Number of tiles."""
        return math.ceil((self.margin + self.height) / self.side) * math.ceil((self.margin + self.width) / self.side)

    @property
    def whole(self) -> bool:
        """Whether one tile covers the padded image."""
        return self.side >= max(self.padded_height, self.padded_width)


def _span(start: int, side: int, halo: int, margin: int, size: int, padded: int) -> tuple[slice, slice, slice]:
    low, high = max(0, start - halo), min(padded, start + side + halo)
    first, stop = max(start, margin), min(start + side, margin + size)
    return slice(low, high), slice(first - margin, stop - margin), slice(first - low, stop - low)


def plan_tiles(
    model: FusionModel,
    n: int,
    planes: int,
    height: int,
    width: int,
    budget: int | None = None,
    tile: int | None = None,
) -> TileGrid:
    """Lays out the tiles of an image.

    Args:
        model: gives stride, halo and bytes per pixel.
        n: number of sources.
        planes: planes of each source.
        height: of the image, in pixels.
        width: of the image.
        budget: bytes that the tiles may use beside the images. None: one piece up to `WHOLE_BYTES`, else tiles of 1024.
        tile: side to use instead, in pixels.

    Raises:
        FusionError: the smallest tile exceeds the budget; the error says how much is needed.
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
    least = min_bytes(model, n, planes, height, width)
    if budget is not None and least > budget:
        raise FusionError(
            f"fusing {n} images of {width}x{height} with {type(model).__name__} takes {least / 2**20:.0f} MiB at "
            "least, "
            f"and --max-memory leaves {budget / 2**20:.0f} MiB"
        )
    return TileGrid(height, width, *padded, side, halo, model.margin)


def min_bytes(model: FusionModel, n: int, planes: int, height: int, width: int) -> int:
    """The smallest budget that `plan_tiles` accepts, in bytes.

    It holds the smallest tile and the context, or the whole image for a model without a halo.
    """
    _, padded, halo = _layout(model, height, width)
    side = max(padded) if model.halo is None else SMALLEST_TILE + 2 * halo
    return _tile_bytes(model, n, planes, side, padded) + _context_bytes(model, n, padded)


def memory_left(
    model: FusionModel, n: int, planes: int, height: int, width: int, limit: int | None, result: int, jobs: int = 1
) -> int | None:
    """Bytes that tiles may use: the limit less what the process holds and what the result will take.

    Args:
        model: as in `plan_tiles`.
        n: as in `plan_tiles`.
        planes: as in `plan_tiles`.
        height: as in `plan_tiles`.
        width: as in `plan_tiles`.
        limit: bytes for the whole process; None: no limit.
        result: bytes of the result.
        jobs: sets that are fused at a time; each gets its share of what is left.

    Returns:
        Bytes, or None without a limit.

    Raises:
        FusionError: the smallest tile does not fit; the error says which limit would do.
    """
    if limit is None:
        return None
    used = resident_bytes() + result
    least = min_bytes(model, n, planes, height, width)
    if limit - used < least:
        raise MemoryLimitError(
            f"--max-memory {limit / 2**20:.0f}M is too little: program, images and result take {used / 2**20:.0f} MiB "
            f"and fusing takes {least / 2**20:.0f} MiB at least; give {(used + least) / 2**20 + 1:.0f}M or more"
        )
    return max(least, (limit - used) // jobs)


def _layout(model: FusionModel, height: int, width: int) -> tuple[int, tuple[int, int], int]:
    """The unit that tiles start at multiples of, the padded size, and the halo, in pixels."""
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
    """Indices of `window`, which may pass both ends of `size` pixels, reflected at the border (the edge is not
    repeated).
    """
    index = torch.arange(window.start, window.stop)
    if size == 1:
        return torch.zeros_like(index)
    period = 2 * (size - 1)
    index = index.remainder(period)
    return torch.where(index < size, index, period - index)


def read_padded(read: Reader, window: Window, height: int, width: int, margin: int = 0) -> Tensor:
    """The window of a padded image, (N, C, h, w): pixels past the border come by reflection."""
    rows, cols = (slice(w.start - margin, w.stop - margin) for w in window)
    if min(rows.start, cols.start) >= 0 and rows.stop <= height and cols.stop <= width:
        return read((rows, cols))
    row_index, col_index = reflect(rows, height), reflect(cols, width)
    top, left = int(row_index.min()), int(col_index.min())
    inside = read((slice(top, int(row_index.max()) + 1), slice(left, int(col_index.max()) + 1)))
    return inside[..., row_index - top, :][..., col_index - left]


@torch.inference_mode()
def whole_context(model: FusionModel, grid: TileGrid, read: Reader, device: torch.device) -> Context | None:
    """The context of the whole image, gathered tile by tile; None where the model has none or one tile is the whole."""
    scale = model.context_scale
    if scale is None or grid.whole:
        return None
    cells = (grid.padded_height // scale, grid.padded_width // scale)
    reduced: Tensor | None = None
    for tile in grid.tiles(padded=True):
        sources = read_padded(read, tile.outer, grid.height, grid.width, grid.margin)
        part = model.global_features(sources[None].to(device))
        if reduced is None:
            reduced = part.new_empty((*part.shape[:-2], *cells))
        reduced[..., _cells(tile.inner[0], scale), _cells(tile.inner[1], scale)] = part[
            ..., _cells(tile.cut[0], scale), _cells(tile.cut[1], scale)
        ]
    assert reduced is not None
    reduced = model.with_statistics(reduced)
    if model.context_halo is None:
        return model.context(reduced)
    maps: list[Tensor] = []
    for tile in TileGrid(*cells, *cells, CONTEXT_TILE, model.context_halo).tiles():
        parts = model.context(reduced[..., tile.outer[0], tile.outer[1]]).maps
        maps = maps or [m.new_empty((*m.shape[:-2], *cells)) for m in parts]
        for whole, m in zip(maps, parts, strict=True):
            whole[..., tile.inner[0], tile.inner[1]] = m[..., tile.cut[0], tile.cut[1]]
    return Context(tuple(maps))


def _cells(pixels: slice, scale: int) -> slice:
    return slice(pixels.start // scale, pixels.stop // scale)


@torch.inference_mode()
def run_tiles(
    model: FusionModel, grid: TileGrid, read: Reader, step: Step, *, device: torch.device | str = "cpu"
) -> Iterator[tuple[Window, dict[str, Tensor]]]:
    """Runs `step` on every tile.

    Args:
        model: gives context and stride.
        grid: of `plan_tiles`.
        read: reads a window of the sources, (N, C, h, w) float32.
        step: sources (1, N, C, h, w) and context of the tile -> maps (1, ..., h, w) and numbers (1,), by name.
        device: where the step runs.

    Yields:
        Each part of the image once: its window, and the maps cut to it, without the batch axis.
    """
    device = torch.device(device)
    context = whole_context(model, grid, read, device)
    scale = model.context_scale or 1
    for tile in grid.tiles():
        sources = read_padded(read, tile.outer, grid.height, grid.width, grid.margin)[None].to(device)
        part = None
        if context is not None:
            part = context.crop(_cells(tile.outer[0], scale), _cells(tile.outer[1], scale))
        maps = step(sources, part)
        yield (
            tile.inner,
            {name: m[0] if m.ndim == 1 else m[0][..., tile.cut[0], tile.cut[1]] for name, m in maps.items()},
        )


def fuse_whole(model: FusionModel, planes: Tensor) -> Tensor:
    """Sources (N, C, H, W) -> fused (C, H, W) in one piece, on the model's device, padded as `run_tiles` pads."""
    n, count, height, width = planes.shape
    grid = plan_tiles(model, n, count, height, width, tile=1 << 30)
    device = next(model.parameters(), planes).device
    tiles = run_tiles(
        model,
        grid,
        lambda w: planes[..., w[0], w[1]],
        lambda sources, context: {"fused": model(sources, context=context)},
        device=device,
    )
    return next(tiles)[1]["fused"]
