"""The result of a fusion: pixels, report, and the files they are written to."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Tensor, torch
from .control import CLASSES, Control
from .errors import FusionError, names_arguments
from .image.frame import Frame
from .image.stack import Stack
from .io.atomic import Inputs, Protected, target_of, write_whole
from .io.names import stem_of
from .io.write import writable, write_image
from .io.xmp import Record, packet
from .runtime import release
from .version import __version__

NO_CLASS = f"--mask-out needs a class to segment, as --say 'highlight the cars'; known are {', '.join(CLASSES)}"

NO_WEIGHTS = "model {} has no weights per image; use --model anyfuse for --weights-out"


@dataclass(frozen=True)
class Report:
    """What was done, in plain values for JSON. `as_dict` leaves out what does not apply (None)."""

    model: str  # name or folder
    device: str  # as 'cpu' or 'cuda:0'
    dtype: str  # of the network
    threads: int  # of the CPU
    inputs: list[dict[str, Any]]  # name, width, height, depth and colour of each
    width: int  # pixels
    height: int  # pixels
    depth: str  # 'uint8', 'uint16' or 'float32'
    channels: int  # 1 or 3
    colour_rule: str  # 'grey', 'blend', 'merge' or 'rgb' (image/planes.py)
    tiles: int  # number of tiles
    seconds: float  # of the fusion, without files
    order: list[str] | None  # names of the sources in the order of their roles
    shown: dict[str, Any] | None  # class -> colour and share of the pixels
    reference: str  # name of the image that gives metadata and alpha
    peak_memory_mib: float  # of the process
    warnings: list[str]  # one line each
    understood: str | None = None  # the instruction as tags
    assumed: dict[str, Any] | None = None  # task and degradations that were estimated
    aligned: list[dict[str, Any]] | None = None  # what alignment did to each image (align.stage.Step)
    deghosted: list[dict[str, Any]] | None = None  # what was replaced in each image (align.deghost.Ghosts)
    evened: list[dict[str, Any]] | None = None  # changed brightness of frames (align.brightness.BrightnessMatch)
    engine: str = "torch"  # what computed the network: torch or onnx
    restored: dict[str, float] | None = None  # shares of a restoration that were taken (degradation.gate.Shares)
    pansharpened: dict[str, Any] | None = None  # method, ratio and place of the bands (pansharpening/run.py)

    def as_dict(self) -> dict[str, Any]:
        """A fresh dict: what a caller does to it changes nothing here."""
        entries = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {k: deepcopy(v) for k, v in entries.items() if v is not None}


@dataclass(frozen=True)
class Permission:
    """What writing may do to files that are there."""

    overwrite: bool  # replace them
    spare: Protected  # files that are never replaced
    same: bool = False  # an existing file with the same bytes is no error: a run that was cut off has written it


@dataclass(frozen=True)
class FusionResult:
    """The result of `Fuser.run`."""

    stack: Stack  # the images as they were fused: aligned, of one brightness, deghosted
    pixels: np.ndarray  # (H, W, C) in the stack's depth
    summary: Report  # what was done
    weights: np.ndarray | None = None  # (N, H, W) uint8, 255: all of the pixel; None if not requested
    explained: dict[str, Tensor] = field(default_factory=dict)  # numbers () and maps (H, W) float32, by name
    masks: dict[str, np.ndarray] = field(default_factory=dict)  # class -> (H, W) uint8, 255 where it is
    ghosts: np.ndarray | None = None  # (H, W) bool, where something moved and one image alone counts; None: nowhere
    aligned: Sequence[Frame] | None = None  # the images only aligned, where they are to be written; see `stack`
    is_bands: bool = False  # the channels of `pixels` are bands of a multispectral image, as many as it has

    @property
    def report(self) -> dict[str, Any]:
        """The report as a fresh dict of plain values."""
        return self.summary.as_dict()

    @property
    def fused(self) -> FusionResult:
        """The result itself: scripts of version 0.1 read `result.fused.pixels`."""
        return self

    @property
    def names(self) -> list[str]:
        """Of the inputs."""
        return [frame.name for frame in self.stack.frames]

    @property
    def files(self) -> list[str]:
        """Where the inputs come from; none of them is ever overwritten."""
        return [frame.file or frame.name for frame in self.stack.frames]

    @names_arguments
    def save(self, path: str | Path, *, overwrite: bool = False, quality: int = 95) -> list[str]:
        """Writes the image with the reference's metadata and alpha.

        Args:
            path: file; its suffix decides on the format.
            overwrite: replaces an existing file.
            quality: of JPEG and WebP, 1 to 100.

        Returns:
            What the format could not keep, one line each.

        Raises:
            FusionError: `path` cannot be written.
        """
        return self._save(path, Permission(overwrite, self.files), quality)

    @names_arguments
    def save_weights(self, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Writes one grey PNG per input, named after it: white where that input makes up the whole result.

        Args:
            folder: where they go.
            overwrite: replaces existing files.

        Returns:
            The files, in the order of the inputs.

        Raises:
            FusionError: the result has no weights.
        """
        return self._save_weights(folder, Permission(overwrite, self.files))

    @names_arguments
    def save_masks(self, path: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Writes the segmented classes as 8-bit grey PNGs of the result's size, 255 where they are.

        Args:
            path: a PNG for one class; several classes go to NAME-CLASS.png beside it.
            overwrite: replaces existing files.

        Returns:
            The files, in the order of the classes.

        Raises:
            FusionError: no class was requested.
        """
        return self._save_masks(path, Permission(overwrite, self.files))

    @names_arguments
    def save_ghost_mask(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes an 8-bit grey PNG of the result's size, 255 where something moved and one image alone counts.

        Args:
            path: a PNG. It is black where nothing moved.
            overwrite: replaces an existing file.

        Returns:
            The file.

        Raises:
            FusionError: `path` cannot be written.
        """
        return self._save_ghost_mask(path, Permission(overwrite, self.files))

    @names_arguments
    def save_explanation(self, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Writes explain.json with every number, and a grey PNG per map, stretched from its smallest to its largest
        value.

        Args:
            folder: where they go. The JSON holds both values of each map.
            overwrite: replaces existing files.

        Returns:
            The files, the JSON first.

        Raises:
            FusionError: the result has no explanation.
        """
        return self._save_explanation(folder, Permission(overwrite, self.names))

    def _save(self, path: str | Path, may: Permission, quality: int) -> list[str]:
        stack, frame = self.stack, self.stack.frames[self.stack.reference]
        record = Record(f"anyfuse {__version__}", self.summary.model, self._sources, Path(frame.name).name)
        height, width = self.pixels.shape[:2]
        xmp, lost = packet(frame.metadata.xmp, record, width, height)
        notes = [f"{path}: of the XMP of {frame.name} this was left out: {', '.join(lost)}"] if lost else []
        return notes + write_image(
            path,
            self.pixels,
            alpha=None if self.is_bands else stack.alpha,
            exif=frame.exif,
            icc=stack.icc,
            dpi=frame.dpi,
            white=None if self.is_bands else stack.white,
            quality=quality,
            overwrite=may.overwrite,
            inputs=may.spare,
            same=may.same,
            metadata=replace(frame.metadata, xmp=xmp),
            bands=self.is_bands,
        )

    @property
    def _sources(self) -> list[str]:
        """Names of the inputs without their folders; one image that was given twice counts once."""
        names = [Path(name).name for name in self.names]
        return list(dict.fromkeys(names)) if len({id(f) for f in self.stack.frames}) == 1 else names

    def _save_weights(self, folder: str | Path, may: Permission) -> list[Path]:
        if self.is_bands:
            raise FusionError("bands have the detail of one image and the colour of the other; leave --weights-out out")
        if self.weights is None:
            raise FusionError(NO_WEIGHTS.format(self.summary.model))
        paths = weight_paths(folder, self.names)
        for path, weights in zip(paths, self.weights, strict=True):
            write_image(path, weights, overwrite=may.overwrite, inputs=may.spare, same=may.same)
            release(weights)
        return paths

    def _save_masks(self, path: str | Path, may: Permission) -> list[Path]:
        if not self.masks:
            raise FusionError(NO_CLASS)
        paths = mask_paths(path, list(self.masks))
        for target, mask in zip(paths, self.masks.values(), strict=True):
            write_image(target, mask, overwrite=may.overwrite, inputs=may.spare, same=may.same)
        return paths

    def _save_ghost_mask(self, path: str | Path, may: Permission) -> Path:
        moved = np.zeros(self.pixels.shape[:2], bool) if self.ghosts is None else self.ghosts
        write_image(path, moved * np.uint8(255), overwrite=may.overwrite, inputs=may.spare, same=may.same)
        return Path(path)

    def _save_explanation(self, folder: str | Path, may: Permission) -> list[Path]:
        if not self.explained:
            raise FusionError(
                "this result has no explanation: run(..., explain=True), with a model that explains, as tita-small"
            )
        content: dict[str, Any] = {"model": self.summary.model, "order": self.summary.order or self.names}
        content |= {"numbers": {}, "maps": {}}
        paths = []
        for name, value in self.explained.items():
            if value.ndim == 0:
                content["numbers"][name] = float(value)
                continue
            low, high = float(value.min()), float(value.max())
            path = Path(folder) / f"{name.replace(' ', '-')}.png"
            levels = ((value - low) / max(high - low, 1e-12) * 255).round().to(torch.uint8).numpy()
            write_image(path, levels, overwrite=may.overwrite, inputs=may.spare, same=may.same)
            content["maps"][name] = {"file": path.name, "min": low, "mean": float(value.mean()), "max": high}
            paths.append(path)
        target = Path(folder) / "explain.json"
        write_json(target, content, may.spare, overwrite=may.overwrite, same=may.same)
        return [target, *paths]


Result = FusionResult
"""The name of version 0.1."""


@dataclass(frozen=True)
class Outputs:
    """The files of one set of images. `check` refuses impossible ones before any work; `write` writes them."""

    image: str
    weights: str | None = None  # folder of the weight maps
    explain: str | None = None  # folder of the explanation
    masks: str | None = None  # PNG of the masks
    ghost_mask: str | None = None  # PNG of what moved
    overwrite: bool = False  # replace existing files
    quality: int = 95  # of JPEG and WebP, 1 to 100
    spare: Inputs | None = None  # files that are never replaced; None: the inputs of this set
    resume: bool = False  # maps that are there with the same content are no error

    def check(self, inputs: Sequence[Any], control: Control) -> None:
        """Raises FusionError where a file could not be written, or where two would have one name."""
        check_output(self.image, self.overwrite, inputs)
        if self.weights is not None:
            self._check_maps(weight_paths(self.weights, inputs), inputs, "a weight map", "--weights-out")
        if self.explain is not None:
            target_of(str(Path(self.explain) / "explain.json"), self.overwrite, inputs)
        if self.masks is not None:
            if not control.segment:
                raise FusionError(NO_CLASS)
            self._check_maps(mask_paths(self.masks, list(control.segment)), inputs, "a mask", "--mask-out")
        if self.ghost_mask is not None:
            if not self.ghost_mask.lower().endswith(".png"):
                raise FusionError(f"--ghost-mask {self.ghost_mask}: give a name that ends in .png")
            self._check_maps([Path(self.ghost_mask)], inputs, "the mask of what moved", "--ghost-mask")

    def _check_maps(self, paths: Iterable[Path], inputs: Sequence[Any], what: str, flag: str) -> None:
        for path in paths:
            if os.path.realpath(path) == os.path.realpath(self.image):
                raise FusionError(f"{self.image}: is also the name of {what}; give another {flag}")
            target_of(str(path), self.overwrite, inputs)

    def write(self, result: FusionResult) -> dict[str, Any]:
        """Writes everything; returns the report, with the files and what writing them had to decide.

        The image comes last: a set without an image was cut off, and a second run does it again. It is written also
        where a map fails; then that map's FusionError is raised afterwards.
        """
        report = result.report
        may = Permission(self.overwrite, self.spare or Inputs(result.files), self.resume)
        failed: FusionError | None = None
        try:
            if self.explain is not None:
                paths = result._save_explanation(self.explain, may)
                report["explanation"] = [str(p) for p in paths]
            if self.weights is not None:
                report["weights"] = [str(p) for p in result._save_weights(self.weights, may)]
            if self.masks is not None:
                report["masks"] = [str(p) for p in result._save_masks(self.masks, may)]
            if self.ghost_mask is not None:
                report["ghost_mask"] = str(result._save_ghost_mask(self.ghost_mask, may))
                if result.ghosts is None:
                    report["warnings"].append("--ghost-mask is black: nothing moved, or the images are of other kinds")
        except FusionError as error:
            failed = error
        report["warnings"] += result._save(self.image, may, self.quality)
        report["output"] = self.image
        if failed is not None:
            raise FusionError(f"{failed} ({self.image} is written)")
        return report


def weight_paths(folder: str | Path, names: Sequence[str]) -> list[Path]:
    """Where the weight maps of the inputs `names` go: FOLDER/01-STEM.png ..."""
    stems = (re.sub(r"[^\w.-]+", "_", stem_of(name)) for name in names)
    return [Path(folder) / f"{index:02d}-{stem}.png" for index, stem in enumerate(stems, 1)]


def mask_paths(path: str | Path, classes: Sequence[str]) -> list[Path]:
    """Where masks go: one class to `path`, several to NAME-CLASS.png each.

    Raises FusionError for a name other than *.png.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise FusionError(f"--mask-out {path}: give a name that ends in .png, or for folders a folder")
    return [path] if len(classes) == 1 else [path.with_name(f"{path.stem}-{name}{path.suffix}") for name in classes]


def check_output(path: str | Path, overwrite: bool, inputs: Sequence[Any] = ()) -> None:
    """Raises FusionError, before any work is done, where an image could not be written to `path`."""
    if not str(path):
        raise FusionError("the name of the output is empty; name the image file to write")
    if not os.path.isdir(path):
        writable(path)
    target_of(os.fspath(path), overwrite, [i for i in inputs if isinstance(i, str | os.PathLike)])


def check_report(report: str, output: str, inputs: Protected, overwrite: bool) -> None:
    """Raises FusionError, before any work is done, where `report` is no place for a report."""
    if not report.lower().endswith(".json"):
        raise FusionError(f"--report {report}: give a name that ends in .json")
    target = target_of(report, overwrite, inputs)
    if os.path.realpath(output) == str(target):
        raise FusionError(f"--report {report}: is the output itself; give another name")


def write_json(path: str | Path, value: Any, inputs: Protected, *, overwrite: bool = True, same: bool = False) -> None:
    """Writes the file whole or not at all, and never over an input."""
    text = json.dumps(value, indent=1) + "\n"
    write_whole(path, [text.encode()], overwrite=overwrite, inputs=inputs, same=same)
