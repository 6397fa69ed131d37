"""Connected parts of masks."""

from __future__ import annotations

import numpy as np

from ..arrays import Tensor, torch


def regions(mask: Tensor) -> tuple[Tensor, np.ndarray]:
    """Connected parts of a mask (h, w), neighbours by side and corner: numbers from 1 on (h, w), 0 outside; sizes.

    Runs of each row are joined with those of the row above.
    """
    rows = np.pad(mask.numpy().astype(np.int8), ((0, 0), (1, 1)))
    steps = np.diff(rows, axis=1)
    row, start = np.nonzero(steps == 1)
    end = np.nonzero(steps == -1)[1]
    parent = list(range(len(row)))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    first = np.searchsorted(row, np.arange(mask.shape[0] + 1)).tolist()
    for y in range(1, mask.shape[0]):
        above, here = first[y - 1], first[y]
        while above < first[y] and here < first[y + 1]:
            if start[above] <= end[here] and start[here] <= end[above]:
                parent[root(above)] = root(here)
            if end[above] < end[here]:
                above += 1
            else:
                here += 1
    roots = np.array([root(k) for k in range(len(row))], np.int64)
    numbers = np.unique(roots, return_inverse=True)[1] + 1
    out = np.zeros(mask.shape, np.int64)
    for k, number in enumerate(numbers.tolist()):
        out[row[k], start[k] : end[k]] = number
    lengths = np.asarray(end) - np.asarray(start)
    sizes: np.ndarray = np.bincount(numbers, weights=lengths, minlength=1)[1:]
    return torch.from_numpy(out), sizes


def grown(seeds: Tensor, parts: Tensor) -> Tensor:
    """The connected parts that have a seed; both (h, w) bool, as the result."""
    pieces, sizes = regions(parts)
    hit = np.zeros(len(sizes) + 1, bool)
    hit[np.unique(pieces.numpy()[(seeds & parts).numpy()])] = True
    hit[0] = False
    return torch.from_numpy(hit)[pieces]
