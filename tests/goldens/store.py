"""Stored values of today's behaviour, and how a new value is compared with them.

`pytest tests/goldens --update-goldens` rewrites every stored value: use it only for a change of behaviour on purpose.
`pytest tests/goldens --add-goldens` adds this processor's hashes to the others, if all values agree within tolerances.

    plain/NAME.json      values that no processor changes, as names, signatures and recipes; compared exactly everywhere
    measured/NAME.json   numbers that were computed
    measured/NAME.npz    a sample of each computed array
    hashes.json          environment -> NAME -> sha256 of each whole computed value
    inputs.npz           64x80 crops of the images in examples/; never rewritten

An environment is what decides the last bits of float32 arithmetic on one thread: the version of torch, the instruction
sets that ATen and oneDNN choose, and the processor, since MKL and oneDNN choose kernels and block sizes by its model
and its caches. Where hashes.json has this environment, a computed value must be equal to the bit. Anywhere else it must
agree with the sample within the tolerance of the subject. A run says at its end which comparison it used.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
SAMPLE = 1200
"""Values of an array that are stored."""
used: dict[str, str] = {}
"""Subject -> which comparison a run has used, for its last lines."""

Value = Any
"""A numpy array, or numbers and texts in dicts and lists."""


@dataclass(frozen=True)
class Tolerance:
    """How far a computed value may be from the stored one on another processor.

    mean: mean absolute difference of an array. far, share: a share of values may differ by more than `far`. Differences
    are fractions of the range of integers, or of the root mean square of floats.
    numbers: largest relative difference of a number, and absolute one of numbers below 1. norms: the same of numbers
    named 'norm', those of gradients.
    """

    mean: float = 1 / 255 / 16
    far: float = 1.5 / 255
    share: float = 0.01
    numbers: float = 2e-3
    norms: float = 2e-3


TRAINING = Tolerance(mean=0.02, far=0.1, share=0.01, numbers=5e-3, norms=0.1)
"""Of three steps.

Adam's first steps go by the signs of the gradients, and a gradient near zero has either sign. So a weight may be off by
up to 2 x steps x rate = 9e-3, a tenth of what weights are. Where two sources tie, the largest is either of them, and
the norm of the gradients follows.
"""


def instruction_set() -> str:
    """The best instruction set of the processor that oneDNN has kernels for, and its limit where one is set."""
    try:
        line = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        line = None
    flags = line[1].split() if line else []
    known = ("amx_fp16", "amx_bf16", "avx512_fp16", "avx512_bf16", "avx512_vnni", "avx512bw", "avx_vnni", "avx2", "avx")
    best = next((name for name in known if name in flags), "unknown")
    limits = [
        os.environ.get(name, "") for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
    ]
    return " below ".join([best, *filter(None, limits)])


def processor() -> str:
    """Vendor, family, model and size of the second cache; '' where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        names = ("vendor_id", "cpu family", "model")
        parts = [re.search(rf"^{name}\s*:\s*(\S+)$", text, re.M)[1] for name in names]  # type: ignore[index]
        cache = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
        return "-".join([*parts, *([cache.read_text().strip()] if cache.exists() else [])])
    except (OSError, TypeError):
        return ""


@functools.cache
def environment() -> str:
    """What decides the last bits, in words."""
    version = torch.__version__.partition("+")[0]
    return f"torch-{version} {torch.backends.cpu.get_cpu_capability()} onednn-{instruction_set()} {processor()}".strip()


def hash_of(value: Value) -> str:
    """Of every byte of an array, its shape and kind; of numbers, of all their digits."""
    if isinstance(value, np.ndarray):
        head = f"{value.dtype.str} {value.shape} ".encode()
        return hashlib.sha256(head + np.ascontiguousarray(value).tobytes()).hexdigest()[:24]
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def sample(value: np.ndarray) -> np.ndarray:
    """At most SAMPLE values, evenly spread over the flat array."""
    flat = value.ravel()
    return flat[:: max(1, math.ceil(flat.size / SAMPLE))]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def write_json(path: Path, value: Any) -> None:
    """Two levels one entry a line, what lies deeper on that line: short files with readable differences."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_text(value, 2) + "\n")


def _text(value: Any, depth: int) -> str:
    if depth and isinstance(value, dict) and value:
        return "{\n" + ",\n".join(f"{json.dumps(k)}: {_text(v, depth - 1)}" for k, v in value.items()) + "\n}"
    if depth and isinstance(value, list) and value:
        return "[\n" + ",\n".join(_text(v, depth - 1) for v in value) + "\n]"
    return json.dumps(value, ensure_ascii=False)


def inputs() -> dict[str, np.ndarray]:
    """Crops (64, 80) or (64, 80, 3) uint8 by name."""
    with np.load(HERE / "inputs.npz") as file:
        return {name: file[name] for name in file.files}


def plain(value: Any) -> Any:
    """The value as JSON gives it back: tuples are lists, keys are texts."""
    return json.loads(json.dumps(value))


def check_plain(name: str, value: Any, update: bool) -> list[str]:
    """What differs from the stored value, in words; with `update` the value is stored."""
    path = HERE / "plain" / f"{name}.json"
    if update:
        write_json(path, plain(value))
    used[name] = "exactly, the same on every processor"
    return differences(plain(value), read_json(path), None)


def check_measured(
    name: str, values: Mapping[str, Value], tolerance: Tolerance, update: bool = False, add: bool = False
) -> list[str]:
    """As `check_plain`, for computed values by name; `used` says which comparison it was."""
    values = {key: v if isinstance(v, np.ndarray) else plain(v) for key, v in values.items()}
    hashes = {key: hash_of(value) for key, value in values.items()}
    if update:
        _store(name, values, hashes)
    stored = (read_json(HERE / "hashes.json") or {}).get(environment(), {}).get(name)
    if stored is not None:
        used[name] = f"to the bit, as stored for {environment()}"
        wrong = [key for key in sorted(stored.keys() | hashes.keys()) if stored.get(key) != hashes.get(key)]
        near = _near(name, values, tolerance)
        return [
            f"{key}: not equal to the bit; {near.get(key, 'within the tolerances of other processors')}"
            for key in wrong
        ]
    used[name] = f"within tolerances, since nothing is stored for {environment()}"
    wrong = [f"{key}: {text}" for key, text in _near(name, values, tolerance).items()]
    if add and not wrong:
        _add(name, hashes)
    return wrong


def _load(name: str) -> dict[str, Value]:
    found: dict[str, Value] = dict(read_json(HERE / "measured" / f"{name}.json") or {})
    path = HERE / "measured" / f"{name}.npz"
    if path.exists():
        with np.load(path) as file:
            found |= {key: file[key] for key in file.files}
    return found


def _store(name: str, values: dict[str, Value], hashes: dict[str, str]) -> None:
    """Hashes of other environments stay where the values here are what they were, else they belong to the past."""
    numbers = {key: value for key, value in values.items() if not isinstance(value, np.ndarray)}
    arrays = {key: sample(value) for key, value in values.items() if isinstance(value, np.ndarray)}
    everything = read_json(HERE / "hashes.json") or {}
    if everything.get(environment(), {}).get(name) != hashes:
        everything = {where: {k: v for k, v in found.items() if k != name} for where, found in everything.items()}
    write_json(HERE / "hashes.json", everything)
    _add(name, hashes)
    for kind in ("json", "npz"):
        (HERE / "measured" / f"{name}.{kind}").unlink(missing_ok=True)
    (HERE / "measured").mkdir(exist_ok=True)
    if numbers:
        write_json(HERE / "measured" / f"{name}.json", numbers)
    if arrays:
        np.savez_compressed(HERE / "measured" / f"{name}.npz", **arrays)  # type: ignore[arg-type]


def _add(name: str, hashes: dict[str, str]) -> None:
    everything = read_json(HERE / "hashes.json") or {}
    everything.setdefault(environment(), {})[name] = hashes
    write_json(
        HERE / "hashes.json", {where: dict(sorted(found.items())) for where, found in sorted(everything.items())}
    )


def _near(name: str, values: dict[str, Value], tolerance: Tolerance) -> dict[str, str]:
    """Key -> what is outside of the tolerance."""
    stored, found = _load(name), {}
    for key in sorted(stored.keys() | values.keys()):
        if key not in stored or key not in values:
            found[key] = "is not stored" if key in values else "is stored, and was not computed"
        elif isinstance(values[key], np.ndarray) != isinstance(stored[key], np.ndarray):
            found[key] = "is of another kind"
        elif isinstance(values[key], np.ndarray):
            text = _array_difference(sample(values[key]), stored[key], tolerance)
            found |= {key: text} if text else {}
        else:
            wrong = differences(values[key], stored[key], tolerance)
            found |= {key: "; ".join(wrong[:3])} if wrong else {}
    return found


def _array_difference(now: np.ndarray, stored: np.ndarray, tolerance: Tolerance) -> str:
    if now.shape != stored.shape or now.dtype != stored.dtype:
        return f"{now.dtype} {now.shape} and not {stored.dtype} {stored.shape}"
    a, b = now.astype(np.float64), stored.astype(np.float64)
    whole = float(np.iinfo(now.dtype).max) if now.dtype.kind in "iu" else 1.0
    if now.dtype.kind == "f":
        whole = max(1e-12, float(np.sqrt(np.square(b).mean())))
    gap = np.abs(a - b) / whole
    mean, share = float(gap.mean()), float((gap > tolerance.far).mean())
    if not (mean <= tolerance.mean and share <= tolerance.share):
        limits = f"may be {tolerance.mean:.2e} and {tolerance.share:.2%}"
        return f"mean difference {mean:.2e}, {share:.2%} of values far off ({limits})"
    return ""


def differences(now: Any, stored: Any, tolerance: Tolerance | None, at: str = "") -> list[str]:
    """Places of nested values where they differ, in words; floats by more than the tolerance, None: at all."""
    if isinstance(now, dict) and isinstance(stored, dict):
        lost = [f"{at}/{k} is gone" for k in stored if k not in now]
        new = [f"{at}/{k} is new" for k in now if k not in stored]
        both = [text for k in stored if k in now for text in differences(now[k], stored[k], tolerance, f"{at}/{k}")]
        return lost + new + both
    if isinstance(now, list) and isinstance(stored, list) and len(now) == len(stored):
        return [
            t
            for k, (a, b) in enumerate(zip(now, stored, strict=True))
            for t in differences(a, b, tolerance, f"{at}/{k}")
        ]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (now, stored))
    if numbers and tolerance and isinstance(stored, float):
        limit = tolerance.norms if at.endswith("/norm") else tolerance.numbers
        close = abs(now - stored) <= limit * max(1.0, abs(stored)) or (math.isnan(now) and math.isnan(stored))
        return [] if close else [f"{at} is {now}, not {stored}"]
    return [] if now == stored else [f"{at} is {str(now)[:120]}, not {str(stored)[:120]}"]
