"""What an image file holds: its digest, size, perceptual hash, faults, and the model's view of it."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from xray_debug.data.decode import ImageHeader
from xray_debug.data.hashes import perceptual_hash
from xray_debug.data.images import ImageError, ModelView, file_content, image_header, read_film, to_gray8
from xray_debug.data.likeness import SHAPE, outline, reduced
from xray_debug.data.projection import OUTLINE, SLICE, is_slice, said_together

FACTS = {"width": 0, "height": 0, "bit_depth": 0, "sha256": "", "phash": "", "looks_like": "",
         "problem": ""}  # fmt: skip
"""What is found out about a file, and what stands where nothing is known. `phash` is 16 hex digits; `looks_like` is ""
or what no frontal film is and how that was seen (`CT slice by outline`, `lateral view by DICOM tags`)."""


def scan_image(path: str | Path, view: ModelView | None = None) -> dict[str, Any]:
    """FACTS of one file and its `outline` (zeros where the image cannot be used), read once and decoded
    once, whole, so that damage shows.

    `problem` is "unreadable: ..." (nothing else is known then) or "blank: ...". With `view` the key `view` holds what
    the model sees, uint8 (S, S), zeros where the image cannot be used.
    """
    path, unseen = Path(path), {"outline": np.zeros(SHAPE, np.uint8)}
    unseen |= {} if view is None else {"view": np.zeros((view.size, view.size), np.uint8)}
    try:
        content = file_content(path)
        header, (pixels, window) = image_header(path, content), read_film(path, content)
    except ImageError as error:
        what = str(error).removeprefix(f"{path}: ").replace(str(path), path.name)
        return FACTS | unseen | {"problem": f"unreadable: {what}"}
    known = {"width": header.width, "height": header.height, "bit_depth": header.bit_depth,
             "sha256": sha256(content).hexdigest()}  # fmt: skip
    if pixels.min() == pixels.max():
        return FACTS | unseen | known | {"problem": f"blank: every pixel is {pixels.min()}"}
    small = reduced(to_gray8(pixels, window))
    known["looks_like"] = _looks_like(header, small)
    seen = {"outline": outline(small)} | ({} if view is None else {"view": view.apply(pixels, window)})
    return FACTS | seen | known | {"phash": f"{perceptual_hash(small):016x}"}


def _looks_like(header: ImageHeader, small: np.ndarray) -> str:
    """See FACTS; the outline is judged only where the tags say nothing."""
    kind = said_together(header.said)
    if kind is None:
        return SLICE + OUTLINE if is_slice(small) else ""
    return f"{kind} by DICOM tags" if kind else ""


class ScanWorker:
    """For rows with `path` below `root`: what scan_image says. `view`: the fields of a ModelView, None for no view."""

    def __init__(self, root: str | Path, view: dict | None = None):
        self.root, self.view = str(root), view

    def open(self) -> None:
        self._view = None if self.view is None else ModelView(**self.view)

    def __call__(self, rows: list[dict]) -> list[dict]:
        return [scan_image(Path(self.root, row["path"]), self._view) for row in rows]
