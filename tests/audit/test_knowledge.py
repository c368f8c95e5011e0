"""What a model's features tell: AUROCs and p against oracles, a planted hospital found, noise not."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from xray_debug.audit.checks_table import checks_table
from xray_debug.audit.knowledge import (
    COMPONENTS,
    FEWEST,
    MOST_GROUPS,
    MOST_IMAGES,
    STRENGTH,
    Reader,
    chosen_rows,
    knowledge,
    label_scores,
    macro_auroc,
    permuted_within,
    targets_of,
    thumbnails,
)


def planted(n=240, seed=0, strength=1.5):
    """Labels, a hospital independent of them, one that is the label in 80 %; features that hold label and hospital."""
    rng = np.random.default_rng(seed)
    labels, north = rng.integers(0, 2, n), rng.integers(0, 2, n)
    confounded = np.where(rng.random(n) < 0.8, labels, 1 - labels)
    features = rng.normal(size=(n, 12))
    features[:, 0] += 4 * labels
    features[:, 1] += strength * north
    targets = {"source": np.where(north == 1, "north", "south"), "attribute room": np.where(confounded, "a", "b"),
               "attribute sex": rng.choice(["m", "f"], n)}  # fmt: skip
    return features, rng.normal(size=(n, 20)), labels, targets


def test_what_the_features_hold_is_told_and_what_they_tell_of_the_label_alone_is_not():
    features, pixels, labels, targets = planted()
    found = knowledge(features, pixels, labels, targets, seed=1, permutations=200, samples=100)
    source, room, sex = found["rows"]
    assert source["features"]["value"] > 0.75 and source["p_adjusted"] <= 0.05
    assert source["features"]["low"] < source["features"]["value"] < source["features"]["high"]
    assert 0.4 < source["pixels"]["value"] < 0.6 and 0.4 < source["label"]["value"] < 0.6
    assert room["features"]["value"] > 0.65 and room["label"]["value"] > 0.7 and room["p_adjusted"] > 0.05
    assert sex["p_adjusted"] > 0.05
    assert found["images"] == 240 and found["dimension"] == 12
    (sentence,) = found["sentences"]
    assert sentence.startswith("The model's features tell the source with AUROC 0.")
    again = knowledge(features, pixels, labels, targets, seed=1, permutations=200, samples=100)
    assert again == found
    table = checks_table({}, None, found)
    assert table["kind"].tolist() == ["suspicion"] * 3 and not table["shown"].any()
    assert table["effect"].tolist() == [row["features"]["value"] for row in found["rows"]]
    assert table["p_adjusted"].tolist() == [row["p_adjusted"] for row in found["rows"]]


def test_a_reader_is_scikit_learn_s_regression_on_whitened_components_learned_in_the_fold():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(100, 80)) * rng.uniform(1, 9, 80)
    features[:, 7] = 2.5  # says nothing, and has no scale
    codes, folds = rng.integers(0, 3, 100), np.arange(100) % 5
    codes[:4] = -1
    found = Reader(features, folds).scores(codes)
    assert np.isnan(found[:4]).all() and np.isfinite(found[4:]).all()
    train, test = (folds != 2) & (codes >= 0), (folds == 2) & (codes >= 0)
    scale = features[folds != 2].std(0)
    x = (features - features[folds != 2].mean(0))[:, scale > 0] / scale[scale > 0]
    whitened = PCA(COMPONENTS, whiten=True, svd_solver="full").fit(x[folds != 2]).transform(x)
    whitened *= np.sqrt((folds != 2).sum() / ((folds != 2).sum() - 1))  # by n, not n - 1
    model = LogisticRegression(C=STRENGTH, max_iter=200, class_weight="balanced").fit(whitened[train], codes[train])
    shares = model.predict_proba(whitened[test])
    assert np.allclose(found[test], np.log(shares / (1 - shares)), atol=1e-2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_macro_auroc_is_scikit_learn_s_mean_of_one_against_the_rest(seed, groups):
    rng = np.random.default_rng(seed)
    codes = np.concatenate([np.arange(groups), rng.integers(0, groups, 20)])
    scores = rng.integers(0, 6, (len(codes), groups)).astype(float)  # with ties
    expected = np.mean([roc_auc_score(codes == g, scores[:, g]) for g in range(groups)])
    assert macro_auroc(scores, codes) == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_no_score_of_the_label_tells_a_group_better(seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(3), rng.integers(0, 3, 20)])
    codes = np.concatenate([[0, 1], rng.integers(0, 2, 21)])
    found = label_scores(labels, codes)
    assert np.allclose(found.sum(1), 1) and found[0, 1] == pytest.approx(codes[labels == 0].mean())
    best = macro_auroc(found, codes)
    for order in ([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1]):
        other = np.array(order, float)[labels]
        assert macro_auroc(np.stack([-other, other], 1), codes) <= best + 1e-12


def test_p_within_labels_is_even_where_the_scores_tell_the_label_alone():
    values = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, 80)
        codes = np.where(rng.random(80) < 0.9, labels, 1 - labels)
        score = labels + rng.normal(0, 0.5, 80)
        values.append(permuted_within(np.stack([-score, score], 1), codes, labels, 39, seed))
    assert 0.35 < np.mean(values) < 0.65 and np.mean(np.array(values) <= 0.1) < 0.25
    scores = np.stack([-codes, codes], 1) + 0.0
    assert permuted_within(scores, codes, labels, 20, 0, 100) == 1 / 101


def test_targets_are_groups_large_enough():
    n = 40 * MOST_GROUPS
    frame = pd.DataFrame({
        "source": ["north", "south"] * (n // 2), "attr_same": "x",
        "attr_rare": ["a"] * (n - FEWEST + 1) + ["b"] * (FEWEST - 1),
        "attr_room": [f"room {i % (MOST_GROUPS + 3)}" for i in range(n)], "film_noise": np.linspace(0, 1, n),
    })  # fmt: skip
    frame.loc[:9, "film_noise"] = np.nan
    found = targets_of(frame)
    assert list(found) == ["source", "attribute room", "noise of the film"]
    frame["film_jpeg"] = np.linspace(0, 1, n)
    assert "JPEG compression of the film" in targets_of(frame)  # as among the guesses of the label
    assert len(set(found["attribute room"]) - {""}) == MOST_GROUPS
    assert (found["noise of the film"][:10] == "").all() and len(set(found["noise of the film"])) == 5


def test_one_image_of_a_patient_test_images_first_and_no_more_than_asked():
    n = 2000
    frame = pd.DataFrame({
        "patient_id": [f"p{i // 2}" for i in range(n)], "label": ["a"] * 1500 + ["b"] * 500,
        "split": ["test" if i % 5 == 0 else "train" for i in range(n)], "problem": ["broken"] + [""] * (n - 1),
        "film_noise": [np.nan if i == 5 else 0.5 for i in range(n)],
    })  # fmt: skip
    rows = chosen_rows(frame, 3)
    chosen = frame.iloc[rows]
    assert len(rows) == MOST_IMAGES and (np.diff(rows) > 0).all() and chosen["patient_id"].is_unique
    assert not {0, 5} & set(rows) and (chosen["split"] == "test").sum() == 398
    assert np.array_equal(rows, chosen_rows(frame, 3)) and not np.array_equal(rows, chosen_rows(frame, 4))
    trained = chosen[chosen["split"] == "train"]["label"].value_counts()
    assert abs(trained["a"] - trained["b"]) <= 1


def test_thumbnails_are_means_of_squares():
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64)).astype(np.uint8)
    means = images.reshape(2, 32, 2, 32, 2).mean((2, 4)).reshape(2, -1) / 255
    assert np.allclose(thumbnails(images), means, atol=0.5 / 255 + 1e-9)
