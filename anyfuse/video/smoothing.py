"""Steady decisions: a model's context smoothed over time where the sources stay as they are.

A place whose sources changed by more than their noise takes the new decision at once, so moving things leave no trails.
Elsewhere the decision is an exponential mean over time. It works on `models.base.Context`, so on every model that has
one. What the decision was made for, the sources at the size of the context, is smoothed alike: slow changes of light
add up there until they count as a change.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.base import Context

LEAST_NOISE, MOST_NOISE = 0.3 / 255, 1.5 / 255  # of cells, by which changes are measured
STILL, CHANGED = 4.0, 8.0  # deviations of the noise up to which a place is still, and from which it has changed
BESIDE = 2  # cells around a change that change with it
CUT, CUT_LEVEL = 0.6, 0.04  # share of the cells and mean change, from which a new scene begins
SLOW = 0.1  # share of a new estimate of the noise


class Smoother:
    """The memory of one stream.

    Args:
        seconds: time constant of the mean; 0: nothing is smoothed.
    """

    def __init__(self, seconds: float = 0.5) -> None:
        self.seconds = seconds
        self.cuts = 0  # scenes that began after the first
        self._maps: tuple[Tensor, ...] | None = None  # of the context
        self._seen: Tensor | None = None  # (N, h, w), the sources that the maps were made for
        self._last: Tensor | None = None  # (N, h, w), the last sources
        self._noise: Tensor | None = None  # (N, 1, 1)
        self._time = 0.0

    def at(self, cells: Tensor, time: float) -> Callable[[Context], Context]:
        """What smooths the context of the next picture.

        Args:
            cells: (N, h, w) in [0, 1], luma of the sources, a mean for each cell of the context.
            time: of the picture, in seconds.
        """
        return lambda context: self._next(context, cells, time)

    def _next(self, context: Context, cells: Tensor, time: float) -> Context:
        seen, maps, last = self._seen, self._maps, self._last
        fits = seen is not None and seen.shape == cells.shape and maps is not None
        if not fits or seen is None or maps is None or last is None or self.seconds <= 0:
            return self._begin(context, cells, time)
        share = 1 - math.exp(-max(time - self._time, 1e-6) / self.seconds)
        self._measure(cells, last)
        assert self._noise is not None
        away = (cells - seen).abs()
        changed = ((away / self._noise).amax(0) - STILL) / (CHANGED - STILL)
        changed = changed.clamp(0, 1)
        if float((changed > 0.5).float().mean()) > CUT and float(away.mean()) > CUT_LEVEL:
            self.cuts += 1
            return self._begin(context, cells, time)
        changed = F.max_pool2d(changed[None], 2 * BESIDE + 1, 1, BESIDE)[0]
        shares = share + (1 - share) * changed
        whole = share + (1 - share) * changed.mean()
        out = [
            torch.lerp(old, new, self._share(new, shares, whole)) for old, new in zip(maps, context.maps, strict=True)
        ]
        self._maps, self._last, self._time = tuple(out), cells, time
        self._seen = torch.lerp(seen, cells, shares)
        return Context(self._maps)

    @staticmethod
    def _share(new: Tensor, shares: Tensor, whole: Tensor) -> Tensor:
        """The shares for a map: of its places, or one for a value of the whole picture."""
        return (whole if new.shape[-2:] == (1, 1) else shares).to(new)

    def _begin(self, context: Context, cells: Tensor, time: float) -> Context:
        self._maps, self._seen, self._last, self._time = context.maps, cells, cells, time
        self._noise = None
        return context

    def _measure(self, cells: Tensor, last: Tensor) -> None:
        """Noise of each source by the median change of its cells, since most of a picture stays."""
        change = (cells - last).abs().flatten(1).median(1).values * (1.4826 / math.sqrt(2))
        noise = change.clamp(LEAST_NOISE, MOST_NOISE)[:, None, None]
        self._noise = noise if self._noise is None else torch.lerp(self._noise, noise, SLOW)

    # ------------------------------------------------------------------ going on after a break

    def state(self) -> dict[str, Tensor]:
        """All of the memory, for `load`."""
        known = {"seen": self._seen, "last": self._last, "noise": self._noise}
        maps = {f"map{k}": m for k, m in enumerate(self._maps or ())}
        rest = {"numbers": torch.tensor([self._time, float(self.cuts)], dtype=torch.float64)}
        return {name: value.clone() for name, value in (known | maps | rest).items() if value is not None}

    def load(self, state: dict[str, Tensor]) -> None:
        """Takes the memory of `state`."""
        self._seen, self._last, self._noise = (state.get(name) for name in ("seen", "last", "noise"))
        maps = [state[f"map{k}"] for k in range(len(state)) if f"map{k}" in state]
        self._maps = tuple(maps) or None
        self._time, self.cuts = float(state["numbers"][0]), int(state["numbers"][1])
