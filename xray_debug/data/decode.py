"""From the bytes of a PNG, JPEG, TIFF or whatever else Pillow reads to pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 100_000_000
_EXIF_IN_PNG = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")
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


def short(error: Exception) -> str:
    """The first line of what an exception says, or its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def pillow_header(path: Path, content: bytes) -> ImageHeader:
    """Nothing is decoded. ImageError where Pillow cannot tell what it is, or above MAX_PIXELS."""
    with _opened(path, content) as (image, depth):
        width, height = image.size
        if _lies_on_its_side(path, image, content):
            width, height = height, width
        return ImageHeader(width, height, depth, image.mode, image.format or "")


def _lies_on_its_side(path: Path, image: Image.Image, content: bytes) -> bool:
    """Whether EXIF has the image shown turned by a quarter.

    In a PNG it may come after the pixels, and Pillow decodes them to get there: only where there is a sign of it.
    """
    if image.format == "PNG" and not any(sign in content for sign in _EXIF_IN_PNG):
        return False
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    except Exception as error:
        raise ImageError(f"{path}: damaged or truncated image ({short(error)})") from error


def pillow_pixels(path: Path, content: bytes) -> np.ndarray:
    """uint8 or uint16, (H, W) or (H, W, 3) RGB; ImageError as pillow_header, and for damaged pixels."""
    with _opened(path, content) as (image, depth):
        try:
            image.load()
        except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ...
            raise ImageError(f"{path}: damaged or truncated image ({short(error)})") from error
        if depth == 16 and len(image.getbands()) > 1:
            return _deep_colour(path, content)
        return _pixels(ImageOps.exif_transpose(image), path)


@contextmanager
def _opened(path: Path, content: bytes) -> Iterator[tuple[Image.Image, int]]:
    """(Pillow image, bits per channel), pixels not decoded yet."""
    try:
        image = Image.open(BytesIO(content))
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: too many pixels, expected at most {MAX_PIXELS}") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not an image that can be read, expected PNG, JPEG, TIFF or DICOM") from error
    except Exception as error:
        raise ImageError(f"{path}: not a readable image ({short(error)})") from error
    with image:
        check_size(path, *image.size)
        yield image, _bit_depth(image, content)


def check_size(path: Path, width: int, height: int) -> None:
    """ImageError for more than MAX_PIXELS pixels."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"{path}: {width} x {height} pixels, expected at most {MAX_PIXELS}")


def _bit_depth(image: Image.Image, content: bytes) -> int:
    """Bits per channel as stored; Pillow hides the depth of 16-bit colour."""
    if image.format == "PNG":
        return content[24]
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, (1,))  # BitsPerSample
        return int(bits[0] if isinstance(bits, tuple) else bits)
    return _DEPTHS.get(image.mode, 8)


def _grey_palette(image: Image.Image) -> bool:
    colours = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    if not len(colours):
        raise ValueError("its palette is missing")
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
        return to_16(np.array(image), path)
    return np.array(image.convert("RGB"))


def to_16(values: np.ndarray, path: Path) -> np.ndarray:
    """Whole numbers that fit are kept (shifted to start at 0 where negative); else the range is scaled to 0..65535."""
    if not np.isfinite(values).all():
        raise ImageError(f"{path}: pixels that are not finite numbers")
    low, high = float(values.min()), float(values.max())
    whole = bool((values == np.round(values)).all())
    if whole and high - min(low, 0.0) <= 65535:
        return (values - min(low, 0.0)).astype(np.uint16)
    return np.round((values - low) * (65535.0 / max(high - low, 1e-12))).astype(np.uint16)


def _deep_colour(path: Path, content: bytes) -> np.ndarray:
    """16-bit colour, which Pillow would cut to 8 bits; Pillow has decoded it, so the file is whole."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ImageError(f"{path}: 16-bit colour that cannot be decoded")
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.float64) / np.iinfo(pixels.dtype).max
        pixels = np.round(pixels[..., :3] * alpha).astype(pixels.dtype)
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., ::-1])
