"""COVIDx: one label file and one image folder for each split; and the label files written back.

The parts: covidx_labels.py (a label file), covidx_files.py (a folder). Everything other modules use is importable
from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from xray_debug.config import PrepareConfig
from xray_debug.data.check import Finding
from xray_debug.data.files import plain_name
from xray_debug.data.formats.base import FORMATS
from xray_debug.data.formats.covidx_files import DatasetFiles, ImageFolder, find_dataset, find_split, label_files
from xray_debug.data.formats.covidx_labels import LabelError, parse_labels, read_labels, write_labels

__all__ = ["Covidx", "DatasetFiles", "LabelError", "find_dataset", "find_split", "parse_labels", "read_labels",
           "write_labels"]  # fmt: skip


@FORMATS.register("covidx", help="label files and folders of images, as COVIDx is published")
class Covidx:
    """COVIDx as published: `patient file class [source]` lines, images in train/ and test/ (see find_dataset)."""

    expects = "label files *train*COVIDx*.txt and *test*COVIDx*.txt beside image folders train and test"

    def recognises(self, root: Path, config: PrepareConfig) -> bool:
        if config.train_labels or config.test_labels:
            return True
        return any(label_files(root, split) for split in ("train", "test"))

    def rows(self, root: Path, config: PrepareConfig) -> list[dict]:
        files, rows = find_dataset(root, config.train_labels, config.test_labels), []
        for split in ("train", "val", "test"):
            if split in files.splits:
                rows += _label_rows(root, *files.splits[split], split, "test" if split == "test" else "")
        for name, folder in config.extra_tests.items():
            rows += _label_rows(root, *_extra_test(root, name, folder), "test", name)
        return rows

    def check(self, root: Path, config: PrepareConfig, frame: pd.DataFrame) -> list[Finding]:
        """One finding for each image folder that holds images no label line names."""
        found, used = [], set(frame["path"])
        for _, folder in find_dataset(root, config.train_labels, config.test_labels).splits.values():
            place = _relative(folder, root)
            extra = [name for name in ImageFolder(folder, root).images() if f"{place}/{name}" not in used]
            if extra:
                shown = ", ".join(extra[:5]) + (", ..." if len(extra) > 5 else "")
                found.append(Finding("unlisted", place, f"{len(extra)} images in no usable label line: {shown}"))
        return found

    def write_labels(self, path: Path, frame: pd.DataFrame) -> None:
        write_labels(path, frame)

    def place(self, row: Mapping[str, Any]) -> str:
        return f"{image_folder(row['split'], row['test_set'])}/{row['image_id']}"

    def write_back(self, out: Path, root: Path, config: PrepareConfig, frame: pd.DataFrame) -> None:
        """One label file for each folder, in the order of `frame`."""
        cut = [place.rpartition("/") for place in frame["place"]]
        frame = frame.assign(folder=[folder for folder, _, _ in cut], image_id=[name for _, _, name in cut])
        for folder, part in frame.groupby("folder", sort=False):
            path = out / Path(folder).parent / f"{Path(folder).name}_COVIDx.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_labels(path, part[["patient_id", "image_id", "label", "source"]])


def image_folder(split: str, test_set: str) -> str:
    """Where an image lies in COVIDx++: train, test, or <test_set>/test for a further test set."""
    if split in ("train", "val"):
        return "train"
    return "test" if test_set in ("", "test") else f"{test_set}/test"


def _relative(path: Path, root: Path) -> str:
    """`path` below `root` as POSIX text; as it is where it lies elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _extra_test(root: Path, name: str, folder: str) -> tuple[Path, Path]:
    """The label file and image folder of a further test set; LabelError where it is not inside the dataset."""
    if name.casefold() in ("test", "train") or not plain_name(name):
        raise LabelError(f"prepare.extra_tests: expected a plain name other than train and test, got {name!r}")
    place = (root / folder).resolve()
    if not place.is_relative_to(root.resolve()) or not place.is_dir():
        raise LabelError(f"prepare.extra_tests.{name}: no folder {folder} in {root}")
    if (found := find_split(root / folder, "test")) is None:
        raise LabelError(f"prepare.extra_tests.{name}: no label file *test*COVIDx*.txt in {folder}")
    return found


def _label_rows(root: Path, labels: Path, folder: Path, split: str, test_set: str) -> list[dict]:
    """Rows of one label file: good lines with the file they mean, bad lines with their problem."""
    parsed, images, name = parse_labels(labels), ImageFolder(folder, root), _relative(labels, root)
    notes = dict(parsed.notes)
    common = {"split": split, "test_set": test_set, "label_file": name}
    rows = [common | {"image_id": f"{name}:{line}", "path": "", "patient_id": "", "label": "", "source": "",
                      "line": line, "note": "", "problem": f"label: {what}"} for line, what in parsed.problems]
    for patient, image, label, source, line in parsed.rows:
        found, problem, note = images.resolve(image)
        rows.append(common | {
            "image_id": image, "path": _relative(folder / found, root) if found else "", "patient_id": patient,
            "label": label, "source": source, "line": line, "problem": problem,
            "note": "; ".join(text for text in (notes.get(line, ""), note) if text)})  # fmt: skip
    return sorted(rows, key=lambda row: row["line"])
