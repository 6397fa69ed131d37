"""Frames and stacks: depth, colour, windows, and images in memory of every kind and back."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anyfuse.errors import FusionError
from anyfuse.image.frame import FULL, Frame, convert_depth, make_frame
from anyfuse.image.resize import resize_to_reference
from anyfuse.image.stack import Stack
from anyfuse.io.frames import from_arrays, to_kind

DTYPES = ["uint8", "uint16", "float32"]
GREY_ICC, RGB_ICC = bytes(16) + b"GRAY" + bytes(108), bytes(16) + b"RGB " + bytes(108)


def picture(height: int, width: int, channels: int, dtype: Any = "uint8", seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).random((height, width, channels)).astype(np.float32)
    return convert_depth(values, dtype)


def frame(*shape: int, dtype: str = "uint8", seed: int = 0, **rest: Any) -> Frame:
    return make_frame(picture(*shape, dtype=dtype, seed=seed), name=f"image {seed}", **rest)


def complaint(action: Any, *parts: str) -> None:
    with pytest.raises(FusionError) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text


# Depth


@settings(deadline=None)
@given(st.sampled_from(DTYPES), st.sampled_from(DTYPES), st.integers(0, 65535))
def test_convert_depth_rounds_to_the_nearest(source: str, target: str, level: int) -> None:
    value = np.full((1, 1), level, np.uint16)
    array = value if source == "uint16" else convert_depth(value, source)
    exact = float(array[0, 0]) / FULL[source] * FULL[target]
    got = float(convert_depth(array, target)[0, 0])
    assert abs(got - exact) <= (0.5 + 1e-6 if target != "float32" else 1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_level_survives_reading_and_quantising(dtype: str) -> None:
    top = int(FULL[dtype])
    levels = np.arange(top + 1, dtype=dtype).reshape(-1, 256)
    stack = Stack((make_frame(levels, name="a"),))
    np.testing.assert_array_equal(stack.quantise(stack.read()[0])[:, :, 0], levels)


@pytest.mark.parametrize("white", [1023, 4095, 16383])
def test_12_bit_data_stays_at_its_scale(white: int) -> None:
    levels = np.arange(white + 1, dtype=np.uint16)[None]
    stack = Stack(tuple(from_arrays([levels, levels], white=white)))
    assert stack.read().max() == 1.0
    np.testing.assert_array_equal(stack.quantise(stack.read()[1])[:, :, 0], levels)


def test_white_does_not_concern_8_bit_images() -> None:
    eight, sixteen = from_arrays([np.array([[255]], np.uint8), np.array([[4095]], np.uint16)], white=4095)
    assert (eight.white, sixteen.white) == (255, 4095)
    stack = Stack((eight, sixteen))
    assert stack.read().min() == 1.0
    assert stack.quantise(torch.ones(1, 1, 1))[0, 0, 0] == 65535  # the reference has no 12 bits
    assert Stack((sixteen, eight)).quantise(torch.ones(1, 1, 1))[0, 0, 0] == 4095


@pytest.mark.parametrize(
    ("kinds", "depth"),
    [
        (["uint8", "uint8"], "uint8"),
        (["uint8", "uint16"], "uint16"),
        (["uint16", "uint8", "float32"], "float32"),
    ],
)
def test_output_depth_follows_the_inputs(kinds: list[str], depth: str) -> None:
    stack = Stack(tuple(frame(4, 4, 1, dtype=kind) for kind in kinds))
    assert stack.depth == depth
    assert stack.white == FULL[depth]
    assert stack.quantise(torch.full((1, 2, 2), 0.5)).dtype == depth


def test_quantise_rounds_and_clips_and_does_not_stretch() -> None:
    stack = Stack((frame(2, 2, 1),))
    values = torch.tensor([[[-0.2, 1.7, 10.4 / 255, 10.6 / 255]]])
    assert stack.quantise(values).ravel().tolist() == [0, 255, 10, 11]


# Colour


def test_grey_and_colour() -> None:
    grey, colour = frame(6, 5, 1), frame(6, 5, 3, seed=1)
    hidden = make_frame(np.repeat(picture(6, 5, 1, seed=2), 3, axis=2), name="grey in RGB")
    assert (grey.is_grey, colour.is_grey, hidden.is_grey) == (True, False, True)
    mixed = Stack((grey, colour, hidden))
    assert mixed.has_colour == [False, True, False]
    assert mixed.read().shape == (3, 3, 6, 5)
    assert torch.equal(mixed.read()[0, 0], mixed.read()[0, 2])
    all_grey = Stack((grey, hidden))
    assert all_grey.read().shape == (2, 1, 6, 5)
    assert all_grey.stored_channels == 1
    as_rgb = Stack((grey, hidden), reference=1)
    assert as_rgb.quantise(as_rgb.read()[1]).shape == (6, 5, 3)
    np.testing.assert_array_equal(as_rgb.quantise(as_rgb.read()[1]), hidden.pixels)


def test_a_dim_colour_image_is_not_grey_and_one_coloured_pixel_counts() -> None:
    assert not make_frame(picture(8, 8, 3, "float32") * np.float32(0.004), name="dim").is_grey
    pixels = np.full((3000, 700, 3), 128, np.uint8)  # several blocks
    assert make_frame(pixels, name="flat").is_grey
    pixels[2999, 699, 0] = 131
    assert not make_frame(pixels, name="spot").is_grey


def test_profile_comes_from_a_frame_that_fits_the_result() -> None:
    grey = frame(4, 4, 1, icc=GREY_ICC)
    colour = frame(4, 4, 3, seed=1, icc=RGB_ICC)
    assert Stack((grey, colour)).icc == RGB_ICC
    assert Stack((grey, grey)).icc == GREY_ICC
    assert Stack((grey, frame(4, 4, 3))).icc is None


# Windows


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3]), st.sampled_from(DTYPES), st.data())
def test_a_window_is_a_part_of_the_whole(h: int, w: int, channels: int, dtype: str, data: st.DataObject) -> None:
    stack = Stack((frame(h, w, channels, dtype=dtype), frame(h, w, 1, seed=1)))
    top, left = data.draw(st.integers(0, h - 1)), data.draw(st.integers(0, w - 1))
    rows = slice(top, data.draw(st.integers(top + 1, h)))
    columns = slice(left, data.draw(st.integers(left + 1, w)))
    part = stack.read((rows, columns))
    assert part.dtype == torch.float32
    assert torch.equal(part, stack.read()[:, :, rows, columns])


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_read_may_be_written_to(dtype: str) -> None:
    source = frame(4, 4, 1, dtype=dtype)
    before = source.pixels.copy()
    source.read().zero_()
    np.testing.assert_array_equal(source.pixels, before)


# Bad stacks


def test_different_sizes_name_both_and_the_flag() -> None:
    complaint(
        lambda: Stack((frame(4, 6, 1), frame(5, 6, 1, seed=1))),
        "image 1 is 6x5",
        "image 0 is 6x4",
        "--resize reference",
    )


def test_empty_stack_and_bad_reference() -> None:
    complaint(lambda: Stack(()), "no image")
    complaint(lambda: Stack((frame(2, 2, 1),), reference=3), "reference 3")


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        (np.zeros((0, 5), np.uint8), ("5x0",)),
        (np.zeros((2, 3, 4, 5), np.uint8), ("(2, 3, 4, 5)",)),
        (np.zeros((3, 20, 20), np.uint8), ("(3, 20, 20)", "(H, W")),
        (np.zeros((4, 4), np.int32), ("int32", "16-bit")),
        (np.zeros((4, 4), complex), ("complex128",)),
        (np.array([[0.5, np.nan, np.inf]]), ("2 of 3", "NaN")),
        (np.array([[0.0, 255.0]]), ("0 to 255", "--white")),
        (np.array([[-1.0, 1.0]]), ("-1 to 1", "below 0")),
        (torch.zeros(2, 3, 4, 4), ("(2, 3, 4, 4)", "(1, C, H, W)")),
        (torch.zeros(7, 4, 4), ("(7, 4, 4)",)),
        (torch.zeros(4, 4, dtype=torch.int64), ("int64",)),
        (torch.zeros(4, 4, device="meta"), ("cannot be read",)),
        (np.ma.masked_equal(np.array([[1, 2]], np.uint8), 2), ("1 of 2", "masked")),
        ([[1, 2]], ("list",)),
        (None, ("NoneType",)),
    ],
)
def test_bad_arrays(image: Any, parts: tuple[str, ...]) -> None:
    complaint(lambda: from_arrays([np.zeros((2, 2), np.uint8), image]), "image 2", *parts)


@pytest.mark.parametrize("white", [0, -1, float("nan"), float("inf"), 70000])
def test_bad_white(white: float) -> None:
    complaint(lambda: from_arrays([np.zeros((2, 2), np.uint16)], white=white), "--white")


# Kinds in and out


def same_values(frame: Frame, expected: np.ndarray) -> None:
    got = frame.read().permute(1, 2, 0).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-6)


@settings(deadline=None)
@given(
    st.sampled_from(["uint8", "uint16", "float32", "float64", "bool"]),
    st.sampled_from([(), (1,), (3,), (4,)]),
    st.integers(1, 9),
    st.integers(1, 9),
)
def test_numpy_and_back(dtype: str, tail: tuple[int, ...], h: int, w: int) -> None:
    base = picture(h, w, (tail or (1,))[0], "uint8")
    array = base > 127 if dtype == "bool" else convert_depth(base, "float32" if dtype == "float64" else dtype)
    array = array.astype(dtype).reshape(h, w, *tail)
    (taken,) = from_arrays([array])
    assert (taken.alpha is not None) == (tail == (4,))
    stack = Stack((taken,))
    back = to_kind(stack.quantise(stack.read()[0]), array, alpha=stack.alpha)
    if tail == (4,) and array[..., 3].any():  # hidden colours do not count, so they need not come back
        array[..., :3][array[..., 3] == 0], back[..., :3][array[..., 3] == 0] = 0, 0
    if dtype == "bool":
        np.testing.assert_array_equal(back, array.astype(np.uint8) * 255)
    else:
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        np.testing.assert_allclose(back, array, atol=1e-7)


@pytest.mark.parametrize("shape", [(5, 6), (1, 5, 6), (3, 5, 6), (4, 5, 6), (1, 1, 5, 6), (1, 3, 5, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8])
def test_torch_and_back(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    tensor = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    tensor = (tensor * 255).round().to(dtype) if dtype == torch.uint8 else tensor.to(dtype)
    (taken,) = from_arrays([tensor])
    assert (taken.height, taken.width) == (5, 6)
    stack = Stack((taken,))
    back = to_kind(stack.quantise(stack.read()[0]), tensor, alpha=stack.alpha)
    assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
    torch.testing.assert_close(back, tensor, atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I", "F"])
def test_pil_and_back(mode: str) -> None:
    colours = picture(6, 7, 3)
    if mode in ("I;16", "I"):
        image = Image.fromarray(picture(6, 7, 1, "uint16")[:, :, 0].astype(np.uint16 if mode == "I;16" else np.int32))
        values = np.asarray(image) / 65535.0
    elif mode == "F":
        image = Image.fromarray(picture(6, 7, 1, "float32")[:, :, 0])
        values = np.asarray(image)
    elif mode == "LAB":
        image = Image.new("LAB", (7, 6), (128, 128, 128))
        values = np.full((6, 7, 3), 119 / 255)  # L* 50 is sRGB 119
    else:
        image = Image.fromarray(colours).convert(mode)
        values = np.asarray(image.convert("L" if mode in ("1", "L", "LA") else "RGB")) / 255.0
    (taken,) = from_arrays([image])
    got = taken.read().permute(1, 2, 0).numpy()
    np.testing.assert_allclose(got.squeeze(), values, atol=3 / 255 if mode == "LAB" else 1e-6)
    assert (taken.alpha is not None) == (mode in ("LA", "RGBA"))
    stack = Stack((taken,))
    back = to_kind(stack.quantise(stack.read()[0]), image, alpha=stack.alpha)
    assert isinstance(back, Image.Image)
    assert back.size == image.size
    if mode in ("L", "RGB", "LA", "RGBA", "I;16", "F"):
        assert back.mode == mode
        np.testing.assert_allclose(np.asarray(back), np.asarray(image), atol=1e-6)


def test_pil_images_are_turned_upright_and_carry_metadata() -> None:
    exif = Image.Exif()
    exif[274], exif[305] = 6, "darkroom"
    image = Image.fromarray(picture(4, 9, 3))
    image.info["exif"], image.info["icc_profile"] = exif.tobytes(), RGB_ICC
    (taken,) = from_arrays([image])
    assert (taken.height, taken.width) == (9, 4)
    np.testing.assert_array_equal(taken.pixels, np.rot90(np.asarray(image), -1))
    back = to_kind(taken.pixels, image, exif=taken.exif, icc=taken.icc)
    assert back.info["icc_profile"] == RGB_ICC
    assert back.getexif()[305] == "darkroom"
    assert back.getexif()[274] == 1


def test_pil_files_that_turn_out_bad_when_they_are_read() -> None:
    buffer = BytesIO()
    Image.fromarray(picture(60, 60, 3)).save(buffer, "PNG")
    truncated = Image.open(BytesIO(buffer.getvalue()[:3000]))
    complaint(lambda: from_arrays([truncated]), "image 1", "truncated")
    closed = Image.open(BytesIO(buffer.getvalue()))
    closed.close()
    complaint(lambda: from_arrays([closed], first=7), "image 7", "closed")


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_unusual_arrays_and_tensors() -> None:
    grey = picture(5, 6, 1)[:, :, 0]
    colour = picture(5, 6, 3)
    readonly = colour.copy()
    readonly.flags.writeable = False
    swapped = grey.astype(">u2") * 257
    for image, expected in (
        (np.matrix(grey), grey[:, :, None]),
        (np.ma.array(grey), grey[:, :, None]),
        (np.asfortranarray(colour), colour),
        (colour[::-1, ::-2], colour[::-1, ::-2]),
        (readonly, colour),
        (swapped, grey[:, :, None].astype(np.uint16) * 257),
    ):
        (taken,) = from_arrays([image])
        np.testing.assert_array_equal(taken.pixels, expected)
        assert taken.read().shape == np.moveaxis(expected, 2, 0).shape
    values = torch.rand(5, 6)
    conjugate = torch.complex(values, -values).conj().imag
    for tensor in (values.to_sparse(), conjugate, values.clone().requires_grad_()):
        (taken,) = from_arrays([tensor])
        assert torch.equal(taken.read()[0], values)


def test_colour_result_for_a_grey_reference() -> None:
    fused = picture(4, 5, 3)
    assert to_kind(fused, np.zeros((4, 5), np.uint8)).shape == (4, 5, 3)
    assert to_kind(fused, torch.zeros(4, 5)).shape == (3, 4, 5)
    assert to_kind(fused, torch.zeros(1, 1, 4, 5)).shape == (1, 3, 4, 5)
    assert to_kind(fused, Image.new("L", (5, 4))).mode == "RGB"
    assert to_kind(fused, "a.png").shape == (4, 5, 3)
    opaque = to_kind(fused, np.zeros((4, 5, 4), np.uint8))
    assert opaque[:, :, 3].min() == 255


def test_alpha_follows_the_output_depth() -> None:
    rgba = picture(4, 4, 4)
    clear = picture(4, 4, 4, "uint16")
    clear[:, :, 3] = 0
    stack = Stack(tuple(from_arrays([rgba, clear])))
    assert stack.alpha is not None
    np.testing.assert_array_equal(stack.alpha, rgba[:, :, 3].astype(np.uint16) * 257)


# Resizing


@pytest.mark.parametrize("dtype", DTYPES)
def test_resize_to_reference(dtype: str) -> None:
    small, large = frame(10, 20, 3, dtype=dtype), frame(40, 80, 1, dtype=dtype, seed=1)
    out = resize_to_reference([small, large])
    assert out[0] is small
    assert out[1].pixels.shape == (10, 20, 1)
    assert out[1].pixels.dtype == dtype
    assert "80x40 to 20x10" in out[1].warnings[0]
    assert len(out[1].warnings) == 1
    # antialiased: a 4x smaller image of noise is near its mean everywhere
    assert (out[1].read() - large.read().mean()).abs().max() < 0.35
    assert abs(float(out[1].read().mean() - large.read().mean())) < 0.02
    Stack(tuple(resize_to_reference([small, large], reference=1)))


def test_resize_keeps_flat_areas_and_never_wraps() -> None:
    edge = np.zeros((16, 16), np.uint8)
    edge[:, 8:] = 255
    other, sharp = make_frame(np.zeros((33, 33), np.uint8), name="a"), make_frame(edge, name="b")
    pixels = resize_to_reference([other, sharp])[1].pixels[:, :, 0].astype(int)
    assert pixels[:, :8].max() == 0
    assert pixels[:, 25:].min() == 255
    assert (np.diff(pixels, axis=1) >= 0).all()


def test_stretching_is_said() -> None:
    out = resize_to_reference([frame(10, 10, 1), frame(10, 20, 1, seed=1)])
    assert any("stretched" in note for note in out[1].warnings)
