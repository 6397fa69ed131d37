"""What docs/serve.md says works, word for word."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from serve_tools import Process

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

from anyfuse.serve.request import FuseRequest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "serve.md").read_text()
ADDRESS = "http://127.0.0.1:8765"


def test_curl_and_python(start: Callable[..., Process], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    url = start().url.rstrip("/")
    for code in re.findall(r"```python\n(.+?)```", TEXT, re.DOTALL):
        exec(compile(code.replace(ADDRESS, url), "docs/serve.md", "exec"), {})
    assert {"brain.png", "weights-of-mri.png"} <= {path.name for path in tmp_path.iterdir()}
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    commands = re.findall(r"^    (curl .+)$", TEXT, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        words = shlex.split(command.replace(ADDRESS, url))
        out = subprocess.run([*words, "--silent", "--show-error", "--fail"], check=True, capture_output=True).stdout
        assert not out or json.loads(out)["state"] in ("queued", "running")
    assert (tmp_path / "fused.png").read_bytes().startswith(b"\x89PNG")


def test_options_and_limits_are_named() -> None:
    assert not [f.name for f in fields(FuseRequest) if f"`{f.name}" not in TEXT]
    code = (ROOT / "anyfuse" / "cli" / "serve.py").read_text()
    assert not [name for name in re.findall(r'"(--max-[a-z]+)"', code) if f"`{name}`" not in TEXT]
