"""From the bytes of a PNG, JPEG, TIFF or whatever else Pillow reads to pixels."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
from PIL import ExifTags, Image, UnidentifiedImageError

from xray_debug.data.png import is_interlaced, rows_are_missing
from xray_debug.data.shown import shown
from xray_debug.data.view import GreyWindow, strips

MAX_PIXELS = 100_000_000
MAX_SIDE = 1 << 24  # pixels; the bits of a longer row overflow in Pillow, which takes that for a lack of memory
_EXIF_IN_PNG = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")
_DEPTHS = {"1": 1, "I": 32, "F": 32, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16}


_JPEG_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_PHOTOMETRIC, _DESCRIPTION = 262, 270  # tags of TIFF
_WINDOW = "xray-debug grey window"


class ImageError(ValueError):
    """A file that is no usable image, "<file>: what is wrong"."""


class ImageHeader(NamedTuple):
    """What a file says of itself: pixels as shown (after EXIF rotation), bits per channel, mode and format.

    `said`: a DICOM file's modality and view position, where it has them.
    """

    width: int
    height: int
    bit_depth: int
    mode: str
    format: str
    said: tuple[str, ...] = ()


def short(error: Exception) -> str:
    """The first line of what an exception says, or its type; it may hold what the file says."""
    return shown((str(error).strip().splitlines() or [type(error).__name__])[0][:120])


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
    if image.format == "TIFF":
        return False  # Pillow gives the size as shown
    if image.format == "PNG" and not any(sign in content for sign in _EXIF_IN_PNG):
        return False
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    except Exception as error:
        raise ImageError(f"{path}: damaged or truncated image ({short(error)})") from error


def pillow_film(path: Path, content: bytes) -> tuple[np.ndarray, GreyWindow | None]:
    """Pixels (uint8 or uint16, (H, W) or (H, W, 3) RGB) and the grey window that write_image left with them, if any.

    ImageError as pillow_header, and for damaged pixels.
    """
    with _opened(path, content) as (image, depth):
        try:
            pixels = _upright(*_decoded(path, content, image, depth))
            return pixels, _kept_window(image) if pixels.dtype == np.uint16 else None
        except (ImageError, MemoryError):
            raise
        except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ...
            raise ImageError(f"{path}: damaged or truncated image ({short(error)})") from error


def _decoded(path: Path, content: bytes, image: Image.Image, depth: int) -> tuple[np.ndarray, int]:
    """Pixels as stored, and the EXIF orientation that is still to be applied to them."""
    turned = image.format == "TIFF"  # Pillow turns a TIFF as it loads it
    if image.format in ("JPEG", "MPO") and image.mode in _JPEG_SPACES:  # raises where libjpeg only warns
        pixels = simplejpeg.decode_jpeg(content, _JPEG_SPACES[image.mode])
        if image.mode != "CMYK":
            grey = image.mode == "L"
            return (pixels[..., 0] if grey else pixels), image.getexif().get(ExifTags.Base.Orientation, 1)
    image.load()
    if image.format == "PNG" and _last_row_may_be_missing(image, content) and rows_are_missing(content):
        raise ImageError(f"{path}: damaged or truncated image (it holds fewer rows than its header says)")
    if depth == 16 and len(image.getbands()) > 1:
        pixels = _deep_colour(path, content, image)
    else:
        pixels = _pixels(image, path, depth)
        if turned and image.tag_v2.get(_PHOTOMETRIC) == 0 and pixels.dtype == np.uint16:
            pixels = _white_is_zero(pixels, image)
    return pixels, 1 if turned else image.getexif().get(ExifTags.Base.Orientation, 1)


def _last_row_may_be_missing(image: Image.Image, content: bytes) -> bool:
    """Cheap: rows that are missing are black."""
    width, height = image.size
    return is_interlaced(content) or not np.asarray(image.crop((0, height - 1, width, height))).any()


def _white_is_zero(pixels: np.ndarray, image: Image.Image) -> np.ndarray:
    """Inverted: Pillow does that for 8 bits alone."""
    bits = int(np.ravel(image.tag_v2.get(258, (16,)))[0])
    if image.mode.startswith("I;16"):
        return ((1 << min(bits, 16)) - 1 - pixels).astype(np.uint16)
    return int(pixels.max()) + int(pixels.min()) - pixels


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels as EXIF says that they are shown."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def with_window(content: bytes, window: GreyWindow) -> bytes:
    """The bytes of a PNG or TIFF as OpenCV encodes them, with the window as its description."""
    text = f"{_WINDOW} {window.low:g} {window.high:g}".encode()
    if content[:4] == b"\x89PNG":
        chunk = b"tEXtDescription\0" + text
        size, check = (len(chunk) - 4).to_bytes(4, "big"), zlib.crc32(chunk).to_bytes(4, "big")
        return content[:33] + size + chunk + check + content[33:]  # after the header
    return _with_description(content, text + b"\0")


def _with_description(content: bytes, text: bytes) -> bytes:
    """A TIFF of one directory with one entry more, the description: text and the new directory go to its end."""
    order = {b"II*\0": "<", b"MM\0*": ">"}[content[:4]]
    (start,) = struct.unpack(f"{order}I", content[4:8])
    (count,) = struct.unpack(f"{order}H", content[start : start + 2])
    entries = [content[start + 2 + 12 * i : start + 14 + 12 * i] for i in range(count)]
    content += bytes(len(content) % 2)  # both begin at even places
    entry = struct.pack(f"{order}HHII", _DESCRIPTION, 2, len(text), len(content))  # 2: ASCII
    entries = sorted([entry, *entries], key=lambda entry: struct.unpack(f"{order}H", entry[:2]))
    content += text + bytes(len(text) % 2)
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
    return content[:4] + struct.pack(f"{order}I", len(content)) + content[8:] + directory


def _kept_window(image: Image.Image) -> GreyWindow | None:
    text = image.tag_v2.get(_DESCRIPTION) if image.format == "TIFF" else image.info.get("Description")
    found = re.fullmatch(re.escape(_WINDOW) + r" (\d{1,5}) (\d{1,5})", text) if isinstance(text, str) else None
    return GreyWindow(int(found[1]), int(found[2])) if found else None


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
        if (count := _pages(image)) > 1:
            raise ImageError(f"{path}: {count} pages or frames, expected one radiograph; save that one alone")
        yield image, _bit_depth(image, content)


def _pages(image: Image.Image) -> int:
    """Pages of a TIFF, frames of an animation. A camera's MPO counts as one: what follows is a preview or depth."""
    if image.format == "MPO":
        return 1
    try:
        return getattr(image, "n_frames", 1)
    except Exception:  # damaged behind the first, which decides
        return 1


def check_size(path: Path, width: int, height: int) -> None:
    """ImageError for more than MAX_PIXELS pixels, or MAX_SIDE on one side."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"{path}: {width} x {height} pixels, expected at most {MAX_PIXELS}")
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"{path}: {width} x {height} pixels, expected at most {MAX_SIDE} a side")


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


def _pixels(image: Image.Image, path: Path, depth: int) -> np.ndarray:
    """A decoded Pillow image as uint8 or uint16, (H, W) or (H, W, 3)."""
    if image.mode == "P":
        grey = _grey_palette(image)
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        image = image.convert("LA" if image.mode == "RGBA" else "L") if grey else image
    if image.mode in ("LA", "PA", "La", "RGBA", "RGBa"):
        return _on_black(image)
    clear = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(clear, tuple):
        pixels = np.array(image)
        pixels[(pixels == np.array(clear)).all(axis=2)] = 0
        return pixels
    if image.mode in ("1", "L") or image.mode.startswith("I;16"):
        pixels = np.array(image).astype(np.uint16) if image.mode.startswith("I;16") else np.array(image.convert("L"))
        if image.format == "PNG" and isinstance(clear, int):
            scale = 255 // ((1 << depth) - 1) if depth < 8 else 1  # narrow ones are spread over 8 bits
            pixels[pixels == clear * (1 if clear == 255 else scale)] = 0
        return pixels
    if image.mode in ("I", "F"):
        return to_16(np.array(image), path)
    return np.array(image.convert("RGB"))


def _on_black(image: Image.Image) -> np.ndarray:
    """The pixels of an image with alpha, laid on black; LA becomes grey."""
    mode, (width, height) = "L" if image.mode in ("LA", "La") else "RGB", image.size
    pixels = np.empty((height, width) if mode == "L" else (height, width, 3), np.uint8)
    for rows in strips(pixels):
        base = Image.new("RGBA", (width, min(rows.stop, height) - rows.start), (0, 0, 0, 255))
        base.alpha_composite(image.crop((0, rows.start, width, rows.start + base.height)).convert("RGBA"))
        pixels[rows] = base.convert(mode)
    return pixels


def to_16(values: np.ndarray, path: Path) -> np.ndarray:
    """Whole numbers that fit are kept (shifted to start at 0 where negative); else the range is scaled to 0..65535."""
    low, high = float(values.min()), float(values.max())  # NaN, where there is one
    if not np.isfinite([low, high]).all():
        raise ImageError(f"{path}: pixels that are not finite numbers")
    whole = values.dtype.kind in "iu" or all((values[rows] == np.round(values[rows])).all() for rows in strips(values))
    kept = whole and high - min(low, 0.0) <= 65535
    pixels = np.empty(values.shape, np.uint16)
    for rows in strips(values):
        wide = values[rows].astype(np.float64)
        pixels[rows] = wide - min(low, 0.0) if kept else np.round((wide - low) * (65535.0 / max(high - low, 1e-12)))
    return pixels


def _deep_colour(path: Path, content: bytes, image: Image.Image) -> np.ndarray:
    """16-bit colour, which Pillow would cut to 8 bits; Pillow has decoded it, so the file is whole."""
    if image.mode not in ("LA", "RGB", "RGBA"):
        raise ImageError(f"{path}: 16-bit pixels of mode {image.mode}, expected grey or RGB")
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3 or pixels.dtype != np.uint16:
        raise ImageError(f"{path}: 16-bit colour that cannot be decoded")
    colour = np.ascontiguousarray(pixels[..., 2::-1])
    if image.info.get("transparency") is not None:
        colour[(colour == np.array(image.info["transparency"])).all(axis=2)] = 0
    elif pixels.shape[2] == 4:
        for rows in strips(colour):
            colour[rows] = np.round(colour[rows] * (pixels[rows, :, 3:] / 65535.0))
    return colour[..., 0] if image.mode == "LA" else colour
