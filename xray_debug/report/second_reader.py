"""What the second reader sees of burned-in text, and what it and the detector both missed, for the report."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from xray_debug.report.format import count, decimal, percent
from xray_debug.report.inputs import RunFiles
from xray_debug.run.store import OUTPUTS
from xray_debug.stats.capture_recapture import FEW, missed_interval, share_interval
from xray_debug.stats.intervals import LEVEL, Interval

CAVEATS = (
    "It is too low where both miss the same faint letters, which readers do, and too high by what {reader} takes for "
    "text and is none."
)


def reader_name(run: RunFiles) -> str | None:
    """The second reader as stage clean used it; what was asked for where an older run does not say."""
    record = run.records.get(OUTPUTS["changes"].stage) or {}
    return record.get("second_reader", run.config.detect.second)


def second_reader(run: RunFiles, samples: int, seed: int) -> dict | None:
    """What came of the originals that the second reader read beside the cleaned images; None where there are none.

    `recall`: of the boxes that are erased, the share that it sees. `confirmed`: of its own, the share on erased ones.
    `missed`: what both did not find, in these images, and `missed_per_image`; see stats/capture_recapture.py.
    `says`: the same in sentences.
    """
    if run.readings is None:
        return None
    known = run.readings[run.readings["found"].notna()]
    if not len(known):
        run.leave_out("what the second reader sees of text, and what it and the detector both missed",
                      "it read no original (detect.second, detect.recall_images)")  # fmt: skip
        return None
    erased, seen, found, alone = (known[name].to_numpy(np.int64) for name in ("erased", "seen", "found", "alone"))
    groups = [str(patient) or image for patient, image in zip(known["patient_id"], known["image_id"], strict=True)]
    recall = share_interval(seen, erased, groups, samples, seed, LEVEL)
    confirmed = share_interval(found - alone, found, groups, samples, seed, LEVEL)
    missed = missed_interval(np.stack([erased, seen + alone, seen], axis=-1), groups, samples, seed, LEVEL)
    result = {
        "detector": reader_name(run), "asked": run.config.detect.second, "images": len(known),
        "failed": len(run.readings) - len(known), "patients": len(set(groups)), "erased": int(erased.sum()),
        "seen": int(seen.sum()), "found": int(found.sum()), "alone": int(alone.sum()),
        "rows": [_row("all", "all originals read", known)] + [
            _row(group, name, part) for group in ("label", "split") for name, part in known.groupby(group, sort=True)],
        **_told("recall", recall), **_told("confirmed", confirmed), **_told("missed", missed),
        **_told("missed_per_image", Interval(*(value / len(known) for value in missed))),
        "boxes": _number(erased.sum() + alone.sum() + missed.value),
    }  # fmt: skip
    result["says"] = says(result)
    return result


def _row(group: str, name: str, part: pd.DataFrame) -> dict:
    sums = {key: int(part[key].sum()) for key in ("erased", "seen", "found", "alone")}
    return {"group": group, "name": name, "images": len(part), **sums}


def _told(name: str, interval: Interval) -> dict[str, float | None]:
    ends = zip(("", "_low", "_high"), interval, strict=True)
    return {f"{name}{end}": _number(value) for end, value in ends}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def says(found: dict) -> list[str]:
    """Sentences for a reader of the report, with the caveats of the estimate."""
    reader, images = found["detector"], count(found["images"])
    if found["recall"] is None:
        first = f"Nothing was erased in the {images} originals that {reader} read: what it sees of text is not known."
    else:
        missing = percent(1 - found["recall"])
        first = (f"Of the {count(found['erased'])} boxes that were erased in {images} images whose originals {reader} "
                 f"read, too, it sees {percent(found['recall'])} % ({_ends(found, 'recall', percent)}). So of such "
                 f"text, were it left, it would miss {missing} %, and more of fainter text: its finding nothing in a "
                 f"cleaned image says no more than that.")  # fmt: skip
    if found["confirmed"] is None:
        return [first, "It found nothing in these originals, so what both missed cannot be estimated."]
    second = (f"Of its own boxes there, {count(found['found'])}, {percent(found['confirmed'])} % "
              f"({_ends(found, 'confirmed', percent)}) lie on what was erased, {count(found['alone'])} on nothing "
              "that was.")  # fmt: skip
    if found["missed"] is None:
        return [first, second, "So what both missed cannot be estimated."]
    if found["missed_high"] is None:
        third = "The two saw nothing in common, so there is no upper limit to what both missed."
        return [first, second, third]
    third = (f"By what each saw of the other's finds, both missed {decimal(found['missed'])} boxes in these images "
             f"({_ends(found, 'missed', decimal)}), {decimal(found['missed_per_image'])} an image "
             f"({_ends(found, 'missed_per_image', decimal)}): Chapman's capture-recapture estimate. "
             + CAVEATS.format(reader=reader))  # fmt: skip
    few = f"Only {count(found['seen'])} boxes were seen by both, so this is rough." if found["seen"] < FEW else ""
    return [first, second, third, *filter(None, [few])]


def _ends(found: dict, name: str, form) -> str:
    return f"{form(found[f'{name}_low'])} to {form(found[f'{name}_high'])}"
