"""clean.keep: text that stays, and who overrules that."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from cleaning_fixture import BOX, COLUMNS, SETTINGS, dataset
from hypothesis import given
from hypothesis import strategies as st

from xray_debug.cleaning.controls import moved_region
from xray_debug.cleaning.dataset import clean_dataset, finish, plan_rows
from xray_debug.cleaning.decided import Decided, left_in_place
from xray_debug.cleaning.erase import spared
from xray_debug.cleaning.verify import faults_of
from xray_debug.cleaning.worker import CleanWorker
from xray_debug.data.boxes import TextBox, as_boxes, dilate_boxes, rasterise_boxes
from xray_debug.data.images import read_image

LETTER = (60, 50, 80, 70)
PLACE = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 9), st.integers(1, 9)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))  # fmt: skip


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data", *dataset(tmp_path / "data")


def planned(data, decisions=None, keep=((LETTER),)) -> pd.DataFrame:
    """All four marked images have a letter beside the marker, which stays where `keep` holds it."""
    root, manifest, boxes = data
    own = {name: [*part[COLUMNS[1:]].to_numpy().tolist(), LETTER] for name, part in boxes.groupby("image_id")}
    table = None if decisions is None else pd.DataFrame(decisions, columns=["image_id", "decision", "boxes"])
    return plan_rows(manifest, root, own, SETTINGS, table, seed=3, second_images=None, recall_images=9,
                     keep=dict.fromkeys(own, keep))  # fmt: skip


@given(st.lists(PLACE, max_size=5, unique=True), st.data())
def test_what_is_found_is_erased_or_stays_and_nothing_is_lost(found, draw):
    keep = draw.draw(st.lists(st.sampled_from(found), unique=True)) if found else []
    for decision in ("", "approve"):
        erased, kept = left_in_place(Decided(decision), found, keep)
        assert sorted(map(tuple, [*erased.tolist(), *kept.tolist()])) == sorted(found)
        assert set(map(tuple, kept.tolist())) == set(keep)
    edit = Decided("edit", as_boxes(found))  # a reviewer who draws all of them
    assert not len(left_in_place(edit, found, keep)[1])
    nowhere = Decided("edit", as_boxes([(90, 90, 95, 95)]))
    assert set(map(tuple, left_in_place(nowhere, found, keep)[1].tolist())) == set(keep)


def test_the_plan_spares_letters_and_reviewers_overrule(data):
    plan = planned(data, [("c.jpg", "edit", [list(LETTER)]), ("d.png", "reject", None), ("f.tif", "approve", None)])
    rows = plan.set_index("image_id")
    assert rows.loc["a.png", "boxes"] == rows.loc["f.tif", "boxes"] == [list(BOX)]
    assert rows.loc["a.png", "kept"] == rows.loc["f.tif", "kept"] == [list(LETTER)]
    assert rows.loc["a.png", "compared"] == [list(BOX)]
    assert rows.loc["c.jpg", "boxes"] == [list(LETTER)] and rows.loc["c.jpg", "kept"] == []
    assert rows.loc["d.png", "boxes"] == rows.loc["d.png", "kept"] == []
    assert planned(data, keep=())["key"].tolist() != planned(data)["key"].tolist()


def test_an_image_whose_letter_stays_is_not_one_without_text(data):
    root, manifest, boxes = data
    own = {name: part[COLUMNS[1:]].to_numpy() for name, part in boxes.groupby("image_id")}
    first, rest = dict(list(own.items())[:1]), dict(list(own.items())[1:])
    bare, letters = (plan_rows(manifest, root, found, SETTINGS, seed=3, keep=keep)
                     for found, keep in ((first, {}), (own, rest)))  # fmt: skip
    assert bare["boxes"].tolist() == letters["boxes"].tolist()
    paths = letters.set_index("image_id")["path"]
    assert set(bare["untouched"]) - {""} and not set(letters["untouched"]) & set(paths[list(own)])


class Everything:
    """A second reader that finds the letter and one box more."""

    def __call__(self):
        return self

    def detect(self, images):
        return [[TextBox(*LETTER, 0.9), TextBox(2, 2, 12, 9, 0.9)] for _ in images]


@pytest.mark.parametrize(("keep", "left"), [((LETTER,), 1), ((), 2)])
def test_the_letter_is_as_it_was_and_counts_as_no_text_left(data, tmp_path, keep, left):
    root, manifest, _ = data
    plan = planned(data, keep=keep)
    worker = CleanWorker(SETTINGS.model_dump(), 3, str(tmp_path / "out"), str(tmp_path / "control"), Everything())
    worker.open()
    changes = finish(plan, worker(plan.to_dict("records")), tmp_path / "out", tmp_path / "control")
    assert list(faults_of(manifest, changes, root, tmp_path / "out", SETTINGS, control=tmp_path / "control")) == []
    assert set(changes["residual"]) == {left}
    x0, y0, x1, y1 = LETTER
    original, cleaned, control = (read_image(folder / "test" / "d.png")[y0:y1, x0:x1]
                                  for folder in (root, tmp_path / "out", tmp_path / "control"))  # fmt: skip
    assert np.array_equal(original, cleaned) == bool(keep)
    if keep:
        assert np.array_equal(original, control)
        assert all(json.loads(boxes) == [list(BOX)] for boxes in changes["boxes"])


def test_a_folder_cleaned_at_once_spares_what_it_is_told_and_does_not_guess(data, tmp_path):
    root, manifest, boxes = data
    settings = SETTINGS.model_copy(update={"keep": "laterality"})
    with pytest.raises(ValueError, match=r"clean\.keep: laterality needs the boxes that stay"):
        clean_dataset(manifest, root, boxes, tmp_path / "out", settings)
    changes = clean_dataset(manifest, root, boxes, tmp_path / "out", settings, keep={"a.png": [BOX]})
    assert "a.png" not in set(changes["image_id"]) and len(changes) == boxes["image_id"].nunique() - 1


@given(st.integers(0, 200))
def test_no_control_is_placed_on_what_stays(seed):
    image, stays = np.random.default_rng(0).integers(0, 255, (40, 60)).astype(np.uint8), [(0, 0, 60, 20)]
    placed, moved = moved_region(image, [(5, 30, 15, 36)], SETTINGS, seed, stays)
    assert len(placed) == 1 and moved.any() and not (moved & rasterise_boxes(stays, 40, 60)).any()


@given(st.lists(PLACE, min_size=1, max_size=3), st.lists(PLACE, max_size=3))
def test_the_margin_of_an_erased_box_gives_way_to_a_letter_that_stays(boxes, kept):
    image = np.random.default_rng(0).integers(1, 255, (40, 40)).astype(np.uint8)
    region = rasterise_boxes(dilate_boxes(boxes, 3, 40, 40), 40, 40)
    cleaned, left = spared(image, np.where(region, 0, image).astype(np.uint8), region, boxes, kept)
    inside, stays = rasterise_boxes(boxes, 40, 40), rasterise_boxes(kept, 40, 40)
    assert not cleaned[inside].any() and left[inside].all()
    assert np.array_equal(cleaned[stays & ~inside], image[stays & ~inside])
    assert np.array_equal(cleaned[~left], image[~left]) and not cleaned[left].any()
