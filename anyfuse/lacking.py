"""What a process without PyTorch leaves out, and what it refuses: alignment and deghosting (`arrays/`)."""

from __future__ import annotations

from dataclasses import replace

from .align.settings import NO_ALIGNMENT
from .arrays import WITH_TORCH
from .engine_choice import lacks_torch
from .options import Options


def without_torch(options: Options) -> tuple[Options, list[str]]:
    """The options that this process can follow, and a note on what is left out.

    Raises:
        FusionError: something was asked for by name that needs PyTorch.
    """
    if WITH_TORCH:
        return options, []
    align = options.align
    given = {
        f"--align {align.mode}": align.mode not in ("none", "auto"),
        "--use-transforms": align.transforms is not None,
        "--points": align.points is not None,
        "--save-transforms": align.save_transforms is not None,
        "--aligned-out": align.aligned_out is not None,
        "--deghost on": options.deghost == "on",
        "--deghost-reference": options.deghost_reference is not None,
    }
    for option, is_given in given.items():
        if is_given:
            raise lacks_torch(option)
    wanted = [what for what, on in (("aligned", align.is_on), ("deghosted", options.deghost != "off")) if on]
    if not wanted:
        return options, []
    note = lacks_torch(f"the images are not {' or '.join(wanted)}, which")
    return replace(options, align=NO_ALIGNMENT, deghost="off"), [str(note)]
