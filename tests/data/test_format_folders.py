"""A folder per class: splits, sub-folders, links, and DICOM whose label is a tag."""

import os

import pytest
from covidx_fixture import picture
from formats_fixture import make_dicom, make_folders

from xray_debug.config import PrepareConfig
from xray_debug.data.check import unusable
from xray_debug.data.formats import LayoutError, build_manifest, check_dataset, find_format, read_rows
from xray_debug.data.images import write_image


def put(root, *names: str) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / name, picture(number))


def said(rows: list[dict]) -> list[tuple]:
    return [(row["image_id"], row["split"], row["label"]) for row in rows]


def test_the_split_is_the_outer_folder_and_the_class_the_inner(tmp_path):
    put(tmp_path, "Training/no finding/a.png", "Training/x, y/deep/er/b.png", "valid/x, y/c.png", "testing/x, y/b.png")
    rows = read_rows(tmp_path)
    assert said(rows) == [
        ("a.png", "train", "no finding"), ("Training/x, y/deep/er/b.png", "train", "x, y"),
        ("testing/x, y/b.png", "test", "x, y"), ("c.png", "val", "x, y")]
    assert [row["test_set"] for row in rows] == ["", "", "test", ""]
    assert rows[1]["label_file"] == "Training/x, y/"


def test_without_a_test_folder_train_is_what_test_is_cut_from(tmp_path):
    put(tmp_path, *(f"train/{name}/{i}.png" for name in "ab" for i in range(10)), "val/a/v.png", "val/b/w.png")
    assert {row["split"] for row in read_rows(tmp_path)} == {"", "val"}
    counts = build_manifest(tmp_path, PrepareConfig(test_fraction=0.3))["split"].value_counts()
    assert counts.to_dict() == {"train": 14, "test": 6, "val": 2}


def test_a_test_folder_alone_is_a_dataset_for_a_model_that_is_given(tmp_path):
    put(tmp_path, *(f"Testing/{name}/{name}{i}.png" for name in "ab" for i in range(10)), "Testing/stray.png")
    (tmp_path / "notes").mkdir()  # holds no image
    assert find_format(tmp_path) == "folders"
    frame = build_manifest(tmp_path, PrepareConfig(only_test=True))
    assert frame["label"].value_counts().to_dict() == {"a": 10, "b": 10}
    assert set(frame["split"]) == {"test"} == set(frame["test_set"]) and unusable(frame, only_test=True) == []
    assert any("train" in fault for fault in unusable(frame))  # to train one needs more, and is told so
    put(tmp_path, "c/1.png", "d/2.png")  # then the outer folders are classes, as ever
    assert {(row["split"], row["label"]) for row in read_rows(tmp_path)} == {("", "c"), ("", "d")}


def test_without_any_split_classes_are_the_outer_folders(tmp_path):
    root = make_folders(tmp_path / "d", split=False)
    frame = build_manifest(root, PrepareConfig(test_fraction=0.25))
    assert set(frame["label"]) == {"normal", "pneumonia", "COVID-19"}
    assert set(frame["split"]) == {"train", "val", "test"}
    assert check_dataset(root) == [] and find_format(root) == "folders"
    assert (frame["patient_id"] == frame["image_id"]).all()


def test_links_are_followed_inside_the_folder_alone(tmp_path):
    root = tmp_path / "d"
    put(root, "a/1.png", "b/2.png", "store/3.png")
    put(tmp_path / "elsewhere", "4.png", "more/5.png")
    os.symlink(root / "store/3.png", root / "a/inside.png")
    os.symlink(tmp_path / "elsewhere/4.png", root / "a/outside.png")
    os.symlink(tmp_path / "elsewhere/more", root / "b/folder")
    os.symlink(root / "b", root / "b/loop")
    found = {row["image_id"]: row["problem"] for row in read_rows(root)}
    leaves = "outside: the link leaves the dataset"
    assert found == {"1.png": "", "inside.png": "", "2.png": "", "3.png": "", "a/outside.png": leaves,
                     "b/folder": leaves}  # fmt: skip
    assert {f.kind for f in check_dataset(root)} >= {"outside"}


def test_what_is_no_image_and_what_lies_in_no_class_is_left(tmp_path):
    put(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png", "train/stray.png",
        "train/a/.hid.png")  # fmt: skip
    (tmp_path / "train/a/notes.txt").write_text("x")
    (tmp_path / "train/a/Thumbs.db").write_bytes(b"x")
    (tmp_path / "train/a/DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    assert [row["path"] for row in read_rows(tmp_path)] == [
        "test/a/3.png", "test/b/4.png", "train/a/1.png", "train/b/2.png"]
    (finding,) = [f for f in check_dataset(tmp_path) if f.kind == "unlisted"]
    assert finding.message == "1 images in no folder of a class: train/stray.png"


def test_one_folder_of_images_is_no_dataset(tmp_path):
    put(tmp_path, "images/1.png", "images/2.png")
    with pytest.raises(LayoutError, match=r"folders: a folder per class \(train/normal/a.png, .*; or table: a table"):
        read_rows(tmp_path)
    with pytest.raises(LayoutError, match="no folder per class, expected train/normal/a.png"):
        read_rows(tmp_path / "images", PrepareConfig(format="folders"))


def test_a_label_in_a_tag_wants_a_tag_that_is_one(tmp_path):
    root = make_dicom(tmp_path / "d")
    rows = read_rows(root, PrepareConfig(label_tag="PatientSex"))
    assert {row["label"] for row in rows} == {"F", "M"} and {row["patient_id"] for row in rows} == {
        f"P{i}" for i in range(12)}  # fmt: skip
    assert {row["attr_manufacturer"] for row in rows} == {"Maker, Inc."}
    assert {row["attr_age"] for row in rows} == {"20-29", "30-39", "40-49"}
    (row, *_) = read_rows(root, PrepareConfig(label_tag="BodyPartExamined"))
    assert row["problem"] == "label: no BodyPartExamined, expected the class in that tag" and row["split"] == "train"
    with pytest.raises(LayoutError, match="prepare.label_tag: expected a DICOM keyword .*, got 'Comments'"):
        read_rows(root, PrepareConfig(label_tag="Comments"))
    (root / "series").rename(tmp_path / "away")
    with pytest.raises(LayoutError, match="DICOM files without labels, expected a folder of DICOM files with a table"):
        read_rows(root)
