"""Faults and remarks that a manifest shows, whatever the dataset's format."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from xray_debug.data.classes import CLASS_SETS, class_order


class Finding(NamedTuple):
    """One fault or remark: its kind, where (file:line, or a file or folder) and one sentence."""

    kind: str
    where: str
    message: str


def manifest_findings(frame: pd.DataFrame) -> list[Finding]:
    """What is wrong or remarkable in a manifest: rows in their order, then patients, then classes.

    Kinds: label, repeated, missing, outside, unreadable, blank (these rows are set aside); duplicate, near-duplicate,
    patient, classes, note (for the user to judge).
    """
    return [*_row_findings(frame), *_patient_findings(frame), *_class_findings(frame)]


def _row_findings(frame: pd.DataFrame) -> list[Finding]:
    """Problems, notes, duplicates: what belongs to one row."""
    known = frame.set_index("image_id")[["label", "split"]].to_dict("index")
    found = []
    for row in frame.itertuples(index=False):
        where = f"{row.label_file}:{row.line}"
        if row.problem:
            kind, _, message = row.problem.partition(": ")
            name = row.image_id.removesuffix(f" ({where})")
            found.append(Finding(kind, where, message if kind in ("label", "missing") else f"{name}: {message}"))
        if row.note:
            found.append(Finding("note", where, row.note))
        if row.duplicate_of:
            found.append(Finding("duplicate", where, _alike(row, "same file", row.duplicate_of, known)))
        if row.near_duplicate_of:
            message = _alike(row, "nearly the same picture", row.near_duplicate_of, known)
            found.append(Finding("near-duplicate", where, message))
    return found


def _alike(row, how: str, other: str, known: dict[str, dict[str, str]]) -> str:
    message, twin = f"{row.image_id}: {how} as {other}", known[other]
    if twin["label"] != row.label:
        message += f", which is labelled {twin['label']}, not {row.label}"
    if (twin["split"] == "test") != (row.split == "test"):
        message += f", which is in {twin['split']}, not {row.split}"
    return message


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
    present = set(zip(good["split"], good["label"], strict=True))
    for split in ("train", "val", "test"):
        found += [Finding("classes", split, f"no usable image of class {label} in {split}")
                  for label in classes if (split, label) not in present]  # fmt: skip
    return found
