"""Video: infrared and visible streams, cameras, timelapses of brackets, fused picture by picture.

for fused in anyfuse.video.stream("visible.mp4", "thermal.mp4"):
    ...
"""

from __future__ import annotations

from .api import stream

__all__ = ["stream"]
