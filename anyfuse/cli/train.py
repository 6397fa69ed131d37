"""`anyfuse train`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..errors import FusionError


def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe.")],
    data: Annotated[
        str,
        typer.Option(help="Folder with the training data, laid out as docs/training.md says; 'language' needs none."),
    ] = "",
    out: Annotated[
        str | None, typer.Option(help="Folder for weights, card, log and checkpoint (default: runs/RECIPE).")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Other number of steps than the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Other seed than the recipe's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from last.pt in the output folder.")] = True,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Other value than the recipe's, as lr=1e-4, strategy=plain, tasks.ivf=2, losses.mff.intensity=20, "
            "config.phi=sigmoid, options.gamma=1e-5; may be repeated.",
        ),
    ] = None,
) -> None:
    """Train a model from a recipe; goes on where it stopped."""
    import torch

    from ..runtime import pick_device
    from ..training.parts.backbone import DISTILLATIONS, distil
    from ..training.parts.codec import CODEC_PLANS, train_codec
    from ..training.parts.estimator import ESTIMATES, train_estimate
    from ..training.parts.language import LANGUAGES, train_language
    from ..training.recipes import RECIPES, override, override_fields
    from ..training.train import train as run

    known = [*RECIPES, *DISTILLATIONS, *CODEC_PLANS, *LANGUAGES, *ESTIMATES]
    if recipe not in known:
        raise FusionError(f"unknown recipe '{recipe}'; known: {', '.join(known)}")
    if threads is not None:
        torch.set_num_threads(threads)
    if recipe in LANGUAGES:
        texts = LANGUAGES[recipe]
        texts = replace(texts, steps=steps or texts.steps, seed=texts.seed if seed is None else seed)
        train_language(override_fields(texts, settings or []), out or Path("runs") / recipe)
        return
    if not data:
        raise FusionError(f"recipe {recipe} needs --data, the folder with its images; see docs/training.md")
    if recipe in ESTIMATES:
        faults = ESTIMATES[recipe]
        faults = replace(faults, steps=steps or faults.steps, seed=faults.seed if seed is None else seed)
        train_estimate(override_fields(faults, settings or []), data, out or Path("runs") / recipe)
        return
    if recipe in DISTILLATIONS:
        plan = DISTILLATIONS[recipe]
        plan = replace(plan, steps=steps or plan.steps, seed=plan.seed if seed is None else seed)
        plan = override_fields(plan, settings or [])
        distil(plan, data, out or Path("runs") / recipe, device=str(pick_device(device)), resume=resume)
        return
    if recipe in CODEC_PLANS:
        codec_plan = CODEC_PLANS[recipe]
        codec_plan = replace(
            codec_plan, steps=steps or codec_plan.steps, seed=codec_plan.seed if seed is None else seed
        )
        codec_plan = override_fields(codec_plan, settings or [])
        train_codec(codec_plan, data, out or Path("runs") / recipe, device=str(pick_device(device)), resume=resume)
        return
    chosen = RECIPES[recipe]
    chosen = replace(chosen, steps=steps or chosen.steps, seed=chosen.seed if seed is None else seed)
    chosen = override(chosen, settings or [])
    run(
        chosen,
        data,
        out or Path("runs") / recipe,
        device=str(pick_device(device)),
        resume=resume,
        log=lambda s: print(s, flush=True),
    )
