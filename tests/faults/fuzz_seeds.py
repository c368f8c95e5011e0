"""Small sound files of every kind that the readers take, to begin a fuzz with."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
from faults.corpus_images import COLOUR, DEEP, GREY, encoded
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

PYDICOMS, LARGEST = Path(pydicom.__file__).parent / "data/test_files", 8192  # its compressed ones
SMALL = np.arange(48, dtype=np.uint16).reshape(6, 8) * 80


def image_files() -> list[bytes]:
    kinds = [(GREY, "PPM"), (COLOUR, "PPM"), (DEEP, "PPM"), (COLOUR, "BMP"), (GREY, "JPEG2000"), (DEEP, "JPEG2000"),
             (COLOUR[:8, :8], "WEBP"), (COLOUR, "GIF"), (GREY, "TIFF"), (COLOUR, "TIFF"), (DEEP, "TIFF"),
             (DEEP[:8, :8], "PNG"), (COLOUR[:8, :8], "JPEG"), (GREY, "DIB")]  # fmt: skip
    tiffs = [encoded(GREY, "TIFF", compression=name) for name in ("tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate")]
    return [encoded(image, kind) for image, kind in kinds] + tiffs


def dicom_file(pixels: np.ndarray = SMALL, syntax=ExplicitVRLittleEndian, preamble: bool = True, **tags) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID = syntax, "1.2.3"
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = meta.MediaStorageSOPClassUID, "1.2.3", "DX"
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    data.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    bits, order = 8 * pixels.itemsize, ">" if syntax == ExplicitVRBigEndian else "<"
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    if syntax == JPEGBaseline8Bit:
        data.PixelData = encapsulate([encoded(pixels, "JPEG")])
    elif syntax == RLELossless:
        options = {"rows": pixels.shape[0], "columns": pixels.shape[1], "samples_per_pixel": 1, "number_of_frames": 1,
                   "bits_allocated": bits, "bits_stored": bits, "pixel_representation": 0,
                   "photometric_interpretation": "MONOCHROME2"}  # fmt: skip
        data.PixelData = encapsulate([RLELosslessEncoder.encode(pixels, index=0, encoding_plugin="pydicom", **options)])
    else:
        data.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    data["PixelData"].VR = "OW" if bits > 8 else "OB"
    data["PixelData"].is_undefined_length = syntax in (JPEGBaseline8Bit, RLELossless)
    for name, value in tags.items():
        setattr(data, name, value)
    file = io.BytesIO()
    pydicom.dcmwrite(file, data, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=order == "<",
                     force_encoding=True)  # fmt: skip
    return file.getvalue() if preamble else file.getvalue()[132:]


def table(values: list[int], bits: int, first: int = 0) -> Sequence:
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [len(values), first, bits], np.asarray(values, "<u2").tobytes()
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "OW"
    return Sequence([item])


def palette() -> dict:
    ramp = np.linspace(0, 65535, 16).astype("<u2")
    tags: dict = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, values in (("Red", ramp), ("Green", ramp[::-1]), ("Blue", ramp // 2)):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [16, 0, 16]
        tags[f"{name}PaletteColorLookupTableData"] = values.tobytes()
    return tags


def dicom_files() -> list[bytes]:
    small, window = (SMALL // 16).astype(np.uint8), {"WindowCenter": 1000, "WindowWidth": 600}
    signed = SMALL.astype(np.int16) - 1000
    own = [path.read_bytes() for path in sorted(PYDICOMS.rglob("*.dcm")) if path.stat().st_size <= LARGEST]
    return own + [
        dicom_file(), dicom_file(small), dicom_file(signed), dicom_file(COLOUR[:6, :8]), dicom_file(preamble=False),
        dicom_file(syntax=ImplicitVRLittleEndian), dicom_file(syntax=ImplicitVRLittleEndian, preamble=False),
        dicom_file(syntax=ExplicitVRBigEndian), dicom_file(syntax=DeflatedExplicitVRLittleEndian),
        dicom_file(syntax=RLELossless), dicom_file(np.full((8, 8), 128, np.uint8), JPEGBaseline8Bit),
        dicom_file(**window), dicom_file(**window, VOILUTFunction="SIGMOID"), dicom_file(**window, NumberOfFrames=1),
        dicom_file(**window, PhotometricInterpretation="MONOCHROME1"), dicom_file(PresentationLUTShape="INVERSE"),
        dicom_file(RescaleSlope="2", RescaleIntercept="-100", **window), dicom_file(PixelPaddingValue=80, **window),
        dicom_file(PixelPaddingValue=80, PixelPaddingRangeLimit=240), dicom_file(VOILUTSequence=table([0, 9, 5], 8)),
        dicom_file(ModalityLUTSequence=table([0, 9, 5, 7], 16)), dicom_file(small % 16, **palette()),
        dicom_file(small % 2, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=b"\x5a" * 6),
        dicom_file(SMALL.astype(np.uint32), BitsAllocated=32), dicom_file(WindowCenter=[10, 20], WindowWidth=[5, 6]),
    ]  # fmt: skip
