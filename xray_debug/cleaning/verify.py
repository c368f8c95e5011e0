"""A cleaned dataset held against its originals, and originals given back: every change can be traced and undone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from xray_debug.cleaning.files import JPEG_SUFFIXES, check_names, image_folder, label_file
from xray_debug.cleaning.inpainting import growth
from xray_debug.config import CleanConfig
from xray_debug.data.boxes import dilate_boxes, rasterise_boxes
from xray_debug.data.files import file_sha256
from xray_debug.data.formats.covidx import LabelError, parse_labels
from xray_debug.data.images import SUFFIXES, ImageError, read_image
from xray_debug.data.unchanged import copy_known


class VerifyError(ValueError):
    """Something that cannot be verified or given back; one sentence."""


def faults_of(manifest: pd.DataFrame, changes: pd.DataFrame, originals: Path, cleaned: Path, config: CleanConfig,
              control: Path | None = None) -> Iterator[str]:  # fmt: skip
    """What is not as the change log says, one sentence each; nothing where all is well.

    Both sha256 of every changed file; equal pixels outside its boxes where its format loses nothing; equal bytes of
    the others; no image missing, none added; the lines of every label file. Of the folder `control` the same,
    with the boxes that were erased there. `manifest`: the usable images. `config`: how they were cleaned.
    """
    yield from _folder_faults(manifest, changes, originals, cleaned, config, control=False)
    if control is not None:
        yield from _folder_faults(manifest, changes, originals, control, config, control=True)


def _folder_faults(manifest: pd.DataFrame, changes: pd.DataFrame, originals: Path, cleaned: Path, config: CleanConfig,
                   control: bool) -> Iterator[str]:  # fmt: skip
    if not cleaned.is_dir():
        yield f"{cleaned}: is missing"
        return
    try:
        failed = json.loads((cleaned / "cleaning.json").read_text(encoding="utf-8"))["failed"]
        failed = dict(failed)
    except (OSError, ValueError, KeyError, TypeError):
        yield f"{cleaned / 'cleaning.json'}: is missing or damaged; expected a JSON mapping that says what failed"
        failed = {}
    logged = {row["image_id"]: row for row in changes.to_dict("records")}
    expected, lines = set(), {}
    for row in manifest.to_dict("records"):
        change = logged.pop(row["image_id"], None)
        if control and change is not None:
            change = change | {"boxes": change["control_boxes"], "cleaned_sha256": change.get("control_sha256")}
        name = change["file"] if change else row["image_id"]
        check_names(name, row["path"], row["test_set"])
        folder = image_folder(row["split"], row["test_set"])
        place = f"{folder}/{name}"
        expected.add(place)
        if row["image_id"] not in failed or (cleaned / place).is_file():
            line = (row["patient_id"], name, row["label"], row["source"])
            lines.setdefault(folder, []).append(tuple(map(str, line)))
        original, spared = originals / row["path"], row["image_id"] in failed
        yield from _image_faults(row, change, original, cleaned / place, spared, config)
    for image_id in logged:
        yield f"{image_id}: is in the change log and in no manifest"
    for folder, rows in lines.items():
        expected.add(label_file(folder))
        yield from _label_faults(cleaned / label_file(folder), rows)
    for path in sorted(cleaned.rglob("*")):
        place = path.relative_to(cleaned).as_posix()
        if path.suffix.lower() in (*SUFFIXES, ".txt") and path.is_file() and place not in expected:
            yield f"{place}: is in the cleaned dataset and in no manifest"


def _label_faults(path: Path, expected: list[tuple[str, ...]]) -> Iterator[str]:
    """What in a label file is not as manifest and change log say."""
    if not path.is_file():
        yield f"{path}: is missing, with its {len(expected)} lines"
        return
    try:
        parsed = parse_labels(path)
    except LabelError as error:
        yield str(error)
        return
    for line, problem in parsed.problems:
        yield f"{path}, line {line}: {problem}"
    found = {row[1]: tuple(map(str, row[:4])) for row in parsed.rows}
    if len(found) < len(parsed.rows):
        yield f"{path}: {len(parsed.rows)} lines name {len(found)} images, expected each once"
    wanted = {row[1]: row for row in expected}
    for name in dict.fromkeys([*wanted, *found]):
        if found.get(name) != wanted.get(name):
            said = [" ".join(rows[name]) if name in rows else "no line" for rows in (wanted, found)]
            yield f"{path}: {name}: expected {said[0]}, got {said[1]}"


def _image_faults(row, change, original: Path, copy: Path, failed: bool, config: CleanConfig) -> Iterator[str]:
    name = row["image_id"]
    if not original.is_file():
        yield f"{name}: the original {original} is missing"
    elif (found := file_sha256(original)) != (known := change["original_sha256"] if change else row["sha256"]):
        yield f"{name}: the original has changed: expected sha256 {known}, got {found}"
    elif not copy.is_file():
        if not failed:
            yield f"{name}: {copy} is missing from the cleaned dataset"
    elif change is None and file_sha256(copy) != row["sha256"]:
        yield f"{name}: {copy} is not in the change log, and yet no equal copy of its original"
    elif change is not None and (known := change["cleaned_sha256"]) and (found := file_sha256(copy)) != known:
        yield f"{name}: {copy} is not what was written: expected sha256 {change['cleaned_sha256']}, got {found}"
    elif change is not None and copy.suffix.lower() not in JPEG_SUFFIXES:
        yield from _pixel_faults(name, change, original, copy, config)


def _pixel_faults(name: str, change: dict, original: Path, copy: Path, config: CleanConfig) -> Iterator[str]:
    try:
        before, after = read_image(original), read_image(copy)
    except ImageError as error:
        yield f"{name}: {error}"
        return
    if before.shape != after.shape or before.dtype != after.dtype:
        yield f"{name}: expected {before.dtype} {before.shape} as the original, got {after.dtype} {after.shape}"
        return
    boxes, (height, width) = np.array(json.loads(change["boxes"])), before.shape[:2]
    grown = dilate_boxes(boxes, growth(boxes, config.dilation, config.min_dilation), height, width)
    differs = (before != after).reshape(height, width, -1).any(2) & ~rasterise_boxes(grown, height, width)
    if differs.any():
        yield f"{name}: {int(differs.sum())} pixels outside its boxes differ from the original"


def restore(manifest: pd.DataFrame, originals: Path, image_ids: Sequence[str], out: Path) -> list[Path]:
    """Copies of the originals of `image_ids` in `out`, each as its sha256 in the manifest says.

    VerifyError, before anything is written: an image that the manifest lacks, an original that is missing or has
    changed, a file that is there already, two images of one name.
    """
    rows, todo = {row["image_id"]: row for row in manifest.to_dict("records")}, {}
    names: dict[str, str] = {}  # in one case: some file systems know no capitals
    for image_id in dict.fromkeys(image_ids):
        if image_id not in rows:
            raise VerifyError(f"{image_id}: is no image of this run's manifest")
        check_names(image_id, rows[image_id]["path"], "")
        source, target = originals / rows[image_id]["path"], out / image_id
        if not source.is_file():
            raise VerifyError(f"{image_id}: its original {source} is missing")
        if file_sha256(source) != rows[image_id]["sha256"]:
            raise VerifyError(f"{image_id}: its original {source} has changed since prepare read it")
        if (other := names.setdefault(image_id.casefold(), image_id)) != image_id:
            raise VerifyError(f"{image_id}: has the name of {other} but for capitals; give them back into two folders")
        if target.exists() or target.is_symlink():
            raise VerifyError(f"{target}: is there already; choose another --out")
        todo[target] = source, rows[image_id]["sha256"]
    out.mkdir(parents=True, exist_ok=True)
    for target, (source, digest) in todo.items():
        copy_known(source, target, digest)  # what is given back is what was read: no other file between the two
    return list(todo)
