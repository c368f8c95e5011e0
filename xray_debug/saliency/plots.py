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
LINES, STYLES = (ORANGE, BLUE, GREEN, PINK, SKY, INK), ("-", "--", "-.", ":")  # of methods; 12 pairs
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


@dataclass(frozen=True)
class Explained:
    """One map of one image: (m, m) in [0, 1], its curves (steps + 1,) with their areas, and who made it."""

    name: str
    saliency: np.ndarray
    deletion_curve: np.ndarray
    insertion_curve: np.ndarray
    deletion: float
    insertion: float
    hardly_moved: bool = False

    @property
    def facts(self) -> str:
        return map_facts(self.saliency) + ("\nhardly moved" if self.hardly_moved else "")


@dataclass(frozen=True)
class Compared:
    """One image, grey uint8 or float in [0, 1], (H, W), its name, what the model says of it, and its maps."""

    image: np.ndarray
    title: str
    caption: str
    maps: Sequence[Explained]


def explain_figure(image: np.ndarray, found: Explained, title: str, path: str | Path) -> Path:
    """Image (as of Compared), map, overlay, and the deletion and insertion curves with their areas, as one PNG."""
    image = gray_bytes(image)
    figure = empty_figure(10.4, 2.75)
    axes = figure.subplots(1, 4, width_ratios=[1, 1, 1, 1.45])
    fine = scaled_map(resized_map(found.saliency, *image.shape[:2]))
    overlay = Panel(heat_overlay(image, found.saliency), "overlay")
    panels = [Panel(image, "image"), Panel(heat_colours(fine), "saliency", found.facts), overlay]
    for place, panel in zip(axes, panels, strict=False):
        show_panel(place, panel)
    for kind, colour, style in (("deletion", ORANGE, "-"), ("insertion", BLUE, "--")):
        curve, area = getattr(found, f"{kind}_curve"), getattr(found, kind)
        share = _curve(axes[3], curve, colour, style, f"{kind}, area {area:.3f}")
        axes[3].fill_between(share, 0, np.ravel(curve), color=colour, alpha=0.12, linewidth=0)
    _curve_axes(axes[3], "pixels deleted or inserted, %, most salient first")
    axes[3].legend(fontsize=8, frameon=False, loc="best")
    axes[3].set_ylabel("class probability", fontsize=8, color=INK)
    figure.suptitle(literal(_short(title, 110)), fontsize=10, color=INK)
    return save_figure(figure, path, 130, EXPLAINED)


def compare_figure(rows: Sequence[Compared], path: str | Path) -> Path:
    """Figure 2 of the iGOS++ paper as one PNG: a row for each image, with the film, an overlay for each map (its areas
    below it), and the deletion and the insertion curves of all. Every row has the same number of maps.
    """
    count = len(rows[0].maps)
    figure = empty_figure(2.3 * (count + 1) + 2 * 2.9, 3.0 * len(rows) + 0.3)
    places = figure.subplots(len(rows), count + 3, squeeze=False, width_ratios=[1] * (count + 1) + [1.3] * 2)
    for axes, row in zip(places, rows, strict=True):
        show_panel(axes[0], Panel(row.image, _short(row.title), row.caption))
        for place, found in zip(axes[1:], row.maps, strict=False):
            areas = f"deletion {found.deletion:.3f}, insertion {found.insertion:.3f}"
            show_panel(place, Panel(heat_overlay(row.image, found.saliency), found.name, f"{found.facts}\n{areas}"))
        for place, kind in zip(axes[-2:], ("deletion", "insertion"), strict=True):
            for number, found in enumerate(row.maps):
                colour, style = LINES[number % len(LINES)], STYLES[number % len(STYLES)]
                _curve(place, getattr(found, f"{kind}_curve"), colour, style, found.name)
            _curve_axes(place, f"{kind}: pixels, %, most salient first")
        axes[-2].set_ylabel("class probability", fontsize=8, color=INK)
    figure.legend(*places[0][-1].get_legend_handles_labels(), fontsize=8, frameon=False, ncols=count,
                  loc="outside lower right")  # fmt: skip
    return save_figure(figure, path, 130, EXPLAINED)


def _short(text: str, most: int = 24) -> str:
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most // 2) + 1 :]}"


def shown_image(image: np.ndarray) -> np.ndarray:
    """A model's input (C, H, W) as a picture, uint8 (H, W) or (H, W, 3): stretched where it goes beyond [0, 1]."""
    image = np.asarray(image, float)
    if image.min() < 0 or image.max() > 1:
        image = (image - image.min()) / max(float(np.ptp(image)), 1e-6)
    return gray_bytes(image.transpose(1, 2, 0) if len(image) == 3 else image.mean(0))


def overlays(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) with their maps (N, 1, m, m) over them, uint8 (N, H, W, 3)."""
    return np.stack([heat_overlay(shown_image(image), own) for image, own in zip(images, maps, strict=True)])


def explanation_figure(images: np.ndarray, maps: np.ndarray) -> Figure:
    """For notebooks: a row for each image (N, C, H, W) with its overlay beside it; maps (N, 1, m, m) in [0, 1].

    Images beyond [0, 1] (normalised ones) are stretched to it; other than one or three channels are averaged.
    """
    figure = empty_figure(4.6, 2.8 * len(images))
    for axes, image, saliency in zip(figure.subplots(len(images), 2, squeeze=False), images, maps, strict=True):
        shown = shown_image(image)
        show_panel(axes[0], Panel(shown, "image"))
        show_panel(axes[1], Panel(heat_overlay(shown, saliency), "saliency", map_facts(saliency)))
    return figure


def _curve(axes, curve, colour: str, style, label: str) -> np.ndarray:
    """Draws a curve; the shares of the pixels, in percent, that it was drawn over."""
    curve = np.asarray(curve, float).ravel()
    share = np.linspace(0, 100, len(curve))
    axes.plot(share, curve, color=colour, linestyle=style, linewidth=1.8, label=literal(label))
    return share


def _curve_axes(axes, label: str) -> None:
    axes.set(xlim=(0, 100), ylim=(0, 1.02))
    axes.set_xlabel(label, fontsize=8, color=INK)
    plain_axes(axes)
