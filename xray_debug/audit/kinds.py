"""Kinds of text by the geometry of its boxes alone: what a box says is not read.

The limits were chosen on phantoms and on films of covidx-mini's train; docs/audit.md has what they give on others.
"""

from __future__ import annotations

import numpy as np

from xray_debug.data.boxes import as_boxes

LETTER, WORD, CAPTION, SEVERAL = "lone letter", "word", "caption", "several kinds"
KINDS = (LETTER, WORD, CAPTION)
NARROWEST, WIDEST = 0.55, 1.1  # width over height of a lone letter's box
LONG = 0.25  # of the film's shorter side: a box or a line from which text is a caption
MANY = 3  # boxes on a line from which it is a caption
NEAR = 1.0  # heights between boxes of one line


def kinds_of_text(boxes, height: int, width: int) -> list[str]:
    """LETTER, WORD or CAPTION of each box (N, 4) of one film of that size, in pixels.

    A caption is a box at least LONG, or part of a line that is, or that has MANY boxes. A lone letter is about as wide
    as high and alone on its line. All else is a word. Two boxes are on one line where half of the lower one's height is
    common to both and the gap is under NEAR of it.
    """
    found = as_boxes(boxes)
    sizes, long, result = found[:, 2:] - found[:, :2], LONG * min(height, width), []
    lines = _lines(found)
    for (w, h), line in zip(sizes, lines, strict=True):
        own = found[lines == line]
        span = int(own[:, 2].max() - own[:, 0].min())
        if len(own) >= MANY or max(w, h) >= long or (len(own) > 1 and span >= long):
            result.append(CAPTION)
        elif len(own) == 1 and NARROWEST * h <= w <= WIDEST * h:
            result.append(LETTER)
        else:
            result.append(WORD)
    return result


def kind_of_all(kinds) -> str:
    """The kind that all of a film's text has; SEVERAL where it has several, "" without text."""
    different = dict.fromkeys(kinds)
    return "" if not different else next(iter(different)) if len(different) == 1 else SEVERAL


def _lines(boxes: np.ndarray) -> np.ndarray:
    """(N,) number of the line that each box is on: boxes on one line with another, directly or by others between."""
    lines = np.arange(len(boxes))
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        for j, (u0, v0, u1, v1) in enumerate(boxes[:i]):
            lower = min(y1 - y0, v1 - v0)
            if 2 * (min(y1, v1) - max(y0, v0)) >= lower and max(u0 - x1, x0 - u1) < NEAR * lower:
                lines[lines == lines[j]] = lines[i]
    return lines
