"""What every training loop needs: going on to the bit, whole checkpoints, running means, interruptions."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from anyfuse.errors import FusionError
from anyfuse.training.loop import Ema, Loop, PythonRandom, difference, refusal, warm_cosine


def loop(out: Path, steps: int, key: str = "a", save_every: int = 2, ema: bool = True) -> tuple[Loop, torch.nn.Linear]:
    out.mkdir(exist_ok=True)
    torch.manual_seed(0)
    layer = torch.nn.Linear(2, 1)
    gen = torch.Generator().manual_seed(3)
    made = Loop(
        out,
        {"recipe": key},
        {"model": layer, "draws": PythonRandom(5)},
        Ema(layer, 0.9) if ema else None,
        gen if ema else None,
        steps=steps,
        resume=True,
        save_every=save_every,
        log_every=3,
        log=lambda line: None,
    )
    return made, layer


def run(made: Loop, layer: torch.nn.Linear, stop: int = 99) -> list[float]:
    """Adds random numbers of all three sources to the weights; returns what was drawn."""
    drawn = []
    for step in made.steps():
        if step == stop:
            break
        rng = made.parts["draws"]
        assert isinstance(rng, PythonRandom)
        value = rng.rng.random() + float(torch.rand(())) + float(torch.rand((), generator=made.gen))
        drawn.append(value)
        with torch.no_grad():
            layer.weight.add_(value)
        if made.ema is not None:
            made.ema.update(layer, step)
        made.record(step, {"loss": value, "other": float(step)})
    return drawn


def test_goes_on_to_the_bit(tmp_path: Path) -> None:
    whole, layer = loop(tmp_path / "whole", 9)
    drawn = run(whole, layer)
    first, other = loop(tmp_path / "parts", 9)
    before = run(first, other, stop=5)  # saved at steps 2 and 4
    torch.manual_seed(123)
    second, other = loop(tmp_path / "parts", 9)
    assert second.first == 4
    after = run(second, other)
    assert before[:4] + after == drawn
    assert torch.equal(layer.weight, other.weight)
    assert whole.ema is not None
    assert second.ema is not None
    assert torch.equal(whole.ema.shadow["weight"], second.ema.shadow["weight"])


def test_log_holds_running_means(tmp_path: Path) -> None:
    made, layer = loop(tmp_path, 7)
    drawn = run(made, layer)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6, 7]
    mean = drawn[0]
    for value in drawn[1:]:
        mean = 0.98 * mean + 0.02 * value
    assert lines[-1]["loss"] == pytest.approx(mean)


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    run(*loop(tmp_path, 4))
    with pytest.raises(FusionError, match="belongs to another recipe"):
        loop(tmp_path, 4, key="b")
    assert difference({"recipe": '{"lr": 1}'}, {"recipe": '{"lr": 2}'}) == " (lr 1, now 2)"
    one = '{"lr": 1, "steps": 3, "options": {"rate": 1, "old": 1}}'
    two = one.replace('"rate": 1', '"rate": 2')
    assert difference({"recipe": one}, {"recipe": two}) == " (options.rate 1, now 2)"
    assert refusal({"recipe": one}, {"recipe": two}).startswith(
        "belongs to another recipe (options.rate 1, now 2); give"
    )
    longer = one.replace("3", "4")
    text = refusal({"recipe": one}, {"recipe": longer})
    assert "another length (steps 3, now 4)" in text
    assert "give --steps 3, another --out or --no-resume" in text
    other = "belongs to other data; give another --out or --no-resume"
    assert refusal({"recipe": one, "manifest": "a"}, {"recipe": one, "manifest": "b"}) == other
    listed = [{"recipe": f'[{one}, "{digest}"]'} for digest in "ab"]
    assert refusal(listed[0], listed[1]) == other
    assert difference({"recipe": "x"}, {"recipe": "y"}) == ""


def test_an_interruption_ends_the_step_and_saves(tmp_path: Path) -> None:
    made, _ = loop(tmp_path, 50, save_every=1000)
    done: list[int] = []

    def all_steps() -> None:
        for step in made.steps():
            if step == 3:
                os.kill(os.getpid(), signal.SIGINT)
            done.append(step)
            made.record(step, {"loss": 0.0})

    with pytest.raises(KeyboardInterrupt):
        all_steps()
    assert done == [0, 1, 2, 3]
    assert loop(tmp_path, 50)[0].first == 4


def test_without_average_and_generator(tmp_path: Path) -> None:
    run(*loop(tmp_path, 5, ema=False), stop=3)
    again, layer = loop(tmp_path, 5, ema=False)
    assert again.first == 2
    assert len(run(again, layer)) == 3


def test_warm_cosine() -> None:
    rates = [warm_cosine(1.0, 10, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) <= 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.02, abs=0.001)
