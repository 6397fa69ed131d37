"""The options of one call of `anyfuse fuse`, and what they mean for the files that are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..align.settings import AUTOMATIC, Align
from ..errors import FusionError
from ..fuser import Fuser
from ..io.names import suffix_of as own_suffix
from ..io.write import WRITES
from ..language.instruction import read_say
from ..models.choice import model_for


@dataclass(frozen=True)
class Choices:
    """The options of one call, as the command line has them. reference counts from 0."""

    model: str | None = None  # name, folder or hub id; None: the one that does what `say` asks for
    device: str = "auto"  # auto, cpu or cuda
    dtype: str = "auto"  # of the network: auto, float32, bfloat16 or float16
    max_memory: str | None = None  # of the process, as '2G'
    reference: int = 0  # which input gives size, metadata and alpha
    resize: bool = False  # bring all images to the size of the reference
    white: str | float | None = None  # white level of 16-bit and float images: one, or one for each
    quality: int | None = None  # of JPEG and WebP; None: 95
    overwrite: bool = False  # replace files
    quiet: bool = False  # print nothing but errors
    jobs: int = 1  # sets at a time
    suffix: str | None = None  # of results in folders: png, tif, jpg or webp; None: the reference's
    keep_order: bool = False  # do not sort inputs by role
    say: str | None = None  # instruction
    masks: tuple[str, ...] = ()  # which pixels of each input count; empty: all
    align: Align = AUTOMATIC  # what lays the images over the reference
    pseudocolour: str | None = None  # palettes of grey images
    black: str | float | None = None  # black level of 16-bit and float images
    range: str | None = None  # auto, none or percentiles as 'p1,p99'
    pages: str | None = None  # of each file, as '3:40'
    deghost: str = "auto"  # what moved comes from one image: auto, on or off
    deghost_reference: int | None = None  # which image shows what moved, from 0
    infrared: int | None = None  # which image is the infrared one, from 0
    engine: str = "auto"  # what computes the network: auto, torch or onnx

    def load(self) -> Fuser:
        """The model with its device, and the options of a run."""
        model = model_for(read_say(self.say)) if self.model is None else self.model
        return Fuser(model, device=self.device, dtype=self.dtype, max_memory=self.max_memory, engine=self.engine)


def file_notes(outputs: Sequence[str], choices: Choices, folders: bool = False) -> list[str]:
    """A line for each option about files that was given and does nothing for these results."""
    notes = []
    if choices.quality is not None and outputs and not any(o.lower().endswith(LOSSY) for o in outputs):
        notes.append(f"--quality does nothing: it is for {', '.join(LOSSY)}")
    if not folders and choices.suffix is not None:
        notes.append(f"--format {choices.suffix} does nothing: the name of the output decides; it is for folders")
    if not folders and choices.jobs > 1:
        notes.append(f"--jobs {choices.jobs} does nothing: there is one set of images; it is for folders")
    return notes


def volume_notes(choices: Choices) -> list[str]:
    """A line for each option that was given and does nothing for volumes."""
    given = {
        f"--align {choices.align.mode}": choices.align.mode not in ("auto", "none"),
        "--use-transforms": choices.align.transforms is not None,
        "--points": choices.align.points is not None,
        "--keep-frame": choices.align.keep_frame,
        "--deghost on": choices.deghost == "on",
    }
    why = "volumes are fused slice by slice, as they lie"
    return [f"{option} does nothing: {why}" for option, is_given in given.items() if is_given]


LOSSY = (".jpg", ".jpeg", ".webp")
"""Formats that have a quality."""
FLOATS = (".exr", ".hdr", ".pfm")
"""Formats of floats, whose results keep them in TIFF."""


def suffix_of(reference: Path, wanted: str | None) -> str:
    """Suffix of a result: the requested one, or that of the reference's file; of a format that folders of results do
    not have, PNG for 8 and 16 bits, and TIFF for floats.
    """
    suffix = own_suffix(reference).lower() if wanted is None else f".{wanted.lower().lstrip('.')}"
    suffix = suffix.removeprefix(".ome") or suffix  # the result has no planes to describe
    if wanted is None and suffix not in WRITES:
        return ".tif" if suffix in FLOATS else ".png"
    if suffix not in WRITES:
        raise FusionError(f"--format {wanted}: give one of {', '.join(s.lstrip('.') for s in WRITES)}")
    return suffix


def suffix_notes(sets: Iterable[Sequence[Path]], choices: Choices) -> list[str]:
    """A note for each suffix of references whose results are written in another format."""
    if choices.suffix is not None:
        return []
    first = [paths[choices.reference] for paths in sets if choices.reference < len(paths)]
    kinds = {own_suffix(path).lower(): suffix_of(path, None) for path in first}
    other = {kind: new for kind, new in kinds.items() if kind.removeprefix(".ome") != new}
    return [
        f"results of {suffix or 'files without suffix'} are written as {new}; --format changes that"
        for suffix, new in other.items()
    ]
