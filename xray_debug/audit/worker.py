"""The audit of one image after the other, for the engine: each row of the manifest becomes a row of cases.parquet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xray_debug.audit.bank import read_bank
from xray_debug.audit.checks import Check, all_checks, blamed, per_class
from xray_debug.audit.frames import Case, Frames, add_salient_frames, prepare_case
from xray_debug.audit.look.typical import Looks
from xray_debug.audit.measures import Outcomes, salient_measures
from xray_debug.audit.swaps import Donor
from xray_debug.config import AuditConfig, CleanConfig
from xray_debug.data.boxes import as_boxes
from xray_debug.data.unchanged import read_known
from xray_debug.models.inference import load_for_inference
from xray_debug.models.predict import NotFinite, probabilities

MAX_PASSES = 200
RESERVED = {"label", "source", "patient_id", "test_set", "problem", "passes", "patch"}  # columns of a case besides
Row = dict[str, Any]


def check_cost(config: AuditConfig) -> None:
    """ValueError where a case with every kind of frame would need more than MAX_PASSES forward passes."""
    needed = 2 + 2 * len(config.shares) + sum(check.most_frames() for check in all_checks(config))
    if needed > MAX_PASSES:
        raise ValueError(f"audit: controls, shares and swaps ask for {needed} forward passes a case, expected at most "
                         f"{MAX_PASSES}")


class AuditWorker:
    """Audits images. Rows in: image_id label file boxes, and where the image was explained saliency deletion insertion.

    boxes: (N, 4) of the image's text; devices: the same of its devices, may be absent; saliency: (m, m) in [0, 1] or
    None. Rows out: image_id, the columns of cases.parquet that are measured, and `patch`, how the text was erased (b""
    where none was). An image that cannot be read, or whose sha256 is not the row's `sha256` (if any), is an ImageError;
    one for which the model gives NaN, a NotFinite.

    Args:
        model: the model's folder.
        config, clean: options of AuditConfig and CleanConfig.
        bank: Parquet file of the bank (bank.py), None where there is none.
        looks: what is typical of each class (look/typical.py) as plain values, None where no look is moved.
        trusted: see load_checkpoint.
    """

    def __init__(self, model: str, config: dict[str, Any], clean: dict[str, Any], seed: int = 0,
                 bank: str | None = None, device: str = "cpu", trusted: bool = False,
                 looks: dict[str, Any] | None = None):
        self.folder, self.config, self.clean, self.seed = model, config, clean, seed
        self.bank_file, self.device, self.trusted, self.looks = bank, device, trusted, looks

    def open(self) -> None:
        model = load_for_inference(self.folder, self.device, self.trusted)
        self.start(model, read_bank(self.bank_file) if self.bank_file else [])

    def start(self, model, bank: Sequence[Donor]) -> None:
        """As `open`, with a model and donors that are at hand."""
        self.model, self.bank = model, list(bank)
        self.options, self.cleaning = AuditConfig(**self.config), CleanConfig(**self.clean)
        check_cost(self.options)
        self.checks = all_checks(self.options)
        self.typical = None if self.looks is None else Looks(**self.looks)
        self.patches = {donor.image_id: donor.patch for donor in self.bank}

    def __call__(self, rows: Sequence[Row]) -> list[Row]:
        return [self.audit(row) for row in rows]

    def audit(self, row: Row) -> Row:
        """One image: its frames as one batch through the model, and what the checks make of the answers."""
        boxes, devices = row.get("boxes"), row.get("devices")
        image, window = read_known(row["file"], row.get("sha256", ""))
        case = prepare_case(
            row["image_id"], row["label"], image, () if boxes is None else boxes, self.model.view,
            self.options, self.cleaning, self.seed, self.patches.get(row["image_id"]), window, bank=self.bank,
            looks=self.typical,
            saliency=row.get("saliency"), deletion=_number(row.get("deletion")),
            insertion=_number(row.get("insertion")), devices=as_boxes(() if devices is None else devices),
        )  # fmt: skip
        frames = Frames()
        frames.add("image", case.view)
        frames.add("baseline", case.baseline)
        if case.has("map"):
            add_salient_frames(frames, case)
        kept = [self._frames(check, case, frames) for check in self.checks]
        try:
            scores = probabilities(self.model, frames.stack(), self.options.batch_size)
        except NotFinite as error:
            raise NotFinite(error.rows, f"{case.image_id} (frame {frames.names[error.rows[0]]})") from error
        out = Outcomes(frames.names, scores, self.model.classes)
        found = {
            "image_id": case.image_id, "predicted": out.classes[out.predicted], "probability": out.p("image"),
            "p_baseline": out.p("baseline"), "decision_baseline": out.decision("baseline"),
            **salient_measures(out, case), **per_class(out.classes, p=out.vector("image")),
        }  # fmt: skip
        for check, mine in zip(self.checks, kept, strict=True):
            with blamed(check.name, type(check), "columns"):
                own = check.columns(case, out, mine)
                if taken := sorted({*own} & ({*found} | RESERVED)):
                    raise ValueError(f"expected columns of its own, {taken[0]!r} is taken")
            found |= own
        return {**found, "passes": len(frames.names), "patch": case.text.patch}

    def _frames(self, check: Check, case: Case, frames: Frames) -> Any:
        with blamed(check.name, type(check), "frames"):
            return check.frames(case, frames) if all(case.has(need) for need in check.needs) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
