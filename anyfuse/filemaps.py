"""Maps of a whole image in scratch files, for contexts that do not fit into memory."""

from __future__ import annotations

import numpy as np

from .arrays import Tensor, torch
from .io.scratch import Scratch
from .models.base import Context
from .runtime import release


class FileMaps:
    """Maps (1, N, ..., h, w) in a file, of which windows are in memory. N: sources, or channels of one fused image."""

    def __init__(self, scratch: Scratch, like: Tensor, height: int, width: int) -> None:
        self.shape = (*like.shape[:-2], height, width)
        self.dtype, self.device = like.dtype, like.device
        self.array = scratch.empty(self.shape, np.float32)

    def write(self, rows: slice, cols: slice, part: Tensor) -> None:
        """Puts (1, N, ..., rows, cols) in its place, source by source."""
        for k in range(self.shape[1]):
            self.array[0, k, ..., rows, cols] = part[0, k].float().cpu().numpy()
            release(self.array)

    def read(self, rows: slice, cols: slice) -> Tensor:
        """The window (1, N, ..., h, w), on the device and in the dtype that the maps had."""
        parts = []
        for k in range(self.shape[1]):
            parts.append(torch.from_numpy(self.array[0, k, ..., rows, cols].copy()))
            release(self.array)
        return torch.stack(parts)[None].to(self.device, self.dtype)

    def source(self, k: int) -> Tensor:
        """The maps of one source, (1, 1, ..., h, w), as a view of the file; `release` follows their use."""
        return torch.from_numpy(self.array[:, k : k + 1])


class FileContext:
    """A context whose maps lie in files."""

    def __init__(self, maps: list[FileMaps]) -> None:
        self.maps = maps

    def crop(self, rows: slice, cols: slice) -> Context:
        """The part of a tile, in memory; `rows` and `cols` count in cells of the coarse grid."""
        return Context(tuple(m.read(rows, cols) for m in self.maps))
