"""Reading from the middle of a file whose decoder complains, as H.264 does between key frames."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason='PyAV is not installed: pip install "anyfuse[video]"')

READ = """
import itertools, sys
from anyfuse.video.pyav import load_av
for start in (0.0, 0.1, 0.2, 0.3):
    for first in (True, False):
        container = load_av().open(sys.argv[1])
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "AUTO", 2
        if first:  # as a stream is opened, and then read
            list(itertools.islice(container.decode(stream), 3))
        else:
            container.seek(int(1e6 * start))
            print(sum(1 for frame in container.decode(stream) if frame.time > start - 1e-6))
        container.close()
"""


def test_complaints_of_a_decoder_block_nothing(tmp_path: Path) -> None:
    """Its threads once waited for Python while Python waited for them."""
    path = tmp_path / "moving.mp4"
    rows, columns = np.mgrid[0:62, 0:90]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 90, 62, "yuv420p"
        for k in range(12):
            grey = (128 + 90 * np.sin((columns + k) / 7) * np.cos(rows / 9)).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.repeat(grey[:, :, None], 3, 2), format="rgb24")))
        container.mux(stream.encode(None))
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["12", "9", "7", "4"], done.stderr[-2000:]
