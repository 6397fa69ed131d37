"""Make the example images again: `python examples/make_examples.py --room hdr_room.png [NAME ...]`, about half an hour.

Needs anyfuse with its `dev` extra (scikit-image brings brick, gravel, grass and a cat), and two downloads:

- `exposure`: hdr_room.png of the JPEG XL test data, from the Debian package libjxl-testdata:
  apt-get download libjxl-testdata && dpkg-deb -x libjxl-testdata_*.deb jxl
  then --room jxl/usr/share/libjxl-testdata/jxl/hdr_room.png
- `medical`: the MNI templates in the wheel of nilearn: pip install --no-deps nilearn

The result is deterministic for one set of library versions.  examples/README.md names the licences.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
from fractions import Fraction
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import scenes
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational
from render import Array, render
from scipy.ndimage import gaussian_filter, zoom

from anyfuse.io.write import write_image

HERE = Path(__file__).parent
SIZE = (640, 432)


def encode(light: Array) -> Array:
    """Linear light (H, W, 3), 1.0 is white -> sRGB uint8, clipped as a sensor clips."""
    light = light.clip(0.0, 1.0)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
    return np.rint(255.0 * curve).astype(np.uint8)


def sensor(light: Array, seed: int, shot: float, read: float) -> Array:
    """Light with noise: variance `shot` times the light, plus `read` squared."""
    noise = np.random.default_rng(seed).normal(size=light.shape)
    return light + noise * np.sqrt(shot * light.clip(0.0, 1.0) + read**2)


def save(name: str, pixels: Array, exif: bytes | None = None) -> None:
    path = HERE / name
    for note in write_image(path, pixels, exif=exif, quality=92, overwrite=True):
        print(note)
    print(f"{path.relative_to(HERE)}: {pixels.shape}, {path.stat().st_size / 1024:.0f} KiB")


def camera_exif(seconds: Fraction, aperture: float, distance: float | None = None) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 1
    exif[ExifTags.Base.Software] = "anyfuse examples/make_examples.py"
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    inner[ExifTags.Base.ExposureTime] = IFDRational(seconds.numerator, seconds.denominator)
    inner[ExifTags.Base.FNumber] = IFDRational(round(aperture * 10), 10)
    inner[ExifTags.Base.ISOSpeedRatings] = 100
    if distance:
        inner[ExifTags.Base.SubjectDistance] = IFDRational(round(distance * 1000), 1000)
    return exif.tobytes()[6:]


def exposure(room: Path) -> None:
    """Four exposures, 2 EV apart, of one HDR photograph: windows in the first, shadows in the last."""
    source = oiio.ImageInput.open(str(room))
    if source is None:
        raise SystemExit(f"{room}: cannot be read; see the top of this file for where to get it")
    signal = np.asarray(source.read_image(0, 0, 0, 3, "uint16"), np.float64) / 65535.0  # hybrid log-gamma, BT.2020
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    scene *= (scene @ np.array([0.2627, 0.678, 0.0593]))[:, :, None] ** 0.2  # the system gamma of HLG
    to_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
    scene = np.maximum(scene @ to_709.T, 0.0)
    for i, seconds in enumerate((Fraction(1, 250), Fraction(1, 60), Fraction(1, 15), Fraction(1, 4))):
        shot = sensor(scene * 0.6 * 4.0**i, i, shot=1.5e-4, read=1.2e-3)
        save(f"exposure/{i + 1}.jpg", encode(shot), camera_exif(seconds, 8.0))


def focus_pair(samples: int) -> None:
    scene, camera = scenes.table()
    for i, (name, distance) in enumerate((("near", 0.66), ("far", 1.58))):
        camera.focus = distance
        light, _ = render(scene, camera, *SIZE, samples, seed=i)
        save(
            f"focus_pair/{name}.jpg",
            encode(sensor(1.1 * light, i, 4e-5, 5e-4)),
            camera_exif(Fraction(1, 60), 2.0, distance),
        )


def focus_stack(samples: int) -> None:
    scene, camera = scenes.dice()
    for i, distance in enumerate((0.182, 0.233, 0.285, 0.339, 0.392)):
        camera.focus = distance
        light, _ = render(scene, camera, *SIZE, samples, seed=10 + i)
        save(
            f"focus_stack/{i + 1}.jpg",
            encode(sensor(light, i, 4e-5, 5e-4)),
            camera_exif(Fraction(1, 30), 2.8, distance),
        )


def infrared(samples: int) -> None:
    """The same street in visible light, dark and noisy, and as a thermal camera would show it, white hot."""
    scene, camera = scenes.street()
    light, heat = render(scene, camera, *SIZE, samples, seed=20)
    save("infrared/visible.jpg", encode(sensor(1.4 * light, 1, shot=2e-4, read=1.6e-3)))
    rng = np.random.default_rng(2)
    heat = gaussian_filter(heat, 0.9) + rng.normal(0, 0.25, heat.shape) + rng.normal(0, 0.1, (1, heat.shape[1]))
    heat = np.where(heat < 0, heat * 0.25, heat)  # the cold sky would take up most of the scale
    save("infrared/thermal.png", np.rint(255 * ((heat + 7) / 41).clip(0, 1) ** 0.9).astype(np.uint8))


def medical() -> None:
    """An axial slice of the MNI152 T1 template, and a made-up PET of it: uptake in grey matter and in one lesion."""
    spec = importlib.util.find_spec("nilearn")
    if spec is None or spec.origin is None:
        raise SystemExit("nilearn is missing; pip install --no-deps nilearn")

    def volume(name: str) -> Array:
        path = Path(str(spec.origin)).parent / f"datasets/data/mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
        raw = gzip.decompress(path.read_bytes())
        shape = np.frombuffer(raw, "<i2", 3, 42)
        kind = {2: "u1", 4: "<i2", 16: "<f4"}[int(np.frombuffer(raw, "<i2", 1, 70)[0])]
        start = int(np.frombuffer(raw, "<f4", 1, 108)[0])
        return np.frombuffer(raw, kind, int(np.prod(shape)), start).reshape(shape, order="F").astype(float)

    def axial(values: Array) -> Array:
        return values[:, ::-1, 78].T / values.max()  # (x, y, z) -> rows from the front, columns from left

    t1, grey, white = (axial(volume(name)) for name in ("t1", "gm", "wm"))
    y, x = np.mgrid[0 : t1.shape[0], 0 : t1.shape[1]]
    lesion = np.exp(-((x - 131) ** 2 + (y - 88) ** 2) / (2 * 5.0**2)) * (white + grey)
    uptake = gaussian_filter(0.95 * grey + 0.28 * white + 0.9 * lesion + 0.03 * (t1 > 0.15), 2.2)
    uptake += gaussian_filter(np.random.default_rng(4).normal(0, 0.12, uptake.shape), 1.6) * np.sqrt(uptake.clip(0))
    uptake = zoom(uptake, 2, order=3).clip(0) / 1.05
    stops = np.array([0, 0.12, 0.28, 0.42, 0.56, 0.7, 0.85, 1.0])
    ramp = np.array(
        [
            (0, 0, 0),
            (40, 0, 80),
            (10, 20, 190),
            (0, 150, 200),
            (20, 190, 60),
            (240, 220, 20),
            (240, 60, 10),
            (255, 245, 240),
        ]
    )
    colours = np.stack([np.interp(uptake, stops, ramp[:, c]) for c in range(3)], axis=2)
    save("medical/mri.png", np.rint(255 * zoom(t1, 2, order=3).clip(0, 1)).astype(np.uint8))
    save("medical/pet.png", np.rint(colours).astype(np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the example images again.")
    names = ["exposure", "focus_pair", "focus_stack", "infrared", "medical"]
    parser.add_argument("names", nargs="*", default=names, metavar="NAME", help=f"of {', '.join(names)}; default: all")
    parser.add_argument("--room", type=Path, default=Path("hdr_room.png"), help="the HDR photograph for `exposure`")
    parser.add_argument("--samples", type=int, default=96, help="rays a pixel of the focus pair; the others take fewer")
    choice = parser.parse_args()
    for name in choice.names:
        if name == "exposure":
            exposure(choice.room)
        elif name == "medical":
            medical()
        else:
            share = {"focus_pair": 1.0, "focus_stack": 2 / 3, "infrared": 1 / 3}[name]  # blur needs the most rays
            {"focus_pair": focus_pair, "focus_stack": focus_stack, "infrared": infrared}[name](
                round(choice.samples * share)
            )


if __name__ == "__main__":
    main()
