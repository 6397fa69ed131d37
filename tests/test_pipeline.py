"""What happens to an image on its way: depth, colour, alpha, metadata, and no stretch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import scene, to8, to16
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

import anyfuse
from anyfuse import budget, tiling
from anyfuse.api import Fuser
from anyfuse.errors import FusionError
from anyfuse.image.planes import colour_rule
from anyfuse.image.stack import Stack
from anyfuse.io.frames import from_arrays
from anyfuse.models.registry import MODELS, is_there, load_model

FUSER = Fuser("anyfuse")


def chroma_size(rgb: np.ndarray) -> float:
    return float(np.ptp(rgb.astype(np.float64), axis=-1).mean())


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    channels=st.lists(st.sampled_from([1, 3]), min_size=2, max_size=4),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
)
def test_any_shape_and_depth(height: int, width: int, channels: list[int], dtype: str) -> None:
    convert = {"uint8": to8, "uint16": to16, "float32": lambda x: x.astype(np.float32)}[dtype]
    images = [convert(scene(96, 96, i, c)[:height, :width]) for i, c in enumerate(channels)]
    fused = FUSER(images)
    assert fused.dtype == dtype
    assert fused.shape[:2] == (height, width)
    assert fused.ndim == (3 if channels[0] == 3 or 3 in channels else 2)


def test_8_and_16_bit_agree_within_quantisation() -> None:
    images = [to8(scene(seed=i)) for i in range(2)]
    low = FUSER(images)
    high = FUSER([i.astype(np.uint16) * 257 for i in images])
    assert np.abs(low.astype(float) - high / 257).max() <= 0.51


def test_float_result_is_the_unrounded_one() -> None:
    images = [scene(seed=i).astype(np.float32) for i in range(2)]
    images[0] = to8(images[0]).astype(np.float32) / 255
    images[1] = to8(images[1]).astype(np.float32) / 255
    fused = FUSER(images)
    assert fused.dtype == np.float32
    assert np.abs(fused * 255 - FUSER([to8(i) for i in images])).max() <= 0.51


def test_grey_in_grey_out() -> None:
    assert FUSER([to8(scene(seed=i)) for i in range(2)]).ndim == 2
    stored_as_rgb = [np.repeat(to8(scene(seed=i))[..., None], 3, 2) for i in range(2)]
    fused = FUSER(stored_as_rgb)
    assert fused.shape[-1] == 3
    assert chroma_size(fused) == 0


@pytest.mark.parametrize("name", ["anyfuse", "laplacian", "maximum"])
def test_grey_and_colour_keeps_the_hue(name: str) -> None:
    colour = to8(scene(seed=3, channels=3) * 0.5 + 0.25)
    fused = anyfuse.fuse([to8(scene(seed=4)), colour], model=name)
    assert fused.shape == colour.shape
    from anyfuse.image.colour import to_chroma

    before, after = (to_chroma(torch.from_numpy(x).permute(2, 0, 1) / 255) for x in (colour, fused))
    angle = (torch.atan2(after[1], after[0]) - torch.atan2(before[1], before[0])).abs()
    angle = torch.minimum(angle, 2 * torch.pi - angle)
    strong = after.square().sum(0).sqrt() > 0.1
    assert strong.float().mean() > 0.1
    assert angle[strong].median() < 0.05


def test_colour_rules() -> None:
    grey, red, blue = to8(scene()), to8(scene(channels=3)), to8(scene(seed=2, channels=3))
    rule = {
        name: [
            colour_rule(Stack(tuple(from_arrays(x))), 1, load_model(name).carries_chroma)
            for x in ([grey, grey], [grey, red], [red, blue])
        ]
        for name in ("anyfuse", "laplacian")
    }
    assert rule == {"anyfuse": ["grey", "merge", "blend"], "laplacian": ["grey", "merge", "merge"]}


def test_colour_exposures_keep_colour_of_the_chosen_source() -> None:
    colour = scene(seed=5, channels=3)
    dark, bright = to8(colour * 0.05), to8(colour)
    fused = FUSER([dark, bright])
    assert chroma_size(fused) > 0.4 * chroma_size(bright)


def test_no_stretch() -> None:
    """A dim pair stays dim, a flat pair stays what it is."""
    dim = [to8(scene(seed=i) * 0.2) for i in range(2)]
    assert FUSER(dim).max() <= 60
    flat = [np.full((40, 40), v, np.uint8) for v in (100, 100)]
    assert (FUSER(flat) == 100).all()


def test_alpha_and_metadata_come_from_the_reference(tmp_path: Path) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    alpha, less = to8(scene(seed=9)), to8(scene(seed=9) * 0.8)
    rgba = np.dstack([to8(scene(seed=1, channels=3)), alpha])
    Image.fromarray(rgba).save(tmp_path / "a.png", exif=exif, icc_profile=icc)
    Image.fromarray(np.dstack([to8(scene(seed=2, channels=3)), less])).save(tmp_path / "b.png")
    anyfuse.fuse([tmp_path / "a.png", tmp_path / "b.png"], out=tmp_path / "f.png")
    with Image.open(tmp_path / "f.png") as fused:
        assert fused.mode == "RGBA"
        assert np.array_equal(np.asarray(fused)[..., 3], alpha)
        assert fused.getexif()[0x010F] == "Maker"
        assert fused.info["icc_profile"] == icc


def test_same_kind_comes_back() -> None:
    a, b = to8(scene(seed=1)), to8(scene(seed=2))
    expected = FUSER([a, b])
    pil = FUSER([Image.fromarray(a), Image.fromarray(b)])
    assert isinstance(pil, Image.Image)
    assert np.array_equal(np.asarray(pil), expected)
    tensor = FUSER([torch.from_numpy(a)[None].float() / 255, torch.from_numpy(b)[None].float() / 255])
    assert tensor.shape == (1, *a.shape)
    assert tensor.dtype == torch.float32
    assert (tensor[0] * 255 - torch.from_numpy(expected)).abs().max() <= 0.51
    mixed = FUSER([a, Image.fromarray(b)])
    assert isinstance(mixed, np.ndarray)


def test_paths_give_arrays_or_a_file(tmp_path: Path) -> None:
    for index in range(2):
        Image.fromarray(to8(scene(seed=index))).save(tmp_path / f"{index}.png")
    paths = [tmp_path / "0.png", tmp_path / "1.png"]
    array = anyfuse.fuse(paths)
    assert isinstance(array, np.ndarray)
    assert anyfuse.fuse(paths, out=tmp_path / "f.png") == tmp_path / "f.png"
    assert np.array_equal(np.asarray(Image.open(tmp_path / "f.png")), array)


def test_budget_of_memory_changes_tiles_not_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [to8(scene(500, 700, i, 3)) for i in range(2)]
    whole = FUSER.run(images)
    for module in (budget, tiling):
        monkeypatch.setattr(module, "resident_bytes", lambda: 2**30)
    tiled = Fuser("anyfuse", max_memory=2**30 + 70 * 2**20).run(images)
    assert whole.report["tiles"] == 1
    assert tiled.report["tiles"] >= 4
    assert np.abs(whole.pixels.astype(int) - tiled.pixels).max() <= 1


def test_low_precision_is_close_or_refused() -> None:
    images = [to8(scene(seed=i, channels=3)) for i in range(2)]
    for name, spec in MODELS.items():
        if not is_there(spec):
            continue
        if load_model(name).low_precision:
            low, most = Fuser(name, dtype="bfloat16")(images), 2 if name == "anyfuse" else 255
            apart = np.abs(low.astype(int) - Fuser(name)(images))
            assert apart.mean() < 1.0, name
            assert apart.max() <= most, name
        else:
            with pytest.raises(FusionError, match="float32 only"):
                Fuser(name, dtype="bfloat16")


def test_size_mismatch_names_sizes_and_remedy() -> None:
    a, b = to8(scene(40, 50)), to8(scene(40, 52))
    with pytest.raises(FusionError, match=r"52x40.*50x40.*resize=True"):
        FUSER([a, b])
    assert FUSER([a, b], resize=True).shape == a.shape


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([np.zeros((4, 4), np.uint8)], "at least two"),
        ([], "at least two"),
        (np.zeros((4, 4, 3), np.uint8), "list of two"),
        ("a.png", "list of two"),
        ([np.zeros((4, 4), np.int64)] * 2, "int64"),
        ([np.full((4, 4), np.nan)] * 2, "16 of 16"),
        ([np.zeros((4, 4, 5), np.uint8)] * 2, "5"),
        ([object(), object()], "object"),
        ([np.full((4, 4), 300.0)] * 2, "add white VALUE"),
    ],
)
def test_bad_images(images: object, message: str) -> None:
    with pytest.raises(FusionError, match=message) as caught:
        anyfuse.fuse(images)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu9"}, "device tpu9"),
        ({"dtype": "int3"}, "dtype int3"),
        ({"max_memory": "lots"}, "max_memory lots"),
        ({"max_memory": "1M"}, "too little"),
        ({"reference": 5}, "reference 5"),
        ({"model": "nope"}, "unknown model"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(FusionError, match=message):
        anyfuse.fuse([to8(scene(40, 40, i)) for i in range(2)], **options)  # type: ignore[arg-type]


def test_progress_is_heard() -> None:
    """A fuser tells its stages, and the share of the tiles that are done."""
    heard: list[tuple[str, float]] = []
    fuser = Fuser("average")
    fuser.progress = lambda stage, share: heard.append((stage, share))
    fuser.run([to8(scene(40, 50, 1)), to8(scene(40, 50, 2))])
    assert [stage for stage, _ in heard][:4] == ["read", "align", "deghost", "fuse"]
    assert heard[-1] == ("fuse", 1.0)
