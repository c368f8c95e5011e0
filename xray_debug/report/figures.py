"""Figures of the tables: the 2x2, confusion matrices, reliability, mean curves of the explanations.

Matplotlib's object interface with the Agg canvas only: no global state, safe in threads and without a display.
Colours are Okabe and Ito's, told apart with every kind of colour vision.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.patches import Rectangle

from xray_debug.saliency.plots import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PINK,
    empty_figure,
    literal,
    plain_axes,
    save_figure,
)

CELL, LETTER = 0.37, 0.062  # inches: a cell of a confusion matrix, the width of a small letter
COLOURS = {"original": ORANGE, "cleaned": BLUE, "control": GREEN}


def table4_figure(rows: Sequence[dict], path: str | Path, metric: str = "accuracy") -> Path:
    """The 2x2 (and the control) as points with 95 % intervals; small dots are the seeds. One panel per test set."""
    test_sets = list(dict.fromkeys(row["test_set"] for row in rows))
    figure = empty_figure(min(4.2 * len(test_sets) + 0.8, 12), 3.1)
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
        axes.set_title(literal(f"test set: {test_set}"), fontsize=9.5, color=INK)
        axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
        axes.set_axisbelow(True)
        plain_axes(axes)
    places[0].set_ylabel(f"{metric}, %", fontsize=9, color=INK)
    places[-1].legend(fontsize=8, frameon=False, title="trained on", title_fontsize=8, loc="best")
    return save_figure(figure, path, 130)


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
    """Confusion matrices, one line per test set: share of each true class in percent, darker = more.

    One pair of axes in inches for all of them, so that nothing depends on where a layout engine puts texts.
    """
    groups = [[row for row in rows if row["test_set"] == name] for name in dict.fromkeys(r["test_set"] for r in rows)]
    kinds, longest = len(rows[0]["classes"]), max(len(name) for name in rows[0]["classes"])
    side = max(CELL * kinds, 1.2)  # wide enough for the titles
    left, below = 0.45 + LETTER * longest, 0.35 + 0.7 * LETTER * longest
    across, down = side + 0.15, side + below + 0.55
    width, height = left + across * max(len(group) for group in groups), down * len(groups)
    figure = empty_figure(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for line, group in enumerate(groups):
        top = down * line + 0.5
        name = literal(f"{group[0]['test_set']}: true")
        axes.text(0.14, top + side / 2, name, ha="center", va="center", rotation=90, fontsize=8)
        for number, row in enumerate(group):
            _confusion(axes, row, left + across * number, top, side, number == 0)
    return save_figure(figure, path, 130)


def _confusion(axes, row: dict, left: float, top: float, side: float, first: bool) -> None:
    """One matrix with its upper left corner at (left, top), inches."""
    counts = np.asarray(row["counts"], float)
    share, step = counts / np.maximum(counts.sum(1, keepdims=True), 1), side / len(counts)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, extent=(left, left + side, top + side, top), aspect="auto")
    axes.add_patch(Rectangle((left, top), side, side, fill=False, edgecolor=INK, linewidth=0.8))
    for i, j in np.ndindex(*share.shape):
        axes.text(left + (j + 0.5) * step, top + (i + 0.5) * step, f"{100 * share[i, j]:.0f}", ha="center",
                  va="center", fontsize=8, color="white" if share[i, j] > 0.55 else INK)  # fmt: skip
    for k, name in enumerate(row["classes"]):
        middle = (k + 0.5) * step
        axes.text(left + middle, top + side + 0.05, literal(name), fontsize=7, rotation=40, ha="right", va="top",
                  rotation_mode="anchor")  # fmt: skip
        if first:
            axes.text(left - 0.05, top + middle, literal(name), fontsize=7, ha="right", va="center")
    title = literal(f"trained {row['trained_on']}\ntested {row['tested_on']}")
    axes.text(left + side / 2, top - 0.05, title, ha="center", va="bottom", fontsize=8)
    longest = max(len(name) for name in row["classes"])
    axes.text(left + side / 2, top + side + 0.2 + 0.7 * LETTER * longest, "predicted", ha="center", va="center",
              fontsize=7.5)  # fmt: skip


def reliability_figure(rows: Sequence[dict], path: str | Path) -> Path:
    """Accuracy against confidence for each model on one test version; the area of a dot grows with its images."""
    figure = empty_figure(6.6, 3.4)
    axes = figure.subplots()
    least = min((b["confidence"] for row in rows for b in row["bins"]), default=0.5)
    axes.plot([0, 100], [0, 100], color=FAINT, linewidth=1, linestyle=":", label="perfectly calibrated")
    for row in rows:
        colour = COLOURS.get(row["trained_on"], PINK)
        style = "-" if row["tested_on"] == "original" else "--"
        x, y = ([100 * b[name] for b in row["bins"]] for name in ("confidence", "accuracy"))
        total = max(sum(b["images"] for b in row["bins"]), 1)
        name = f"trained {row['trained_on']}, tested {row['tested_on']}"
        axes.plot(x, y, style, color=colour, linewidth=1.4, label=literal(name))
        sizes = [8 + 160 * b["images"] / total for b in row["bins"]]
        axes.scatter(x, y, s=sizes, color=colour, alpha=0.7, linewidths=0)
    axes.set(xlim=(100 * least - 3, 101), ylim=(-3, 103))
    axes.set_xlabel("confidence, %", fontsize=9)
    axes.set_ylabel("accuracy, %", fontsize=9)
    figure.legend(fontsize=7.5, frameon=False, loc="outside right upper")
    plain_axes(axes)
    return save_figure(figure, path, 120)


def mean_curves_figure(curves: dict, path: str | Path) -> Path:
    """Mean deletion and insertion curves of the explained cases with their quartiles.

    `curves`: "share" (steps + 1,) in [0, 1]; "deletion" and "insertion", each {"mean", "low", "high"}.
    """
    figure = empty_figure(5.2, 3.0)
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
    plain_axes(axes)
    return save_figure(figure, path, 120)
