"""Left and right: does the decision follow the side that the film shows, or the side that its marker is on?

A film mirrored without its text, against one turned and shifted so that as much changes; a marker moved to the mirrored
place, letters as they are, against the marker moved up or down by as much.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd

from xray_debug.audit.checks.base import CHECKS, Check
from xray_debug.audit.following import follow_columns, follow_hypothesis, gain_said, with_gain
from xray_debug.audit.frames import Case, Frames
from xray_debug.audit.hypotheses import Hypothesis, numbers
from xray_debug.audit.look.moves import MATCHED, rms, searched
from xray_debug.audit.look.typical import as_film, film_part
from xray_debug.audit.measures import Outcomes
from xray_debug.audit.swaps import Donor, Piece, lifted, paste
from xray_debug.data.view import to_gray8

TURN, SHIFT = 30.0, 0.2  # degrees, and share of the height, of the largest change of a control
SIDE = 0.15  # share of the width that a marker must move to be on the other side
ASKED = {
    "film": ("orientation of the film", "mirroring the film (text already gone)"),
    "marker": ("side of the marker", "moving its marker to the other side"),
}


@CHECKS.register("laterality", help="the film mirrored without its text; its marker moved to the other side")
class Laterality(Check):
    def most_frames(self) -> int:
        return 4 if self.config.laterality else 0

    def frames(self, case: Case, frames: Frames) -> list[str]:
        """Adds laterality/<film or marker>/moved and .../control; returns what was moved."""
        if not self.config.laterality:
            return []
        kept = []
        for name, pair in (("film", mirrored_film(case)), ("marker", moved_marker(case))):
            if pair is not None:
                kept.append(name)
                for kind, image in zip(("moved", "control"), pair, strict=True):
                    frames.add(f"laterality/{name}/{kind}", image)
        return kept

    def columns(self, case: Case, out: Outcomes, kept: list[str] | None) -> dict:
        """The probability and decision then, what the classes lose and gain."""
        row = {}
        for name in ASKED if self.config.laterality else ():
            moved, control = (f"laterality/{name}/{kind}" for kind in ("moved", "control"))
            row |= {f"laterality_{name}_p": out.p(moved), f"laterality_{name}_p_control": out.p(control),
                    f"laterality_{name}_decision": out.decision(moved),
                    **follow_columns(out, f"laterality_{name}", case.label, out.classes,
                                     out.without_text if name == "film" else "image", moved, control)}  # fmt: skip
        return row

    def hypotheses(self, cases: pd.DataFrame, label: str) -> list[Hypothesis]:
        return [h for name, (what, done) in ASKED.items() for h in follow_hypothesis(
            cases, f"laterality_{name}", f"laterality:{name}", label, f"relies on the {what}",
            f"relies on the {what}: {done} lowers the probability of {label}")]  # fmt: skip

    def detail(self, h: Hypothesis, entry: dict, cases: pd.DataFrame, seed: int) -> dict:
        return with_gain(entry, cases, h.name.replace(":", "_"), h.label, self.config, seed)

    def sentence(self, h: Hypothesis, entry: dict) -> str:
        return f"{h.label} {h.said} {numbers(entry)}{gain_said(entry)}."


def mirrored_film(case: Case) -> tuple[np.ndarray, np.ndarray] | None:
    """The view without text mirrored left to right, and turned and shifted by about as much change.

    None where the film is its own mirror image, or no turn changes as much.
    """
    size = case.original.shape[:2]
    part, film = film_part(case.viewer, *size), as_film(case.text_free, case.viewer, *size)
    mirror = np.ascontiguousarray(film[:, ::-1])
    change = rms(mirror, film)
    if change == 0:
        return None
    ways = np.random.default_rng(case.seed_for("laterality")).choice([-1.0, 1.0], 2)
    turned, other = searched(lambda amount: displaced(film, *(amount * ways)), lambda found: rms(found, film), change)
    if other < MATCHED * change:
        return None
    found = []
    for image in (mirror, turned):
        whole = case.text_free.copy()
        whole[part] = image
        found.append(whole)
    return found[0], found[1]


def displaced(image: np.ndarray, turn: float, shift: float) -> np.ndarray:
    """(H, W) turned about its middle by `turn` of TURN and moved down by `shift` of SHIFT; the border goes on."""
    height, width = image.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), TURN * turn, 1.0)
    matrix[1, 2] += SHIFT * height * shift
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def moved_marker(case: Case) -> tuple[np.ndarray, np.ndarray] | None:
    """The view with the image's own markers at the mirrored places, and moved up or down by as many pixels.

    None where the view shows no text, or all of it stands near the middle, where it has no side.
    """
    if not case.has("text"):
        return None
    height, width = case.original.shape[:2]
    pieces = lifted(to_gray8(case.original, case.window), case.text_free_gray, case.visible, case.clean)
    ways = [sideways(piece, height, width) for piece in pieces]
    if max(abs(1 - 2 * piece.x) for piece in pieces) < SIDE:
        return None
    donor = Donor(case.image_id, case.label, height, width, (), ())
    across, along = ([pair[side] for pair in ways] for side in (0, 1))
    aside, above = (case.viewer.apply(paste(case.text_free_gray, donor, found)) for found in (across, along))
    return aside, above


def sideways(piece: Piece, height: int, width: int) -> tuple[Piece, Piece]:
    """The piece at the mirrored place, and moved by as many pixels down or up, where there is more room."""
    length = abs(1 - 2 * piece.x) * width / height
    half = piece.difference.shape[0] / 2 / height
    above, below = max(0.0, piece.y - half), max(0.0, 1 - half - piece.y)
    y = piece.y + min(length, below) if below >= above else piece.y - min(length, above)
    return replace(piece, x=1 - piece.x), replace(piece, y=y)
