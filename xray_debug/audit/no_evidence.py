"""The "no evidence" baselines: how well the label can be guessed without looking at the lungs.

Each predictor (source, size of the image, file type, presence and place of text, ...) is one category per image, and
the guess is the class that this category speaks for in the training part. No trained network is needed. What guesses
well here is a road by which a model can be right for the wrong reason.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import pandas as pd

from xray_debug.audit.checks import all_checks
from xray_debug.audit.frames import blacked_out
from xray_debug.config import AuditConfig
from xray_debug.stats.intervals import wilson
from xray_debug.stats.recall import mean_recall
from xray_debug.stats.seeds import seed_of

FOLDS = 5
THUMBNAIL = 16
MOST_IMAGES = 3000  # of the blacked-out linear model
RIDGE = 1.0


def _counts(categories: np.ndarray, labels: np.ndarray, size: int, classes: int) -> np.ndarray:
    return np.bincount(categories * classes + labels, minlength=size * classes).reshape(size, classes)


def guess(train_categories, train_labels, categories, classes: int, balanced: bool) -> np.ndarray:
    """For each category the class it is most often seen with; the most frequent class for one never seen.

    `balanced`: classes count by their share, so that a rare class can be guessed (for the mean recall).
    """
    size = int(max(train_categories.max(initial=0), categories.max(initial=0))) + 1
    table = _counts(train_categories, train_labels, size, classes).astype(float)
    frequent = int(table.sum(axis=0).argmax())
    if balanced:
        table /= np.maximum(table.sum(axis=0, keepdims=True), 1)
    best = np.where(table.sum(axis=1) > 0, table.argmax(axis=1), frequent)
    return best[categories]


def cross_validated(categories, labels, folds, classes: int) -> float:
    """Mean recall of the guesses for each fold learned on the others."""
    guesses = np.zeros_like(labels)
    for fold in range(FOLDS):
        test = folds == fold
        guesses[test] = guess(categories[~test], labels[~test], categories[test], classes, balanced=True)
    return float(mean_recall(guesses == labels, labels))


def permuted_p(observed: float, score, labels: np.ndarray, permutations: int, seed: int) -> float:
    """(1 + permutations that score at least `observed`) / (1 + permutations), with everything learned anew."""
    rng = np.random.default_rng(seed)
    hits = sum(score(rng.permutation(labels)) >= observed - 1e-12 for _ in range(permutations))
    return (1 + hits) / (1 + permutations)


def one_per_patient(manifest: pd.DataFrame) -> np.ndarray:
    """Positions of the first image of every patient: images of one patient are no independent evidence."""
    return np.flatnonzero(~manifest["patient_id"].duplicated().to_numpy())


def make_folds(labels: np.ndarray, seed: int) -> np.ndarray:
    """(N,) fold of each image, stratified by label."""
    rng, folds = np.random.default_rng(seed), np.zeros(len(labels), int)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        folds[rng.permutation(rows)] = np.arange(len(rows)) % FOLDS
    return folds


def test_scores(categories, labels, manifest: pd.DataFrame, classes: int) -> dict:
    """Accuracy on each test set of the guess learned on train and val: {test_set: {n, value, low, high, majority}}."""
    train, result = manifest["split"].isin(["train", "val"]).to_numpy(), {}
    sets = manifest["test_set"].to_numpy(str)
    if not train.any():
        return result
    for name in sorted(set(sets[~train])):
        rows = ~train & (sets == name)
        found = guess(categories[train], labels[train], categories[rows], classes, balanced=False) == labels[rows]
        interval = wilson(int(found.sum()), len(found), 0.95)
        result[name or "test"] = {"n": len(found), "value": float(interval.value), "low": float(interval.low),
                                  "high": float(interval.high),
                                  "majority": float(np.bincount(labels[rows]).max() / len(found))}
    return result


def no_evidence(manifest: pd.DataFrame, boxes: Mapping, seed: int = 0, permutations: int = 500,
                images: np.ndarray | None = None) -> dict:
    """{"chance", "images", "patients", "predictors": {name: {mean_recall, p, chance, test: {...}}}, "sentences"}.

    `manifest` as prepare writes it (rows with a problem are left out); `boxes`: image_id -> (N, 4) text boxes, an image
    that is not in it has no text. mean_recall is cross-validated with one image per patient, p by permutation of the
    labels; `test` is the accuracy of the guess learned on train. `images`, uint8 (N, S, S) as the manifest's rows:
    adds a linear model that sees them with the centre blacked out.
    """
    usable = np.ones(len(manifest), bool)
    if "problem" in manifest:
        usable = (manifest["problem"].fillna("") == "").to_numpy()
    frame = manifest[usable].reset_index(drop=True)
    if frame["label"].nunique() < 2:
        raise ValueError(f"manifest: expected at least two classes, got {sorted(frame['label'].unique())}")
    labels, names = pd.factorize(frame["label"], sort=True)
    rows = one_per_patient(frame)
    folds, k = make_folds(labels[rows], seed), len(names)
    result = {}
    for check in all_checks(AuditConfig()):
        for name, categories in check.predictors(frame, boxes).items():
            def score(y, c=categories[rows]):
                return cross_validated(c, y, folds, k)

            value = score(labels[rows])
            result[name] = {"check": check.name, "mean_recall": value, "chance": 1 / k,
                            "p": permuted_p(value, score, labels[rows], permutations, seed_of(seed, name)),
                            "categories": int(len(np.unique(categories))),
                            "test": test_scores(categories, labels, frame, k)}
    if images is not None:
        chosen = np.flatnonzero(usable)[rows]
        result["pixels outside the centre"] = {
            "check": "field", **blackout_model(images, labels[rows], seed, permutations, rows=chosen)}
    return {"chance": 1 / k, "images": len(frame), "patients": len(rows), "predictors": result,
            "sentences": sentences(result, k)}


def sentences(result: dict, classes: int) -> list[str]:
    """One sentence for each predictor that tells something of the label, the best first."""
    telling = [(name, entry) for name, entry in result.items() if entry["p"] <= 0.05]
    telling.sort(key=lambda pair: -pair[1]["mean_recall"])
    return [f"The {name} alone guesses the label with a mean recall of {entry['mean_recall']:.2f} "
            f"(chance {1 / classes:.2f}, p = {entry['p']:.3f})." for name, entry in telling]


def blackout_model(images: np.ndarray, labels: np.ndarray, seed: int, permutations: int, margin: float = 0.2,
                   rows: np.ndarray | None = None) -> dict:
    """A linear model (ridge regression on class indicators) of thumbnails with the centre blacked out.

    `images` uint8 (N, S, S); `rows`: which of them the labels belong to, all where it is None. Cross-validated mean
    recall, and p by permutation with the model fitted anew each time.
    """
    rows, rng = np.arange(len(labels)) if rows is None else rows, np.random.default_rng(seed)
    if len(labels) > MOST_IMAGES:
        keep = np.sort(rng.choice(len(labels), MOST_IMAGES, replace=False))
        rows, labels = rows[keep], labels[keep]
    small = np.stack([cv2.resize(images[i], (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA) for i in rows])
    features = blacked_out(small, margin).reshape(len(small), -1).astype(np.float64)
    folds, k = make_folds(labels, seed), int(labels.max()) + 1
    smoothers = [_smoother(features, folds, fold) for fold in range(FOLDS)]

    def score(y):
        return float(mean_recall(_ridge_guesses(smoothers, folds, y, k) == y, y))

    value = score(labels)
    return {"mean_recall": value, "chance": 1 / k, "p": permuted_p(value, score, labels, permutations, seed),
            "margin": margin, "n": len(labels)}


def _smoother(features: np.ndarray, folds: np.ndarray, fold: int) -> np.ndarray:
    """(test, train) matrix that turns the training part's indicators into the test part's predictions.

    Ridge regression on standardised features with penalty RIDGE x number of training images / 10.
    """
    test = folds == fold
    x = features[:, features[~test].std(axis=0) > 0]
    x = (x - x[~test].mean(axis=0)) / np.maximum(x[~test].std(axis=0), 1e-9)
    train = x[~test]
    gram = train.T @ train + RIDGE * len(train) / 10 * np.eye(train.shape[1])
    return x[test] @ np.linalg.solve(gram, train.T)


def _ridge_guesses(smoothers: list[np.ndarray], folds: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Class with the largest prediction; indicators are divided by the classes' shares and centred."""
    guesses = np.zeros_like(labels)
    for fold, smoother in enumerate(smoothers):
        train = folds != fold
        y = np.eye(classes)[labels[train]]
        y = y / np.maximum(y.mean(axis=0), 1e-9) - 1
        guesses[~train] = (smoother @ y).argmax(axis=1)
    return guesses
