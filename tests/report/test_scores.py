"""Scores, bootstrap and differences of the report against scikit-learn, closed forms and slow loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score

from xray_debug.report.scores import (
    METRICS,
    Cell,
    cell_scores,
    common,
    confusion_matrices,
    paired_difference,
    resampled_scores,
    unpaired_difference,
)
from xray_debug.report.tables import (
    apart,
    calibration,
    combined_p,
    confusion,
    differences,
    left_out_sources,
    per_class,
    per_source,
    reliability_bins,
    table4,
    wording,
)

CLASSES = ("normal", "pneumonia", "COVID-19")


def make_cell(size=40, seeds=(0, 1), skill=0.8, seed=0, prefix="i", labels=None) -> Cell:
    rng = np.random.default_rng(seed)
    labels = np.arange(size) % 3 if labels is None else labels
    right = rng.random((len(seeds), size)) < skill
    predicted = np.where(right, labels, (labels + rng.integers(1, 3, (len(seeds), size))) % 3)
    probabilities = rng.dirichlet([1, 1, 1], (len(seeds), size)) * 0.4
    probabilities += 0.6 * np.eye(3)[predicted]
    ids = np.array([f"{prefix}{i:03d}" for i in range(size)])
    sources = np.array(["a", "b"])[(np.arange(size) % 5 == 0).astype(int)]
    return Cell(ids, labels, sources, predicted, probabilities, tuple(seeds), CLASSES)


def test_weighted_confusion_equals_repeated_images():
    cell = make_cell(12)
    weights = np.array([np.arange(12) % 4, np.ones(12)])
    repeated = np.repeat(np.arange(12), np.arange(12) % 4)
    found = confusion_matrices(cell, weights)
    assert np.array_equal(found[0], confusion_matrices(cell.take(repeated)))
    assert np.array_equal(found[1], confusion_matrices(cell))


def test_the_bootstrap_agrees_with_a_plain_loop():
    cell = make_cell(25)
    found = resampled_scores(cell, 30, 5, chunk=7)
    rng, expected = np.random.default_rng(5), []
    for start in range(0, 30, 7):
        for rows in rng.integers(0, 25, (min(7, 30 - start), 25)):
            expected.append(np.mean([accuracy_score(cell.labels[rows], p[rows]) for p in cell.predicted]))
    assert found["accuracy"] == pytest.approx(expected, abs=1e-6)


def test_images_of_one_patient_are_drawn_together():
    cell, size = make_cell(24, seeds=(0,)), 24
    twins = Cell(np.repeat(cell.image_ids, 2) + np.array(["a", "b"] * size), np.repeat(cell.labels, 2),
                 np.repeat(cell.sources, 2), np.repeat(cell.predicted, 2, axis=1), None, (0,), CLASSES,
                 np.repeat(cell.image_ids, 2))  # fmt: skip
    alone, together = (resampled_scores(c, 200, 3) for c in (cell, twins))
    assert all(together[name] == pytest.approx(alone[name]) for name in METRICS)  # a copy adds no evidence


def test_the_interval_of_accuracy_is_the_binomials():
    cell = make_cell(400, seeds=(0,), skill=0.8)
    found = cell_scores(cell, 4000, 1, 0.95)
    half = 1.96 * np.sqrt(found["accuracy"] * (1 - found["accuracy"]) / 400)
    assert found["accuracy_low"] == pytest.approx(found["accuracy"] - half, abs=0.005)
    assert found["accuracy_high"] == pytest.approx(found["accuracy"] + half, abs=0.005)
    assert found["accuracy_spread"] is None


def test_mean_and_spread_over_seeds():
    cell = make_cell(30, seeds=(0, 1, 2))
    found = cell_scores(cell, 100, 0, 0.95)
    each = [accuracy_score(cell.labels, p) for p in cell.predicted]
    f1 = [f1_score(cell.labels, p, average="macro") for p in cell.predicted]
    assert found["f1"] == pytest.approx(np.mean(f1))
    assert found["accuracy"] == pytest.approx(np.mean(each)) and found["accuracy_per_seed"] == pytest.approx(each)
    assert found["accuracy_spread"] == pytest.approx(np.std(each, ddof=1))


def test_a_cell_against_itself_differs_by_nothing():
    cell = make_cell()
    found = paired_difference(cell, cell, 100, 0, 0.95)
    assert all(found[f"{m}{end}"] == 0 for m in METRICS for end in ("", "_low", "_high"))


def test_pairing_narrows_the_interval_of_models_that_err_alike():
    first = make_cell(200, seeds=(0,), skill=0.7, seed=3)
    better = first.predicted.copy()
    wrong = np.flatnonzero(first.predicted[0] != first.labels)[:20]
    better[0, wrong] = first.labels[wrong]
    second = Cell(first.image_ids, first.labels, first.sources, better, None, first.seeds, CLASSES)
    paired = paired_difference(first, second, 2000, 0, 0.95)
    apart = unpaired_difference(first, second, 2000, 0, 0.95)
    assert paired["accuracy"] == pytest.approx(0.1) == apart["accuracy"]
    assert paired["accuracy_high"] - paired["accuracy_low"] < 0.6 * (apart["accuracy_high"] - apart["accuracy_low"])
    sd = np.sqrt(0.1 * 0.9 / 200)  # the difference is 1 on a tenth of the images
    assert paired["accuracy_low"] == pytest.approx(0.1 - 1.96 * sd, abs=0.01)


def test_common_takes_shared_images_and_seeds_in_one_order():
    first, second = make_cell(20), make_cell(20, seeds=(1, 2), seed=9)
    shuffled = second.take(np.arange(19, 4, -1))
    a, b = common(first, shuffled)
    assert a.seeds == b.seeds == (1,) and list(a.image_ids) == list(b.image_ids) == [f"i{i:03d}" for i in range(5, 20)]
    assert np.array_equal(b.predicted[0], second.predicted[0, 5:])


def test_common_refuses_strangers_and_contradictions():
    with pytest.raises(ValueError, match="share no image"):
        common(make_cell(), make_cell(prefix="j"))
    with pytest.raises(ValueError, match="i001 has two labels"):
        common(make_cell(6), make_cell(6, labels=np.array([0, 2, 2, 0, 1, 2])))


def test_combined_p_is_ruegers():
    assert combined_p([0.03]) == 0.03
    assert combined_p([0.01, 0.5]) == pytest.approx(0.02)
    assert combined_p([0.5, 0.01, 0.02]) == pytest.approx(0.03)
    assert combined_p([0.9, 0.9]) == 1.0


def test_combined_p_is_valid_where_the_tests_are_one_and_the_same():
    p = np.random.default_rng(0).random(20000)
    combined = np.array([combined_p([v] * 3) for v in p])
    assert (combined <= 0.05).mean() <= 0.05


def test_wording_needs_both_the_interval_and_the_p_value():
    assert wording(0.1, 0.02, 0.2, 0.01, 50) == "improves"
    assert wording(-0.1, -0.2, -0.02, 0.01, 50) == "worsens"
    for case in [(0.1, 0.02, 0.2, 0.06, 50), (0.1, -0.01, 0.2, 0.01, 50), (0.0, 0.0, 0.0, 1.0, 50)]:
        assert wording(*case) == "no difference can be shown with this many images (n = 50)"


def cells_of(skills: dict, **options) -> dict:
    return {(*key, "test"): make_cell(seed=n, skill=s, **options) for n, (key, s) in enumerate(skills.items())}


def test_differences_use_mcnemar_and_holm():
    skills = {("original", "original"): 0.5, ("cleaned", "original"): 0.98, ("control", "original"): 0.5}
    cells = cells_of(skills, size=60, seeds=(0,))
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
    cells = cells_of({("original", "original"): 0.6, ("original", "cleaned"): 0.7})
    rows = table4(cells, 50, 0)
    assert [(r["trained_on"], r["tested_on"], r["images"], r["seeds"]) for r in rows] == [
        ("original", "original", 40, 2), ("original", "cleaned", 40, 2)]  # fmt: skip


def test_per_class_counts_by_hand():
    labels, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([[0, 0, 1, 1, 1, 1]])
    cell = Cell(np.array(list("abcdef")), labels, np.array(["s"] * 6), predicted, None, (0,), CLASSES)
    rows = per_class({("original", "original", "test"): cell})
    assert [row["sensitivity"] for row in rows] == pytest.approx([2 / 3, 1, 0])
    assert rows[0]["ppv"] == 1 and rows[1]["ppv"] == pytest.approx(0.5) and rows[2]["ppv"] is None
    assert rows[0]["sensitivity_low"] == pytest.approx(binomtest(2, 3).proportion_ci(method="wilson").low)


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
    inside = np.flatnonzero(other.sources == "b")
    cells, without = apart({("original", "original", "test"): usual,
                            ("original without b", "original", "test"): other.take(inside)})  # fmt: skip
    assert set(cells) == {("original", "original", "test")} and len(without) == 1
    (row,) = left_out_sources(cells, without, None, 300, 0)
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
    row = calibration({("original", "original", "test"): cell}, None)[0]
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
