"""How far the clocks of two streams are apart, by their motion.

Motion energy of a stream: the mean absolute difference of neighbouring pictures, of the whole picture and of 4x4 parts,
a second. The energies of two streams are put on one clock and correlated; parts count as they move. Brightness,
contrast and spectrum do not matter, only when and where something moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .sources import Source

GRID = 4  # parts a side
SECONDS = 20.0  # looked at from the beginning of each stream
FARTHEST = 5.0  # seconds that are tried in both directions
LEAST = 2.0  # seconds that must overlap
SIDE = 160  # pixels of the width at which differences are taken
SURE = 0.3  # confidence from which an offset is used
APART = 0.12  # seconds around the best offset that do not count as another answer


@dataclass(frozen=True)
class Offset:
    """seconds: by which the other stream's clock is ahead of the reference's. confidence: 0 to 1."""

    seconds: float
    confidence: float
    how: str  # 'given', 'motion', 'none': not sure, so 0

    def as_dict(self) -> dict[str, float | str]:
        """Plain values for the report."""
        return {"seconds": round(self.seconds, 4), "confidence": round(self.confidence, 3), "how": self.how}


def motion_energy(source: Source, seconds: float = SECONDS) -> tuple[np.ndarray, np.ndarray]:
    """Times (T,) in seconds, in the middle of two pictures each, and energies (T, 1 + 16)."""
    times, rows = [], []
    before, last = None, 0.0
    for picture in source.pictures():
        if picture.time > seconds:
            break
        small = _small(picture.pixels)
        if before is not None and picture.time > last:
            moved = np.abs(small - before)
            parts = [part for band in np.array_split(moved, GRID) for part in np.array_split(band, GRID, axis=1)]
            rows.append([moved.mean(), *(part.mean() for part in parts)])
            times.append((picture.time + last) / 2)
        before, last = small, picture.time
    return np.array(times), np.array(rows).reshape(len(rows), 1 + GRID * GRID)


def _small(pixels: np.ndarray) -> np.ndarray:
    """(h, w) float32: means of blocks of the green or grey channel, about `SIDE` wide."""
    plane = pixels[:, :, pixels.shape[2] // 2]
    step = max(1, plane.shape[1] // SIDE)
    height, width = plane.shape[0] // step * step, plane.shape[1] // step * step
    blocks = plane[:height, :width].reshape(height // step, step, width // step, step)
    return blocks.mean((1, 3), dtype=np.float32)


def find_offset(reference: Source, other: Source) -> Offset:
    """The offset of `other` against `reference`, by motion; 0 where it is not sure."""
    first, second = motion_energy(reference), motion_energy(other)
    if min(len(first[0]), len(second[0])) < 8:
        return Offset(0.0, 0.0, "none")
    step = min(reference.interval, other.interval)
    a, b = _on_clock(*first, step), _on_clock(*second, step)
    lags, scores = _scores(a, b, step)
    if not len(lags):
        return Offset(0.0, 0.0, "none")
    best = int(np.argmax(scores))
    others = scores[np.abs(lags - lags[best]) * step > max(APART, 3 * step)]
    height = float(scores[best])
    second_best = float(max(0.0, others.max())) if len(others) else 0.0
    confidence = float(np.clip(height - 0.7 * second_best, 0, 1)) * min(1.0, 2 * max(0.0, height))
    seconds = (float(lags[best]) + _peak(scores, best)) * step
    if confidence < SURE:
        return Offset(0.0, confidence, "none")
    return Offset(0.0 if abs(seconds) < step / 3 else seconds, confidence, "motion")


def _on_clock(times: np.ndarray, energies: np.ndarray, step: float) -> np.ndarray:
    """Energies (T, K) at multiples of `step` seconds from 0, as roots, so that single jumps do not decide."""
    clock = np.arange(0, times[-1] + step / 2, step)
    return np.stack([np.sqrt(np.interp(clock, times, column)) for column in energies.T], 1)


def _scores(a: np.ndarray, b: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Lags in steps, and the correlation of a(t) with b(t + lag) over what overlaps, -1 to 1."""
    most = round(FARTHEST / step)
    least = round(min(LEAST, 0.6 * min(len(a), len(b)) * step) / step)
    lags, scores = [], []
    for lag in range(-most, most + 1):
        low, high = max(0, -lag), min(len(a), len(b) - lag)
        if high - low < max(8, least):
            continue
        x, y = a[low:high], b[low + lag : high + lag]
        x, y = x - x.mean(0), y - y.mean(0)
        norm = np.sqrt((x * x).sum() * (y * y).sum())
        lags.append(lag)
        scores.append(float((x * y).sum() / norm) if norm > 1e-9 else 0.0)
    return np.array(lags), np.array(scores)


def _peak(scores: np.ndarray, best: int) -> float:
    """Where a parabola through the best score and its neighbours has its top, in steps from the best."""
    if not 0 < best < len(scores) - 1:
        return 0.0
    left, top, right = scores[best - 1 : best + 2]
    bend = left - 2 * top + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0
