"""Results as DICOM secondary captures and NIfTI volumes."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..image.frame import convert_depth
from ..image.metadata import Metadata
from ..version import __version__
from .readers.extra import needed
from .readers.nifti import from_rows

_OF_THE_PATIENT = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_OF_THE_PLACE = (
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SliceThickness",
    "SpacingBetweenSlices",
    "FrameOfReferenceUID",
    "PatientPosition",
)
_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_FRAMES = {("grey", 1): f"{_CAPTURE}.2", ("grey", 2): f"{_CAPTURE}.3", ("colour", 1): f"{_CAPTURE}.4"}


def encode_medical(kind: str, name: str, data: np.ndarray, metadata: Metadata) -> tuple[list[bytes], list[str]]:
    """The bytes of a file, and what had to be decided.

    Args:
        kind: 'dicom' or 'nifti'.
        name: of the file.
        data: (H, W, C) or, for a volume, (slices, H, W, C); uint8 or uint16, for NIfTI also float32.
        metadata: of the reference; `header` gives patient, study and place.
    """
    volume = data if data.ndim == 4 else data[None]
    notes: list[str] = []
    if volume.shape[3] == 3 and volume.dtype != np.uint8:
        notes.append(f"{volume.dtype} colours rounded to uint8, the most that {kind} holds")
        volume = np.stack([convert_depth(plane, "uint8") for plane in volume])
    if kind == "dicom":
        return _dicom(name, volume, data.ndim == 4, metadata.header, notes)
    return _nifti(name, volume, metadata.header, notes)


def _nifti(name: str, volume: np.ndarray, source: Any, notes: list[str]) -> tuple[list[bytes], list[str]]:
    nibabel = needed("nibabel", "medical", name, "a NIfTI volume")
    planes = np.stack([from_rows(plane) for plane in volume], axis=2)  # (slices, H, W, C) -> (x, y, slices, C)
    if planes.shape[3] == 3:
        kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
        array = np.ascontiguousarray(planes).view(kind)[..., 0]
    else:
        array = planes[..., 0]
    affine, header = None, None
    if source is not None and hasattr(source, "affine"):
        affine, header = source.affine, source.header.copy()
        whole = len(source.shape) > 2 and tuple(source.shape[:3]) == array.shape
        if tuple(source.shape[:2]) != array.shape[:2] or not whole:
            notes.append("its place in space is that of the whole volume")
    else:
        notes.append("the reference has no NIfTI header, so the file says nothing of its place in space")
        affine = np.eye(4)
    image = nibabel.Nifti1Image(array, affine)
    if header is not None:
        image.header.set_xyzt_units(*header.get_xyzt_units())
        image.set_qform(*header.get_qform(coded=True)) if header["qform_code"] else None
        image.set_sform(*header.get_sform(coded=True)) if header["sform_code"] else None
    image.header["descrip"] = f"fused by anyfuse {__version__}"[:79].encode()
    if array.dtype.names is None:
        image.header["cal_max"] = 1.0 if array.dtype.kind == "f" else float(2 ** (8 * array.dtype.itemsize) - 1)
    body = image.to_bytes()
    return [gzip.compress(body, 6, mtime=0) if name.lower().endswith(".gz") else body], notes


def _dicom(
    name: str, volume: np.ndarray, is_volume: bool, source: Any, notes: list[str]
) -> tuple[list[bytes], list[str]]:
    pydicom = needed("pydicom", "medical", name, "a DICOM file")
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    out = Dataset()
    has_source = source is not None
    for key in (*_OF_THE_PATIENT, *(_OF_THE_PLACE if not is_volume else _OF_THE_PLACE[:1])):
        if has_source and key in source and source[key].value not in (None, ""):
            setattr(out, key, source[key].value)
    content = hashlib.sha256(volume.tobytes() + str(out.get("StudyInstanceUID", "")).encode()).hexdigest()
    for key in ("PatientName", "PatientID", "StudyID", "StudyDate", "StudyTime", "AccessionNumber"):
        if key not in out:
            setattr(out, key, "")
    if "StudyInstanceUID" not in out:
        if source is None:
            notes.append("the reference is no DICOM file, so patient and study are empty")
        else:
            notes.append("the reference has no StudyInstanceUID, so the result has a new one")
        out.StudyInstanceUID = generate_uid(entropy_srcs=[content, "study"])
    count, height, width, channels = volume.shape
    kind = ("colour" if channels == 3 else "grey", volume.itemsize)
    out.SOPClassUID = _FRAMES[kind] if is_volume else _CAPTURE
    out.SOPInstanceUID = generate_uid(entropy_srcs=[content, "image"])
    out.SeriesInstanceUID = generate_uid(entropy_srcs=[content, "series"])
    out.Modality, out.ConversionType, out.SeriesNumber, out.InstanceNumber = "OT", "WSD", 9000, 1
    out.SeriesDescription = "Image fusion"
    out.ImageType = ["DERIVED", "SECONDARY"]
    out.DerivationDescription = f"fused by anyfuse {__version__}"
    out.Manufacturer, out.SoftwareVersions = "anyfuse", __version__
    out.Rows, out.Columns, out.SamplesPerPixel = height, width, channels
    out.PhotometricInterpretation = "RGB" if channels == 3 else "MONOCHROME2"
    if channels == 3:
        out.PlanarConfiguration = 0
    if is_volume:
        out.NumberOfFrames = count
        if channels == 1:
            out.PresentationLUTShape, out.RescaleIntercept, out.RescaleSlope, out.RescaleType = "IDENTITY", 0, 1, "US"
    out.BitsAllocated = out.BitsStored = 8 * volume.itemsize
    out.HighBit, out.PixelRepresentation = 8 * volume.itemsize - 1, 0
    if channels == 1:
        top = float(np.iinfo(volume.dtype).max) + 1
        out.WindowCenter, out.WindowWidth = top / 2, top
    raw = np.ascontiguousarray(volume).astype(f"<u{volume.itemsize}").tobytes()
    out.PixelData = raw + b"\0" * (len(raw) % 2)
    out["PixelData"].VR = "OW" if volume.itemsize == 2 else "OB"
    out.file_meta = FileMetaDataset()
    out.file_meta.MediaStorageSOPClassUID = out.SOPClassUID
    out.file_meta.MediaStorageSOPInstanceUID = out.SOPInstanceUID
    out.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, out, enforce_file_format=True)
    return [buffer.getvalue()], notes


def encode_volume(
    kind: str, name: str, slices: Sequence[np.ndarray], metadata: Metadata
) -> tuple[list[bytes], list[str]]:
    """As `encode_medical`, of fused slices (H, W, C), which may be grey and coloured."""
    channels = max(plane.shape[2] for plane in slices)
    same = [plane if plane.shape[2] == channels else np.repeat(plane, channels, axis=2) for plane in slices]
    if kind == "dicom":
        same = [convert_depth(plane, "uint16") if plane.dtype.kind == "f" else plane for plane in same]
    return encode_medical(kind, name, np.stack(same), metadata)
