"""One entry for everything that trains: a recipe's name, and what to override -> weights, card, log, checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ..device import pick_device
from ..errors import FusionError
from ..io.atomic import check_folder
from .distributed import launched, processes
from .overrides import override, override_fields
from .parts.backbone import DISTILLATIONS, distil
from .parts.codec import CODEC_PLANS, train_codec
from .parts.estimator import ESTIMATES, train_estimate
from .parts.gate import GATES, train_gate
from .parts.language import LANGUAGES, train_language
from .parts.masks import MASKS, train_masks
from .parts.reading import READINGS, train_reading
from .parts.roles import ROLES_PLANS, train_roles
from .parts.segmenter import SEGMENTERS, train_segmenter
from .recipe import Recipe
from .recipes import RECIPES
from .tensorboard import Board
from .train import train

ENTRIES: dict[str, Any] = {
    **RECIPES,
    **DISTILLATIONS,
    **CODEC_PLANS,
    **LANGUAGES,
    **READINGS,
    **ESTIMATES,
    **GATES,
    **ROLES_PLANS,
    **SEGMENTERS,
    **MASKS,
}
"""Name -> settings, a frozen dataclass each with `steps` and `seed`."""


def run(
    name: str,
    data: str | Path,
    out: str | Path | None = None,
    *,
    steps: int | None = None,
    seed: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    accumulate: int = 1,
    resume: bool = True,
    settings: Sequence[str] = (),
    tensorboard: bool = False,
    log: Callable[[str], None] = lambda line: print(line, flush=True),
) -> Path:
    """Trains a recipe, with the other processes of torchrun or accelerate launch if they started it.

    Args:
        name: in ENTRIES.
        data: folder with the training data (docs/training.md); 'language' and 'reading' need none.
        out: folder to write; None: runs/NAME.
        steps: overrides those of the recipe.
        seed: overrides that of the recipe.
        device: as in `Fuser`.
        threads: of the CPU.
        accumulate: parts of a step that go through the model one after the other; less memory, equal gradients
            but for batch norms.
        resume: resumes from last.pt of the same recipe in `out`.
        settings: 'key=value' each, see `overrides.override`.
        tensorboard: also writes OUT/tensorboard, as the run goes on.
        log: gets each line of progress.

    Returns:
        The folder with weights, card, log.jsonl and last.pt.

    Raises:
        FusionError: an unknown recipe or setting, missing data, or several processes for a recipe of one.
    """
    if name not in ENTRIES:
        raise FusionError(f"unknown recipe '{name}'; known: {', '.join(ENTRIES)}")
    if not data and name not in (*LANGUAGES, *READINGS):
        raise FusionError(f"recipe {name} needs --data, the folder with its images; see docs/training.md")
    if threads is not None:
        torch.set_num_threads(threads)
    plan: Any = ENTRIES[name]
    plan = replace(plan, steps=steps or plan.steps, seed=plan.seed if seed is None else seed)
    plan = override(plan, settings) if isinstance(plan, Recipe) else override_fields(plan, settings)
    folder = Path("runs") / name if out is None else Path(out)
    check_folder(folder)
    if not isinstance(plan, Recipe) and (launched() > 1 or accumulate != 1):
        raise FusionError(f"recipe {name} trains in one process, and each step at once; start it without a launcher")
    options: dict[str, Any] = {"device": device, "resume": resume, "accumulate": accumulate}
    if not tensorboard or (launched() > 1 and os.environ["RANK"] != "0"):  # the first process writes
        return _train(name, plan, data, folder, log=log, **options)
    with Board(folder, asdict(plan)) as board:

        def heard(line: str) -> None:
            log(line)
            board.update()

        return _train(name, plan, data, folder, log=heard, **options)


def _train(
    name: str,
    plan: Any,
    data: str | Path,
    folder: Path,
    *,
    device: str,
    accumulate: int,
    resume: bool,
    log: Callable[[str], None],
) -> Path:
    """The training of a plan, by the kind of the recipe."""
    method: Callable[..., Path]
    if name in (*LANGUAGES, *READINGS):
        method = train_language if name in LANGUAGES else train_reading
        return method(plan, folder, resume=resume, log=log)
    parts: dict[str, Callable[..., Path]] = {
        **dict.fromkeys(ESTIMATES, train_estimate),
        **dict.fromkeys(SEGMENTERS, train_segmenter),
        **dict.fromkeys(MASKS, train_masks),
    }
    if name in parts:
        return parts[name](plan, data, folder, resume=resume, log=log)
    if name in ROLES_PLANS:
        return train_roles(plan, data, folder, log=log)
    if name in GATES:
        return train_gate(plan, data, folder, log=log)
    if isinstance(plan, Recipe):
        with processes(pick_device(device)) as place:
            return train(plan, data, folder, device=str(place), accumulate=accumulate, resume=resume, log=log)
    method = distil if name in DISTILLATIONS else train_codec
    return method(plan, data, folder, device=str(pick_device(device)), resume=resume, log=log)
