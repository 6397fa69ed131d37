"""Fuser and its results: nothing of one call stays for the next, and the caller's objects stay as they are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.test_cli import run
from conftest import scene, to8
from PIL import Image

from anyfuse import Fuser, FusionError
from anyfuse.control import Control
from anyfuse.degradation import gate
from anyfuse.degradation.gate import Shares
from anyfuse.models.mmaif.instruction import WIDTH
from anyfuse.models.mmaif.mmaif import MMAIF, MMAIFConfig
from anyfuse.models.registry import load_model
from anyfuse.result import Outputs

SMALL = MMAIFConfig(width=32, layers=2, heads=2, hidden=16, rank=4, table=4, text=WIDTH, guide=4, random_codec=True)


def follows_words() -> MMAIF:
    torch.manual_seed(0)
    model = MMAIF(SMALL).eval()
    for p in model.dit.parameters():
        torch.nn.init.normal_(p, 0, 0.1)
    return model


def pair() -> list[np.ndarray]:
    return [to8(scene(48, 64, seed)) for seed in range(2)]


@pytest.fixture
def ungated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network that was never trained nothing would be taken."""
    monkeypatch.setattr(gate, "harmless", lambda sources, default, result, *wish: (result, Shares(1.0, 1.0)))


@pytest.mark.usefixtures("ungated")
def test_two_fusers_of_one_model_in_two_threads_give_their_own_pictures() -> None:
    model = follows_words()
    asked = ["remove strong noise from both images", "remove strong haze from both images"]
    alone = [Fuser(model).run(pair(), say=text).pixels for text in asked]
    assert not np.array_equal(*alone)
    fusers = [Fuser(model), Fuser(model)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            jobs = [pool.submit(f.run, pair(), say=text) for f, text in zip(fusers, asked, strict=True)]
            for job, expected in zip(jobs, alone, strict=True):
                assert np.array_equal(job.result().pixels, expected)


@pytest.mark.usefixtures("ungated")
def test_one_fuser_in_two_threads() -> None:
    fuser = Fuser(follows_words())
    asked = ["remove strong noise from both images", "remove strong haze from both images"]
    alone = [fuser.run(pair(), say=text).pixels for text in asked]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(fuser.run, pair(), say=asked[k % 2]) for k in range(20)]
        for k, job in enumerate(jobs):
            assert np.array_equal(job.result().pixels, alone[k % 2])


@torch.inference_mode()
@pytest.mark.usefixtures("ungated")
def test_an_instruction_leaves_nothing_in_the_model() -> None:
    model = follows_words()
    sources = torch.rand(1, 2, 1, 48, 64)
    before = model(sources)
    condition = model.condition(Control(degradations={"haze": 1.0}), range(2))
    assert not torch.equal(model(sources, condition), before)
    Fuser(model).run(pair(), say="remove the haze")
    assert torch.equal(model(sources), before)


def test_a_given_model_stays_as_it_is() -> None:
    model = load_model("anyfuse").train()
    model.to(torch.float64)
    strides = [p.stride() for p in model.parameters()]
    Fuser(model)(pair())
    assert model.training
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert [p.stride() for p in model.parameters()] == strides
    assert all(p.requires_grad for p in model.parameters())


def test_saving_does_not_change_the_report(tmp_path: Path) -> None:
    result = Fuser("average").run([np.stack([x] * 3, 2) * np.uint16(257) for x in pair()])
    before = result.report
    first = result.save(tmp_path / "a.jpg")
    assert first  # JPEG has 8 bits
    assert result.save(tmp_path / "a.jpg", overwrite=True) == first
    result.report["warnings"].append("mine")
    assert result.report == before


def test_explaining_nothing_is_refused_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index, image in enumerate(pair()):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    files = [tmp_path / "0.png", tmp_path / "1.png"]
    options = ["-o", tmp_path / "f.png", "--model", "ditfuse", "--explain", tmp_path / "why"]
    code, _, err = run(capsys, "fuse", *files, *options)
    assert code == 2
    assert "highlight the cars" in err
    assert not (tmp_path / "f.png").exists()
    code, _, _ = run(capsys, "fuse", *files, *options, "--say", "highlight the cars")
    assert code == 0
    assert (tmp_path / "why" / "explain.json").exists()
    assert (tmp_path / "f.png").exists()


def test_an_image_is_written_although_a_map_cannot_be(tmp_path: Path) -> None:
    result = Fuser("maximum").run(pair())
    outputs = Outputs(str(tmp_path / "f.png"), explain=str(tmp_path / "why"))
    with pytest.raises(FusionError, match=r"no explanation.*f\.png is written"):
        outputs.write(result)
    assert (tmp_path / "f.png").exists()
