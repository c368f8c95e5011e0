"""The "no evidence" baselines: how well the label can be guessed without looking at the lungs.

Each predictor (source, attributes, size of the image, file type, text, brightness, ...) is one category per image, and
the guess is the class that this category speaks for in the training part. No trained network is needed. What guesses
well here is a road by which a model can be right for the wrong reason. That is a suspicion: whether the model takes the
road, only an intervention says.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import pandas as pd

from xray_debug.audit.checks import all_checks, blamed
from xray_debug.audit.frames import blacked_out
from xray_debug.config import AuditConfig
from xray_debug.stats.intervals import wilson
from xray_debug.stats.recall import mean_recall
from xray_debug.stats.seeds import seed_of
from xray_debug.stats.tests import holm

FOLDS = 5
THUMBNAIL = 16
MOST_IMAGES = 3000  # of the blacked-out linear model
RIDGE = 1.0
LEVEL = 0.05  # of the corrected p, up to which a predictor is put into words
FINER = 40  # permutations for each predictor, so that the smallest p survives the correction: 1 / 40 < LEVEL


def _counts(categories: np.ndarray, labels: np.ndarray, size: int, classes: int) -> np.ndarray:
    return np.bincount(categories * classes + labels, minlength=size * classes).reshape(size, classes)


def _best(counts: np.ndarray, balanced: bool) -> np.ndarray:
    """(categories, classes) counts -> the class of each category; the most frequent one for a category never seen."""
    table, frequent = counts.astype(float), int(counts.sum(axis=0).argmax())
    if balanced:
        table /= np.maximum(table.sum(axis=0, keepdims=True), 1)
    return np.where(table.sum(axis=1) > 0, table.argmax(axis=1), frequent)


def guess(train_categories, train_labels, categories, classes: int, balanced: bool) -> np.ndarray:
    """For each category the class it is most often seen with; the most frequent class for one never seen.

    `balanced`: classes count by their share, so that a rare class can be guessed (for the mean recall).
    """
    size = int(max(train_categories.max(initial=0), categories.max(initial=0))) + 1
    return _best(_counts(train_categories, train_labels, size, classes), balanced)[categories]


def held_out(categories, labels, folds, classes: int) -> np.ndarray:
    """(N,) balanced guess of each image, learned on the other folds."""
    size = int(categories.max(initial=0)) + 1
    own = _counts(folds * size + categories, labels, FOLDS * size, classes).reshape(FOLDS, size, classes)
    best = np.stack([_best(counts, balanced=True) for counts in own.sum(axis=0) - own])
    return best[folds, categories]


def cross_validated(categories, labels, folds, classes: int) -> float:
    """Mean recall of the balanced guesses for each fold learned on the others."""
    return float(mean_recall(held_out(categories, labels, folds, classes) == labels, labels))


def permuted_p(observed: float, score, labels: np.ndarray, permutations: int, seed: int, most: int = 0) -> float:
    """(1 + permutations that score at least `observed`) / (1 + permutations), with everything learned anew.

    `most`: where not one of them does, it goes on to so many. That keeps the p valid: what it calls small, it calls
    small of all `most` permutations.
    """
    rng = np.random.default_rng(seed)
    hits = sum(score(rng.permutation(labels)) >= observed - 1e-12 for _ in range(permutations))
    if not hits and most > permutations:
        hits = sum(score(rng.permutation(labels)) >= observed - 1e-12 for _ in range(most - permutations))
        permutations = most
    return (1 + hits) / (1 + permutations)


def coded(categories: np.ndarray) -> tuple[np.ndarray, list[str] | None]:
    """Codes from 0, -1 for an image of which nothing is known, and the categories' names where they have some ("" is
    no name)."""
    categories = np.asarray(categories)
    if categories.dtype.kind in "iub":
        return categories.astype(np.int64), None
    names, codes = np.unique(categories.astype(str), return_inverse=True)
    return (codes - 1, names[1:].tolist()) if len(names) and names[0] == "" else (codes, names.tolist())


def speaks_for(categories, labels, folds, classes: list[str], names: list[str] | None = None) -> dict:
    """{"label", "recall", "elsewhere", "category"}: the class that the held-out guesses tell best from the others.

    recall: share of its images that are guessed to be it; elsewhere: of the others' images. category: the one whose
    share in the class exceeds most that in the others; "" where they are unnamed.
    """
    guesses, found = held_out(categories, labels, folds, len(classes)), []
    for k, label in enumerate(classes):
        recall, elsewhere = ((guesses[labels == k] == k).mean(), (guesses[labels != k] == k).mean())
        found.append({"label": str(label), "recall": float(recall), "elsewhere": float(elsewhere)})
    best = max(range(len(classes)), key=lambda k: found[k]["recall"] - found[k]["elsewhere"])
    own = labels == best
    size = int(categories.max(initial=0)) + 1
    more = np.bincount(categories[own], minlength=size) / own.sum()
    more -= np.bincount(categories[~own], minlength=size) / (~own).sum()
    return {**found[best], "category": names[int(more.argmax())] if names else ""}


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
    """Accuracy on each test set of the guess learned on train and val: {test_set: {n, value, low, high, majority}}.

    Images of category -1 are left out.
    """
    known, result = categories >= 0, {}
    train = manifest["split"].isin(["train", "val"]).to_numpy() & known
    test = ~manifest["split"].isin(["train", "val"]).to_numpy() & known
    sets = manifest["test_set"].to_numpy(str)
    if not train.any():
        return result
    for name in sorted(set(sets[test])):
        rows = test & (sets == name)
        found = guess(categories[train], labels[train], categories[rows], classes, balanced=False) == labels[rows]
        interval = wilson(int(found.sum()), len(found), 0.95)
        result[name or "test"] = {"n": len(found), "value": float(interval.value), "low": float(interval.low),
                                  "high": float(interval.high),
                                  "majority": float(np.bincount(labels[rows]).max() / len(found))}
    return result


def no_evidence(manifest: pd.DataFrame, boxes: Mapping, seed: int = 0, permutations: int = 500,
                images: np.ndarray | None = None, films: pd.DataFrame | None = None) -> dict:
    """{"chance", "images", "patients", "predictors": {name: {...}}, "sentences"}.

    Of each predictor: mean_recall, cross-validated with one image per patient (`n` of them); p by permutation of the
    labels, p_adjusted corrected over all predictors (Holm); speaks_for (see there); test, the accuracy of the guess
    learned on train.

    `manifest` as prepare writes it (rows with a problem are left out); `boxes`: image_id -> (N, 4) text boxes, an image
    that is not in it has no text. `images`, uint8 (N, S, S) as the manifest's rows: adds a linear model that sees them
    with the centre blacked out. `films`: columns film_* of the same rows (look.films), NaN where not measured.
    """
    whole = manifest if films is None else manifest.assign(**{name: films[name].to_numpy() for name in films})
    usable = np.ones(len(whole), bool)
    if "problem" in whole:
        usable = (whole["problem"].fillna("") == "").to_numpy()
    frame = whole[usable].reset_index(drop=True)
    if frame["label"].nunique() < 2:
        raise ValueError(f"manifest: expected at least two classes, got {sorted(frame['label'].unique())}")
    labels, names = pd.factorize(frame["label"], sort=True)
    guesses = _guesses(frame, boxes)
    most = FINER * (len(guesses) + (images is not None))
    result = {name: _guessed(name, *found, labels, list(names), frame, seed, permutations, most)
              for name, found in guesses.items()}  # fmt: skip
    result = {name: entry for name, entry in result.items() if entry}
    rows = one_per_patient(frame)
    if images is not None:
        chosen = np.flatnonzero(usable)[rows]
        result["pixels outside the centre"] = {
            "check": "field", **blackout_model(images, labels[rows], seed, permutations, rows=chosen, most=most)}
    for entry, p in zip(result.values(), holm([entry["p"] for entry in result.values()]), strict=True):
        entry["p_adjusted"] = float(p)
    return {"chance": 1 / len(names), "images": len(frame), "patients": len(rows), "predictors": result,
            "sentences": sentences(result, len(names))}


def _guesses(frame: pd.DataFrame, boxes: dict) -> dict[str, tuple]:
    """Predictor -> check, codes (N,) and their names, of all checks."""
    found: dict[str, tuple] = {}
    for check in all_checks(AuditConfig()):
        with blamed(check.name, type(check), "predictors"):
            for name, categories in check.predictors(frame, boxes).items():
                if len(categories) != len(frame):
                    raise ValueError(f"{name}: expected a category of each of {len(frame)} images, "
                                     f"got {len(categories)}")
                found[name] = (check.name, *coded(categories))
    return found


def _guessed(name: str, check: str, categories: np.ndarray, named: list[str] | None, labels: np.ndarray,
             classes: list[str], frame: pd.DataFrame, seed: int, permutations: int, most: int) -> dict:  # fmt: skip
    """What is told of one predictor; nothing ({}) where it is known of no image of some class."""
    known, k = np.flatnonzero(categories >= 0), len(classes)
    rows = known[one_per_patient(frame.iloc[known])]
    own, codes = labels[rows], categories[rows]
    if len(np.unique(own)) < k:
        return {}
    folds = make_folds(own, seed)

    def score(y):
        return cross_validated(codes, y, folds, k)

    value = score(own)
    return {"check": check, "mean_recall": value, "chance": 1 / k, "n": len(rows),
            "p": permuted_p(value, score, own, permutations, seed_of(seed, name), most),
            "categories": int(len(np.unique(categories[known]))),
            "speaks_for": speaks_for(codes, own, folds, classes, named),
            "test": test_scores(categories, labels, frame, k)}  # fmt: skip


def sentences(result: dict, classes: int) -> list[str]:
    """One sentence for each predictor that tells something of the label, the best first."""
    telling = [(name, entry) for name, entry in result.items() if entry["p_adjusted"] <= LEVEL]
    telling.sort(key=lambda pair: -pair[1]["mean_recall"])
    return [f"From the {name} alone the label is guessed with a mean recall of {entry['mean_recall']:.2f} "
            f"(chance {1 / classes:.2f}, corrected p = {entry['p_adjusted']:.3f}){_spoken(entry)}."
            for name, entry in telling]


def _spoken(entry: dict) -> str:
    found = entry.get("speaks_for")
    return f", {found['label']} above all" + (f" ({found['category']})" if found["category"] else "") if found else ""


def blackout_model(images: np.ndarray, labels: np.ndarray, seed: int, permutations: int, margin: float = 0.2,
                   rows: np.ndarray | None = None, most: int = 0) -> dict:
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
    return {"mean_recall": value, "chance": 1 / k, "p": permuted_p(value, score, labels, permutations, seed, most),
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
