"""What stage clean made before, for the images that nothing has changed for: a new decision is not paid by all others.

A result is taken over where its row's key is the same and the stage's options, code, packages and second reader are;
what else the stage reads comes with the rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xray_debug.run.fingerprint import changed_options
from xray_debug.run.folder import versions
from xray_debug.run.parts import PROBLEM, Parts
from xray_debug.run.store import Store
from xray_debug.stages.base import Context

if TYPE_CHECKING:
    import pandas as pd

ARRAYS = ("view", "control_view")


class Earlier:
    """The results of an earlier run of the stage by image; none without `parts`. `folders`: of its two datasets."""

    def __init__(self, parts: Parts | None = None, folders: tuple[Path, Path] = (Path(), Path())):
        self.parts, self.folders = parts, (str(folders[0]), str(folders[1]))
        self._place: dict[str, tuple[int, int, str]] = {}  # image_id -> part, row in it, key
        self._held: tuple[int, list[dict], dict[str, np.ndarray]] = -1, [], {}  # a part, its rows, its arrays
        for index, file in enumerate(parts.files if parts else ()):
            known = Parts(file.parent, (file,)).rows(["image_id", "key", "failed", PROBLEM])
            for row, values in enumerate(known):
                if values.get("key") and not (values[PROBLEM] or values.get("failed")):
                    self._place[values["image_id"]] = index, row, values["key"]

    def count(self, plan: pd.DataFrame) -> int:
        """For how many rows of the plan there is a result."""
        return sum(self._same(*row) for row in zip(plan["image_id"], plan["key"], strict=True))

    def _same(self, image_id: str, key: str) -> bool:
        return key != "" and self._place.get(image_id, (0, 0, ""))[2] == key

    def result(self, image_id: str, key: str) -> dict[str, Any] | None:
        """All that came of the row of that key, as the worker gave it; None where there is no such result."""
        if not self._same(image_id, key):
            return None
        part, row, _ = self._place[image_id]
        if self._held[0] != part:
            self._held = part, *self._read(part)
        _, rows, arrays = self._held
        if not rows:
            return None
        written = {"view": rows[row]["file"], "control_view": rows[row]["control_file"]}  # an excluded image has none
        views = {name: np.array(arrays[name][row]) if name in arrays and written[name] else None for name in ARRAYS}
        return {name: value for name, value in rows[row].items() if name not in ("image_id", PROBLEM)} | views

    def _read(self, part: int) -> tuple[list[dict], dict[str, np.ndarray]]:
        """The rows of a part and its arrays, nothing where it is damaged: its images are made anew."""
        file = self.parts.files[part]
        paths = {name: self.parts.arrays(name)[part] for name in ARRAYS}
        try:
            rows = list(Parts(file.parent, (file,)).rows())
            arrays = {name: np.load(path) for name, path in paths.items() if path.exists()}  # no map: it is replaced
        except (OSError, ValueError, EOFError):
            return [], {}
        return (rows, arrays) if all(len(found) == len(rows) for found in arrays.values()) else ([], {})


def earlier_clean(context: Context) -> Earlier:
    """What the finished stage clean holds for the one at work; nothing where it was made otherwise, or is damaged."""
    store, mark = Store(context.store.folder), context.mark
    record = store.record("clean")
    if context.fresh or mark is None or record is None or not store.has("cleaned views"):
        return Earlier()
    before = (record.get("code"), record.get("versions"), (record.get("inputs") or {}).get("second reader"))
    now = (mark.code, versions(), mark.inputs.get("second reader"))
    if before != now or changed_options(record, mark.parameters):
        return Earlier()
    try:
        return Earlier(store.parts("cleaned views"), (store.path("cleaned"), store.path("control")))
    except (OSError, ValueError):  # a damaged part: all is made anew
        return Earlier()
