"""Maps of single cases, made when a reviewer asks for them: beside those of stage explain, never among them.

A stage's results are complete or absent, so that a map more may not be laid there. Each further map is a file of its
own, named after its image, in a folder that no stage has. It counts while the run's model, and how stage explain
explains, are what they were when it was made; else it is as if it were not there, and is made anew when asked for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xray_debug.config import made_config
from xray_debug.run.fingerprint import digest
from xray_debug.run.store import Store, StoreError

if TYPE_CHECKING:
    import numpy as np

OPTIONS = ("method", "options", "mask_size")  # of the section explain: what a map depends on


@dataclass(frozen=True)
class CaseMap:
    """The saliency map (m, m) of a case, 1 = most salient, or None; `damaged`: the sentence that says why."""

    saliency: np.ndarray | None
    damaged: str = ""
    asked_for: bool = False  # made for this case alone, not by stage explain


def case_map(store: Store, image_id: str) -> CaseMap:
    """The map of stage explain, else the one made for this case alone; never raises for what is missing or damaged."""
    damaged = ""
    try:
        found = store.saliency(image_id)
        if found is not None:
            return CaseMap(found)
    except StoreError as error:
        damaged = str(error)
    further = further_map(store, image_id)
    return CaseMap(further, "" if further is not None else damaged, asked_for=further is not None)


def how_explained(store: Store) -> dict[str, Any]:
    """Method, its options, size of the mask and seed of stage explain: as it was done, else as the pipeline asks."""
    made = (store.record("explain") or {}).get("parameters", {})
    if "explain" not in made:
        made = made_config(store.pipeline_file).model_dump(mode="json")
    return {**{name: made["explain"][name] for name in OPTIONS}, "seed": made.get("seed", 0)}


def further_key(store: Store) -> str:
    """What tells whether a further map still holds: the model of stage train, and how_explained."""
    made = store.record("train") or {}
    model = [made.get("outputs", {}).get(name) for name in ("weights", "description")]
    return digest([model if any(model) else made.get("fingerprint"), how_explained(store)])


def further_mark(store: Store, image_id: str) -> int:
    """Tells one state of an image's further map from another; 0 where there is none. Cheap: nothing is read."""
    from xray_debug.run.parts import part_file

    try:
        return part_file(store.further_maps, _number(image_id)).stat().st_mtime_ns
    except OSError:
        return 0


def further_map(store: Store, image_id: str, column: str = "saliency") -> np.ndarray | None:
    """A map (or its deletion_curve, insertion_curve) made for this case alone; None: not made, outdated or damaged."""
    import numpy as np

    from xray_debug.run.parts import Parts, has_part, part_file

    folder, number = store.further_maps, _number(image_id)
    if not further_mark(store, image_id):
        return None
    try:
        if not has_part(folder, number, further_key(store)):
            return None
        found = Parts(folder, (part_file(folder, number),)).find(image_id, column)
    except (OSError, ValueError):
        return None
    return None if found is None else np.array(found)


def write_further_map(store: Store, row: dict[str, Any]) -> None:
    """Keeps a row of ExplainWorker."""
    from xray_debug.run.parts import write_part

    store.further_maps.mkdir(exist_ok=True)
    write_part(store.further_maps, _number(row["image_id"]), [row], further_key(store))


def _number(image_id: str) -> int:
    """Of an image's file: its name may hold anything and be of any length."""
    return int.from_bytes(hashlib.sha256(image_id.encode("utf-8", "surrogatepass")).digest()[:7])
