"""Faults that a manifest shows."""

from itertools import product

import pandas as pd
import pytest

from xray_debug.data.check import Finding, manifest_findings, unusable
from xray_debug.data.manifest import ROW

EMPTY = ROW | {"looks_like": "", "duplicate_of": "", "near_duplicate_of": "", "shared_patient": False,
               "label_file": "l.txt"}


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


LOOK = "look, and leave out of the label files what is no frontal film"


def test_what_looks_like_no_frontal_film_is_one_remark_of_each_kind():
    slices = [{"image_id": f"{i}.png", "label": "negative", "looks_like": "CT slice by outline"} for i in range(7)]
    frame = _frame(*slices, {"image_id": "set aside", "looks_like": "CT slice by outline", "problem": "missing: x"},
                   {"image_id": "m", "label": "negative", "looks_like": "MR image by DICOM tags"})
    assert [finding for finding in manifest_findings(frame) if finding.kind == "view"] == [
        Finding("view", "", "7 images look like CT slices (by outline): 0.png, 1.png, 2.png, 3.png, 4.png and 2 more; "
                f"{LOOK}"),
        Finding("view", "", f"1 image looks like an MR image (by DICOM tags): m; {LOOK}")]


@pytest.mark.parametrize(("column", "value", "looks_like", "sentence"), [
    ("attr_view", "Lateral", "", "1 image looks like a lateral view (by attr_view): a; "),
    ("attr_modality", "CT", "CT slice by outline", "1 image looks like a CT slice (by attr_modality): a; "),
    ("attr_View_Position", "LL", "", "1 image looks like a lateral view (by attr_View_Position): a; "),
    ("attr_view", "PA", "CT slice by outline", None),  # the outline was wrong
    ("attr_view", "PA", "CT slice by DICOM tags", "1 image looks like a CT slice (by DICOM tags): a; "),
    ("attr_view", "", "CT slice by outline", "1 image looks like a CT slice (by outline): a; "),
    ("attr_view", None, "CT slice by outline", "1 image looks like a CT slice (by outline): a; "),
    ("attr_side", "lateral", "", None),
], ids=["lateral", "CT", "name", "frontal", "tags", "empty", "absent", "other attribute"])  # fmt: skip
def test_attributes_tell_the_view_before_the_outline_does(column, value, looks_like, sentence):
    frame = _frame({"image_id": "a", "label": "negative", "looks_like": looks_like})
    frame[column] = [*["PA"] * (len(frame) - 1), value]
    assert manifest_findings(frame) == ([] if sentence is None else [Finding("view", "", sentence + LOOK)])


def test_classes_that_are_absent_or_of_another_set():
    frame = _frame({"image_id": "a", "split": "train", "label": "COVID-19"})
    frame.loc[frame["image_id"] == "val-positive", "problem"] = "blank: x"
    assert [finding for finding in manifest_findings(frame) if finding.kind == "classes"] == [
        Finding("classes", "", "the labels mix several sets of classes (COVID-19 beside negative, positive), expected "
                "one; rename the classes of one set in the label files, or leave its images out")]


def _usable(**splits):
    """A frame with the classes of each split, one image and one patient of each."""
    rows = [ROW | {"image_id": f"{split}-{label}-{i}", "split": split, "label": label, "patient_id": f"{split}{i}",
                   "test_set": "test" if split == "test" else "", "label_file": "x" if split == "test" else "t"}
            for split, labels in splits.items() for i, label in enumerate(labels)]  # fmt: skip
    return pd.DataFrame(rows)


ALL = ["normal", "pneumonia"]


@pytest.mark.parametrize(("splits", "sentence"), [
    ({"train": ALL, "val": ALL, "test": []}, "no usable image in test, expected some of every class"),
    ({"train": [], "test": ALL}, "no usable image in train, expected some of every class"),
    ({"train": ["normal"], "val": ["normal"], "test": ["normal"]}, "only one class (normal) has usable images"),
    ({"train": [*ALL, "COVID-19"], "val": [*ALL, "COVID-19"], "test": ALL},
     "no usable image of class COVID-19 in test"),
    ({"train": ALL, "val": ALL, "test": [*ALL, "COVID-19"]}, "no usable image of class COVID-19 in train"),
    ({"train": ALL, "val": ["normal"], "test": ALL},
     "no image of class pneumonia is left for val: train has 1 patient of it, and val is cut by whole patients"),
    ({"train": ALL, "val": ["normal", "positive"], "test": ALL}, "mix several sets of classes (normal, pneumonia "),
    ({"train": ["a", "b"], "val": ["a", "b"], "test": ["a", "B "]},
     "the classes 'B ' and 'b' differ in case or spaces"),
    ({"train": ["COVID-19", "x"], "val": ["ＣOVID-19", "x"], "test": ["x"]}, "differ in case or spaces alone"),
], ids=["no test", "no train", "one class", "class without test", "class without train", "too few patients", "two sets",
        "case", "width"])  # fmt: skip
def test_what_no_classifier_can_be_trained_on(splits, sentence):
    faults = unusable(_usable(**splits))
    assert len(faults) == 1 and sentence in faults[0] and ("; " in faults[0]), faults


def test_what_can_be_used_has_no_fault_and_nothing_usable_is_one():
    frame = _usable(train=ALL, val=ALL, test=ALL)
    assert unusable(frame) == []
    extra = frame[frame["split"] == "test"].iloc[:1].assign(test_set="second", image_id="e")
    assert unusable(pd.concat([frame, extra])) == []  # a further test set may lack a class, which is remarked
    assert unusable(frame.assign(problem="blank: x")) == [
        "none of the 6 listed images can be used; correct what xray-debug check names; the first: blank: x"]
    assert unusable(frame.iloc[:0]) == ["none of the 0 listed images can be used; correct what xray-debug check names"]


def test_a_dataset_with_its_own_val_is_told_what_val_lacks():
    frame = _usable(train=ALL, val=["normal"], test=ALL)
    frame.loc[frame["split"] == "val", "label_file"] = "v"
    assert unusable(frame) == [
        "no usable image of class pneumonia in val; add some, or leave the class out of the label files"]


def test_patients_and_sources_that_differ_in_case_alone_are_told():
    rows = [{"image_id": name, "split": "train", "label": "positive", "patient_id": patient, "source": source}
            for name, patient, source in (("1", "NIH-7", "nih"), ("2", "nih-7", "NIH"), ("3", "8", "x"))]
    found = [one for one in manifest_findings(_frame(*rows)) if one.kind == "spelling"]
    assert [one.message.partition(";")[0] for one in found] == [
        "patients 'NIH-7' and 'nih-7' differ in case or spaces alone and count as several",
        "sources 'nih' and 'NIH' differ in case or spaces alone and count as several",
    ]
