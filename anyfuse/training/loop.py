"""What every training loop needs around its steps: going on from a checkpoint to the bit, averaged losses in a log,
checkpoints that are whole.
"""

from __future__ import annotations

import json
import math
import os
import random
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


class Ema:
    """Exponential moving average of parameters and buffers, with a warm-up of its own."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (step + 1) / (step + 10))
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                self.shadow[key].lerp_(value, 1 - decay)
            else:
                self.shadow[key].copy_(value)


class PythonRandom:
    """Python's random numbers as a part of a run: `rng` resumes at the checkpoint."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def state_dict(self) -> dict[str, Any]:
        version, words, last = self.rng.getstate()
        return {"version": version, "words": list(words), "last": last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rng.setstate((state["version"], tuple(state["words"]), state["last"]))


def warm_cosine(lr: float, warmup: int, step: int, steps: int) -> float:
    """The rate of a step: linear warm-up times a cosine from `lr` to lr/50 over all `steps`."""
    warm = min(1.0, (step + 1) / max(1, warmup))
    return lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


class Stateful(Protocol):
    """A part of a run that a checkpoint keeps."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


class Loop:
    """Steps of a run in folder `out`: `for step in loop.steps(): ...; loop.record(step, losses)`.

    key: kept in the checkpoint, and must be there again to go on from it; same: says so instead, of a checkpoint.
    parts: model, optimiser or strategy, by name. log_every: steps between lines of log.jsonl, which hold running means
    (0.98) of what `record` is given.
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
        self.first, spent, self.last = 0, 0.0, out / "last.pt"
        if resume and self.last.exists():
            state = torch.load(self.last, map_location=device, weights_only=True)
            if not (same(state) if same else all(state[name] == value for name, value in key.items())):
                raise FusionError(
                    f"{self.last}: belongs to another recipe or other data{difference(state, key)}; give another "
                    "--out or --no-resume"
                )
            for name, part in parts.items():
                part.load_state_dict(state[name])
            if ema is not None:
                ema.shadow = state["ema"]
            if gen is not None:
                gen.set_state(state["generator"].cpu())
            if "random" in state:  # drop path draws from the global generators
                torch.set_rng_state(state["random"].cpu())
                if device.startswith("cuda"):
                    torch.cuda.set_rng_state(state["random_cuda"].cpu(), device)
            self.first, spent = state["step"], state["seconds"]
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
        with _interruptions() as asked:
            for step in range(self.first, self.total):
                yield step
                if asked:
                    self._save(step)
                    self.log(f"interrupted: step {step + 1} is in {self.last}, and the same command goes on")
                    raise KeyboardInterrupt

    def record(self, step: int, values: Mapping[str, Any], scores: Mapping[str, Any] | None = None) -> None:
        """After each step: its losses, of which `loss` is shown; scores: what goes into the log's line beside them, on
        steps that have one.
        """
        for name, number in values.items():
            value = float(number)
            self.means[name] = value if name not in self.means else 0.98 * self.means[name] + 0.02 * value
        done = step + 1 == self.total
        if (step + 1) % self.log_every == 0 or done:
            left = self.seconds / (step + 1) * (self.total - step - 1)
            self.log(
                f"step {step + 1}/{self.total}  loss {self.means['loss']:.4f}  {self.seconds:.0f} s, {left:.0f} s left"
            )
            line = {"step": step + 1, "seconds": round(self.seconds, 1), **self.means, **(scores or {})}
            with (self.out / "log.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
        if (step + 1) % self.save_every == 0 or done:
            self._save(step)

    def _save(self, step: int) -> None:
        state = {**self.key, **{name: part.state_dict() for name, part in self.parts.items()}}
        state |= {"step": step + 1, "seconds": self.seconds, "random": torch.get_rng_state()}
        if self.ema is not None:
            state["ema"] = self.ema.shadow
        if self.gen is not None:
            state["generator"] = self.gen.get_state()
        if self.device.startswith("cuda"):
            state["random_cuda"] = torch.cuda.get_rng_state(self.device)
        torch.save(state, self.last.with_suffix(".tmp"))
        os.replace(self.last.with_suffix(".tmp"), self.last)


@contextmanager
def _interruptions() -> Iterator[list[int]]:
    """A list that gets the number of each SIGINT or SIGTERM; a second one interrupts at once.

    Outside the main thread it stays empty.
    """
    asked: list[int] = []

    def note(number: int, _: object) -> None:
        asked.append(number)
        if len(asked) > 1:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def difference(state: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    """' (steps 2, now 4)': the first plain settings in which two recipes, kept as JSON, differ; '' where they
    cannot be read.
    """
    try:
        before, now = json.loads(state["recipe"]), json.loads(key["recipe"])
    except (KeyError, TypeError, ValueError):
        return ""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return ""
    changes = [f"{k} {before[k]}, now {now[k]}" for k in now if k in before and before[k] != now[k]]
    return f" ({changes[0][:100]})" if changes else ""
