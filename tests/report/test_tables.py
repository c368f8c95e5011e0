"""The report's tables of scores against scikit-learn, scipy and counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_fixture import make_verdict
from scipy.stats import binomtest
from scores_fixture import CLASSES, make_cell

from xray_debug.report.calibration import calibration, reliability_bins
from xray_debug.report.html import could_show, could_show_said, verdict_rows
from xray_debug.report.tables import (
    confusion,
    differences,
    left_out_sources,
    per_class,
    per_source,
    table4,
    wording,
)
from xray_debug.stats.randomisation import sign_flip_p
from xray_debug.stats.scores import Cell, class_scores


def test_wording_needs_both_the_interval_and_the_p_value():
    assert wording(0.1, 0.02, 0.2, 0.01, 50) == "improves"
    assert wording(-0.1, -0.2, -0.02, 0.01, 50) == "worsens"
    for case in [(0.1, 0.02, 0.2, 0.06, 50), (0.1, -0.01, 0.2, 0.01, 50), (0.0, 0.0, 0.0, 1.0, 50)]:
        assert wording(*case) == "no difference can be shown with this many images (n = 50)"


def cells_with(skills: dict, **options) -> dict:
    return {(*key, "test"): make_cell(seed=n, skill=s, **options) for n, (key, s) in enumerate(skills.items())}


def test_differences_use_mcnemar_and_holm():
    skills = {("original", "original"): 0.5, ("cleaned", "original"): 0.98, ("control", "original"): 0.5}
    cells = cells_with(skills, size=60, seeds=(0,))
    rows = differences(cells, 200, 0)
    assert [row["to"] for row in rows] == ["cleaned/original", "control/original", "cleaned/original"]
    first, second = cells["original", "original", "test"].correct[0], cells["cleaned", "original", "test"].correct[0]
    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    assert rows[0]["only_first"] == [lost] and rows[0]["only_second"] == [gained]
    assert rows[0]["p"] == pytest.approx(binomtest(lost, lost + gained).pvalue)
    ordered = sorted(rows, key=lambda row: row["p"])
    expected = np.maximum.accumulate([min(1, (3 - i) * row["p"]) for i, row in enumerate(ordered)])
    assert [row["p_holm"] for row in ordered] == pytest.approx(list(expected))
    assert rows[0]["wording"] == "improves" and rows[1]["wording"].startswith("no difference")


def test_table4_has_a_row_per_cell():
    cells = cells_with({("original", "original"): 0.6, ("original", "cleaned"): 0.7})
    rows = table4(cells, 50, 0)
    assert [(r["trained_on"], r["tested_on"], r["images"], r["seeds"]) for r in rows] == [
        ("original", "original", 40, 2), ("original", "cleaned", 40, 2)]  # fmt: skip


def test_per_source_names_the_worst_and_leaves_each_out_of_the_test():
    cell = make_cell(50, seeds=(0,))
    predicted = cell.labels.copy()
    inside = cell.sources == "b"
    predicted[np.flatnonzero(inside)[:5]] = (predicted[np.flatnonzero(inside)[:5]] + 1) % 3
    cell = Cell(cell.image_ids, cell.labels, cell.sources, predicted[None], None, (0,), CLASSES)
    rows = {row["source"]: row for row in per_source({("original", "original", "test"): cell})}
    assert rows["b"]["worst"] and not rows["a"]["worst"]
    assert rows["b"]["accuracy"] == pytest.approx(0.5) and rows["b"]["accuracy_without"] == 1
    assert rows["a"]["accuracy_without"] == pytest.approx(0.5) and sum(rows["b"]["classes"].values()) == 10


def test_models_trained_without_a_source_are_compared_on_its_images_alone():
    usual, other = make_cell(50, skill=1.0), make_cell(50, skill=0.0)
    inside, key = np.flatnonzero(other.sources == "b"), ("original", "original", "test")
    (row,) = left_out_sources({key: usual}, {"b": {key: other.take(inside)}}, None, 300, 0)
    assert (row["source"], row["trained_on"], row["images"], row["with"], row["without"]) == ("b", "original", 10, 1, 0)
    assert row["accuracy"] == -1 and row["accuracy_high"] == -1 and row["wording"] == "worsens"
    assert row["p"] == pytest.approx(2 * binomtest(0, 10).pvalue) and sum(row["classes"].values()) == 10


def test_confusion_sums_over_seeds():
    cell = make_cell(30, seeds=(0, 1, 2))
    row = confusion({("original", "original", "test"): cell})[0]
    assert np.array(row["counts"]).sum() == 90 and np.array(row["counts"]).sum(1).tolist() == [30, 30, 30]


def test_calibration_of_a_model_that_knows_its_chances():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.4, 1, 20000)
    probabilities = np.stack([sure, (1 - sure) / 2, (1 - sure) / 2], axis=1)
    labels = np.where(rng.random(20000) < sure, 0, rng.integers(1, 3, 20000))
    ids = np.array([f"{i:05d}" for i in range(20000)])
    cell = Cell(ids, labels, ids, np.zeros((1, 20000), int), probabilities[None], (0,), CLASSES)
    row = calibration({("original", "original", "test"): cell}, None, 100, 0)[0]
    assert row["ece"] < 0.02 and row["confidence"] == pytest.approx(0.7, abs=0.01)
    assert all(abs(b["confidence"] - b["accuracy"]) < 0.05 for b in row["bins"])


@given(st.lists(st.floats(0.34, 1.0), min_size=1, max_size=50))
def test_reliability_bins_keep_every_image(tops):
    top = np.array(tops)
    probabilities = np.stack([top, 1 - top], axis=1)
    rows = reliability_bins(probabilities, np.zeros(len(top), int), bins=10)
    assert sum(row["images"] for row in rows) == len(top)
    mean = sum(row["images"] * row["confidence"] for row in rows) / len(top)
    assert mean == pytest.approx(probabilities.max(1).mean())


def test_per_class_has_every_class_of_every_cell():
    cells = cells_with({("original", "original"): 0.6, ("original", "cleaned"): 0.7})
    rows = per_class(cells)
    assert [row["class"] for row in rows] == [*CLASSES, *CLASSES]
    names = ("trained_on", "tested_on", "test_set")
    second = {k: v for k, v in rows[3].items() if k not in names}
    assert rows[3]["tested_on"] == "cleaned" and second == class_scores(cells["original", "cleaned", "test"])[0]


def test_the_look_and_the_side_are_rows_of_the_verdict_beside_the_regions():
    verdict = make_verdict()
    entry = next(iter(verdict["classes"].values()))
    entry |= {"look": {"brightness": entry["text"]}, "laterality": {"marker": entry["absence"]}}
    rows = {row["question"]: row for row in verdict_rows(verdict) if row["label"] == next(iter(verdict["classes"]))}
    assert list(rows) == ["text", "absence of text", "region border", "look: brightness", "laterality: marker"]
    assert rows["look: brightness"]["words"] == "relies on it" and rows["laterality: marker"]["words"] == "not shown"


def test_what_could_have_been_shown_is_shown_four_times_in_five():
    """Of normal differences with that mean, by the verdict's own test at the level that is left for one of 20, and by
    the least that is asked of the measured mean."""
    rng, n, spread, verdict = np.random.default_rng(0), 40, 0.2, {"hypotheses": 20, "level": 0.95}
    half = 1.96 * spread / n**0.5
    row = {"question": "region border", "n": n, "difference": {"value": 0.0, "low": -half, "high": half},
           "separation": None}  # fmt: skip
    found, asked_more = could_show(row, verdict, 0.0), could_show(row, verdict, 0.3)
    draws = rng.normal(found, spread, (150, n))
    hits = np.mean([sign_flip_p(values, 2000, 1) <= 0.05 / 20 for values in draws])
    assert hits == pytest.approx(0.8, abs=0.1)
    assert np.mean(rng.normal(asked_more, spread, (400, n)).mean(1) >= 0.3) == pytest.approx(0.8, abs=0.06)
    assert could_show({**row, "question": "text"}, verdict, 0.6) == pytest.approx(asked_more)
    assert could_show(row, {**verdict, "hypotheses": 1}, 0.0) < found
    wide = {"value": 0.0, "low": -2 * half, "high": 2 * half}
    assert could_show({**row, "separation": wide}, verdict, 0.0) == pytest.approx(2 * found)
    for lacking in ({"n": 7}, {"n": 8}, {"difference": None}, {"difference": {"value": 0.0, "low": 0.0, "high": 0.0}},
                    {"difference": {"value": None, "low": None, "high": None}}):  # fmt: skip
        assert could_show({**row, **lacking}, verdict, 0.1) is None  # 8 signs have a p of .0039 at the least
    assert could_show(row, {}, 0.1) is None
    assert could_show_said([{"could_show": 0.081}, {"could_show": None}, {"could_show": 0.2}]).endswith("0.08 to 0.20")
    assert could_show_said([{"could_show": None}]) == ""
