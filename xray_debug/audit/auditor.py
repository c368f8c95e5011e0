"""The audit: interventions on every case, measured against controls, and the verdict drawn from them.

A saliency map raises a suspicion; a claim is made only from what the model does when text (or another region) is
removed, revealed or pasted, compared with what it does when the same is done elsewhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from xray_debug.audit.flags import add_flags
from xray_debug.audit.frames import (
    CURVE_STEPS,
    REMOVALS,
    CaseImages,
    Frames,
    add_salient_frames,
    add_text_frames,
    blacked_out,
    prepare_case,
)
from xray_debug.audit.measures import Outcomes, measure
from xray_debug.audit.no_evidence import no_evidence
from xray_debug.audit.regions import (
    CONTROLS,
    MAX_USER_REGIONS,
    UserRegions,
    add_region_frames,
    load_regions,
    region_masks,
)
from xray_debug.audit.swaps import Donor, choose_donors, make_donor, paste
from xray_debug.audit.verdict import set_verdict
from xray_debug.cleaning.controls import image_seed
from xray_debug.config import AuditConfig, CleanConfig
from xray_debug.data.boxes import as_boxes
from xray_debug.data.images import ImageError, read_image
from xray_debug.saliency.images import blurred

__all__ = ["AuditResult", "audit_dataset", "no_evidence"]

BANK = 60  # images whose markers are kept for pasting
MAX_PASSES = 200
_COLUMNS = ("image_id", "label", "source", "test_set", "file")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class AuditResult:
    """`cases`: one row per audited image. `verdict`: see verdict.set_verdict. `passes`: images sent to the model."""

    cases: pd.DataFrame
    verdict: dict
    passes: int


@dataclass
class Case:
    """One case ready for the model."""

    images: CaseImages
    frames: Frames
    donors: list[Donor]
    regions: dict[str, np.ndarray]


class Auditor:
    """What is the same for all cases: model, options, the markers to paste, the user's regions."""

    def __init__(self, model, boxes: Mapping, saliency: Mapping, config: AuditConfig, clean: CleanConfig, seed: int):
        self.model, self.view, self.classes = model, model.view, list(model.classes)
        self.boxes, self.saliency = boxes, saliency
        self.config, self.clean, self.seed = config, clean, seed
        self.user: UserRegions = load_regions(config.regions)
        self.donors: list[Donor] = []
        self.passes = 0
        check_cost(config)

    def collect_donors(self, cases: pd.DataFrame) -> None:
        """Keeps the markers of up to BANK images, evenly over classes and drawn at random."""
        if not self.config.swaps:
            return
        order = cases.sample(frac=1, random_state=self.seed % 2**32)
        order = order.assign(turn=order.groupby("label").cumcount()).sort_values("turn", kind="stable")
        for row in order.itertuples():
            if len(self.donors) >= BANK:
                break
            try:
                boxes = as_boxes(self.boxes.get(row.image_id, ()))
                donor = len(boxes) and make_donor(row.image_id, row.label, read_image(row.file), boxes, self.view,
                                                  self.clean, image_seed(self.seed, f"{row.image_id}/donor"))
            except ValueError:  # the case itself reports what is wrong with it
                continue
            if donor:
                self.donors.append(donor)

    def prepare(self, image_id: str, label: str, file: str) -> Case:
        """All images of one case; no model in here, so it may run beside it."""
        case = prepare_case(image_id, read_image(file), as_boxes(self.boxes.get(image_id, ())), self.view, self.config,
                            self.clean, baseline, image_seed(self.seed, f"{image_id}/controls"))
        frames = Frames()
        add_text_frames(frames, case)
        if image_id in self.saliency:
            add_salient_frames(frames, case, self.saliency[image_id], self.config.shares)
        donors = choose_donors(self.donors, label, self.config.swaps, image_seed(self.seed, f"{image_id}/donors"))
        for index, donor in enumerate(donors):
            frames.add(f"swap/{index}", self.view.apply(paste(case.text_free_original, donor, donor.markers)))
            frames.add(f"swap_control/{index}", self.view.apply(paste(case.text_free_original, donor, donor.controls)))
        frames.add("centre_blacked", blacked_out(case.view))
        masks = region_masks(case, self.view, self.user)
        add_region_frames(frames, case, masks, image_seed(self.seed, f"{image_id}/regions"))
        return Case(case, frames, donors, masks)

    def finish(self, case: Case) -> dict:
        """Sends the case through the model as one batch and measures it."""
        probabilities = forward(self.model, case.frames.stack(), self.config.batch_size)
        self.passes += len(probabilities)
        out = Outcomes(case.frames.names, probabilities, self.classes)
        saliency = self.saliency.get(case.images.image_id)
        row = measure(out, case.images, saliency, case.donors, case.regions, self.config)
        return {**row, "text_place": text_place(case.images), "passes": len(probabilities)}


def check_cost(config: AuditConfig) -> None:
    """ValueError where a case with every kind of frame would need more than MAX_PASSES forward passes."""
    text = 4 + (2 + len(REMOVALS)) * (config.controls + 2)
    salient = 2 * len(config.shares) + 2 * (CURVE_STEPS - 1)
    regions = 3 * (1 + CONTROLS) * (2 + (MAX_USER_REGIONS if config.regions else 0))
    needed = text + salient + 2 * config.swaps + regions
    if needed > MAX_PASSES:
        raise ValueError(f"audit: controls, shares and swaps ask for {needed} forward passes a case, expected at most "
                         f"{MAX_PASSES}")


def baseline(image: np.ndarray) -> np.ndarray:
    """The saliency methods' blurred baseline of one view (S, S)."""
    return blurred(torch.from_numpy(image)[None, None])[0, 0].numpy()


def text_place(case: CaseImages) -> str:
    """Where in the image the largest visible text lies, in thirds: "top left", "middle right", ...; "" for none."""
    if not len(case.visible):
        return ""
    height, width = case.original.shape[:2]
    x0, y0, x1, y1 = max(case.visible, key=lambda b: (b[2] - b[0]) * (b[3] - b[1]))
    row = ("top", "middle", "bottom")[min(2, int(3 * (y0 + y1) / 2 / height))]
    column = ("left", "centre", "right")[min(2, int(3 * (x0 + x1) / 2 / width))]
    return f"{row} {column}"


def forward(model, images: np.ndarray, batch_size: int) -> np.ndarray:
    """(P, 1, S, S) float32 -> (P, K) float32 probabilities; the model's mode is given back as it was."""
    device, training = next(model.parameters()).device, model.training
    model.eval()
    try:
        with torch.inference_mode():
            parts = [torch.softmax(model(torch.from_numpy(part).to(device)).float(), dim=1).cpu().numpy()
                     for part in np.array_split(images, math.ceil(len(images) / batch_size))]
    finally:
        model.train(training)
    return np.concatenate(parts)


def choose_cases(cases: pd.DataFrame, limit: int | None, seed: int) -> pd.DataFrame:
    """At most `limit` rows, spread evenly over test sets and labels, in the order given."""
    if limit is None or len(cases) <= limit:
        return cases
    order = cases.sample(frac=1, random_state=seed % 2**32)
    turn = order.groupby(["test_set", "label"]).cumcount()
    return cases.loc[sorted(turn.sort_values(kind="stable").index[:limit])]


def audit_dataset(
    model,
    cases: pd.DataFrame,
    boxes: Mapping[str, Iterable],
    saliency: Mapping[str, np.ndarray],
    config: AuditConfig,
    clean: CleanConfig,
    seed: int = 0,
    progress: Progress | None = None,
    journal: str | Path | None = None,
) -> AuditResult:
    """Audits `cases` (columns image_id label source test_set file; unique image_id).

    `boxes`: image_id -> (N, 4) text boxes in image pixels. `saliency`: image_id -> (m, m) in [0, 1]; images without a
    map lack the measures that need one. `journal`: a file to which finished cases are appended and from which an
    interrupted audit goes on; the caller removes it when anything else has changed.
    A file that cannot be used is a row with `problem` set and nothing measured.
    ValueError: missing columns, repeated image_id, or options that cost more than 200 forward passes a case.
    """
    missing = [name for name in _COLUMNS if name not in cases]
    if missing:
        raise ValueError(f"cases: expected columns {' '.join(_COLUMNS)}, {', '.join(missing)} missing")
    if cases["image_id"].duplicated().any():
        raise ValueError(f"cases: image_id {cases['image_id'][cases['image_id'].duplicated()].iloc[0]} occurs twice")
    chosen = choose_cases(cases.reset_index(drop=True), config.max_cases, seed)
    auditor = Auditor(model, boxes, saliency, config, clean, seed)
    auditor.collect_donors(chosen)
    rows = _run(auditor, chosen, progress, Path(journal) if journal else None)
    table = _table(chosen, rows, config)
    verdict = dataset_verdict(table, auditor.classes, config, seed)
    return AuditResult(table, verdict, auditor.passes)


def _run(auditor: Auditor, cases: pd.DataFrame, progress: Progress | None, journal: Path | None) -> dict[str, dict]:
    """image_id -> measures. One thread prepares the next cases while the model works on this one."""
    rows = _read_journal(journal)
    waiting = [row for row in cases.itertuples(index=False) if row.image_id not in rows]
    with ThreadPoolExecutor(1) as pool:
        prepared = []
        for index, row in enumerate(waiting):
            while len(prepared) <= 2 and index + len(prepared) < len(waiting):
                ahead = waiting[index + len(prepared)]
                prepared.append(pool.submit(partial(_safely, auditor.prepare), ahead.image_id, ahead.label, ahead.file))
            case = prepared.pop(0).result()
            rows[row.image_id] = {"problem": case} if isinstance(case, str) else auditor.finish(case)
            if journal is not None:
                with journal.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"image_id": row.image_id, **rows[row.image_id]}) + "\n")
            if progress is not None:
                progress(len(cases) - len(waiting) + index + 1, len(cases))
    return rows


def _safely(prepare: Callable, image_id: str, label: str, file: str) -> Case | str:
    """The case, or the sentence that says why there is none."""
    try:
        return prepare(image_id, label, file)
    except (ImageError, ValueError) as error:
        return str(error)


def _read_journal(journal: Path | None) -> dict[str, dict]:
    """Finished rows; a last line cut short by an interruption is ignored."""
    rows = {}
    if journal is not None and journal.exists():
        for line in journal.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            rows[row.pop("image_id")] = row
    return rows


def _table(cases: pd.DataFrame, rows: dict[str, dict], config: AuditConfig) -> pd.DataFrame:
    measured = pd.DataFrame([rows[name] for name in cases["image_id"]], index=cases.index)
    table = pd.concat([cases[[c for c in cases if c != "file"]], measured], axis=1)
    problem = table.pop("problem") if "problem" in table else pd.Series("", index=table.index)
    table.insert(4, "problem", problem.fillna(""))
    for name in ("predicted", "text_visible", "text_hidden", "text_boxes", "controls"):
        if name in table:
            table[name] = table[name].fillna("" if name == "predicted" else 0)
    return add_flags(table, config).reset_index(drop=True)


def dataset_verdict(table: pd.DataFrame, classes: list[str], config: AuditConfig, seed: int = 0) -> dict:
    """The verdict on the dataset's own test set, and under "test_sets" on every test set by itself."""
    sets = {str(name): set_verdict(part, classes, config, seed) for name, part in table.groupby("test_set")}
    own = sets.get("test") or sets.get("") or next(iter(sets.values()))
    passes = table["passes"].dropna() if "passes" in table else pd.Series(dtype=float)
    return {**own, "test_sets": sets, "passes_per_case": float(passes.mean()) if len(passes) else 0.0,
            "most_passes": int(passes.max()) if len(passes) else 0, "problems": int((table["problem"] != "").sum())}
