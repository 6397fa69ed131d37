"""anyfuse as nodes of ComfyUI. Put this folder into ComfyUI/custom_nodes/anyfuse and `pip install anyfuse` there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyfuse import Fuser

MODELS = ["anyfuse", "laplacian", "guided", "mertens", "tita-small", "unifusion-small"]
ALIGN = ["auto", "none", "homography", "local"]


class FuseImages:
    """Two to four images of one scene, or batches of them, into one."""

    CATEGORY = "image/fusion"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "fuse"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """What ComfyUI shows."""
        needed = {"image_1": ("IMAGE",), "image_2": ("IMAGE",), "model": (MODELS,), "align": (ALIGN,)}
        return {"required": needed, "optional": {"image_3": ("IMAGE",), "image_4": ("IMAGE",)}}

    def fuse(
        self,
        image_1: Tensor,
        image_2: Tensor,
        model: str = "anyfuse",
        align: str = "auto",
        image_3: Tensor | None = None,
        image_4: Tensor | None = None,
    ) -> tuple[Tensor]:
        """Images (B, H, W, 3), float in [0, 1] -> (B, H, W, 3); the k-th of each batch are one scene.

        With B > 1 the results keep the size of the images, since a batch has one size.
        """
        batches = [image for image in (image_1, image_2, image_3, image_4) if image is not None]
        if len({len(batch) for batch in batches}) > 1:
            raise ValueError(f"batches of {', '.join(str(len(b)) for b in batches)} images; give equal ones")
        return (_fused([[batch[k] for batch in batches] for k in range(len(image_1))], model, align),)


class FuseBatch:
    """The images of one batch, as a bracket or a focus stack, into one."""

    CATEGORY = "image/fusion"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "fuse"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """What ComfyUI shows."""
        return {"required": {"images": ("IMAGE",), "model": (MODELS,), "align": (ALIGN,)}}

    def fuse(self, images: Tensor, model: str = "anyfuse", align: str = "auto") -> tuple[Tensor]:
        """Images (N, H, W, 3), float in [0, 1] -> (1, H, W, 3)"""
        return (_fused([list(images)], model, align),)


def _fused(scenes: list[list[Tensor]], model: str, align: str) -> Tensor:
    from anyfuse.align.stage import Align

    fuser = Fuser(model)
    how = Align(align, keep_frame=len(scenes) > 1)
    arrays = [fuser([image.cpu().numpy() for image in images], align=how) for images in scenes]
    return torch.stack([torch.from_numpy(array) for array in arrays])


NODE_CLASS_MAPPINGS = {"AnyfuseImages": FuseImages, "AnyfuseBatch": FuseBatch}
NODE_DISPLAY_NAME_MAPPINGS = {"AnyfuseImages": "Fuse images (anyfuse)", "AnyfuseBatch": "Fuse a batch (anyfuse)"}
