"""Candidates that nobody named, for the report: a contact sheet of each, films as the model sees them with heat."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from xray_debug.data.files import atomic_write
from xray_debug.data.overlay import gray_bytes, heat_overlay
from xray_debug.report.inputs import RunFiles

MOST = 8  # contact sheets
SIDE, GAP = 150, 6  # pixels: a picture's, and between them
QUALITY = 82  # of the sheets in the page
NOTE = ("Maps of one class that look alike, and images on which the model errs alike, found without any attribute. "
        "Nothing was taken away or shown: a candidate is where to look next, as a region of your own (audit.regions) "
        "or an attribute (attr_...), and no part of the verdict. Errors of a slice are counted on images that it was "
        "not found on.")


def clusters(run: RunFiles, found: dict | None, figures: Path) -> dict | None:
    """What the audit found (audit/clusters/collect.py), each candidate with `figure`, its contact sheet below
    `figures`; None where there is none, or where it is one of many."""
    if found is None:
        return None
    candidates = [{**candidate, "figure": _figure(run, candidate, figures / f"cluster-{number:02d}.png")
                   if number <= MOST else None}
                  for number, candidate in enumerate(found["candidates"], 1)]  # fmt: skip
    if len(candidates) > MOST:
        run.leave_out(f"contact sheets of {len(candidates) - MOST} candidates", f"{MOST} are drawn at most")
    return {**found, "candidates": candidates, "note": NOTE}


def _figure(run: RunFiles, candidate: dict, path: Path) -> str | None:
    try:
        places = {name: row for row, name in enumerate(run.usable["image_id"])} if run.usable is not None else {}
        views, names = run.store.views(), [name for name in candidate["cases"] if name in places]
        films = [(views[places[name]], run.store.saliency(name)) for name in names]
    except (OSError, ValueError) as error:
        run.leave_out("contact sheets of candidates", str(error).replace(str(run.store.folder), "RUN"))
        return None
    return contact_sheet(films, path) if films else None


def contact_sheet(films: Sequence[tuple[np.ndarray, np.ndarray | None]], path: Path) -> str:
    """One PNG: the films, uint8 (S, S), side by side, below each its heat where it has a map; the name for the page."""
    heat = any(saliency is not None for _, saliency in films)
    sheet = Image.new("RGB", ((SIDE + GAP) * len(films) - GAP, (SIDE + GAP) * (1 + heat) - GAP), "white")
    for place, (film, saliency) in enumerate(films):
        small = cv2.resize(gray_bytes(film), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        sheet.paste(Image.fromarray(np.repeat(small[..., None], 3, axis=2)), (place * (SIDE + GAP), 0))
        if saliency is not None:
            sheet.paste(Image.fromarray(heat_overlay(small, saliency)), (place * (SIDE + GAP), SIDE + GAP))
    data = io.BytesIO()
    sheet.save(data, format="PNG")
    atomic_write(path, lambda file: file.write(data.getvalue()))
    return f"{path.parent.name}/{path.name}"


def sheet_bytes(path: Path) -> bytes:
    """A sheet as WebP, for the page."""
    data = io.BytesIO()
    with Image.open(path) as sheet:
        sheet.save(data, format="WEBP", quality=QUALITY, method=4)
    return data.getvalue()


def candidate_rows(found: dict | None) -> list[dict]:
    """The candidates as lines of a table: name, class, images, share, where they look, what they go along with."""
    rows = []
    for candidate in (found or {}).get("candidates", ()):
        where = (f"{candidate['peak']}; {100 * candidate['outside']:.0f} % outside the field, "
                 f"{100 * candidate['corners']:.0f} % in the corners" if candidate["by"] == "maps" else
                 f"{100 * candidate['errors']:.0f} % wrong, elsewhere {100 * candidate['errors_elsewhere']:.0f} %")
        along = ", ".join(entry["what"] for entry in candidate["with"])
        rows.append({"name": candidate["name"], "by": candidate["by"], "label": candidate["label"],
                     "images": f"{candidate['images']} of {candidate['of']}", "share": candidate["share"],
                     "where": where, "with": along, "text": candidate["text"], "figure": candidate["figure"]})
    return rows
