"""The files of a cleaned dataset: their names, links to unchanged images, and the journal of begun work."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
from pathlib import Path

LOSSLESS_SUFFIXES = (".png", ".tif", ".tiff")
JPEG_SUFFIXES = (".jpg", ".jpeg")


def image_folder(split: str, test_set: str) -> str:
    """Where an image lies in COVIDx++: train, test, or <test_set>/test for a further test set."""
    if split in ("train", "val"):
        return "train"
    return "test" if test_set in ("", "test") else f"{test_set}/test"


def cleaned_path(out: str | Path, row) -> Path:
    """The file of one row of the change log."""
    return Path(out) / image_folder(row.split, row.test_set) / row.file


def target_name(image_id: str, lossy: str, taken: set[str]) -> str:
    """The file name of a changed image: its own where its format can hold it, else the same with .png.

    Formats that lose (JPEG, WEBP) or are not written (DICOM, BMP, GIF) become PNG; JPEG stays with lossy="jpeg".
    A name in `taken` (other images of the dataset) is never given out.
    """
    suffix = Path(image_id).suffix.lower()
    if suffix in LOSSLESS_SUFFIXES or (suffix in JPEG_SUFFIXES and lossy == "jpeg"):
        return image_id
    stem = image_id[: len(image_id) - len(suffix)]
    name, number = f"{stem}.png", 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}.png"
    return name


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """`target` becomes a hard link to `source`, or a copy where the file system has no links; whole or not at all."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        try:
            os.link(source.resolve(strict=True), temporary)
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)  # renaming a link onto its own file leaves it behind


class Journal:
    """What is already written, one JSON line per image, so that a killed run goes on where it stopped.

    A line counts only under the same settings and for the same original and boxes.
    """

    def __init__(self, path: Path, settings: dict):
        self.path = path
        self._settings = json.dumps(settings, sort_keys=True)
        self._known: dict[str, dict] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(json.JSONDecodeError, KeyError, TypeError):  # the last line may be cut off
                    entry = json.loads(line)
                    self._known[entry["key"]] = entry["result"]
        self._file = path.open("a", encoding="utf-8")
        self._file.write("\n")  # closes a line that was cut off

    def _key(self, image_id: str, sha256: str, boxes: list) -> str:
        return hashlib.sha256(json.dumps([self._settings, image_id, sha256, boxes]).encode()).hexdigest()

    def get(self, image_id: str, sha256: str, boxes: list) -> dict | None:
        return self._known.get(self._key(image_id, sha256, boxes))

    def add(self, image_id: str, sha256: str, boxes: list, result: dict) -> None:
        entry = {"key": self._key(image_id, sha256, boxes), "result": result}
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def remove(self) -> None:
        """The work is complete: nothing to resume."""
        self._file.close()
        self.path.unlink(missing_ok=True)
