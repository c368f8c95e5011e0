"""Figures of the tables: the 2x2, confusion matrices, reliability, mean curves of the explanations.

Matplotlib's object interface with the Agg canvas only: no global state, safe in threads and without a display.
Colours are Okabe and Ito's, told apart with every kind of colour vision.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath

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

CELL, WIDEST = 0.34, 11.5  # inches: a cell of a confusion matrix, test sets side by side
SLANT = 0.78  # of a name written at 40 degrees: what it reaches down and to the left
HEAD = 9  # points, of the name of a test set
MANY = 10  # classes from which the numbers are smaller
COLOURS = {"original": ORANGE, "cleaned": BLUE, "control": GREEN}


def table4_figure(rows: Sequence[dict], path: str | Path, metric: str = "accuracy") -> Path:
    """The 2x2 (and the control) as points with 95 % intervals; small dots are the seeds. One panel per test set."""
    test_sets = list(dict.fromkeys(row["test_set"] for row in rows))
    width = min(4.2 * len(test_sets) + 0.8, 12)
    figure = empty_figure(width, 3.1)
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
        title = shortened(f"test set: {test_set}", max(int(8 * width / len(test_sets)), 8))
        axes.set_title(literal(title), fontsize=9.5, color=INK)
        axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
        axes.set_axisbelow(True)
        plain_axes(axes)
    places[0].set_ylabel(f"{metric}, %", fontsize=9, color=INK)
    figure.legend(*places[0].get_legend_handles_labels(), fontsize=8, frameon=False, title="trained on",
                  title_fontsize=8, loc="outside right upper")  # fmt: skip
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
    """Confusion matrices: share of each true class in percent, darker = more. For each test set a block with a line for
    each kind of training images and a column for each kind of test images; blocks side by side where they are narrow.

    One pair of axes in inches for all of them, and room for each text as wide as it is drawn, so that nothing depends
    on where a layout engine puts texts and no two of them meet.
    """
    classes = [shortened(name) for name in rows[0]["classes"]]
    test_sets = list(dict.fromkeys(row["test_set"] for row in rows))
    trained, tested = (list(dict.fromkeys(row[key] for row in rows)) for key in ("trained_on", "tested_on"))
    texts = [f"trained {name}" for name in trained] + [f"tested {name}" for name in tested]
    longest = max(text_width(name, 7) for name in classes)
    side = max(CELL * len(classes), *(text_width(shortened(text), 8) for text in texts))
    left, below = longest + 0.3, SLANT * longest + 0.4
    across, down = side + max(0.15, SLANT * longest - side / len(classes) + 0.15), side + below + 0.5
    heads = [shortened(f"test set: {name}", 40) for name in test_sets]
    block = max(left + across * len(tested), *(1.1 * text_width(head, HEAD) + 0.3 for head in heads))  # bold
    tall = 0.35 + down * len(trained)
    beside = max(1, min(len(test_sets), int(WIDEST / block)))
    width, height = block * beside, tall * -(-len(test_sets) // beside)
    figure = empty_figure(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for number, test_set in enumerate(test_sets):
        x, y = block * (number % beside), tall * (number // beside)
        axes.text(x + 0.08, y + 0.18, literal(heads[number]), va="center", fontsize=HEAD, fontweight="bold")
        for row in rows:
            if row["test_set"] == test_set:
                column, line = tested.index(row["tested_on"]), trained.index(row["trained_on"])
                _confusion(axes, row, classes, x + left + across * column, y + 0.8 + down * line, side, column == 0)
    return save_figure(figure, path, 130)


def text_width(text: str, size: float) -> float:
    """Inches, of one line in the figures' font."""
    return TextPath((0, 0), literal(text), size=size, prop=FontProperties()).get_extents().width / 72 if text else 0.0


def shortened(name: str, most: int = 26) -> str:
    """A name with the middle of a long one left out, its line breaks as blanks."""
    name = " ".join(str(name).split())
    return name if len(name) <= most else f"{name[: most * 2 // 3]}…{name[-(most // 4) :]}"


def _confusion(axes, row: dict, classes: list[str], left: float, top: float, side: float,
               first: bool) -> None:
    """One matrix with its upper left corner at (left, top), inches."""
    share, step = np.asarray(row["shares"], float), side / len(classes)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, extent=(left, left + side, top + side, top), aspect="auto")
    axes.add_patch(Rectangle((left, top), side, side, fill=False, edgecolor=INK, linewidth=0.8))
    for i, j in np.ndindex(*share.shape):
        axes.text(left + (j + 0.5) * step, top + (i + 0.5) * step, f"{100 * share[i, j]:.0f}", ha="center",
                  va="center", fontsize=8 if len(classes) < MANY else 6.5,
                  color="white" if share[i, j] > 0.55 else INK)  # fmt: skip
    for k, name in enumerate(classes):
        middle = (k + 0.5) * step
        axes.text(left + middle, top + side + 0.05, literal(name), fontsize=7, rotation=40, ha="right", va="top",
                  rotation_mode="anchor")  # fmt: skip
        if first:
            axes.text(left - 0.06, top + middle, literal(name), fontsize=7, ha="right", va="center")
    for lines, title in enumerate((f"tested {row['tested_on']}", f"trained {row['trained_on']}")):
        axes.text(left + side / 2, top - 0.06 - 0.15 * lines, literal(shortened(title)), ha="center", va="bottom",
                  fontsize=8)  # fmt: skip
    below = top + side + 0.2 + SLANT * max(text_width(name, 7) for name in classes)
    axes.text(left + side / 2, below, "predicted", ha="center", va="center", fontsize=7.5)


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
