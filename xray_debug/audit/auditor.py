"""The audit: interventions on every case, measured against controls, and the verdict drawn from them.

A saliency map raises a suspicion; a claim is made only from what the model does when text (or another region) is
removed, revealed or pasted, compared with what it does when the same is done elsewhere. The engine runs BankWorker and
AuditWorker over the images and calls `finish`; `audit_dataset` does the same in one process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from xray_debug.audit.bank import BankWorker, as_donor, bank_candidates, bank_of, needs_bank
from xray_debug.audit.checks_table import checks_table
from xray_debug.audit.flags import add_flags
from xray_debug.audit.look.collect import make_looks
from xray_debug.audit.swaps import Donor
from xray_debug.audit.verdict import dataset_verdict
from xray_debug.audit.worker import AuditWorker
from xray_debug.config import AuditConfig, CleanConfig

_COLUMNS = ("image_id", "label", "source", "test_set", "file")
_HANDED_OVER = ("file", "path", "sha256", "boxes", "devices", "saliency", "deletion", "insertion")  # not in the table
Progress = Callable[[int, int], None]
Row = dict[str, Any]


@dataclass(frozen=True)
class AuditResult:
    """`cases`: one row per audited image. `checks`: see checks_table. `verdict`: see verdict.set_verdict.

    `passes`: images sent to the model.
    """

    cases: pd.DataFrame
    checks: pd.DataFrame
    verdict: dict
    passes: int


def choose_cases(cases: pd.DataFrame, limit: int | None, seed: int) -> pd.DataFrame:
    """At most `limit` rows, spread evenly over test sets and labels, in the order given."""
    if limit is None or len(cases) <= limit:
        return cases
    order = cases.sample(frac=1, random_state=seed % 2**32)
    turn = order.groupby(["test_set", "label"]).cumcount()
    return cases.loc[sorted(turn.sort_values(kind="stable").index[:limit])]


def check_cases(cases: pd.DataFrame) -> None:
    """ValueError: missing columns or a repeated image_id."""
    missing = [name for name in _COLUMNS if name not in cases]
    if missing:
        raise ValueError(f"cases: expected columns {' '.join(_COLUMNS)}, {', '.join(missing)} missing")
    if cases["image_id"].duplicated().any():
        raise ValueError(f"cases: image_id {cases['image_id'][cases['image_id'].duplicated()].iloc[0]} occurs twice")


def finish(
    cases: pd.DataFrame,
    rows: Iterable[Row],
    classes: Sequence[str],
    config: AuditConfig,
    seed: int = 0,
    problems: Mapping[str, str] | None = None,
    evidence: dict | None = None,
    looks: dict | None = None,
    features: dict | None = None,
    clusters: dict | None = None,
) -> AuditResult:
    """From measured images to flags, checks and verdict.

    `cases`: the audited images (image_id label source test_set, and patient_id where it is known). `rows`: what
    AuditWorker gave, in any order. `problems`: image_id -> sentence, of images that could not be measured; they are
    rows with nothing but their `problem`. `evidence`: what no_evidence found, `looks`: what is typical of each
    class, `features`: what the model's features tell (knowledge.py), and `clusters`: candidates that nobody named
    (clusters/collect.py), to lie beside the verdict.
    """
    table = _table(cases, {row["image_id"]: row for row in rows}, dict(problems or {}), config)
    verdict, judged = dataset_verdict(table, list(classes), config, seed)
    if evidence is not None:
        verdict = {**verdict, "no_evidence": evidence}
    if looks is not None:
        verdict = {**verdict, "looks": looks}
    if features is not None:
        verdict = {**verdict, "features": features}
    if clusters is not None:
        verdict = {**verdict, "clusters": clusters}
    return AuditResult(table, checks_table(judged, evidence, features, clusters), verdict, int(table["passes"].sum()))


def _table(cases: pd.DataFrame, rows: dict[str, Row], problems: dict[str, str], config: AuditConfig) -> pd.DataFrame:
    names = cases["image_id"].tolist()
    if not rows:
        raise ValueError(f"no image could be audited: {next(iter(problems.values()), 'there is none')}")
    unknown = [name for name in names if name not in rows and name not in problems]
    if unknown:
        raise ValueError(f"{unknown[0]}: neither measured nor set aside ({len(unknown)} of {len(names)} images)")
    columns = list(dict.fromkeys(key for row in rows.values() for key in row if key not in ("image_id", "patch")))
    measured = pd.DataFrame([rows.get(name, {}) for name in names], columns=columns, index=cases.index)
    table = pd.concat([cases[[c for c in cases if c not in _HANDED_OVER]], measured], axis=1)
    table.insert(4, "problem", [problems.get(name, "") for name in names])
    for name in ("predicted", "text_visible", "text_hidden", "text_boxes", "controls"):
        if name in table:
            table[name] = table[name].fillna("" if name == "predicted" else 0)
    return add_flags(table, config).reset_index(drop=True)


def audit_dataset(
    model,
    cases: pd.DataFrame,
    boxes: Mapping[str, Iterable],
    saliency: Mapping[str, np.ndarray],
    config: AuditConfig,
    clean: CleanConfig,
    seed: int = 0,
    progress: Progress | None = None,
    areas: Mapping[str, tuple[float, float]] | None = None,
    devices: Mapping[str, Iterable] | None = None,
) -> AuditResult:
    """Audits `cases` (columns image_id label source test_set file; unique image_id) in this process.

    `boxes`: image_id -> (N, 4) text boxes in image pixels. `saliency`: image_id -> (m, m) in [0, 1]; images without a
    map lack the measures that need one. `areas`: image_id -> (deletion, insertion) of the explanation's curves.
    `devices`: image_id -> (N, 4) boxes of devices, a region of its own. A file that cannot be used is a row with
    `problem` set and nothing measured.
    ValueError: missing columns, repeated image_id, or options that cost more than 200 forward passes a case.
    """
    check_cases(cases)
    chosen = choose_cases(cases.reset_index(drop=True), config.max_cases, seed)
    looks = make_looks(chosen, boxes, model.view, config, seed)
    worker = AuditWorker("", config.model_dump(), clean.model_dump(), seed, looks=looks)
    worker.start(model, make_bank(chosen, boxes, model.view, config, clean, seed))
    rows, problems = [], {}
    for index, row in enumerate(chosen.to_dict("records")):
        name = row["image_id"]
        deletion, insertion = (areas or {}).get(name, (None, None))
        try:
            rows.append(worker.audit({**row, "boxes": boxes.get(name, ()), "saliency": saliency.get(name),
                                      "devices": (devices or {}).get(name, ()),
                                      "deletion": deletion, "insertion": insertion}))
        except ValueError as error:  # an ImageError, or a mask of the user's that does not fit
            problems[name] = str(error)
        if progress is not None:
            progress(index + 1, len(chosen))
    return finish(chosen, rows, model.classes, config, seed, problems, looks=looks)


def make_bank(cases: pd.DataFrame, boxes: Mapping[str, Iterable], view, config: AuditConfig, clean: CleanConfig,
              seed: int = 0) -> list[Donor]:
    """The donors of `cases`, made in this process; none where no check pastes markers."""
    if not needs_bank(config):
        return []
    worker = BankWorker(dataclasses.asdict(view), clean.model_dump(), seed)
    worker.open()
    found = []
    for row in bank_candidates(cases, {name for name, own in boxes.items() if len(own)}, seed).to_dict("records"):
        try:
            found += worker([{**row, "boxes": boxes[row["image_id"]]}])
        except ValueError:  # the case itself reports what is wrong with it
            continue
    return [as_donor(row) for row in bank_of(found)]
