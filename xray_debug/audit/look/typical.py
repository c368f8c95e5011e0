"""What is typical of each class: medians of the properties, and in which of them two classes differ.

That they differ is a suspicion (ranks of two classes' images, one per patient); it says what is worth moving and
nothing of the model. Plain values: it travels in a worker.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from xray_debug.audit.look.measures import MEASURES, measured
from xray_debug.config import AuditConfig
from xray_debug.data.view import ModelView
from xray_debug.stats.auroc import auroc
from xray_debug.stats.tests import holm

MOST_IMAGES = 900  # that are measured, evenly over the classes
FEWEST = 8  # images of a class, below which nothing is said of it
APART = 0.65  # area under the ROC curve between two classes, from which they differ
LEVEL = 0.01  # of the corrected rank test
MOST = 3  # properties that are moved, the ones that tell classes apart best


@dataclass(frozen=True)
class Looks:
    """`medians`: property -> class -> median. `differ`: property -> pairs of classes between which it is moved.

    `found`: for each property and pair of classes {property, first, second, auroc, p_adjusted, differs}; an auroc
    above 0.5 means that the first class has the larger values.
    """

    medians: dict[str, dict[str, float]] = field(default_factory=dict)
    differ: dict[str, list[list[str]]] = field(default_factory=dict)
    found: list[dict[str, Any]] = field(default_factory=list)
    images: int = 0

    def others(self, name: str, label: str) -> list[str]:
        """The classes from which `label` differs in the property."""
        return [a if b == label else b for a, b in self.differ[name] if label in (a, b)]

    def as_dict(self) -> dict[str, Any]:
        """As plain values; Looks(**...) makes it again."""
        return {"medians": self.medians, "differ": self.differ, "found": self.found, "images": self.images}


def needs_looks(config: AuditConfig) -> bool:
    """Whether the look of films is moved."""
    return config.look != "off"


def chosen_images(frame: pd.DataFrame, seed: int, patients: bool = True) -> pd.DataFrame:
    """At most MOST_IMAGES rows of `frame` (label, and patient_id where known), classes in turn, one of each patient and
    class; drawn at random, in the frame's order."""
    order = frame.sample(frac=1, random_state=seed % 2**32)
    if "patient_id" in order:
        order = order.drop_duplicates(["patient_id", "label"])
    turn = order.groupby("label").cumcount()
    return frame.loc[sorted(turn.sort_values(kind="stable").index[:MOST_IMAGES])]


def film_part(view: ModelView, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the view that show the (height, width) image: all but the margins."""
    rows, columns = view.axes(height, width)
    return rows.parts[1], columns.parts[1]


def as_film(image: np.ndarray, view: ModelView, height: int, width: int) -> np.ndarray:
    """The part of a view, (S, S) uint8 or float32, that shows the film, float32 in [0, 1]."""
    part = image[film_part(view, height, width)]
    return part.astype(np.float32) / np.float32(255) if part.dtype == np.uint8 else np.ascontiguousarray(part)


def looks_of(films: Iterable[tuple[str, np.ndarray]], config: AuditConfig) -> Looks:
    """Of (label, film) of images that are no two of one patient; a film is float32 (H, W) in [0, 1]."""
    rows = [{"label": label, **measured(film)} for label, film in films]
    table = pd.DataFrame(rows, columns=["label", *MEASURES])
    counts = table["label"].value_counts()
    table = table[table["label"].map(counts) >= FEWEST]
    medians = {name: {str(label): float(value) for label, value in table.groupby("label")[name].median().items()}
               for name in MEASURES}
    found = _compared(table, config)
    best = {name: max((abs(row["auroc"] - 0.5) for row in found if row["property"] == name and row["differs"]),
                      default=0.0) for name in MEASURES}
    names = [name for name in sorted(MEASURES, key=lambda name: -best[name]) if best[name] > 0]
    names = names if config.look == "all" else names[:MOST]
    differ = {name: [[row["first"], row["second"]] for row in found if row["property"] == name and row["differs"]]
              for name in names}
    return Looks(medians, differ, found, len(rows))


def _compared(table: pd.DataFrame, config: AuditConfig) -> list[dict[str, Any]]:
    """Each property between each two classes, corrected over all of them."""
    found = []
    for first, second in combinations(sorted(table["label"].unique()), 2):
        own, others = (table[table["label"] == label] for label in (first, second))
        for name in MEASURES:
            values = np.concatenate([own[name], others[name]])
            has = np.arange(len(values)) < len(own)
            found.append({"property": name, "first": first, "second": second,
                          "auroc": auroc(values, has), "p_adjusted": rank_sum_p(values, has)})
    for row, p in zip(found, holm([row["p_adjusted"] for row in found]) if found else [], strict=True):
        row["p_adjusted"] = float(p)
        apart = max(row["auroc"], 1 - row["auroc"]) >= APART and p <= LEVEL
        row["differs"] = bool(apart if config.look == "screened" else row["auroc"] != 0.5)
    return found


def rank_sum_p(values: np.ndarray, has: np.ndarray) -> float:
    """Two-sided p of the rank sum of values[has] (Mann and Whitney, 1947), normal approximation, corrected for ties."""
    some, others = int(has.sum()), int((~has).sum())
    ties = np.unique(values, return_counts=True)[1].astype(float)
    n = some + others
    spread = (n + 1 - (ties**3 - ties).sum() / (n * (n - 1))) / (12 * some * others)
    if spread <= 0:
        return 1.0
    return float(2 * special.ndtr(-abs(auroc(values, has) - 0.5) / np.sqrt(spread)))
