"""The page in a real browser: drop files, fuse, compare, download, cancel, errors; by mouse and by keyboard."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import scene, to8, to16
from PIL import Image
from serve_tools import Process, noise

from anyfuse.io.write import write_image

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("ANYFUSE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
SHOTS = os.environ.get("ANYFUSE_SCREENSHOTS")
"""Where pictures of the page go, for people to look at; unset: nowhere."""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as running:
        options = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}
        found = running.chromium.launch(**options)
        yield found
        found.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    one = Process(tmp_path_factory.mktemp("server"), "--max-files", "5")
    yield one
    assert "Traceback" not in one.stop()


@pytest.fixture
def visit(browser: Browser, server: Process) -> Iterator[Callable[..., Page]]:
    """Opens the page; no script may fail, and no request may go anywhere else."""
    opened: list[Any] = []
    wrong: list[str] = []

    def begin(width: int = 1280, height: int = 900, url: str | None = None, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: wrong.append(m.text) if "Security Policy" in m.text else None)
        own = re.compile(rf"^(blob:)?{re.escape((url or server.url).split('#')[0])}")
        page.on("request", lambda r: None if own.match(r.url) else wrong.append(r.url))
        page.goto(url or server.url)
        opened.append(context)
        return page

    yield begin
    for context in opened:
        context.close()
    assert not wrong


def shot(page: Page, name: str, full: bool = True) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=full)


def give(page: Page, *files: Path) -> None:
    page.set_input_files("#files", [str(f) for f in files])
    page.wait_for_selector(f"#thumbs li:nth-child({len(files)})")


def fuse(page: Page, *files: Path) -> None:
    give(page, *files)
    page.click("#fuse:not([disabled])", timeout=60_000)
    page.wait_for_selector("#facts:not([hidden])", timeout=60_000)
    page.wait_for_timeout(700)


def seen(page: Page) -> np.ndarray:
    """Pixels of the canvas."""
    return np.asarray(Image.open(io.BytesIO(page.locator("#canvas").screenshot())).convert("RGB")).astype(int)


PAIR = (EXAMPLES / "infrared" / "visible.jpg", EXAMPLES / "infrared" / "thermal.png")


def test_fuse_compare_download(visit: Callable[..., Page], tmp_path: Path) -> None:
    page = visit()
    shot(page, "empty")
    assert page.locator("#fuse").is_disabled()
    fuse(page, *PAIR)
    shot(page, "light")
    assert page.locator("#summary").inner_text().count("anyfuse") == 1
    assert page.locator("#metrics tbody tr").count() == 6
    assert page.locator("#histogram path").count() == 3

    whole = seen(page)
    page.locator("#divider").fill("0")
    page.wait_for_timeout(100)
    assert abs(seen(page)[:, : whole.shape[1] // 3] - whole[:, : whole.shape[1] // 3]).mean() > 5, "the other image"
    page.keyboard.press("Tab")
    page.locator("#canvas").focus()
    page.keyboard.press("1")
    page.wait_for_timeout(100)
    assert page.locator("#percent").inner_text() == "100 %"
    before = seen(page)
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(100)
    assert abs(seen(page) - before).mean() > 1, "it moved"
    page.keyboard.press("0")

    page.locator("input[value=side]").check(force=True)
    page.select_option("#overlay", index=2)
    page.wait_for_timeout(500)
    shot(page, "side", full=False)
    picture = seen(page)
    right = picture[:, picture.shape[1] // 2 + 4 :]
    assert right[..., 0].mean() > right[..., 2].mean() + 30, "the weights are a warm colour"
    page.select_option("#histogram-of", index=2)
    assert page.locator("#histogram path").count() == 1, "a grey input"

    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "fused.jpg")
    assert Image.open(tmp_path / "fused.jpg").size == (640, 432)
    assert page.locator("#history .past").count() == 1
    page.reload()
    page.wait_for_selector("#history .past")
    page.click("#history .open")
    page.wait_for_selector("#facts:not([hidden])")
    page.click("#history .gone")
    assert page.locator("#history .past").count() == 0


def test_drop(visit: Callable[..., Page]) -> None:
    """Files that are dropped anywhere on the page are taken."""
    page = visit()
    data = page.evaluate_handle("() => new DataTransfer()")
    for path in PAIR:
        page.evaluate(
            """([data, name, values]) => data.items.add(new File([new Uint8Array(values)], name))""",
            [data, path.name, list(path.read_bytes())],
        )
    page.dispatch_event("#viewer", "drop", {"dataTransfer": data})
    page.wait_for_selector("#fuse:not([disabled])", timeout=60_000)
    assert page.locator("#thumbs .name").all_inner_texts() == ["visible.jpg", "thermal.png"]
    page.click("#thumbs li:nth-child(1) button")
    assert page.locator("#fuse").is_disabled()


def test_dark_and_phone(visit: Callable[..., Page]) -> None:
    dark = visit(color_scheme="dark")
    fuse(dark, *sorted((EXAMPLES / "exposure").glob("*.jpg")))
    shot(dark, "dark")
    ground = dark.evaluate("() => getComputedStyle(document.documentElement).backgroundColor")
    assert max(map(int, re.findall(r"\d+", ground))) < 64
    phone = visit(390, 844, is_mobile=True, has_touch=True, device_scale_factor=2)
    fuse(phone, *PAIR)
    shot(phone, "phone")
    assert phone.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), (
        "nothing is wider than the screen"
    )


def test_sixteen_bit_and_errors(visit: Callable[..., Page], tmp_path: Path) -> None:
    """A 16-bit TIFF is seen; what is no image is named; an instruction is understood, or not."""
    page = visit()
    deep = [tmp_path / f"deep {k}.tif" for k in range(2)]
    for k, path in enumerate(deep):
        write_image(path, to16(scene(300, 400, k, 3)))
    wrong = tmp_path / "notes.txt"
    wrong.write_text("no picture")
    give(page, *deep, wrong)
    page.wait_for_selector("#thumbs li.bad", timeout=60_000)
    page.wait_for_selector("#fuse:not([disabled])", timeout=60_000)
    assert "notes.txt" in page.locator("#thumbs li.bad").inner_text()
    assert page.locator("#thumbs img").count() == 2
    assert "16 bit" in page.locator("#thumbs li").first.inner_text()
    page.fill("#say", "bake a cake")
    page.wait_for_selector("#understood.wrong")
    page.click("#fuse")
    page.wait_for_selector("#problem:not([hidden])")
    shot(page, "error", full=False)
    assert page.locator("#problem").get_attribute("role") == "alert"
    page.fill("#say", "brighter")
    page.wait_for_selector("#understood.ok")
    assert "LIGHT+" in page.locator("#understood").inner_text()
    page.fill("#say", "")
    page.click("#fuse")
    page.wait_for_selector("#facts:not([hidden])", timeout=60_000)
    assert "16 bit" in page.locator("#summary").inner_text()
    assert "fused.tif" in page.locator("#summary").inner_text()


def test_cancel(visit: Callable[..., Page], tmp_path: Path) -> None:
    page = visit()
    large = [tmp_path / f"{k}.png" for k in range(2)]
    for k, path in enumerate(large):
        Image.fromarray(noise(3000, 3000, k)).save(path, compress_level=0)
    give(page, *large)
    page.click("#fuse:not([disabled])", timeout=60_000)
    page.wait_for_selector("#cancel:not([hidden])")
    page.wait_for_timeout(800)
    shot(page, "progress", full=False)
    page.click("#cancel")
    page.wait_for_selector("#working", state="hidden", timeout=20_000)
    assert page.locator("#news").inner_text() == "Cancelled."
    assert page.locator("#facts").is_hidden()
    assert page.locator("#fuse").is_enabled()


def test_zoom_is_sharp(visit: Callable[..., Page], tmp_path: Path) -> None:
    """At 1:1 a picture larger than its preview is seen pixel by pixel."""
    page = visit()
    path = [tmp_path / "a.png", tmp_path / "b.png"]
    y, x = np.mgrid[0:2400, 0:3200]
    checks = ((x + y) % 2 * 255).astype(np.uint8)
    write_image(path[0], checks)
    write_image(path[1], np.roll(checks, 1, 0) // 2 + to8(scene(2400, 3200, 1)) // 4)
    page.select_option("#align", "none")
    fuse(page, *path)
    page.click("#one")
    page.wait_for_timeout(1500)
    left = seen(page)[200:240, 40:240, 0]
    assert np.abs(np.diff(left, axis=1)).mean() > 150, "single pixels, no grey"


def test_token_is_asked_for(visit: Callable[..., Page], start: Callable[..., Process]) -> None:
    closed = start("--token", "a-token-of-letters")
    page = visit(url=closed.url)
    page.wait_for_selector("#ask[open]")
    shot(page, "token", full=False)
    page.fill("#token", "a-token-of-letters")
    page.keyboard.press("Enter")
    fuse(page, *PAIR)
    with page.expect_download():
        page.click("#download")
    assert closed.process.poll() is None


def test_keyboard_alone(visit: Callable[..., Page]) -> None:
    """Everything has a name, and can be reached by Tab."""
    page = visit()
    fuse(page, *PAIR)
    names = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, a, canvas')]
        .filter(e => e.checkVisibility() && e.type !== 'hidden')
        .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length))
        .map(e => e.outerHTML)"""
    )
    assert names == []
    page.evaluate("() => document.body.focus()")
    reached = set()
    for _ in range(45):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.id"))
    assert {"files", "model", "align", "say", "fuse", "canvas", "divider", "left", "overlay", "download"} <= reached
