"""Distillation of the tiny ViT from a teacher made here: it learns, resumes to the bit, keeps its pool."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import scene, to8

from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.models.unifusion.backbone import BACKBONES, Source, Vit, VitConfig, read_config, save_vit
from anyfuse.training.parts.backbone import DISTILLATIONS, Distillation, distil, linear_cka, tone
from anyfuse.training.recipes import override_fields

LITTLE = VitConfig(width=48, heads=3, depth=4)


@pytest.fixture(autouse=True)
def teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYFUSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(BACKBONES, "little-teacher", Source(LITTLE))
    monkeypatch.setitem(BACKBONES, "little-student", Source(LITTLE))
    vit = Vit(LITTLE)
    vit.initialise(7)
    save_vit(vit, tmp_path / "cache" / "little-teacher")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("distil")
    for index in range(4):
        write_image(root / "natural" / f"{index}.png", to8(scene(80, 96, index, channels=3)))
        write_image(root / "ivif" / "ir" / f"{index}.png", to8(scene(80, 96, 50 + index)))
    return root


def little(**changes: object) -> Distillation:
    recipe = replace(
        DISTILLATIONS["tiny-vit"],
        student="little-student",
        teacher="little-teacher",
        folders=("natural", "ivif/ir"),
        pool=16,
        held_out=4,
        crop=32,
        batch=4,
        steps=6,
        warmup=2,
    )
    return replace(recipe, **changes)  # type: ignore[arg-type]


def test_learns_and_writes_a_backbone(root: Path, tmp_path: Path) -> None:
    messages: list[str] = []
    out = distil(little(steps=30), root, tmp_path / "run", log=messages.append)
    assert read_config(out) == LITTLE
    card = (out / "README.md").read_text()
    assert "cosine_altered" in card
    assert "cka_plain" in card
    before = (out / "pool" / "maps.npy").stat().st_mtime_ns
    distil(little(steps=31), root, tmp_path / "run", resume=False, log=messages.append)
    assert (out / "pool" / "maps.npy").stat().st_mtime_ns == before, "the pool was made again"


def test_stop_and_resume_equal_one_run(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = distil(little(), root, tmp_path / "whole", log=lambda s: None)
    save = torch.save

    def save_and_stop(state: dict[str, object], path: Path) -> None:
        save(state, path)
        path.replace(path.with_name("last.pt"))
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        distil(little(), root, tmp_path / "parts", save_every=3, log=lambda s: None)
    monkeypatch.setattr(torch, "save", save)
    messages: list[str] = []
    parts = distil(little(), root, tmp_path / "parts", log=messages.append)
    assert "resumed at step 3" in messages
    assert (whole / "model.safetensors").read_bytes() == (parts / "model.safetensors").read_bytes()
    with pytest.raises(FusionError, match="another recipe"):
        distil(little(lr=1.0), root, tmp_path / "parts", log=lambda s: None)


def test_missing_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(FusionError, match="natural"):
        distil(little(), tmp_path, tmp_path / "run")


def test_settings() -> None:
    changed = override_fields(little(), ["crop=64", "lr=1e-3", "folders=natural,mef/over"])
    assert changed == little(crop=64, lr=1e-3, folders=("natural", "mef/over"))
    for setting, message in (("stepz=1", "did you mean steps"), ("crop=wide", "is no int"), ("crop", "KEY=VALUE")):
        with pytest.raises(FusionError, match=message):
            override_fields(little(), [setting])
    with pytest.raises(FusionError, match="unknown backbone 'dinov9'"):
        distil(little(teacher="dinov9"), Path("nowhere"), Path("nowhere"))


def test_tone_stays_in_range() -> None:
    image = torch.from_numpy(scene(40, 56, 0, channels=3)).float().movedim(-1, 0)
    gen = torch.Generator().manual_seed(0)
    for _ in range(40):
        other = tone(image, gen)
        assert other.shape == image.shape
        assert 0 <= other.min() <= other.max() <= 1


def test_cka() -> None:
    gen = torch.Generator().manual_seed(0)
    a = torch.randn((200, 8), generator=gen)
    turn = torch.linalg.qr(torch.randn((8, 8), generator=gen))[0]
    assert linear_cka(a, 3 * a @ turn + 1) == pytest.approx(1, abs=1e-4)
    assert linear_cka(a, torch.randn((200, 8), generator=gen)) < 0.2
