"""A cleaned dataset that was tampered with, and originals given back."""

import re

import numpy as np
import pytest
from cleaning_fixture import SETTINGS, dataset, files, sha256

from xray_debug.cleaning.dataset import clean_dataset
from xray_debug.cleaning.verify import VerifyError, faults_of, restore
from xray_debug.data.images import read_image, write_image


@pytest.fixture
def cleaned(tmp_path):
    manifest, boxes = dataset(tmp_path / "data")
    changes = clean_dataset(manifest, tmp_path / "data", boxes, tmp_path / "out", SETTINGS)
    return manifest, changes, tmp_path / "data", tmp_path / "out"


def faults(cleaned) -> list[str]:
    return list(faults_of(*cleaned, SETTINGS))


def test_what_was_cleaned_holds(cleaned):
    assert faults(cleaned) == []


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
    words = {"unknown": "zzz.png: is no image", "there already": "is there already"}.get(fault, f"has {fault}|{fault}")
    with pytest.raises(VerifyError, match=words):
        restore(manifest, originals, names, back)
    assert not (back / "b.png").exists() and (fault != "there already" or (back / "a.png").read_text() == "mine")
