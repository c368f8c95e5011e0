"""prepare: reads and checks the dataset into a manifest, and what the model will see of each image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from xray_debug.config import PipelineConfig
from xray_debug.data.asked import negatives_said, relabelled, run_classes
from xray_debug.run.fingerprint import digest, file_digest, folder_digest
from xray_debug.run.folder import RunError
from xray_debug.run.store import Store
from xray_debug.stages.base import Context, Stage

MOST = 256  # images of a part
TABLES = (".csv", ".tsv", ".parquet", ".pq")


def check(config: PipelineConfig) -> None:
    if config.phantom is None or config.data is not None:
        data_folder(config)


def synthetic(config: PipelineConfig) -> bool:
    return config.data is None and config.phantom is not None


def data_folder(config: PipelineConfig) -> Path:
    if config.data is None:
        raise RunError(
            "no dataset: give --data DIR, or data: in the pipeline, or a phantom: section for the synthetic one"
        )
    root = Path(config.data)
    if not root.exists():
        raise RunError(f"{root}: expected a dataset, a folder or a table, found nothing")
    if not root.is_dir() and root.suffix.lower() not in TABLES:
        raise RunError(f"{root}: expected a folder, or a table ({', '.join(TABLES)}), found another file")
    return root


def classes_of(config: PipelineConfig) -> set[str]:
    """The classes that the dataset's labels name; none where they cannot be read, which running prepare tells."""
    from xray_debug.data.formats import read_rows
    from xray_debug.phantom import CLASSES

    if synthetic(config):
        return set(CLASSES if config.model is None else run_classes(config.model))
    try:
        settings = config.prepare.model_copy(update={"only_test": config.prepare.only_test or config.model is not None})
        rows = read_rows(data_folder(config), settings, tags=False)
        rows = rows if config.model is None else relabelled(rows, config.model)
        return {row["label"] for row in rows if row["label"]}
    except (OSError, ValueError):
        return set()


def inputs(store: Store, config: PipelineConfig) -> Mapping[str, str]:
    """A dataset is another where it has moved; later stages look at what prepare found in it, and need not run."""
    if synthetic(config):
        return {"data": "phantom"}
    root, images = data_folder(config), config.prepare.images
    found = {"data": folder_digest(root) if root.is_dir() else _table_digest(root, config)}
    if images:
        found["images"] = folder_digest(Path(images))
    return found | {"place of the data": str(root.resolve())}


def _table_digest(table: Path, config: PipelineConfig) -> str:
    """Of its contents; and, where the folder of images is not named, of sizes and times of the files it names."""
    from xray_debug.data.formats import images_folder, read_rows

    if config.prepare.images:
        return file_digest(table)
    root = images_folder(table, config.prepare)
    files = [root / row["path"] for row in read_rows(table, config.prepare, tags=False) if row["path"]]
    facts = [(str(file), found.st_size, found.st_mtime_ns) for file in files if (found := file.stat())]
    return digest([file_digest(table), facts])


def run(context: Context) -> None:
    import numpy as np
    import pandas as pd

    from xray_debug.data.check import unusable
    from xray_debug.data.formats import format_of, images_folder, read_rows
    from xray_debug.data.likeness import SHAPE
    from xray_debug.data.manifest import finish_manifest
    from xray_debug.data.scan import ScanWorker
    from xray_debug.data.views import Views
    from xray_debug.run.engine import TableRows

    config, store = context.config, context.store
    settings = config.prepare.model_copy(deep=True)
    if synthetic(config):
        root = images = _draw(context)
        settings.extra_tests.setdefault("reversed", "reversed")
        store.write_json("dataset", {"root": root.name})
    else:
        root = data_folder(config).resolve()
        kind, images = format_of(root, settings), images_folder(root, settings).resolve()
        store.write_json("dataset", {"root": str(images), "data": str(root), "format": kind,
                                     "options": settings.model_dump(mode="json")})  # fmt: skip
    settings.only_test = settings.only_test or config.model is not None
    rows = read_rows(root, settings)
    given = {row["image_id"]: row["label"] for row in rows}
    if config.model is not None:
        if said := negatives_said(rows, config.model):
            context.say(f"WARNING: {said}")
        rows = _for_testing(context, relabelled(rows, config.model))
    todo = [row for row in rows if not row["problem"]]
    size = config.view.size
    worker = ScanWorker(str(images), config.view.model_dump())
    table = pd.DataFrame(todo, columns=["image_id", "path"])
    parts = context.engine.run(
        worker, TableRows(table), store.path("views"), "read the dataset", most=MOST,
        arrays={"view": ((size, size), np.uint8), "outline": (SHAPE, np.uint8)},
    )  # fmt: skip
    facts = parts.table()
    outlines = Views(parts.arrays("outline")) if todo else None
    bar = context.engine.progress("compare images that look alike")
    frame = finish_manifest(rows, facts.to_dict("records"), settings, config.seed, outlines, bar)
    place = {row["image_id"]: index for index, row in enumerate(todo)}
    frame["view_index"] = [place.get(name, -1) for name in frame["image_id"]]
    if config.model is not None:  # whose classes are the labels; the cleaned dataset has the dataset's own
        frame["given_label"] = frame["image_id"].map(given)
    if faults := unusable(frame, settings.only_test):
        more = f" (and {len(faults) - 1} more; xray-debug check names all)" if len(faults) > 1 else ""
        raise RunError(f"{root}: {faults[0]}{more}")
    store.write_table("manifest", frame)
    context.facts["images"] = len(frame)
    context.say(f"{len(frame)} images listed, {int((frame['problem'] != '').sum())} set aside")
    if any(not row["split"] for row in rows):
        counts = frame[frame["problem"] == ""]["split"].value_counts()
        context.say("the dataset brings no test: cut by patient into " + ", ".join(
            f"{counts.get(name, 0)} {name}" for name in ("train", "val", "test")))  # fmt: skip


def _for_testing(context: Context, rows: list[dict]) -> list[dict]:
    """All images are for testing a given model, where the dataset does not say which are."""
    if rows and not any(row["split"] == "test" for row in rows):
        context.say(f"the dataset names no test images: all {len(rows)} are used to test your model; where it was "
                    "trained on some of them, its score is too good")  # fmt: skip
        return [row | {"split": "test", "test_set": "test"} for row in rows]
    return rows


def _draw(context: Context) -> Path:
    """The synthetic dataset; its label files come last and vouch for the films."""
    import pandas as pd

    from xray_debug.phantom.dataset import PhantomWorker, finish_phantom, phantom_rows
    from xray_debug.run.engine import TableRows

    root, config = context.store.path("phantom"), context.config
    if not (root / "truth" / "boxes.json").exists():
        rows = phantom_rows(config.phantom, config.seed)
        worker = PhantomWorker(str(root), config.phantom, config.seed)
        whole = replace(context.engine, part=None, merge=False)  # everyone who shares the work needs all films
        parts = whole.run(worker, TableRows(pd.DataFrame(rows)), context.scratch / "films", "draw the phantom", most=64)
        finish_phantom(root, rows, [row["entries"] for row in parts.rows(["entries"])])
    return root


STAGE = Stage(
    name="prepare",
    help="Read and check the dataset into a manifest.",
    needs=(),
    options=("prepare", "view", "phantom", "model.classes", "model.findings", "model.labels", "model.output"),
    outputs=("manifest", "views", "dataset"),
    work=run,
    inputs=inputs,
    skips=lambda config: () if synthetic(config) else ("xray_debug.phantom",),
    plugins=lambda store, config: (("xray_debug.formats", config.prepare.format),),
    parts=True,
)
