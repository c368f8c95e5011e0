"""The files of a cleaned dataset: one form for the images that were changed and those that were not.

A PNG or TIFF stays what it is, a JPEG becomes what `clean.lossy` says, a DICOM file is written anew with the tags that
say so. An image without text goes the same way, or the form of its file would tell that it had none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xray_debug.cleaning.files import JPEG_SUFFIXES
from xray_debug.config import CleanConfig
from xray_debug.data.dicom import is_dicom
from xray_debug.data.dicom_write import CONTROL, DERIVATION, Written, rewrite
from xray_debug.data.images import Film, encoded, image_header
from xray_debug.data.jpeg import encode_like, is_jpeg

PLAIN_MODES = ("L", "RGB", "I;16", "I;16B", "I;16L")


def stays(path: str | Path, file: str) -> bool:
    """Whether a copy of the original has the form that a changed image called `file` is written in. OSError."""
    suffix = Path(file).suffix.lower()
    with open(path, "rb") as found:
        head = found.read(132)
    if is_dicom(head):
        return False
    if suffix == ".png":  # 8 or 16 bits, grey or RGB
        return head[:4] == b"\x89PNG" and len(head) > 25 and head[24] in (8, 16) and head[25] in (0, 2)
    if suffix in (".tif", ".tiff"):
        header = image_header(path)
        return header.format == "TIFF" and header.bit_depth in (8, 16) and header.mode in PLAIN_MODES
    return False


def written(path: Path, content: bytes, file: str, film: Film, pixels: np.ndarray | None, config: CleanConfig,
            control: bool = False, free_of_text: bool = True) -> Written:  # fmt: skip
    """The file called `file` for an original (`path`, `content`, decoded as `film`) that is to show `pixels`.

    `pixels` None: as it was. `free_of_text`: whether a DICOM file may say so. ValueError where the form cannot hold it.
    """
    if is_dicom(content):
        salt = f"{config.model_dump_json()} {control}"
        edit = None if pixels is None else (film.pixels, pixels)
        return rewrite(path, content, edit, salt, free_of_text and not control, CONTROL if control else DERIVATION)
    shown = film.pixels if pixels is None else pixels
    if Path(file).suffix.lower() in JPEG_SUFFIXES and is_jpeg(content) and shown.dtype == np.uint8:
        return Written(encode_like(shown, content), None, "")
    return Written(encoded(file, shown, film.window), None, "")
