"""Compiles the C files here: `python -m anyfuse.native` in a clone; a wheel's build calls `build` (hatch_build.py).

Plain C for the compiler that CC names, or cc, gcc or clang. Nothing of the package is imported here, so that a build
needs neither torch nor numpy.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = tuple(HERE / f"{name}.c" for name in ("kernels", "windows", "restormer", "metrics"))
HEADERS = (HERE / "tiles.h",)
FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math")
LEVELS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (1, ()),
    (3, ("-mavx2", "-mfma", "-mbmi2", "-mtune=haswell")),
    (
        4,
        (
            *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"),
            *("-mtune=skylake-avx512", "-mprefer-vector-width=512"),
        ),
    ),
)
"""Kinds of x86 processors and the flags for them; others have the first alone. Only instructions that `anyfuse_level`
in kernels.c asks the processor for are named: -march would allow others, which a virtual machine may lack."""


def library_name() -> str:
    """File name of the compiled kernels."""
    return {"win32": "kernels.dll", "darwin": "kernels.dylib"}.get(sys.platform, "kernels.so")


def sources_hash() -> str:
    """sha256 of the sources; a library of others is not used."""
    return hashlib.sha256(b"".join(source.read_bytes() for source in SOURCES + HEADERS)).hexdigest()


def compiler() -> list[str] | None:
    """The command of a C compiler; None where there is none."""
    given = shlex.split(os.environ.get("CC", ""))
    if given:
        return given if shutil.which(given[0]) else None
    found = next((path for path in map(shutil.which, ("cc", "gcc", "clang")) if path), None)
    return [found] if found else None


def _compile(command: list[str], folder: Path, extra: tuple[str, ...]) -> str:
    """Makes the library in `folder`; '' or the compiler's first words on why not."""
    levels = LEVELS if platform.machine().lower() in ("x86_64", "amd64") else LEVELS[:1]
    objects: list[str] = []
    for level, flags in reversed(levels):
        known: tuple[str, ...] = (f'-DSOURCES="{sources_hash()}"', f"-DLEVEL={level}")
        if level == 1 and objects:
            known += (f"-DMOST_LEVEL={len(objects) // len(SOURCES) + 2}",)
        made = [str(folder / f"{source.stem}{level}.o") for source in SOURCES]
        errors = [
            _run([*command, *FLAGS, *extra, *flags, *known, "-c", str(source), "-o", name])
            for source, name in zip(SOURCES, made, strict=True)
        ]
        error = next(filter(None, errors), "")
        if not error:
            objects += made
        elif level == 1:
            return error
        else:
            objects.clear()  # a compiler that lacks one of the newer kinds may have the older one
    return _run([*command, *extra, "-shared", *objects, "-o", str(folder / library_name()), "-lm"])


def _run(command: list[str]) -> str:
    """'' or the first line that a compiler wrote when it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as reason:
        return str(reason) or type(reason).__name__
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]


def build(folder: Path = HERE) -> tuple[Path | None, str]:
    """Compiles the kernels into `folder`, with OpenMP where the compiler has it.

    Returns:
        The library and a word on how it was made; None and why not, where it was not.
    """
    command = compiler()
    if command is None:
        return None, "no C compiler was found"
    target, error = folder / library_name(), ""
    for extra in (("-fopenmp",), ()):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            error = _compile(command, Path(place), extra)
            if not error:
                os.replace(Path(place) / target.name, target)
                return target, "with OpenMP" if extra else "without OpenMP"
    return None, f"{command[0]} failed: {error}"


def main() -> int:
    """Builds in place and says how it went."""
    path, how = build()
    print(f"{path}: built {how}" if path else f"not built: {how}; anyfuse works without it, more slowly")
    return 0 if path else 1
