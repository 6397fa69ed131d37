"""Training data: real pairs and natural images from folders, held in memory as 8-bit luma, cut into batches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..errors import FusionError
from ..image.colour import to_luma
from ..image.frame import Frame
from ..image.random import integer, uniform
from ..image.stack import order_of_roles
from ..io.folders import list_images, pair_by_stem
from .synthetic import exposure_stack, focus_scene
from .thermal import augment_pair, dead_pixels, pseudo_thermal

LARGEST_BLUR = 16.0  # radius in pixels of what is out of focus, in recipes with `lens`


@dataclass(frozen=True)
class DataSet:
    """One set of a recipe.

    Folders pair by stem; one folder means natural images. A single folder NAME/* holds a folder for each scene, whose
    images 1, 2, 3 ... are a sequence.
    """

    task: str  # ivf, mef, mff or mif; natural: images that synthetic pairs are made of
    folders: tuple[str, ...]  # below the data root, one a source
    share: float = 1.0  # how often the set is drawn, against the others of its task, above 0
    kind: str = "pairs"  # or streets: images and class maps (CamVid), from which thermal images are made


@dataclass
class Batch:
    """Crops of one task, all values in [0, 1]."""

    task: str
    sources: Tensor  # (B, N, 1, H, W), as the model sees them
    clean: Tensor  # (B, N, H, W), what losses compare with
    truth: Tensor | None = None  # (B, H, W) or in colour (B, 3, H, W), the right result where it is known
    # (B, N, 2), mean and deviation of the whole images, smoothed, that the sources are crops of; where known
    statistics: Tensor | None = field(default=None, kw_only=True)
    whole: Batch | None = field(default=None, kw_only=True)  # the batch that these rows are a part of; None: all of one


class TrainingData:
    """Loads the sets of a recipe once.

    Every `holdout`-th file (or scene) of each set is kept for validation and never trained on.

    ordered: the sources have roles, so each group comes as in use, by image.stack.order_of_roles over the whole files;
    synthetic ones come darker first.
    varied: infrared-visible pairs as other cameras would give them (thermal.augment_pair), exposures of 2 to 5 from
    sequences, focus stacks of uneven light, dead pixels; and every batch has statistics.
    """

    def __init__(
        self,
        root: str | Path,
        sets: Sequence[DataSet],
        holdout: int = 10,
        ordered: bool = False,
        varied: bool = False,
        lens: bool = False,
    ) -> None:
        from ..io import read_image  # here, so that packed data need no reader of images

        self.root, self.ordered, self.varied, self.lens = Path(root), ordered, varied, lens
        self.set_shares: dict[str, list[float]] = {}
        self.train: dict[str, list[list[np.ndarray]]] = {}  # task -> per set: groups stacked (N, H, W) uint8
        self.kinds: dict[str, list[str]] = {}  # task -> kind per set
        self.validation: dict[str, list[np.ndarray]] = {}  # folder of the set -> held-out groups
        digest = hashlib.sha256()
        self.files = 0
        for data_set in sets:
            sequences = data_set.folders[0].endswith("/*")
            folders = [self.root / f.removesuffix("/*") for f in data_set.folders]
            absent = [f for f in folders if not f.is_dir()]
            if absent:
                raise FusionError(f"{absent[0]}: the training data of '{data_set.task}' is not there; see --data")
            if sequences:
                groups: list[tuple[Path, ...]] = [numbered(d) for d in sorted(folders[0].iterdir()) if d.is_dir()]
            elif len(folders) == 1:
                groups = [(p,) for p in list_images(folders[0])]
            else:
                groups = list(pair_by_stem(folders)[0].values())
            kept: list[np.ndarray] = []
            for index, paths in enumerate(groups):
                for path in paths:
                    digest.update(
                        f"{path.relative_to(self.root)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
                    )
                self.files += len(paths)
                frames = [read_image(p) for p in paths]
                order = order_of_roles(frames) if ordered else range(len(frames))
                stack = np.stack([self.planes_of(frames[k]) for k in order])
                if data_set.kind == "streets":
                    stack = np.stack([stack[0], frames[1].pixels[..., 0]])
                if index % holdout == holdout - 1:
                    if data_set.kind != "streets":
                        self.validation.setdefault(set_name(data_set), []).append(stack)
                else:
                    kept.append(stack)
            self.add(data_set, kept)
        self.manifest = digest.hexdigest()

    @staticmethod
    def planes_of(frame: Frame) -> np.ndarray:
        """What is kept of an image, uint8: its luma (H, W)."""
        return (to_luma(frame.read())[0] * 255).round().to(torch.uint8).numpy()

    def add(self, data_set: DataSet, groups: list[np.ndarray]) -> None:
        """Takes in what a set has to train on."""
        self.train.setdefault(data_set.task, []).append(groups)
        self.set_shares.setdefault(data_set.task, []).append(data_set.share)
        self.kinds.setdefault(data_set.task, []).append(data_set.kind)

    def crop(self, task: str, size: int, gen: Generator, n: int = 2) -> Tensor:
        """Random group, place, flip and rotation: (N, size, size) in [0, 1], or (N, 3, size, size) of colours.

        Sets of one task are drawn by their shares, n images of a longer sequence evenly, in its order.
        """
        sets, shares = self.train[task], self.set_shares[task]
        if len(set(shares)) == 1:
            groups = sets[integer(0, len(sets) - 1, gen)]
        else:
            groups = sets[int(torch.multinomial(torch.tensor(shares), 1, generator=gen))]
        stack = groups[integer(0, len(groups) - 1, gen)]
        if len(stack) > n:
            stack = stack[torch.randperm(len(stack), generator=gen)[:n].sort().values.numpy()]
        return self._cut(task, stack, size, gen, zoom=1.5, upright=("ivf",))

    def varied_pair(self, size: int, gen: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """An infrared-visible pair of some camera: observed and clean (2, size, size), statistics (2, 2)."""
        which = int(torch.multinomial(torch.tensor(self.set_shares["ivf"]), 1, generator=gen))
        groups = self.train["ivf"][which]
        stack = groups[integer(0, len(groups) - 1, gen)]
        if self.kinds["ivf"][which] == "streets":
            top, left = (integer(0, side - size, gen) for side in stack.shape[1:])
            part = torch.from_numpy(stack[:, top : top + size, left : left + size].astype(np.int64))
            visible = part[0].float() / 255
            pair = torch.stack([pseudo_thermal(visible, part[1], gen), visible])
            pair = pair.flip(-1) if uniform(0, 1, gen) < 0.5 else pair
            return augment_pair(pair, whole_statistics(pair), gen)
        planes = self._cut("ivf", stack, size, gen)
        return augment_pair(planes, whole_statistics(torch.from_numpy(stack).float() / 255), gen)

    def exposures(self, n: int, size: int, gen: Generator) -> Tensor:
        """Real exposures (n, size, size): a pair, or n of a longer sequence, at least half of it apart."""
        sets = [long for groups in self.train["mef"] if (long := [g for g in groups if len(g) >= n])]
        groups = sets[integer(0, len(sets) - 1, gen)]
        stack = groups[integer(0, len(groups) - 1, gen)]
        if len(stack) > n:
            chosen = list(range(len(stack)))
            for _ in range(8):
                chosen = sorted(torch.randperm(len(stack), generator=gen)[:n].tolist())
                if chosen[-1] - chosen[0] >= len(stack) // 2:
                    break
            stack = stack[chosen]
        return self._cut("mef", stack, size, gen)

    def _cut(
        self,
        task: str,
        stack: np.ndarray,
        size: int,
        gen: Generator,
        zoom: float = 1.8,
        upright: tuple[str, ...] = ("ivf", "mef"),
    ) -> Tensor:
        """A crop (N, ..., size, size) in [0, 1] of a stack (N, ..., H, W) at a random place and scale, flipped half the
        time, and turned.

        zoom: largest scale, of natural images as large as they go. upright: tasks whose images are not turned.
        """
        h, w = stack.shape[-2:]
        scale = 1.0
        if min(h, w) > 1.5 * size and uniform(0, 1, gen) < 0.5:
            scale = uniform(1.0, min(h, w) / size, gen) if task == "natural" else uniform(1.0, zoom, gen)
        take = min(int(size * scale), h, w)
        top, left = integer(0, h - take, gen), integer(0, w - take, gen)
        x = torch.from_numpy(stack[..., top : top + take, left : left + take].astype(np.float32) / 255)
        if take != size:
            flat = x.flatten(0, -3)[None]
            flat = F.interpolate(flat, (size, size), mode="bilinear", antialias=True, align_corners=False)
            x = flat[0].unflatten(0, x.shape[:-2])
        if uniform(0, 1, gen) < 0.5:
            x = x.flip(-1)
        turns = integer(0, 3, gen) if task not in upright else 0
        return torch.rot90(x, turns, (-2, -1))

    def varied_batch(self, task: str, count: int, n: int, size: int, gen: Generator) -> Batch:
        """As `batch`, of varied data, with statistics. One exposure stack of four is synthetic, and each one of more
        images than the real sequences have.
        """
        real = any(len(stack) >= n for groups in self.train.get("mef", []) for stack in groups)
        rows: list[tuple[Tensor, Tensor, Tensor | None, Tensor]] = []
        for index in range(count):
            truth: Tensor | None = None
            if task == "ivf":
                observed, clean, statistics = self.varied_pair(size, gen)
                rows.append((observed, clean, None, statistics))
                continue
            if task == "mff":
                sharp = self._cut("natural", self._natural(gen), size, gen)[0]
                observed, clean, truth = uneven_focus(sharp, n, gen, self.lens)
            elif task == "mef" and (index % 4 == 3 or not real):
                observed, clean = exposure_stack(self._cut("natural", self._natural(gen), size, gen)[0], n, gen)
            else:
                clean = self.exposures(n, size, gen) if task == "mef" else self.crop(task, size, gen)
                observed = clean
            if task in ("mef", "mff") and uniform(0, 1, gen) < 0.2:
                observed = dead_pixels(observed, gen)
            rows.append((observed, clean, truth, whole_statistics(clean)))
        sources, cleans, truths, statistics_of = zip(*rows, strict=True)
        return Batch(
            task,
            torch.stack(sources)[:, :, None],
            torch.stack(cleans),
            torch.stack(truths) if truths[0] is not None else None,
            statistics=torch.stack(statistics_of),
        )

    def _natural(self, gen: Generator) -> np.ndarray:
        groups = self.train["natural"][0]
        return groups[integer(0, len(groups) - 1, gen)]

    def batch(self, task: str, count: int, n: int, size: int, gen: Generator) -> Batch:
        """One batch of `count` crops with n inputs (real pairs have their own n). `mff` is synthetic, `mef` half so."""
        if self.varied:
            return self.varied_batch(task, count, n, size, gen)
        sources, cleans, truths = [], [], []
        for index in range(count):
            if task == "mff":
                sharp = self.crop("natural", size, gen)[0]
                stack, depth = focus_scene(sharp, n, gen)
                gains = 1 + uniform(0, 0.03, gen) * torch.randn(n, generator=gen)  # no two exposures are quite alike
                stack = (stack * gains[:, None, None]).clamp(0, 1)
                order = darkness(stack) if self.ordered else slice(None)
                stack = stack[order]
                noise = uniform(0, 0.006, gen) * torch.randn(stack.shape, generator=gen)
                sources.append((stack + noise).clamp(0, 1))
                cleans.append(stack)
                truths.append((sharp * gains[depth]).clamp(0, 1))
            elif task == "mef" and (n != 2 or "mef" not in self.train or index % 2):
                observed, clean = exposure_stack(self.crop("natural", size, gen)[0], n, gen)
                order = darkness(observed) if self.ordered else slice(None)
                sources.append(observed[order])
                cleans.append(clean[order])
            else:
                sources.append(self.crop(task, size, gen, n))
                cleans.append(sources[-1])
        return Batch(
            task,
            torch.stack(sources)[:, :, None],
            torch.stack(cleans),
            torch.stack(truths) if truths else None,
        )


def whole_statistics(stack: Tensor) -> Tensor:
    """Mean and deviation (N, 2) of the images of a stack (N, H, W) at 1/8 of their size, where grain does not count."""
    height, width = (side // 8 * 8 for side in stack.shape[-2:])
    small = F.avg_pool2d(stack[:, :height, :width], 8) if min(height, width) >= 8 else stack
    return torch.stack([small.mean((1, 2)), small.std((1, 2), correction=0)], 1)


def uneven_focus(sharp: Tensor, n: int, gen: Generator, lens: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Sharp image (H, W) -> focus stack observed and clean (n, H, W) and its truth: in a third of the cases the light
    changes much from frame to frame, and the truth has the mean light. lens: blur is large in half of the cases, the
    light changes little, as align/brightness.py leaves it, and the truth has the
    light of the frame that is sharp.
    """
    stack, depth = focus_scene(sharp, n, gen, LARGEST_BLUR if lens else 0.0)
    if uniform(0, 1, gen) < 0.33 and not lens:
        gains = 0.75 + 0.45 * torch.rand(n, generator=gen)
    else:
        gains = 1 + uniform(0, 0.03, gen) * torch.randn(n, generator=gen)
    room = 1 / max(1.0, float(gains.max()))  # nothing is clipped by the gain
    clean = stack * (gains * room)[:, None, None]
    noise = uniform(0, 0.006, gen) * torch.randn(stack.shape, generator=gen)
    light = gains[depth] if lens else gains.mean()
    return (clean + noise).clamp(0, 1), clean, sharp * light * room


def darkness(stack: Tensor) -> Tensor:
    """Indices of the images of a stack (N, H, W), darker first."""
    return stack.mean((1, 2)).sort(stable=True).indices


def darker_first(stack: Tensor) -> Tensor:
    """The stack (N, H, W), darker images first."""
    return stack[darkness(stack)]


def numbered(folder: Path) -> tuple[Path, ...]:
    """The images of a sequence, whose stems are numbers, in their order."""
    return tuple(sorted((p for p in list_images(folder) if p.stem.isdecimal()), key=lambda p: int(p.stem)))


def set_name(data_set: DataSet) -> str:
    """The name of a set in scores: its folder."""
    first = data_set.folders[0]
    return first.rpartition("/")[0] or first
