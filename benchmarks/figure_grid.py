"""Rows of pictures and curves as one PNG, as the figures of the iGOS++ paper are laid out."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.patches import Rectangle

from xray_debug.data.overlay import heat_overlay
from xray_debug.saliency import plots
from xray_debug.saliency.plots import BLUE, FAINT, INK, ORANGE, SKY, literal

GOOD, BAD = "#00734f", "#b3400a"  # dark forms of GREEN and ORANGE, for text


@dataclass(frozen=True)
class Picture:
    """uint8 (H, W) or (H, W, 3), a title above, a caption below (in `colour`), boxes (x0, y0, x1, y1) in its pixels."""

    image: np.ndarray
    title: str = ""
    caption: str = ""
    colour: str = INK
    boxes: Sequence = ()


@dataclass(frozen=True)
class CurvePair:
    """Deletion and insertion curves (steps + 1,) with their areas."""

    deletion_curve: np.ndarray
    insertion_curve: np.ndarray
    deletion: float
    insertion: float


Item = Picture | CurvePair | None


def heat(picture: np.ndarray, saliency: np.ndarray, title: str = "", caption: str = "") -> Picture:
    """The picture under its map (m, m)."""
    return Picture(heat_overlay(picture, np.asarray(saliency)), title, caption)


def draw(rows: Sequence[Sequence[Item]], names: Sequence[str], path: str | Path, heading: str = "",
         side: float = 1.6) -> Path:  # fmt: skip
    """A row of items for each name (written at its left); every row has as many items. `side` in inches."""
    columns = max(len(row) for row in rows)
    heights = [1.0 if any(isinstance(item, Picture) for item in row) else 0.8 for row in rows]
    figure = plots.empty_figure(side * columns + 0.3, sum(heights) * side * 1.22 + (0.4 if heading else 0.1))
    axes = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for row, name, places in zip(rows, names, axes, strict=True):
        for column, place in enumerate(places):
            _show(place, row[column] if column < len(row) else None)
        places[0].set_ylabel(literal(name), fontsize=8, color=INK)
    if heading:
        width = int(side * columns * 14)  # letters of this size in the figure's width
        figure.suptitle(literal(textwrap.fill(heading, width)), fontsize=9, color=INK)
    return plots.save_figure(figure, path, 130)


def _show(place, item: Item) -> None:
    if isinstance(item, CurvePair):
        _curves(place, item)
        return
    place.set_xticks([])
    place.set_yticks([])
    for spine in place.spines.values():
        spine.set_visible(False)
    if item is None:
        return
    place.imshow(item.image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    for x0, y0, x1, y1 in item.boxes:
        place.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor=SKY, linewidth=1.2))
    place.set_title(literal(item.title), fontsize=7.5, color=INK)
    place.set_xlabel(literal(item.caption), fontsize=7, color=item.colour)


def _curves(place, item: CurvePair) -> None:
    share = np.linspace(0, 100, len(item.deletion_curve))
    place.plot(share, item.deletion_curve, color=ORANGE, linewidth=1.3)
    place.plot(share, item.insertion_curve, color=BLUE, linewidth=1.3, linestyle="--")
    place.set(xlim=(0, 100), ylim=(0, 1.02))
    plots.plain_axes(place)
    place.tick_params(labelsize=5.5, colors=INK)
    place.set_xlabel("% deleted (solid), inserted (dashed)", fontsize=6, color=INK)
    place.grid(color=FAINT, linewidth=0.3)
