"""Several runs of the default model side by side on one GPU, each step of each run a CUDA graph on a stream of its own.

    python experiments/gpu_default.py large more strong --data all.pack --out runs --seconds 190

Runs whose data are the same see the same batches, so they differ by their losses or their configuration alone. The
rate follows a cosine over the seconds. Each run leaves OUT/NAME: weights, configuration, card, log.jsonl.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from anyfuse.data.batches import Batch, DataSet, TrainingData
from anyfuse.data.pack import PackedData
from anyfuse.models.registry import build_model
from anyfuse.training.budget import batches_from
from anyfuse.training.card import write_recipe_card
from anyfuse.training.objectives import clip_gradients, decay_groups, task_losses
from anyfuse.training.recipes import RECIPES, Recipe
from anyfuse.training.steps import learning_rate, tensors_of, to_device

BASE = RECIPES["anyfuse"]


def changed(plan: Recipe, losses: dict[str, dict[str, float]] | None = None, **changes: Any) -> Recipe:
    """The plan with some weights of losses (0 leaves one out) and other fields changed."""
    table = {t: {k: w for k, w in {**own, **(losses or {}).get(t, {})}.items() if w} for t, own in plan.losses.items()}
    return replace(plan, losses=table, **changes)


def without(plan: Recipe, folder: str) -> Recipe:
    """The plan without the sets of one camera."""
    return replace(plan, sets=tuple(s for s in plan.sets if not s.folders[0].startswith(folder + "/")))


SMALL_CROPS: dict[str, Any] = {"crop": 128, "tasks": {"ivf": 5, "mef": 4, "mff": 3, "mif": 3}}
MORE = replace(BASE, **SMALL_CROPS)
STRONG = changed(
    MORE,
    {
        "mef": {"halo": 12.0, "mef_ssim": 6.0},
        "mff": {"gradient": 8.0, "qabf": 1.5, "mutual_information": 0.4},
        "mif": {"halo": 12.0, "intensity": 10.0, "scd": 1.2},
    },
)
PLANS: dict[str, Recipe] = {
    "large": BASE,
    "more": MORE,
    "stronger": changed(MORE, {"ivf": {"hot": 20.0, "lit": 11.0, "qabf": 6.0, "halo": 14.0}}),
    "strong": STRONG,
    "strong-1": replace(STRONG, seed=1),
    "strong-no-roadscene": without(STRONG, "ivif"),
    "strong-no-llvip": without(STRONG, "ivif-llvip"),
}
"""The runs of docs/experiments.md: `large` is the recipe `anyfuse`."""


@dataclass
class Slot:
    """The inputs of one shape at a fixed place, and the graph of a step on them."""

    inputs: list[Batch]
    passed: int = 0
    graph: Any = None
    loss: Any = None


@dataclass
class Run:
    """A model in training on a stream of its own."""

    name: str
    recipe: Recipe
    device: torch.device
    slots: dict[tuple[Any, ...], Slot] = field(default_factory=dict)
    rows: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.manual_seed(self.recipe.seed)
        self.model = build_model(self.recipe.model, self.recipe.config, training=True).to(self.device).train()
        self.cuda = self.device.type == "cuda"
        self.rate = torch.tensor(0.0, device=self.device)
        groups = decay_groups(self.model.parameters(), self.recipe.weight_decay)
        rate: Any = self.rate if self.cuda else 0.0
        self.optimiser = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=self.cuda, capturable=self.cuda)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.stream = torch.cuda.Stream() if self.cuda else None
        self.state = self.model.state_dict()
        self.shadow = {k: v.detach().clone() for k, v in self.state.items()}
        self.decay = torch.tensor(0.0, device=self.device)
        self.step_number = 0

    def step(self, batches: list[Batch], lr: float) -> None:
        """One step, on the run's own stream where there is a GPU."""
        decay = min(self.recipe.ema, (self.step_number + 1) / (self.step_number + 10))
        self.step_number += 1
        if not self.cuda:
            for group in self.optimiser.param_groups:
                group["lr"] = lr
            self.decay.fill_(1 - decay)
            self.last = self.update(batches)
            return
        with torch.cuda.stream(self.stream):
            self.rate.fill_(lr)
            self.decay.fill_(1 - decay)
            key = tuple((b.task, tuple(b.sources.shape)) for b in batches)
            slot = self.slots.setdefault(key, Slot([]))
            if not slot.inputs:
                slot.inputs = [to_device(b, self.device) for b in batches]
            for own, new in zip(slot.inputs, batches, strict=True):
                given = tensors_of(new)
                for name, tensor in tensors_of(own).items():
                    tensor.copy_(given[name], non_blocking=True)
            if slot.passed < 3:
                slot.loss = self.update(slot.inputs)
                slot.passed += 1
            elif slot.graph is None:
                torch.cuda.synchronize()
                graph = torch.cuda.CUDAGraph()
                try:
                    with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                        slot.loss = self.update(slot.inputs)
                except RuntimeError as error:
                    print(f"{self.name}: no graph: {error}", flush=True)
                    slot.passed = -(10**9)
                    return
                slot.graph = graph
                graph.replay()
            else:
                slot.graph.replay()
            self.last = slot.loss

    def update(self, batches: list[Batch]) -> Tensor:
        """Loss, gradients, step, average; returns the tasks' losses."""
        each, _ = task_losses(self.model, batches, self.recipe.losses)
        self.optimiser.zero_grad(set_to_none=True)
        each.sum().backward()
        norm = clip_gradients(self.model.parameters(), self.recipe.clip)
        if self.cuda:
            self.optimiser.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        self.optimiser.step()
        with torch.no_grad():
            for k, own in self.shadow.items():
                own.lerp_(self.state[k], self.decay)
        return each.detach()

    def write(self, out: Path, data: TrainingData, time: str) -> None:
        """Averaged weights as float16, configuration, card, log."""
        folder = out / self.name
        self.model.load_state_dict(self.shadow)
        self.model.half().save_pretrained(folder)
        (folder / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in self.rows))
        write_recipe_card(
            folder, self.model, self.recipe, data, f"python {' '.join(sys.argv)}", self.step_number, time, []
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", choices=PLANS)
    parser.add_argument("--data", required=True, help="packed file or folder")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--steps", type=int, default=10**7, help="at most")
    parser.add_argument("--workers", type=int, default=4, help="of each kind of data")
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    began, out, device = time.monotonic(), Path(args.out), torch.device(args.device)
    torch.backends.cuda.matmul.allow_tf32 = False  # losses take variances from matrix products
    plans = {name: PLANS[name] for name in args.runs}
    feeds: dict[tuple[Any, ...], Iterator[list[Batch]]] = {}
    loaded: dict[tuple[DataSet, ...], TrainingData] = {}
    keys = {name: (p.sets, p.seed, p.crop, tuple(p.tasks.items()), p.stacks) for name, p in plans.items()}
    for name, plan in plans.items():
        if plan.sets not in loaded:
            packed = Path(args.data).is_file()
            make: Any = PackedData if packed else TrainingData
            loaded[plan.sets] = make(args.data, plan.sets, varied=plan.varied)
        if keys[name] not in feeds:
            feeds[keys[name]] = batches_from(loaded[plan.sets], plan, 0, args.workers)
    waiting = {key: next(source) for key, source in feeds.items()}  # processes start before the device is used
    print(f"data after {time.monotonic() - began:.1f} s", flush=True)
    runs = {name: Run(name, plan, device) for name, plan in plans.items()}
    started, step, logged = time.monotonic(), 0, 0.0
    while (passed := time.monotonic() - started) < args.seconds and step < args.steps:
        for name, run in runs.items():
            progress = max(passed / args.seconds, step / args.steps)
            run.step(waiting[keys[name]], learning_rate(run.recipe, step, progress))
        step += 1
        waiting = {key: next(source) for key, source in feeds.items()}
        if device.type == "cuda" and step % 2 == 0:
            torch.cuda.synchronize()  # inputs are copied from memory that the feed gives free
        if passed - logged > 5 or step in (2, 30):
            logged = passed
            if device.type == "cuda":
                torch.cuda.synchronize()
            for run in runs.values():
                losses = [round(float(v), 4) for v in run.last]
                run.rows.append({"step": step, "seconds": round(passed, 1), "loss": round(sum(losses), 4)})
            print(
                f"step {step} {passed:.1f} s " + " ".join(f"{n} {r.rows[-1]['loss']:.3f}" for n, r in runs.items()),
                flush=True,
            )
    for run in runs.values():
        run.write(out, loaded[run.recipe.sets], f"{time.monotonic() - started:.0f} s beside {len(runs) - 1} other runs")
    print(f"{step} steps of {len(runs)} runs; written after {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
