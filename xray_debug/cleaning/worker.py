"""One image at a time into COVIDx++: decoded once, and everything that needs its pixels done with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from xray_debug.cleaning.controls import image_seed, moved_region
from xray_debug.cleaning.copies import stays, written
from xray_debug.cleaning.erase import clean_image, erase, spared
from xray_debug.cleaning.files import JPEG_SUFFIXES
from xray_debug.cleaning.inpainting import inpaint_region
from xray_debug.cleaning.residue import probe_features
from xray_debug.cleaning.second import read_boxes, reading_of, without_kept
from xray_debug.config import CleanConfig
from xray_debug.data.boxes import as_boxes
from xray_debug.data.dicom import is_dicom
from xray_debug.data.files import atomic_write, file_sha256, take_over
from xray_debug.data.images import (
    Film,
    GreyWindow,
    ImageError,
    ImageHeader,
    ModelView,
    image_header,
    read_film,
    write_image,
)
from xray_debug.data.unchanged import copy_known, known_content, read_known

UNCHANGED = {"changed": False, "boxes": "", "origin": "", "original_sha256": "", "cleaned_sha256": "",
             "area_share": 0.0, "note": "", "control_boxes": "", "control_area_share": 0.0, "control_sha256": "",
             "residual": None, "reading": None, "reading_note": "", "probe": None, "file": "", "control_file": "",
             "failed": "", "view": None, "control_view": None, "file_sha256": "", "control_file_sha256": "",
             "excluded": False}  # fmt: skip


class CleanWorker:
    """Writes the cleaned file of each row, and its control, and gives what else is wanted of their pixels.

    Rows are those of `plan_rows`; a row may bring `patch` (bytes, of `erase`: its text was removed before) and `view`
    (uint8 (S, S), the model's view of the original, so that an image that stays as it is need not be decoded). A row
    with `before`, the result that a row of the same `key` had, takes its files over from the folders `earlier`, where
    they are still what was written, and the original is; also its measures (residual, reading, probe), where the rows
    have the same `measured`.

    A result holds `file` and `control_file` (names, "" without control), `changed`, the columns of the change log
    (dataset.CHANGES), `failed` (why an image stays as it was although it has boxes), `residual` (boxes that the second
    reader finds in the cleaned image; None: not read), `reading` (a second.Reading of the original, as a list; None:
    not read, with `reading_note` where the reader failed), `view` and `control_view` (uint8 (S, S); None unless asked
    for), `probe` (residue.probe_features; None unless asked for), `file_sha256` and `control_file_sha256` of what was
    written, and the row's `key` and `measured`. An excluded image has no files and no views.
    """

    def __init__(
        self,
        config: dict,
        seed: int,
        out: str,
        control_out: str | None = None,
        reader: Callable[[], Any] | None = None,
        view: dict | None = None,
        earlier: tuple[str, str] = ("", ""),
    ):
        """`config`: a CleanConfig's fields. `reader`: makes the second reader, anything with
        `detect(images) -> one list of boxes per image`; it must pickle. `view`: a ModelView's fields. `earlier`: the
        folders of `out` and `control_out` that rows with `before` were written into.
        """
        self.settings, self.seed, self.out, self.control_out = config, seed, out, control_out
        self.make_reader, self.view_settings, self.earlier = reader, view, earlier

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
        before = row.get("before")
        taken = before is not None and self._taken_over(row, before)
        if taken and before["measured"] == row["measured"] and _is_known(row, "untouched"):
            found = before
        else:  # of taken files the measures alone
            found = self._made(row | {"taken": taken})
        return {name: found[name] for name in UNCHANGED} | {name: row.get(name, "") for name in ("key", "measured")}

    def _taken_over(self, row: dict, before: dict) -> bool:
        """Whether the row's files are those that came of it before, under their names here."""
        if not _is_known(row, "path"):
            return False
        files = [(self.out, self.earlier[0], "file"), (self.control_out, self.earlier[1], "control_file")]
        for out, old, kind in files:
            name = before[kind]
            if out is None or not name:
                continue
            source, digest = Path(old) / row["folder"] / name, before[f"{kind}_sha256"]
            if not take_over(source, self._target(out, row, name), digest):
                return False
        return True

    def _made(self, row: dict) -> dict:
        if row.get("excluded"):
            return UNCHANGED | {"excluded": True}
        if not len(row["boxes"]):
            return self._as_it_was(row) | self._reading(row)
        content = known_content(row["path"], row["sha256"])
        film = read_film(row["path"], content)
        return self._repaired(row, film, content) | self._reading(row, film)

    def _repaired(self, row: dict, film: Film, content: bytes) -> dict:
        image, boxes = film.pixels, as_boxes(row["boxes"])
        try:
            cleaned, region = self._erased(image, boxes, row.get("patch"))
            cleaned, region = spared(image, cleaned, region, boxes, row.get("kept", ()))
            if not region.any():
                return self._as_it_was(row, film)
            cleaned, form = self._write(self.out, row, cleaned, film, content)
        except ValueError as error:  # a box over the whole image, or a picture that its format cannot hold: kept, named
            return self._as_it_was(row, film, f"{row['image_id']}: {error}")
        note = _note(row, image_header(row["path"], content), image, cleaned, region, form)
        return self._changed(row, film, boxes, cleaned, region, note, content)

    def _erased(self, image: np.ndarray, boxes: np.ndarray, patch: bytes | None) -> tuple[np.ndarray, np.ndarray]:
        return erase(image, boxes, self.config, patch)[:2] if patch else clean_image(image, boxes, self.config)

    def _changed(self, row: dict, film: Film, boxes, cleaned, region, note: str, content: bytes) -> dict:
        (image, window), digest = film, sha256(content).hexdigest()
        result = UNCHANGED | {
            "changed": True, "file": row["file"], "view": self._seen(cleaned, window),
            "boxes": json.dumps(boxes.tolist()), "origin": row["origin"], "original_sha256": digest,
            "cleaned_sha256": file_sha256(self._target(self.out, row, row["file"])), "area_share": _share(region),
        }  # fmt: skip
        result["file_sha256"] = result["cleaned_sha256"]
        if self.control_out is not None or row["probe"]:
            placed, moved = moved_region(image, boxes, self.config, image_seed(self.seed, row["image_id"]),
                                         as_boxes(row.get("kept", ())))  # fmt: skip
        if self.control_out is not None:
            result |= self._control(row, film, placed, moved, content)
        if row["probe"]:
            elsewhere = _readable(row["untouched"], row.get("untouched_sha256", ""))
            result["probe"] = probe_features(
                cleaned, region, boxes, placed, moved, None if elsewhere is None else elsewhere.pixels, self.config,
                (self.seed, row["image_id"]), window, None if elsewhere is None else elsewhere.window,
            )
        if row["read_again"] and self.reader is not None:
            result["residual"], failed = self._count(cleaned, window, row.get("kept", ()))
            note = "; ".join(filter(None, (note, failed)))
        return result | {"note": note}

    def _control(self, row: dict, film: Film, placed: np.ndarray, moved: np.ndarray, content: bytes) -> dict:
        """The same boxes erased in text-free places, under the cleaned image's name."""
        image, window = film
        if moved.any() or not stays(row["path"], row["file"]):
            control = inpaint_region(image, moved, self.config.radius, self.config.method, placed)
            control, _ = self._write(self.control_out, row, control, film, content)
        else:  # no free place: the original is its own control
            control = image
            if not row.get("taken"):
                copy_known(row["path"], self._target(self.control_out, row, row["file"]), sha256(content).hexdigest())
        written = file_sha256(self._target(self.control_out, row, row["file"]))
        return {"control_file": row["file"], "control_boxes": json.dumps(placed.tolist()),
                "control_area_share": _share(moved), "control_view": self._seen(control, window),
                "control_sha256": written, "control_file_sha256": written}  # fmt: skip

    def _as_it_was(self, row: dict, film: Film | None = None, failed: str = "") -> dict:
        """The original in both datasets, in the form of a changed one; its view is the one that came with the row."""
        if stays(row["path"], row["file"]):
            held, note = None, ""
            self._copy(row)
        else:
            held, note, failed = self._in_new_form(row, film, failed)
        view = None
        if self.view is not None:
            view = row.get("view") if held is None else self.view.apply(held, film.window if film else None)
            if view is None:
                view = self.view.apply(*(read_known(row["path"], row["sha256"]) if film is None else film))
        control = self.control_out is not None
        digests = [file_sha256(self._target(out, row, row["file"])) for out in self.writes_into]
        return UNCHANGED | {
            "file": row["file"], "control_file": row["file"] if control else "", "failed": failed, "note": note,
            "view": view, "control_view": view if control else None,
            "file_sha256": digests[0], "control_file_sha256": digests[1] if control else "",
        }  # fmt: skip

    def _copy(self, row: dict) -> None:
        for out in self.writes_into:
            copy_known(row["path"], self._target(out, row, row["file"]), row["sha256"])

    def _in_new_form(self, row: dict, film: Film | None, failed: str) -> tuple[np.ndarray | None, str, str]:
        """(pixels where others are held than the original's, note, why it is a mere copy after all)."""
        content, note, held = known_content(row["path"], row["sha256"]), "", None
        film = read_known(row["path"], row["sha256"]) if film is None and not is_dicom(content) else film
        free = not (failed or row.get("rejected") or row.get("unread"))
        for out in self.writes_into:
            target = self._target(out, row, row["file"])
            try:
                new = written(Path(row["path"]), content, row["file"], film, None, self.config, out != self.out, free)
            except ValueError as error:
                self._copy(row)
                return None, "", failed or f"{row['image_id']}: {error}"
            atomic_write(target, lambda file, new=new: file.write(new.content))
            note = new.note or _form(row, image_header(row["path"], content))
        if is_lossy(row["file"]):
            held = read_film(target).pixels
        return held, note, failed

    def _target(self, out: str, row: dict, name: str) -> Path:
        folder = Path(out) / row["folder"]
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def _write(self, out: str, row: dict, pixels: np.ndarray, film: Film, content: bytes) -> tuple[np.ndarray, str]:
        """Writes the file, unless it is taken over; the pixels that it holds, and a note.

        They are others than `pixels` where its format loses.
        """
        target = self._target(out, row, row["file"])
        if not is_dicom(content) and not is_lossy(row["file"]):
            if not row.get("taken"):
                write_image(target, pixels, film.window)
            return pixels, ""
        new = written(Path(row["path"]), content, row["file"], film, pixels, self.config, out != self.out)
        if not row.get("taken"):
            atomic_write(target, lambda file: file.write(new.content))
        return read_film(target).pixels if new.pixels is None else new.pixels, new.note

    def _seen(self, image: np.ndarray, window: GreyWindow) -> np.ndarray | None:
        return None if self.view is None else self.view.apply(image, window)

    def _count(self, cleaned: np.ndarray, window: GreyWindow, kept) -> tuple[int | None, str]:
        """How many boxes of the kinds that are erased the second reader finds beside what is kept, or why it cannot
        say."""
        found, failed = read_boxes(self.reader, cleaned, window)
        if found is None:
            return None, f"not read again: {failed}"
        found = without_kept(found, kept, *cleaned.shape[:2])
        return sum(box.kind in self.config.kinds for box in found), ""

    def _reading(self, row: dict, film: Film | None = None) -> dict:
        """What the second reader finds in the original, beside what is erased; nothing where it is not asked for.

        An image that stays as it is comes without `film` and is decoded for this alone.
        """
        if self.reader is None or row.get("compared") is None:
            return {}
        try:
            pixels, window = film or read_known(row["path"], row["sha256"])
        except ImageError as error:
            return {"reading_note": str(error)}
        found, failed = read_boxes(self.reader, pixels, window)
        if found is None:
            return {"reading_note": failed}
        size = pixels.shape[:2]
        return {"reading": list(reading_of(row["compared"], without_kept(found, row.get("kept", ()), *size), *size))}


def _readable(path: str, digest: str) -> Film | None:
    try:
        return read_known(path, digest) if path else None
    except ImageError:  # another image's fault is named where that image is dealt with
        return None


def _is_known(row: dict, name: str) -> bool:
    """Whether an original that the row names ("" for none) is still what prepare read."""
    path, digest = row[name], row["sha256" if name == "path" else f"{name}_sha256"]
    return not path or (Path(path).is_file() and file_sha256(path) == digest)


def _share(region: np.ndarray) -> float:
    return np.count_nonzero(region) / region.size


def is_lossy(file: str) -> bool:
    return Path(file).suffix.lower() in JPEG_SUFFIXES


def _note(row: dict, header: ImageHeader, image: np.ndarray, cleaned: np.ndarray, region: np.ndarray, form: str) -> str:
    """What else than the region changed in the file: its format, or the loss of encoding it again."""
    notes = [form] if form else []
    if is_lossy(row["file"]):
        loss = np.abs(cleaned.astype(np.float32) - image)[~region].mean()
        notes.append(f"encoded as JPEG again: pixels outside the boxes differ by {loss:.2f} grey levels on average")
    elif header.format != "DICOM":
        notes.append(_form(row, header))
    if header.format == "DICOM":
        return "; ".join(notes)
    if header.mode in ("P", "PA", "LA", "RGBA", "La", "RGBa", "CMYK", "1") or header.bit_depth not in (8, 16):
        notes.append(f"mode {header.mode} with {header.bit_depth} bits written as {8 * cleaned.itemsize} bits")
    return "; ".join(filter(None, notes))


def _form(row: dict, header: ImageHeader) -> str:
    """Of a file whose format changes."""
    suffix = Path(row["file"]).suffix.lower()
    if header.format == "DICOM":
        return ""
    if is_lossy(row["file"]):
        return "encoded as JPEG again"
    changed = Path(row["path"]).suffix.lower() != suffix or header.format not in ("PNG", "TIFF")
    return f"{header.format} written losslessly as {suffix[1:].upper()}" if changed else ""
