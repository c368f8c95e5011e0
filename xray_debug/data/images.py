"""Read and write radiographs. What the model sees of one is ModelView (view.py, importable from here).

Images are uint8 or uint16 arrays, (H, W) grey or (H, W, 3) RGB. A file that cannot be used raises ImageError with
one sentence that names it. Files are told apart by their content, not by their suffix.
"""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from xray_debug.data.decode import ImageError, ImageHeader, pillow_film, pillow_header, short, with_window
from xray_debug.data.dicom import dicom_film, dicom_header, is_dicom
from xray_debug.data.files import atomic_write
from xray_debug.data.view import GreyWindow, ModelView, to_gray8

__all__ = ["DECODES", "JPEG_SUFFIXES", "SUFFIXES", "Film", "GreyWindow", "ImageError", "ImageHeader", "ModelView",
           "encoded", "file_content", "image_header", "read_film", "read_image", "to_gray8", "write_image"]  # fmt: skip

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif")
SUFFIXES = (".png", *JPEG_SUFFIXES, ".tif", ".tiff", ".bmp", ".gif", ".webp", ".dcm", ".dicom")
_NOT_THE_FILES_FAULT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class DecodeCount:
    """How many images this process has decoded.

    Decoding is what most stages spend their time on once nothing else is wasted, so tests hold a run to a number.
    The lock counts right when images are decoded in several threads.
    """

    def __init__(self):
        self.total, self._lock = 0, threading.Lock()

    def add(self) -> None:
        with self._lock:
            self.total += 1


DECODES = DecodeCount()


# ---------------------------------------------------------------------------------------------------- reading


class Film(NamedTuple):
    """An image as it is in its file, and the grey window through which it and whatever is made from it are seen."""

    pixels: np.ndarray
    window: GreyWindow

    @property
    def gray(self) -> np.ndarray:
        """uint8 (H, W)."""
        return to_gray8(self.pixels, self.window)


def read_film(path: str | Path, content: bytes | None = None) -> Film:
    """`read_image` with its grey window: the one that the file brings, else that of its pixels."""
    path = Path(path)
    content = file_content(path) if content is None else content
    DECODES.add()
    pixels, window = dicom_film(path, content) if is_dicom(content) else pillow_film(path, content)
    return Film(pixels, GreyWindow.of(pixels) if window is None else window)


def read_image(path: str | Path, content: bytes | None = None) -> np.ndarray:
    """The image in `path`: uint8 or uint16, (H, W) or (H, W, 3) RGB. `content`: its bytes, where they are known.

    PNG, JPEG, TIFF, DICOM and what else Pillow decodes. 1-bit becomes 0/255; a grey palette becomes grey; transparency
    is laid on black; CMYK becomes RGB; EXIF rotation is applied; float pixels are scaled to 16 bits over their range;
    of several pages the first is read. DICOM: as a radiologist sees it (dicom_film).
    ImageError: missing, empty, truncated, not an image, or more than 100 million pixels.
    """
    return read_film(path, content).pixels


def image_header(path: str | Path, content: bytes | None = None) -> ImageHeader:
    """Size, depth, mode and format of `path` without decoding it; ImageError as read_image, but for damaged pixels."""
    path = Path(path)
    content = file_content(path) if content is None else content
    return dicom_header(path, content) if is_dicom(content) else pillow_header(path, content)


def file_content(path: str | Path) -> bytes:
    """All bytes of an image file, never empty; ImageError where there are none to be had."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in _NOT_THE_FILES_FAULT:
            raise
        raise ImageError(f"{path}: {_why_unreadable(path, error)}") from error
    if not content:
        raise ImageError(f"{path}: empty file, expected an image")
    return content


def _why_unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return "no such file"
    if isinstance(error, IsADirectoryError) or os.path.isdir(path):
        return "a folder, expected an image"
    return "may not be read" if isinstance(error, PermissionError) else f"cannot be read ({short(error)})"


# ---------------------------------------------------------------------------------------------------- writing


def write_image(path: str | Path, image: np.ndarray, window: GreyWindow | None = None) -> None:
    """Writes uint8 or uint16 (H, W) or (H, W, 3) RGB by suffix: .png and .tif losslessly, .jpg at quality 95 (8 bits).

    `window` is kept in a 16-bit PNG or TIFF (as its description), where read_film finds it again.
    The file appears whole or not at all. ImageError where the format cannot hold the image, ValueError or TypeError
    for something that is not an image.
    """
    content = encoded(path, image, window)
    atomic_write(path, lambda file: file.write(content))


def encoded(path: str | Path, image: np.ndarray, window: GreyWindow | None = None) -> bytes:
    """What write_image writes; nothing is written."""
    path, image = Path(path), np.asarray(image)
    suffix, options = _encoder(path, image)
    done, data = cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]) if image.ndim == 3 else image, options)
    if not done:
        raise ImageError(f"{path}: the image could not be encoded")
    content = data.tobytes()
    if window is not None and image.dtype == np.uint16:
        content = with_window(content, window)
    return content


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
    if suffix not in JPEG_SUFFIXES:
        raise ImageError(f"{path}: cannot write {suffix or 'a file without suffix'}, expected .png, .jpg or .tif")
    if image.dtype != np.uint8:
        raise ImageError(f"{path}: JPEG holds 8 bits, expected uint8 pixels, got {image.dtype}")
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return ".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95, *sampling]
