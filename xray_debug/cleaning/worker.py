"""One image at a time into COVIDx++: decoded once, and everything that needs its pixels done with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from xray_debug.cleaning.controls import image_seed, moved_region
from xray_debug.cleaning.erase import clean_image, erase
from xray_debug.cleaning.files import JPEG_SUFFIXES
from xray_debug.cleaning.inpainting import inpaint_region
from xray_debug.cleaning.residue import probe_features
from xray_debug.config import CleanConfig
from xray_debug.data.boxes import as_boxes, as_found
from xray_debug.data.files import file_sha256
from xray_debug.data.images import (
    Film,
    GreyWindow,
    ImageError,
    ImageHeader,
    ModelView,
    image_header,
    read_film,
    to_gray8,
    write_image,
)
from xray_debug.data.unchanged import copy_known, known_content, read_known

UNCHANGED = {"changed": False, "boxes": "", "origin": "", "original_sha256": "", "cleaned_sha256": "",
             "area_share": 0.0, "note": "", "control_boxes": "", "control_area_share": 0.0, "residual": None,
             "probe": None}  # fmt: skip


class CleanWorker:
    """Writes the cleaned file of each row, and its control, and gives what else is wanted of their pixels.

    Rows are those of `plan_rows`; a row may bring `patch` (bytes, of `erase`: its text was removed before) and `view`
    (uint8 (S, S), the model's view of the original, so that an image that stays as it is need not be decoded).

    A result holds `file` and `control_file` (names, "" without control), `changed`, the columns of the change log
    (dataset.CHANGES), `failed` (why an image stays as it was although it has boxes), `residual` (boxes that the second
    reader finds in the cleaned image; None: not read), `view` and `control_view` (uint8 (S, S); None unless asked
    for), and `probe` (residue.probe_features; None unless asked for).
    """

    def __init__(
        self,
        config: dict,
        seed: int,
        out: str,
        control_out: str | None = None,
        reader: Callable[[], Any] | None = None,
        view: dict | None = None,
    ):
        """`config`: a CleanConfig's fields. `reader`: makes the second reader, anything with
        `detect(images) -> one list of boxes per image`; it must pickle. `view`: a ModelView's fields.
        """
        self.settings, self.seed, self.out, self.control_out = config, seed, out, control_out
        self.make_reader, self.view_settings = reader, view

    @property
    def writes_into(self) -> list[str]:
        return [out for out in (self.out, self.control_out) if out is not None]

    def open(self) -> None:
        self.config = CleanConfig(**self.settings)
        self.view = None if self.view_settings is None else ModelView(**self.view_settings)
        self.reader = None if self.make_reader is None else self.make_reader()

    def __call__(self, rows: list[dict]) -> list[dict]:
        return [self._one(row) for row in rows]

    def _one(self, row: dict) -> dict:
        if not len(row["boxes"]):
            return self._as_it_was(row)
        content = known_content(row["path"], row["sha256"])
        film, boxes = read_film(row["path"], content), as_boxes(row["boxes"])
        image = film.pixels
        try:
            cleaned, region = self._erased(image, boxes, row.get("patch"))
            if not region.any():
                return self._as_it_was(row, film)
            cleaned = self._write(self.out, row, cleaned, film.window)
        except ValueError as error:  # a box over the whole image, or 16 bits under a name of JPEG: kept, and named
            return self._as_it_was(row, film, f"{row['image_id']}: {error}")
        note = _note(row, image_header(row["path"], content), image, cleaned, region)
        return self._changed(row, film, boxes, cleaned, region, note, sha256(content).hexdigest())

    def _erased(self, image: np.ndarray, boxes: np.ndarray, patch: bytes | None) -> tuple[np.ndarray, np.ndarray]:
        return erase(image, boxes, self.config, patch)[:2] if patch else clean_image(image, boxes, self.config)

    def _changed(self, row: dict, film: Film, boxes, cleaned, region, note: str, digest: str) -> dict:
        image, window = film
        result = UNCHANGED | {
            "changed": True, "file": row["file"], "control_file": "", "failed": "", "view": self._seen(cleaned, window),
            "control_view": None, "boxes": json.dumps(boxes.tolist()), "origin": row["origin"],
            "original_sha256": digest,
            "cleaned_sha256": file_sha256(self._target(self.out, row, row["file"])), "area_share": _share(region),
        }  # fmt: skip
        if self.control_out is not None or row["probe"]:
            placed, moved = moved_region(image, boxes, self.config, image_seed(self.seed, row["image_id"]))
        if self.control_out is not None:
            result |= self._control(row, film, placed, moved, digest)
        if row["probe"]:
            elsewhere = _readable(row["untouched"], row.get("untouched_sha256", ""))
            result["probe"] = probe_features(
                cleaned, region, boxes, placed, moved, None if elsewhere is None else elsewhere.pixels, self.config,
                (self.seed, row["image_id"]), window, None if elsewhere is None else elsewhere.window,
            )
        if row["read_again"] and self.reader is not None:
            result["residual"], failed = self._count(cleaned, window)
            note = "; ".join(filter(None, (note, failed)))
        return result | {"note": note}

    def _control(self, row: dict, film: Film, placed: np.ndarray, moved: np.ndarray, digest: str) -> dict:
        """The same boxes erased in text-free places, under the cleaned image's name."""
        image, window = film
        if moved.any() or row["file"] != row["image_id"]:
            control = inpaint_region(image, moved, self.config.radius, self.config.method, placed)
            control = self._write(self.control_out, row, control, window)
        else:  # no free place: the original is its own control
            control = image
            copy_known(row["path"], self._target(self.control_out, row, row["file"]), digest)
        return {"control_file": row["file"], "control_boxes": json.dumps(placed.tolist()),
                "control_area_share": _share(moved), "control_view": self._seen(control, window),
                "control_sha256": file_sha256(self._target(self.control_out, row, row["file"]))}  # fmt: skip

    def _as_it_was(self, row: dict, film: Film | None = None, failed: str = "") -> dict:
        """A copy of the original under its own name, in both datasets; its view is the one that came with the row."""
        for out in self.writes_into:
            copy_known(row["path"], self._target(out, row, row["image_id"]), row["sha256"])
        view = None
        if self.view is not None:
            view = row.get("view")
            if view is None:
                view = self.view.apply(*(read_known(row["path"], row["sha256"]) if film is None else film))
        control = self.control_out is not None
        return UNCHANGED | {
            "file": row["image_id"], "control_file": row["image_id"] if control else "", "failed": failed,
            "view": view, "control_view": view if control else None,
        }  # fmt: skip

    def _target(self, out: str, row: dict, name: str) -> Path:
        folder = Path(out) / row["folder"]
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def _write(self, out: str, row: dict, pixels: np.ndarray, window: GreyWindow) -> np.ndarray:
        """Writes the file and returns the pixels that it holds: others than `pixels` where its format loses."""
        target = self._target(out, row, row["file"])
        write_image(target, pixels, window)
        return read_film(target).pixels if target.suffix.lower() in JPEG_SUFFIXES else pixels

    def _seen(self, image: np.ndarray, window: GreyWindow) -> np.ndarray | None:
        return None if self.view is None else self.view.apply(image, window)

    def _count(self, cleaned: np.ndarray, window: GreyWindow) -> tuple[int | None, str]:
        """How many boxes the second reader finds, or why it cannot say: the repair does not depend on it."""
        try:
            (found,) = self.reader.detect([cleaned if cleaned.dtype == np.uint8 else to_gray8(cleaned, window)])
            found = as_found(found, getattr(self.reader, "name", "that reads again"))
        except Exception as error:  # of whatever kind: another's reader may raise anything
            return None, f"not read again: {error or type(error).__name__}"
        return len(found), ""


def _readable(path: str, digest: str) -> Film | None:
    try:
        return read_known(path, digest) if path else None
    except ImageError:  # another image's fault is named where that image is dealt with
        return None


def _share(region: np.ndarray) -> float:
    return np.count_nonzero(region) / region.size


def _note(row: dict, header: ImageHeader, image: np.ndarray, cleaned: np.ndarray, region: np.ndarray) -> str:
    """What else than the region changed in the file: its format, or the loss of encoding it again."""
    suffix, notes = Path(row["file"]).suffix.lower(), []
    if suffix in JPEG_SUFFIXES:
        loss = np.abs(cleaned.astype(np.float32) - image)[~region].mean()
        notes.append(f"encoded as JPEG again: pixels outside the boxes differ by {loss:.2f} grey levels on average")
    elif row["file"] != row["image_id"] or header.format not in ("PNG", "TIFF"):
        notes.append(f"{header.format} written losslessly as {suffix[1:].upper()}")
    if header.mode in ("P", "PA", "LA", "RGBA", "La", "RGBa", "CMYK", "1") or header.bit_depth not in (8, 16):
        notes.append(f"mode {header.mode} with {header.bit_depth} bits written as {8 * cleaned.itemsize} bits")
    return "; ".join(notes)
