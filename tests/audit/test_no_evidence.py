from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import balanced_accuracy_score

from xray_debug.audit.checks.properties import Properties, named_bins, quantile_bins
from xray_debug.audit.no_evidence import (
    FINER,
    FOLDS,
    RIDGE,
    _ridge_guesses,
    _smoother,
    blackout_model,
    coded,
    cross_validated,
    guess,
    held_out,
    make_folds,
    no_evidence,
    permuted_p,
    speaks_for,
)
from xray_debug.config import AuditConfig

LABELS = ["normal", "COVID-19"]


def manifest(n=80, seed=0):
    """Labels alternate; the source says all, the size nothing."""
    rng = np.random.default_rng(seed)
    labels = [LABELS[i % 2] for i in range(n)]
    return pd.DataFrame({
        "image_id": [f"i{i}.png" for i in range(n)], "patient_id": [f"p{i}" for i in range(n)], "label": labels,
        "source": ["north" if label == "normal" else "south" for label in labels],
        "width": rng.integers(500, 900, n), "height": rng.integers(500, 900, n), "bit_depth": 8,
        "split": ["train"] * (n // 2) + ["test"] * (n - n // 2), "test_set": [""] * (n // 2) + ["test"] * (n - n // 2),
        "problem": "",
    })  # fmt: skip


def test_source_that_says_all_and_size_that_says_nothing():
    found = no_evidence(manifest(), {}, seed=1, permutations=99)
    source, size = found["predictors"]["source"], found["predictors"]["image size"]
    assert source["mean_recall"] == 1.0 and source["p"] == 1 / (1 + FINER * len(found["predictors"]))
    assert source["p_adjusted"] == pytest.approx(source["p"] * len(found["predictors"]))
    assert source["speaks_for"] == {"label": "COVID-19", "recall": 1.0, "elsewhere": 0.0, "category": "south"}
    assert source["test"]["test"]["value"] == 1.0 and source["test"]["test"]["majority"] == 0.5
    assert size["p"] > 0.05
    assert found["chance"] == 0.5 and found["images"] == 80
    assert (source["check"], size["check"]) == ("source", "properties")
    assert found["sentences"][0].startswith("From the source alone the label is guessed with a mean recall of 1.00")


def test_absence_of_text_in_one_class_is_told():
    frame = manifest()
    boxes = {name: [(400, 10, 450, 40)] for name, label in zip(frame["image_id"], frame["label"], strict=True)
             if label == "normal"}
    found = no_evidence(frame.assign(source="one"), boxes, permutations=99)["predictors"]
    for name in ("presence of text", "amount of text", "place of text"):
        assert found[name]["mean_recall"] == 1.0 and found[name]["p"] < 0.01
    assert found["source"]["mean_recall"] == 0.5 and found["source"]["p"] == 1.0


def test_rows_with_a_problem_and_further_images_of_a_patient_are_left_out():
    frame = manifest()
    frame.loc[3, "problem"] = "broken"
    frame.loc[5, "patient_id"] = "p4"
    found = no_evidence(frame, {}, permutations=50)
    assert (found["images"], found["patients"]) == (79, 78)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="at least two classes"):
        no_evidence(manifest().assign(label="normal"), {})


def test_categories_of_text():
    frame = manifest(4).assign(width=90, height=90)
    boxes = {"i1.png": [(0, 0, 10, 10)], "i2.png": [(0, 0, 5, 5), (70, 70, 90, 90)], "i3.png": [(40, 40, 50, 50)] * 5}
    found = Properties(AuditConfig()).predictors(frame, boxes)
    assert found["presence of text"].tolist() == [0, 1, 1, 1]
    assert found["amount of text"].tolist() == [0, 1, 2, 3]
    assert found["place of text"].tolist() == [0, 1, 9, 5]


def test_guess_by_hand():
    categories, labels = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 0, 0, 1])
    assert guess(categories, labels, np.array([0, 1, 2]), 2, balanced=False).tolist() == [0, 0, 0]
    # one of two 1s and two of four 0s lie in each category: a tie, which the first class wins; tip it over
    labels[2], categories = 1, np.array([0, 1, 0, 1, 1, 0])
    assert guess(categories, labels, np.array([0]), 2, balanced=True).tolist() == [1]
    assert guess(categories, labels, np.array([1]), 2, balanced=True).tolist() == [0]


def test_cross_validation_guesses_each_fold_from_the_others():
    rng = np.random.default_rng(2)
    for _ in range(20):
        categories, labels = rng.integers(0, 6, 30), rng.integers(0, 3, 30)
        folds, guesses = make_folds(labels, 1), np.zeros(30, int)
        for fold in range(FOLDS):
            test = folds == fold
            guesses[test] = guess(categories[~test], labels[~test], categories[test], 3, balanced=True)
        assert cross_validated(categories, labels, folds, 3) == pytest.approx(balanced_accuracy_score(labels, guesses))


def test_quantile_bins():
    assert quantile_bins(np.array([5, 5, 7, 9]), 4).tolist() == [0, 0, 1, 2]
    codes = quantile_bins(np.arange(100.0), 4)
    assert np.bincount(codes).tolist() == [25, 25, 25, 25]
    same = quantile_bins(np.array([1.0] * 50 + list(range(2, 20))), 4)
    assert len(set(same[:50])) == 1


def test_bins_are_named_by_their_ends_and_what_is_not_known_is_not():
    assert named_bins(np.array([0.1, 0.2, np.nan, 0.3, 0.4]), 2).tolist() == [
        "0.1 to 0.2", "0.1 to 0.2", "", "0.3 to 0.4", "0.3 to 0.4"]
    assert named_bins(np.array([2.0, 2.0, 3.0]), 8).tolist() == ["2", "2", "3"]
    assert named_bins(np.full(3, np.nan), 8).tolist() == [""] * 3


def test_categories_are_codes_or_names():
    assert [part if part is None else list(part) for part in coded(np.array([3, 0, -1]))] == [[3, 0, -1], None]
    codes, names = coded(np.array(["b", "", "a", "b"]))
    assert codes.tolist() == [1, -1, 0, 1] and names == ["a", "b"]
    assert coded(np.array(["b", "a"]))[0].tolist() == [1, 0]


def test_what_a_predictor_speaks_for_is_the_class_that_its_held_out_guesses_tell_best():
    rng = np.random.default_rng(5)
    labels = np.arange(300) % 3
    categories = np.where((labels == 2) & (rng.random(300) < 0.8), 1, 0)
    folds, classes = make_folds(labels, 0), ["a", "b", "c"]
    found = speaks_for(categories, labels, folds, classes, ["dark", "bright"])
    guesses = held_out(categories, labels, folds, 3)
    assert (found["label"], found["category"]) == ("c", "bright")
    assert found["recall"] == pytest.approx(np.mean(guesses[labels == 2] == 2))
    assert found["elsewhere"] == pytest.approx(np.mean(guesses[labels != 2] == 2))
    assert speaks_for(categories, labels, folds, classes)["category"] == ""


def test_more_permutations_only_where_none_scores_as_high():
    labels, calls = np.repeat([0, 1], 20), []

    def score(value):
        def scored(y):
            calls.append(1)
            return value
        return scored

    assert permuted_p(1.0, score(0.0), labels, 20, 0, 100) == 1 / 101 and len(calls) == 100
    calls.clear()
    assert permuted_p(1.0, score(1.0), labels, 20, 0, 100) == 1 and len(calls) == 20


@pytest.mark.parametrize("column", ["attr_view", "film_brightness"])
def test_an_attribute_or_the_look_that_goes_with_a_class_is_told_and_noise_is_not(column):
    frame, rng = manifest(120), np.random.default_rng(1)
    covid = (frame["label"] == "COVID-19").to_numpy()
    values = np.where(covid ^ (rng.random(120) < 0.1), "AP", "PA")
    noise = rng.choice(["m", "f"], 120)
    frame = frame.assign(source="one", attr_sex=noise, attr_same="x")
    films = pd.DataFrame({"film_noise": rng.random(120)})
    name = "attribute view"
    if column.startswith("film"):
        values, name = np.where(values == "AP", 0.7, 0.3) + rng.normal(0, 0.05, 120), "brightness of the film"
        films[column] = values
        films.loc[::7, column] = np.nan
    else:
        frame[column] = values
    found = no_evidence(frame, {}, permutations=99, films=films)["predictors"]
    assert found[name]["mean_recall"] > 0.8 and found[name]["p_adjusted"] <= 0.05
    assert found[name]["n"] == (102 if column.startswith("film") else 120)
    assert found[name]["test"]["test"]["value"] > 0.75
    assert found["attribute sex"]["p_adjusted"] > 0.05 and found["noise of the film"]["p_adjusted"] > 0.05
    assert "attribute same" not in found
    assert {"attributes", "look", "source", "properties"} == {entry["check"] for entry in found.values()}


def test_folds_are_stratified_and_depend_on_the_seed():
    labels = np.array([0] * 50 + [1] * 25)
    folds = make_folds(labels, 1)
    assert [np.bincount(labels[folds == f]).tolist() for f in range(FOLDS)] == [[10, 5]] * FOLDS
    assert not np.array_equal(folds, make_folds(labels, 2))


def test_permutation_p_is_small_for_signal_and_even_for_noise():
    rng = np.random.default_rng(0)
    labels, values = np.repeat([0, 1], 40), []
    for seed in range(40):
        categories = rng.integers(0, 3, 80)
        folds = make_folds(labels, seed)
        def score(y, c=categories, f=folds):
            return cross_validated(c, y, f, 2)
        values.append(permuted_p(score(labels), score, labels, 39, seed))
    assert 0.3 < np.mean(values) < 0.75 and np.mean(np.array(values) <= 0.1) < 0.3


def test_smoother_is_scikit_learn_s_ridge():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(50, 4)), rng.integers(0, 2, 50)
    folds = make_folds(labels, 0)
    train = folds != 0
    x = (features - features[train].mean(axis=0)) / features[train].std(axis=0)
    y = np.eye(2)[labels[train]]
    y = y / y.mean(axis=0) - 1
    fitted = Ridge(alpha=RIDGE * train.sum() / 10, fit_intercept=False).fit(x[train], y)
    assert np.allclose(_smoother(features, folds, 0) @ y, fitted.predict(x[~train]))
    smoothers = [_smoother(features, folds, fold) for fold in range(FOLDS)]
    assert np.array_equal(_ridge_guesses(smoothers, folds, labels, 2)[~train], fitted.predict(x[~train]).argmax(axis=1))


@pytest.mark.parametrize("where, tells", [((0, 0), True), ((20, 20), False)])
def test_blacked_out_model_sees_the_rim_and_not_the_centre(where, tells):
    rng, labels = np.random.default_rng(0), np.arange(60) % 2
    images = rng.integers(90, 110, (60, 48, 48)).astype(np.uint8)
    y, x = where
    images[labels == 1, y : y + 8, x : x + 8] = 250
    found = blackout_model(images, labels, 0, permutations=49)
    assert (found["mean_recall"] == 1.0 and found["p"] == 0.02) if tells else found["p"] > 0.05


def test_blacked_out_model_takes_the_rows_that_it_is_told():
    rng = np.random.default_rng(0)
    images, rows = rng.integers(0, 255, (60, 32, 32)).astype(np.uint8), np.arange(0, 60, 2)
    labels = rng.integers(0, 2, 30)
    assert blackout_model(images, labels, 0, 20, rows=rows) == blackout_model(images[rows], labels, 0, 20)


def test_pixels_are_a_predictor_where_images_are_given():
    frame = manifest()
    images = np.full((80, 32, 32), 100, np.uint8)
    images[frame["label"] == "normal", :4] = 200
    found = no_evidence(frame, {}, permutations=20, images=images)["predictors"]["pixels outside the centre"]
    assert found["mean_recall"] == 1.0


def test_side_markers_of_the_annotated_real_films_tell_the_class():
    import json

    folder = Path(__file__).parents[3] / "shared" / "covidx-mini"
    if not (folder / "text_boxes.json").exists():
        pytest.skip("../shared/covidx-mini is not here")
    truth = json.loads((folder / "text_boxes.json").read_text(encoding="utf-8"))
    frame = pd.DataFrame([{"image_id": name, "patient_id": name, "label": entry["class"], "source": entry["source"],
                           "width": entry["size"][0], "height": entry["size"][1], "bit_depth": 8, "split": "test",
                           "test_set": "test", "problem": ""} for name, entry in truth.items()])
    boxes = {name: [box["box"] for box in entry["boxes"]] for name, entry in truth.items()}
    found = no_evidence(frame, boxes, permutations=199)["predictors"]
    assert found["source"]["p"] <= 0.01 and found["presence of text"]["p"] <= 0.05
