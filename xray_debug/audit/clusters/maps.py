"""Kinds of saliency maps: spectral clustering of downsized maps, the number of clusters by the eigengap.

After SpRAy (Lapuschkin et al., Unmasking Clever Hans predictors, 2019): maps of one predicted class, downsized; how
many small eigenvalues the Laplacian of their likeness has before the largest gap says how many kinds there are. The
likeness is a Gaussian of the distance here: a graph of nearest neighbours fell into pieces on maps of one kind. That a
kind is there says nothing of why: it is a suspicion, and no intervention.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

LEAST = 30  # maps of a class, below which nothing is clustered
MOST = 1000  # maps of a class that are clustered
SIDE = 14  # of the downsized maps
MOST_KINDS = 6
FLOOR = 1e-9


@dataclass(frozen=True)
class Kinds:
    """`codes`: (n,) kind of each map from 0, the largest first. `eigenvalues`: the smallest MOST_KINDS + 1."""

    codes: np.ndarray
    eigenvalues: list[float]

    @property
    def count(self) -> int:
        return int(self.codes.max()) + 1


def small_maps(maps) -> np.ndarray:
    """float64 (n, SIDE * SIDE) of maps (m, m) in [0, 1]: downsized by area, each of length 1. ValueError: one of 0."""
    small = np.stack([cv2.resize(np.asarray(one, np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
                      for one in maps]).reshape(len(maps), -1).astype(np.float64)  # fmt: skip
    lengths = np.linalg.norm(small, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise ValueError("a saliency map without any saliency cannot be compared with others")
    return small / lengths


def affinity(points: np.ndarray) -> np.ndarray:
    """(n, n) in (0, 1]: exp(-d^2 / s) of the distances d between points (n, d), s the lower quartile of d^2; 0 on the
    diagonal."""
    squares = (points**2).sum(1)
    distances = (squares[:, None] + squares - 2 * points @ points.T).clip(0)
    scale = np.quantile(distances[np.triu_indices(len(points), 1)], 0.25)
    found = np.maximum(np.exp(-distances / max(float(scale), FLOOR)), FLOOR)  # no map is alone in the graph
    np.fill_diagonal(found, 0.0)
    return found


def small_eigenvalues(graph: np.ndarray, count: int) -> np.ndarray:
    """The `count` smallest eigenvalues, in [0, 2], of the graph's normalised Laplacian 1 - D^-1/2 A D^-1/2."""
    scale = 1 / np.sqrt(graph.sum(1))
    laplacian = np.eye(len(graph)) - scale[:, None] * graph * scale
    return np.linalg.eigvalsh(laplacian)[:count].clip(0)


def number_of_kinds(eigenvalues: np.ndarray) -> int:
    """After how many of the ascending eigenvalues, of which the first is 0, the largest gap lies."""
    return int(np.diff(eigenvalues).argmax()) + 1


def map_kinds(maps, seed: int = 0) -> Kinds:
    """The kinds of n maps (m, m) of one class; n at least LEAST, or ValueError."""
    from sklearn.cluster import SpectralClustering

    if len(maps) < LEAST:
        raise ValueError(f"maps: expected at least {LEAST}, got {len(maps)}")
    graph = affinity(small_maps(maps))
    eigenvalues = small_eigenvalues(graph, MOST_KINDS + 1)
    count, codes = number_of_kinds(eigenvalues), np.zeros(len(maps), int)
    if count > 1:
        model = SpectralClustering(count, affinity="precomputed", random_state=seed % 2**32)
        codes = model.fit_predict(graph)
    order = np.argsort(-np.bincount(codes), kind="stable")
    return Kinds(np.argsort(order)[codes], eigenvalues.tolist())
