"""Streams laid over the reference: by one set of transforms, found on a few moments, or tracked over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..align.files import read_transforms
from ..align.resample import rectangle, smaller
from ..align.stage import Align, Step, align_frames
from ..align.transform import apply, coordinates, fit
from ..errors import FusionError
from ..image.colour import to_luma
from ..image.frame import Frame
from .settings import VideoSettings

SMALL = 8.0  # pixels of a corner that a tracked alignment may move at a time, with a usual answer
CERTAIN = 0.75  # confidence from which it may move further
FOLLOW = 0.5  # share of a new answer that a tracked alignment takes
FEATHER = 4  # pixels over which a moved picture ends
LEAST = 3  # share of the picture, as 1/3, that all streams must show for a cut


class Sampler:
    """Pictures of one stream as the reference sees them, with everything computed that pictures share."""

    def __init__(self, matrix: Tensor, source: tuple[int, int], size: tuple[int, int]) -> None:
        self.size, self.shape = size, source
        shrunk, self.matrix = smaller(torch.zeros(1, *source), matrix, *size)
        self.small = (shrunk.shape[1], shrunk.shape[2])
        where = coordinates(self.matrix, *size)  # (H, W, 2)
        limit = torch.tensor([self.small[1] - 0.99, self.small[0] - 0.99])
        self.inside = ((where >= -0.01) & (where <= limit)).all(2)
        inverse = torch.tensor([2.0 / self.small[1], 2.0 / self.small[0]])
        self.grid = ((where + 0.5) * inverse - 1)[None].float()
        lost = F.max_pool2d(1 - self.inside[None].float(), 2 * FEATHER + 1, 1, FEATHER)
        soft = F.avg_pool2d(F.pad(lost[None], (FEATHER,) * 4, mode="replicate"), 2 * FEATHER + 1, 1)[0]
        self.cover = (1 - torch.maximum(soft, 1 - self.inside[None].float())).clamp(0, 1)

    def __call__(self, frame: Frame, behind: Frame, window: tuple[slice, slice]) -> Frame:
        """The window of a frame; where the stream shows nothing, `behind` does, the reference's frame."""
        planes = frame.read()
        if self.small != self.shape:
            planes = F.interpolate(planes[None], self.small, mode="bicubic", antialias=True, align_corners=False)[0]
        grid = self.grid[:, window[0], window[1]]
        moved = F.grid_sample(planes[None], grid, mode="bicubic", padding_mode="border", align_corners=False)[0]
        if not bool(self.inside[window].all()):
            cover = self.cover[:, window[0], window[1]]
            other = behind.read(window)
            other = to_luma(other[None])[0] if len(moved) == 1 else other.expand(len(moved), -1, -1)
            moved = torch.lerp(other, moved, cover)
        return replace(frame, pixels=frame.stored_values(moved))


class Aligner:
    """The transforms of the streams, for one picture after the other.

    Args:
        settings: `align`, `transform`, `keep_frame`, `track_every`.
        is_cut: whether results may be smaller than the reference.
    """

    def __init__(self, settings: VideoSettings, is_cut: bool = True) -> None:
        self.settings = settings
        self.reference = settings.reference
        self.is_cut = is_cut and not settings.keep_frame and settings.align != "track"
        self.steps: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.matrices: list[Tensor] | None = None  # what is used, for each stream
        self.targets: list[Tensor] | None = None  # where tracked ones go
        self.window: tuple[slice, slice] | None = None
        self.updates = self.jumps = 0
        self._samplers: dict[int, tuple[Tensor, Sampler]] = {}
        self._count = 0

    # ------------------------------------------------------------------ finding

    def find(self, moments: Sequence[Sequence[Frame]]) -> None:
        """Finds the transforms on a few moments, or reads them from the file."""
        if self.settings.align == "none":
            return
        first = moments[0]
        if self.settings.align not in ("once", "track"):
            self.matrices = read_transforms(self.settings.align, [(f.width, f.height) for f in first])
            self.steps = [{"kind": "given", "matrix": m.tolist()} for m in self.matrices]
        else:
            found = [self._estimate(frames) for frames in moments]
            self.matrices = []
            for k in range(len(first)):
                matrix, step = self._agreed([steps[k] for steps in found], first[self.reference])
                self.matrices.append(matrix)
                self.steps.append(step)
        self.targets = list(self.matrices)

    def _estimate(self, frames: Sequence[Frame]) -> list[Step]:
        """What `align_frames` finds for the frames of one moment."""
        mode = self.settings.transform
        return align_frames(frames, Align(mode, keep_frame=True), self.reference)[1]

    def _agreed(self, steps: list[Step], first: Frame) -> tuple[Tensor, dict[str, Any]]:
        """The transform on which trusted answers agree: the median of where they lay the corners."""
        trusted = [step for step in steps if step.trusted]
        best = max(trusted or steps, key=lambda step: step.confidence or 0.0)
        report = {**best.as_dict(), "moments": len(steps), "trusted_moments": len(trusted)}
        report.pop("local", None)
        if best.kind == "reference":
            return torch.eye(3, dtype=torch.float64), {"name": best.name, "kind": "reference"}
        if not trusted:
            self.notes.append(f"{best.name}: does not seem aligned, and no transform was sure; it was not moved")
            return torch.eye(3, dtype=torch.float64), report
        corners = _corners(first.height, first.width)
        placed = torch.stack([apply(torch.tensor(step.matrix).double(), corners) for step in trusted])
        middle = placed.median(0).values
        spread = float((placed - middle).norm(dim=2).max()) if len(trusted) > 1 else 0.0
        matrix = fit("homography", corners, middle, torch.ones(len(corners)).double())
        if all(step.kind == "none" for step in trusted):
            matrix = torch.eye(3, dtype=torch.float64)
        return matrix, report | {"matrix": matrix.tolist(), "spread": round(spread, 3)}

    # ------------------------------------------------------------------ using

    def __call__(self, frames: Sequence[Frame]) -> list[Frame]:
        """The frames of a moment over the reference's, of one size."""
        first = frames[self.reference]
        if self.matrices is None:
            return list(frames)
        if self.settings.align == "track":
            self._follow(frames)
        self._count += 1
        size = (first.height, first.width)
        still = [k == self.reference or self._is_still(k, frames[k], size) for k in range(len(frames))]
        samplers = [None if still[k] else self._sampler(k, frames[k], size) for k in range(len(frames))]
        if self.window is None:
            self.window = self._rectangle([s for s in samplers if s is not None], size)
        window = self.window
        out = []
        for frame, sampler in zip(frames, samplers, strict=True):
            if sampler is None:
                out.append(replace(frame, pixels=np.ascontiguousarray(frame.pixels[window])))
            else:
                out.append(sampler(frame, first, window))
        return out

    def _is_still(self, k: int, frame: Frame, size: tuple[int, int]) -> bool:
        """Whether a stream lies over the reference as it is."""
        assert self.matrices is not None
        same = bool(torch.allclose(self.matrices[k], torch.eye(3, dtype=torch.float64), atol=1e-9))
        return same and (frame.height, frame.width) == size

    def _sampler(self, k: int, frame: Frame, size: tuple[int, int]) -> Sampler:
        assert self.matrices is not None
        known = self._samplers.get(k)
        if known is None or known[0] is not self.matrices[k]:
            if (frame.height, frame.width) != size and torch.equal(self.matrices[k], torch.eye(3).double()):
                raise FusionError(
                    f"{frame.name} is {frame.width}x{frame.height} and the reference {size[1]}x{size[0]}, and how they "
                    "lie is not sure; give --align FILE with transforms, or scale one of them first"
                )
            self._samplers[k] = (self.matrices[k], Sampler(self.matrices[k], (frame.height, frame.width), size))
        return self._samplers[k][1]

    def _rectangle(self, samplers: list[Sampler], size: tuple[int, int]) -> tuple[slice, slice]:
        """What all streams show, with even sides."""
        whole = (slice(0, size[0]), slice(0, size[1]))
        if not self.is_cut or not samplers:
            return whole
        common = np.logical_and.reduce([s.inside.numpy() for s in samplers])
        rows, columns = rectangle(common)
        height, width = ((part.stop - part.start) // 2 * 2 for part in (rows, columns))
        if height * width * LEAST < common.size:
            return whole
        return slice(rows.start, rows.start + height), slice(columns.start, columns.start + width)

    def _follow(self, frames: Sequence[Frame]) -> None:
        """Finds the transforms again every `track_every` pictures, and goes there step by step."""
        assert self.matrices is not None
        assert self.targets is not None
        every = self.settings.track_every
        if self._count and self._count % every == 0:
            self.targets = [self._target(k, step, frames) for k, step in enumerate(self._estimate(frames))]
        corners = _corners(frames[self.reference].height, frames[self.reference].width)
        out = []
        for now, target in zip(self.matrices, self.targets, strict=True):
            a, b = apply(now, corners), apply(target, corners)
            if float((a - b).norm(dim=1).max()) < 0.01:
                out.append(now)
                continue
            step = 1.0 / max(1, every - self._count % every)
            out.append(fit("homography", corners, torch.lerp(a, b, step), torch.ones(len(corners)).double()))
        self.matrices = out

    def _target(self, k: int, step: Step, frames: Sequence[Frame]) -> Tensor:
        """Where the transform of a stream is to go after a new answer."""
        assert self.matrices is not None
        now = self.matrices[k]
        if k == self.reference or not step.trusted:
            return now
        first = frames[self.reference]
        corners = _corners(first.height, first.width)
        a, b = apply(now, corners), apply(torch.tensor(step.matrix).double(), corners)
        away = float((a - b).norm(dim=1).max()) * 640 / max(first.height, first.width)
        self.updates += 1
        if away > SMALL and (step.confidence or 0.0) < CERTAIN:
            return now
        if away > SMALL:
            self.jumps += 1
            self.matrices[k] = torch.tensor(step.matrix).double()
            return self.matrices[k]
        return fit("homography", corners, torch.lerp(a, b, FOLLOW), torch.ones(len(corners)).double())

    # ------------------------------------------------------------------ going on after a break

    def state(self) -> dict[str, Any]:
        """Plain values from which `load` goes on."""
        if self.matrices is None or self.targets is None:
            return {}
        return {
            "matrices": [m.tolist() for m in self.matrices],
            "targets": [m.tolist() for m in self.targets],
            "count": self._count,
            "steps": self.steps,
            "notes": self.notes,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from `state`."""
        if not state:
            return
        self.matrices, self.targets = (
            [torch.tensor(m, dtype=torch.float64) for m in state[name]] for name in ("matrices", "targets")
        )
        self._count, self.steps, self.notes = state["count"], state["steps"], state["notes"]

    def as_dict(self) -> dict[str, Any]:
        """What was done, for the report."""
        tracked = {"updates": self.updates, "jumps": self.jumps} if self.settings.align == "track" else {}
        return {"mode": self.settings.align, "streams": self.steps, **tracked}


def _corners(height: int, width: int) -> Tensor:
    """(4, 2) x, y of the corners."""
    return torch.tensor([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], dtype=torch.float64)
