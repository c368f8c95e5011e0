"""What the review app shows of a run, without Streamlit and without torch: cases, films, boxes, maps.

Read through the store; but for the manifest and the dataset's folder everything may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from xray_debug.cleaning.decided import UNDECIDED, Decided, left_in_place
from xray_debug.config import CleanConfig, ConfigError, made_config
from xray_debug.data.boxes import as_boxes
from xray_debug.data.images import Film, ImageError, ModelView
from xray_debug.data.unchanged import read_known
from xray_debug.review.queue import Queue, make_queue
from xray_debug.run.further import case_map
from xray_debug.run.store import BOX, Store, StoreError, split_boxes

FACTS = ("label", "predicted", "source", "split", "test_set", "patient_id")


class ViewError(ValueError):
    """A run folder that cannot be shown; the message is one sentence."""


@dataclass(frozen=True)
class Found:
    """The regions of one image: boxes (N, 4) int64 in pixels of the original, a kind and a score each."""

    boxes: np.ndarray
    kinds: np.ndarray
    scores: np.ndarray

    def of_kinds(self, kinds: Iterable[str]) -> np.ndarray:
        return self.boxes[np.isin(self.kinds.astype(str), list(kinds))]


NOTHING_FOUND = Found(as_boxes([]), np.zeros(0, object), np.zeros(0))


@dataclass(frozen=True)
class RunView:
    """What is known of a run's cases. `queue`: all of them, in the order in which they are reviewed."""

    store: Store
    manifest: pd.DataFrame  # indexed by image_id
    cases: pd.DataFrame  # the audit's, indexed by image_id; empty where it has not run
    found: Mapping[str, Found]
    view: ModelView
    clean: CleanConfig
    queue: Queue
    letters: Mapping[str, np.ndarray] = field(default_factory=dict)

    def regions(self, image_id: str) -> Found:
        return self.found.get(image_id, NOTHING_FOUND)

    def boxes_of(self, image_id: str) -> np.ndarray:
        """(N, 4) int64: the boxes of clean.kinds, which are erased unless a reviewer decides otherwise; without the
        letters that stay (clean.keep), once stage clean has read them."""
        return left_in_place(UNDECIDED, self.regions(image_id).of_kinds(self.clean.kinds),
                             self.letters.get(image_id, ()))[0]  # fmt: skip

    def kept_beside(self, image_id: str, boxes) -> np.ndarray:
        """(N, 4) int64: the letters that stay (clean.keep) where exactly `boxes` are erased."""
        return left_in_place(Decided("edit", as_boxes(boxes)), (), self.letters.get(image_id, ()))[1]

    def film(self, image_id: str) -> Film:
        """The original; ViewError or ImageError in one sentence."""
        try:
            file = self.store.image_file(self.manifest.loc[image_id, "path"])
        except StoreError as error:
            raise ViewError(f"{image_id}: {error}") from error
        return read_known(file, str(self.manifest.loc[image_id].get("sha256") or ""))

    def saliency(self, image_id: str) -> np.ndarray | None:
        """The case's saliency map (m, m), 1 = most salient; None: not explained; ViewError where it is damaged."""
        known = case_map(self.store, image_id)
        if known.damaged:
            raise ViewError(f"the saliency map of {image_id} is damaged: {known.damaged}")
        found = known.saliency
        if found is not None and (found.ndim != 2 or not found.size or not np.isfinite(found).all()):
            raise ViewError(f"the saliency map of {image_id} is damaged: expected a square of numbers in [0, 1]")
        return found

    def row(self, image_id: str) -> dict:
        """All that the manifest and the audit hold of a case, as far as known."""
        row = self.manifest.loc[image_id].to_dict() if image_id in self.manifest.index else {}
        return row | (self.cases.loc[image_id].to_dict() if image_id in self.cases.index else {})

    def facts(self, image_id: str) -> dict[str, str]:
        """Label, prediction, source and so on, as far as known."""
        row = self.row(image_id)
        return {name: str(row[name]) for name in FACTS if row.get(name) not in (None, "") and row[name] == row[name]}


def load_run(store: Store) -> RunView:
    """The run's cases; ViewError where it is no run, its dataset was not prepared or a table is damaged."""
    folder = store.folder
    if not folder.is_dir():
        raise ViewError(f"{folder}: expected a run folder, found {'a file' if folder.exists() else 'nothing'}")
    try:
        manifest = _by_name(store.manifest())
        store.dataset_root()
        cases = _by_name(store.table("cases")) if store.has("cases") else pd.DataFrame()
        regions = store.table("regions") if store.has("regions") else pd.DataFrame()
        view, clean = ModelView(224), CleanConfig()
        if store.pipeline_file.exists():
            config = made_config(store.pipeline_file)
            view, clean = ModelView.from_config(config.view), config.clean
        letters = split_boxes(store.table("letters")) if clean.keep and store.has("letters") else {}
        further = [] if len(cases) else store.explained()
    except (StoreError, ConfigError) as error:
        raise ViewError(str(error)) from error
    queue = make_queue(manifest, cases, regions, further, clean.kinds)
    return RunView(store, manifest, cases, _found(regions), view, clean, queue, letters)


def _by_name(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop_duplicates("image_id").set_index("image_id")


def _found(regions: pd.DataFrame) -> dict[str, Found]:
    """image_id -> its regions: one sort for all of them."""
    if not len(regions):
        return {}
    codes, names = pd.factorize(regions["image_id"])
    order = np.argsort(codes, kind="stable")
    cuts = np.cumsum(np.bincount(codes))[:-1]
    columns = (regions[list(BOX)].to_numpy(np.int64), regions["kind"].to_numpy(object),
               regions["score"].to_numpy(float))  # fmt: skip
    parts = (np.split(column[order], cuts) for column in columns)
    return {name: Found(*part) for name, part in zip(names, zip(*parts, strict=True), strict=True)}


__all__ = ["Film", "Found", "ImageError", "RunView", "ViewError", "load_run"]
