"""DICOM and NIfTI: values, windows, series, volumes, and results that other programs open."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats import by_pydicom

from anyfuse import Fuser
from anyfuse.cli.main import main
from anyfuse.errors import FusionError
from anyfuse.io import pseudocolour
from anyfuse.io.frames import read_frames
from anyfuse.io.read import count_pages, is_series, page_sizes, read_image, read_rasters
from anyfuse.io.write import write_image

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")


def slices(count: int = 5, seed: int = 0) -> np.ndarray:
    """(slices, H, W) of 12 bits."""
    z, y, x = np.mgrid[0:count, 0:40, 0:50]
    values = 1500 + 900 * np.sin(x / 7 + seed) * np.cos(y / 6) + 100 * z
    return np.rint(values).astype(np.uint16)


def series(folder: Path, values: np.ndarray, **fields: Any) -> Path:
    """A folder of DICOM files, whose names say nothing of their order."""
    folder.mkdir()
    for k, plane in enumerate(values):
        place = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, 2.5 * k]}
        name = f"{(7 * k) % len(values)}-{k}"
        by_pydicom(folder / name, plane, PixelSpacing=[1, 1], **{**place, **fields})
    return folder


def volume(path: Path, values: np.ndarray, affine: Any = None) -> Path:
    nibabel.save(nibabel.Nifti1Image(np.transpose(values, (2, 1, 0)), np.diag([2.0, 2.0, 3.0, 1.0])), path)
    return path


def called(*arguments: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    assert not stop.value.code


# DICOM


def test_rescale_and_window(tmp_path: Path) -> None:
    plane = slices()[0]
    rescale = {"RescaleSlope": 1, "RescaleIntercept": -1024}
    by_pydicom(tmp_path / "a", plane, **rescale, WindowCenter=40, WindowWidth=400)
    raster = read_rasters(tmp_path / "a")[0]
    assert raster.unit == "HU"
    np.testing.assert_array_equal(raster.pixels, plane.astype(int) - 1024)
    (frame,) = read_frames([tmp_path / "a"])
    low, high = 40 - 0.5 - 399 / 2, 40 - 0.5 + 399 / 2
    expected = np.clip((plane.astype(float) - 1024 - low) / (high - low), 0, 1)
    np.testing.assert_allclose(frame.read()[0].numpy(), expected, atol=1e-4)
    assert "window 40/400" in frame.warnings[0]
    (frame,) = read_frames([tmp_path / "a"], 1000, -500)
    np.testing.assert_allclose(frame.read()[0], np.clip((plane.astype(float) - 524) / 1500, 0, 1), atol=1e-4)


def test_values_without_a_unit_share_their_scale_within_a_series_alone(tmp_path: Path) -> None:
    """PET counts up to 300 are not black beside an MRI up to 3000."""
    plane = slices()[0]
    by_pydicom(tmp_path / "mri", plane, Modality="MR", SeriesInstanceUID="1.2.3")
    by_pydicom(tmp_path / "pet", plane // 10, Modality="PT", SeriesInstanceUID="1.2.4")
    by_pydicom(tmp_path / "next", plane + 100, Modality="MR", SeriesInstanceUID="1.2.3")
    mri, pet = read_frames([tmp_path / "mri", tmp_path / "pet"])
    assert [float(f.read().max()) for f in (mri, pet)] == [1, 1]
    mri, after = read_frames([tmp_path / "mri", tmp_path / "next"])
    assert float(mri.read().max()) < float(after.read().max()) == 1


def test_monochrome1_is_turned_round_and_slices_stay_comparable(tmp_path: Path) -> None:
    folder = series(tmp_path / "s", slices(), PhotometricInterpretation="MONOCHROME1")
    planes = [read_rasters(f"{folder}[{k}]")[0].pixels for k in range(5)]
    for plane, stored in zip(planes, slices(), strict=True):
        np.testing.assert_array_equal(plane, 4095 - stored.astype(int))


def test_padding_has_no_value(tmp_path: Path) -> None:
    plane = slices()[0].astype(np.int16)
    plane[:6] = -2000
    by_pydicom(tmp_path / "a", plane, PixelPaddingValue=-2000)
    (frame,) = read_frames([tmp_path / "a"])
    assert frame.valid is not None
    assert not frame.valid[:6].any()
    assert frame.scaling is not None
    assert frame.scaling.black == plane[6:].min()


def test_a_series_is_in_the_order_of_its_places(tmp_path: Path) -> None:
    folder = series(tmp_path / "s", slices())
    assert count_pages(folder) == 5
    for k, stored in enumerate(slices()):
        np.testing.assert_array_equal(read_rasters(f"{folder}[{k}]")[0].pixels, stored)
    one, two = read_frames([f"{folder}[0]"])[0], read_frames([f"{folder}[4]"])[0]
    assert one.scaling == two.scaling  # of the whole series
    by_pydicom(folder / "other", slices()[0], SeriesInstanceUID="9.9")
    with pytest.raises(FusionError, match="2 DICOM series"):
        read_image(f"{folder}[0]")


def test_a_folder_of_other_images_is_no_series(tmp_path: Path) -> None:
    """A DICOM among photographs does not take their place; a preview beside a series does not end it."""
    folder = series(tmp_path / "s", slices(3))
    write_image(folder / "preview.png", np.zeros((40, 50), np.uint8))
    (folder / "notes.txt").write_text("text")
    assert is_series(folder)
    for k in range(4):
        write_image(folder / f"photo{k}.png", np.full((40, 50), k, np.uint8))
    assert not is_series(folder)


def test_a_secondary_capture(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 2)):
        by_pydicom(tmp_path / name, slices(seed=seed)[0], PixelSpacing=[0.5, 0.5])
    result = Fuser("average").run([tmp_path / "a", tmp_path / "b"])
    result.save(tmp_path / "o.dcm")
    made = pydicom.dcmread(tmp_path / "o.dcm")
    assert made.SOPClassUID.name == "Secondary Capture Image Storage"
    assert (made.PatientName, made.StudyInstanceUID) == ("Nobody^Here", "1.2.3")
    assert made.SeriesInstanceUID != "1.2.3.4"
    assert list(made.PixelSpacing) == [0.5, 0.5]
    np.testing.assert_array_equal(made.pixel_array, result.pixels[:, :, 0])
    first = (tmp_path / "o.dcm").read_bytes()
    result.save(tmp_path / "o.dcm", overwrite=True)
    assert (tmp_path / "o.dcm").read_bytes() == first


# Volumes


def test_two_nifti_volumes_become_one(tmp_path: Path) -> None:
    a = volume(tmp_path / "a.nii.gz", slices().astype(np.int16))
    b = volume(tmp_path / "b.nii", (slices(seed=2) - 1000).astype(np.int16))
    called("fuse", a, b, "-o", tmp_path / "o.nii.gz", "--model", "average", "-q")
    made = nibabel.load(tmp_path / "o.nii.gz")
    assert made.shape == (50, 40, 5)
    np.testing.assert_allclose(made.affine, np.diag([2, 2, 3, 1]))

    def unit(values: np.ndarray) -> np.ndarray:
        whole = values.astype(float)
        return (whole - whole.min()) / (whole.max() - whole.min())

    expected = (unit(slices()) + unit(slices(seed=2))) / 2
    np.testing.assert_allclose(np.asarray(made.dataobj) / 65535.0, np.transpose(expected, (2, 1, 0)), atol=2e-4)


def test_two_series_become_one_file(tmp_path: Path) -> None:
    a, b = series(tmp_path / "a", slices()), series(tmp_path / "b", slices(seed=2))
    called("fuse", a, b, "-o", tmp_path / "o.dcm", "--model", "average", "-q")
    made = pydicom.dcmread(tmp_path / "o.dcm")
    assert made.pixel_array.shape == (5, 40, 50)
    assert "Multi-frame" in made.SOPClassUID.name
    assert count_pages(tmp_path / "o.dcm") == 5


def test_volumes_of_different_depth_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = volume(tmp_path / "a.nii", slices()), volume(tmp_path / "b.nii", slices(4))
    with pytest.raises(SystemExit):
        main(["fuse", str(a), str(b), "-o", str(tmp_path / "o.nii")])
    assert "different numbers of slices" in capsys.readouterr().err


def test_slices_stand_upright(tmp_path: Path) -> None:
    path = volume(tmp_path / "a.nii", slices())
    np.testing.assert_array_equal(read_rasters(f"{path}[2]")[0].pixels, slices()[2][::-1])
    frame = read_image(path)
    assert any("numbered 2 of 5 slices" in w for w in frame.warnings)


# Damaged files


def damaged(data: bytes, seed: int) -> bytes:
    """The file cut off, with wrong bytes, with random bytes behind its signature, or with a part missing."""
    draw = random.Random(seed)
    changed = bytearray(data)
    kind = seed % 4
    if kind == 0:
        return data[: draw.randrange(1, len(data))]
    if kind == 1:
        for _ in range(draw.randrange(1, 6)):
            changed[draw.randrange(132, min(len(data), 900))] = draw.choice(
                (0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256))
            )
        return bytes(changed)
    if kind == 2:
        return data[:140] + draw.randbytes(draw.randrange(400))
    start = draw.randrange(132, len(data))
    return data[:start] + data[start + draw.randrange(64) :]


def read_or_refuse(path: Path, data: bytes) -> bool:
    """Whether a file is refused, which must be by a `FusionError` of one line that names it."""
    path.write_bytes(data)
    line = ""
    try:
        count_pages(path)
        page_sizes(path)
        read_frames([path])
    except FusionError as error:
        line = str(error)
    assert not line or line.startswith(str(path))
    assert "\n" not in line
    return bool(line)


def dicom_seeds(folder: Path) -> dict[str, bytes]:
    """Files with a window, with a palette, in colour, compressed by RLE, and deflated."""
    plane = slices()[0]
    by_pydicom(folder / "window", plane, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400)
    tables: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR", "PixelPaddingValue": 7}
    for name in ("Red", "Green", "Blue"):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tables[f"{name}PaletteColorLookupTableData"] = np.arange(256, dtype=np.uint16).tobytes()
    small = (plane // 16).astype(np.uint8)
    by_pydicom(folder / "palette", small, **tables)
    rgb = {"Columns": 50, "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    by_pydicom(folder / "rgb", np.repeat(small, 3, axis=1), **rgb)
    data = pydicom.dcmread(folder / "rgb")
    data.compress(pydicom.uid.RLELossless)
    data.save_as(folder / "rle")
    data = pydicom.dcmread(folder / "window")
    data.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    data.save_as(folder / "deflated")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.filterwarnings("ignore")
def test_damaged_dicom_files_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "seeds").mkdir()
    for name, data in dicom_seeds(tmp_path / "seeds").items():
        assert not read_or_refuse(tmp_path / name, data)
        refused = sum(read_or_refuse(tmp_path / name, damaged(data, seed)) for seed in range(120))
        assert refused > 30, name


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("NumberOfFrames", "1Y"),
        ("RescaleIntercept", "abc"),
        ("RescaleSlope", ["1", "2"]),
        ("BitsStored", None),
        ("Rows", [40, 50]),
        ("TransferSyntaxUID", "1.2.3"),
    ],
)
def test_wrong_elements_of_a_dicom_file(field: str, value: Any, tmp_path: Path) -> None:
    """Elements are converted only when they are read, after the file was opened."""
    by_pydicom(tmp_path / "a", slices()[0], RescaleSlope=1, RescaleIntercept=0)
    data = pydicom.dcmread(tmp_path / "a")
    with pydicom.config.disable_value_validation():
        place = data.file_meta if field == "TransferSyntaxUID" else data
        if isinstance(value, str):  # as bytes of the file, which are not looked at while it is written
            tag = pydicom.tag.Tag(field)
            kind = pydicom.datadict.dictionary_VR(tag)
            text = value.encode() + b" " * (len(value) % 2)
            place[tag] = pydicom.dataelem.RawDataElement(tag, kind, len(text), text, 0, False, True)
        else:
            setattr(place, field, value)
        data.save_as(tmp_path / "b", implicit_vr=False, little_endian=True, enforce_file_format=False)
    assert read_or_refuse(tmp_path / "b", (tmp_path / "b").read_bytes())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "volume"])
def test_damaged_nifti_files_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    """By name and by content."""
    data = volume(tmp_path / "seed.nii", slices().astype(np.int16)).read_bytes()
    data = gzip.compress(data, mtime=0) if name.endswith("gz") else data
    assert not read_or_refuse(tmp_path / name, data)
    refused = sum(read_or_refuse(tmp_path / name, damaged(data, seed)) for seed in range(120))
    assert refused > 30
    draw = random.Random(3)
    for _ in range(60):  # the header
        changed = bytearray(data)
        changed[draw.randrange(348)] = draw.choice((0, 1, 0x7F, 0x80, 0xFF))
        read_or_refuse(tmp_path / name, bytes(changed))


# Tracers


def test_a_tracer_is_shown_in_colours_beside_the_anatomy(tmp_path: Path) -> None:
    """In one grey a PET image would vanish: its place in the result is the hue."""
    plane = slices()[0]
    spot = np.zeros(plane.shape, np.uint16)
    spot[10:20, 10:20] = 4000
    by_pydicom(tmp_path / "mri.dcm", plane, Modality="MR")
    by_pydicom(tmp_path / "pet.dcm", spot, Modality="PT")
    both = [tmp_path / "mri.dcm", tmp_path / "pet.dcm"]
    mri, pet = read_frames(both)
    assert (mri.channels, pet.channels) == (1, 3)
    assert any("red_yellow" in note for note in pet.warnings)
    fused = Fuser("anyfuse").run(both, align="none").pixels.astype(int)
    reddish = fused[..., 0] - fused[..., 2]
    assert reddish[12:18, 12:18].mean() > 8 * 257
    assert abs(reddish[30:, 30:]).max() < 257
    grey = Fuser("anyfuse").run(both, align="none", pseudocolour="none")
    assert grey.pixels.shape[2] == 1


@pytest.mark.parametrize(
    ("kinds", "word", "channels"),
    [
        (("MR", "PT"), "none", (1, 1)),
        (("PT", "PT"), None, (1, 1)),  # two of them compare in grey
        (("CT", "NM"), None, (1, 3)),
        (("MR", "MR"), None, (1, 1)),
        (("MR", "MR"), "auto,tracer", (1, 3)),
        (("MR", "MR"), ["viridis", None], (3, 1)),
    ],
)
def test_which_scans_are_coloured(tmp_path: Path, kinds: tuple[str, str], word: Any, channels: Any) -> None:
    files = [tmp_path / f"{k}.dcm" for k in range(2)]
    for k, (file, kind) in enumerate(zip(files, kinds, strict=True)):
        by_pydicom(file, slices(seed=k)[0], Modality=kind)
    assert tuple(f.channels for f in read_frames(files, pseudocolour=word)) == channels


def test_colours_of_hot_iron() -> None:
    """PS3.6, annex B: red rises over the first half, green over the second, blue over the last quarter."""
    table = pseudocolour.hot_iron()
    known = {0: (0, 0, 0), 64: (128, 0, 0), 128: (255, 0, 0), 192: (255, 128, 0), 255: (255, 254, 252)}
    for place, colour in known.items():
        assert tuple(table[place]) == colour
        assert tuple(pseudocolour.red_yellow()[place]) == (*colour[:2], 0)
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(pseudocolour.coloured(ramp, None, "hot_iron").reshape(256, 3), table)
    for kind, white in (("uint16", None), ("uint16", 4095.0), ("float32", None)):
        top = white or {"uint16": 65535.0, "float32": 1.0}[kind]
        some = np.linspace(0, top, 256).astype(kind).reshape(16, 16)
        shown = pseudocolour.coloured(some, white, "hot_iron").astype(float)
        full = 1.0 if kind == "float32" else 65535.0
        np.testing.assert_allclose(shown.reshape(256, 3) / full * 255, table, atol=0.3)


def test_palettes_that_are_refused(tmp_path: Path) -> None:
    by_pydicom(tmp_path / "a.dcm", slices()[0])
    write_image(tmp_path / "b.png", np.zeros((40, 50, 3), np.uint8))
    files = [tmp_path / "a.dcm", tmp_path / "b.png"]
    for word, message in (
        ("sepia", "is no palette"),
        ("none,none,none", "3 values for 2 images"),
        ("hot_iron", "has colours of its own"),
        (7, "is no palette"),
    ):
        with pytest.raises(FusionError, match=message):
            read_frames(files, pseudocolour=word)


def test_names_of_tracers(tmp_path: Path) -> None:
    for name in ("sub-01_pet.nii.gz", "PET", "brain FDG.png"):
        assert pseudocolour.is_named_tracer(name), name
    for name in ("petal.png", "carpet", "respect.nii"):
        assert not pseudocolour.is_named_tracer(name), name
    second = [False, True]
    for mri, pet, expected in (
        ("PET-MRI/MRI", "PET-MRI/PET", second),
        ("PET-MRI/mri.png", "PET-MRI/pet.png", second),
        ("PET-MRI/MRI/1.png", "PET-MRI/PET/1.png", second),
        ("PET/mri.png", "PET/pet.png", second),
        ("PET/1.png", "PET/2.png", [False, False]),
        ("ct/1.png", "mri/1.png", [False, False]),
    ):
        assert pseudocolour.named_tracers([mri, pet]) == expected, (mri, pet)
    volume(tmp_path / "sub-01_pet.nii.gz", slices(2))
    volume(tmp_path / "sub-01_T1w.nii.gz", slices(2, 1))
    files = [f"{tmp_path}/sub-01_{kind}.nii.gz[1]" for kind in ("T1w", "pet")]
    assert [f.channels for f in read_frames(files)] == [1, 3]


def test_the_preset_takes_names(tmp_path: Path) -> None:
    for kind, plane in (("mri", slices()[0]), ("pet", slices(seed=1)[0])):
        (tmp_path / kind).mkdir()
        write_image(tmp_path / kind / "1.png", (plane // 16).astype(np.uint8)[..., None])
    called("medical", tmp_path / "mri/1.png", tmp_path / "pet/1.png", "-o", tmp_path / "coloured.png", "-q")
    assert read_image(tmp_path / "coloured.png").channels == 3
    both = (tmp_path / "mri/1.png", tmp_path / "pet/1.png")
    called("medical", *both, "-o", tmp_path / "grey.png", "--pseudocolour", "none")
    assert read_image(tmp_path / "grey.png").channels == 1


def test_a_coloured_tracer_keeps_its_colours(tmp_path: Path) -> None:
    """False colours of thermal cameras become grey; those of a tracer are what is to be seen."""
    some = np.add.outer(np.arange(64), 2 * np.arange(96)).astype(np.uint8)
    write_image(tmp_path / "pet.png", pseudocolour.coloured(some, None, "hot"))
    write_image(tmp_path / "mri.png", some.T[:64, :64].repeat(2, 1)[:, :96, None])
    files = [tmp_path / "mri.png", tmp_path / "pet.png"]
    assert [f.channels for f in read_frames(files)] == [1, 1]
    assert [f.channels for f in read_frames(files, pseudocolour="auto,tracer")] == [1, 3]
