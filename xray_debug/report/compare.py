"""Two finished runs, model against model on the cases that both have predicted: scores, verdicts, what changed.

Reads the runs through the store only; no model is loaded, and torch is not imported. A difference is always B less A.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from xray_debug.config import ConfigError, PipelineConfig
from xray_debug.report.compare_verdicts import verdicts
from xray_debug.report.compare_words import model_name, sentences
from xray_debug.report.format import plain
from xray_debug.report.inputs import RunFiles, read_run
from xray_debug.report.scores import named, rankings
from xray_debug.report.tables import difference, wording
from xray_debug.report.words import AS_GIVEN
from xray_debug.run.store import Store, StoreError
from xray_debug.stats.delong import delong
from xray_debug.stats.intervals import LEVEL, Interval, percentile_interval
from xray_debug.stats.metrics import scores as metrics
from xray_debug.stats.resampling import resampled
from xray_debug.stats.scores import Cell, Cells, Key, cells_of, common, confusion_matrices
from xray_debug.stats.tests import holm

SAMPLES = 1000  # resamples at most behind the areas' intervals
MACRO = {"auroc": "AUROC, mean over classes", "auprc": "AUPRC, mean over classes"}
WORDS = {"improves": "B is better", "worsens": "A is better"}
ALIKE = "no difference can be shown"


@dataclass(frozen=True)
class Shared:
    """The images that both runs predicted, `ids`, and how many could not be used, by the reason."""

    ids: np.ndarray
    counts: dict[str, int]


def compare_runs(first: tuple[Store, PipelineConfig], second: tuple[Store, PipelineConfig]) -> dict:
    """All that is said of two runs, strict JSON.

    ConfigError, one sentence, where their classes differ or they share no case; StoreError where one has predicted
    nothing.
    """
    a, b = (_read(*run) for run in (first, second))
    if a.classes != b.classes:
        said = " and ".join(f"{run.store.folder} has {', '.join(run.classes)}" for run in (a, b))
        raise ConfigError(f"compare: expected two runs with the same classes, {said}")
    shared = shared_images(a, b)
    if not len(shared.ids):
        counts = ", ".join(f"{name}: {n}" for name, n in shared.counts.items() if n)
        raise ConfigError(f"compare: expected images that both runs have predicted, {a.store.folder} and "
                          f"{b.store.folder} share none ({counts})")
    config, left_out = a.config, []
    samples, seed = config.report.bootstrap, config.seed
    cells = paired_cells(a, b, shared, left_out)
    rows = [row for key, pair in cells.items() for row in score_rows(key, *pair, samples, seed, _trained(key, a, b))]
    report = {
        "level": LEVEL, "classes": a.classes, "runs": {"a": _named(a), "b": _named(b)},
        "images": {"shared": len(shared.ids), "patients": _patients(a, shared.ids), **shared.counts},
        "scores": rows, "verdicts": verdicts(a, b, shared.ids, samples, seed, left_out), "not_shown": left_out,
    }  # fmt: skip
    report = plain(report)
    return {**report, "sentences": sentences(report)}


def _read(store: Store, config: PipelineConfig) -> RunFiles:
    run = read_run(store, config, ())
    if run.predictions is None or not len(run.predictions):
        raise StoreError(f"{store.folder}: {store.why_absent('predictions')}")
    return run


def _named(run: RunFiles) -> dict[str, str]:
    """How a reader tells the run from the other; no path of the machine."""
    return {"name": run.config.name, "folder": run.store.folder.resolve().name}


def _trained(key: Key, a: RunFiles, b: RunFiles) -> str:
    """What the models of these cells were trained on; those that were given stand where the originals' would."""
    given = [name for name, run in (("A", a), ("B", b)) if run.config.model is not None and key[0] == "original"]
    return AS_GIVEN if len(given) == 2 else f"{key[0]}, {given[0]} {AS_GIVEN}" if given else key[0]


def _patients(run: RunFiles, ids: np.ndarray) -> int | None:
    owners = None if run.patients is None else run.patients.reindex(ids)
    return None if owners is None or owners.isna().any() else int(owners.nunique())


def shared_images(a: RunFiles, b: RunFiles) -> Shared:
    """Images that both predicted as tests, under one name with one label, of files with the same contents.

    Where a manifest does not know the contents (sha256) the name is believed, and the image counted.
    """
    tables = [_images(run) for run in (a, b)]
    both = tables[0].merge(tables[1], left_index=True, right_index=True, suffixes=("_a", "_b"))
    same_label = both["label_a"] == both["label_b"]
    known = (both["sha256_a"] != "") & (both["sha256_b"] != "")
    same_file = ~known | (both["sha256_a"] == both["sha256_b"])
    good = both[same_label & same_file]
    return Shared(good.index.to_numpy(str), {
        "only_a": len(tables[0]) - len(both), "only_b": len(tables[1]) - len(both),
        "another_label": int((~same_label).sum()), "another_file": int((same_label & ~same_file).sum()),
        "contents_not_known": int((same_label & ~known).sum()),
    })  # fmt: skip


def _images(run: RunFiles) -> pd.DataFrame:
    """label and sha256 ("" where it is not known) of each tested image."""
    tested = run.predictions[run.predictions["test_set"].fillna("") != ""]
    found = tested.drop_duplicates("image_id").set_index("image_id")[["label"]]
    hashes = pd.Series("", index=found.index)
    if run.usable is not None and "sha256" in run.usable:
        known = run.usable.drop_duplicates("image_id").set_index("image_id")["sha256"]
        hashes = known.reindex(found.index).fillna("").astype(str)
    return found.assign(sha256=hashes)


def paired_cells(a: RunFiles, b: RunFiles, shared: Shared, left_out: list[dict]) -> dict[Key, tuple[Cell, Cell]]:
    """Cells of the original images that both runs have, cut to the shared images, with as many seeds in both.

    An image counts for the test set that it is of in A.
    """
    sets = a.predictions.drop_duplicates("image_id").set_index("image_id")["test_set"]
    patients = a.patients if a.patients is not None else b.patients
    found: list[Cells] = []
    for run in (a, b):
        table = run.predictions[run.predictions["image_id"].isin(shared.ids) &
                                (run.predictions["tested_on"] == "original")]  # fmt: skip
        table = table.assign(test_set=table["image_id"].map(sets))
        found.append({key: cell for key, cell in cells_of(table, run.classes, patients).items() if len(cell.labels)})
    for name, own, other in (("A", *found), ("B", *found[::-1])):
        alone = dict.fromkeys(model_name(key[0]) for key in own if key not in other)
        if alone:
            left_out.append({"what": f"models {', '.join(alone)}", "why": f"on these images {name} alone has them"})
    pairs = {}
    for key in [key for key in found[0] if key in found[1]]:
        cells = [side[key] for side in found]
        count = min(len(cell.seeds) for cell in cells)
        if len({len(cell.seeds) for cell in cells}) > 1:
            left_out.append({"what": f"some seeds of the models {model_name(key[0])}", "why": f"the runs have "
                             f"{' and '.join(str(len(c.seeds)) for c in cells)}; the first {count} of each count"})
        pairs[key] = common(*(_renumbered(cell, count) for cell in cells))
    return {key: pair for key, pair in pairs.items() if len(pair[0].labels)}


def _renumbered(cell: Cell, count: int) -> Cell:
    """The first `count` seeds, called 0, 1, ...: seeds of two runs are paired in their order."""
    return replace(cell.take(np.arange(len(cell.labels)), cell.seeds[:count]), seeds=tuple(range(count)))


def score_rows(key: Key, a: Cell, b: Cell, samples: int, seed: int, trained: str = "") -> list[dict]:
    """Accuracy, macro F1, macro AUROC and AUPRC, and each class's sensitivity and AUROC: A, B, B less A, p.

    p: McNemar's exact test (accuracy, sensitivity; each seed's, combined) or DeLong's (AUROC), adjusted over the rows
    (Holm). Intervals are of a paired bootstrap, patients drawn whole, and DeLong's for the AUROC of a class. `trained`:
    what the models were trained on, as it is told.
    """
    overall = difference(a, b, samples, seed)
    f1 = [float(metrics(confusion_matrices(cell))["f1"].mean()) for cell in (a, b)]
    rows = [_row("accuracy", "", a, [cell.correct.mean() for cell in (a, b)], _of(overall, "accuracy"), overall["p"],
                 "McNemar"), _row("macro F1", "", a, f1, _of(overall, "f1"))]  # fmt: skip
    if a.probabilities is not None and b.probabilities is not None:
        rows += _areas(a, b, min(samples, SAMPLES), seed)
    for k, name in enumerate(a.classes):
        own = np.flatnonzero(a.labels == k)
        if not len(own):
            continue
        mine = [cell.take(own) for cell in (a, b)]
        change = difference(*mine, samples, seed)
        rows.append(_row("sensitivity", name, mine[0], [cell.correct.mean() for cell in mine],
                         _of(change, "accuracy"), change["p"], "McNemar"))  # fmt: skip
        if a.probabilities is not None and b.probabilities is not None and len(own) < len(a.labels):
            test = delong(a.probabilities[:, :, k], b.probabilities[:, :, k], a.labels == k, a.owners)
            rows.append(_row("AUROC", name, a, [test.first, test.second],
                             Interval(test.difference, test.low, test.high), test.p, "DeLong"))  # fmt: skip
    names = {"trained_on": trained, "test_set": key[2]}
    for row, p in zip(rows, holm([np.nan if row["p"] is None else row["p"] for row in rows]), strict=True):
        row["p_holm"] = None if np.isnan(p) else float(p)
        row["reads"] = "" if np.isnan(p) else _reads(row)
    return [{**names, **row} for row in rows]


def _reads(row: dict) -> str:
    change = (row["difference"], row["difference_low"], row["difference_high"])
    return WORDS.get(wording(*change, row["p_holm"], row["images"]), ALIKE)


def _of(found: dict, name: str) -> Interval:
    return Interval(found[name], found[f"{name}_low"], found[f"{name}_high"])


def _row(what: str, label: str, cell: Cell, values: list, change: Interval, p: float | None = None,
         test: str = "") -> dict:  # fmt: skip
    return {"what": what, "class": label, "images": len(cell.labels), "a": float(values[0]), "b": float(values[1]),
            **named("difference", change), "p": p, "test": test}  # fmt: skip


def _areas(a: Cell, b: Cell, samples: int, seed: int) -> list[dict]:
    """Macro AUROC and AUPRC with intervals of the same resamples for both."""
    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        first, second = (rankings(cell, weights) for cell in (a, b))
        return {name: second[f"macro_{name}"] - first[f"macro_{name}"] for name in MACRO}

    points = [rankings(cell) for cell in (a, b)]
    draws, rows = resampled(a.owners, measured, samples, seed), []
    for name, said in MACRO.items():
        values = [float(point[f"macro_{name}"][0]) for point in points]
        rows.append(_row(said, "", a, values, percentile_interval(values[1] - values[0], draws[name], LEVEL)))
    return rows
