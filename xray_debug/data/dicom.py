"""From the bytes of a DICOM file to pixels. pydicom is imported where it is used: that takes longer than an image."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

from xray_debug.data.decode import ImageError, ImageHeader, check_size, short, to_16


def is_dicom(content: bytes) -> bool:
    return content[128:132] == b"DICM"


def dicom_header(path: Path, content: bytes) -> ImageHeader:
    """Mode is the photometric interpretation, bit_depth the bits stored. ImageError for what is no radiograph."""
    data = _dataset(path, content, stop_before_pixels=True)
    said = tuple(str(data[name].value) for name in ("Modality", "ViewPosition") if data.get(name))
    return ImageHeader(int(data.Columns), int(data.Rows), int(data.BitsStored),
                       str(data.PhotometricInterpretation), "DICOM", said)  # fmt: skip


def dicom_pixels(path: Path, content: bytes) -> np.ndarray:
    """uint8 or uint16, (H, W) or (H, W, 3): modality rescale, MONOCHROME1 inverted, shifted to start at 0 or above.

    ImageError as dicom_header, and for pixels that cannot be decoded.
    """
    from pydicom.pixels import apply_modality_lut

    data = _dataset(path, content)
    try:
        values = data.pixel_array
        if values.ndim == 3:  # colour: pydicom has made it RGB already
            return values.astype(np.uint8 if data.BitsStored <= 8 else np.uint16)
        if data.PhotometricInterpretation == "MONOCHROME1":
            values = int(values.max()) + int(values.min()) - values.astype(np.int64)
        values = apply_modality_lut(values, data)
    except Exception as error:
        raise ImageError(f"{path}: DICOM pixels that cannot be decoded ({short(error)})") from error
    deep = to_16(values, path)
    return deep.astype(np.uint8) if data.BitsStored <= 8 and deep.max() <= 255 else deep


def _dataset(path: Path, content: bytes, stop_before_pixels: bool = False):
    import pydicom

    try:
        data = pydicom.dcmread(BytesIO(content), stop_before_pixels=stop_before_pixels)
        width, height, frames = int(data.Columns), int(data.Rows), int(data.get("NumberOfFrames", 1) or 1)
        (data.BitsStored, data.PhotometricInterpretation)  # noqa: B018  an AttributeError names what is missing
    except Exception as error:
        raise ImageError(f"{path}: not a DICOM image ({short(error)})") from error
    check_size(path, width, height)
    if frames > 1:
        raise ImageError(f"{path}: {frames} frames, expected one radiograph")
    return data
