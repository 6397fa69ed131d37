"""`anyfuse train`: any recipe: models, backbones, codecs, language, estimator."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Device, complete_recipe

RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="Name of a recipe, as docs/training.md lists them.", autocompletion=complete_recipe
    ),
]
Data = Annotated[
    str,
    typer.Option(help="Folder with the training data, laid out as docs/training.md says. 'language' needs none."),
]
Out = Annotated[str | None, typer.Option(help="Folder for weights, card, log and checkpoint (default: runs/RECIPE).")]
Steps = Annotated[int | None, typer.Option(min=1, help="Override the number of steps.")]
Seed = Annotated[int | None, typer.Option(help="Override the seed.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads.")]
Accumulate = Annotated[
    int,
    typer.Option(
        min=1,
        help="Parts of a step that go through the model one after the other: less memory, equal gradients but for "
        "batch norms.",
    ),
]
Resume = Annotated[bool, typer.Option(help="Resume from last.pt in the output folder.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a value of the recipe: lr=1e-4 (learning rate), strategy=plain (how losses are combined), "
        "tasks.ivf=2 (share of a task), losses.mff.intensity=20 (weight of a task's loss), config.phi=sigmoid (the "
        "model's configuration), options.gamma=1e-5 (the strategy's). Tasks: ivf (infrared + visible), mef "
        "(multi-exposure), mff (multi-focus), mif (medical). May be repeated.",
    ),
]

TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Also write OUT/tensorboard while it trains (extra 'tensorboard').")
]


def train(
    recipe: RecipeName,
    data: Data = "",
    out: Out = None,
    steps: Steps = None,
    seed: Seed = None,
    device: Device = "auto",
    threads: Threads = None,
    accumulate: Accumulate = 1,
    resume: Resume = True,
    settings: Settings = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Train a model from a recipe; resumes where it stopped. torchrun and accelerate launch start several processes."""
    from ..training.run import run

    run(
        recipe,
        data,
        out,
        steps=steps,
        seed=seed,
        device=device,
        threads=threads,
        accumulate=accumulate,
        resume=resume,
        settings=settings or [],
        tensorboard=tensorboard,
    )
