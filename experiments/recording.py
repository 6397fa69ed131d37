"""A recording of the page as frames: from `pip install` to a fused picture in the browser.

    python experiments/recording.py FOLDER             a new environment, the commands and the browser
    python experiments/recording.py FOLDER --installed the same with the environment that runs this; no pip

It runs the commands of README.md and docs/serve.md, and writes FOLDER/frame-000.png and so on, with FOLDER/frames.csv:
file, seconds since the start, what is seen. Frames of commands show what these printed. Needs playwright, and chromium
in PATH or at $ANYFUSE_CHROMIUM.
"""

from __future__ import annotations

import csv
import html
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PAIR = ("examples/infrared/visible.jpg", "examples/infrared/thermal.png")
SIZE = {"width": 1280, "height": 900}
TERMINAL = """<body style="margin:0;background:#16181d;color:#d7dae0;font:15px/1.5 monospace">
<pre style="margin:24px;white-space:pre-wrap;overflow-wrap:anywhere">{}</pre></body>"""
POINTER = """([x, y]) => {
  let dot = document.getElementById('pointer');
  if (!dot) {
    dot = document.createElement('div');
    dot.id = 'pointer';
    Object.assign(dot.style, {position: 'fixed', width: '22px', height: '22px', borderRadius: '50%', zIndex: 99,
      background: '#e8590c99', border: '2px solid #fff', boxShadow: '0 0 4px #0008', pointerEvents: 'none'});
    (document.querySelector('dialog[open]') || document.body).append(dot);
  }
  Object.assign(dot.style, {left: x - 13 + 'px', top: y - 13 + 'px'});
}"""


class Recorder:
    """Frames in a folder, and their list."""

    def __init__(self, folder: Path, page: Page) -> None:
        self.folder, self.page, self.start = folder, page, time.monotonic()
        self.rows: list[tuple[str, str, str]] = []
        self.printed = ""

    def frame(self, what: str) -> None:
        """What the page shows now."""
        name = f"frame-{len(self.rows):03d}.png"
        self.page.screenshot(path=self.folder / name)
        self.rows.append((name, f"{time.monotonic() - self.start:.1f}", what))
        print(*self.rows[-1], flush=True)

    def terminal(self, line: str, what: str) -> None:
        """A frame of a terminal whose last line is new."""
        self.printed += line
        shown = "".join(self.printed.splitlines(keepends=True)[-34:])
        self.page.set_content(TERMINAL.format(html.escape(shown)))
        self.frame(what)

    def run(self, shown: str, command: list[str]) -> None:
        """A command in the terminal, with a frame before, during and after it."""
        self.terminal(f"$ {shown}\n", shown)
        begun = seen = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        waiting = ""
        for line in process.stdout:
            waiting += line if len(line) < 300 else line[:300] + "...\n"
            if time.monotonic() - seen > 8:
                self.terminal(waiting, f"{shown}, running")
                waiting, seen = "", time.monotonic()
        if process.wait():
            sys.exit(f"{shown} failed")
        seconds = time.monotonic() - begun
        self.terminal(f"{waiting}({seconds:.0f} s)\n", f"{shown}, after {seconds:.0f} s")

    def point(self, selector: str, down: float = 0.5, along: float = 0.5) -> tuple[float, float]:
        """Lays the pointer over a part of the page."""
        box = self.page.locator(selector).first.bounding_box()
        assert box is not None, selector
        x, y = box["x"] + along * box["width"], box["y"] + down * box["height"]
        self.page.mouse.move(x, y)
        self.page.evaluate(POINTER, [x, y])
        return x, y

    def click(self, selector: str, what: str, wait: int = 300) -> None:
        """A click that is seen."""
        self.point(selector)
        self.frame(f"pointer on {what}")
        self.page.locator(selector).first.click()
        self.page.wait_for_timeout(wait)
        self.frame(what)

    def save(self) -> None:
        """The list of frames."""
        with (self.folder / "frames.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("file", "seconds", "what"), *self.rows])


def installed(recorder: Recorder, scratch: Path) -> Path:
    """A new environment with the service; its folder of programs."""
    recorder.run("python -m venv .venv", [sys.executable, "-m", "venv", str(scratch)])
    pip = [str(scratch / "bin" / "pip"), "install", "-c", "constraints.txt", ".[serve]"]
    recorder.run('.venv/bin/pip install -c constraints.txt ".[serve]"', pip)
    return scratch / "bin"


def dropped(page: Page) -> None:
    """The two examples, dropped on the page."""
    data = page.evaluate_handle("() => new DataTransfer()")
    for name in PAIR:
        values = list((ROOT / name).read_bytes())
        add = "([data, name, values]) => data.items.add(new File([new Uint8Array(values)], name))"
        page.evaluate(add, [data, Path(name).name, values])
    page.dispatch_event("#viewer", "drop", {"dataTransfer": data})


def fused(recorder: Recorder) -> None:
    """Drops two images, and fuses them."""
    page = recorder.page
    recorder.frame("the page")
    recorder.point("#viewer")
    dropped(page)
    page.wait_for_selector("#thumbs li:nth-child(2)")
    recorder.frame("two files are dropped")
    page.wait_for_selector("#fuse:not([disabled])", timeout=60_000)
    page.wait_for_timeout(300)
    recorder.frame("the images are read")
    recorder.point("#fuse")
    page.click("#fuse")
    for _ in range(60):
        page.wait_for_timeout(400)
        if page.locator("#facts").is_visible():
            break
        recorder.frame(f"fusing: {page.locator('#stage').inner_text()}")
    page.wait_for_selector("#facts:not([hidden])", timeout=120_000)
    page.wait_for_timeout(800)
    recorder.frame("the fused picture")


def looked_at(recorder: Recorder, folder: Path) -> None:
    """The slider, linked views at 1:1, weights, and the download."""
    page = recorder.page
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    for share in (0.35, 0.2, 0.5, 0.8):
        x = box["x"] + share * box["width"]
        page.mouse.move(x, middle, steps=4)
        page.evaluate(POINTER, [x, middle])
        page.wait_for_timeout(150)
        recorder.frame(f"the divider at {share:.0%}")
    page.mouse.up()
    recorder.click(".modes label:nth-of-type(2)", "side by side")
    recorder.click("#one", "one pixel of the image for one of the screen", 800)
    page.select_option("#overlay", index=2)
    page.wait_for_timeout(800)
    recorder.frame("the weights of the second image")
    with page.expect_download() as download:
        recorder.click("#download", "download")
    download.value.save_as(folder / download.value.suggested_filename)
    page.mouse.wheel(0, 2000)
    page.wait_for_timeout(400)
    recorder.frame("the facts below")


def browsed(recorder: Recorder, programs: Path, folder: Path) -> None:
    """The server and the page."""
    command = [str(programs / "python"), "-m", "anyfuse", "serve", "--port", "0"]
    recorder.terminal("$ .venv/bin/anyfuse serve\n", "anyfuse serve")
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    try:
        line = server.stdout.readline()
        recorder.terminal(line, "the server says where it is")
        recorder.page.goto(line.split()[-1])
        recorder.page.wait_for_timeout(300)
        fused(recorder)
        looked_at(recorder, folder)
    finally:
        server.terminate()
        server.wait(30)


def main() -> None:
    """Writes the frames."""
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    chromium = os.environ.get("ANYFUSE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    options: dict[str, Any] = {"executable_path": chromium, "args": ["--no-sandbox"]}
    with sync_playwright() as running, tempfile.TemporaryDirectory() as scratch:
        browser = running.chromium.launch(**options)
        recorder = Recorder(folder, browser.new_page(viewport=SIZE))
        try:
            programs = Path(sys.executable).parent if "--installed" in sys.argv else installed(recorder, Path(scratch))
            browsed(recorder, programs, folder)
        finally:
            recorder.save()
            browser.close()


if __name__ == "__main__":
    main()
