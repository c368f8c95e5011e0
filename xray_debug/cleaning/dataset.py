"""Boxes and decisions in, a cleaned dataset (COVIDx++, or in the layout it came in) and its change log out.

One rule for all classes and splits: every image with boxes is repaired the same way, unless a reviewer decided
otherwise. Originals are only read, and shared with nothing. `plan_rows` says what is to be done, CleanWorker does it
image by image, `finish` writes what needs all images: label files, counts, and the change log.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from xray_debug.cleaning.decided import UNDECIDED, boxes_to_erase, left_in_place, usable_decisions
from xray_debug.cleaning.files import check_names, check_outputs, target_name
from xray_debug.cleaning.residue import probe_result
from xray_debug.cleaning.second import drawn, spread
from xray_debug.cleaning.worker import CleanWorker
from xray_debug.config import CleanConfig
from xray_debug.data.files import write_json
from xray_debug.data.formats.layout import Layout
from xray_debug.data.formats.places import is_dicom_file
from xray_debug.data.images import ImageError
from xray_debug.stats.seeds import seed_of

CHANGES = ["image_id", "label", "source", "split", "test_set", "boxes", "origin", "file", "original_sha256",
           "cleaned_sha256", "area_share", "note", "residual", "control_boxes", "control_area_share",
           "control_sha256", "decision", "event", "reviewer"]
OF_IMAGE = ["image_id", "patient_id", "label", "source", "split", "test_set"]  # what the plan takes from the manifest
PROBE_IMAGES = 300
Progress = Callable[[int, int], None]


# ------------------------------------------------------------------------------------------------- what to do


def plan_rows(
    manifest: pd.DataFrame,
    data_root: str | Path,
    boxes: Mapping[str, Any],
    config: CleanConfig,
    decisions: pd.DataFrame | None = None,
    seed: int = 0,
    second_images: int | None = 0,
    probe_images: int = PROBE_IMAGES,
    outs: Sequence[str | Path] = (),
    unread: Mapping[str, str] | None = None,
    layout: Layout | None = None,
    recall_images: int = 0,
    texts: Mapping[str, Any] | None = None,
    keep: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """One row for each image of `manifest` (usable ones only), in its order, for CleanWorker.

    Args:
        boxes: image_id -> (N, 4); images without text may be absent.
        decisions: ReviewDB.decisions(): approve an image's boxes, reject them (it stays as it was), replace them, or
            exclude the image (it is in neither dataset).
        second_images: how many cleaned images the second reader reads, drawn at random; None for all.
        probe_images: how many cleaned images at most give patches for the probe, drawn at random.
        outs: output folders, to be told from those of the originals.
        unread: image_id -> why no text could be looked for in it. It stays as it was, and finish names it.
        layout: of the dataset that is written; COVIDx's without it.
        recall_images: of how many images, spread over classes and splits, the second reader reads the originals, too.
        texts: of `boxes` those that such a reader can know; None: all. A reviewer's boxes all count.
        keep: of `boxes` those that stay in the image unless a reviewer's boxes cover them.

    Columns: those of OF_IMAGE, path, place (as in the manifest), folder (below the output folder), file (its name
    there), boxes (a list; empty: the image stays as it was), origin (detector or reviewer), sha256, rejected, excluded,
    kept (boxes of text that stays), decision ("" for none), its event and reviewer, read_again, compared (the erased
    boxes that the second reader's of the original are compared with; None: it is not read), probe, and untouched (path
    of an image without boxes, of the same source where there is one, for the probe; "" for none) with its
    untouched_sha256; unread; key (what else than options and code the files depend on: rows of one key have the same
    ones) and measured (the same of what is measured on them). `.attrs["remarks"]`: what of the decisions is not done as
    it stands, a sentence each.
    What is drawn at random changes little with one decision: each image has its own place in the draw.
    ValueError: a decision, name or test set that cannot be used, or an output folder that holds the originals.
    """
    decided, remarks = usable_decisions(decisions, manifest)
    layout = layout or Layout()
    places = [layout.place(row) for row in manifest.to_dict("records")]
    taken = {(PurePosixPath(place).name if layout.one_folder else place).casefold() for place in places}
    known = manifest["sha256"] if "sha256" in manifest else [""] * len(manifest)
    todo = []
    for row, content, place in zip(manifest[["image_id", "path", "split", "test_set"]].itertuples(index=False), known,
                                  places, strict=True):  # fmt: skip
        check_names(row.image_id, row.path, row.test_set)
        found, letters = decided.get(row.image_id, UNDECIDED), (keep or {}).get(row.image_id, ())
        own, kept = left_in_place(found, boxes.get(row.image_id, ()), letters)
        decision, erased = found.decision, boxes_to_erase(found, own)
        legible = own if texts is None else left_in_place(found, texts.get(row.image_id, ()), letters)[0]
        path, (folder, _, name) = Path(data_root) / row.path, place.rpartition("/")
        among = "" if layout.one_folder else folder + "/" * bool(folder)
        file = target_name(name, config.lossy, taken, is_dicom_file(path), among)
        taken.add((among + file).casefold())
        todo.append({
            "path": str(path), "place": row.path, "folder": folder, "file": file,
            "boxes": erased.tolist(), "compared": boxes_to_erase(found, legible).tolist(), "kept": kept.tolist(),
            "origin": "reviewer" if decision in ("edit", "exclude") else "detector",
            "sha256": content or "", "rejected": decision == "reject" and len(own) > 0,
            "excluded": decision == "exclude", "decision": decision, "event": found.event, "reviewer": found.reviewer,
            "unread": (unread or {}).get(row.image_id, "") if decision in ("", "approve") else "",
        })  # fmt: skip
    columns = ["path", "place", "folder", "file", "boxes", "compared", "kept", "origin", "sha256", "rejected",
               "excluded", "decision", "event", "reviewer", "unread"]  # fmt: skip
    plan = manifest[OF_IMAGE].reset_index(drop=True).join(pd.DataFrame(todo, columns=columns))
    check_outputs(plan["path"], [Path(out) for out in outs], sorted(set(plan["folder"])))
    plan = _chosen(plan, seed, second_images, probe_images, recall_images)
    plan.attrs["remarks"] = remarks
    return plan


def _chosen(
    plan: pd.DataFrame, seed: int, second_images: int | None, probe_images: int, recall_images: int
) -> pd.DataFrame:
    """The plan with the images that are read again and probed, where the probe looks else, and the rows' keys."""
    to_change = np.flatnonzero(plan["boxes"].map(len))
    read, probe = np.zeros(len(plan), bool), np.zeros(len(plan), bool)
    read[drawn(plan, to_change, ("read again", seed), second_images)] = True
    probe[drawn(plan, to_change, ("probe", seed), probe_images)] = True
    untouched = _untouched(plan, np.flatnonzero(probe), seed)
    path, digests = np.full(len(plan), "", object), np.full(len(plan), "", object)
    for i, other in untouched.items():
        path[i], digests[i] = plan["path"].iat[other], plan["sha256"].iat[other]
    legible = np.flatnonzero((plan["unread"] == "") & ~plan["excluded"].astype(bool))
    originals = set(spread(plan, legible, ("read the original", seed), recall_images))
    compared = [boxes if i in originals else None for i, boxes in enumerate(plan["compared"])]
    plan["compared"] = pd.Series(compared, plan.index, object)
    plan = plan.assign(read_again=read, probe=probe, untouched=path, untouched_sha256=digests)
    return plan.assign(key=_keys(plan, OF_FILES), measured=_keys(plan, OF_MEASURES))


def _untouched(plan: pd.DataFrame, probed: np.ndarray, seed: int) -> dict[int, int]:
    """probed row -> a row that stays as it is, of the same source where there is one.

    No text is known in it, none that stays either. The pool is a ring, each image at its own number, and a probed image
    takes the next one after its own: an image that joins or leaves the pool changes what its neighbours take alone.
    """
    bare = (plan["boxes"].map(len) == 0) & (plan["kept"].map(len) == 0)
    pool = plan[bare & (plan["unread"] == "") & ~plan["excluded"]]
    if not len(pool) or not len(probed):
        return {}
    ring = sorted((seed_of("pool", seed, name), i) for name, i in zip(pool["image_id"], pool.index, strict=True))
    rings = {source: [pair for pair in ring if plan["source"].iat[pair[1]] == source] for source in set(pool["source"])}
    found = {}
    for i in probed:
        own = rings.get(plan["source"].iat[i], ring)
        found[i] = own[bisect_left(own, (seed_of("untouched", seed, plan["image_id"].iat[i]), 0)) % len(own)][1]
    return found


OF_FILES = ["image_id", "place", "folder", "file", "boxes", "kept", "origin", "sha256", "rejected", "excluded",
            "unread"]  # fmt: skip
OF_MEASURES = ["sha256", "kept", "read_again", "compared", "probe", "untouched_sha256"]


def _keys(plan: pd.DataFrame, columns: list[str]) -> list[str]:
    """A digest of each row's values; "" where the image's contents are not known: such a row is like no other."""
    rows = (dict(zip(columns, values, strict=True)) for values in plan[columns].itertuples(index=False))
    return [sha256(json.dumps(row, default=bool).encode()).hexdigest()[:32] if row["sha256"] else "" for row in rows]


# ------------------------------------------------------------------------------------------------- what was done


def finish(
    plan: pd.DataFrame,
    results: pd.DataFrame | Sequence[dict],
    out: str | Path,
    control_out: str | Path | None = None,
    set_aside: int = 0,
    layout: Layout | None = None,
) -> pd.DataFrame:
    """Writes the labels and cleaning.json of both folders; returns the change log.

    It has one row for each changed image, and one without a file for each that a reviewer has excluded, with the
    number of the event that it follows (0: no decision).

    `results`: CleanWorker's of all rows of the plan, in order; one with a `problem` could not be done, and its image
    is in no label file. `set_aside`: images that were not even planned, for the count. cleaning.json, and
    `.attrs["summary"]` of the change log, count what was done and name what could not be.
    """
    if len(results) != len(plan):
        raise ValueError(f"results: expected one for each of the {len(plan)} rows of the plan, got {len(results)}")
    texts = ["problem", "failed", "file", "control_file", "boxes", "control_boxes", "origin", "original_sha256",
             "cleaned_sha256", "control_sha256", "note"]  # fmt: skip
    found = pd.DataFrame(results).reset_index(drop=True)
    found = found.reindex(columns=[*texts, "area_share", "control_area_share", "residual"])
    found[texts] = found[texts].astype(object).fillna("")
    failed = np.where(found["problem"] != "", found["problem"], found["failed"])
    failed = pd.Series(np.where(failed != "", failed, plan["unread"]), plan["image_id"], object)
    excluded = plan["excluded"].to_numpy(bool)
    found.loc[excluded, "origin"] = "reviewer"
    changes = plan[[*OF_IMAGE, "decision", "event", "reviewer"]].join(found)[CHANGES]
    changes = changes[(found["boxes"] != "") | excluded].reset_index(drop=True)
    changes = changes.astype({"area_share": float, "control_area_share": float, "residual": "Int64"})
    summary = {
        "images": len(plan), "set_aside": set_aside, "changed": int((found["boxes"] != "").sum()),
        "rejected": int(plan["rejected"].sum()),
        "excluded": {name: int(event) for name, event in zip(plan["image_id"][excluded], plan["event"][excluded],
                                                             strict=True)},
        "control": False, "failed": failed[failed != ""].to_dict(),
        "remarks": plan.attrs.get("remarks", []), "rewritten": _counts(found["note"][found["boxes"] == ""]),
    }  # fmt: skip
    for folder, files, control in ((out, found["file"], False), (control_out, found["control_file"], True)):
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
            place = [f"{below}/{file}" if below else file for below, file in zip(plan["folder"], files, strict=True)]
            written = plan.assign(path=plan["place"], place=place)[files != ""]
            (layout or Layout()).write(Path(folder), written)
            write_json(Path(folder) / "cleaning.json", summary | {"control": control})
    changes.attrs["summary"] = summary
    return changes


def _counts(notes: pd.Series) -> dict[str, int]:
    """How often each note was made of images that stay as they were."""
    return {str(note): int(count) for note, count in notes[notes != ""].value_counts(sort=False).items()}


# ------------------------------------------------------------------------------------------------- all at once


def clean_dataset(
    manifest: pd.DataFrame,
    data_root: str | Path,
    boxes: pd.DataFrame,
    out: str | Path,
    config: CleanConfig,
    decisions: pd.DataFrame | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    control: str | Path | None = None,
    reader: Callable[[], Any] | None = None,
    probe_images: int = 0,
    layout: Layout | None = None,
    keep: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Writes `out` in `layout` (without it COVIDx's) with the boxes erased; the change log, one row per changed image.

    `boxes` has columns image_id x0 y0 x1 y1; rows of `manifest` with a problem are left out. `control`: a folder for
    the control, in which the same boxes are erased in text-free places. `reader` makes a second reader, which counts
    what it still finds in each cleaned image (`residual`). With `probe_images`, `.attrs["probe"]` is the probe's
    result. `keep`: image_id -> those of the boxes that stay; nothing is read here, so `config.keep` without it is a
    ValueError. The work is done here, one image after the other. Errors are those of `plan_rows`.
    """
    if config.keep and keep is None:
        raise ValueError(f"clean.keep: {config.keep} needs the boxes that stay (keep=), which text.laterality reads")
    usable = manifest[manifest["problem"] == ""] if "problem" in manifest else manifest
    found = {name: part.to_numpy() for name, part in boxes.groupby("image_id")[["x0", "y0", "x1", "y1"]]}
    outs = [folder for folder in (out, control) if folder is not None]
    again = None if reader is not None else 0
    plan = plan_rows(usable, data_root, found, config, decisions, seed, again, probe_images, outs,
                     layout=layout, keep=keep)
    worker = CleanWorker(config.model_dump(), seed, str(out), None if control is None else str(control), reader)
    worker.open()
    results = []
    for row in plan.to_dict("records"):
        try:
            results += worker([row])
        except (ImageError, FileNotFoundError) as error:
            results.append({"problem": str(error)})
        if progress is not None:
            progress(len(results), len(plan))
    changes = finish(plan, results, out, control, len(manifest) - len(usable), layout)
    if probe_images:
        features = [result["probe"] for result in results if result.get("probe") is not None]
        changes.attrs["probe"] = probe_result(features, seed)
    return changes
