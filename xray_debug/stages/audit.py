"""audit: interventions on the test images, controls, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from xray_debug.config import PipelineConfig
from xray_debug.data.classes import class_order
from xray_debug.data.files import write_table
from xray_debug.run.folder import RunError
from xray_debug.run.store import Store
from xray_debug.stages.base import Context, Stage, model_plugin

if TYPE_CHECKING:
    import pandas as pd

MOST = 32
CHECKS = "xray_debug.checks"  # entry points


def check(config: PipelineConfig) -> None:
    """RunError, ValueError or ImportError, one sentence: no such regions, or a check of another package is broken."""
    _check_regions(config)
    if any(metadata.entry_points(group=CHECKS)):  # else nothing of the audit need be imported to know
        from xray_debug.audit.checks import foreign_checks

        foreign_checks(config.audit)  # a broken one is told now, and not after training


def _check_regions(config: PipelineConfig) -> None:
    if config.audit.regions is not None and not Path(config.audit.regions).exists():
        raise RunError(f"audit.regions: {config.audit.regions}: no such folder of masks or table of boxes")


def inputs(store: Store, config: PipelineConfig) -> Mapping[str, str]:
    _check_regions(config)  # the contents of the user's masks or boxes are inputs as every file that an option names
    return {}


def cases_of(store: Store) -> pd.DataFrame:
    """The usable test images with what earlier stages say of them."""
    frame, root = store.manifest(), store.dataset_root()
    names = ["image_id", "patient_id", "label", "source", "test_set", "sha256", "path"]
    cases = frame[frame["split"] == "test"][names].copy()
    cases["file"] = [str(root / path) for path in cases.pop("path")]
    explained = store.table("explanations", ["image_id", "deletion", "insertion"])
    return cases.merge(explained, on="image_id", how="left").reset_index(drop=True)


def bank(context: Context, cases: pd.DataFrame, boxes: dict) -> str | None:
    """The Parquet file of the markers that are pasted, made first; None where nothing is pasted."""
    import pandas as pd

    from xray_debug.audit.bank import BankWorker, bank_candidates, bank_of, needs_bank
    from xray_debug.run.engine import TableRows

    config, file = context.config, context.scratch / "bank.parquet"
    if not needs_bank(config.audit):
        return None
    if not file.exists():
        table = bank_candidates(cases, {name for name, own in boxes.items() if len(own)}, config.seed)
        worker = BankWorker(config.view.model_dump(), config.clean.model_dump(), config.seed)
        whole = replace(context.engine, part=None, merge=False)  # small: everyone who shares the work makes it
        rows = TableRows(table, lambda part: [{**row, "boxes": boxes[row["image_id"]]} for row in part])
        parts = whole.run(worker, rows, context.scratch / "bank", "collect markers", most=MOST)
        write_table(file, pd.DataFrame(bank_of([row for row in parts.rows() if not row["problem"]])))
    return str(file)


def run(context: Context) -> None:
    import pandas as pd

    from xray_debug.audit.auditor import check_cases, choose_cases, finish
    from xray_debug.audit.checks import foreign_checks
    from xray_debug.audit.clusters.collect import find_candidates
    from xray_debug.audit.knowledge import ask_features, what_features_tell
    from xray_debug.audit.look.collect import looks_of_views
    from xray_debug.audit.look.films import films_of_views
    from xray_debug.audit.no_evidence import no_evidence
    from xray_debug.audit.worker import AuditWorker
    from xray_debug.data.view import ModelView
    from xray_debug.models.inference import load_for_inference
    from xray_debug.run.engine import TableRows

    store, config = context.store, context.config
    if brought := foreign_checks(config.audit):
        named = ", ".join(f"{name} ({origin})" for name, origin in brought.items())
        context.say(f"checks of other packages take part: {named}")
    frame, boxes, devices = store.manifest(), store.boxes(), store.boxes("device")
    cases = cases_of(store)
    check_cases(cases)
    chosen = choose_cases(cases, config.audit.max_cases, config.seed)
    unread = {name: f"no text could be looked for: {why}" for name, why in store.json("unread").items()}
    readable = chosen[~chosen["image_id"].isin(list(unread))].reset_index(drop=True)
    pasted = bank(context, readable, boxes) if len(readable) else None
    looks = looks_of_views(frame, boxes, store.views(), ModelView.from_config(config.view), config.audit,
                           config.seed)  # fmt: skip

    def add(rows: list[dict]) -> list[dict]:
        return [{**row, "boxes": boxes.get(row["image_id"], ()), "devices": devices.get(row["image_id"], ()),
                 "saliency": store.saliency(row["image_id"])} for row in rows]  # fmt: skip

    worker = AuditWorker(
        str(store.path("model")), config.audit.model_dump(), config.clean.model_dump(), config.seed, pasted,
        context.device, context.trusted, looks,
    )  # fmt: skip
    parts = context.engine.run(worker, TableRows(readable, add), store.path("patches"), "audit", most=MOST)
    table = parts.table(without=("patch",)).to_dict("records")
    problems = {row["image_id"]: row["problem"] for row in table if row["problem"]}
    problems |= {name: why for name, why in unread.items() if name in set(chosen["image_id"])}
    rows = [{name: value for name, value in row.items() if name != "problem"} for row in table if not row["problem"]]
    films = films_of_views(frame, boxes, store.views(), ModelView.from_config(config.view), config.seed)
    evidence = no_evidence(frame, boxes, config.seed, config.audit.permutations, store.views(), films)
    model = load_for_inference(store.path("model"), context.device, context.trusted)
    known = pd.concat([frame.reset_index(drop=True), films], axis=1)
    features = config.audit.features or config.audit.clusters and rows
    asked = ask_features(model, known, store.views(), config.seed) if features else None
    told = what_features_tell(asked, known, config.seed, config.audit.permutations) if config.audit.features else None
    clusters = None
    if config.audit.clusters and rows:
        measured = chosen[["image_id", "label"]].merge(pd.DataFrame(rows), on="image_id")
        explained = store.table("explanations", ["image_id", "target", "hardly_moved"])
        clusters = find_candidates(store.saliency_maps(["image_id", "saliency"]), explained, measured, frame,
                                    asked.features, asked.rows, list(model.classes), config.seed)  # fmt: skip
    result = finish(chosen, rows, class_order(frame["label"]), config.audit, config.seed, problems, evidence,
                    looks, told, clusters)  # fmt: skip
    store.write_table("cases", result.cases)
    store.write_table("checks", result.checks)
    store.write_json("verdict", result.verdict)
    context.facts["images"] = len(result.cases)
    flagged = int(result.cases["flagged"].sum())
    context.say(f"{flagged} of {len(result.cases)} cases flagged, {result.passes} forward passes")


STAGE = Stage(
    name="audit",
    help="Interventions, controls and the verdict.",
    needs=("manifest", "views", "weights", "description", "explanations", "maps", "regions", "unread"),
    options=("audit", "view", "clean.method", "clean.radius", "clean.dilation", "clean.min_dilation",
             "clean.shape"),
    outputs=("cases", "checks", "verdict", "patches"),
    work=run,
    inputs=inputs,
    plugins=lambda store, config: ((CHECKS, None), model_plugin(store, config)),
    parts=True,
)  # fmt: skip
