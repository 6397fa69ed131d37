"""Classical restoration of what a wish names, for MMAIF's detail path: filters that know no more than the wish says.

Strengths are those of the wish, so a fault is undone about; motion, whose direction nobody says, and JPEG are left.
What the network makes of it is its own matter. Origin: ours; the filters' papers are named in restore.py. Licence:
Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...control import DEGRADATIONS
from ...degradation.restore import (
    deblurred,
    even_columns,
    exposed,
    finer,
    without_dead_pixels,
    without_haze,
    without_noise,
    without_rain,
    without_snow,
    without_stripes,
)
from ...image.colour import to_luma
from .instruction import WIDTH

MENDERS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "downsample": lambda x, s, mean: finer(x, 1 + 3 * s),
    "low_contrast": lambda x, s, mean: mean + (x - mean) / (1 - 0.65 * s),
    "dead_pixels": lambda x, s, mean: without_dead_pixels(x),
    "stripes": lambda x, s, mean: without_stripes(x),
    "fixed_pattern": lambda x, s, mean: even_columns(x),
    "noise": lambda x, s, mean: without_noise(x),
    "high_exposure": lambda x, s, mean: exposed(x, -2.5 * s),
    "low_exposure": lambda x, s, mean: exposed(x, 4 * s),
    "blur": lambda x, s, mean: deblurred(x, s),
    "snow": lambda x, s, mean: without_snow(x),
    "rain": lambda x, s, mean: without_rain(x),
    "haze": lambda x, s, mean: without_haze(x),
}
"""Per fault (channel (H, W), strength, mean luma) -> channel, in the order in which they are undone: the file, the
sensor, the lens, the air.
"""


@torch.no_grad()
def mend(sources: Tensor, wishes: Tensor) -> Tensor | None:
    """sources (B, 2, C, H, W) in [0, 1], sides 16 or more, wishes (B, 31) as instruction.wish_vector gives them -> the
    same, repaired as far as these filters can; None where no wish names a fault that one of them undoes.
    """
    faults = wishes[:, 1:WIDTH].unflatten(1, (2, len(DEGRADATIONS))).cpu()
    known = torch.tensor([name in MENDERS for name in DEGRADATIONS])
    places = (faults * known).amax(-1).nonzero().tolist()
    if not places:
        return None
    found = sources.clone()
    for b, k in places:
        said = dict(zip(DEGRADATIONS, faults[b, k].clamp(0, 1).tolist(), strict=True))
        for name, repair in MENDERS.items():
            if said[name] > 0:
                image = found[b, k]
                mean = float((to_luma(image) if len(image) == 3 else image).mean())
                found[b, k] = torch.stack([repair(x, said[name], mean) for x in image]).clamp(0, 1)
    return found
