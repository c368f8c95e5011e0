"""Pictures: strips of flagged cases, explanations with their curves, the 2x2, confusion matrices, reliability.

Matplotlib's object interface with the Agg canvas only: no global state, safe in threads and without a display.
Colours are Okabe and Ito's, told apart with every kind of colour vision; heat is matplotlib's "inferno".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

BLUE, ORANGE, GREEN, PINK, SKY, YELLOW = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442"
INK, FAINT = "#1f2933", "#9aa5b1"
COLOURS = {"original": ORANGE, "cleaned": BLUE, "control": GREEN}
HEAT = "inferno"


@dataclass(frozen=True)
class Panel:
    """One picture of a strip: grey uint8 (H, W) or RGB, its title, a line below and boxes (x0, y0, x1, y1) to draw."""

    image: np.ndarray
    title: str
    caption: str = ""
    boxes: Sequence = ()


def _figure(width: float, height: float) -> Figure:
    """An empty figure, size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: str | Path, dpi: int = 110) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    figure.savefig(temporary, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    temporary.replace(path)
    return path


def _literal(text: str) -> str:
    """Text as it is: matplotlib would take dollar signs for formulas."""
    return str(text).replace("$", r"\$")


def _plain_axes(axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=8)


def gray_bytes(image: np.ndarray) -> np.ndarray:
    """Floats in [0, 1] or uint8, (H, W) or (H, W, 3), as uint8; others raise ValueError."""
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[0] == 1:
        image = image[0]
    if image.dtype != np.uint8:
        image = np.round(np.clip(image.astype(np.float64), 0, 1) * 255).astype(np.uint8)
    if image.ndim not in (2, 3) or image.ndim == 3 and image.shape[2] != 3:
        raise ValueError(f"expected an image (H, W) or (H, W, 3), got shape {image.shape}")
    return image


def heat_overlay(image: np.ndarray, saliency: np.ndarray, opacity: float = 0.65) -> np.ndarray:
    """RGB uint8: `image` under the map in "inferno", more opaque where more salient. Map of any size, in [0, 1]."""
    gray = gray_bytes(image)
    rgb = gray if gray.ndim == 3 else np.repeat(gray[..., None], 3, axis=2)
    fine = resized_map(saliency, *rgb.shape[:2])
    heat = colormaps[HEAT](0.15 + 0.85 * fine)[..., :3] * 255
    alpha = (opacity * fine)[..., None]
    return np.round((1 - alpha) * rgb + alpha * heat).astype(np.uint8)


def resized_map(saliency: np.ndarray, height: int, width: int) -> np.ndarray:
    """(m, m) or (1, m, m) saliency in [0, 1] -> float32 (height, width), bilinear."""
    saliency = np.asarray(saliency, np.float32)
    saliency = saliency[0] if saliency.ndim == 3 and saliency.shape[0] == 1 else saliency
    if saliency.ndim != 2:
        raise ValueError(f"expected a map (m, m), got shape {saliency.shape}")
    return cv2.resize(saliency, (width, height), interpolation=cv2.INTER_LINEAR).clip(0, 1)


def _show(axes, panel: Panel) -> None:
    axes.imshow(gray_bytes(panel.image), cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
    height, width = panel.image.shape[:2]
    side = max(height, width)  # square axes, so that titles and captions of a strip are level
    for x0, y0, x1, y1 in panel.boxes:
        axes.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor=SKY, linewidth=1.4))
    axes.set_xlim((width - side - 1) / 2, (width + side - 1) / 2)
    axes.set_ylim((height + side - 1) / 2, (height - side - 1) / 2)
    axes.set_title(_literal(panel.title), fontsize=9, color=INK)
    axes.set_xlabel(_literal(panel.caption), fontsize=8.5, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def case_figure(panels: Sequence[Panel], path: str | Path, title: str = "", dpi: int = 100) -> Path:
    """One PNG strip: the panels of a flagged case side by side, each with its title and the probability below it."""
    if not panels:
        raise ValueError("case_figure: expected at least one panel, got none")
    figure = _figure(1.75 * len(panels), 2.2 + 0.3 * bool(title))
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _show(axes, panel)
    if title:
        figure.suptitle(_literal(title), fontsize=10, color=INK, x=0.01, ha="left")
    return _save(figure, path, dpi)


def explain_figure(image, saliency, deletion_curve, insertion_curve, deletion: float, insertion: float, title: str,
                   path: str | Path) -> Path:
    """Image, map, overlay, and the deletion and insertion curves with their areas, as one PNG.

    `image` grey uint8 or float in [0, 1], (H, W); `saliency` (m, m) in [0, 1]; curves (steps + 1,), the class
    probability after each share of pixels is deleted or inserted.
    """
    image = gray_bytes(image)
    figure = _figure(10.4, 2.75)
    axes = figure.subplots(1, 4, width_ratios=[1, 1, 1, 1.45])
    heat = np.round(colormaps[HEAT](resized_map(saliency, *image.shape[:2]))[..., :3] * 255).astype(np.uint8)
    panels = [Panel(image, "image"), Panel(heat, "saliency"), Panel(heat_overlay(image, saliency), "overlay")]
    for place, panel in zip(axes, panels, strict=False):
        _show(place, panel)
    _curves(axes[3], deletion_curve, insertion_curve, deletion, insertion)
    figure.suptitle(_literal(title), fontsize=10, color=INK)
    return _save(figure, path, 130)


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
    _plain_axes(axes)


def table4_figure(rows: Sequence[dict], path: str | Path, metric: str = "accuracy") -> Path:
    """The 2x2 (and the control) as points with 95 % intervals; small dots are the seeds. One panel per test set."""
    test_sets = list(dict.fromkeys(row["test_set"] for row in rows))
    figure = _figure(min(4.2 * len(test_sets) + 0.8, 12), 3.1)
    places = figure.subplots(1, len(test_sets), sharey=True, squeeze=False)[0]
    for axes, test_set in zip(places, test_sets, strict=True):
        chosen = [row for row in rows if row["test_set"] == test_set]
        tested = list(dict.fromkeys(row["tested_on"] for row in chosen))
        trained = list(dict.fromkeys(row["trained_on"] for row in chosen))
        for row in chosen:
            x = tested.index(row["tested_on"]) + 0.2 * (trained.index(row["trained_on"]) - (len(trained) - 1) / 2)
            _point(axes, x, row, metric, row["tested_on"] == next(
                r["tested_on"] for r in chosen if r["trained_on"] == row["trained_on"]))  # fmt: skip
        axes.set_xticks(range(len(tested)), [f"tested on\n{name}" for name in tested])
        axes.set_xlim(-0.5, len(tested) - 0.5)
        axes.set_title(_literal(f"test set: {test_set}"), fontsize=9.5, color=INK)
        axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
        axes.set_axisbelow(True)
        _plain_axes(axes)
    places[0].set_ylabel(f"{metric}, %", fontsize=9, color=INK)
    places[-1].legend(fontsize=8, frameon=False, title="trained on", title_fontsize=8, loc="best")
    return _save(figure, path, 130)


def _point(axes, x: float, row: dict, metric: str, first: bool) -> None:
    value, low, high = (100 * row[name] for name in (metric, f"{metric}_low", f"{metric}_high"))
    marker = {"original": "o", "cleaned": "s", "control": "^"}.get(row["trained_on"], "D")
    colour = COLOURS.get(row["trained_on"], PINK)
    axes.errorbar([x], [value], yerr=[[max(value - low, 0)], [max(high - value, 0)]], fmt=marker, color=colour,
                  markersize=7, capsize=4, linewidth=1.6, label=row["trained_on"] if first else None)  # fmt: skip
    seeds = [100 * v for v in row.get(f"{metric}_per_seed", [])]
    if len(seeds) > 1:
        axes.plot([x + 0.07] * len(seeds), seeds, ".", color=colour, alpha=0.55, markersize=5)


def confusion_figure(rows: Sequence[dict], path: str | Path) -> Path:
    """Confusion matrices, one line per test set: share of each true class in percent, darker = more."""
    groups = [[row for row in rows if row["test_set"] == name] for name in dict.fromkeys(r["test_set"] for r in rows)]
    columns, kinds = max(len(group) for group in groups), len(rows[0]["classes"])
    side = 0.55 + 0.37 * kinds
    figure = _figure(side * columns + 0.9, (side + 0.75) * len(groups))
    places = figure.subplots(len(groups), columns, squeeze=False)
    for line, group in zip(places, groups, strict=True):
        for number, axes in enumerate(line):
            if number < len(group):
                _confusion(axes, group[number], number == 0)
            else:
                axes.set_axis_off()
    return _save(figure, path, 130)


def _confusion(axes, row: dict, first: bool) -> None:
    counts = np.asarray(row["counts"], float)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(*share.shape):
        ink = "white" if share[i, j] > 0.55 else INK
        axes.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=8, color=ink)
    names = [_literal(name) for name in row["classes"]]
    axes.set_xticks(range(len(names)), names, fontsize=7, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names if first else [""] * len(names), fontsize=7)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted", fontsize=7.5)
    axes.set_ylabel(_literal(f"{row['test_set']}: true") if first else "", fontsize=8)
    axes.set_title(_literal(f"trained {row['trained_on']}\ntested {row['tested_on']}"), fontsize=8)


def reliability_figure(rows: Sequence[dict], path: str | Path) -> Path:
    """Accuracy against confidence for each model on one test version; the area of a dot grows with its images."""
    figure = _figure(6.6, 3.4)
    axes = figure.subplots()
    least = min((b["confidence"] for row in rows for b in row["bins"]), default=0.5)
    axes.plot([0, 100], [0, 100], color=FAINT, linewidth=1, linestyle=":", label="perfectly calibrated")
    for row in rows:
        colour = COLOURS.get(row["trained_on"], PINK)
        style = "-" if row["tested_on"] == "original" else "--"
        x, y = ([100 * b[name] for b in row["bins"]] for name in ("confidence", "accuracy"))
        total = max(sum(b["images"] for b in row["bins"]), 1)
        name = f"trained {row['trained_on']}, tested {row['tested_on']}"
        axes.plot(x, y, style, color=colour, linewidth=1.4, label=_literal(name))
        sizes = [8 + 160 * b["images"] / total for b in row["bins"]]
        axes.scatter(x, y, s=sizes, color=colour, alpha=0.7, linewidths=0)
    axes.set(xlim=(100 * least - 3, 101), ylim=(-3, 103))
    axes.set_xlabel("confidence, %", fontsize=9)
    axes.set_ylabel("accuracy, %", fontsize=9)
    figure.legend(fontsize=7.5, frameon=False, loc="outside right upper")
    _plain_axes(axes)
    return _save(figure, path, 120)


def mean_curves_figure(curves: dict, path: str | Path) -> Path:
    """Mean deletion and insertion curves of the explained cases with their quartiles.

    `curves`: "share" (steps + 1,) in [0, 1]; "deletion" and "insertion", each {"mean", "low", "high"}.
    """
    figure = _figure(5.2, 3.0)
    axes = figure.subplots()
    share = 100 * np.asarray(curves["share"], float)
    for name, colour, style in (("deletion", ORANGE, "-"), ("insertion", BLUE, "--")):
        part = curves[name]
        axes.plot(share, part["mean"], color=colour, linestyle=style, linewidth=1.8, label=name)
        axes.fill_between(share, part["low"], part["high"], color=colour, alpha=0.15, linewidth=0)
    axes.set(xlim=(0, 100), ylim=(0, 1.02))
    axes.set_xlabel("pixels deleted or inserted, %, most salient first", fontsize=8.5)
    axes.set_ylabel("class probability", fontsize=8.5)
    axes.legend(fontsize=8, frameon=False)
    _plain_axes(axes)
    return _save(figure, path, 120)
