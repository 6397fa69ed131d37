"""A model goes onto the hub with its card, and comes back; the hub itself is replaced by a folder."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from conftest import scene, to8

from anyfuse import Fuser, FusionError
from anyfuse import hub as hub_module
from anyfuse.cli import main
from anyfuse.hub import card, push_to_hub
from anyfuse.models.registry import load_model


class Hub:
    """What huggingface_hub would do on the network."""

    def __init__(self, root: Path) -> None:
        self.root, self.calls = root, []  # type: ignore[var-annotated]

    def create_repo(self, hub_id: str, private: bool, exist_ok: bool) -> None:
        self.calls.append((hub_id, private, exist_ok))

    def create_commit(self, hub_id: str, operations: Any, commit_message: str) -> Any:
        folder = self.root / hub_id
        folder.mkdir(parents=True)
        for operation in operations:
            with operation.as_file() as file:
                (folder / operation.path_in_repo).write_bytes(file.read())
        return SimpleNamespace(commit_url=f"https://hub/{hub_id}/commit/1")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, allow_patterns: str(hub.root / name))
    return hub


def test_a_model_comes_back_as_it_was(hub: Hub) -> None:
    model = load_model("anyfuse")
    assert push_to_hub(model, "someone/mine", private=True) == "https://hub/someone/mine/commit/1"
    assert hub.calls == [("someone/mine", True, True)]
    folder = hub.root / "someone" / "mine"
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    images = [to8(scene(48, 64, seed=k)) for k in range(2)]
    a, b = (Fuser(m).run(images, align="none").pixels for m in ("anyfuse", "someone/mine"))
    assert np.array_equal(a, b)
    text = (folder / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: anyfuse\nlicense: apache-2.0\n")
    assert 'Fuser("someone/mine")' in text


def test_a_run_keeps_its_card_and_nothing_else_is_uploaded(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    load_model("anyfuse").save_pretrained(run)
    (run / "README.md").write_text("# mine\n\nTrained on private things.\n")
    (run / "last.pt").write_bytes(b"big")
    (run / "log.jsonl").write_text("{}\n")
    with pytest.raises(SystemExit) as caught:
        main(["push", str(run), "someone/run", "--licence", "cc-by-4.0"])
    assert not caught.value.code
    assert capsys.readouterr().out == "https://hub/someone/run/commit/1\n"
    folder = hub.root / "someone" / "run"
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    text = (folder / "README.md").read_text()
    assert "license: cc-by-4.0" in text
    assert "Trained on private things." in text
    assert (run / "README.md").read_text() == "# mine\n\nTrained on private things.\n"
    assert json.loads((folder / "config.json").read_text())["system"] == "Anyfuse"


def test_refusals_are_one_line(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FusionError, match="owner/name"):
        push_to_hub(load_model("average"), "mine")
    with pytest.raises(FusionError, match="not the folder of a model"):
        push_to_hub(tmp_path, "someone/mine")

    def refuse(*given: object, **options: object) -> None:
        raise huggingface_hub.errors.HfHubHTTPError(
            "401 Client Error\nmore", response=SimpleNamespace(headers={}, request=None)
        )  # type: ignore[arg-type]

    monkeypatch.setattr(hub, "create_repo", refuse)
    with pytest.raises(FusionError, match=r"did not take the model \(401 Client Error\); `hf auth login`"):
        push_to_hub(load_model("anyfuse"), "someone/mine")


def test_a_transport_that_fails_is_one_line(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    class ConnectError(Exception):
        """As httpx has it: of no class that huggingface_hub names."""

    def fails(*given: object, **options: object) -> None:
        raise ConnectError("no route")

    monkeypatch.setattr(hub, "create_repo", fails)
    with pytest.raises(FusionError, match=r"did not take the model \(no route\)"):
        push_to_hub(load_model("anyfuse"), "someone/mine")


def test_a_model_without_configuration_or_weights_is_not_uploaded(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model("anyfuse")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    monkeypatch.setattr(hub_module, "from_pretrained", lambda folder: model)
    with pytest.raises(FusionError, match=r"has no model.safetensors"):
        push_to_hub(tmp_path / "run", "someone/mine")
    model.config = None
    assert "```json\n{}\n```" in card(model, "someone/mine")
    with pytest.raises(FusionError, match="has no configuration"):
        push_to_hub(model, "someone/mine")
