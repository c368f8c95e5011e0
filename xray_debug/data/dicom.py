"""From the bytes of a DICOM file to pixels. pydicom is imported where it is used: that takes longer than an image."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np

from xray_debug.data.decode import ImageError, ImageHeader, check_size, short, to_16
from xray_debug.data.view import GreyWindow, strips


def is_dicom(content: bytes) -> bool:
    """With its preamble, or beginning with an element of group 2 or 8 as files without one do."""
    little = content[:2] in (b"\2\0", b"\x08\0") and content[3:4] == b"\0"
    big = content[:3] == b"\0\x08\0" and content[4:6].isupper()
    return content[128:132] == b"DICM" or big or little and (content[4:6].isupper() or content[6:8] == b"\0\0")


def dicom_header(path: Path, content: bytes) -> ImageHeader:
    """Mode is the photometric interpretation, bit_depth the bits stored. ImageError for what is no radiograph."""
    data = _dataset(path, content, stop_before_pixels=True)
    return ImageHeader(data.Columns, data.Rows, data.BitsStored, data.PhotometricInterpretation, "DICOM", _said(data))


def _said(data) -> tuple[str, ...]:
    """Modality and view position, where they are there and can be read: nothing else hangs on them."""
    said = []
    for name in ("Modality", "ViewPosition"):
        with suppress(Exception):  # pydicom makes the value when it is asked for, and raises what the bytes lead to
            said.append(str(data.get(name) or ""))
    return tuple(filter(None, said))


def dicom_film(path: Path, content: bytes) -> tuple[np.ndarray, GreyWindow | None]:
    """What a radiologist sees: uint8 or uint16, (H, W) or (H, W, 3), and the grey window, None for that of the pixels.

    The modality LUT, then the VOI LUT or window (the first), whose range is spread over all 8 or 16 bits and is the
    grey window; without one the values, shifted to start at 0 or above. MONOCHROME1 (or a presentation LUT of shape
    INVERSE) is inverted last. Padding becomes black and is not counted. A palette becomes RGB.
    ImageError as dicom_header, and for pixels that cannot be decoded.
    """
    from pydicom.pixels import apply_color_lut, pixel_array

    from xray_debug.data.dicom_codecs import check_frame, plugin_for

    data = _dataset(path, content)
    try:
        check_frame(data)
        stored = pixel_array(data, decoding_plugin=plugin_for(data))
        if data.PhotometricInterpretation == "PALETTE COLOR":
            stored = apply_color_lut(stored, data)
        if stored.ndim != 2 and (stored.ndim != 3 or stored.shape[2] != 3):
            raise ImageError(f"{path}: pixels of shape {stored.shape}, expected one radiograph")
        if stored.ndim == 3 and stored.itemsize > 2:
            raise ImageError(f"{path}: {8 * stored.itemsize}-bit colour, expected 8 or 16 bits")
        if stored.ndim == 3:  # colour: pydicom has made it RGB already
            return stored.astype(np.uint8 if stored.itemsize == 1 else np.uint16), None
        return _grey(path, data, stored)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise ImageError(f"{path}: DICOM pixels that cannot be decoded ({_why(error)})") from error


def _why(error: Exception) -> str:
    """What pydicom says, in its own words but for those that say nothing."""
    if isinstance(error, AttributeError) and error.name:
        return f"it has no {error.name}"
    if str(error).startswith("Unable to decode as"):  # "... by all available plugins:\n  plugin: what was wrong"
        return short(ValueError(str(error).splitlines()[-1].partition(": ")[2]))
    return short(error)


def _grey(path: Path, data, stored: np.ndarray) -> tuple[np.ndarray, GreyWindow | None]:
    padding, small = _padding(data, stored), data.BitsStored <= 8
    inverted = data.PhotometricInterpretation == "MONOCHROME1" or data.get("PresentationLUTShape") == "INVERSE"
    if said := _said_range(data):
        pixels = _windowed(data, stored, said, inverted, 255 if small else 65535)
        pixels[padding] = 0
        return pixels, GreyWindow(0, 255 if small else 65535)
    deep = to_16(_unwindowed(data, stored, padding, inverted), path)
    pixels = deep.astype(np.uint8) if small and deep.max() <= 255 else deep
    return pixels, GreyWindow.of(pixels, ~padding) if padding.any() else None


def _windowed(data, stored: np.ndarray, said: tuple[float, float], inverted: bool, top: int) -> np.ndarray:
    """What the VOI transformation gives, its range spread over 0..top."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    pixels, (low, high) = np.empty(stored.shape, np.uint8 if top == 255 else np.uint16), said
    for rows in strips(stored):
        values = apply_voi_lut(apply_modality_lut(stored[rows], data), data)
        shown = ((values.astype(np.float64) - low) / max(high - low, 1e-12)).clip(0, 1)
        pixels[rows] = np.round((1 - shown if inverted else shown) * top)
    return pixels


def _unwindowed(data, stored: np.ndarray, padding: np.ndarray, inverted: bool) -> np.ndarray:
    """The values after the modality LUT, padding as the darkest; where inverted, mirrored in the range they can have.

    The film's own range would be another once a white marker is erased, and the whole picture with it.
    """
    from pydicom.pixels import apply_modality_lut

    values = apply_modality_lut(stored, data)
    values = values.copy() if values is stored else values
    real = values[~padding] if padding.any() and not padding.all() else values
    low, high = real.min().item(), real.max().item()
    if not inverted:
        values[padding] = low
        return values
    values[padding] = high
    first, last = _range(data)
    if values.dtype.kind != "f":
        held = np.iinfo(values.dtype)
        first, last = max(int(first), held.min), min(int(last), held.max)
    first, last = min(first, low), max(last, high)
    for rows in strips(values):  # what comes is in the same range as what can be
        values[rows] = first + last - values[rows].astype(np.float64 if values.dtype.kind == "f" else np.int64)
    return values


def _padding(data, stored: np.ndarray) -> np.ndarray:
    """bool (H, W): pixels that are none of the film's."""
    first = data.get("PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, bool)
    last = data.get("PixelPaddingRangeLimit", first)
    return (stored >= min(first, last)) & (stored <= max(first, last))


def _said_range(data) -> tuple[float, float] | None:
    """The values that are black and white, where the file says so: those that its VOI LUT or window can give."""
    if data.get("VOILUTSequence"):
        return 0, (1 << int(data.VOILUTSequence[0].LUTDescriptor[2])) - 1
    bits = data.BitsStored
    if data.get("WindowCenter") is None or data.get("WindowWidth") is None:
        return (0, (1 << bits) - 1) if bits < 8 else None
    return _range(data)


def _range(data) -> tuple[float, float]:
    """The least and the greatest value that there can be after the modality LUT."""
    if data.get("ModalityLUTSequence"):
        return 0, (1 << int(data.ModalityLUTSequence[0].LUTDescriptor[2])) - 1
    bits, signed = data.BitsStored, bool(data.PixelRepresentation)
    ends = np.array([-(1 << (bits - 1)), (1 << (bits - 1)) - 1] if signed else [0, (1 << bits) - 1], np.float64)
    if data.get("RescaleSlope") is not None:
        ends = ends * float(data.RescaleSlope) + float(data.get("RescaleIntercept") or 0)
    return float(ends.min()), float(ends.max())


def _dataset(path: Path, content: bytes, stop_before_pixels: bool = False):
    import pydicom

    try:
        bare = content[128:132] != b"DICM"
        data = pydicom.dcmread(BytesIO(content), stop_before_pixels=stop_before_pixels, force=bare)
        if "TransferSyntaxUID" not in data.file_meta:
            implicit, little = data.original_encoding
            data.file_meta.TransferSyntaxUID = (
                pydicom.uid.ImplicitVRLittleEndian if implicit else
                pydicom.uid.ExplicitVRLittleEndian if little else pydicom.uid.ExplicitVRBigEndian
            )  # fmt: skip
        width, height, frames = int(data.Columns), int(data.Rows), int(data.get("NumberOfFrames", 1) or 1)
        data.BitsStored, data.PhotometricInterpretation = int(data.BitsStored), str(data.PhotometricInterpretation)
    except Exception as error:
        raise ImageError(f"{path}: not a DICOM image ({_why(error)})") from error
    check_size(path, width, height)
    if frames > 1:
        raise ImageError(f"{path}: {frames} frames, expected one radiograph")
    return data
