"""`anyfuse video`: streams of one scene into one video."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from ..errors import FusionError
from .options import Device, Overwrite, Quiet, complete_model

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="STREAM...",
        help="Two or more streams of one scene: video files, folders of numbered frames, 'frames/%05d.png', "
        "rtsp://..., /dev/video0. One stream with --every N.",
    ),
]
Output = Annotated[
    str,
    typer.Option("-o", "--output", help=".mp4 (H.264), .mov (ProRes), .mkv (FFV1, lossless), or a folder of frames."),
]
Codec = Annotated[str | None, typer.Option(help="h264, prores, ffv1, png or tiff (default: by the suffix).")]
Quality = Annotated[int | None, typer.Option(help="H.264: 0 (lossless) to 51.  [default: 18]")]
Depth = Annotated[int | None, typer.Option(help="Bits: 8 or 16 (default: those of the streams, if the codec can).")]
Model = Annotated[
    str | None,
    typer.Option(help="Name, folder or hub id (default: anyfuse).", autocompletion=complete_model),
]
Offset = Annotated[
    str,
    typer.Option(
        metavar="SECONDS",
        help="Seconds by which the clock of each further stream is ahead of the first one's, as 0.25 or 0.25,-1; auto: "
        "found by motion.",
    ),
]
Align = Annotated[
    str,
    typer.Option(
        metavar="once|track|none|FILE",
        help="once: one transform for the whole video. track: found again every few frames, and smoothed. FILE: "
        "transforms of --save-transforms.",
    ),
]
Transform = Annotated[str, typer.Option(help="Richest transform: auto, shift, similarity, affine or homography.")]
KeepFrame = Annotated[bool, typer.Option("--keep-frame", help="Keep the reference's size; else cut to what all show.")]
Reference = Annotated[int, typer.Option(min=1, help="Stream that gives times and size, counted from 1.")]
Smooth = Annotated[
    float,
    typer.Option(metavar="SECONDS", help="Average decisions over so many seconds where nothing changes; 0: do not."),
]
Start = Annotated[float, typer.Option(help="Begin at this second of the reference.")]
End = Annotated[float | None, typer.Option(help="End at this second of the reference.")]
Every = Annotated[int | None, typer.Option(metavar="N", help="One stream: every N frames, as a bracket, make one.")]
Rate = Annotated[float | None, typer.Option("--fps", help="Frames a second of folders of frames.  [default: 25]")]
Say = Annotated[str | None, typer.Option("--say", "--prompt", help="Instruction (see `anyfuse say`).")]
Black = Annotated[str | None, typer.Option(help="Black level of 16-bit streams; one, or one per stream: 7000,0.")]
White = Annotated[str | None, typer.Option(help="White level of 16-bit streams, in the same way.")]
ReportFile = Annotated[str | None, typer.Option(help="JSON file for offsets, alignment, speed and warnings.")]
SaveTransforms = Annotated[str | None, typer.Option(help="JSON file for the transforms, for --align FILE.")]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Work in parts, and go on after the last whole one where a run was stopped."),
]
NoAudio = Annotated[bool, typer.Option("--no-audio", help="Leave the sound out.")]


def video(
    inputs: Inputs,
    output: Output,
    codec: Codec = None,
    quality: Quality = None,
    depth: Depth = None,
    model: Model = None,
    device: Device = "auto",
    offset: Offset = "auto",
    align: Align = "once",
    transform: Transform = "auto",
    keep_frame: KeepFrame = False,
    reference: Reference = 1,
    smooth: Smooth = 0.5,
    start: Start = 0.0,
    end: End = None,
    every: Every = None,
    fps: Rate = None,
    say: Say = None,
    black: Black = None,
    white: White = None,
    report: ReportFile = None,
    save_transforms: SaveTransforms = None,
    resume: Resume = False,
    no_audio: NoAudio = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Fuse streams of one scene into a video."""
    try:
        import_module("av")  # before PyTorch, so that an installation which lacks both is told once
    except ImportError:
        raise FusionError('video needs PyAV: pip install "anyfuse[video]"') from None
    from ..video.job import Job, fuse_video
    from ..video.report import summary
    from ..video.settings import VideoSettings, format_of

    settings = VideoSettings(
        offset=offset,
        align=align,
        transform=transform,
        keep_frame=keep_frame,
        reference=reference - 1,
        smooth=smooth,
        start=start,
        end=end,
        every=every,
        rate=fps,
        say=say,
        black=black,
        white=white,
    )
    form = format_of(output, codec, quality, depth)
    job = Job(
        inputs,
        output,
        settings,
        form,
        model=model,
        device=device,
        report=report,
        save_transforms=save_transforms,
        resume=resume,
        overwrite=overwrite,
        quiet=quiet,
        has_audio=not no_audio,
    )
    found = fuse_video(job)
    if not quiet:
        typer.echo(summary(found), err=True)
    if found["stopped"]:
        raise typer.Exit(130)
