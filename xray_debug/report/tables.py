"""The report's score tables from test predictions: the 2x2, its differences, per class, per source.

Every function takes `cells`, (trained_on, tested_on, test_set) -> Cell, and returns flat rows for report.json.
Scores are averages over the seeds' models; intervals are over images.
"""

from __future__ import annotations

import numpy as np

from xray_debug.report.inputs import RunFiles
from xray_debug.stats.groups import clustered_share
from xray_debug.stats.intervals import LEVEL
from xray_debug.stats.scores import (
    Cell,
    Cells,
    Key,
    cell_scores,
    class_scores,
    common,
    confusion_matrices,
    paired_difference,
    unpaired_difference,
)
from xray_debug.stats.tests import combined_p, holm, mcnemar

ALPHA = 0.05
WORST_OF = 5  # images a source needs to be named the worst
Versions = tuple[str, str]  # trained on, tested on

REFERENCE = [
    {"dataset": "COVIDx", "accuracy": 0.9519, "f1": 0.9381, "precision": 0.9575, "recall": 0.9185},
    {"dataset": "COVIDx++", "accuracy": 0.9593, "f1": 0.9508, "precision": 0.9570, "recall": 0.9449},
]  # Khorram, Lawson, Fuxin 2020, Table 4

COMPARISONS: tuple[tuple[Versions, Versions, str], ...] = (
    (("original", "original"), ("cleaned", "original"), "training on cleaned images, tested on the original images"),
    (("original", "cleaned"), ("cleaned", "cleaned"), "training on cleaned images, tested on the cleaned images"),
    (("original", "original"), ("original", "cleaned"), "removing text from the test images, trained on original"),
    (("cleaned", "original"), ("cleaned", "cleaned"), "removing text from the test images, trained on cleaned"),
    (("original", "original"), ("cleaned", "cleaned"), "cleaning training and test images (the paper's comparison)"),
    (("original", "original"), ("control", "original"), "inpainting the same area away from text, tested on original"),
    (("original", "cleaned"), ("control", "cleaned"), "inpainting the same area away from text, tested on cleaned"),
    (("control", "original"), ("cleaned", "original"), "removing text beyond mere inpainting, tested on original"),
    (("control", "cleaned"), ("cleaned", "cleaned"), "removing text beyond mere inpainting, tested on cleaned"),
)


def _named(key: Key) -> dict[str, str]:
    return dict(zip(("trained_on", "tested_on", "test_set"), key, strict=True))


def table4(cells: Cells, samples: int, seed: int) -> list[dict]:
    """One row per model and test version with the four metrics of the paper's Table 4."""
    return [{**_named(key), **cell_scores(cell, samples, seed, LEVEL)} for key, cell in cells.items()]


def patients(cells: Cells) -> list[dict]:
    """Images and patients of each test set, where they are known."""
    first = {key[2]: cell for key, cell in reversed(cells.items())}
    return [
        {"test_set": name, "images": len(first[name].labels), "patients": len(set(first[name].patients))}
        for name in dict.fromkeys(key[2] for key in cells) if first[name].patients is not None
    ]  # fmt: skip


def wording(difference: float, low: float, high: float, p: float, images: int) -> str:
    """What a difference allows to be said: its interval must exclude 0 and its adjusted p be below 0.05."""
    if p < ALPHA and low > 0 and difference > 0:
        return "improves"
    if p < ALPHA and high < 0 and difference < 0:
        return "worsens"
    return f"no difference can be shown with this many images (n = {images})"


def differences(cells: Cells, samples: int, seed: int) -> list[dict]:
    """Paired comparisons of the 2x2 (and of the control), Holm-adjusted over all of a test set."""
    rows = []
    for test_set in dict.fromkeys(key[2] for key in cells):
        found = []
        for first, second, what in COMPARISONS:
            a, b = cells.get((*first, test_set)), cells.get((*second, test_set))
            if a is not None and b is not None:
                names = {"test_set": test_set, "what": what, "from": "/".join(first), "to": "/".join(second)}
                found.append({**names, **difference(a, b, samples, seed)})
        rows += adjusted(found)
    return rows


def adjusted(rows: list[dict]) -> list[dict]:
    """Rows of one family with their adjusted p and what they allow to be said."""
    for row, p in zip(rows, holm([row["p"] for row in rows]) if rows else [], strict=True):
        row["p_holm"] = float(p)
        change = (row["accuracy"], row["accuracy_low"], row["accuracy_high"])
        row["wording"] = wording(*change, row["p_holm"], row["images"])
    return rows


def difference(first: Cell, second: Cell, samples: int, seed: int) -> dict:
    """Second less first on the images and seeds that both have: paired intervals of OVERALL, and McNemar's test."""
    first, second = common(first, second)
    tests = [mcnemar(a, b) for a, b in zip(first.correct, second.correct, strict=True)]
    per_seed = second.correct.mean(1) - first.correct.mean(1)
    mean = float(per_seed.mean())
    row = paired_difference(first, second, samples, seed, LEVEL)
    row |= {
        "per_seed": [float(value) for value in per_seed],
        "seeds_agreeing": int((np.sign(per_seed) == np.sign(mean)).sum()),
        "seeds": len(per_seed),
        "only_first": [int(test[0]) for test in tests],
        "only_second": [int(test[1]) for test in tests],
        "p_per_seed": [float(test[2]) for test in tests],
        "p": combined_p([float(test[2]) for test in tests]),
        "images": len(first.labels),
    }
    return row


def gaps(cells: Cells, samples: int, seed: int) -> list[dict]:
    """How each model fares on the further test sets against the dataset's own: different images, so not paired."""
    rows = []
    for (trained, tested, test_set), cell in cells.items():
        usual = cells.get((trained, tested, "test"))
        if test_set != "test" and usual is not None:
            found = unpaired_difference(usual, cell, samples, seed, LEVEL)
            rows.append({**_named((trained, tested, test_set)), **found, "usual": float(usual.correct.mean()),
                         "there": float(cell.correct.mean()), "images": len(cell.labels)})  # fmt: skip
    return rows


def per_class(cells: Cells) -> list[dict]:
    """Sensitivity and positive predictive value of each class in each cell."""
    return [{**_named(key), **row} for key, cell in cells.items() for row in class_scores(cell, LEVEL)]


def per_source(cells: Cells) -> list[dict]:
    """Accuracy within each source, the worst source, and the accuracy of the rest of the test without that source."""
    rows = []
    for key, cell in cells.items():
        hits, found = cell.correct.mean(0), []
        for source in sorted(set(cell.sources)):
            inside = cell.sources == source
            counts = np.bincount(cell.labels[inside], minlength=len(cell.classes))
            own = clustered_share(hits[inside], cell.owners[inside], LEVEL)
            found.append({
                **_named(key), "source": source, "images": int(inside.sum()),
                "classes": {name: int(n) for name, n in zip(cell.classes, counts, strict=True) if n},
                **dict(zip(("accuracy", "accuracy_low", "accuracy_high"), map(float, own), strict=True)),
                "accuracy_without": float(hits[~inside].mean()) if (~inside).any() else None, "worst": False,
            })  # fmt: skip
        rivals = [row for row in found if row["images"] >= WORST_OF] or found
        if len(rivals) > 1:
            min(rivals, key=lambda row: row["accuracy"])["worst"] = True
        rows += found
    return rows


def left_out_sources(cells: Cells, without: dict[str, Cells], run: RunFiles, samples: int, seed: int) -> list[dict]:
    """Leave-one-source-out: on a source's test images, models that saw the source against models that never did.

    `accuracy` is the difference, paired and Holm-adjusted over all lines; `with` and `without` the two accuracies.
    """
    rows = []
    for source, key, cell in [(source, *pair) for source, others in without.items() for pair in others.items()]:
        usual = cells.get(key)
        if usual is None:
            continue
        usual = usual.take(np.flatnonzero(usual.sources == source))
        counts = np.bincount(cell.labels, minlength=len(cell.classes))
        rows.append({
            "source": source, **_named(key),
            "classes": {name: int(n) for name, n in zip(cell.classes, counts, strict=True) if n},
            "with": float(usual.correct.mean()), "without": float(cell.correct.mean()),
            **difference(usual, cell, samples, seed),
        })  # fmt: skip
    if not rows:
        _say_no_leave_out(run)
    return adjusted(rows)


def _say_no_leave_out(run: RunFiles) -> None:
    frame = run.usable
    if frame is None:
        return
    kinds = frame.groupby("source")["label"].nunique()
    mixed = sorted(kinds[kinds > 1].index)
    if len(kinds) < 2:
        why = "the dataset has one source"
    elif not mixed:
        why = "every source holds one class only, so a left-out source would test that class alone"
    else:
        why = (f"the run holds no models trained without a source (retrain.leave_sources_out); sources with more than "
               f"one class: {', '.join(mixed)}. The figures by source are of models that saw every source")
    run.leave_out("leave-one-source-out training", why)


def confusion(cells: Cells) -> list[dict]:
    """Counts summed over the seeds' models, and their share of each true class; rows are the truth, columns the
    prediction."""
    rows = []
    for key, cell in cells.items():
        counts = confusion_matrices(cell).sum(0).astype(int)
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        rows.append({**_named(key), "classes": list(cell.classes), "seeds": len(cell.seeds),
                     "counts": counts.tolist(), "shares": shares.tolist()})  # fmt: skip
    return rows
