"""Read and write radiographs. What the model sees of one is ModelView (image_view.py, importable from here).

Images are uint8 or uint16 arrays, (H, W) grey or (H, W, 3) RGB. A file that cannot be used raises ImageError with
one sentence that names it. Files are told apart by their content, not by their suffix.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from xray_debug.data.view import ModelView, to_gray8

__all__ = ["SUFFIXES", "ImageError", "ImageHeader", "ModelView", "atomic_write", "image_header", "read_image",
           "to_gray8", "write_image"]

MAX_PIXELS = 100_000_000
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".dcm", ".dicom")
_DEPTHS = {"1": 1, "I": 32, "F": 32, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16}


class ImageError(ValueError):
    """A file that is no usable image, "<file>: what is wrong"."""


class ImageHeader(NamedTuple):
    """What a file says of itself: pixels as shown (after EXIF rotation), bits per channel, mode and format."""

    width: int
    height: int
    bit_depth: int
    mode: str
    format: str


# ---------------------------------------------------------------------------------------------------- reading


def read_image(path: str | Path) -> np.ndarray:
    """The image in `path`: uint8 or uint16, (H, W) or (H, W, 3) RGB.

    PNG, JPEG, TIFF, DICOM and what else Pillow decodes. 1-bit becomes 0/255; a grey palette becomes grey; transparency
    is laid on black; CMYK becomes RGB; EXIF rotation is applied; float pixels are scaled to 16 bits over their range;
    of several pages the first is read. DICOM: modality rescale, MONOCHROME1 inverted, shifted to start at 0 or above.
    ImageError: missing, empty, truncated, not an image, or more than MAX_PIXELS pixels.
    """
    path = Path(path)
    if _is_dicom(path):
        return _read_dicom(path)
    with _opened(path) as (image, depth):
        try:
            image.load()
        except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ...
            raise ImageError(f"{path}: damaged or truncated image ({_short(error)})") from error
        if depth == 16 and len(image.getbands()) > 1:
            return _read_deep_colour(path)
        return _pixels(ImageOps.exif_transpose(image), path)


def image_header(path: str | Path) -> ImageHeader:
    """Size, depth, mode and format of `path` without decoding it; ImageError as read_image, but for damaged pixels."""
    path = Path(path)
    if _is_dicom(path):
        data = _dicom(path, stop_before_pixels=True)
        return ImageHeader(int(data.Columns), int(data.Rows), int(data.BitsStored),
                           str(data.PhotometricInterpretation), "DICOM")
    with _opened(path) as (image, depth):
        width, height = image.size
        if image.getexif().get(ExifTags.Base.Orientation, 1) >= 5:
            width, height = height, width
        return ImageHeader(width, height, depth, image.mode, image.format or "")


class _opened:
    """Context of (Pillow image, bits per channel) for `path`, pixels not decoded yet."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> tuple[Image.Image, int]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is stricter
                self.image = Image.open(self.path)
        except Exception as error:
            raise _cannot_open(self.path, error) from error
        width, height = self.image.size
        if width * height > MAX_PIXELS:
            self.image.close()
            raise ImageError(f"{self.path}: {width} x {height} pixels, expected at most {MAX_PIXELS}")
        return self.image, _bit_depth(self.path, self.image)

    def __exit__(self, *_):
        self.image.close()


def _short(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def _cannot_open(path: Path, error: Exception) -> ImageError:
    if not path.exists():
        return ImageError(f"{path}: no such file")
    if path.is_dir():
        return ImageError(f"{path}: a folder, expected an image")
    if isinstance(error, PermissionError):
        return ImageError(f"{path}: may not be read")
    if path.stat().st_size == 0:
        return ImageError(f"{path}: empty file, expected an image")
    if isinstance(error, Image.DecompressionBombError):
        return ImageError(f"{path}: too many pixels, expected at most {MAX_PIXELS}")
    if isinstance(error, UnidentifiedImageError):
        return ImageError(f"{path}: not an image that can be read, expected PNG, JPEG, TIFF or DICOM")
    return ImageError(f"{path}: not a readable image ({_short(error)})")


def _bit_depth(path: Path, image: Image.Image) -> int:
    """Bits per channel as stored; Pillow hides the depth of 16-bit colour."""
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24]
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, (1,))  # BitsPerSample
        return int(bits[0] if isinstance(bits, tuple) else bits)
    return _DEPTHS.get(image.mode, 8)


def _grey_palette(image: Image.Image) -> bool:
    colours = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def _pixels(image: Image.Image, path: Path) -> np.ndarray:
    """A decoded Pillow image as uint8 or uint16, (H, W) or (H, W, 3)."""
    if image.mode == "P":
        grey = _grey_palette(image)
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        image = image.convert("LA" if image.mode == "RGBA" else "L") if grey else image
    if image.mode in ("LA", "PA", "La", "RGBA", "RGBa"):
        base = Image.new("RGBA", image.size, (0, 0, 0, 255))
        base.alpha_composite(image.convert("RGBA"))
        image = base.convert("L" if image.mode in ("LA", "La") else "RGB")
    if image.mode in ("1", "L"):
        return np.array(image.convert("L"))
    if image.mode.startswith("I;16"):
        return np.array(image).astype(np.uint16)
    if image.mode in ("I", "F"):
        return _to_16(np.array(image), path)
    return np.array(image.convert("RGB"))


def _to_16(values: np.ndarray, path: Path) -> np.ndarray:
    """Whole numbers that fit are kept (shifted to start at 0 where negative); else the range is scaled to 0..65535."""
    if not np.isfinite(values).all():
        raise ImageError(f"{path}: pixels that are not finite numbers")
    low, high = float(values.min()), float(values.max())
    whole = bool((values == np.round(values)).all())
    if whole and high - min(low, 0.0) <= 65535:
        return (values - min(low, 0.0)).astype(np.uint16)
    return np.round((values - low) * (65535.0 / max(high - low, 1e-12))).astype(np.uint16)


def _read_deep_colour(path: Path) -> np.ndarray:
    """16-bit colour, which Pillow would cut to 8 bits; it was decoded once before, so the file is whole."""
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ImageError(f"{path}: 16-bit colour that cannot be decoded")
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.float64) / np.iinfo(pixels.dtype).max
        pixels = np.round(pixels[..., :3] * alpha).astype(pixels.dtype)
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., ::-1])


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False  # the ordinary reader says what is wrong


def _dicom(path: Path, stop_before_pixels: bool = False):
    import pydicom  # here, because importing it takes longer than reading an image

    try:
        data = pydicom.dcmread(path, stop_before_pixels=stop_before_pixels)
        pixels, frames = int(data.Rows) * int(data.Columns), int(data.get("NumberOfFrames", 1) or 1)
        (data.BitsStored, data.PhotometricInterpretation)  # noqa: B018  an AttributeError names what is missing
    except Exception as error:
        raise ImageError(f"{path}: not a DICOM image ({_short(error)})") from error
    if pixels > MAX_PIXELS:
        raise ImageError(f"{path}: {data.Columns} x {data.Rows} pixels, expected at most {MAX_PIXELS}")
    if frames > 1:
        raise ImageError(f"{path}: {frames} frames, expected one radiograph")
    return data


def _read_dicom(path: Path) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut

    data = _dicom(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = data.pixel_array
            if values.ndim == 3:  # colour: pydicom has made it RGB already
                return values.astype(np.uint8 if data.BitsStored <= 8 else np.uint16)
            if data.PhotometricInterpretation == "MONOCHROME1":
                values = int(values.max()) + int(values.min()) - values.astype(np.int64)
            values = apply_modality_lut(values, data)
    except Exception as error:
        raise ImageError(f"{path}: DICOM pixels that cannot be decoded ({_short(error)})") from error
    deep = _to_16(values, path)
    return deep.astype(np.uint8) if data.BitsStored <= 8 and deep.max() <= 255 else deep


# ---------------------------------------------------------------------------------------------------- writing


def _encoder(path: Path, image: np.ndarray) -> tuple[str, list[int]]:
    suffix = path.suffix.lower()
    if image.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"{path}: expected uint8 or uint16 pixels, got {image.dtype}")
    if not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)) or image.size == 0:
        raise ValueError(f"{path}: expected an image (H, W) or (H, W, 3), got shape {image.shape}")
    if suffix == ".png":
        # grey: OpenCV's own setting (runs of filtered bytes) is as small on films, at a third of the time
        return ".png", [] if image.ndim == 2 else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    if suffix in (".tif", ".tiff"):
        return ".tif", []
    if suffix not in (".jpg", ".jpeg"):
        raise ImageError(f"{path}: cannot write {suffix or 'a file without suffix'}, expected .png, .jpg or .tif")
    if image.dtype != np.uint8:
        raise ImageError(f"{path}: JPEG holds 8 bits, expected uint8 pixels, got {image.dtype}")
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return ".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95, *sampling]


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Writes uint8 or uint16 (H, W) or (H, W, 3) RGB by suffix: .png and .tif losslessly, .jpg at quality 95 (8 bits).

    The file appears whole or not at all. ImageError where the format cannot hold the image, ValueError or TypeError
    for something that is not an image.
    """
    path, image = Path(path), np.asarray(image)
    suffix, options = _encoder(path, image)
    done, data = cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]) if image.ndim == 3 else image, options)
    if not done:
        raise ImageError(f"{path}: the image could not be encoded")
    atomic_write(path, lambda file: file.write(data.tobytes()))


def atomic_write(path: Path, write: Callable) -> None:
    """Lets `write` fill a temporary binary file beside `path`, then renames it; nothing is left on failure."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
