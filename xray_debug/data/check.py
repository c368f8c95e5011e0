"""Faults and remarks that a manifest shows, whatever the dataset's format."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

import pandas as pd

from xray_debug.data.classes import CLASS_SETS, class_order
from xray_debug.data.projection import OUTLINE, said_together

FIRST = 5  # names in a remark on many images
FREE_CLASSES = (".csv", ".tsv", ".parquet", ".pq", "/", ".dcm", ".dicom")  # where labels come from that are any words
NAMED_VIEW = {"view", "view_position", "viewposition", "projection", "modality"}  # attributes, without `attr_`


class Finding(NamedTuple):
    """One fault or remark: its kind, where (file:line, or a file or folder) and one sentence."""

    kind: str
    where: str
    message: str


def unusable(frame: pd.DataFrame, only_test: bool = False) -> list[str]:
    """Why no classifier can be trained and tested on this dataset, one sentence each; none where it can.

    `only_test`: why none can be tested; there may be nothing to train on.
    Looked at: usable rows (problem ""), val as cut, the dataset's own test (test_set "test" or "").
    """
    good = frame[frame["problem"] == ""]
    if not len(good):
        first = f"; the first: {frame['problem'].iloc[0]}" if len(frame) else ""
        return [f"none of the {len(frame)} listed images can be used; correct what xray-debug check names{first}"]
    alike: dict[str, set[str]] = {}
    for label in good["label"]:
        alike.setdefault(_plain(label), set()).add(label)
    faults = [f"the classes {' and '.join(map(repr, sorted(names)))} differ in case or spaces alone; write them alike "
              "in the labels" for names in alike.values() if len(names) > 1]  # fmt: skip
    classes = class_order(good["label"])
    sets = [[name for name in classes if name in names] for names in CLASS_SETS]
    named_freely = good["label_file"].str.casefold().str.endswith(FREE_CLASSES).all()  # not out of a list of ours
    if sum(map(bool, sets)) > 1 and not named_freely:
        mixed = " beside ".join(", ".join(names) for names in sets if names)
        faults.append(f"the labels mix several sets of classes ({mixed}), expected one; rename the classes of one set "
                      "in the label files, or leave its images out")  # fmt: skip
    if faults:  # what follows would count the same class twice
        return faults
    return _split_faults(good, classes, only_test)


def _split_faults(good: pd.DataFrame, classes: list[str], only_test: bool) -> list[str]:
    """What a split lacks: images at all, or of a class."""
    own = good["test_set"].isin(["", "test"]) | (good["split"] != "test")
    place = {"train": good["split"].isin(["train", "val"]), "test": (good["split"] == "test") & own}
    if only_test:
        place, classes = {"test": place["test"]}, class_order(good.loc[place["test"], "label"])
    empty = [name for name, rows in place.items() if not rows.any()]
    if empty:
        return [f"no usable image in {name}, expected some of every class; add images and label lines to {name}"
                for name in empty]  # fmt: skip
    if len(classes) < 2:
        return [f"only one class ({classes[0]}) has usable images, expected two or more; add images of another class, "
                "or leave fewer labels out"]
    if only_test:
        return []
    files = good.groupby("split")["label_file"].agg(set)
    own_val = not files.get("val", set()) <= files.get("train", set())
    faults = []
    for label in classes:
        of = good["label"] == label
        lacking = [name for name, rows in place.items() if not (rows & of).any()]
        without = [name for name in ("train", "val") if not ((good["split"] == name) & of).any()]
        if without and "train" not in lacking and not own_val:
            patients = good.loc[place["train"] & of, "patient_id"].nunique()
            faults.append(f"no image of class {label} is left for {without[0]}: train has {patients} "
                          f"patient{'s' * (patients != 1)} of it, and val is cut by whole patients; add patients of "
                          "the class, or leave it out of the label files")  # fmt: skip
        elif own_val:
            lacking = list(dict.fromkeys([*without, *lacking]))
        faults += [f"no usable image of class {label} in {name}; add some, or leave the class out of the label files"
                   for name in lacking]  # fmt: skip
    return faults


def manifest_findings(frame: pd.DataFrame) -> list[Finding]:
    """What is wrong or remarkable in a manifest: rows in their order, then patients, views, classes.

    Kinds: label, repeated, missing, outside, view, unreadable, blank (these rows are set aside); duplicate,
    near-duplicate, patient, spelling, view, classes, note (for the user to judge).
    """
    return [*_row_findings(frame), *_patient_findings(frame), *_spelling_findings(frame), *_view_findings(frame),
            *_class_findings(frame)]  # fmt: skip


def _row_findings(frame: pd.DataFrame) -> list[Finding]:
    """Problems, notes, duplicates: what belongs to one row."""
    known = frame.set_index("image_id")[["label", "split"]].to_dict("index")
    found = []
    for row in frame.itertuples(index=False):
        where = f"{row.label_file}:{row.line}" if row.line else row.label_file
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


def _spelling_findings(frame: pd.DataFrame) -> list[Finding]:
    """Patients, and sources, that are told apart by case or spaces alone: likely one, which the splits do not know."""
    found, good = [], frame[frame["problem"] == ""]
    for column, what in (("patient_id", "patient"), ("source", "source")):
        alike: dict[str, list[str]] = {}
        for name in dict.fromkeys(good[column]):
            alike.setdefault(_plain(name), []).append(name)
        found += [Finding("spelling", "", f"{what}s {' and '.join(map(repr, names[:FIRST]))} differ in case or spaces "
                          "alone and count as several; write them alike if they are one")
                  for names in alike.values() if len(names) > 1]  # fmt: skip
    return found


def _plain(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def _view_findings(frame: pd.DataFrame) -> list[Finding]:
    """Images that are no frontal films: one remark for each kind and way it was seen; columns go before pixels."""
    good = frame[frame["problem"] == ""]
    named = [name for name in frame if name.startswith("attr_") and name.removeprefix("attr_").casefold() in NAMED_VIEW]
    seen: dict[str, list[str]] = {}
    for row in good[["image_id", "looks_like", *named]].to_dict("records"):
        kind = said_together(str(row[name]) for name in named if not pd.isna(row[name]))
        what = f"{kind} by {' and '.join(named)}" if kind else row["looks_like"]
        if what and not (kind == "" and what.endswith(OUTLINE)):
            seen.setdefault(what, []).append(row["image_id"])
    found = []
    for what, names in seen.items():
        kind, _, how = what.partition(" by ")
        first = ", ".join(names[:FIRST]) + (f" and {len(names) - FIRST} more" if len(names) > FIRST else "")
        looks = f"images look like {kind}s"
        if len(names) == 1:
            looks = f"image looks like {'an' if kind[0] in 'Mu' else 'a'} {kind}"
        found.append(Finding("view", "", f"{len(names)} {looks} (by {how}): {first}; look, and leave out of the label "
                             "files what is no frontal film"))  # fmt: skip
    return found


def _class_findings(frame: pd.DataFrame) -> list[Finding]:
    """Why prepare will stop, and further tests that lack a class."""
    good = frame[frame["problem"] == ""]
    classes, found = class_order(good["label"]), [Finding("classes", "", why) for why in unusable(frame)]
    for name, rows in good[~good["test_set"].isin(["", "test"])].groupby("test_set"):
        found += [Finding("classes", name, f"no usable image of class {label} in {name}")
                  for label in classes if label not in set(rows["label"])]  # fmt: skip
    return found
