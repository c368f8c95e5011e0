"""The second reader: which originals it reads, what that says of them, and that nothing depends on its moods."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cleaning_fixture import BOX, COLUMNS, SETTINGS, dataset, files, film
from hypothesis import given
from hypothesis import strategies as st

from xray_debug.cleaning.dataset import plan_rows
from xray_debug.cleaning.second import READINGS, Reading, covered, reading_of, readings_table, spread
from xray_debug.cleaning.worker import CleanWorker
from xray_debug.data.boxes import TextBox, as_boxes
from xray_debug.data.images import write_image

SIDE = 24
BOXES = st.lists(
    st.tuples(st.integers(0, SIDE - 2), st.integers(0, SIDE - 2), st.integers(1, 9), st.integers(1, 9)).map(
        lambda b: (b[0], b[1], min(b[0] + b[2], SIDE), min(b[1] + b[3], SIDE))),
    max_size=5,
)  # fmt: skip


class Finds:
    """A reader that always finds these boxes."""

    def __init__(self, *boxes, kind="text"):
        self.boxes = [TextBox(*box, 0.9, kind) for box in boxes]

    def __call__(self):
        return self

    def detect(self, images):
        assert all(image.dtype == np.uint8 for image in images)
        return [self.boxes for _ in images]


class Refuses:
    def detect(self, images):
        raise RuntimeError("out of ink")


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data", *dataset(tmp_path / "data")


def planned(data, decisions=None, config=SETTINGS, **options) -> pd.DataFrame:
    root, manifest, boxes = data
    own = {name: part[COLUMNS[1:]].to_numpy() for name, part in boxes.groupby("image_id")}
    options = {"recall_images": 99} | options
    return plan_rows(manifest, root, own, config, decisions, seed=3, **options)


def cleaned(folder, plan, reader) -> list[dict]:
    worker = CleanWorker(SETTINGS.model_dump(), 3, str(folder), None, reader)
    worker.open()
    return worker(plan.to_dict("records"))


@given(BOXES, BOXES)
def test_what_is_covered_against_counting_pixels(first, second):
    shares = covered(as_boxes(first), as_boxes(second), SIDE, SIDE)
    under = {(x, y) for x0, y0, x1, y1 in second for x in range(x0, x1) for y in range(y0, y1)}
    for share, (x0, y0, x1, y1) in zip(shares, first, strict=True):
        own = [(x, y) for x in range(x0, x1) for y in range(y0, y1)]
        assert share == pytest.approx(sum(pixel in under for pixel in own) / len(own))


@given(BOXES, BOXES)
def test_a_reading_is_within_what_there_is(first, second):
    found = reading_of(first, [TextBox(*box, 0.5) for box in second], SIDE, SIDE)
    assert (found.erased, found.found) == (len(first), len(second))
    assert 0 <= found.seen <= found.erased and 0 <= found.alone <= found.found
    whole = reading_of(first, [TextBox(0, 0, SIDE, SIDE, 0.5)], SIDE, SIDE)
    assert whole.seen == len(first)


def test_half_of_an_erased_box_is_enough_and_a_fifth_of_the_readers():
    erased = [(0, 0, 10, 10)]
    for width, seen in ((5, 1), (4, 0)):  # what the reader sees of the erased box
        assert reading_of(erased, [TextBox(0, 0, width, 10, 0.9)], 40, 40) == Reading(1, seen, 1, 0)
    for length, alone in ((50, 0), (51, 1)):  # 10 of them lie on the erased box
        assert reading_of(erased, [TextBox(0, 0, length, 10, 0.9)], 60, 60) == Reading(1, 1, 1, alone)
    halves = [TextBox(0, 0, 3, 10, 0.9), TextBox(7, 0, 10, 10, 0.9)]
    assert reading_of(erased, halves, 40, 40) == Reading(1, 1, 2, 0)  # together they cover more than half
    device = TextBox(20, 20, 30, 30, 0.9, "device")
    assert reading_of(erased, [device], 40, 40) == Reading(1, 0, 0, 0)


def manifest_of(sizes: dict[tuple[str, str], int]) -> pd.DataFrame:
    rows = [(f"{label}-{part}-{i}", label, part) for (label, part), n in sizes.items() for i in range(n)]
    return pd.DataFrame(rows, columns=["image_id", "label", "split"])


STRATA = st.dictionaries(st.tuples(st.sampled_from("ab"), st.sampled_from(["train", "test"])), st.integers(1, 30),
                         min_size=1)  # fmt: skip


@given(STRATA, st.integers(0, 80))
def test_the_originals_are_spread_over_classes_and_splits(sizes, count):
    plan = manifest_of(sizes)
    rows = spread(plan, np.arange(len(plan)), ("x", 1), count)
    assert len(rows) == min(count, len(plan)) == len(set(rows)) and (np.diff(rows) > 0).all()
    chosen = plan.iloc[rows].groupby(["label", "split"]).size()
    if count >= len(sizes):
        assert len(chosen) == len(sizes)
    if len(sizes) <= count < len(plan):
        for key, size in sizes.items():
            share = (count - len(sizes)) * (size - 1) / (len(plan) - len(sizes))
            assert abs(chosen[key] - 1 - share) < 1


def test_one_image_more_or_less_changes_few_of_the_draw():
    plan = manifest_of({("a", "train"): 200, ("b", "train"): 100})
    all_rows = np.arange(len(plan))
    first = set(plan["image_id"].iloc[spread(plan, all_rows, ("x", 1), 60)])
    without = set(plan["image_id"].iloc[spread(plan, all_rows[1:], ("x", 1), 60)])
    assert len(first & without) >= 58
    assert first != set(plan["image_id"].iloc[spread(plan, all_rows, ("x", 2), 60)])


def test_originals_are_read_whether_or_not_anything_is_erased_in_them(data, tmp_path):
    plan = planned(data)
    results = cleaned(tmp_path / "out", plan, Finds(BOX, (60, 50, 80, 70)))
    table = readings_table(plan, results).set_index("image_id")
    assert list(table.reset_index().columns) == READINGS and len(table) == 6 and (table["note"] == "").all()
    for name, row in table.iterrows():
        marked = name not in ("b.png", "e.png")
        assert tuple(row[["erased", "seen", "found", "alone"]]) == ((1, 1, 2, 1) if marked else (0, 0, 2, 2))
    assert cleaned(tmp_path / "plain", planned(data, recall_images=0), Finds(BOX))[0]["reading"] is None
    assert all(result["residual"] is None for result in results)  # that is `second_images`


def test_the_repair_is_the_same_with_and_without(data, tmp_path):
    reads = cleaned(tmp_path / "a", planned(data), Finds(BOX))
    plain = cleaned(tmp_path / "b", planned(data, recall_images=0), None)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    for one, other in zip(reads, plain, strict=True):
        assert one["file_sha256"] == other["file_sha256"] and one["note"] == other["note"]


def test_a_reader_that_fails_on_an_original_is_a_note(data, tmp_path):
    plan = planned(data)
    results = cleaned(tmp_path / "out", plan, Refuses)
    table = readings_table(plan, results)
    assert table["found"].isna().all() and set(table["note"]) == {"out of ink"} and len(table) == 6
    assert [result["note"] for result in results if result["changed"] and result["file"] == "a.png"] == [""]
    results[0] = {"image_id": "a.png", "problem": "a.png: gone"}
    assert readings_table(plan, results)["note"].tolist()[0] == "the image could not be done"


def test_an_original_that_has_changed_meanwhile_is_not_read(data, tmp_path):
    plan = planned(data)
    (row,) = plan[plan["image_id"] == "b.png"].to_dict("records")
    worker = CleanWorker(SETTINGS.model_dump(), 3, str(tmp_path / "out"), None, Finds(BOX))
    worker.open()
    write_image(data[0] / "train/b.png", film(9))
    assert "b.png" in worker._reading(row)["reading_note"]


def test_a_decision_counts_and_an_excluded_or_unreadable_image_is_not_read(data, tmp_path):
    decisions = pd.DataFrame([
        ("a.png", "reject", ""), ("b.png", "edit", [[1, 1, 9, 9]]), ("c.jpg", "exclude", ""),
    ], columns=["image_id", "decision", "boxes"])  # fmt: skip
    plan = planned(data, decisions, unread={"e.png": "cut off"})
    compared = plan.set_index("image_id")["compared"]
    assert compared["a.png"] == [] and compared["b.png"] == [[1, 1, 9, 9]] and compared["d.png"] == [list(BOX)]
    assert compared["c.jpg"] is None and compared["e.png"] is None


def test_only_text_is_compared_where_other_kinds_are_erased_too(data):
    plan = planned(data, texts={"a.png": [BOX]}).set_index("image_id")
    assert plan.loc["a.png", "compared"] == [list(BOX)] == plan.loc["d.png", "boxes"]
    assert plan.loc["d.png", "compared"] == []


def test_the_reading_belongs_to_the_measures_and_not_to_the_files(data):
    plan, other = planned(data), planned(data, recall_images=0)
    assert (plan["key"] == other["key"]).all() and (plan["measured"] != other["measured"]).all()
    assert (planned(data, texts={})["measured"] != plan["measured"]).sum() == 4
