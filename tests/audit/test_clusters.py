"""Kinds of maps and slices: planted ones are found, noise is one, and the mixture is scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.manifold import spectral_embedding
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from xray_debug.audit.clusters.maps import LEAST, affinity, map_kinds, number_of_kinds, small_eigenvalues, small_maps
from xray_debug.audit.clusters.slices import FLOOR, find_slices, fit_mixture

ROWS, COLUMNS = np.mgrid[:28, :28]


def blob(rng, x: float, y: float) -> np.ndarray:
    """A salient spot about (x, y), here and there, on a little noise."""
    x, y = x + rng.normal(0, 1.5), y + rng.normal(0, 1.5)
    return np.exp(-((COLUMNS - x) ** 2 + (ROWS - y) ** 2) / 18) + 0.15 * rng.random((28, 28))


@pytest.mark.parametrize("count", [30, 90])
def test_two_planted_kinds_are_told_apart(count):
    rng = np.random.default_rng(count)
    truth = np.arange(count) % 4 == 0
    maps = [blob(rng, 4, 4) if corner else blob(rng, 14, 14) for corner in truth]
    found = map_kinds(maps, seed=1)
    assert found.count == 2 and adjusted_rand_score(truth, found.codes) == 1
    assert (found.codes == 0).sum() > (found.codes == 1).sum()  # the largest first
    assert np.array_equal(map_kinds(maps, seed=1).codes, found.codes)


@pytest.mark.parametrize("count", [30, 120])
def test_noise_and_maps_of_one_kind_are_one(count):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        assert map_kinds(rng.random((count, 28, 28))).count == 1
        assert map_kinds([blob(rng, 14, 14) for _ in range(count)]).count == 1


def test_one_far_off_map_and_equal_maps_do_no_harm():
    rng = np.random.default_rng(0)
    spot = np.zeros((28, 28))
    spot[0, 0] = 1
    assert len(map_kinds([blob(rng, 14, 14) for _ in range(39)] + [spot]).codes) == 40
    assert np.isfinite(map_kinds([blob(rng, 14, 14)] * 40).eigenvalues).all()


@given(st.integers(0, 1000), st.integers(5, 25))
@settings(deadline=None, max_examples=20)
def test_eigenvalues_of_a_likeness(seed, count):
    points = np.random.default_rng(seed).random((count, 6))
    graph = affinity(points)
    assert (graph >= 0).all() and (graph <= 1).all() and np.allclose(graph, graph.T)
    values = small_eigenvalues(graph, 5)
    assert values[0] == pytest.approx(0, abs=1e-9) and (np.diff(values) >= -1e-12).all() and values[-1] <= 2 + 1e-9
    vectors = spectral_embedding(graph, n_components=3, drop_first=False, random_state=0)
    scale = 1 / np.sqrt(graph.sum(1))
    laplacian = np.eye(count) - scale[:, None] * graph * scale
    own = vectors * np.sqrt(graph.sum(1))[:, None]  # scikit-learn's eigenvectors, undone of its scaling
    rayleigh = (own * (laplacian @ own)).sum(0) / (own**2).sum(0)
    assert np.allclose(np.sort(rayleigh), values[:3], atol=1e-6)


def test_the_number_is_where_the_gap_is():
    assert number_of_kinds(np.array([0, 0.6, 0.7, 0.9])) == 1
    assert number_of_kinds(np.array([0, 0.01, 0.6, 0.7])) == 2
    assert number_of_kinds(np.array([0, 0.1, 0.12, 0.8])) == 3


def test_too_few_maps_and_empty_ones_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=f"at least {LEAST}, got 29"):
        map_kinds(rng.random((29, 7, 7)))
    with pytest.raises(ValueError, match="without any saliency"):
        small_maps([np.zeros((7, 7))])


# ------------------------------------------------------------------------------------------------- slices


def drawn(count: int, seed: int, planted: bool):
    """Features, labels and probabilities of a model that errs at random, and, `planted`, on a group far off."""
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(size=(count, 12)), rng.integers(0, 2, count)
    group = rng.random(count) < 0.2
    features[group, 0] += 5 * planted
    wrong = rng.random(count) < np.where(group & planted, 0.8, 0.1)
    answers = np.full((count, 2), 0.1)
    answers[np.arange(count), np.where(wrong, 1 - labels, labels)] = 0.9
    return features, labels, answers, group, wrong


def test_without_labels_the_mixture_is_scikit_learns():
    rng = np.random.default_rng(3)
    features = np.concatenate([rng.normal(-2, 1, (60, 3)), rng.normal(2, 0.5, (40, 3))])
    start = np.eye(2)[(np.arange(100) >= 55).astype(int)]
    labels, answers = np.eye(2)[rng.integers(0, 2, 100)], rng.dirichlet([1, 1], 100)
    own = fit_mixture(features, labels, answers, start, weight=0.0, steps=200)
    mass = start.sum(0)
    means = start.T @ features / mass[:, None]
    spread = start.T @ features**2 / mass[:, None] - means**2 + FLOOR
    model = GaussianMixture(2, covariance_type="diag", reg_covar=FLOOR, tol=1e-9, max_iter=200,
                            weights_init=mass / 100, means_init=means, precisions_init=1 / spread)  # fmt: skip
    codes = model.fit_predict(features)
    assert np.allclose(own.means, model.means_, atol=1e-3) and np.allclose(own.shares, model.weights_, atol=1e-3)
    assert np.allclose(own.variances, model.covariances_, atol=1e-3)
    assert np.array_equal(own.by_features(features), codes)


@given(st.integers(0, 10_000), st.integers(2, 5), st.sampled_from([0.0, 1.0, 10.0]))
@settings(deadline=None, max_examples=20)
def test_the_objective_never_falls(seed, slices, weight):
    rng = np.random.default_rng(seed)
    features, labels = 3 * rng.normal(size=(50, 3)), np.eye(3)[rng.integers(0, 3, 50)]
    start = rng.dirichlet(np.ones(slices), 50)
    found = fit_mixture(features, labels, rng.dirichlet(np.ones(3), 50), start, weight, steps=30)
    steps = np.diff(found.objective)
    assert (steps > -0.1 - 1e-4 * np.abs(found.objective[0])).all()  # but for the floor under the variances
    assert found.shares.sum() == pytest.approx(1) and np.allclose(found.labels.sum(1), 1, atol=1e-6)


def test_a_planted_slice_is_found_on_images_it_was_not_fitted_on():
    features, labels, answers, group, wrong = drawn(240, 0, planted=True)
    found = find_slices(features, labels, answers, seed=2)
    codes, second = found["codes"], found["codes"] >= 0
    assert 100 < second.sum() < 140
    best = max(range(codes.max() + 1), key=lambda s: (group & (codes == s)).sum())
    assert group[codes == best].mean() > 0.8 and wrong[codes == best].mean() > 0.5
    changed = answers.copy()
    changed[second] = changed[second][:, ::-1]  # what the model says of the second half is not looked at
    assert np.array_equal(whole_half(features, labels, changed, found), codes[second])


def whole_half(features, labels, answers, found):
    """The second half's slices, its features brought to the nearest centre as the mixture does."""
    from xray_debug.audit.clusters.slices import MOST_SLICES, PER_SLICE, WEIGHT, _start, whitened

    half = found["codes"] < 0
    points, given = whitened(features, half), np.eye(2)[labels]
    slices = min(MOST_SLICES, int(half.sum()) // PER_SLICE)
    start = _start(np.hstack([points, (given - answers) * np.sqrt(WEIGHT)])[half], slices, 2)
    return fit_mixture(points[half], given[half], answers[half], start).by_features(points)[~half]


def test_few_images_and_few_errors_are_said():
    features, labels, answers, *_ = drawn(59, 0, planted=False)
    assert find_slices(features, labels, answers)["problem"] == "59 images, at least 60 are needed"
    features, labels, answers, *_ = drawn(100, 0, planted=False)
    assert "0 errors in 100 images" in find_slices(features, answers.argmax(1), answers)["problem"]
