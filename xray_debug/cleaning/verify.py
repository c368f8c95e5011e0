"""A cleaned dataset held against its originals, and originals given back: every change can be traced and undone."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from xray_debug.cleaning.copies import stays, written
from xray_debug.cleaning.dataset import plan_rows
from xray_debug.cleaning.files import JPEG_SUFFIXES, check_names
from xray_debug.cleaning.inpainting import growth
from xray_debug.config import CleanConfig
from xray_debug.data.boxes import dilate_boxes, rasterise_boxes
from xray_debug.data.dicom import is_dicom
from xray_debug.data.dicom_write import stored_pixels
from xray_debug.data.files import file_sha256
from xray_debug.data.formats.base import LayoutError
from xray_debug.data.formats.covidx import parse_labels
from xray_debug.data.formats.layout import Layout
from xray_debug.data.formats.places import is_image_name
from xray_debug.data.images import ImageError, file_content, read_film, read_image
from xray_debug.data.unchanged import copy_known


class VerifyError(ValueError):
    """Something that cannot be verified or given back; one sentence."""


def faults_of(manifest: pd.DataFrame, changes: pd.DataFrame, originals: Path, cleaned: Path, config: CleanConfig,
              layout: Layout | None = None, control: Path | None = None) -> Iterator[str]:  # fmt: skip
    """What is not as the change log says, one sentence each; nothing where all is well.

    Both sha256 of every changed file; equal pixels (of DICOM: stored values) outside its boxes where its format loses
    nothing; of the others equal bytes, or what their form makes of the original; no image missing, none added; the
    lines of every label file; of an excluded image no file and no line. Of the folder `control` the same, with the
    boxes that were erased there. `manifest`: the usable images. `config`: how they were cleaned. `layout`: of the
    cleaned dataset (COVIDx's).
    """
    common = manifest, changes, originals
    for folder in (cleaned, control):
        if folder is not None:
            yield from _folder_faults(*common, folder, config, layout or Layout(), control=folder is control)


def _folder_faults(manifest: pd.DataFrame, changes: pd.DataFrame, originals: Path, cleaned: Path, config: CleanConfig,
                   layout: Layout, control: bool) -> Iterator[str]:  # fmt: skip
    if not cleaned.is_dir():
        yield f"{cleaned}: is missing"
        return
    try:
        failed = dict(json.loads((cleaned / "cleaning.json").read_text(encoding="utf-8"))["failed"])
    except (OSError, ValueError, KeyError, TypeError):
        yield f"{cleaned / 'cleaning.json'}: is missing or damaged; expected a JSON mapping that says what failed"
        failed = {}
    logged = {row["image_id"]: row for row in changes.to_dict("records")}
    expected, listed = set(), []
    plan = plan_rows(manifest, originals, {}, config, layout=layout)
    for row, planned in zip(manifest.to_dict("records"), plan.to_dict("records"), strict=True):
        change = logged.pop(row["image_id"], None)
        if change is not None and change.get("decision") == "exclude":
            left = cleaned / planned["folder"] / planned["file"]
            if left.exists():
                yield f"{row['image_id']}: is excluded by event {change['event']}, and yet {left} is there"
            listed.append("")
            continue
        if control and change is not None:
            change = change | {"boxes": change["control_boxes"], "cleaned_sha256": change.get("control_sha256")}
        name = change["file"] if change else planned["file"]
        check_names(name, row["path"], row["test_set"])
        place = f"{planned['folder']}/{name}" if planned["folder"] else name
        listed.append(place if row["image_id"] not in failed or (cleaned / place).is_file() else "")
        expected.add(place)
        original, spared = originals / row["path"], row["image_id"] in failed
        yield from _image_faults(row, change, original, cleaned / place, spared, config)
    for image_id in logged:
        yield f"{image_id}: is in the change log and in no manifest"
    written = plan.assign(path=plan["place"], place=listed)
    with tempfile.TemporaryDirectory() as folder:
        try:
            layout.write(Path(folder), written[written["place"] != ""])
        except (LayoutError, OSError) as error:
            yield f"{cleaned}: its labels cannot be compared: {error}"
        for wanted in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
            place = wanted.relative_to(folder).as_posix()
            expected.add(place)
            yield from _label_faults(cleaned / place, wanted)
    for path in sorted(cleaned.rglob("*")):
        place = path.relative_to(cleaned).as_posix()
        if place not in expected and path.is_file() and (is_image_name(path) or path.suffix.lower() == ".txt"):
            yield f"{place}: is in the cleaned dataset and in no manifest"


def _label_faults(path: Path, wanted: Path) -> Iterator[str]:
    """What in a label file is not as in `wanted`, which manifest and change log say."""
    lines = wanted.read_bytes().splitlines()
    if not path.is_file():
        yield f"{path}: is missing, with its {len(lines)} lines"
    elif path.suffix.lower() == ".txt":
        yield from _covidx_faults(path, wanted)
    elif (found := path.read_bytes().splitlines()) != lines:
        number = next((n for n, pair in enumerate(zip(lines, found, strict=False)) if pair[0] != pair[1]),
                      min(len(lines), len(found)))  # fmt: skip
        said = [own[number].decode("utf-8", "replace") if number < len(own) else "no line" for own in (lines, found)]
        yield f"{path}, line {number + 1}: expected {said[0]}, got {said[1]}"


def _covidx_faults(path: Path, wanted: Path) -> Iterator[str]:
    try:
        parsed = parse_labels(path)
    except LayoutError as error:
        yield str(error)
        return
    for line, problem in parsed.problems:
        yield f"{path}, line {line}: {problem}"
    known, found = ({row[1]: tuple(map(str, row[:4])) for row in one.rows} for one in (parse_labels(wanted), parsed))
    if len(found) < len(parsed.rows):
        yield f"{path}: {len(parsed.rows)} lines name {len(found)} images, expected each once"
    for name in dict.fromkeys([*known, *found]):
        if found.get(name) != known.get(name):
            said = [" ".join(rows[name]) if name in rows else "no line" for rows in (known, found)]
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
    elif change is None and file_sha256(copy) != row["sha256"] and not _same_in_new_form(original, copy, config):
        yield f"{name}: {copy} is not in the change log, and yet no equal copy of its original"
    elif change is not None and (known := change["cleaned_sha256"]) and (found := file_sha256(copy)) != known:
        yield f"{name}: {copy} is not what was written: expected sha256 {change['cleaned_sha256']}, got {found}"
    elif change is not None and copy.suffix.lower() not in JPEG_SUFFIXES:
        yield from _pixel_faults(name, change, original, copy, config)


def _same_in_new_form(original: Path, copy: Path, config: CleanConfig) -> bool:
    """Whether `copy` is what cleaning makes of an image that stays as it is."""
    try:
        if stays(original, copy.name):
            return False
        content, found = file_content(original), file_content(copy)
        film = read_film(original, content)
        forms = [(False, True), (False, False), (True, False)] if is_dicom(content) else [(False, True)]
        if any(written(original, content, copy.name, film, None, config, *form).content == found for form in forms):
            return True
        if is_dicom(content):
            return False
        return copy.suffix.lower() not in JPEG_SUFFIXES and np.array_equal(film.pixels, read_film(copy, found).pixels)
    except (ImageError, OSError):
        return False


def _picture(path: Path) -> np.ndarray:
    """As it is compared: of DICOM the stored values, which no convention of ours has a part in."""
    content = file_content(path)
    return stored_pixels(path, content) if is_dicom(content) else read_image(path, content)


def _pixel_faults(name: str, change: dict, original: Path, copy: Path, config: CleanConfig) -> Iterator[str]:
    try:
        before, after = _picture(original), _picture(copy)
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
    known = manifest.to_dict("records")
    rows, todo = {row["image_id"]: row for row in known}, {}
    called = {row["path"]: row["image_id"] for row in known}
    names: dict[str, str] = {}  # in one case: some file systems know no capitals
    for image_id in dict.fromkeys(image_ids):
        if image_id not in rows:
            named = f"; the image at {image_id} is called {called[image_id]}" if image_id in called else ""
            raise VerifyError(f"{image_id} is no image of this run's manifest{named}")
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
    for target, (source, digest) in todo.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_known(source, target, digest)  # what is given back is what was read: no other file between the two
    return list(todo)
