"""detect: burned-in text of every usable image, and devices where the detector tells them apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from xray_debug.config import PipelineConfig
from xray_debug.run.folder import RunError
from xray_debug.run.store import Store
from xray_debug.stages.base import Context, Stage
from xray_debug.stages.readers import AUTO, decided_options, packages_of, second_for

if TYPE_CHECKING:
    import pandas as pd

MOST = 64


def check(config: PipelineConfig) -> None:
    from xray_debug.text import DETECTORS
    from xray_debug.text.detectors.registry import check_options

    DETECTORS.check(config.detect.detector, "detect.detector")
    check_options(config.detect.detector, config.detect.options, "detect.options")
    if config.detect.second not in (None, AUTO):
        DETECTORS.check(config.detect.second, "detect.second")
    weights = config.detect.weights
    if weights is not None and not Path(weights).is_file():
        raise RunError(f"detect.weights: {weights}: no such file")


def check_ready(config: PipelineConfig) -> None:
    """ValueError or ImportError where the detector lacks its weights: told now, and not after training."""
    from xray_debug.text.detectors import registry

    own = config.detect
    try:
        registry.check_ready(own.detector, own.weights, own.options)
    except ValueError as error:
        raise ValueError(f"detect.detector: {own.detector}: {error}") from error
    except ImportError as error:
        raise ImportError(f"detect.detector: {own.detector}: {error}") from error


def inputs(store: Store, config: PipelineConfig) -> Mapping[str, str]:
    return {"packages of the detector": packages_of(config.detect.detector)}


def found_words(boxes: pd.DataFrame, images: int) -> list[str]:
    """How many boxes of each kind were found in how many of `images`; of text also where there are none."""
    parts = {"text": boxes[boxes["kind"] == "text"]} | dict(list(boxes.groupby("kind")))
    return [f"{len(part)} {kind} boxes in {part['image_id'].nunique()} of {images} images"
            for kind, part in parts.items()]  # fmt: skip


def run(context: Context) -> None:
    from xray_debug.run.engine import TableRows
    from xray_debug.text import DetectWorker, boxes_table

    config, store = context.config.detect, context.store
    frame, root = store.manifest(), store.dataset_root()
    table = frame[["image_id", "sha256"]].assign(file=[str(root / path) for path in frame["path"]])
    options = decided_options(context.scratch / "options.json", config.detector, config.options)
    worker = DetectWorker(config.detector, config.weights, options, config.batch_size)
    parts = context.engine.run(worker, TableRows(table), context.scratch / "boxes", "detect text", most=MOST)
    boxes = boxes_table(parts.rows(), config.detector)
    store.write_table("regions", boxes)
    unread = {row["image_id"]: row["problem"] for row in parts.rows(["image_id", "problem"]) if row["problem"]}
    store.write_json("unread", unread)  # an image that could not be read is not one without text
    store.write_json("second reader", second_for(config.detector))  # once a run: a resume does not change it
    context.facts["images"] = len(frame)
    for sentence in found_words(boxes, len(frame)):
        context.say(sentence)
    if unread:
        context.say(f"no text could be looked for in {len(unread)} images, the first: {next(iter(unread.values()))}")


STAGE = Stage(
    name="detect",
    help="Find burned-in text, and devices where the detector tells them apart.",
    needs=("manifest",),
    options=("detect.detector", "detect.weights", "detect.options"),
    outputs=("regions", "unread", "second reader"),
    work=run,
    inputs=inputs,
    plugins=lambda store, config: (("xray_debug.detectors", config.detect.detector),),
    parts=True,
)
