"""Where multispectral pixels lie on the panchromatic grid, and resampling between the two grids.

Pixels are squares: of two grids with one upper left corner and the ratio r, the centre of pixel i of the coarse one is
at i r + (r - 1) / 2 on the fine one. All resampling here is separable and takes any phase.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

KEYS = -0.5  # the slope of Keys' cubic kernel at 1: third order (Keys 1981)
REACH = 4.0  # deviations to which a Gaussian is summed


@dataclass(frozen=True)
class Taps:
    """Each output pixel of an axis as a weighted sum of input pixels."""

    places: np.ndarray  # (n, k) whole numbers, of the input
    shares: np.ndarray  # (n, k) float32, they sum to 1

    def along(self, image: np.ndarray, axis: int, part: slice = slice(None)) -> np.ndarray:
        """The outputs `part` of an image (H, W) along an axis, float32."""
        places, shares = self.places[part], self.shares[part]
        shape = (len(places), image.shape[1]) if axis == 0 else (image.shape[0], len(places))
        out = np.zeros(shape, np.float32)
        for place, share in zip(places.T, shares.T, strict=True):
            out += np.take(image, place, axis=axis) * (share[:, None] if axis == 0 else share)
        return out


def cubic(centres: np.ndarray, size: int) -> Taps:
    """Cubic convolution (Keys 1981) at positions `centres` of an axis of `size` pixels, whose ends are repeated."""
    first = np.floor(centres)
    places = first[:, None] + np.arange(-1, 3)
    x = np.abs(places - centres[:, None])
    near = (KEYS + 2) * x**3 - (KEYS + 3) * x**2 + 1
    far = KEYS * (x**3 - 5 * x**2 + 8 * x - 4)
    return _taps(places, np.where(x <= 1, near, np.where(x < 2, far, 0.0)), size)


def gaussian(centres: np.ndarray, size: int, sigma: float) -> Taps:
    """A Gaussian of deviation `sigma` pixels at positions `centres` of an axis of `size` pixels, ends repeated."""
    reach = math.ceil(REACH * sigma)
    places = np.rint(centres)[:, None] + np.arange(-reach, reach + 1)
    return _taps(places, np.exp(-((places - centres[:, None]) ** 2) / (2 * sigma**2)), size)


def _taps(places: np.ndarray, shares: np.ndarray, size: int) -> Taps:
    whole = shares / shares.sum(1, keepdims=True)
    return Taps(places.clip(0, size - 1).astype(np.int64), whole.astype(np.float32))


def mtf_sigma(ratio: float, gain: float) -> float:
    """Deviation, in fine pixels, of the Gaussian whose response at the coarse grid's Nyquist frequency is `gain`.

    The response of a Gaussian at frequency f is exp(-2 (pi sigma f)^2); here f = 1 / (2 ratio). Aiazzi et al. 2006
    shape the filter of each band so, after the modulation transfer function (MTF) of its sensor.
    """
    return ratio / math.pi * math.sqrt(-2 * math.log(gain))


@dataclass(frozen=True)
class Grid:
    """How a coarse grid lies on a fine one."""

    fine: tuple[int, int]  # rows and columns of the panchromatic image
    coarse: tuple[int, int]  # of the multispectral image
    ratio: int  # fine pixels a coarse one, along a side
    corner: tuple[float, float] = (0.0, 0.0)  # upper left corner of the coarse grid: fine rows and columns down, right

    def _on_fine(self, axis: int) -> np.ndarray:
        """Centres of the coarse pixels, in fine pixels."""
        return np.asarray((np.arange(self.coarse[axis]) + 0.5) * self.ratio - 0.5 + self.corner[axis])

    def _on_coarse(self, axis: int) -> np.ndarray:
        """Centres of the fine pixels, in coarse pixels."""
        return np.asarray((np.arange(self.fine[axis]) + 0.5 - self.corner[axis]) / self.ratio - 0.5)

    def reduce(self, image: np.ndarray, gain: float) -> np.ndarray:
        """A fine image (H, W) as the coarse grid's sensor would see it, (h, w) float32: MTF-shaped and decimated.

        gain: of the sensor at its Nyquist frequency, between 0 and 1 (0.3 is usual).
        """
        sigma = mtf_sigma(self.ratio, gain)
        rows, columns = (gaussian(self._on_fine(axis), self.fine[axis], sigma) for axis in (0, 1))
        return columns.along(rows.along(image, 0), 1)

    def enlarge(self, image: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
        """The fine rows `rows` of a coarse image (h, w), float32: cubic, with the half pixel between the grids."""
        down, right = (cubic(self._on_coarse(axis), self.coarse[axis]) for axis in (0, 1))
        return right.along(down.along(image, 0, rows), 1)

    def enlarge_mask(self, mask: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
        """The fine rows `rows` of a coarse mask (h, w), bool: the nearest pixel; False outside of the coarse grid."""
        down, right = (self._on_coarse(axis) for axis in (0, 1))
        known = self.covered(rows)
        down, right = (np.rint(x).clip(0, n - 1).astype(int) for x, n in zip((down, right), self.coarse, strict=True))
        return np.asarray(mask[np.ix_(down[rows], right)] & known)

    def covered(self, rows: slice = slice(None)) -> np.ndarray:
        """Where the coarse grid shows the fine rows `rows`, to a coarse pixel beyond its edges: (h, W) bool."""
        inside = []
        for axis in (0, 1):
            x = self._on_coarse(axis)
            inside.append((x >= -1.5) & (x <= self.coarse[axis] + 0.5))
        return np.asarray(inside[0][rows][:, None] & inside[1][None])

    def inside(self, axis: int) -> np.ndarray:
        """Which coarse pixels have their centre on the fine grid, (n,) bool."""
        x = self._on_fine(axis)
        return np.asarray((x > -0.5) & (x < self.fine[axis] - 0.5))

    def shown(self) -> np.ndarray:
        """Which coarse pixels the fine grid shows, (h, w) bool."""
        return np.asarray(self.inside(0)[:, None] & self.inside(1)[None])
