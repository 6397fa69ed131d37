"""The command line: anyfuse fuse | say | estimate | models | backbone | codec | data | train | score | bench | datasets | degrade."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from . import __version__
from .data.pack_command import app as data_app
from .degrade import degrade
from .errors import FusionError
from .estimate_files import estimate
from .fetch import app as backbone
from .fetch import codec
from .files import one_line
from .say import say

CLASSICS = "anyfuse,laplacian,mertens,guided"
app = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Fuse any images of one scene: infrared + visible, exposures, focus planes, medical; any number, size and depth.",
)  # fmt: skip
app.add_typer(backbone, name="backbone")
app.add_typer(codec, name="codec")
app.add_typer(data_app, name="data")
app.command()(degrade)
app.command()(say)
app.command()(estimate)


class Resize(str, Enum):
    """What to do with images of different size."""

    none = "none"
    reference = "reference"


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        print(f"anyfuse {__version__}")
        raise typer.Exit


@app.command()
def fuse(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Two or more images of one scene, or two or more folders (paired by file stem); one will do to --say what to highlight."
        ),
    ],
    output: Annotated[
        str,
        typer.Option("-o", "--output", help="Image file to write (.png .tif .jpg .webp), or a folder for folders."),
    ],
    model: Annotated[str, typer.Option(help="Name (see `anyfuse models`), folder or hub id.")] = "anyfuse",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="Of the network: auto, float32, bfloat16 or float16.")] = "auto",
    max_memory: Annotated[
        str | None, typer.Option(help="Memory of the whole process, as 2G; tiles shrink to fit.")
    ] = None,
    weights_out: Annotated[
        str | None, typer.Option(help="Folder for one grey image per input: how much of it each pixel took.")
    ] = None,
    report: Annotated[
        str | None, typer.Option(help="JSON file for sizes, model, times, peak memory and warnings.")
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(help="Folder for the numbers and maps behind the result (explain.json, PNG); for tita models."),
    ] = None,
    keep_order: Annotated[
        bool,
        typer.Option("--keep-order", help="Models with roles: inputs as given, not grey first and darker first."),
    ] = False,
    say: Annotated[
        str | None,
        typer.Option(
            help="In words (see `anyfuse say`): what to repair, as 'remove the haze' or 'repair nothing', for mmaif models (without it: what "
            "the images seem to need, see `anyfuse estimate`); light, contrast and classes, as 'brighter, and highlight the cars in red', for "
            "ditfuse models."
        ),
    ] = None,
    mask_out: Annotated[
        str | None,
        typer.Option(
            help="PNG (or folder, for folders) for the class that --say highlights, white where it is; several: NAME-CLASS.png."
        ),
    ] = None,
    reference: Annotated[int, typer.Option(help="Which input gives size, metadata and alpha, counted from 1.")] = 1,
    resize: Annotated[
        Resize, typer.Option(help="'reference' brings all images to the size of the reference.")
    ] = Resize.none,
    white: Annotated[
        float | None, typer.Option(help="Value that counts as white in 16-bit or float images, as 4095.")
    ] = None,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of JPEG and WebP.")] = 95,
    suffix: Annotated[
        str | None,
        typer.Option("--format", help="Folders: png, tif, jpg or webp (default: as the reference's file)."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Folders: sets of images at a time.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no word on success.")] = False,
) -> None:
    """Fuse images into one image, or folders into a folder.

    In folders a set that fails is reported and skipped, the exit code is 1, and a second run does only what is missing.
    """
    from . import batch

    choices = batch.Choices(
        model=model, device=device, dtype=dtype, max_memory=max_memory, reference=reference - 1, resize=resize is Resize.reference,
        white=white, quality=quality, overwrite=overwrite, quiet=quiet, jobs=jobs, suffix=suffix, keep_order=keep_order, say=say,
    )  # fmt: skip
    for path in inputs:
        if not os.path.exists(path):
            raise FusionError(f"{path}: no such file or folder; check the path")
    folders = [Path(p).is_dir() for p in inputs]
    if not 1 <= reference <= len(inputs):
        raise FusionError(f"--reference {reference} is not one of the {len(inputs)} inputs; count from 1")
    if all(folders):
        failed = batch.fuse_folders(
            inputs, output, choices, weights_out=weights_out, report=report, explain=explain, mask_out=mask_out
        )
        raise typer.Exit(1 if failed else 0)
    if any(folders):
        file = inputs[folders.index(False)]
        raise FusionError(
            f"{inputs[folders.index(True)]} is a folder and {file} is not; give images only or folders only"
        )
    batch.fuse_files(
        inputs, output, choices, weights_out=weights_out, report=report, explain=explain, mask_out=mask_out
    )


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Also parameters by part, and configurations.")] = False,
) -> None:
    """List the models that have a name."""
    from .models import MODELS, describe, parts_text

    rows = [describe(name) for name in MODELS]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("name", "system", "parameters", "trainable", "inputs", "channels", "weights", "licence"):
        table.add_column(heading, justify="right" if heading in ("parameters", "trainable") else "left")
    for row in rows:
        weights = "in the package" if str(row["weights"]).endswith(".safetensors") else row["weights"]
        table.add_row(
            row["name"], row["system"], f"{row['parameters']:,}", f"{row['trainable']:,}", row["inputs"], row["channels"], weights,
            row["licence"],
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if verbose:
        print(parts_text(), end="")


@app.command()
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

    from .api import pick_device
    from .training.codec import CODEC_PLANS, train_codec
    from .training.distil import DISTILLATIONS, distil
    from .training.estimate import ESTIMATES, train_estimate
    from .training.language import LANGUAGES, train_language
    from .training.recipes import RECIPES, override, override_fields
    from .training.train import train as run

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


@app.command()
def score(
    images: Annotated[
        list[str], typer.Argument(metavar="FUSED --sources A B ...", help="Fused image, or a folder of them.")
    ],
    sources: Annotated[list[str], typer.Option("--sources", help="Source images or folders, two or more.")],
    metrics: Annotated[str | None, typer.Option(help="Names with commas, or 'all' (see docs/metrics.md).")] = None,
    grey: Annotated[str, typer.Option(help="Rule for grey levels: matlab, pil or opencv.")] = "opencv",
    truth: Annotated[
        str | None, typer.Option(help="Known truth (image or folder): adds psnr_truth and ssim_truth.")
    ] = None,
    out: Annotated[str | None, typer.Option("-o", "--output", help="Also write .csv or .json.")] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help='Print one JSON object, {metric: value} for one image; null is NaN, "inf" infinity.'
        ),
    ] = False,
) -> None:
    """Score fused images against their sources."""
    from .benchmark.commands import run_score

    failed = run_score(
        images[0], [*sources, *images[1:]], metrics=metrics, grey=grey, truth=truth, as_json=as_json, out=out
    )
    raise typer.Exit(1 if failed else 0)


@app.command()
def bench(
    data: Annotated[
        list[str],
        typer.Option(
            help="Folder of a data set, or any folder with one folder per source; with --degraded the folder that holds the "
            "recipe's data sets, or one of them, and may be repeated."
        ),
    ],
    task: Annotated[str, typer.Option(help="ivf, mef, mff or mif.")] = "",
    models: Annotated[str, typer.Option(help="Names, folders or LABEL=MODEL, with commas.")] = CLASSICS,
    out: Annotated[
        str, typer.Option("-o", "--output", help="Folder for fused images, scores.csv and report.html.")
    ] = "bench",
    fused: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER with results of another method; may be repeated.")
    ] = None,
    metrics: Annotated[str | None, typer.Option(help="Names with commas, or 'all'.")] = None,
    grey: Annotated[str, typer.Option(help="Rule for grey levels: matlab, pil or opencv.")] = "opencv",
    inputs: Annotated[
        str, typer.Option(help="luma: models see 8-bit luma, as in papers; colour: they see the files.")
    ] = "luma",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many images.")] = None,
    images: Annotated[int, typer.Option(min=0, help="Pictures in the report.")] = 4,
    peers: Annotated[
        str | None, typer.Option(help="CSV of other methods' scores: folder, name, method, origin, metrics.")
    ] = None,
    compare: Annotated[
        list[str] | None, typer.Option(help="scores.csv of another run; refused if its protocol differs.")
    ] = None,
    degraded: Annotated[
        str | None,
        typer.Option(
            metavar="MANIFEST",
            help="Pairs degraded by this recipe instead ('built-in': the package's), scored by PSNR and SSIM to the fusion of "
            "the clean pair.",
        ),
    ] = None,
    say: Annotated[
        str,
        typer.Option(help="--degraded: what models that repair are told, some of exact,oracle,estimate,none,wrong."),
    ] = "exact,oracle,estimate,none,wrong",
    section: Annotated[
        str | None,
        typer.Option(
            help="Of models that follow words (default: ditfuse) instead: 'control', do light and contrast change as asked, on the "
            "test folders in --data; 'segmentation', are the classes found that a word names, on CamVid."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q")] = False,
) -> None:
    """Fuse, score and time models on a data set; writes a CSV and an HTML report."""
    from .benchmark.commands import run_bench, run_bench_degraded
    from .benchmark.sections import USUAL, run_section

    if section is not None:
        if degraded or task or fused or metrics or peers or compare or grey != "opencv" or inputs != "luma":
            raise FusionError(
                "--section has its own tasks and scores: give --data, --models, --output, --limit and --device alone"
            )
        if len(data) > 1:
            raise FusionError("--section takes one --data")
        run_section(section, data[0], USUAL if models == CLASSICS else models, out, device=device, limit=limit)
        return
    if degraded is not None:
        if task or fused or metrics or peers or compare or grey != "opencv" or inputs != "luma":
            raise FusionError(
                "--degraded has its own tasks and scores: leave out --task, --fused, --metrics, --grey, --inputs, --peers, --compare"
            )
        failed = run_bench_degraded(
            degraded, data, models, out, say=say, device=device, limit=limit, images=images, quiet=quiet
        )
        raise typer.Exit(1 if failed else 0)
    if len(data) > 1:
        raise FusionError("give --data once; several folders are for --degraded")
    failed = run_bench(
        data[0], task, models, out, fused=fused or [], metrics=metrics, grey=grey, inputs=inputs, device=device, limit=limit, images=images,
        peers=peers, compare=compare or [], quiet=quiet,
    )  # fmt: skip
    raise typer.Exit(1 if failed else 0)


@app.command()
def datasets() -> None:
    """Say where the field's data sets are, their terms and splits."""
    from .benchmark.commands import datasets_text

    print(datasets_text())


def keep_memory() -> None:
    """Tells glibc to keep freed memory for the next tensor: fresh pages cost more than the arithmetic on them."""
    import ctypes

    mmap_max, trim_threshold = -4, -1
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 1 << 30)


def main(argv: list[str] | None = None) -> None:
    """Entry point: a user's mistake is one line on stderr and exit code 2."""
    keep_memory()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that half-written files are removed
    try:
        sys.exit(app(argv, standalone_mode=False) or 0)
    except FusionError as error:
        fail(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        fail("interrupted", 130)
    except MemoryError:
        fail("out of memory: give --max-memory, or smaller images", 2)
    except OSError as error:  # our own output: the reader went away, or there is no room for it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        fail(f"cannot go on: {error.strerror or error}", 1)
    except Exception as error:
        usage = getattr(error, "format_message", None)  # of the command line's parser
        if usage is not None:
            fail(f"{usage()} See --help.", 2)
        if isinstance(error, RuntimeError) and "memory" in str(error).lower():
            fail("out of memory: give --max-memory, or --device cpu", 2)
        raise


def fail(message: str, code: int) -> Any:
    """One line on stderr, and out."""
    print(f"anyfuse: {one_line(message)}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
