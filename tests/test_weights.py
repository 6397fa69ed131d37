"""Models are saved whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from anyfuse import weights
from anyfuse.errors import FusionError
from anyfuse.models.registry import load_model
from anyfuse.weights import save_folder


def test_nothing_else_is_left(tmp_path: Path) -> None:
    (tmp_path / "m" / ".saving-old").mkdir(parents=True)
    load_model("anyfuse").save_pretrained(tmp_path / "m")
    assert sorted(os.listdir(tmp_path / "m")) == ["config.json", "model.safetensors"]
    assert load_model(tmp_path / "m").config == load_model("anyfuse").config


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("at", [0, 1])
def test_a_run_that_is_cut_off_leaves_no_mixture(
    same: bool, at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_folder(tmp_path, {"a": 1}, {"w": torch.zeros(3)})
    calls, real = [], os.replace

    def stop(*names: Any) -> None:
        calls.append(names)
        if len(calls) > at:
            raise KeyboardInterrupt
        real(*names)

    monkeypatch.setattr(weights.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        save_folder(tmp_path, {"a": 1 if same else 2}, {"w": torch.ones(3)})
    assert (tmp_path / "config.json").exists() == same, "another configuration does not fit the weights"
    assert not list(tmp_path.glob(".saving-*"))


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FusionError, match="cannot be written") as caught:
        save_folder(tmp_path / "file", {}, {})
    assert "\n" not in str(caught.value)
