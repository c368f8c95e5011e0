"""A cleaned dataset that was tampered with, and originals given back."""

import re

import numpy as np
import pandas as pd
import pytest
from cleaning_fixture import SETTINGS, dataset, files, sha256

from xray_debug.cleaning import verify
from xray_debug.cleaning.dataset import clean_dataset
from xray_debug.cleaning.verify import VerifyError, faults_of, restore
from xray_debug.data.images import read_image, write_image


@pytest.fixture
def cleaned(tmp_path):
    manifest, boxes = dataset(tmp_path / "data")
    changes = clean_dataset(manifest, tmp_path / "data", boxes, tmp_path / "out", SETTINGS,
                            control=tmp_path / "control")  # fmt: skip
    return manifest, changes, tmp_path / "data", tmp_path / "out"


def faults(cleaned, control=None) -> list[str]:
    return list(faults_of(*cleaned, SETTINGS, control=control))


def test_what_was_cleaned_holds(cleaned):
    assert faults(cleaned) == [] and faults(cleaned, cleaned[-1].with_name("control")) == []


def rewrite(path, change) -> None:
    path.write_text(change(path.read_text()))


@pytest.mark.parametrize("where", ["out", "control"])
@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda out: rewrite(out / "train_COVIDx.txt", lambda text: text.replace("a.png COVID-19", "a.png normal")),
         "train_COVIDx.txt: a.png: expected a a.png COVID-19 cohen, got a a.png normal cohen"),
        (lambda out: rewrite(out / "train_COVIDx.txt", lambda text: text.replace("b b.png", "z b.png")),
         "train_COVIDx.txt: b.png: expected b b.png normal cohen, got z b.png normal cohen"),
        (lambda out: rewrite(out / "test_COVIDx.txt", lambda text: text[text.index("\n") + 1 :]),
         "test_COVIDx.txt: d.png: expected d d.png pneumonia cohen, got no line"),
        (lambda out: rewrite(out / "test_COVIDx.txt", lambda text: text + "x x.png normal\n"),
         "test_COVIDx.txt: x.png: expected no line, got x x.png normal "),
        (lambda out: rewrite(out / "test_COVIDx.txt", lambda text: text + text.splitlines()[0] + "\n"),
         "test_COVIDx.txt: 3 lines name 2 images, expected each once"),
        (lambda out: rewrite(out / "test_COVIDx.txt", lambda text: text + "what\n"),
         "test_COVIDx.txt, line 3: no class"),
        (lambda out: (out / "reversed/test_COVIDx.txt").unlink(),
         "reversed/test_COVIDx.txt: is missing, with its 1 lines"),
        (lambda out: (out / "val_COVIDx.txt").write_text("a a.png normal\n"),
         "val_COVIDx.txt: is in the cleaned dataset"),
        (lambda out: (out / "cleaning.json").write_text("{}"), "cleaning.json: is missing or damaged"),
        (lambda out: (out / "cleaning.json").write_text("[]"), "cleaning.json: is missing or damaged"),
        (lambda out: edit(out / "train/a.png"), "a.png: .*train/a.png is not what was written"),
        (lambda out: edit(out / "test/e.png"), "e.png: .* no equal copy of its original"),
        (lambda out: (out / "reversed/test/f.tif").unlink(), "f.tif: .* is missing from the cleaned dataset"),
        (lambda out: out.rename(out.with_name("away")), "is missing"),
    ],
    ids=["label", "patient", "line gone", "line added", "line twice", "no line", "file gone", "file added",
         "facts empty", "facts a list", "changed image", "copied image", "image gone", "all gone"],
)  # fmt: skip
def test_labels_and_the_control_are_held_against_the_manifest(cleaned, tmp_path, where, harm, words):
    harm(tmp_path / where)
    (fault,) = faults(cleaned, tmp_path / "control")
    assert re.search(words, fault)


def edit(path) -> None:
    image = read_image(path).copy()
    image[70:72, 80:82] = 0
    write_image(path, image)


@pytest.mark.parametrize(
    ("place", "words"),
    [("data/train/a.png", "a.png: the original has changed"), ("out/train/a.png", "a.png: .* is not what was written"),
     ("out/train/b.png", "b.png: .* no equal copy of its original"), ("out/train/c.png", "c.jpg: .* is not what"),
     ("data/test/e.png", "e.png: the original has changed")],
)  # fmt: skip
def test_an_edited_file_is_named(cleaned, tmp_path, place, words):
    edit(tmp_path / place)
    (fault,) = faults(cleaned)
    assert re.match(words, fault)


def test_a_pixel_outside_the_boxes_is_found_even_where_the_log_vouches_for_it(cleaned, tmp_path):
    manifest, changes, *folders = cleaned
    edit(tmp_path / "out/test/d.png")
    changes.loc[changes["image_id"] == "d.png", "cleaned_sha256"] = sha256(tmp_path / "out/test/d.png")
    (fault,) = faults((manifest, changes, *folders))
    assert fault == "d.png: 4 pixels outside its boxes differ from the original"


@pytest.mark.parametrize("place", ["out/train/b.png", "out/reversed/test/f.tif", "data/test/d.png"])
def test_a_missing_file_is_named(cleaned, tmp_path, place):
    (tmp_path / place).unlink()
    (fault,) = faults(cleaned)
    assert fault.startswith(place.split("/")[-1]) and "missing" in fault


def test_an_added_file_is_named(cleaned, tmp_path):
    write_image(tmp_path / "out/train/more.png", np.zeros((8, 8), np.uint8))
    assert faults(cleaned) == ["train/more.png: is in the cleaned dataset and in no manifest"]


def test_originals_are_given_back(cleaned, tmp_path):
    manifest, _, originals, _ = cleaned
    before = files(originals)
    given = restore(manifest, originals, ["a.png", "f.tif", "a.png"], tmp_path / "back")
    assert {path.name: sha256(path) for path in given} == {"a.png": before["train/a.png"],
                                                           "f.tif": before["reversed/test/f.tif"]}  # fmt: skip
    assert files(originals) == before and not given[0].samefile(originals / "train/a.png")


@pytest.mark.parametrize("fault", ["unknown", "changed", "missing", "there already"])
def test_nothing_is_given_back_where_one_cannot_be(cleaned, tmp_path, fault):
    manifest, _, originals, _ = cleaned
    back, names = tmp_path / "back", ["b.png", "a.png"]
    if fault == "unknown":
        names.append("zzz.png")
    elif fault == "changed":
        edit(originals / "train/a.png")
    elif fault == "missing":
        (originals / "train/a.png").unlink()
    else:
        back.mkdir()
        (back / "a.png").write_text("mine")
    words = {"unknown": "zzz.png is no image", "there already": "is there already"}.get(fault, f"has {fault}|{fault}")
    with pytest.raises(VerifyError, match=words):
        restore(manifest, originals, names, back)
    assert not (back / "b.png").exists() and (fault != "there already" or (back / "a.png").read_text() == "mine")


def test_two_names_that_some_file_systems_hold_for_one_are_not_given_back_together(cleaned, tmp_path):
    manifest, _, originals, _ = cleaned
    (originals / "test/A.PNG").write_bytes((originals / "train/b.png").read_bytes())
    twin = manifest.iloc[[1]].assign(image_id="A.PNG", path="test/A.PNG")
    with pytest.raises(VerifyError, match="A.PNG: has the name of a.png but for capitals"):
        restore(pd.concat([manifest, twin], ignore_index=True), originals, ["a.png", "A.PNG"], tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_an_original_that_changes_while_it_is_given_back_is_not_given(cleaned, tmp_path, monkeypatch):
    manifest, _, originals, _ = cleaned
    monkeypatch.setattr(verify, "file_sha256", lambda path: manifest["sha256"].iloc[1])  # as it was a moment ago
    edit(originals / "train/b.png")
    with pytest.raises(ValueError, match="b.png"):
        restore(manifest, originals, ["b.png"], tmp_path / "back")
    assert not (tmp_path / "back" / "b.png").exists()
