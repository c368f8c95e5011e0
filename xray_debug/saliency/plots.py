"""Pictures of an explanation: the image, its map, the overlay and the curves. Arrays in, PNG out.

Matplotlib's object interface with the Agg canvas only: no global state, safe in threads and without a display.
Colours are Okabe and Ito's, told apart with every kind of colour vision; heat is data/overlay.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from xray_debug.data.files import atomic_write
from xray_debug.data.overlay import gray_bytes, heat_colours, heat_overlay, map_facts, resized_map, scaled_map

BLUE, ORANGE, GREEN, PINK, SKY, YELLOW = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442"
INK, FAINT = "#1f2933", "#9aa5b1"
EXPLAINED = "xray-debug explain-image"  # noted in the picture of one image, so that it may be replaced


@dataclass(frozen=True)
class Panel:
    """One picture of a strip: grey uint8 (H, W) or RGB, its title, a line below and boxes (x0, y0, x1, y1) to draw."""

    image: np.ndarray
    title: str
    caption: str = ""
    boxes: Sequence = ()


def empty_figure(width: float, height: float) -> Figure:
    """An empty figure, size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | Path, dpi: int = 110, creator: str | None = None) -> Path:
    """Writes a PNG, whole or not at all; its folder is made. `creator` is noted in it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"format": "png", "dpi": dpi, "facecolor": "white", "metadata": {"Software": None, "Creator": creator}}
    atomic_write(path, lambda file: figure.savefig(file, **options))
    return path


def literal(text: str) -> str:
    """Text as it is: matplotlib would take dollar signs for formulas."""
    return str(text).replace("$", r"\$")


def plain_axes(axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=8)


def show_panel(axes, panel: Panel) -> None:
    axes.imshow(gray_bytes(panel.image), cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
    height, width = panel.image.shape[:2]
    side = max(height, width)  # square axes, so that titles and captions of a strip are level
    for x0, y0, x1, y1 in panel.boxes:
        axes.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor=SKY, linewidth=1.4))
    axes.set_xlim((width - side - 1) / 2, (width + side - 1) / 2)
    axes.set_ylim((height + side - 1) / 2, (height - side - 1) / 2)
    axes.set_title(literal(panel.title), fontsize=9, color=INK)
    axes.set_xlabel(literal(panel.caption), fontsize=8.5, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def explain_figure(image, saliency, deletion_curve, insertion_curve, deletion: float, insertion: float, title: str,
                   path: str | Path) -> Path:
    """Image, map, overlay, and the deletion and insertion curves with their areas, as one PNG.

    `image` grey uint8 or float in [0, 1], (H, W); `saliency` (m, m) in [0, 1]; curves (steps + 1,), the class
    probability after each share of pixels is deleted or inserted.
    """
    image = gray_bytes(image)
    figure = empty_figure(10.4, 2.75)
    axes = figure.subplots(1, 4, width_ratios=[1, 1, 1, 1.45])
    fine = scaled_map(resized_map(saliency, *image.shape[:2]))
    overlay = Panel(heat_overlay(image, saliency), "overlay")
    panels = [Panel(image, "image"), Panel(heat_colours(fine), "saliency", map_facts(saliency)), overlay]
    for place, panel in zip(axes, panels, strict=False):
        show_panel(place, panel)
    _curves(axes[3], deletion_curve, insertion_curve, deletion, insertion)
    figure.suptitle(literal(title), fontsize=10, color=INK)
    return save_figure(figure, path, 130, EXPLAINED)


def _curves(axes, deletion_curve, insertion_curve, deletion: float, insertion: float) -> None:
    rows = ((deletion_curve, deletion, ORANGE, "-", "deletion"), (insertion_curve, insertion, BLUE, "--", "insertion"))
    for curve, area, colour, style, name in rows:
        curve = np.asarray(curve, float).ravel()
        share = np.linspace(0, 100, len(curve))
        axes.plot(share, curve, color=colour, linestyle=style, linewidth=1.8, label=f"{name}, area {area:.3f}")
        axes.fill_between(share, 0, curve, color=colour, alpha=0.12, linewidth=0)
    axes.set(xlim=(0, 100), ylim=(0, 1.02))
    axes.set_xlabel("pixels deleted or inserted, %, most salient first", fontsize=8, color=INK)
    axes.set_ylabel("class probability", fontsize=8, color=INK)
    axes.legend(fontsize=8, frameon=False, loc="best")
    plain_axes(axes)
