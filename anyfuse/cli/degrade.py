"""`anyfuse degrade`: simulate blur, noise, weather, exposure and detector faults, reproducibly by seed or manifest."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import FusionError
from .options import On, Overwrite, Quiet, White, Workers


class Source(str, Enum):
    """Which menu of a task an image takes."""

    auto = "auto"
    infrared = "infrared"
    visible = "visible"


InputPath = Annotated[str | None, typer.Argument(metavar="IN", help="Image file, or a folder of them.")]
Output = Annotated[str | None, typer.Option("-o", "--output", help="Image file, or a folder for a folder.")]
Ops = Annotated[
    str | None,
    typer.Option(help="Operations with strengths from 0 to 1, in this order, e.g. haze:0.5,noise:0.3."),
]
Task = Annotated[
    str | None,
    typer.Option(help="Draw one to three operations for each file: ivf (infrared + visible), mef or mff."),
]
MaskedPairs = Annotated[
    bool,
    typer.Option("--m3", help="Two views with tiles degraded in one of them: OUT_a and OUT_b, or OUT/a and OUT/b."),
]
ManifestFile = Annotated[str | None, typer.Option(help="manifest.json of an earlier run, to reproduce its files.")]
Seed = Annotated[int | None, typer.Option(help="Random seed, combined with the file name (default: 0).")]
SourceKind = Annotated[
    Source | None, typer.Option(help="With --task ivf: kind of the images. auto: grey files are infrared.")
]
Depth = Annotated[
    str | None, typer.Option(help="Depth map (dark is near) or a folder of them by file stem, for the weather.")
]
DepthModel = Annotated[
    str | None, typer.Option(help="Folder or hub id of Depth Anything, to estimate depth (needs transformers).")
]
Tiles = Annotated[str | None, typer.Option(help="M3: tile sizes to draw from, in pixels (default: 16,32,64).")]
Both = Annotated[
    float | None, typer.Option(min=0, max=1, help="M3: share of tiles degraded in both views (default: 0).")
]
Complements = Annotated[
    bool, typer.Option("--complements", help="M3: one view with less contrast, inverted or like a thermal image.")
]
LocalBlur = Annotated[
    bool, typer.Option("--local-blur", help="M3: blur tiles one by one, with seams, as the released code does.")
]
Quality = Annotated[int | None, typer.Option(min=1, max=100, help="JPEG and WebP quality (default: 95).")]
Format = Annotated[
    str | None, typer.Option("--format", help="Folders: png, tif, jpg or webp (default: as each input).")
]
ListOperations = Annotated[bool, typer.Option("--list", help="List the operations and stop.")]


def degrade(
    path: InputPath = None,
    output: Output = None,
    ops: Ops = None,
    task: Task = None,
    m3: MaskedPairs = False,
    manifest: ManifestFile = None,
    seed: Seed = None,
    source: SourceKind = None,
    depth: Depth = None,
    depth_model: DepthModel = None,
    tiles: Tiles = None,
    both: Both = None,
    complements: Complements = False,
    local_blur: LocalBlur = False,
    white: White = None,
    quality: Quality = None,
    suffix: Format = None,
    on: On = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    show: ListOperations = False,
) -> None:
    """Simulate degradations of images, reproducibly by seed or manifest.

    In folders a file that fails is reported and skipped, the exit code is 1, and a second run does only what is
    missing.
    """
    from ..degradation.manifest import Settings, degrade_file, degrade_folder, listing, read_manifest, replayed
    from ..degradation.masked_pairs import M3
    from ..degradation.plan import parse
    from ..jobs.cluster import Cluster, check_no_cluster
    from ..jobs.degrade_cluster import degrade_on

    if show:
        print("\n".join(listing()))
        return
    path, output = path or "", output or ""
    check_no_cluster(None if on else workers, 0.0)
    is_folder = _is_folder(path, output, suffix)
    if on is not None and not is_folder:
        raise FusionError(f"{path}: is no folder; a cluster degrades folders")
    _check_choice({"--ops": ops, "--task": task, "--m3": m3 or None, "--manifest": manifest})
    if not m3 and (tiles is not None or both is not None or complements or local_blur):
        raise FusionError("--tiles, --both, --complements and --local-blur are for --m3; add it or leave them out")
    _check_manifest(manifest, seed, white, quality)
    replay = None if manifest is None else read_manifest(manifest)
    if replay is not None:
        settings = replayed(replay, depth, depth_model)
    else:
        settings = Settings(
            seed=seed or 0,
            ops=parse(ops) if ops is not None else None,
            task=task,
            m3=M3(_sizes(tiles), both or 0.0, local_blur, complements) if m3 else None,
            source=(source or Source.auto).value,
            depth=depth,
            depth_model=depth_model,
            white=white,
            quality=quality or 95,
        )
    if not is_folder:
        degrade_file(path, output, settings, replay=replay, overwrite=overwrite, quiet=quiet)
        return
    options: dict[str, Any] = {"replay": replay, "suffix": suffix, "overwrite": overwrite, "quiet": quiet}
    if on is None:
        failed = degrade_folder(path, output, settings, **options)
    else:
        failed = degrade_on(Cluster(on, workers), path, output, settings, **options)
    if failed:
        raise typer.Exit(1)


def _is_folder(path: str, output: str, suffix: str | None) -> bool:
    if not path or not output:
        raise FusionError("give an image or a folder and -o OUTPUT, or --list for the operations")
    if not Path(path).exists():
        raise FusionError(f"{path}: no such file or folder; check the path")
    if suffix is not None and not Path(path).is_dir():
        raise FusionError(f"--format {suffix} is for folders; name the output with the suffix that you want")
    return Path(path).is_dir()


def _check_choice(chosen: dict[str, object]) -> None:
    given = [name for name, value in chosen.items() if value is not None]
    if len(given) != 1:
        both = " and ".join(given) or "none of them"
        raise FusionError(f"give one of --ops, --task, --m3 and --manifest, not {both}")


def _check_manifest(manifest: str | None, seed: int | None, white: float | None, quality: int | None) -> None:
    if manifest is not None and not (seed is white is quality is None):
        raise FusionError("--seed, --white and --quality are in the manifest; leave them out")


def _sizes(text: str | None) -> tuple[int, ...]:
    """Tile sizes in pixels, from '16,32,64'; None: the paper's."""
    from ..degradation.masked_pairs import PAPER_TILES

    if text is None:
        return PAPER_TILES
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise FusionError(f"--tiles {text}: give sizes of at least 1 pixel, as 16,32,64")
    return sizes
