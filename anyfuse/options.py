"""What a run is made with: a loaded model and where it runs, and what may be chosen for one set of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .align.settings import NO_ALIGNMENT, Align
from .arrays import torch
from .control import Control
from .models.base import FusionModel

Progress = Callable[[str, float], None]
"""Hears what a run is doing, 'read', 'align', 'deghost' or 'fuse', and which share of that is done, 0 to 1."""


def silent(stage: str, share: float) -> None:
    """Progress that nobody hears."""


@dataclass(frozen=True)
class Engine:
    """A loaded model and where it runs. max_memory: bytes for the whole process, None for no limit."""

    model: FusionModel  # in evaluation mode, on `device`
    name: str  # for reports
    device: torch.device  # where the network runs
    dtype: torch.dtype  # in which the network computes
    max_memory: int | None = None
    jobs: int = 1  # sets at a time in this process: each takes its share of the memory that is left
    runtime: str = "torch"  # what computes the network: torch or onnx
    progress: Progress = silent  # is called at each stage and after each tile


@dataclass(frozen=True)
class Options:
    """What may be chosen for one set of images; `Fuser.run` says what each field means."""

    reference: int = 0  # which image gives size, metadata and alpha, from 0
    resize: bool = False  # bring all to its size
    white: Any = None  # white level of 16-bit and float images: one, or one for each
    with_weights: bool = False  # also maps of each image's share
    keep_order: bool = False  # do not sort by role
    explain: bool = False  # also what the model explains
    say: str | Control | None = None
    masks: Sequence[Any] | None = None  # which pixels of each image count
    align: Align = NO_ALIGNMENT  # what lays the images over the reference
    black: Any = None  # black level of 16-bit and float images
    range: Any = None  # 'auto', 'none' or percentiles as 'p1,p99'
    pseudocolour: Any = None  # 'auto', 'none', 'tracer' or a palette of grey images: one, or one for each
    pages: str | None = None  # of each file, as '3:40'
    deghost: str = "auto"  # what moved comes from one frame: 'auto' where such is found, 'on', 'off'
    deghost_reference: int | None = None  # which frame shows what moved, from 0; None: chosen by the frames
    infrared: int | None = None  # which frame is the infrared one, from 0; None: it is found
