"""What cameras themselves say of how their thermal image lies in their photograph."""

from __future__ import annotations

import numpy as np

from ..arrays import F, Tensor, torch
from ..image.frame import Frame
from ..image.metadata import LOOK, Inset
from .full import scene_of

SHAPE = 0.02  # by which the photograph's ratio of sides may differ from that of the one the tags are for
LOOKS = 0.6  # least correlation of both, reduced to LOOK


def tag_matrix(reference: Frame, frame: Frame) -> Tensor | None:
    """Pixels of the reference -> pixels of the frame, where one of both has the tags and the other is its photograph.

    FLIR: the thermal image is 1 / Real2IR as wide as the photograph, and its centre lies OffsetX, OffsetY pixels of the
    photograph from the photograph's own. Tags of one photograph are not used for another one: its shape, and its
    look where the file has that photograph, must be those of the image.
    """
    if (reference.metadata.inset is None) == (frame.metadata.inset is None):
        return None
    swapped = reference.metadata.inset is not None
    thermal, photo = (reference, frame) if swapped else (frame, reference)
    inset = thermal.metadata.inset
    assert inset is not None
    if not is_photograph_of(inset, photo):
        return None
    scale = photo.width / inset.ratio / thermal.width  # pixels of the photograph in one of the thermal image
    offset = photo.width / (inset.width or photo.width)
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[0, 0] = matrix[1, 1] = scale
    matrix[0, 2] = (photo.width - 1) / 2 + inset.x * offset - scale * (thermal.width - 1) / 2
    matrix[1, 2] = (photo.height - 1) / 2 + inset.y * offset - scale * (thermal.height - 1) / 2
    return matrix if swapped else torch.linalg.inv(matrix)


def is_photograph_of(inset: Inset, photo: Frame) -> bool:
    """Whether an image may be the photograph that a thermal image's tags speak of; True where they do not tell."""
    if inset.width and inset.height:
        shape = (photo.width / photo.height) / (inset.width / inset.height)
        if abs(shape - 1) > SHAPE:
            return False
    if len(inset.look) != LOOK[0] * LOOK[1]:
        return True
    own = torch.from_numpy(np.frombuffer(inset.look, np.uint8).astype(np.float32) / 255)
    luma = scene_of(photo, 8 * LOOK[0]).luma
    other = F.adaptive_avg_pool2d(luma[None, None], (LOOK[1], LOOK[0])).flatten()
    if min(float(own.std()), float(other.std())) < 0.01:
        return True  # too little to tell by
    return float(torch.corrcoef(torch.stack([own, other]))[0, 1]) > LOOKS
