"""Laterality letters among boxes of text: a lone R or L, also in a ring or a box, as a recogniser reads it.

A detector of text says where text is, not what it says. The recogniser is the one inside the package rapidocr; it looks
at each box that could hold one letter. Upright and mirrored letters are known: one that lies on its side counts
as any text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from xray_debug.data.boxes import as_boxes, clip_boxes, dilate_boxes
from xray_debug.data.images import to_gray8
from xray_debug.data.unchanged import read_known
from xray_debug.text.detectors.ppocr import listed_sha256
from xray_debug.text.detectors.registry import check_sha256

SIDES = ("L", "R")
RINGED = {"Ⓛ": "L", "Ⓡ": "R", "®": "R"}  # how a letter in a ring may be read
ROUND = "0OQDCU"
ELONGATED = 2.2  # longer over shorter side, above which a box holds more than a letter
TALL = 1.5
APART = 1.0  # heights of a letter to the next text on its line, below which it is no lone one
CERTAIN = 0.9  # score of a reading that counts
MARGIN, FRAME = 0.1, (0.18, 0.26)  # of the shorter side: around the box; what a ring or a plate takes of it


class LetterReader:
    """The recogniser inside rapidocr (PP-OCR). ImportError naming the extra where it is not installed.

    `threads`: of onnxruntime; one, since many images are read side by side.
    """

    def __init__(self, threads: int = 1):
        try:
            import onnxruntime  # noqa: F401  rapidocr finds it missing only later, and less clearly
            import rapidocr
        except ImportError as error:
            hint = "pip install 'xray-debug[ppocr]'"
            raise ImportError(f"reading letters needs the extra ppocr: {hint} (import failed: {error})") from error
        package = Path(rapidocr.__file__).parent
        bundled = sorted((package / "models").glob("*rec*.onnx"))
        if not bundled:
            raise ValueError("rapidocr carries no recognition model (*rec*.onnx) in its folder models; reinstall it")
        check_sha256(bundled[-1], listed_sha256(package, bundled[-1].name))
        self.engine = rapidocr.RapidOCR(params={
            "Rec.model_path": str(bundled[-1]), "Global.log_level": "critical", "Global.use_det": False,
            "Global.use_cls": False, "EngineConfig.onnxruntime.intra_op_num_threads": threads,
        })

    def read(self, crop: np.ndarray) -> tuple[str, float]:
        """(text, score in [0, 1]) of uint8 (h, w) that holds one line; ("", 0) where nothing can be read."""
        found = self.engine(cv2.cvtColor(crop, cv2.COLOR_GRAY2BGR), use_det=False, use_cls=False, use_rec=True)
        return (str(found.txts[0]).strip(), float(found.scores[0])) if found.txts else ("", 0.0)

    def side(self, image: np.ndarray, box: Sequence[int]) -> str:
        """"L" or "R" where that is all that `box` of `image`, uint8 (H, W), holds; "" else.

        A ring or a plate around the letter is cut away, and the film turned over (a marker that lay the other way round
        is still one), only where the box as a whole reads as nothing certain: the inner part of a word is no letter.
        """
        whole = _cut(image, box, MARGIN)
        text, score = self.read(whole)
        if score >= CERTAIN and (_side(text) or not _may_hide_a_letter(text)):
            return _side(text)
        inner = [_cut(image, box, -share) for share in FRAME]
        for crop in (*inner, whole[:, ::-1], *(part[:, ::-1] for part in inner)):
            text, score = self.read(np.ascontiguousarray(crop))
            if score >= CERTAIN:
                return _side(text)
        return ""


def _side(text: str) -> str:
    text = RINGED.get(text, text)
    return text if text in SIDES else ""


def _may_hide_a_letter(text: str) -> bool:
    """Whether a ring or a plate with something in it, or a mirrored letter, may read so."""
    return len(text) == 1 and (text in ROUND or not text.isascii())


def _cut(image: np.ndarray, box: Sequence[int], share: float) -> np.ndarray:
    x0, y0, x1, y1 = (int(v) for v in box)
    grow = share * min(x1 - x0, y1 - y0)
    if grow >= 0:
        (found,) = dilate_boxes([box], grow, *image.shape[:2])
    else:
        inset = min(int(-grow), (min(x1 - x0, y1 - y0) - 1) // 2)
        found = (x0 + inset, y0 + inset, x1 - inset, y1 - inset)
    x0, y0, x1, y1 = found
    return np.ascontiguousarray(image[y0:y1, x0:x1])


def could_be_letters(boxes) -> np.ndarray:
    """(N,) bool: which boxes of an image's text could hold one letter that stands alone, by their shape and place.

    Such a box is not much longer than wide, and on its line no other box of text is nearer than the letter is high
    (a line: at least half of the lower box's height in common); nor is one above or below it that is written upwards or
    downwards (TALL times as high as wide), as the L of a turned "PORTABLE L" has.
    """
    found = as_boxes(boxes)
    sizes = (found[:, 2:] - found[:, :2]).astype(float)
    alone = (sizes.min(1) > 0) & (sizes.max(1) <= ELONGATED * np.maximum(sizes.min(1), 1))
    for i, (x0, y0, x1, y1) in enumerate(found):
        for j, (u0, v0, u1, v1) in enumerate(found):
            across = min(y1, v1) - max(y0, v0), min(y1 - y0, v1 - v0), max(u0 - x1, x0 - u1), y1 - y0
            down = min(x1, u1) - max(x0, u0), min(x1 - x0, u1 - u0), max(v0 - y1, y0 - v1), x1 - x0
            for common, lower, gap, size in (across, down) if v1 - v0 >= TALL * (u1 - u0) else (across,):
                if i != j and common >= lower / 2 and gap < APART * size:
                    alone[i] = False
    return alone


@dataclass
class LateralityWorker:
    """Rows with image_id, file, sha256 and boxes (N, 4) of the image's text -> image_id, `letters`: those boxes
    that hold such a letter alone, and `sides`: "L" or "R" of each. An ImageError for a file that cannot be read.
    `reader`: another one than LetterReader, with its `side`."""

    reader: Any = None

    def open(self) -> None:
        self.reader = self.reader or LetterReader()

    def __call__(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"image_id": row["image_id"], **self._letters(row)} for row in rows]

    def _letters(self, row: dict[str, Any]) -> dict[str, list]:
        boxes = as_boxes(row["boxes"])
        chosen = boxes[could_be_letters(boxes)]
        if not len(chosen):
            return {"letters": [], "sides": []}
        film = read_known(row["file"], row.get("sha256", ""))
        image = to_gray8(film.pixels, film.window)
        inside = [clip_boxes([box], *image.shape) for box in chosen]
        sides = [self.reader.side(image, own[0]) if len(own) else "" for own in inside]
        return {"letters": [box.tolist() for box, side in zip(chosen, sides, strict=True) if side],
                "sides": [side for side in sides if side]}
