"""What a dataset may look like, and what happens when it changes between stages: by the command line."""

import json
import os

import pandas as pd
import pytest
from covidx_fixture import add_line, make_dataset, picture
from typer.testing import CliRunner

from xray_debug.cli import app
from xray_debug.data.images import write_image

PIPELINE = "train: {view: {size: 32}}\ndetect: {second: null}\n"


@pytest.fixture
def place(tmp_path):
    make_dataset(tmp_path / "d")
    (tmp_path / "p.yaml").write_text(PIPELINE)
    return tmp_path


def call(place, *words):
    return CliRunner().invoke(app, ["run", str(place / "p.yaml"), "--data", str(place / "d"), "--out", str(place / "r"),
                                    *words])  # fmt: skip


def _mixed(root):
    write_image(root / "train" / "p.png", picture(900))
    add_line(root, "Z p.png positive s")


def _empty_test(root):
    (root / "test_COVIDx.txt").write_text("")


def _empty_train(root):
    (root / "train_COVIDx.txt").write_text("")


def _class_without_test(root):
    lines = (root / "test_COVIDx.txt").read_text().splitlines(keepends=True)
    (root / "test_COVIDx.txt").write_text("".join(line for line in lines if "pneumonia" not in line))


def _one_patient(root):
    lines = (root / "train_COVIDx.txt").read_text().splitlines(keepends=True)
    (root / "train_COVIDx.txt").write_text("".join(line for line in lines if "COVID-19" not in line or "P2 " in line))


@pytest.mark.parametrize(("spoil", "sentence"), [
    (_mixed, "the labels mix several sets of classes (normal, pneumonia, COVID-19 beside positive), expected one"),
    (_empty_test, "no usable image in test"), (_empty_train, "no usable image in train"),
    (_class_without_test, "no usable image of class pneumonia in test"),
    (_one_patient, "no image of class COVID-19 is left for val: train has 1 patient of it"),
], ids=["mixed", "empty test", "empty train", "class without test", "one patient"])  # fmt: skip
def test_a_dataset_that_cannot_be_used_stops_prepare_and_check_says_the_same(place, spoil, sentence):
    spoil(place / "d")
    result = call(place, "--only", "prepare")
    assert isinstance(result.exception, ValueError) and sentence in str(result.exception)
    assert not (place / "r" / "prepare").exists()
    said = CliRunner().invoke(app, ["check", str(place / "d")])
    assert said.exit_code == 1 and f"classes: {sentence}" in said.output


def test_an_image_that_changed_after_prepare_is_named_by_detect_and_clean(place):
    assert call(place, "--only", "prepare").exit_code == 0
    write_image(place / "d" / "train" / "train-003.png", picture(777))
    for stage in ("detect", "clean"):
        assert CliRunner().invoke(app, [stage, "--run", str(place / "r")]).exit_code == 0
    assert "train-003.png: changed since stage prepare; run prepare again" in (place / "r" / "log.txt").read_text()
    assert not (place / "r" / "clean" / "dataset" / "train" / "train-003.png").exists()
    assert list(json.loads((place / "r" / "clean" / "dataset" / "cleaning.json").read_text())["failed"]) == [
        "train-003.png"]


def test_a_relative_dataset_is_the_same_from_any_folder(place, monkeypatch):
    monkeypatch.chdir(place)
    words = ["run", "p.yaml", "--data", "d", "--out", "r", "--only", "prepare"]
    assert CliRunner().invoke(app, words).exit_code == 0
    os.mkdir(place / "elsewhere")
    monkeypatch.chdir(place / "elsewhere")
    again = CliRunner().invoke(app, ["prepare", "--run", "../r"])
    assert again.exit_code == 0, again.exception
    assert len(pd.read_parquet(place / "r" / "prepare" / "manifest.parquet")) == 24


def test_a_near_duplicate_across_sources_is_in_the_manifest(place):
    film = picture(31, (300, 260))
    write_image(place / "d" / "train" / "one.png", film)
    write_image(place / "d" / "test" / "two.png", 255 - film[8:-8, 8:-8])
    add_line(place / "d", "Z one.png normal a")
    add_line(place / "d", "Y two.png normal b", "test")
    assert call(place, "--only", "prepare").exit_code == 0
    frame = pd.read_parquet(place / "r" / "prepare" / "manifest.parquet").set_index("image_id")
    assert frame.loc["two.png", "near_duplicate_of"] == "one.png"
    assert (frame["near_duplicate_of"] != "").sum() == 1
