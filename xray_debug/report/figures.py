"""Pictures: strips of flagged cases, explanations with their curves, the 2x2, confusion matrices, reliability.

Matplotlib's object interface with the Agg canvas only: no global state, safe in threads and without a display.
Colours are Okabe and Ito's, told apart with every kind of colour vision; heat is matplotlib's "inferno".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xray_debug.saliency.plots import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PINK,
    Panel,
    empty_figure,
    explain_figure,
    gray_bytes,
    heat_overlay,
    literal,
    plain_axes,
    resized_map,
    save_figure,
    show_panel,
)

__all__ = ["Panel", "case_figure", "confusion_figure", "explain_figure", "gray_bytes", "heat_overlay",
           "mean_curves_figure", "reliability_figure", "resized_map", "table4_figure"]

COLOURS = {"original": ORANGE, "cleaned": BLUE, "control": GREEN}


def case_figure(panels: Sequence[Panel], path: str | Path, title: str = "", dpi: int = 100) -> Path:
    """One PNG strip: the panels of a flagged case side by side, each with its title and the probability below it."""
    if not panels:
        raise ValueError("case_figure: expected at least one panel, got none")
    figure = empty_figure(1.75 * len(panels), 2.2 + 0.3 * bool(title))
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        show_panel(axes, panel)
    if title:
        figure.suptitle(literal(title), fontsize=10, color=INK, x=0.01, ha="left")
    return save_figure(figure, path, dpi)


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
    """Confusion matrices, one line per test set: share of each true class in percent, darker = more."""
    groups = [[row for row in rows if row["test_set"] == name] for name in dict.fromkeys(r["test_set"] for r in rows)]
    columns, kinds = max(len(group) for group in groups), len(rows[0]["classes"])
    side = 0.55 + 0.37 * kinds
    figure = empty_figure(side * columns + 0.9, (side + 0.75) * len(groups))
    places = figure.subplots(len(groups), columns, squeeze=False)
    for line, group in zip(places, groups, strict=True):
        for number, axes in enumerate(line):
            if number < len(group):
                _confusion(axes, group[number], number == 0)
            else:
                axes.set_axis_off()
    return save_figure(figure, path, 130)


def _confusion(axes, row: dict, first: bool) -> None:
    counts = np.asarray(row["counts"], float)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(*share.shape):
        ink = "white" if share[i, j] > 0.55 else INK
        axes.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=8, color=ink)
    names = [literal(name) for name in row["classes"]]
    axes.set_xticks(range(len(names)), names, fontsize=7, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names if first else [""] * len(names), fontsize=7)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted", fontsize=7.5)
    axes.set_ylabel(literal(f"{row['test_set']}: true") if first else "", fontsize=8)
    axes.set_title(literal(f"trained {row['trained_on']}\ntested {row['tested_on']}"), fontsize=8)


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
