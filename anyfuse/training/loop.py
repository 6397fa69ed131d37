"""What every training loop needs around its steps: going on from a checkpoint to the bit, averaged losses in a log,
checkpoints that are whole.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Generator, nn

from ..errors import FusionError
from ..io.atomic import one_line
from ..runtime import check_regular
from ..weights import LOADING_ERRORS
from .distributed import all_equal, any_of, rank, world
from .sharded import has_parts, in_parts, moments_in_parts, own, states_in_parts, whole


class Ema:
    """Exponential moving average of parameters and buffers, with a warm-up of its own, in few kernels on a GPU.

    shadow: the averaged state; of what is no floating-point number, the model's own.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """After step `step`, counted from 0: the shadow moves towards the model."""
        decay = min(self.decay, (step + 1) / (step + 10))
        state = model.state_dict()
        moving = [key for key, value in state.items() if value.is_floating_point()]
        torch._foreach_lerp_([own(self.shadow[key]) for key in moving], [own(state[key]) for key in moving], 1 - decay)
        for key in state.keys() - moving:
            self.shadow[key].copy_(state[key])


class PythonRandom:
    """Python's random numbers as a part of a run: `rng` resumes at the checkpoint."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def state_dict(self) -> dict[str, Any]:
        """The state of the generator, as plain values."""
        version, words, last = self.rng.getstate()
        return {"version": version, "words": list(words), "last": last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what `state_dict` gave."""
        self.rng.setstate((state["version"], tuple(state["words"]), state["last"]))


def cosine_share(angle: float) -> float:
    """From 1 at angle 0 to 1/50 at pi."""
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(angle))


def warm_cosine(lr: float, warmup: int, step: int, steps: int) -> float:
    """The rate of a step: linear warm-up times a cosine from `lr` to lr/50 over all `steps`."""
    warm = min(1.0, (step + 1) / max(1, warmup))
    return lr * warm * cosine_share(math.pi * step / steps)


class Stateful(Protocol):
    """A part of a run that a checkpoint keeps."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Takes what `state_dict` gave."""


class Loop:
    """Steps of a run in folder `out`: `for step in loop.steps(): ...; loop.record(step, losses)`.

    Args:
        out: folder of the run.
        key: plain values that the checkpoint keeps; it is resumed where they are equal.
        parts: model, optimiser or strategy, by name.
        ema: averages, if the run has some.
        gen: what the run draws with, if it has one of its own.
        steps: of the whole run.
        device: whose random numbers the run draws, beside the CPU's.
        resume: resumes from last.pt in `out`.
        save_every: steps between checkpoints.
        log_every: steps between lines of log.jsonl, which hold running means (0.98) of what `record` is given.
        log: gets lines of progress.
        same: whether a checkpoint is of this run, instead of equal values of `key`.

    Raises:
        FusionError: last.pt is of another recipe or other data, or has taken more steps already.
    """

    def __init__(
        self,
        out: Path,
        key: Mapping[str, Any],
        parts: Mapping[str, Stateful],
        ema: Ema | None,
        gen: Generator | None,
        *,
        steps: int,
        device: str = "cpu",
        resume: bool,
        save_every: int,
        log_every: int = 50,
        log: Callable[[str], None],
        same: Callable[[dict[str, Any]], bool] | None = None,
    ) -> None:
        self.out, self.key, self.parts, self.ema, self.gen = out, key, parts, ema, gen
        self.total, self.device, self.save_every, self.log_every, self.log = steps, device, save_every, log_every, log
        self.means: dict[str, float] = {}
        self.in_parts = any(isinstance(one, nn.Module) and has_parts(one.parameters()) for one in parts.values())
        self.first, spent, self.last = 0, 0.0, out / "last.pt"
        if resume and self.last.exists():
            state = read_checkpoint(self.last, {*key, *parts, "step", "seconds"}, device)
            if not (same(state) if same else all(state[name] == value for name, value in key.items())):
                raise FusionError(f"{self.last}: {refusal(state, key)}")
            if state["step"] > steps:
                raise FusionError(f"{self.last}: has taken {state['step']} steps; give --steps {state['step']} or more")
            try:
                for name, part in parts.items():
                    _load(part, state[name])
                if ema is not None:
                    like = ema.shadow
                    ema.shadow = {k: in_parts(v, like.get(k)) for k, v in state["ema"].items()}
                if gen is not None:
                    gen.set_state(state["generator"].cpu())
            except LOADING_ERRORS as error:
                raise FusionError(f"{self.last}: {TORN} ({one_line(error):.100})") from None
            if "random" in state:  # drop path draws from the global generators
                torch.set_rng_state(state["random"].cpu())
                if device.startswith("cuda"):
                    torch.cuda.set_rng_state(state["random_cuda"].cpu(), device)
            self.first, spent = state["step"], state["seconds"]
        if not all_equal(self.first):
            raise FusionError(f"{self.last}: not all processes have this file; give an --out that all machines share")
        if self.first:
            log(f"resumed at step {self.first}")
        self.clock = time.monotonic() - spent

    @property
    def seconds(self) -> float:
        """Spent so far, in all parts of an interrupted run."""
        return time.monotonic() - self.clock

    def steps(self) -> Iterator[int]:
        """The steps that are still to be done.

        Ctrl-C, or a request to end, lets the step end, saves and raises KeyboardInterrupt.
        """
        with _interruptions() as signals:
            for step in range(self.first, self.total):
                yield step
                if any_of(bool(signals)):
                    self._save(step)
                    self.log(f"interrupted: step {step + 1} is in {self.last}, and the same command goes on")
                    raise KeyboardInterrupt

    def record(self, step: int, values: Mapping[str, Any], scores: Mapping[str, Any] | None = None) -> None:
        """Called after each step: logs it, and saves the run when it is time.

        Args:
            step: from 0.
            values: its losses, of which `loss` is shown.
            scores: what goes into the log's line beside them, on steps that have one.
        """
        for name, number in values.items():
            value = float(number)
            self.means[name] = value if name not in self.means else 0.98 * self.means[name] + 0.02 * value
        done = step + 1 == self.total
        if (step + 1) % self.log_every == 0 or done:
            left = self.seconds / (step + 1) * (self.total - step - 1)
            line = {"step": step + 1, "seconds": round(self.seconds, 1), **self.means, **(scores or {})}
            if not rank():  # before the line is shown: whoever hears it may read the file
                with (self.out / "log.jsonl").open("a") as file:
                    file.write(json.dumps(line) + "\n")
            self.log(
                f"step {step + 1}/{self.total}  loss {self.means['loss']:.4f}  {self.seconds:.0f} s, {left:.0f} s left"
            )
        if (step + 1) % self.save_every == 0 or done:
            self._save(step)

    def _save(self, step: int) -> None:
        if rank() and not self.in_parts:
            return
        state = {**self.key, **{name: part.state_dict() for name, part in self.parts.items()}}
        state |= {"step": step + 1, "seconds": self.seconds, "random": torch.get_rng_state()}
        if self.ema is not None:
            state["ema"] = self.ema.shadow
        state = whole(state) if self.in_parts else state  # all processes send their parts
        if rank():
            return
        if self.gen is not None:
            state["generator"] = self.gen.get_state()
        if self.device.startswith("cuda"):
            state["random_cuda"] = torch.cuda.get_rng_state(self.device)
        torch.save(state, self.last.with_suffix(".tmp"))
        os.replace(self.last.with_suffix(".tmp"), self.last)


KERNELS = ("fused", "foreach")
"""How an optimiser computes. A checkpoint has that of the run that wrote it, and each run keeps its own."""


def _load(part: Stateful, state: Any) -> None:
    """Gives a part of a run its state, which is whole in a checkpoint."""
    if isinstance(part, nn.Module):
        state = states_in_parts(state, part)
    optimiser = getattr(part, "optimiser", None)
    if not isinstance(optimiser, torch.optim.Optimizer):
        part.load_state_dict(state)
        return
    kernels = [{name: group[name] for name in KERNELS if name in group} for group in optimiser.param_groups]
    part.load_state_dict(state)
    moments_in_parts(optimiser)
    for group, own_kernels in zip(optimiser.param_groups, kernels, strict=True):
        group.update(own_kernels)


TORN = "is no checkpoint of this recipe; delete it, or give another --out or --no-resume"


def read_checkpoint(path: Path, names: set[str], device: str) -> dict[str, Any]:
    """What torch.save wrote; FusionError for anything else, and where one of `names` is missing."""
    try:
        check_regular(path)
        state = torch.load(path, map_location=device, weights_only=True)
    except LOADING_ERRORS as error:
        raise FusionError(f"{path}: {TORN} ({type(error).__name__}: {one_line(error):.100})") from None
    if not isinstance(state, dict) or not names <= state.keys() or not isinstance(state["step"], int):
        missing = sorted(names - state.keys()) if isinstance(state, dict) else [type(state).__name__]
        raise FusionError(f"{path}: {TORN} (lacks {', '.join(missing[:3]) or 'a number of steps'})")
    return state


@contextmanager
def _interruptions() -> Iterator[list[int]]:
    """A list that gets the number of each SIGINT or SIGTERM; a second one interrupts at once.

    Of several processes each gets one from the terminal and one from the launcher, so a third one does. Outside the
    main thread it stays empty.
    """
    signals: list[int] = []

    def note(number: int, _: object) -> None:
        signals.append(number)
        if len(signals) > (1 if world() == 1 else 2):
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def refusal(state: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    """Why a checkpoint is not resumed, and what to do: its length, its data, or settings of its recipe differ."""
    text, data = difference(state, key), _data(state) != _data(key)
    steps = re.fullmatch(r" \(steps (\d+), now \d+\)", text)
    if steps and not data:
        return (
            f"belongs to a run of another length{text}, which its rate follows; give --steps {steps[1]}, another --out "
            "or --no-resume"
        )
    kind = "other data" if data and not text else "another recipe"
    return f"belongs to {kind}{text}; give another --out or --no-resume"


def difference(state: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    """' (steps 2, now 4; options.rate 0.1, now 0.2)': up to three plain settings in which two recipes, kept as JSON,
    differ; '' where they cannot be read.
    """
    before, now = (_flat(_parts(values)[0]) for values in (state, key))
    changes = [f"{k} {before[k]}, now {now[k]}" for k in now if k in before and before[k] != now[k]]
    return f" ({'; '.join(change[:100] for change in changes[:3])})" if changes else ""


def _parts(values: Mapping[str, Any]) -> tuple[Any, Any]:
    """The recipe of a key, and what it says of the data; either may be None."""
    try:
        kept = json.loads(values["recipe"])
    except (KeyError, TypeError, ValueError):
        return None, None
    if isinstance(kept, list):  # a plan, and a digest of its data
        return kept[0], kept[1:]
    return kept, values.get("manifest")


def _data(values: Mapping[str, Any]) -> Any:
    return _parts(values)[1]


def _flat(recipe: Any, path: str = "") -> dict[str, Any]:
    """Nested settings by their names, as 'options.rate'."""
    if not isinstance(recipe, dict):
        return {path: recipe} if path else {}
    return {k: v for name, part in recipe.items() for k, v in _flat(part, f"{path}.{name}".lstrip(".")).items()}
