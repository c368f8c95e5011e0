"""Scores, their bootstrap and differences against scikit-learn, closed forms and slow loops."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from scores_fixture import CLASSES, make_cell
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from xray_debug.stats.intervals import bootstrap
from xray_debug.stats.metrics import OVERALL
from xray_debug.stats.scores import (
    Cell,
    cell_scores,
    cells_of,
    cells_without,
    class_scores,
    common,
    confusion_matrices,
    metrics_of,
    paired_difference,
    resampled_scores,
    unpaired_difference,
)


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
    assert all(together[name] == pytest.approx(alone[name]) for name in OVERALL)  # a copy adds no evidence


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
    assert all(found[f"{m}{end}"] == 0 for m in OVERALL for end in ("", "_low", "_high"))


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
    with pytest.raises(ValueError, match="i001 has two labels in the predictions: pneumonia and COVID-19"):
        common(make_cell(6), make_cell(6, labels=np.array([0, 2, 2, 0, 1, 2])))


def test_a_cell_is_resampled_once():
    cell = make_cell(20)
    first = resampled_scores(cell, 40, 1)
    assert resampled_scores(cell, 40, 1) is first
    assert not np.array_equal(resampled_scores(cell, 40, 2)["accuracy"], first["accuracy"])
    assert len(resampled_scores(cell, 30, 1)["accuracy"]) == 30


def test_class_scores_by_hand():
    labels, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([[0, 0, 1, 1, 1, 1]])
    cell = Cell(np.array(list("abcdef")), labels, np.array(["s"] * 6), predicted, None, (0,), CLASSES)
    rows = class_scores(cell)
    assert [row["class"] for row in rows] == list(CLASSES) and [row["images"] for row in rows] == [3, 2, 1]
    assert [row["sensitivity"] for row in rows] == pytest.approx([2 / 3, 1, 0])
    assert rows[0]["ppv"] == 1 and rows[1]["ppv"] == pytest.approx(0.5) and rows[2]["ppv"] is None
    assert rows[0]["sensitivity_low"] == pytest.approx(binomtest(2, 3).proportion_ci(method="wilson").low)


def test_images_of_one_patient_are_no_further_evidence_of_a_sensitivity():
    """Four patients, all six images of each right or wrong alike: the interval of two of four, not of twelve of 24."""
    labels, predicted = np.zeros(24, int), np.repeat([0, 0, 1, 1], 6)[None]
    names = np.array([f"i{n:02d}" for n in range(24)])
    alone, together = (class_scores(Cell(names, labels, np.full(24, "s"), predicted, None, (0,), CLASSES, patients))[0]
                       for patients in (None, np.repeat(list("abcd"), 6)))  # fmt: skip
    for row, (hits, n) in ((alone, (12, 24)), (together, (2, 4))):
        found = binomtest(hits, n).proportion_ci(method="wilson")
        assert (row["sensitivity_low"], row["sensitivity_high"]) == pytest.approx((found.low, found.high))


# ---------------------------------------------------------------------------------------------- from predictions


def table(cell: Cell, **names) -> pd.DataFrame:
    """The rows of a predictions table that a cell comes from, in no order."""
    rows = [
        {"image_id": cell.image_ids[i], "seed": seed, "label": CLASSES[cell.labels[i]], "source": cell.sources[i],
         "predicted": CLASSES[cell.predicted[s, i]],
         **{f"p_{name}": cell.probabilities[s, i, k] for k, name in enumerate(CLASSES)}}
        for s, seed in enumerate(cell.seeds) for i in range(len(cell.labels))
    ]  # fmt: skip
    names = {"trained_on": "original", "without": "", "tested_on": "original", "test_set": "test", **names}
    return pd.DataFrame(rows).assign(**names).sample(frac=1, random_state=0)


def same(found: Cell, cell: Cell) -> bool:
    names = ("image_ids", "labels", "sources", "predicted", "probabilities")
    return found.seeds == cell.seeds and all(np.array_equal(getattr(found, n), getattr(cell, n)) for n in names)


def test_predictions_become_the_cells_they_are():
    cells = {("original", "original", "test"): make_cell(12), ("cleaned", "original", "test"): make_cell(12, seed=1),
             ("cleaned", "cleaned", "other"): make_cell(9, seed=2, prefix="o")}  # fmt: skip
    names = ("trained_on", "tested_on", "test_set")
    tables = [table(cell, **dict(zip(names, key, strict=True))) for key, cell in reversed(cells.items())]
    found = cells_of(pd.concat(tables, ignore_index=True), CLASSES)
    assert list(found) == list(cells)  # the usual test set first, original before cleaned
    assert all(same(found[key], cells[key]) and not found[key].incomplete for key in cells)


def test_models_that_a_source_was_kept_from_are_cells_of_their_own():
    usual, other = make_cell(12), make_cell(12, seed=5)
    frame = pd.concat([table(usual), table(other, without="b"), table(other, test_set="")])
    (cell,) = cells_of(frame, CLASSES).values()
    assert same(cell, usual)
    without = cells_without(frame, CLASSES)
    assert list(without) == ["b"] and same(without["b"]["original", "original", "test"], other)
    assert same(cells_of(table(usual).drop(columns="without"), CLASSES)["original", "original", "test"], usual)


def test_an_image_that_a_seed_lacks_is_left_out_and_counted():
    frame = table(make_cell(12))
    cut = frame[~((frame["seed"] == 1) & frame["image_id"].isin(["i003", "i007"]))]
    (cell,) = cells_of(cut, CLASSES).values()
    assert cell.incomplete == 2 and same(cell, make_cell(12).take(np.delete(np.arange(12), [3, 7])))


def test_patients_are_known_for_all_images_or_not_used():
    frame, owners = table(make_cell(6)), {f"i{i:03d}": f"p{i // 2}" for i in range(6)}
    (known,) = cells_of(frame, CLASSES, pd.Series(owners)).values()
    assert known.patients.tolist() == ["p0", "p0", "p1", "p1", "p2", "p2"]
    (unknown,) = cells_of(frame, CLASSES, {**owners, "i004": None}).values()
    assert unknown.patients is None


@pytest.mark.parametrize("column", ["label", "predicted"])
def test_a_label_that_the_model_does_not_know_is_named(column):
    with pytest.raises(ValueError, match="'measles' is none of the model's classes normal, pneumonia, COVID-19"):
        cells_of(table(make_cell(6)).assign(**{column: "measles"}), CLASSES)


def test_metrics_are_scikit_learns_over_all_seeds_and_resampled_by_patient():
    cell = make_cell(40, seeds=(0, 1, 2), skill=0.6)
    owners = {f"i{i:03d}": f"p{i // 4}" for i in range(40)}
    found = metrics_of(table(cell), CLASSES, owners, 400, 7)["original/original/test"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["seeds"], found["images"], found["patients"]) == (3, 40, 10)
    f1 = [f1_score(cell.labels, p, average="macro") for p in cell.predicted]
    assert found["f1"] == pytest.approx(np.mean(f1)) and found["f1_per_seed"] == pytest.approx(f1)
    matrices = [confusion_matrix(cell.labels, p, labels=[0, 1, 2]) for p in cell.predicted]
    assert found["confusion"] == sum(matrices).tolist()
    sensitivity = recall_score(np.tile(cell.labels, 3), cell.predicted.ravel(), average=None)
    assert [found["per_class"][c]["sensitivity"] for c in CLASSES] == pytest.approx(sensitivity)
    groups = [owners[name] for name in cell.image_ids]
    right = cell.correct.mean(0)
    slow = bootstrap(lambda x: float(x.mean()), [right], 400, 1, groups=groups)
    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx(slow[1:], abs=0.02)
    alone = metrics_of(table(cell), CLASSES, None, 400, 7)["original/original/test"]
    assert alone["patients"] is None and alone["accuracy_low"] != found["accuracy_low"]
