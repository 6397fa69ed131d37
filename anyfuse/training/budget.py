"""Training for a number of seconds on one device, kept busy: worker processes make batches, steps become CUDA graphs.

The strategies are those of every other run; what is different is around them. The rate warms up, then follows a cosine
over the seconds, so a run ends well whatever number of steps it reached. Nothing in a step reads a number from the
device. A run leaves the averaged weights, their configuration and card, a log, and the state of weights and optimisers
in parts of a size that is easy to carry, from which the next run goes on.
"""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..data.batches import Batch, TrainingData
from ..models.base import FusionModel
from ..models.tita.tita import ISF, OAF
from ..models.tita.windows import SwinBlock
from ..models.unifusion.attention import RestormerBlock
from ..tiling import fuse_whole
from ..weights import WEIGHTS_NAME
from .card import held_out, write_recipe_card
from .loop import Ema
from .recipe import Recipe
from .state import load_state, read_facts, save_state
from .steps import fresh_model, learning_rate, make_batches, tensors_of, to_device, update
from .strategies.famo import Famo
from .strategies.table import build_data, build_strategy, options_of
from .strategies.weighting import Strategy


@dataclass(frozen=True)
class Budget:
    """Limits of a run, and what a GPU may do to be fast."""

    seconds: float  # of training, all runs of a chain together
    stop: float = 0.0  # seconds from its start after which a run takes no more steps; 0: no limit
    workers: int = 12  # processes that make batches
    graph: bool = True  # steps become CUDA graphs
    compiled: bool = True  # blocks are compiled, on GPUs
    steps: int = 0  # of this run at most; 0: any number


# ---------------------------------------------------------------------- batches

Packed = tuple[type[Batch], dict[str, Any]]
"""A batch with arrays in place of tensors, which pass between processes as bytes."""


class Made(Dataset[Any]):
    """Batches of a recipe by the number of the step, which seeds them."""

    def __init__(self, data: TrainingData, recipe: Recipe) -> None:
        self.data, self.recipe = data, recipe

    def __getitem__(self, step: int) -> list[Packed]:
        torch.set_num_threads(1)
        gen = torch.Generator().manual_seed((self.recipe.seed * 2654435761 + step) % 2**32)  # it takes 32 bits
        return [as_arrays(batch) for batch in make_batches(self.recipe, self.data, step, gen)]


def as_arrays(batch: Batch) -> Packed:
    """The batch as arrays; `clean` is None where it equals the sources."""
    values = {f.name: getattr(batch, f.name) for f in fields(batch)}
    values |= {name: value.numpy() for name, value in tensors_of(batch).items()}
    if torch.equal(batch.sources[:, :, 0], batch.clean):
        values["clean"] = None
    return type(batch), values


def from_arrays(kind: type[Batch], values: dict[str, Any], pin: bool) -> Batch:
    """The batch that `as_arrays` was given; pin: in memory from which a GPU copies without waiting."""
    if values["clean"] is None:
        values = {**values, "clean": values["sources"][:, :, 0]}
    parts: dict[str, Any] = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in values.items()}
    batch = kind(**parts)
    if not pin:
        return batch
    pinned: dict[str, Any] = {name: value.pin_memory() for name, value in tensors_of(batch).items()}
    return replace(batch, **pinned)


def as_they_are(x: Any) -> Any:
    """A collate function that does nothing."""
    return x


def batches_from(data: TrainingData, recipe: Recipe, first: int, workers: int) -> Iterator[list[Batch]]:
    """Batches of one step after the other without end, in pinned memory where there is a GPU.

    Args:
        data: what they are drawn from.
        recipe: tasks, crop, stacks and seed.
        first: number of the first step.
        workers: processes that make them; 0: this one does.
    """
    more: dict[str, Any] = {"prefetch_factor": 8, "multiprocessing_context": "fork"} if workers else {}
    loader = DataLoader(
        Made(data, recipe),
        batch_size=None,
        sampler=range(first, first + 10**7),
        num_workers=workers,
        collate_fn=as_they_are,
        **more,
    )
    pin = torch.cuda.is_available()
    for made in loader:
        yield [from_arrays(kind, values, pin) for kind, values in made]


# ---------------------------------------------------------------------- steps


@dataclass
class Slot:
    """What belongs to one combination of tasks and shapes."""

    inputs: list[Batch]  # at a fixed place on the device
    runs: int = 0  # steps taken without the graph
    graph: Any = None  # torch.cuda.CUDAGraph, once it is captured
    values: dict[str, Any] = field(default_factory=dict)  # what the strategy logs, at a fixed place as well


def fixed_shapes(recipe: Recipe) -> bool:
    """Whether every step of a task has the same tensors, so that it can be a graph."""
    return not recipe.stacks and not recipe.varied


class Stepper:
    """Takes steps; with `graph`, as a CUDA graph once it has taken three of a combination of tasks."""

    def __init__(self, strategy: Strategy, recipe: Recipe, device: torch.device, graph: bool) -> None:
        self.strategy, self.recipe, self.device = strategy, recipe, device
        self.graph = graph and device.type == "cuda" and fixed_shapes(recipe)
        self.rate = torch.tensor(0.0, device=device)
        self.slots: dict[tuple[Any, ...], Slot] = {}
        self.side = torch.cuda.Stream() if self.graph else None
        if isinstance(strategy, Famo):
            strategy.balance.checked = False

    def __call__(self, batches: list[Batch], lr: float) -> dict[str, Any]:
        if not self.graph:
            return self._run([to_device(b, self.device) for b in batches], lr)
        self.rate.fill_(lr)
        key = tuple((b.task, *((name, x.shape) for name, x in tensors_of(b).items())) for b in batches)
        slot = self.slots.setdefault(key, Slot([]))
        if not slot.inputs:
            slot.inputs = [to_device(b, self.device) for b in batches]
        for own, new in zip(slot.inputs, batches, strict=True):
            given = tensors_of(new)
            for name, tensor in tensors_of(own).items():
                tensor.copy_(given[name], non_blocking=True)
        if slot.runs < 3:
            assert self.side is not None
            self.side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.side):
                slot.values = self._run(slot.inputs, self.rate)
            torch.cuda.current_stream().wait_stream(self.side)
            slot.runs += 1
            return slot.values
        if slot.graph is None:
            slot.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(slot.graph):
                slot.values = self._run(slot.inputs, self.rate)
        slot.graph.replay()
        return slot.values

    def _run(self, batches: list[Batch], lr: float | Tensor) -> dict[str, Any]:
        return update(self.strategy, batches, lr, self.recipe, self.device)


def compile_blocks(model: FusionModel) -> None:
    """Compiles the blocks of TITA and UniFusion, once for all blocks of a kind; other models stay as they are."""
    torch._dynamo.config.cache_size_limit = 64
    for module in model.modules():
        if isinstance(module, SwinBlock | ISF):
            module.rate = max(module.rate, 1e-7)  # 0 would be a graph of its own
    for cls, name in ((SwinBlock, "body"), (ISF, "body"), (OAF, "forward"), (RestormerBlock, "forward")):
        if any(isinstance(m, cls) for m in model.modules()) and not hasattr(
            getattr(cls, name), "_torchdynamo_orig_callable"
        ):
            setattr(cls, name, torch.compile(getattr(cls, name), dynamic=False))


# ---------------------------------------------------------------------- the run


def train_for(
    recipe: Recipe,
    data_root: str | Path,
    out: str | Path,
    budget: Budget,
    *,
    device: str = "cuda",
    resume: str | Path | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Trains for the budget's seconds and writes everything to `out`; returns the facts of the run.

    Args:
        recipe: every choice of the run but its steps.
        data_root: folder with the sets of the recipe, or a packed file.
        out: folder to write.
        budget: what ends the run, and what a GPU may do.
        device: as torch names it.
        resume: folder with the weights and the parts of an earlier run, which this one resumes.
        log: gets lines of progress.

    Raises:
        FusionError: a recipe that cannot be run, or missing data.
    """
    began = time.monotonic()
    recipe = replace(recipe, options=options_of(recipe))
    out, place = Path(out), torch.device(device)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    if place.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False  # losses take variances from matrix products
        torch.backends.cudnn.benchmark = True
    model = fresh_model(recipe)
    data = build_data(model, recipe, data_root, out, device, log)
    log(f"{data.files} files read after {time.monotonic() - began:.1f} s")
    resume = Path(resume) if resume and (Path(resume) / "state.0").exists() else None
    feed = batches_from(data, recipe, read_facts(resume)["steps"] if resume else 0, budget.workers)
    waiting = next(feed)  # processes start before the device is used
    model.to(place).train()
    if budget.compiled and place.type == "cuda":
        compile_blocks(model)
    strategy = build_strategy(model, recipe)
    facts, ema = resumed(resume, model, strategy, recipe, log)
    progress = Progress(facts["steps"], facts["seconds"], log)
    stepper = Stepper(strategy, recipe, place, budget.graph)
    while not progress.over(budget, began):
        values = stepper(waiting, learning_rate(recipe, progress.step, progress.seconds / budget.seconds))
        ema.update(model, progress.step)
        waiting = next(feed)
        if not progress.advance(values):
            log("the loss is not finite: ends here")
            break
    if place.type == "cuda":
        torch.cuda.synchronize()
    facts |= progress.finish() | facts_of(data, place, budget, recipe)
    write_run(out, model, strategy, ema, recipe, data, facts, progress.rows)
    log(f"weights written after {time.monotonic() - began:.1f} s")
    with torch.compiler.set_stance("force_eager"):  # whole images have shapes of their own: no compilation for each
        sample(model, data, out / "sample.png")
    return facts


def resumed(
    folder: Path | None, model: FusionModel, strategy: Strategy, recipe: Recipe, log: Callable[[str], None]
) -> tuple[dict[str, Any], Ema]:
    """The facts and the averaged weights of the run in a folder, whose state model and strategy take; of a fresh run
    where there is none.
    """
    facts: dict[str, Any] = {"steps": 0, "seconds": 0.0}
    if folder is None:
        return facts, Ema(model, recipe.ema)
    facts |= load_state(folder, model, strategy)
    ema = Ema(model, recipe.ema)
    averaged = load_file(folder / WEIGHTS_NAME)
    ema.shadow = {k: averaged[k].to(v) if k in averaged else v for k, v in ema.shadow.items()}
    log(f"resumes at step {facts['steps']}, {facts['seconds']:.0f} s spent")
    return facts, ema


class Progress:
    """Steps and seconds of a run, and a row of the log now and then.

    first, spent: steps and seconds of the earlier run that this one resumes.
    """

    def __init__(self, first: int, spent: float, log: Callable[[str], None]) -> None:
        self.first, self.spent, self.log = first, spent, log
        self.step, self.seconds = first, spent
        self.rows: list[dict[str, Any]] = []
        self.started = self.logged_at = time.monotonic()
        self.logged_step, self.bad = first, 0

    def over(self, budget: Budget, began: float) -> bool:
        """Whether the budget's seconds, its steps or its last moment, counted from `began`, are reached."""
        now = time.monotonic()
        self.seconds = self.spent + now - self.started
        late = bool(budget.stop) and now - began > budget.stop
        done = bool(budget.steps) and self.step - self.first >= budget.steps
        return self.seconds >= budget.seconds or late or done

    def advance(self, values: Mapping[str, Tensor | float]) -> bool:
        """Counts a step; False after three log rows in a row without a finite loss."""
        self.step += 1
        count = self.step - self.first
        due = self.step % 10 == 0 and time.monotonic() - self.logged_at >= 10
        if count == 20 or due or count in (1, 5):
            self._record(values)
        return self.bad < 3

    def _record(self, values: Mapping[str, Tensor | float]) -> None:
        row = {k: round(float(v), 5) for k, v in values.items()}  # waits for the device
        now = time.monotonic()
        row |= {
            "step": self.step,
            "seconds": round(self.spent + now - self.started, 1),
            "rate": round((self.step - self.logged_step) / (now - self.logged_at), 2),
        }
        self.rows.append(row)
        self.bad = 0 if math.isfinite(row["loss"]) else self.bad + 1
        self.log(" ".join(f"{k} {v}" for k, v in row.items()))
        self.logged_at, self.logged_step = now, self.step

    def finish(self) -> dict[str, Any]:
        """Steps and seconds, for the facts."""
        self.seconds = self.spent + time.monotonic() - self.started
        count, seconds = self.step - self.first, self.seconds - self.spent
        self.log(f"{count} steps in {seconds:.1f} s, {count / max(1e-9, seconds):.2f} a second")
        return {"steps": self.step, "seconds": round(self.seconds, 1)}


def facts_of(data: Any, place: torch.device, budget: Budget, recipe: Recipe) -> dict[str, Any]:
    """What a run was made with: data, device, torch, budget, recipe."""
    return {
        "manifest": data.manifest,
        "files": data.files,
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else f"CPU ({platform.machine()})",
        "torch": torch.__version__,
        "budget": asdict(budget),
        "recipe": asdict(recipe),
    }


def write_run(
    out: Path,
    model: FusionModel,
    strategy: Strategy,
    ema: Ema,
    recipe: Recipe,
    data: TrainingData,
    facts: Mapping[str, Any],
    rows: list[dict[str, Any]],
) -> None:
    """Writes state, log, averaged weights as float16 and the card; the model then holds the averaged weights.

    Args:
        out: folder.
        model: it gets the averaged weights.
        strategy: its state is written.
        ema: the averaged weights.
        recipe: for the card.
        data: for the card's manifest.
        facts: steps, seconds and hardware.
        rows: of the log.
    """
    save_state(out, model, strategy, facts)
    with (out / "log.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    model.load_state_dict(ema.shadow)
    model.half().save_pretrained(out)
    lines = [
        f"- schedule: warm-up of {recipe.warmup} steps to {recipe.lr:g}, {recipe.schedule} over "
        f"{facts['budget']['seconds']:g} seconds; gradients clipped to {recipe.clip:g}; "
        f"{'bfloat16' if recipe.autocast else 'float32'}"
    ]
    if rows:
        first, last = rows[0], rows[-1]
        lines += [f"- loss {first['loss']:.3f} at step {first['step']}, {last['loss']:.3f} at step {last['step']}"]
    command, time = f"experiments/gpu_train.sh {recipe.model}", f"{facts['seconds']:.0f} seconds"
    write_recipe_card(out, model, recipe, data, command, facts["steps"], time, lines)
    model.float().eval()


@torch.inference_mode()
def sample(model: FusionModel, data: TrainingData, path: Path) -> None:
    """A picture with a held-out group of each set a row: two of its sources and the result, cut to 256x256."""
    rows = []
    for groups in held_out(model, data, 1).values():
        pair = groups[0][[0, -1], :256, :256]
        row = torch.zeros(256, 768)
        for k, image in enumerate((*pair, fuse_whole(model, pair[:, None])[0].float().cpu())):
            row[: image.shape[0], 256 * k : 256 * k + image.shape[1]] = image
        rows.append(row)
    Image.fromarray((torch.cat(rows).clamp(0, 1) * 255).round().byte().numpy()).save(path)


__all__ = ["Budget", "train_for"]
