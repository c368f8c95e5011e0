"""The repaired models audited again, by the same checks on the same cases as the model of the original images.

The saliency maps are of the original model, so what needs a map is left out; no verdict rests on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xray_debug.data.classes import class_order
from xray_debug.run.fingerprint import digest, file_digest
from xray_debug.run.store import Store
from xray_debug.stages import audit
from xray_debug.stages.base import Context

if TYPE_CHECKING:
    import pandas as pd

    from xray_debug.audit.auditor import AuditResult

ORIGINAL = "original"


def has_audit(store: Store) -> bool:
    return store.has("cases") and store.has("regions")


def state(store: Store) -> dict[str, str]:
    """What the audit and the detection before it have given, for the fingerprint."""
    outputs = [(name, (store.record(stage) or {}).get("outputs", {}).get(name, "absent"))
               for stage, name in (("audit", "cases"), ("audit", "verdict"), ("detect", "regions"))]  # fmt: skip
    return {f"{name} for retrain.repairs": value for name, value in outputs}


def audit_again(context: Context, frame: pd.DataFrame, models: Sequence[tuple[str, Path]]) -> None:
    """Writes cases and checks of every model, and of the original one on the same cases, each with its `model`.

    `frame`: the manifest without what is left out of every score; `models`: name and folder. Of the dataset's own
    test set, or the first there is, at most retrain.audit_cases cases.
    """
    import pandas as pd

    from xray_debug.audit.auditor import choose_cases

    store, config = context.store, context.config
    before = store.table("cases")
    before = before[(before["problem"] == "") & before["image_id"].isin(frame["image_id"])]
    if before.empty:
        context.say("the repaired models are not audited again: no case of the audit was measured")
        return
    own = "test" if (before["test_set"] == "test").any() else before["test_set"].min()
    before = before[before["test_set"] == own].reset_index(drop=True)
    before = choose_cases(before, config.retrain.audit_cases, config.seed).reset_index(drop=True)
    classes = class_order(frame["label"])
    results = {ORIGINAL: _judged_anew(before, classes, context)}
    cases = audit.cases_of(store).set_index("image_id").loc[before["image_id"]].reset_index()
    bank = _bank(context)
    for name, folder in models:
        results[name] = _audited(context, cases, classes, name, folder, bank)
        shown = int(results[name].checks["shown"].sum())
        context.say(f"{name}, audited again on {len(cases)} cases: {shown or 'no'} shortcut{'s' * (shown != 1)} shown")
    for what in ("cases", "checks"):
        tables = [getattr(result, what).assign(model=name) for name, result in results.items()]
        store.write_table(f"repaired {what}", pd.concat(tables, ignore_index=True))


def _judged_anew(cases: pd.DataFrame, classes: list[str], context: Context) -> AuditResult:
    """What the audit measured, judged on these cases alone."""
    from xray_debug.audit.auditor import AuditResult
    from xray_debug.audit.checks_table import checks_table
    from xray_debug.audit.verdict import dataset_verdict

    verdict, judged = dataset_verdict(cases, classes, context.config.audit, context.config.seed)
    return AuditResult(cases, checks_table(judged), verdict, 0)


def _bank(context: Context) -> str | None:
    """The bank of the audit: the same markers are pasted."""
    from xray_debug.audit.auditor import choose_cases

    store, config = context.store, context.config
    chosen = choose_cases(audit.cases_of(store), config.audit.max_cases, config.seed)
    readable = chosen[~chosen["image_id"].isin(list(store.json("unread")))].reset_index(drop=True)
    return audit.bank(context, readable, store.boxes())


def _audited(context: Context, cases: pd.DataFrame, classes: list[str], name: str, folder: Path,
             bank: str | None) -> AuditResult:  # fmt: skip
    from xray_debug.audit.auditor import finish
    from xray_debug.audit.worker import AuditWorker
    from xray_debug.run.engine import TableRows

    store, config = context.store, context.config
    boxes, devices = store.boxes(), store.boxes("device")

    def add(rows: list[dict]) -> list[dict]:
        return [{**row, "boxes": boxes.get(row["image_id"], ()), "devices": devices.get(row["image_id"], ()),
                 "saliency": None, "deletion": None, "insertion": None} for row in rows]  # fmt: skip

    looks = store.json("verdict").get("looks")  # moved as far as they were for the original model
    worker = AuditWorker(str(folder), config.audit.model_dump(), config.clean.model_dump(), config.seed, bank,
                         context.device, looks=looks)  # fmt: skip
    key = digest([name, file_digest(folder / "model.safetensors")])
    parts = context.engine.run(worker, TableRows(cases, add), context.scratch / "audit" / name, f"audit {name}", key,
                               most=audit.MOST)  # fmt: skip
    table = parts.table(without=("patch",)).to_dict("records")
    problems = {row["image_id"]: row["problem"] for row in table if row["problem"]}
    rows = [{key: value for key, value in row.items() if key != "problem"} for row in table if not row["problem"]]
    return finish(cases, rows, classes, config.audit, config.seed, problems, looks=looks)
