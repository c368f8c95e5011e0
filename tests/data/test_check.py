"""Faults that a manifest shows."""

from itertools import product

import pandas as pd

from xray_debug.data.check import Finding, manifest_findings
from xray_debug.data.manifest import ROW

EMPTY = ROW | {"duplicate_of": "", "near_duplicate_of": "", "shared_patient": False, "label_file": "l.txt"}


def _frame(*rows):
    base = [EMPTY | {"image_id": f"{split}-{label}", "split": split, "label": label, "line": i}
            for i, (split, label) in enumerate(product(("train", "val", "test"), ("negative", "positive")))]
    return pd.DataFrame([*base, *(EMPTY | {"line": 100 + i} | row for i, row in enumerate(rows))])


def test_a_manifest_without_faults():
    assert manifest_findings(_frame()) == []


def test_problems_and_notes_carry_their_place():
    frame = _frame({"image_id": "a", "problem": "blank: every pixel is 0", "note": "source x read as y"},
                   {"image_id": "b (l.txt:101)", "problem": "repeated: named before, l.txt:1"},
                   {"image_id": "c", "problem": "missing: no file c in train/"})
    assert manifest_findings(frame) == [
        Finding("blank", "l.txt:100", "a: every pixel is 0"), Finding("note", "l.txt:100", "source x read as y"),
        Finding("repeated", "l.txt:101", "b: named before, l.txt:1"),
        Finding("missing", "l.txt:102", "no file c in train/")]


def test_duplicates_say_what_they_disagree_in():
    frame = _frame({"image_id": "a", "split": "val", "label": "negative", "duplicate_of": "train-negative"},
                   {"image_id": "b", "split": "test", "label": "positive", "near_duplicate_of": "train-negative"})
    assert manifest_findings(frame) == [
        Finding("duplicate", "l.txt:100", "a: same file as train-negative"),
        Finding("near-duplicate", "l.txt:101", "b: nearly the same picture as train-negative, which is labelled "
                "negative, not positive, which is in train, not test")]


def test_patients_on_both_sides_are_counted():
    both = {"patient_id": "p", "label": "negative", "shared_patient": True}
    frame = _frame(both | {"image_id": "a", "split": "train"}, both | {"image_id": "b", "split": "val"},
                   both | {"image_id": "c", "split": "test"})
    assert manifest_findings(frame) == [
        Finding("patient", "l.txt:102", "patient p has 2 images in train and 1 in test")]


def test_classes_that_are_absent_or_of_another_set():
    frame = _frame({"image_id": "a", "split": "train", "label": "COVID-19"})
    frame.loc[frame["image_id"] == "val-positive", "problem"] = "blank: x"
    assert [finding for finding in manifest_findings(frame) if finding.kind == "classes"] == [
        Finding("classes", "", "the labels mix several sets of classes (COVID-19 beside negative, positive), expected "
                "one; rename the classes of one set in the label files, or leave its images out")]
