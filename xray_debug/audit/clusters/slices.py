"""Slices: groups of images that look alike to the model and on which it errs alike, found without attributes.

After Domino (Eyuboglu et al., 2022): a mixture whose components share the model's features, the labels and the model's
probabilities. It is fitted on one half of the images; the others are assigned by their features alone, and only on
them errors are counted, so that a slice's error rate owes nothing to having been chosen for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST = 60  # images, below which nothing is looked for
LEAST_ERRORS = 5  # among the images that the mixture is fitted on
COMPONENTS = 8  # of the features
MOST_SLICES, PER_SLICE = 8, 12  # images of the fitted half for each slice
WEIGHT = 10.0  # of labels and probabilities against the features
FLOOR = 1e-3  # added to variances of whitened features
STEPS = 100
SMALLEST = 1e-9


@dataclass(frozen=True)
class Mixture:
    """S slices: `shares` (S,), `means` and `variances` (S, d), probabilities of each class in the labels and in the
    model's answers, (S, K) each; `objective`, one number a step, never falls."""

    shares: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    labels: np.ndarray
    answers: np.ndarray
    objective: list[float]

    def by_features(self, features: np.ndarray) -> np.ndarray:
        """(n,) the slice of each image, told by its features (n, d) alone."""
        return (np.log(self.shares + SMALLEST) + _gaussian(features, self.means, self.variances)).argmax(1)


def fit_mixture(features: np.ndarray, labels: np.ndarray, answers: np.ndarray, responsibilities: np.ndarray,
                weight: float = WEIGHT, steps: int = STEPS) -> Mixture:  # fmt: skip
    """Expectation and maximisation from `responsibilities` (n, S), rows that add up to 1.

    `features` (n, d); `labels` (n, K), one of each row 1; `answers` (n, K), probabilities. What is maximised is the
    sum over images of log sum_s share_s N(features; mean_s, variance_s) (prod labels_s^label prod answers_s^answer)^w.
    """
    found, told = responsibilities, []
    for _ in range(steps):
        mass = found.sum(0) + SMALLEST
        means = found.T @ features / mass[:, None]
        variances = (found.T @ features**2 / mass[:, None] - means**2).clip(0) + FLOOR
        own = [(found.T @ values / mass[:, None]).clip(SMALLEST) for values in (labels, answers)]
        scores = np.log(mass / len(features)) + _gaussian(features, means, variances)
        scores = scores + weight * (labels @ np.log(own[0]).T + answers @ np.log(own[1]).T)
        total = np.logaddexp.reduce(scores, axis=1)
        found = np.exp(scores - total[:, None])
        told.append(float(total.sum()))
        if len(told) > 1 and told[-1] - told[-2] < 1e-6 * abs(told[-2]):
            break
    return Mixture(mass / len(features), means, variances, *own, told)


def _gaussian(features: np.ndarray, means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """(n, S) log density of diagonal Gaussians."""
    squares = (features**2) @ (1 / variances).T - 2 * features @ (means / variances).T + (means**2 / variances).sum(1)
    return -0.5 * (squares + np.log(2 * np.pi * variances).sum(1))


def whitened(features: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """(n, d) the first COMPONENTS principal components, learned on the rows `fitted` (bool), of unit variance there."""
    mean = features[fitted].mean(0)
    _, size, directions = np.linalg.svd(features[fitted] - mean, full_matrices=False)
    kept = size[:COMPONENTS] > 1e-6 * max(float(size[0]), 1e-12)
    spread = size[:COMPONENTS][kept] / np.sqrt(fitted.sum())
    return (features - mean) @ directions[:COMPONENTS][kept].T / spread


def find_slices(features: np.ndarray, labels: np.ndarray, answers: np.ndarray, seed: int = 0) -> dict:
    """{"codes": (n,) slice of each image of the second half, -1 in the first; "centres": means by slice, "points": what
    they are means of} or {"problem": why there is none}.

    `features` (n, D) of n images of different patients, `labels` (n,) codes, `answers` (n, K) probabilities.
    """
    n, classes = answers.shape
    if n < LEAST:
        return {"problem": f"{n} images, at least {LEAST} are needed"}
    rng = np.random.default_rng(seed)
    half, wrong = np.zeros(n, bool), answers.argmax(1) != labels
    for group in np.unique(2 * labels + wrong):  # both halves have as many errors of each class
        own = rng.permutation(np.flatnonzero(2 * labels + wrong == group))
        half[own[: (len(own) + int(rng.integers(2))) // 2]] = True
    if wrong[half].sum() < LEAST_ERRORS:
        return {"problem": f"{int(wrong.sum())} errors in {n} images, too few to be grouped"}
    points = whitened(features, half)
    given = np.eye(classes)[labels]
    slices = max(2, min(MOST_SLICES, int(half.sum()) // PER_SLICE))
    start = _start(np.hstack([points, (given - answers) * np.sqrt(WEIGHT)])[half], slices, seed)
    mixture = fit_mixture(points[half], given[half], answers[half], start)
    codes = np.where(half, -1, mixture.by_features(points))
    return {"codes": codes, "points": points, "centres": mixture.means}


def _start(points: np.ndarray, slices: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    codes = KMeans(slices, n_init=4, random_state=seed % 2**32).fit_predict(points)
    return np.eye(slices)[codes]
