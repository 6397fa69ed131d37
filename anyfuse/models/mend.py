"""Classical restoration of what a wish names, for MMAIF's detail path: filters that know no more than the wish says.

Strengths are those of the wish, directions of motion are nobody's, so a fault is undone about, or not at all (motion, JPEG). What the network
makes of it is its own matter. Origin: ours; the filters' papers are named in restoration.py. Licence: Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..data.operation import to_encoded, to_linear
from ..language.lexicon import DEGRADATIONS
from ..restoration import (
    dehaze,
    even_columns,
    gaussian_kernel,
    in_light,
    median,
    noise_deviation,
    non_local_means,
    without_outliers,
    without_stripes,
)
from .wishes import WIDTH

ALIASED = 6 / 255
"""Noise that Wiener deconvolution of a low resolution assumes at least."""


def brighter(image: Tensor, stops: float) -> Tensor:
    return to_encoded(to_linear(image) * 2.0**stops)


MENDERS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "downsample": lambda x, s: in_light(x, gaussian_kernel(0.3 * (1 + 3 * s)), ALIASED),
    "low_contrast": lambda x, s: x.mean() + (x - x.mean()) / (1 - 0.65 * s),
    "dead_pixels": lambda x, s: without_outliers(x, median(x, 3, 3), 0.1),
    "stripes": lambda x, s: without_stripes(x),
    "fixed_pattern": lambda x, s: even_columns(x),
    "noise": lambda x, s: non_local_means(x, noise_deviation(x)),
    "high_exposure": lambda x, s: brighter(x, -2.5 * s),
    "low_exposure": lambda x, s: brighter(x, 4 * s),
    "blur": lambda x, s: in_light(x, gaussian_kernel(3 * s)),
    "snow": lambda x, s: dehaze(median(x, 5, 5), 0.6),
    "rain": lambda x, s: dehaze(median(x, 1, 7), 0.6),
    "haze": lambda x, s: dehaze(x, 0.95),
}
"""Per fault (luma (H, W), strength) -> luma, in the order in which they are undone: the file, the sensor, the lens, the air."""


@torch.no_grad()
def mend(sources: Tensor, wishes: Tensor) -> Tensor:
    """sources (B, 2, C, H, W) in [0, 1], wishes (B, 31) as wishes.wish_vector gives them -> the same, repaired as far as these filters can."""
    found = sources.clone()
    faults = wishes[:, 1:WIDTH].unflatten(1, (2, len(DEGRADATIONS))).cpu()
    for b, k in faults.amax(-1).nonzero().tolist():
        said = dict(zip(DEGRADATIONS, faults[b, k].tolist(), strict=True))
        for channel, plane in enumerate(sources[b, k]):
            image = plane
            for name, repair in MENDERS.items():
                if said[name] > 0:
                    image = repair(image, min(1.0, said[name])).clamp(0, 1)
            found[b, k, channel] = image
    return found
