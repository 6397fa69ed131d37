"""The methods: what detail of the panchromatic image goes into each band, and how much of it.

All numbers of a method are fitted at the resolution of the bands, where both images can be compared. What remains is
local, and is done in strips of rows. In the equations B is an enlarged band, P the panchromatic image, P' that image
with the scale of the bands, I their intensity, PL the panchromatic image without the detail that the bands lack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import FusionError
from .grid import Grid

NYQUIST = 0.3  # a usual response of multispectral sensors at their Nyquist frequency (Aiazzi et al. 2006)
_STRIP = 1 << 21  # fine pixels worked on together
_WHOLE = 0.99  # share of a sensor's sight from which a coarse pixel counts
_LEAST = 16  # coarse pixels from which a method can be fitted

Rule = Literal["none", "add", "residual", "multiply"]


@dataclass(frozen=True, eq=False)
class Pair:
    """A panchromatic and a multispectral image, values as stored."""

    pan: np.ndarray  # (H, W)
    ms: np.ndarray  # (h, w, K)
    grid: Grid  # how the second lies on the first
    known: np.ndarray | None = None  # (h, w) bool, where the bands have values; None: everywhere
    pan_known: np.ndarray | None = None  # (H, W) bool, the same of the panchromatic image
    nyquist: tuple[float, ...] = (NYQUIST,)  # gain of the sensor at its Nyquist frequency: one, or one for each band

    def __post_init__(self) -> None:
        count = self.ms.shape[2]
        if len(self.nyquist) not in (1, count) or not all(0 < gain < 1 for gain in self.nyquist):
            raise FusionError(
                f"nyquist {self.nyquist}: give one gain between 0 and 1, or one for each of {count} bands"
            )

    def band(self, k: int) -> np.ndarray:
        """(h, w) float32; where it has no value, the mean of the neighbours that have one."""
        band = self.ms[:, :, k].astype(np.float32)
        return band if self.known is None else filled(band, self.known)

    def reduced_pan(self, gain: float) -> tuple[np.ndarray, np.ndarray]:
        """The panchromatic image as a sensor of that gain sees it, and where it does so, (h, w) float32 and bool."""
        inside = self.grid.shown()
        if self.pan_known is None:
            return self.grid.reduce(self.pan, gain), inside
        share = self.grid.reduce(self.pan_known.astype(np.float32), gain)
        total = self.grid.reduce(np.where(self.pan_known, self.pan, 0).astype(np.float32), gain)
        return total / np.maximum(share, 1e-6), inside & (share > _WHOLE)

    def shown(self, rows: slice) -> np.ndarray:
        """Where both images have values, in fine rows, (h, W) bool."""
        grid = self.grid
        known = grid.covered(rows) if self.known is None else grid.enlarge_mask(self.known, rows)
        return known if self.pan_known is None else known & self.pan_known[rows]


@dataclass(frozen=True, eq=False)
class Coarse:
    """A pair at the resolution of the bands."""

    pans: Sequence[np.ndarray]  # (h, w) for each band: the panchromatic image as that band's sensor sees it
    bands: Sequence[np.ndarray]  # (h, w) each
    where: np.ndarray  # (h, w) bool: both have values

    @classmethod
    def of(cls, pair: Pair) -> Coarse:
        """The panchromatic image is filtered once for each different gain."""
        seen = {gain: pair.reduced_pan(gain) for gain in dict.fromkeys(pair.nyquist)}
        bands = [pair.band(k) for k in range(pair.ms.shape[2])]
        gains = pair.nyquist * len(bands) if len(pair.nyquist) == 1 else pair.nyquist
        where = np.logical_and.reduce([inside for _, inside in seen.values()])
        where = where if pair.known is None else where & pair.known
        if where.sum() < max(_LEAST, 2 * len(bands)):
            raise FusionError(f"only {where.sum()} pixels of both images show one place; pansharpening needs more")
        return cls([seen[gain][0] for gain in gains], bands, where)

    def flat(self, image: np.ndarray) -> np.ndarray:
        """The values of an image (h, w) that count, float64."""
        return image[self.where].astype(np.float64)

    @property
    def pan(self) -> np.ndarray:
        """(h, w): the mean over the bands' sensors."""
        return self.pans[0] if all(p is self.pans[0] for p in self.pans) else np.mean(self.pans, axis=0)

    def intensity(self, weights: np.ndarray) -> np.ndarray:
        """Weighted sum of the bands, plus the last weight, (h, w) float32."""
        total = np.full(self.where.shape, weights[-1], np.float32)
        for weight, band in zip(weights[:-1], self.bands, strict=True):
            total += np.float32(weight) * band
        return total

    def regression(self) -> tuple[np.ndarray, float]:
        """Weights of the bands, and a constant, by which they come nearest to the panchromatic image (least squares);
        and the share of its variance that they explain, R squared.
        """
        pan = self.flat(self.pan)
        columns = [*(self.flat(band) for band in self.bands), np.ones(len(pan))]
        scale = [max(float(np.abs(c).max()), 1e-12) for c in columns]
        weights, *_ = np.linalg.lstsq(np.column_stack([c / s for c, s in zip(columns, scale, strict=True)]), pan, 1e-9)
        weights = weights / scale
        rest = pan - sum(w * c for w, c in zip(weights, columns, strict=True))
        spread = float(pan.var())
        return weights, 1.0 - float(rest.var()) / spread if spread > 0 else 0.0


@dataclass(frozen=True, eq=False)
class Injection:
    """A method, fitted to a pair."""

    rule: Rule  # none: B. add: B + g (P' - I). residual: B + g (P - PL). multiply: B P' / I
    intensity: np.ndarray  # (h, w): I at the resolution of the bands
    gains: np.ndarray  # (K,): g of each band
    scale: float = 1.0  # P' = scale P + offset
    offset: float = 0.0
    lows: Sequence[np.ndarray] = ()  # (h, w) for each band: PL at the resolution of the bands


def bicubic(coarse: Coarse) -> Injection:
    """No detail: the bands, enlarged by cubic convolution (Keys 1981). What a method has to be better than."""
    return Injection("none", coarse.bands[0], np.zeros(len(coarse.bands)))


def brovey(coarse: Coarse) -> Injection:
    """B P' / I with I the mean of the bands (Gillespie, Kahle, Walker 1987; Vivone et al. 2015).

    P' has the mean and deviation of I. Ratios of bands stay as they are.
    """
    intensity = coarse.intensity(np.array([*[1 / len(coarse.bands)] * len(coarse.bands), 0.0]))
    scale, offset = matched(coarse.flat(coarse.pan), coarse.flat(intensity))
    return Injection("multiply", intensity, np.ones(len(coarse.bands)), scale, offset)


def gsa(coarse: Coarse) -> Injection:
    """Gram-Schmidt adaptive: B + g (P' - I), I by regression on the reduced P, g = cov(I, B) / var(I).

    Aiazzi, Baronti, Selva 2007: injection, gains and regression.
    """
    weights, _ = coarse.regression()
    intensity = coarse.intensity(weights)
    flat = coarse.flat(intensity)
    gains = np.array([slope(flat, coarse.flat(band)) for band in coarse.bands])
    return Injection("add", intensity, gains, 1.0, float(flat.mean() - coarse.flat(coarse.pan).mean()))


def mtf_glp(coarse: Coarse) -> Injection:
    """Generalised Laplacian pyramid with MTF-shaped filters: B + g (P - PL), g = cov(B, PL) / var(PL).

    Aiazzi, Alparone, Baronti, Garzelli 2002 (pyramid and gains, there by context, here over the image), filters as
    Aiazzi, Alparone, Baronti, Garzelli, Selva 2006 shape them after the sensor's response.
    """
    pairs = zip(coarse.bands, coarse.pans, strict=True)
    gains = np.array([slope(coarse.flat(low), coarse.flat(band)) for band, low in pairs])
    return Injection("residual", coarse.pan, gains, lows=coarse.pans)


METHODS: dict[str, Callable[[Coarse], Injection]] = {
    "bicubic": bicubic,
    "brovey": brovey,
    "gsa": gsa,
    "mtf-glp": mtf_glp,
}
"""By name, as `--model` takes them."""


def pansharpen(
    pan: np.ndarray,
    ms: np.ndarray,
    method: str = "gsa",
    *,
    nyquist: float | Sequence[float] = NYQUIST,
    corner: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """Every band of a multispectral image with the detail of a panchromatic one.

    >>> rng = np.random.default_rng(0)
    >>> pan, ms = rng.integers(0, 4096, (64, 96), np.uint16), rng.integers(0, 4096, (16, 24, 8), np.uint16)
    >>> pansharpen(pan, ms, "mtf-glp").shape
    (64, 96, 8)

    Args:
        pan: (H, W), any real dtype, values as stored.
        ms: (h, w, K), K bands; H / h and W / w are one whole number, the ratio.
        method: bicubic, brovey, gsa or mtf-glp.
        nyquist: response of the multispectral sensor at its Nyquist frequency, between 0 and 1: one, or one a band.
        corner: upper left corner of `ms` on `pan`, in rows and columns of `pan`.

    Returns:
        (H, W, K) in the dtype of `ms`.

    Raises:
        FusionError: shapes that do not fit, an unknown method, or a gain that cannot be.
    """
    pan, ms = np.asarray(pan), np.asarray(ms)
    if method not in METHODS:
        raise FusionError(f"method {method}: give one of {', '.join(METHODS)}")
    if pan.ndim != 2 or ms.ndim != 3:
        raise FusionError(f"pan {pan.shape} and ms {ms.shape}: give (H, W) and (h, w, bands)")
    ratio = whole_ratio(pan.shape, ms.shape[:2])
    if ratio is None:
        raise FusionError(f"pan {pan.shape} is no whole multiple of ms {ms.shape[:2]}: cut them to one extent")
    gains = (nyquist,) if isinstance(nyquist, int | float) else tuple(nyquist)
    pair = Pair(pan, ms, Grid(pan.shape, ms.shape[:2], ratio, corner), nyquist=gains)
    return sharpened(pair, METHODS[method](Coarse.of(pair)))


def whole_ratio(fine: tuple[int, ...], coarse: tuple[int, ...]) -> int | None:
    """The whole number, 2 or more, by which two sizes differ, to less than a coarse pixel a side; None: there is
    none.
    """
    ratio = round(fine[0] / coarse[0])
    off = max(abs(big - ratio * small) for big, small in zip(fine, coarse, strict=True))
    return ratio if ratio >= 2 and off < ratio and min(coarse) > 0 else None


def sharpened(pair: Pair, injection: Injection, fill: float = 0.0) -> np.ndarray:
    """The bands on the fine grid, (H, W, K) in the dtype of the bands.

    Args:
        pair: the images.
        injection: the method, fitted to them.
        fill: value where the bands have none.
    """
    (height, width), count = pair.grid.fine, pair.ms.shape[2]
    out = np.empty((height, width, count), pair.ms.dtype)
    missing = np.empty(0, np.float32)
    floor = 0.0 if pair.ms.dtype.kind == "f" and float(np.nanmin(pair.ms)) >= 0 else -np.inf
    bands = [pair.band(k) for k in range(count)]
    for rows in strips(height, width):
        shared = _shared(pair, injection, rows)
        known = pair.shown(rows)
        for k, band in enumerate(bands):
            value = pair.grid.enlarge(band, rows)
            if injection.rule == "multiply":
                value *= shared
            elif injection.rule == "residual":
                if k == 0 or injection.lows[k] is not injection.lows[k - 1]:
                    missing = shared - pair.grid.enlarge(injection.lows[k], rows)
                value += np.float32(injection.gains[k]) * missing
            elif injection.rule == "add":
                value += np.float32(injection.gains[k]) * shared
            value[~known] = fill
            store(value, out[rows, :, k], floor)
    return out


def _shared(pair: Pair, injection: Injection, rows: slice) -> np.ndarray:
    """What the rule needs of the panchromatic image in some rows, the same for all bands."""
    pan = pair.pan[rows].astype(np.float32)
    if injection.rule in ("none", "residual"):
        return pan
    pan = pan * np.float32(injection.scale) + np.float32(injection.offset)
    intensity = pair.grid.enlarge(injection.intensity, rows)
    if injection.rule == "add":
        return np.asarray(pan - intensity)
    tiny = 1e-6 * max(float(np.abs(injection.intensity).max()), 1e-30)
    return np.where(intensity > tiny, pan.clip(0) / np.maximum(intensity, tiny), np.float32(1))


def store(value: np.ndarray, out: np.ndarray, floor: float = -np.inf) -> None:
    """Writes float values into an array of another dtype: rounded and clipped to what whole numbers hold."""
    if out.dtype.kind in "ui":
        limits = np.iinfo(out.dtype)
        np.copyto(out, np.rint(value).clip(limits.min, limits.max), casting="unsafe")
    else:
        np.copyto(out, value if floor == -np.inf else np.maximum(value, floor), casting="unsafe")


def strips(height: int, width: int) -> Iterator[slice]:
    """Rows that are worked on together, from top to bottom."""
    step = max(1, _STRIP // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def matched(values: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Scale and offset that give `values` the mean and deviation of `target`."""
    spread = float(values.std())
    scale = float(target.std()) / spread if spread > 0 else 1.0
    return scale, float(target.mean()) - scale * float(values.mean())


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """cov(x, y) / var(x); 0 where x is flat."""
    centred = x - x.mean()
    spread = float(centred @ centred)
    return float(centred @ (y - y.mean())) / spread if spread > 0 else 0.0


def filled(band: np.ndarray, known: np.ndarray, steps: int = 3) -> np.ndarray:
    """A band whose unknown pixels, up to `steps` from a known one, are means of neighbours; further ones are the mean
    of all, so that nothing of an unknown value is smeared into the known ones.
    """
    if not known.any():
        return np.zeros_like(band)
    out, done = np.where(known, band, band[known].mean()), known.copy()
    for _ in range(steps):
        value, count = (_neighbours(np.where(done, x, 0)) for x in (out, done.astype(np.float32)))
        fresh = ~done & (count > 0)
        out[fresh] = value[fresh] / count[fresh]
        done |= fresh
    return np.asarray(out)


def _neighbours(x: np.ndarray) -> np.ndarray:
    """Sums over 3x3 pixels."""
    wide = np.pad(x, 1)
    down = wide[:-2] + wide[1:-1] + wide[2:]
    return np.asarray(down[:, :-2] + down[:, 1:-1] + down[:, 2:])
