"""PyAV, loaded when a stream is opened and not before."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ..errors import FusionError


def load_av() -> ModuleType:
    """PyAV; FusionError with the remedy where it is not installed."""
    try:
        import av
        import av.logging
    except ImportError:
        raise FusionError('video needs PyAV: pip install "anyfuse[video]"') from None
    av.logging.set_level(None)  # a callback of Python blocks in the threads of decoders
    return av


def exactly(chroma: str) -> Any:
    """How swscale converts without a cast: its quick way is off by a level. Older versions of PyAV have that alone.

    chroma: 'read', to RGB, or 'write', from it.
    """
    from av.video.reformatter import Interpolation

    if not hasattr(Interpolation, "ACCURATE_RND"):
        return Interpolation.BICUBIC
    full = Interpolation.FULL_CHR_H_INT if chroma == "read" else Interpolation.FULL_CHR_H_INP
    return Interpolation.BICUBIC | Interpolation.ACCURATE_RND | full


def reason(error: Any) -> str:
    """What an error of PyAV says, in one line."""
    return str(getattr(error, "strerror", None) or error).partition("\n")[0]
