"""The order in which cases are reviewed, and what a filter leaves of it. No Streamlit and no torch here.

Flagged cases come first, the largest effect first; then all other images with boxes, training images too, those first
of whose boxes to erase the detector is least sure. A position is a place in that order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

SHOWN = ("flagged", "others")
BANDS = ((0.5, "below 0.5"), (0.7, "0.5 to 0.7"), (0.9, "0.7 to 0.9"), (np.inf, "0.9 and above"))
NOT_DECIDED = "not decided"
NOBODY, AGREED, DISAGREED = "nobody", "no", "yes"
FIELDS = {  # name in the address -> as a person reads it
    "show": "Flagged",
    "class": "Class",
    "predicted": "Predicted",
    "source": "Source",
    "split": "Split",
    "test_set": "Test set",
    "reason": "Why flagged",
    "kind": "Kind of region",
    "score": "Least sure box (detector's score)",
    "decided": "Decision",
    "by": "Decided by",
    "disagreement": "Reviewers disagree",
}
OF_DECISIONS = ("decided", "by", "disagreement")
REASONS = {"decision": "decision changes", "probability": "probability changes", "": "not flagged"}


@dataclass(frozen=True)
class Filter:
    """Which cases are asked for: of each field one of these values; and a part of the name."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    search: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Iterable[str]], search: str = "") -> Filter:
        """From an address; fields that do not exist are left out."""
        return cls({name: tuple(values[name]) for name in FIELDS if values.get(name)}, search.strip())

    def __hash__(self) -> int:
        return hash((tuple(sorted(self.values.items())), self.search))


@dataclass(frozen=True)
class Queue:
    """All cases of a run in their order.

    names: image_ids (N,); facts: field -> (N,) text of the fields that no decision changes.
    """

    names: np.ndarray
    facts: Mapping[str, pd.Categorical]

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def position(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    @cached_property
    def _folded(self) -> np.ndarray:
        return np.array([name.casefold() for name in self.names], object)

    def found(self, text: str) -> np.ndarray:
        """bool (N,): names that hold the text, whatever its case."""
        text = text.casefold()
        return np.fromiter((text in name for name in self._folded), bool, len(self.names))


class Decided:
    """What was decided, by position of a queue, as of one moment.

    last: number of the last event that is in it; rows: image_id -> the decision that counts, as ReviewDB.latest gives
    it; decided, by, disagreement: text (N,), as in FIELDS.
    """

    def __init__(self, queue: Queue, last: int, rows: Sequence[Mapping] = (), disagreements: Iterable[str] = ()):
        self.queue, self.last, self.rows = queue, last, {}
        count = len(queue)
        self.decided = np.full(count, NOT_DECIDED, object)
        self.by = np.full(count, NOBODY, object)
        self.disagreement = np.full(count, AGREED, object)
        differing = set(disagreements)
        for row in rows:
            self.put(row["image_id"], row, row["image_id"] in differing)

    def copy(self) -> Decided:
        """The same, to be changed by `put` while others go on reading this one."""
        found = Decided(self.queue, self.last)
        found.rows = dict(self.rows)
        for name in OF_DECISIONS:
            setattr(found, name, getattr(self, name).copy())
        return found

    def put(self, image_id: str, row: Mapping | None, disagreed: bool) -> None:
        """What counts of one image from now on; None: nothing is decided."""
        if row is None:
            self.rows.pop(image_id, None)
        else:
            self.rows[image_id] = row
        if (place := self.queue.position.get(image_id)) is not None:
            self.decided[place] = NOT_DECIDED if row is None else row["decision"]
            self.by[place] = NOBODY if row is None else row["reviewer"] or "without a name"
            self.disagreement[place] = DISAGREED if disagreed else AGREED

    @property
    def open(self) -> np.ndarray:
        """bool (N,): nobody has decided."""
        return self.decided == NOT_DECIDED


def make_queue(
    manifest: pd.DataFrame, cases: pd.DataFrame, regions: pd.DataFrame, further: Iterable[str] = (),
    erased: Iterable[str] | None = None,
) -> Queue:
    """The queue of a run.

    manifest, cases: indexed by image_id; `cases` is empty where nothing was audited. regions: image_id, kind, score.
    further: images that belong to it without boxes (those with a map). Only images of the manifest come into it.
    erased: kinds of boxes whose scores count (None: all); of the others nothing is to be decided.
    """
    kinds, score = _boxes(regions, erased)
    wanted = set(kinds.index) | set(cases.index) | set(further)
    known = manifest[manifest.index.isin(wanted)]
    names = known.index
    audited = cases.reindex(names)
    flagged = (audited["flagged"].eq(True) if "flagged" in audited else pd.Series(False, names)).to_numpy(bool)
    effect = _numbers(audited, "effect")
    least = score.reindex(names).to_numpy(float)
    order = np.lexsort((names, np.where(flagged, 0, np.nan_to_num(least, nan=2.0)),
                        np.where(flagged, -np.nan_to_num(effect, nan=-9.0), 0), ~flagged))  # fmt: skip
    reason = audited["kind"] if "kind" in audited else pd.Series("", names)
    facts = {
        "show": np.where(flagged, *SHOWN),
        "class": _texts(known, "label"),
        "predicted": _texts(audited, "predicted"),
        "source": _texts(known, "source"),
        "split": _texts(known, "split"),
        "test_set": _texts(known, "test_set"),
        "reason": reason.fillna("").map(lambda kind: REASONS.get(kind, kind)).to_numpy(object),
        "kind": kinds.reindex(names).fillna("none").to_numpy(object),
        "score": _bands(least),
    }
    return Queue(names.to_numpy(object)[order], {name: pd.Categorical(np.asarray(column, object)[order])
                                                 for name, column in facts.items()})  # fmt: skip


def _boxes(regions: pd.DataFrame, erased: Iterable[str] | None) -> tuple[pd.Series, pd.Series]:
    """Of each image with boxes: its kinds of regions, and the lowest score of those that are `erased`."""
    if not len(regions):
        return pd.Series(dtype=object), pd.Series(dtype=float)
    pairs = regions[["image_id", "kind"]].drop_duplicates().sort_values(["image_id", "kind"])
    codes, names = pd.factorize(pairs["image_id"])
    kinds = pairs["kind"].to_numpy(object)
    joined = np.full(len(names), "", object)
    for code, kind in zip(codes, kinds, strict=True):
        joined[code] = f"{joined[code]}, {kind}" if joined[code] else str(kind)
    regions = regions if erased is None else regions[regions["kind"].isin(list(erased))]
    codes, images = pd.factorize(regions["image_id"])
    lowest = np.full(len(images), np.inf)
    np.fmin.at(lowest, codes, regions["score"].to_numpy(float))
    return pd.Series(joined, names), pd.Series(lowest, images)


def _numbers(frame: pd.DataFrame, name: str) -> np.ndarray:
    return frame[name].to_numpy(float) if name in frame else np.full(len(frame), np.nan)


def _texts(frame: pd.DataFrame, name: str) -> np.ndarray:
    if name not in frame:
        return np.full(len(frame), "none", object)
    column = frame[name].astype(object)
    return column.where(column.notna() & (column != ""), "none").map(str).to_numpy(object)


def _bands(scores: np.ndarray) -> np.ndarray:
    edges = [edge for edge, _ in BANDS]
    words = np.array([word for _, word in BANDS] + ["no box"], object)
    return words[np.where(np.isfinite(scores), np.searchsorted(edges, scores, side="right"), len(BANDS))]


def _column(queue: Queue, decided: Decided, name: str) -> np.ndarray | pd.Categorical:
    return getattr(decided, name) if name in OF_DECISIONS else queue.facts[name]


def _chosen(queue: Queue, decided: Decided, asked: Filter, but: str = "") -> np.ndarray:
    """bool (N,): the cases that the filter leaves, its field `but` not looked at."""
    kept = np.ones(len(queue), bool)
    for name, values in asked.values.items():
        if name != but:
            column = _column(queue, decided, name)
            kept &= column.isin(values) if isinstance(column, pd.Categorical) else np.isin(column, values)
    return kept & queue.found(asked.search) if asked.search else kept


def select(queue: Queue, decided: Decided, asked: Filter) -> np.ndarray:
    """Positions, in order, of the cases that the filter leaves."""
    return np.flatnonzero(_chosen(queue, decided, asked))


def counts(queue: Queue, decided: Decided, asked: Filter, name: str) -> dict[str, int]:
    """How many cases each value of a field would leave, the filter's other fields as they are; all values."""
    column, kept = _column(queue, decided, name), _chosen(queue, decided, asked, name)
    if not isinstance(column, pd.Categorical):
        column = pd.Categorical(column)
    number = np.bincount(column.codes[kept], minlength=len(column.categories))
    return {str(value): int(n) for value, n in zip(column.categories, number, strict=True)}


def next_open(chosen: np.ndarray, decided: Decided, after: int) -> int | None:
    """The first case not yet decided that comes after a position, else the first of all; None where none is left."""
    left = chosen[decided.open[chosen]]
    if not len(left):
        return None
    return int(left[np.searchsorted(left, after, side="right") % len(left)])


def neighbour(chosen: np.ndarray, at: int, by: int) -> int | None:
    """The case `by` places (-1 or 1) from a position, which need not be among them; None at the end."""
    place = np.searchsorted(chosen, at, side="left" if by < 0 else "right") - (by < 0)
    return int(chosen[place]) if 0 <= place < len(chosen) else None
