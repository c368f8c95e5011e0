"""All faults of a COVIDx folder at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from xray_debug.config import PrepareConfig
from xray_debug.data.classes import CLASS_SETS, class_order
from xray_debug.data.formats.covidx_files import ImageFolder, find_dataset
from xray_debug.data.formats.covidx_labels import LabelError
from xray_debug.data.manifest import build_manifest


class Finding(NamedTuple):
    """One fault or remark: its kind, where (file:line, or a file or folder) and one sentence."""

    kind: str
    where: str
    message: str


def _row_findings(frame: pd.DataFrame) -> list[Finding]:
    """Problems, notes, duplicates: what belongs to one row."""
    labels = frame.set_index("image_id")["label"].to_dict()
    splits = frame.set_index("image_id")["split"].to_dict()
    found = []
    for row in frame.itertuples(index=False):
        where = f"{row.label_file}:{row.line}"
        if row.problem:
            kind, _, message = row.problem.partition(": ")
            name = row.image_id.removesuffix(f" ({where})")
            found.append(Finding(kind, where, message if kind in ("label", "missing") else f"{name}: {message}"))
        if row.note:
            found.append(Finding("note", where, row.note))
        for kind, other in (("duplicate", row.duplicate_of), ("near-duplicate", row.near_duplicate_of)):
            if other:
                alike = "same file" if kind == "duplicate" else "nearly the same picture"
                message = f"{row.image_id}: {alike} as {other}"
                if labels[other] != row.label:
                    message += f", which is labelled {labels[other]}, not {row.label}"
                if (splits[other] == "test") != (row.split == "test"):
                    message += f", which is in {splits[other]}, not {row.split}"
                found.append(Finding(kind, where, message))
    return found


def _patient_findings(frame: pd.DataFrame) -> list[Finding]:
    found = []
    for patient, rows in frame[frame["shared_patient"]].groupby("patient_id"):
        test = rows[rows["split"] == "test"]
        message = f"patient {patient} has {len(rows) - len(test)} images in train and {len(test)} in test"
        found.append(Finding("patient", f"{test['label_file'].iloc[0]}:{test['line'].iloc[0]}", message))
    return found


def _class_findings(frame: pd.DataFrame) -> list[Finding]:
    """Classes of different label sets, and classes without usable images in a split."""
    good, found = frame[frame["problem"] == ""], []
    classes = class_order(frame["label"][frame["label"] != ""])
    if len({names for names in CLASS_SETS for label in classes if label in names}) > 1:
        found.append(Finding("classes", "", f"classes of several label sets: {', '.join(classes)}"))
    for split in ("train", "val", "test"):
        for label in classes:
            if not ((good["split"] == split) & (good["label"] == label)).any():
                found.append(Finding("classes", split, f"no usable image of class {label} in {split}"))
    return found


def _unlisted_findings(root: Path, config: PrepareConfig, frame: pd.DataFrame) -> list[Finding]:
    """One finding per image folder that holds images no label line names."""
    found, used = [], set(frame["path"])
    files = find_dataset(root, config.train_labels, config.test_labels)
    for _, folder in files.splits.values():
        place = folder.relative_to(root).as_posix()
        extra = [name for name in ImageFolder(folder, root).images() if f"{place}/{name}" not in used]
        if extra:
            shown = ", ".join(extra[:5]) + (", ..." if len(extra) > 5 else "")
            found.append(Finding("unlisted", place, f"{len(extra)} images in no usable label line: {shown}"))
    return found


def check_dataset(root: str | Path, config: PrepareConfig | None = None,
                  progress: Callable[[int, int], None] | None = None) -> list[Finding]:
    """Everything wrong or remarkable about a COVIDx folder; nothing is changed, nothing is raised for a bad dataset.

    Kinds: layout, label, repeated, missing, outside, unreadable, blank (these rows are set aside); duplicate,
    near-duplicate, patient, classes, unlisted, note (for the user to judge).
    """
    root, config = Path(root), config or PrepareConfig()
    try:
        frame = build_manifest(root, config, progress=progress)
        return [*_row_findings(frame), *_patient_findings(frame), *_class_findings(frame),
                *_unlisted_findings(root, config, frame)]
    except LabelError as error:
        return [Finding("layout", "", message) for message in error.problems]
