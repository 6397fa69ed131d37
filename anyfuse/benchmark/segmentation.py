"""Does a model find the class that a word names: `anyfuse bench --section segmentation`, on CamVid.

Each class is requested by its word alone, and a test image stands for both images of a pair. A pixel is of a class
where its probability is above 0.5, and, in a second table, where it is the largest of what all eleven words gave. IoU
per class over all images together and their mean, and the confusion of words: of the pixels that a word marked, the
share that belongs to each class. Pixels without a label count nowhere. The model sees luma.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import tiling
from ..control import CLASSES
from ..image.colour import to_luma
from ..io.folders import pair_by_stem
from ..io.read import read_image
from ..models.ditfuse.ditfuse import DiTFuse

UNLABELLED = len(CLASSES)


def read(folder: Path, limit: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Luma (H, W) in [0, 1] and classes (H, W) of folder/images and folder/labels."""
    groups = list(pair_by_stem([folder / "images", folder / "labels"])[0].values())
    groups = groups[:: max(1, len(groups) // limit)][:limit] if limit else groups
    pairs = []
    for image, labels in groups:
        luma = to_luma(read_image(image).read())[0]
        pairs.append((luma, (read_image(labels).read()[0] * 255).round().long()))
    return pairs


def counts(mask: Tensor, classes: Tensor) -> Tensor:
    """mask (H, W) bool, classes (H, W) -> how many of its pixels belong to each class (11,)"""
    return torch.bincount(classes[mask & (classes < UNLABELLED)], minlength=len(CLASSES)).double()


@torch.inference_mode()
def of_words(model: DiTFuse, data: list[tuple[Tensor, Tensor]], device: torch.device) -> tuple[Tensor, Tensor]:
    """(11, 11) twice: pixels that a word marked, by their class; marked where above 0.5, and where no other word has
    more.
    """
    half, most = (torch.zeros(len(CLASSES), len(CLASSES), dtype=torch.float64) for _ in range(2))
    for luma, classes in data:
        h, w = luma.shape
        padded = tiling.plan_tiles(model, 2, 1, h, w)
        rows, cols = tiling.reflect(slice(0, padded.padded_height), h), tiling.reflect(slice(0, padded.padded_width), w)
        pair = luma[rows][:, cols].expand(1, 2, 1, -1, -1).to(device)
        probabilities = torch.cat([model.masks(pair, [name])[name] for name in CLASSES])[:, :h, :w].cpu()
        best = probabilities.argmax(0)
        for index, mask in enumerate(probabilities):
            half[index] += counts(mask > 0.5, classes)
            most[index] += counts(best == index, classes)
    return half, most


def report(name: str, table: Tensor, data: list[tuple[Tensor, Tensor]]) -> tuple[dict[str, Any], list[str]]:
    """IoU per class, their mean and the confusion, as numbers and as Markdown. Classes that do not occur count
    nowhere.
    """
    truth = sum(counts(torch.ones_like(classes, dtype=torch.bool), classes) for _, classes in data)
    assert isinstance(truth, Tensor)
    right = table.diag()
    iou = right / (table.sum(1) + truth - right).clamp_min(1)
    present = truth > 0
    mean = float(iou[present].mean())
    share = table / table.sum(1, keepdim=True).clamp_min(1)
    chosen = share.argmax(1)[present].eq(torch.arange(len(CLASSES))[present]).sum()
    lines = [
        f"\n{name}: mean IoU {mean:.3f} over {int(present.sum())} classes; {int(chosen)} words mark their own class "
        "most\n",
        "| asked for | IoU | is there | marked | " + " | ".join(CLASSES) + " |",
        "| --- |" + " --- |" * (3 + len(CLASSES)),
    ]
    for k, row in enumerate(share):
        cells = [iou[k], truth[k] / truth.sum(), table[k].sum() / truth.sum(), *row]
        lines.append(f"| {CLASSES[k]} | " + " | ".join(f"{float(v):.3f}" for v in cells) + " |")
    summary = {"mean": mean, "iou": dict(zip(CLASSES, iou.tolist(), strict=True)), "confusion": share.tolist()}
    return summary, lines


def run_words(
    model: DiTFuse, data: list[tuple[Tensor, Tensor]], device: torch.device
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Both tables of a model on the pairs of `read`, as numbers and as Markdown."""
    half, most = of_words(model, data, device)
    words, lines = report("each word by itself", half, data)
    chosen, more = report("the likeliest of all words", most, data)
    return {"words": words, "chosen": chosen}, [*lines, *more]
