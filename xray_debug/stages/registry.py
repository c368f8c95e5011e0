"""One function per stage: configuration and earlier folders in, one folder out. Only this module knows the order."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xray_debug.config import PipelineConfig
from xray_debug.run.folder import Fingerprint, Run, RunError, code_digest, digest, folder_digest, write_json
from xray_debug.run.tables import Context, boxes_by_image, dataset_root, manifest, read_maps, text_boxes, write_table
from xray_debug.stages.training import image_cache, retrain, train


@dataclass(frozen=True)
class Stage:
    name: str
    needs: tuple[str, ...]
    sections: tuple[str, ...]  # of the configuration
    code: tuple[str, ...]  # modules whose change makes the result another
    work: Callable[[Context, Path], None]


# ---------------------------------------------------------------- prepare


def prepare(context: Context, folder: Path) -> None:
    from xray_debug.data.formats.covidx import build_manifest
    from xray_debug.phantom.dataset import write_phantom

    config = context.config
    settings = config.prepare.model_copy(deep=True)
    if config.data is None and config.phantom is not None:
        write_phantom(folder / "phantom", config.phantom, config.seed, context.progress("draw the phantom"))
        root, stored = folder / "phantom", "prepare/phantom"
        settings.extra_tests.setdefault("reversed", "reversed")
    else:
        root = _data_folder(config)
        stored = str(root.resolve())
    frame = build_manifest(root, settings, config.seed, context.progress("read the dataset"))
    if not (frame["problem"] == "").any():
        raise RunError(f"{root}: none of the {len(frame)} listed images can be used; see xray-debug check {root}")
    write_table(frame, folder / "manifest.parquet")
    write_json(folder / "dataset.json", {"root": stored})
    aside = int((frame["problem"] != "").sum())
    context.say(f"{len(frame)} images listed, {aside} set aside")


def _data_folder(config: PipelineConfig) -> Path:
    if config.data is None:
        raise RunError(
            "no dataset: give --data DIR, or data: in the pipeline, or a phantom: section for the synthetic one"
        )
    root = Path(config.data)
    if not root.is_dir():
        raise RunError(f"{root}: expected a COVIDx folder, found {'a file' if root.exists() else 'nothing'}")
    return root


# ---------------------------------------------------------------- explain


def selected_cases(config: PipelineConfig, predictions: pd.DataFrame) -> pd.DataFrame:
    """The test images to explain, as `explain.select` says."""
    kind, _, name = config.explain.select.partition(":")
    first = predictions[predictions["seed"] == config.all_seeds[0]]
    if kind in ("predicted", "label"):
        known = set(first["label"]) | set(first["predicted"])
        if name not in known:
            raise RunError(f"explain.select: expected one of the classes {sorted(known)}, got {name!r}")
        chosen = first[first[kind] == name]
    elif kind == "wrong":
        chosen = first[first["predicted"] != first["label"]]
    elif kind == "all":
        chosen = first
    else:
        raise RunError(
            f"explain.select: expected predicted:CLASS, label:CLASS, wrong or all, got {config.explain.select!r}"
        )
    if config.explain.max_cases is None or len(chosen) <= config.explain.max_cases:
        return chosen
    spread = np.linspace(0, len(chosen) - 1, config.explain.max_cases)  # evenly, so that no test set is left out
    return chosen.iloc[spread.round().astype(int)]


def explain(context: Context, folder: Path) -> None:
    from xray_debug.models.explainer import Explainer

    run, config = context.run, context.config
    frame = manifest(run)
    row_of = {name: i for i, name in enumerate(frame["image_id"])}
    images = image_cache(context, frame, dataset_root(run), run.path("train", "cache.npy"), "decode and resize")
    chosen = selected_cases(config, pd.read_parquet(run.path("train", "predictions.parquet")))
    explainer = Explainer(run.path("train"), config.explain, config.seed, context.device)
    cases = [(r.image_id, images[row_of[r.image_id]], r.predicted) for r in chosen.itertuples()]
    table = explainer.explain_all(cases, folder / "maps", context.progress("explain"))
    write_table(table, folder / "explanations.parquet")
    spent = float(table["seconds"].sum()) if len(table) else 0.0
    if spent:
        context.say(f"{len(table)} cases explained, {len(table) / spent:.2f} images per second")


# ---------------------------------------------------------------- detect, audit, clean, report


def load_reader(context: Context, name: str):
    from xray_debug.text import load_detector

    settings = context.config.detect
    same = name == settings.detector
    return load_detector(name, weights=settings.weights if same else None, **(settings.options if same else {}))


def detect(context: Context, folder: Path) -> None:
    """Boxes of every usable image; saved in parts, so that a killed stage goes on."""
    from xray_debug.text import detect_table

    root, frame = dataset_root(context.run), manifest(context.run)
    detector = load_reader(context, context.config.detect.detector)
    parts, size, report = [], 256, context.progress("detect text")
    for start in range(0, len(frame), size):
        file = folder / f"part-{start:07d}.parquet"
        block = frame.iloc[start : start + size]
        if not file.exists():
            items = [(row.image_id, root / row.path) for row in block.itertuples()]
            found, problems = detect_table(detector, items)
            for image_id, problem in problems.items():
                context.say(f"{image_id}: {problem}")
            write_table(found, file)
        parts.append(file)
        report(min(start + size, len(frame)), len(frame))
    tables = [pd.read_parquet(file) for file in parts]
    boxes = pd.concat(tables, ignore_index=True)
    write_table(boxes, folder / "text_boxes.parquet")
    for file in parts:
        file.unlink()
    context.say(f"{len(boxes)} text boxes in {boxes['image_id'].nunique()} of {len(frame)} images")


def audit(context: Context, folder: Path) -> None:
    from xray_debug.audit.auditor import audit_dataset, no_evidence
    from xray_debug.models import load_checkpoint

    run, config = context.run, context.config
    root, frame = dataset_root(run), manifest(run)
    boxes = boxes_by_image(text_boxes(run))
    model = load_checkpoint(run.path("train")).to(context.device)
    cases = frame[frame["split"] == "test"][["image_id", "patient_id", "label", "source", "test_set", "path"]].copy()
    cases["file"] = [str(root / p) for p in cases.pop("path")]
    journal = folder / "cases.jsonl"  # finished cases of an interrupted audit
    result = audit_dataset(
        model, cases.reset_index(drop=True), boxes, read_maps(run.path("explain", "maps")), config.audit, config.clean,
        config.seed, context.progress("audit"), journal,
    )  # fmt: skip
    seen = image_cache(context, frame, root, run.path("train", "cache.npy"), "decode and resize")
    evidence = no_evidence(frame, boxes, config.seed, config.audit.permutations, seen)
    verdict = {**result.verdict, "no_evidence": evidence}
    write_table(result.cases, folder / "cases.parquet")
    write_json(folder / "verdict.json", verdict)
    journal.unlink(missing_ok=True)
    flagged = int(result.cases["flagged"].sum())
    context.say(f"{flagged} of {len(result.cases)} cases flagged, {result.passes} forward passes")


def clean(context: Context, folder: Path) -> None:
    from xray_debug.cleaning.dataset import clean_dataset, inpainting_probe
    from xray_debug.review.decisions import ReviewDB

    run, config = context.run, context.config
    root, frame, boxes = dataset_root(run), manifest(run), text_boxes(run)
    review = run.path("review.sqlite")
    decisions = ReviewDB(review).decisions() if review.exists() else None
    todo = [("dataset", False)] + ([("control", True)] if config.clean.control else [])
    for name, control in todo:
        table = clean_dataset(
            frame, root, boxes, folder / name, config.clean, decisions, config.seed,
            context.progress(f"write the {'control' if control else 'cleaned'} images"), control=control,
        )  # fmt: skip
        if not control:
            changes = table
    if config.detect.second is not None and len(changes):
        changes = read_again(context, changes, folder / "dataset")
    write_table(changes, folder / "changes.parquet")
    write_json(
        folder / "probe.json", inpainting_probe(changes, root, folder / "dataset", frame, config.clean, config.seed)
    )
    context.say(f"{len(changes)} of {len(frame)} images repaired")


def read_again(context: Context, changes: pd.DataFrame, cleaned: Path) -> pd.DataFrame:
    """The change log with `residual`, the text that an independent detector finds after cleaning; NA where not read."""
    from xray_debug.cleaning.dataset import add_residual

    settings = context.config.detect
    if settings.second == settings.detector:
        raise RunError(
            f"detect.second: expected another detector than detect.detector, got {settings.second!r} for both"
        )
    rows = np.arange(len(changes))
    if settings.second_images is not None and settings.second_images < len(rows):
        rows = np.linspace(0, len(rows) - 1, settings.second_images).round().astype(int)
    try:
        detector = load_reader(context, settings.second)
    except ImportError as error:  # the second reader is an extra; the repair itself does not depend on it
        context.say(f"cleaned images are not read again: {error}")
        return changes
    read = add_residual(changes.iloc[rows], cleaned, detector, context.progress("read again"))
    return changes.assign(residual=read["residual"].astype("Int64"))


def report(context: Context, folder: Path) -> None:
    from xray_debug.report.report import write_report

    write_report(context.run.folder, context.config)


LEARNING = ("models", "training", "dataset", "augmentation", "metrics", "stats", "image")
ERASING = ("cleaning", "inpainting", "placement")
DRAWING = ("phantom",)  # of a synthetic dataset alone

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("prepare", (), ("prepare",), ("covidx", "manifest", "image", "images"), prepare),
        Stage("train", ("prepare",), ("train",), LEARNING, train),
        Stage("explain", ("train",), ("explain",), ("saliency", "explaining"), explain),
        Stage("detect", ("prepare",), ("detect",), ("text", "images", "boxes"), detect),
        Stage(
            "audit",
            ("train", "explain", "detect"),
            ("audit", "clean"),
            ("audit", "interventions", "verdict", "evidence", "stats", *ERASING),
            audit,
        ),
        Stage("clean", ("prepare", "detect"), ("clean", "detect"), ("review", "residue", "covidx", *ERASING), clean),
        Stage("retrain", ("train", "clean"), ("train", "clean", "retrain"), LEARNING, retrain),
        Stage(
            "report",
            ("train", "explain", "detect", "audit", "clean", "retrain"),
            ("report",),
            ("report", "templates"),
            report,
        ),
    )
}


def fingerprint(stage: Stage, run: Run, config: PipelineConfig) -> Fingerprint:
    """What `stage` depends on, as things stand now."""
    inputs = {name: (run.record(name) or {}).get("fingerprint", "absent") for name in stage.needs}
    parameters: dict[str, Any] = {name: getattr(config, name).model_dump(mode="json") for name in stage.sections}
    parameters["seed"] = config.seed
    code = stage.code
    if stage.name == "prepare":
        phantom = config.data is None and config.phantom is not None
        inputs["data"] = "phantom" if phantom else folder_digest(_data_folder(config))
        parameters["phantom"] = config.phantom.model_dump(mode="json") if phantom else None
        code += DRAWING if phantom else ()
    if stage.name in ("train", "retrain"):
        parameters["seeds"] = config.all_seeds
    if stage.name == "clean":
        inputs["review"] = _decisions_digest(run)
    return Fingerprint(inputs, parameters, code_digest(code))


def _decisions_digest(run: Run) -> str:
    from xray_debug.review.decisions import ReviewDB

    file = run.path("review.sqlite")
    if not file.exists():
        return "none"
    return digest(json.loads(ReviewDB(file).decisions().to_json(orient="records")))


def plan(run: Run, config: PipelineConfig, first: str | None, only: str | None, force: bool) -> list[tuple[Stage, str]]:
    """Every chosen stage with why it would run ("" = it would be skipped)."""
    chosen = [STAGES[only]] if only else list(STAGES.values())
    rows, changed = [], set()
    from_here = force and first is None
    for stage in chosen:
        from_here = from_here or stage.name == first
        if from_here:
            why = "asked for"
        elif changed & set(stage.needs):
            why = f"stage {', '.join(sorted(changed & set(stage.needs)))} runs before it"
        else:
            why = run.reason_to_run(stage.name, fingerprint(stage, run, config))
        if why:
            changed.add(stage.name)
        rows.append((stage, why))
    return rows


def run_stages(context: Context, first: str | None = None, only: str | None = None, force: bool = False) -> list[str]:
    """Runs what `plan` says, in order; returns the names of the stages that ran."""
    ran = []
    again = force and first is None
    chosen = [STAGES[only]] if only else list(STAGES.values())
    for stage in chosen:
        again = again or stage.name == first
        for needed in stage.needs:
            context.run.require(needed, stage.name)
        mark = fingerprint(stage, context.run, context.config)
        why = "asked for" if again else context.run.reason_to_run(stage.name, mark)
        if not why:
            context.say(f"{stage.name}: up to date")
            continue
        context.say(f"{stage.name}: {why}")
        with context.run.stage(stage.name, mark, context.config.seed, context.device, fresh=again) as folder:
            stage.work(context, folder)
        ran.append(stage.name)
    return ran
