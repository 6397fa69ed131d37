"""What cameras themselves say of how their thermal image lies in their photograph."""

from __future__ import annotations

import torch
from torch import Tensor

from ..image.frame import Frame


def tag_matrix(reference: Frame, frame: Frame) -> Tensor | None:
    """Pixels of the reference -> pixels of the frame, where one of both has the tags and the other is its photograph.

    FLIR: the thermal image is 1 / Real2IR as wide as the photograph, and its centre lies OffsetX, OffsetY pixels of the
    photograph from the photograph's own.
    """
    if (reference.metadata.inset is None) == (frame.metadata.inset is None):
        return None
    swapped = reference.metadata.inset is not None
    thermal, photo = (reference, frame) if swapped else (frame, reference)
    inset = thermal.metadata.inset
    assert inset is not None
    scale = photo.width / inset.ratio / thermal.width  # pixels of the photograph in one of the thermal image
    offset = photo.width / (inset.width or photo.width)
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[0, 0] = matrix[1, 1] = scale
    matrix[0, 2] = (photo.width - 1) / 2 + inset.x * offset - scale * (thermal.width - 1) / 2
    matrix[1, 2] = (photo.height - 1) / 2 + inset.y * offset - scale * (thermal.height - 1) / 2
    return matrix if swapped else torch.linalg.inv(matrix)
