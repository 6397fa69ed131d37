"""What a training leaves beside the weights: the model card, and the scores on held-out images."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..data.batches import TrainingData, darker_first
from ..data.synthetic import focus_stack
from ..metrics import score_batch
from ..models.base import FusionModel, parameter_counts
from ..tiling import fuse_whole
from ..weights import WEIGHTS_NAME
from .distributed import world
from .pools.base import Pool
from .recipe import Recipe
from .recipes import command

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def export(
    model: FusionModel,
    recipe: Recipe,
    data: TrainingData,
    out: Path,
    seconds: float,
    validated: int,
    log: Callable[[str], None],
) -> Path:
    """Writes the float16 weights, the configuration and the model card of a run of steps.

    Args:
        model: with the averaged weights; it holds them as float16 rounds them afterwards.
        recipe: of the run.
        data: which the run has learned from, with its held-out images.
        out: folder of the run.
        seconds: spent in all.
        validated: held-out images of each set that the scores come from.
        log: gets lines of progress.

    Returns:
        `out`.
    """
    model.half().save_pretrained(out)
    log(f"wrote {out / WEIGHTS_NAME}; scoring held-out images")
    scores = validate(model.float().eval(), data, validated)
    if isinstance(data, Pool):
        scores |= data.scores(model, str(next(model.parameters()).device))
    lines = [
        "- validation (every tenth file of each set, held out):",
        *(f"  - {name}: " + ", ".join(f"{k} {v:.3f}" for k, v in s.items()) for name, s in scores.items()),
    ]
    time = f"{seconds / 60:.0f} minutes"
    log(f"wrote {write_recipe_card(out, model, recipe, data, command(recipe), recipe.steps, time, lines)}")
    return out


def write_recipe_card(
    out: Path,
    model: FusionModel,
    recipe: Recipe,
    data: TrainingData,
    command: str,
    steps: int,
    time: str,
    lines: Sequence[str],
) -> Path:
    """Writes the card of a model that a recipe has trained.

    Args:
        out: folder of the run.
        model: gives the number of parameters, and the device.
        recipe: in full on the card.
        data: gives the number of files and their digest.
        command: what starts this training again.
        steps: taken in all.
        time: spent in all, with its unit.
        lines: Markdown below those of data, steps and hardware.
    """
    changes = "".join(f" {k}={v}" for k, v in recipe.config.items())
    intro = f"Trained with `{command}`; {parameter_counts(model)[0]:,} parameters; licence Apache-2.0."
    first = [
        f"- data: {data.files} files, manifest sha256 `{data.manifest}`; "
        + ", ".join(sorted({s.task for s in recipe.sets})),
        f"- steps {steps}, crop {recipe.crop}, seed {recipe.seed}, {time}",
        hardware(next(model.parameters()).device),
    ]
    return write_card(out, f"{recipe.model}{changes}", intro, [*first, *lines], recipe)


def write_card(out: Path, title: str, intro: str, lines: Sequence[str], settings: DataclassInstance) -> Path:
    """Writes README.md, the model card.

    Args:
        out: folder of the run.
        title: the heading.
        intro: a paragraph below it.
        lines: of Markdown.
        settings: in full as JSON at the end.

    Returns:
        The file.
    """
    text = [f"# {title}", "", intro, "", *lines, "", "```json", json.dumps(asdict(settings), indent=1), "```"]
    path = out / "README.md"
    path.write_text("\n".join(text) + "\n")
    return path


def hardware(device: torch.device) -> str:
    """A line for the card: processor, threads, GPU, version of torch, processes where there were several."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    together = f", {world()} processes" if world() > 1 else ""
    threads = f"{torch.get_num_threads()} thread(s)"
    return f"- hardware: {platform.machine()}, {threads}, {name}, torch {torch.__version__}{together}"


SCORES = ("mi", "vif", "qabf", "ssim", "cc", "scd", "halo")


@torch.inference_mode()
def validate(model: FusionModel, data: TrainingData, limit: int = 16) -> dict[str, dict[str, float]]:
    """Mean metrics on held-out pairs, results rounded to 8 bits.

    Args:
        model: on its device.
        data: with the held-out images; natural ones become focus pairs.
        limit: images of each set at most.

    Returns:
        Set -> metric of SCORES -> value.
    """
    out: dict[str, dict[str, float]] = {}
    for name, tensors in held_out(model, data, limit).items():
        rows = []
        for tensor in tensors:
            sources = (tensor[None] * 255).round()
            fused = fuse_whole(model, sources[0, :, None] / 255).cpu().mean(0, keepdim=True)  # grey, of any planes
            rows.append(torch.stack(list(score_batch((fused * 255).round(), sources, SCORES).values())))
        means = torch.cat(rows, 1).nanmean(1).tolist()
        out[name] = dict(zip(SCORES, means, strict=True))
    return out


def held_out(model: FusionModel, data: TrainingData, limit: int) -> dict[str, list[Tensor]]:
    """Set -> at most `limit` held-out groups (N, H, W) in [0, 1], of sides that the model takes; natural images become
    focus pairs of 256x256 at most.
    """
    gen = torch.Generator().manual_seed(1)

    def whole(stack: np.ndarray) -> Tensor:
        h, w = (side - side % model.stride for side in stack.shape[1:])
        return torch.from_numpy(stack[:, :h, :w]).float() / 255

    groups: dict[str, list[Tensor]] = {}
    for name, stacks in data.validation.items():
        chosen = [whole(s) for s in stacks[:: max(1, len(stacks) // limit)][:limit]]
        if len(chosen[0]) == 1:
            pairs = [focus_stack(s[0, :256, :256], 2, gen).clamp(0, 1) for s in chosen]
            groups[f"{name}, focus pairs"] = [darker_first(p) if model.ordered else p for p in pairs]
        else:
            groups[name] = chosen
    return groups
