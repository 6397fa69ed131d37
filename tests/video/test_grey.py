"""Grey streams that are stored in colour: their luma is the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

av = pytest.importorskip("av", reason='PyAV is not installed: pip install "anyfuse[video]"')

from scene import write_video  # noqa: E402

from anyfuse.video.pyav import exactly  # noqa: E402
from anyfuse.video.sources import open_source  # noqa: E402


@pytest.mark.parametrize(("name", "levels"), [("yuv420p", 1), ("yuv420p", 2), ("yuvj420p", 0), ("yuv444p", 1)])
def test_a_grey_stream_equals_its_colour_conversion(name: str, levels: int, tmp_path: Path) -> None:
    """levels: the range, 1 of video, 2 of images, 0 not said. The width is no multiple of a row's padding."""
    ramp = np.linspace(0, 255, 62 * 90).reshape(62, 90).astype(np.uint8)
    colour = np.repeat(ramp[:, :, None], 3, 2)
    path = str(tmp_path / "grey.mp4")
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 90, 62, name
        stream.codec_context.color_range = levels
        stream.options = {"crf": "0", "preset": "ultrafast"}
        for k in range(4):
            frame = av.VideoFrame.from_ndarray(np.roll(colour, k, 1), format="rgb24")
            container.mux(stream.encode(frame.reformat(format=name, dst_color_range="JPEG" if levels != 1 else "MPEG")))
        container.mux(stream.encode(None))
    source = open_source(path)
    assert source.channels == 1
    with av.open(path) as container:
        expected = [
            f.reformat(format="rgb24", interpolation=exactly("read")).to_ndarray()[:, :, 1]
            for f in container.decode(video=0)
        ]
    read = [picture.pixels[:, :, 0] for picture in source.pictures()]
    source.close()
    assert len(read) == len(expected) == 4
    worst = max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(read, expected, strict=True))
    assert worst <= 1
    assert np.abs(read[0].astype(int) - ramp).max() <= 2  # black stays black, and white white


@pytest.mark.parametrize("dark", [1, 3, 10])
def test_a_colour_stream_that_begins_black_stays_in_colour(dark: int, tmp_path: Path) -> None:
    frames = np.zeros((24, 48, 64, 3), np.uint8)
    frames[dark:] = (200, 90, 30)
    path = write_video(tmp_path / "fades.mkv", frames)
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number}.png")
    for source in (open_source(path), open_source(str(folder))):
        assert source.channels == 3
        assert next(source.pictures(0.9)).pixels.shape == (48, 64, 3)
        source.close()
