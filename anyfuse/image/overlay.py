"""Classes shown in a result: which pixel belongs to which, in what colour, painted translucent."""

from __future__ import annotations

from collections.abc import Mapping

from ..arrays import Tensor, torch
from ..errors import FusionError

PAINTS: dict[str, tuple[float, float, float]] = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "cyan": (0, 1, 1),
    "magenta": (1, 0, 1),
    "orange": (1, 0.5, 0),
    "white": (1, 1, 1),
}
"""RGB of the colours that a Control may name; blue is DiTFuse's."""


def paint(image: Tensor, mask: Tensor, colour: str | None = None, opacity: float = 0.5) -> Tensor:
    """image (..., 1 or 3, H, W) and mask (..., H, W), both in [0, 1] -> RGB (..., 3, H, W) with a translucent overlay,
    blue if no colour is given.

    Raises FusionError for a colour that is not in PAINTS.
    """
    name = colour or "blue"
    if name not in PAINTS:
        raise FusionError(f"unknown colour '{name}': known are {', '.join(PAINTS)}")
    rgb = image.expand(*image.shape[:-3], 3, *image.shape[-2:])
    share = opacity * mask.unsqueeze(-3)
    return rgb * (1 - share) + share * rgb.new_tensor(PAINTS[name])[:, None, None]


def colours_of(segment: Mapping[str, str | None]) -> dict[str, str]:
    """Class -> colour: as named; the others get blue and then the rest of PAINTS, each colour once as long as there are
    any.
    """
    free = [name for name in ("blue", *PAINTS) if name not in segment.values()]
    free = list(dict.fromkeys(free)) or list(PAINTS)
    rest = iter(free * len(segment))
    return {name: colour or next(rest) for name, colour in segment.items()}


def assign_classes(probabilities: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Class -> probability (H, W) becomes class -> whether a pixel is of it (H, W): above 0.5, and likelier than the
    other requested classes.
    """
    if not probabilities:
        return {}
    stacked = torch.stack(list(probabilities.values()))
    best = stacked.argmax(0)
    return {name: (best == k) & (stacked[k] > 0.5) for k, name in enumerate(probabilities)}


def paint_classes(image: Tensor, masks: Mapping[str, Tensor], segment: Mapping[str, str | None]) -> Tensor:
    """image (1 or 3, H, W) in [0, 1] with every class of `masks` (H, W, bool) in its colour; without masks the image
    itself.
    """
    for name, colour in colours_of(segment).items():
        if name in masks:
            image = paint(image, masks[name].to(image), colour)
    return image
