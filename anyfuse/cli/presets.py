"""`anyfuse stack`, `hdr`, `thermal`, `medical`: `anyfuse fuse` with names, alignment and output that fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .options import ContactSheet, Deghost, DepthOut, DepthStep, Group, Overwrite, Plan, Preview, Pseudocolour, Quiet

if TYPE_CHECKING:
    from ..jobs.extras import Extras

Images = Annotated[list[str], typer.Argument(metavar="DIR|FILE...", help="A folder, or the images of one set.")]
Infrared = Annotated[str, typer.Argument(metavar="IR", help="Infrared image, or a folder of them.")]
Visible = Annotated[str, typer.Argument(metavar="VIS", help="Photograph, or a folder of them.")]
First = Annotated[str, typer.Argument(metavar="A", help="Scan that gives grid and metadata, or a folder of them.")]
Second = Annotated[str, typer.Argument(metavar="B", help="Scan of another kind, or a folder of them.")]
Output = Annotated[
    str | None, typer.Option("-o", "--output", help="Image or folder to write.  [default: beside the input]")
]
Align = Annotated[str | None, typer.Option("--align", help="Another alignment, as in `anyfuse fuse`.")]
Report = Annotated[str | None, typer.Option(help="JSON file for what was done.")]


def stack(
    images: Images,
    output: Output = None,
    align: Align = None,
    deghost: Deghost = "auto",
    group: Group = None,
    depth_out: DepthOut = None,
    depth_step: DepthStep = None,
    contact_sheet: ContactSheet = None,
    preview: Preview = False,
    report: Report = None,
    plan: Plan = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Fuse a focus stack: one folder, or its images. --align local is for macro parallax and lenses that breathe."""
    _run(
        "stack",
        images,
        output,
        align=align,
        deghost=deghost,
        group=group,
        extras=_extras(depth_out, depth_step, contact_sheet, preview),
        report=report,
        plan=plan,
        overwrite=overwrite,
        quiet=quiet,
    )


def hdr(
    images: Images,
    output: Output = None,
    align: Align = None,
    deghost: Deghost = "auto",
    group: Group = None,
    contact_sheet: ContactSheet = None,
    preview: Preview = False,
    report: Report = None,
    plan: Plan = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Fuse a bracket of exposures: one folder, or its images; --group auto where a folder holds many brackets."""
    _run(
        "hdr",
        images,
        output,
        align=align,
        deghost=deghost,
        group=group,
        extras=_extras(None, None, contact_sheet, preview),
        report=report,
        plan=plan,
        overwrite=overwrite,
        quiet=quiet,
    )


def thermal(
    infrared: Infrared,
    visible: Visible,
    output: Output = None,
    align: Align = None,
    contact_sheet: ContactSheet = None,
    preview: Preview = False,
    report: Report = None,
    plan: Plan = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Fuse an infrared image into a photograph, which gives size, colours and metadata; or folders of both."""
    pair = [infrared, visible]
    _run(
        "thermal",
        pair,
        output,
        align=align,
        extras=_extras(None, None, contact_sheet, preview),
        report=report,
        plan=plan,
        overwrite=overwrite,
        quiet=quiet,
    )


def medical(
    first: First,
    second: Second,
    output: Output = None,
    align: Align = None,
    pseudocolour: Pseudocolour = None,
    contact_sheet: ContactSheet = None,
    preview: Preview = False,
    report: Report = None,
    plan: Plan = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Fuse two scans of one patient, as MRI and PET: slices, NIfTI volumes, or folders. Nothing is moved.

    A grey PET or SPECT image, by its header or its name, is shown in colours.
    """
    pair = [first, second]
    _run(
        "medical",
        pair,
        output,
        align=align,
        pseudocolour=pseudocolour,
        extras=_extras(None, None, contact_sheet, preview),
        report=report,
        plan=plan,
        overwrite=overwrite,
        quiet=quiet,
    )


def _extras(depth: list[str] | None, step: float | None, sheet: str | None, preview: bool) -> Extras:
    from ..jobs.extras import Extras

    return Extras(tuple(depth or ()), step, sheet, preview)


def _run(
    name: str,
    inputs: list[str],
    output: str | None,
    *,
    align: str | None,
    deghost: str | None = None,
    group: str | None = None,
    pseudocolour: str | None = None,
    extras: Extras,
    report: str | None,
    plan: bool,
    overwrite: bool,
    quiet: bool,
) -> None:
    from ..jobs.presets import fuse_preset

    options = {"align": align, "deghost": deghost, "group": group, "report": report, "pseudocolour": pseudocolour}
    failed = fuse_preset(name, inputs, output, **options, plan=plan, overwrite=overwrite, quiet=quiet, extras=extras)
    if failed:
        raise typer.Exit(1)
