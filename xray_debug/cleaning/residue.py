"""Traces that give a repaired place away: a small classifier tries to tell it from places that were merely inpainted.

The patches come from the worker that has the pixels; the classifier is trained once, at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from xray_debug.cleaning.controls import place, transplant
from xray_debug.cleaning.inpainting import growth, inpaint_region
from xray_debug.config import CleanConfig
from xray_debug.data.boxes import dilate_boxes
from xray_debug.data.images import GreyWindow, to_gray8
from xray_debug.stats.seeds import seed_of

PATCH = 20  # pixels a side of the patches that the probe sees
EDGE_BINS = (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)  # distance to the region's edge over half the shorter side
FEATURES = 2 * (len(EDGE_BINS) + 1) + PATCH * PATCH
PATCHES_PER_IMAGE = 3
REPAIRED, SAME, UNTOUCHED = range(3)  # where a patch is from
FOLDS = 5
FEWEST_IMAGES = 10


def probe_features(
    cleaned: np.ndarray,
    region: np.ndarray,
    boxes: np.ndarray,
    placed: np.ndarray,
    moved: np.ndarray,
    untouched: np.ndarray | None,
    config: CleanConfig,
    seed,
    window: GreyWindow | None = None,
    other: GreyWindow | None = None,
) -> np.ndarray:
    """What the probe sees of one cleaned image: (3, PATCHES_PER_IMAGE, FEATURES) float64, NaN where there is no patch.

    First its repaired places; then as many control places in it (`placed` and `moved` of `moved_region`), inpainted
    the same way; then the repaired shapes, inpainted at places of `untouched`, an image that was not repaired. `seed`
    (numbers, strings): where in that image. `window`, `other`: the grey windows of the originals of `cleaned` and
    `untouched`; without them their own.
    """
    found = np.full((3, PATCHES_PER_IMAGE, FEATURES), np.nan)
    grown = dilate_boxes(boxes, growth(boxes, config.dilation, config.min_dilation), *region.shape)
    count = min(len(grown), len(placed), PATCHES_PER_IMAGE)
    if count:
        control = inpaint_region(cleaned, moved, config.radius, config.method, placed)
        _fill(found[REPAIRED], cleaned, grown[:count], window)
        _fill(found[SAME], control, placed[:count], window)
    if untouched is not None:
        height, width = untouched.shape[:2]
        fitting = grown[(grown[:, 2] <= width) & (grown[:, 3] <= height)][:PATCHES_PER_IMAGE]
        there = np.full_like(fitting, -1)
        for i, box in enumerate(fitting):
            there[i] = place([box], height, width, seed_of("probe", seed, i))[0][0]
        elsewhere = transplant(region, fitting, there, (height, width))
        if not elsewhere.all():
            there = there[there[:, 0] >= 0]
            filled = inpaint_region(untouched, elsewhere, config.radius, config.method, there)
            _fill(found[UNTOUCHED], filled, there, other)
    return found


def _fill(rows: np.ndarray, image: np.ndarray, boxes: np.ndarray, window: GreyWindow | None) -> None:
    gray = to_gray8(image, window)
    for row, box in zip(rows, boxes, strict=False):
        row[:] = _features(gray, box)


def probe_result(features: Sequence[np.ndarray], seed: int = 0, samples: int = 1000) -> dict:
    """How well a small classifier tells repaired places from places without text that were inpainted the same way.

    `features`: `probe_features` of each image. The other places are, for `auc`, in the same cleaned image and, for
    `auc_untouched`, in images that were not repaired. The classifier is a logistic regression on the profile of
    gradients and grey levels across the region's edge and on principal components of the patch, cross-validated by
    image; 0.5 = nothing to tell, 1 = always. Intervals (95 %) are bootstrapped over images. None where fewer than 10
    images give patches. Also: patches, images (how many of each entered).
    """
    stack = np.asarray(features, np.float64).reshape(-1, 3, PATCHES_PER_IMAGE, FEATURES)
    known = ~np.isnan(stack[..., 0])
    kinds = [(np.nonzero(known[:, kind])[0], stack[:, kind][known[:, kind]]) for kind in range(3)]
    result = {}
    for ending, other in (("", SAME), ("_untouched", UNTOUCHED)):
        names = [f"{name}{ending}" for name in ("auc", "low", "high")]
        result |= dict(zip(names, _auc_of_probe(kinds[REPAIRED], kinds[other], seed, samples), strict=True))
    images = kinds[REPAIRED][0]
    return result | {"patches": len(images), "images": len(np.unique(images))}


def _features(gray: np.ndarray, box) -> np.ndarray:
    """What gives a repaired place away: gradient and grey level by distance to the box's edge, and the patch itself.

    Grey levels are standardised within the patch, so that bright and dark places look alike.
    """
    x0, y0, x1, y1 = (int(v) for v in box)
    margin = max(4, min(x1 - x0, y1 - y0) // 2)
    top, left = max(y0 - margin, 0), max(x0 - margin, 0)
    patch = gray[top : y1 + margin, left : x1 + margin].astype(np.float32)
    patch = (patch - patch.mean()) / (patch.std() + 1)
    rows, columns = np.arange(patch.shape[0])[:, None] + top, np.arange(patch.shape[1])[None] + left
    across = np.maximum(np.maximum(y0 - rows, rows - y1 + 1), np.maximum(x0 - columns, columns - x1 + 1))
    bins = np.digitize(across / margin, EDGE_BINS)
    gradient = np.hypot(cv2.Sobel(patch, cv2.CV_32F, 1, 0), cv2.Sobel(patch, cv2.CV_32F, 0, 1))
    counts = np.bincount(bins.ravel(), minlength=len(EDGE_BINS) + 1).clip(1)
    profile = [
        np.bincount(bins.ravel(), weights=np.abs(v).ravel(), minlength=len(EDGE_BINS) + 1) / counts
        for v in (patch, gradient)
    ]
    small = cv2.resize(patch, (PATCH, PATCH), interpolation=cv2.INTER_AREA)
    return np.concatenate([*profile, small.ravel()])


def _auc_of_probe(repaired: tuple, control: tuple, seed: int, samples: int) -> tuple:
    """Area under the ROC curve of out-of-fold scores with its interval over images, or three times None.

    Both are (images (n,), features (n, F)).
    """
    groups = np.concatenate([repaired[0], control[0]])
    features = np.concatenate([repaired[1], control[1]])
    labels = np.repeat([1.0, 0.0], [len(repaired[0]), len(control[0])])
    shared = np.intersect1d(repaired[0], control[0])
    if len(shared) < FEWEST_IMAGES:
        return None, None, None
    keep = np.isin(groups, shared)
    groups, features, labels = groups[keep], features[keep], labels[keep]
    scores = _cross_validated(features, labels, groups)
    codes = np.searchsorted(shared, groups)
    drawn = np.random.default_rng(seed).integers(len(shared), size=(samples, len(shared)))
    drawn += np.arange(samples)[:, None] * len(shared)
    times = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
    low, high = np.quantile(_auc(labels, scores, times[:, codes]), [0.025, 0.975])
    return round(float(_auc(labels, scores)[0]), 4), round(float(low), 4), round(float(high), 4)


def _cross_validated(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Scores of each patch by a classifier that saw no patch of its image."""
    from sklearn.compose import ColumnTransformer
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    profile = features.shape[1] - PATCH * PATCH
    components = min(12, len(np.unique(groups)) // 2)
    parts = ColumnTransformer([
        ("profile", "passthrough", slice(0, profile)),
        ("patch", PCA(components, random_state=0), slice(profile, None)),
    ])  # fmt: skip
    scores = np.zeros(len(labels))
    for train, test in GroupKFold(FOLDS).split(features, labels, groups):
        model = make_pipeline(parts, StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
        scores[test] = model.fit(features[train], labels[train]).decision_function(features[test])
    return scores


def _auc(labels: np.ndarray, scores: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
    """Probability that a repaired patch scores above another; ties count half.

    `times`: (samples, n), how often each patch counts, for several resamples at once; once each by default. (samples,)
    """
    times = np.ones((1, len(labels)), np.int64) if times is None else times
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])  # of each level of the scores
    repaired = np.add.reduceat(times[:, order] * (labels[order] > 0.5), starts, axis=1)
    other = np.add.reduceat(times[:, order] * (labels[order] <= 0.5), starts, axis=1)
    below = np.cumsum(other, axis=1) - other
    return (repaired * (below + other / 2)).sum(axis=1) / (repaired.sum(axis=1) * other.sum(axis=1))
