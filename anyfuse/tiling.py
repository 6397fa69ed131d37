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

from .arrays import F, Tensor, torch
from .errors import FusionError, MemoryLimitError
from .filemaps import FileContext, FileMaps
from .io.scratch import Scratch
from .models.base import Context, FusionModel
from .runtime import release, resident_bytes, trim_memory

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
"""Cells of a context that are computed at a time, a side."""
SMALLEST_CONTEXT = 32
USUAL_IMAGES = 8
"""Up to so many images tiles have their preferred size; of more images they are smaller."""


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
    context_side: int = CONTEXT_TILE  # of the parts in which a context is computed, in cells
    spilled: bool = False  # the context lies in scratch files

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
    spill: bool = False,
) -> TileGrid:
    """Lays out the tiles of an image.

    Args:
        model: gives stride, halo and bytes per pixel.
        n: number of sources.
        planes: planes of each source.
        height: of the image, in pixels.
        width: of the image.
        budget: bytes that the tiles may use beside the images. None: one piece up to `WHOLE_BYTES`, else tiles of 1024,
            smaller where there are more than `USUAL_IMAGES` images.
        tile: side to use instead, in pixels.
        spill: the context may lie in scratch files, which it does where it would take more than half of the budget.

    Raises:
        FusionError: the smallest tile exceeds the budget; the error says how much is needed.
    """
    unit, padded, halo = _layout(model, height, width)
    context = _context_bytes(model, n, padded)
    spilled = spill and _can_spill(model) and budget is not None and 2 * context > budget
    cells = _context_side(model, n, budget) if spilled and budget is not None else CONTEXT_TILE
    if model.halo is None:  # needs the whole image
        side = max(padded)
    elif tile is not None:
        side = max(unit, tile // unit * unit)
    elif budget is None and _tile_bytes(model, n, planes, max(padded), padded) + context <= WHOLE_BYTES:
        side = max(padded)
    else:
        side = _fitting_side(model, n, planes, padded, budget, 0 if spilled else context)
    least = min_bytes(model, n, planes, height, width, spill)
    if budget is not None and least > budget:
        raise FusionError(
            f"fusing {n} images of {width}x{height} with {type(model).__name__} takes {least / 2**20:.0f} MiB at "
            "least, "
            f"and --max-memory leaves {budget / 2**20:.0f} MiB"
        )
    return TileGrid(height, width, *padded, side, halo, model.margin, cells, spilled)


def _fitting_side(
    model: FusionModel, n: int, planes: int, padded: tuple[int, int], budget: int | None, context: int
) -> int:
    """Side of the largest tiles, up to the preferred one, that fit into the budget beside the context."""
    unit = math.lcm(model.stride, model.context_scale or 1)
    halo = math.ceil((model.halo or 0) / unit) * unit
    side = math.ceil((PREFERRED_TILE + 2 * model.margin) / unit) * unit
    if budget is None:
        most = _tile_bytes(model, USUAL_IMAGES, planes, side + 2 * halo, padded)
    else:
        whole = _tile_bytes(model, n, planes, max(padded), padded) + context <= WHOLE_BYTES
        side, most = max(padded) if whole else side, budget - context
    while side > SMALLEST_TILE and _tile_bytes(model, n, planes, side + 2 * halo, padded) > most:
        side -= unit
    return side


def min_bytes(model: FusionModel, n: int, planes: int, height: int, width: int, spill: bool = False) -> int:
    """The smallest budget that `plan_tiles` accepts, in bytes.

    It holds the smallest tile and the context, or the whole image for a model without a halo. A context in files
    (`spill`) is not held: what computes a part of it comes before the tiles.

    Args:
        model: it says how many bytes a pixel takes.
        n: number of images.
        planes: channels of each, 1 or 3.
        height: of the images, in pixels.
        width: of the images, in pixels.
        spill: the context may be in files.
    """
    _, padded, halo = _layout(model, height, width)
    side = max(padded) if model.halo is None else SMALLEST_TILE + 2 * halo
    tile = _tile_bytes(model, n, planes, side, padded)
    held = tile + _context_bytes(model, n, padded)
    if not (spill and _can_spill(model)):
        return held
    return min(held, max(tile, _part_bytes(model, n, SMALLEST_CONTEXT)))


def comfortable_bytes(model: FusionModel, n: int, planes: int, height: int, width: int, side: int) -> int:
    """Bytes for tiles of `side` pixels and the context, all in memory.

    Args:
        model: it says how many bytes a pixel takes.
        n: number of images.
        planes: channels of each, 1 or 3.
        height: of the images, in pixels.
        width: of the images, in pixels.
        side: of a tile, in pixels.
    """
    _, padded, halo = _layout(model, height, width)
    side = max(padded) if model.halo is None else side + 2 * halo
    return _tile_bytes(model, n, planes, side, padded) + _context_bytes(model, n, padded)


def _can_spill(model: FusionModel) -> bool:
    """Whether the context is computed part by part, so that none of it need be in memory as a whole."""
    return model.context_scale is not None and model.context_halo is not None


def _part_bytes(model: FusionModel, n: int, side: int) -> int:
    """Bytes that take part in the context of side x side cells while it is computed."""
    return n * (side + 2 * (model.context_halo or 0)) ** 2 * (model.context_bytes + model.stored_bytes)


def _context_side(model: FusionModel, n: int, budget: int) -> int:
    """Side in cells of the parts of a context in files."""
    side = CONTEXT_TILE
    while side > SMALLEST_CONTEXT and _part_bytes(model, n, side) > budget:
        side -= SMALLEST_CONTEXT
    return side


def memory_left(
    model: FusionModel,
    n: int,
    planes: int,
    height: int,
    width: int,
    limit: int | None,
    result: int,
    jobs: int = 1,
    spill: bool = False,
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
        spill: as in `plan_tiles`.

    Returns:
        Bytes, or None without a limit.

    Raises:
        FusionError: the smallest tile does not fit; the error says which limit would do.
    """
    if limit is None:
        return None
    trim_memory()
    used = resident_bytes() + result
    least = min_bytes(model, n, planes, height, width, spill)
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
    before = [max(0, -w.start) for w in (rows, cols)]
    after = [max(0, w.stop - size) for w, size in ((rows, height), (cols, width))]
    inside = [slice(max(0, w.start), min(w.stop, size)) for w, size in ((rows, height), (cols, width))]
    if all(max(b, a) < w.stop - w.start for b, a, w in zip(before, after, inside, strict=True)):
        return F.pad(read((inside[0], inside[1])), (before[1], after[1], before[0], after[0]), mode="reflect")
    row_index, col_index = reflect(rows, height), reflect(cols, width)  # several times back and forth
    top, left = int(row_index.min()), int(col_index.min())
    near = read((slice(top, int(row_index.max()) + 1), slice(left, int(col_index.max()) + 1)))
    return near[..., row_index - top, :][..., col_index - left]


@torch.inference_mode()
def whole_context(
    model: FusionModel, grid: TileGrid, read: Reader, device: torch.device, scratch: Scratch | None = None
) -> Context | FileContext | None:
    """The context of the whole image, gathered tile by tile; None where the model has none or one tile is the whole."""
    scale = model.context_scale
    if scale is None or grid.whole:
        return None
    cells = (grid.padded_height // scale, grid.padded_width // scale)
    parts = _global_parts(model, grid, read, device)
    if grid.spilled and scratch is not None:
        return _context_in_files(model, grid, cells, parts, scratch)
    reduced: Tensor | None = None
    for rows, cols, part in parts:
        if reduced is None:
            reduced = part.new_empty((*part.shape[:-2], *cells))
        reduced[..., rows, cols] = part
    assert reduced is not None
    reduced = model.with_statistics(reduced)
    if model.context_halo is None or max(cells) <= grid.context_side:
        return model.context(reduced)
    maps: list[Tensor] = []
    for tile in TileGrid(*cells, *cells, grid.context_side, model.context_halo).tiles():
        some = model.context(reduced[..., tile.outer[0], tile.outer[1]]).maps
        maps = maps or [m.new_empty((*m.shape[:-2], *cells)) for m in some]
        for whole, m in zip(maps, some, strict=True):
            whole[..., tile.inner[0], tile.inner[1]] = m[..., tile.cut[0], tile.cut[1]]
    return Context(tuple(maps))


def _global_parts(
    model: FusionModel, grid: TileGrid, read: Reader, device: torch.device
) -> Iterator[tuple[slice, slice, Tensor]]:
    """`global_features` of each tile, cut to it, and the cells where it lies."""
    scale = model.context_scale or 1
    for tile in grid.tiles(padded=True):
        sources = read_padded(read, tile.outer, grid.height, grid.width, grid.margin)
        part = model.global_features(sources[None].to(device))
        cut = part[..., _cells(tile.cut[0], scale), _cells(tile.cut[1], scale)]
        yield _cells(tile.inner[0], scale), _cells(tile.inner[1], scale), cut


def _context_in_files(
    model: FusionModel,
    grid: TileGrid,
    cells: tuple[int, int],
    parts: Iterator[tuple[slice, slice, Tensor]],
    scratch: Scratch,
) -> FileContext:
    """The same context, of which parts alone are in memory."""
    reduced: FileMaps | None = None
    for rows, cols, part in parts:
        reduced = reduced or FileMaps(scratch, part, *cells)
        reduced.write(rows, cols, part)
    assert reduced is not None
    known = []
    for k in range(reduced.shape[1]):
        known.append(model.statistics(reduced.source(k)))
        release(reduced.array)
    first = known[0]
    statistics = None if first is None else torch.cat([s for s in known if s is not None], 1).to(reduced.device)
    maps: list[FileMaps] = []
    for tile in TileGrid(*cells, *cells, grid.context_side, model.context_halo or 0).tiles():
        window = model.with_statistics(reduced.read(*tile.outer), statistics)
        some = model.context(window).maps
        maps = maps or [FileMaps(scratch, m, *cells) for m in some]
        for whole, m in zip(maps, some, strict=True):
            whole.write(*tile.inner, m[..., tile.cut[0], tile.cut[1]])
    return FileContext(maps)


def _cells(pixels: slice, scale: int) -> slice:
    return slice(pixels.start // scale, pixels.stop // scale)


@torch.inference_mode()
def run_tiles(
    model: FusionModel,
    grid: TileGrid,
    read: Reader,
    step: Step,
    *,
    device: torch.device | str = "cpu",
    scratch: Scratch | None = None,
    adjust: Callable[[Context], Context] | None = None,
) -> Iterator[tuple[Window, dict[str, Tensor]]]:
    """Runs `step` on every tile.

    Args:
        model: gives context and stride.
        grid: of `plan_tiles`.
        read: reads a window of the sources, (N, C, h, w) float32.
        step: sources (1, N, C, h, w) and context of the tile -> maps (1, ..., h, w) and numbers (1,), by name.
        device: where the step runs.
        scratch: holds the context where the grid says so.
        adjust: changes the context of the whole image; a step that gets none does it itself
            (`FusionModel.forward_adjusted`). Not for contexts in scratch files.

    Yields:
        Each part of the image once: its window, and the maps cut to it, without the batch axis.
    """
    device = torch.device(device)
    context = whole_context(model, grid, read, device, scratch)
    context = adjust(context) if adjust is not None and isinstance(context, Context) else context
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
