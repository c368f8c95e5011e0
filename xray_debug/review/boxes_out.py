"""What will be erased, for other programs: COCO's detection format, and a Parquet table of one row an image."""

from __future__ import annotations

import json
from pathlib import Path

from xray_debug.cleaning.decided import UNDECIDED, Decided, boxes_to_erase, left_in_place, usable_decisions
from xray_debug.config import CleanConfig, made_config
from xray_debug.data.boxes import clip_boxes
from xray_debug.data.files import write_table, write_text
from xray_debug.review.decisions import ReviewDB, as_table
from xray_debug.run.store import Store, split_boxes

DRAWN = "region"  # the category of a reviewer's boxes; the detector's are what the run erases: text, device
SUFFIXES = (".json", ".parquet")


def write_coco(store: Store, file: Path) -> int:
    """The images of the cleaned data with the boxes that are erased in each; how many images.

    `file_name` is the path below the dataset's folder; excluded images are left out. Of the detector's boxes the
    category is their kind (text), of a reviewer's region.
    """
    images, annotations, names = [], [], [*_kinds(store), DRAWN]
    for row, decided, boxes in _to_erase(store):
        if decided.decision == "exclude":
            continue
        number, height, width = len(images) + 1, int(row["height"]), int(row["width"])
        images.append({"id": number, "file_name": row["path"], "width": width, "height": height,
                       "image_id": row["image_id"], "decision": decided.decision})  # fmt: skip
        for kind, (x0, y0, x1, y1) in boxes:
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": 1 + names.index(kind),
                "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0,
                "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
            })  # fmt: skip
    categories = [{"id": 1 + i, "name": name, "supercategory": "to clean"} for i, name in enumerate(names)]
    info = {"description": f"what is erased in the images of {store.folder.name}", "version": "1.0"}
    write_text(file, json.dumps({"info": info, "licenses": [], "images": images, "annotations": annotations,
                                 "categories": categories}, ensure_ascii=False) + "\n")  # fmt: skip
    return len(images)


def write_boxes_table(store: Store, file: Path) -> int:
    """A row for each usable image: where it lies, its label, the decision, and the boxes as FiftyOne's detections have
    them (`detections`: a label, and x, y, width, height as shares of the image); how many rows."""
    import pandas as pd

    rows = []
    for row, decided, boxes in _to_erase(store):
        height, width = int(row["height"]), int(row["width"])
        rows.append({
            "filepath": str(store.image_file(row["path"])), "image_id": row["image_id"], "label": row["label"],
            "split": row["split"], "source": row["source"], "width": width, "height": height,
            "decision": decided.decision, "event": decided.event, "reviewer": decided.reviewer,
            "detections": [{"label": kind, "bounding_box": [x0 / width, y0 / height, (x1 - x0) / width,
                                                                      (y1 - y0) / height]}
                           for kind, (x0, y0, x1, y1) in boxes],
        })  # fmt: skip
    write_table(file, pd.DataFrame(rows))
    return len(rows)


def _options(store: Store) -> CleanConfig:
    return made_config(store.pipeline_file).clean if store.pipeline_file.exists() else CleanConfig()


def _kinds(store: Store) -> list[str]:
    """Of the detector's boxes that the run erases."""
    return _options(store).kinds


def _to_erase(store: Store) -> list[tuple[dict, Decided, list[tuple[str, list[int]]]]]:
    """(the manifest's row, what was decided, kind and box of all that is erased) of every usable image; without the
    letters that stay (clean.keep), once stage clean has read them."""
    manifest, found = store.manifest(), {kind: store.boxes(kind) for kind in _kinds(store)}
    latest = ReviewDB(store.review_file).latest() if store.review_file.exists() else []
    decided, _ = usable_decisions(as_table(latest), manifest)
    letters = split_boxes(store.table("letters")) if _options(store).keep and store.has("letters") else {}
    rows = []
    for row in manifest.to_dict("records"):
        own = decided.get(row["image_id"], UNDECIDED)
        size = int(row["height"]), int(row["width"])
        kinds = found if own.boxes is None else {DRAWN: {}}
        name, stays = row["image_id"], letters.get(row["image_id"], ())
        boxes = [(kind, box) for kind, of in kinds.items() for box in
                 clip_boxes(boxes_to_erase(own, left_in_place(own, of.get(name, ()), stays)[0]), *size).tolist()]
        rows.append((row, own, boxes))
    return rows
