"""How many images of a class an effect must be seen on, until the audit shows it: its own rule on resampled cases.

An effect of 0.1 on average is taken to be what it mostly is: some images that answer, among others that do not. Images
that answer are drawn from those of a network that took the planted shortcut, with the share that makes the mean; for
the others the intervention does what a control does. Two images of other classes are drawn for each, alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from audit_tables import KINDS, exact_effect, factor_of, key_of, kind_of, truth_of

from xray_debug.audit.checks import all_checks
from xray_debug.audit.hypotheses import MIN_CASES, PER_QUESTION, Hypothesis, judge
from xray_debug.audit.summary import mean_interval_of
from xray_debug.config import AuditConfig
from xray_debug.stats.randomisation import separation_p, sign_flip_p
from xray_debug.stats.seeds import rng_of

EFFECTS = (0.1, 0.2)
IMAGES = (10, 20, 30, 50, 80, 120, 200)
DRAWS, OTHERS, MOST_DATASETS, WANTED = 20, 2, 3, 0.8
FLIPS, PERMUTATIONS = 2000, 1000


def asked_of(record: dict, kind: str, folder: Path) -> tuple[Hypothesis, int] | None:
    """The question of a kind on the class that the network's shortcut moves most, as the audit asked it of the cases
    in `folder`, and how many questions were tested with it; None where it was not asked."""
    effects = record["effects"][factor_of(record, kind)]
    label = max((name for name in effects if effects[name]["n"] >= MIN_CASES), key=lambda name: effects[name]["effect"])
    regions = folder / "regions.csv"
    config = AuditConfig(regions=str(regions) if regions.exists() else None)
    cases = pd.read_parquet(folder / "cases.parquet")
    cases = cases[cases["problem"] == ""]
    found = [h for check in all_checks(config) for h in check.hypotheses(cases, label)
             if kind_of({"check": check.name, "question": h.name}) == kind and h.tested]
    if not found:
        return None
    tested = sum(row["tested"] for row in record["questions"])
    return max(found, key=lambda h: float((h.effect - h.control).mean())), tested


def resampled(h: Hypothesis, effect: float, count: int, rng: np.random.Generator) -> Hypothesis | None:
    """The question on `count` images of the class, of which so many answer that the mean beyond controls is `effect`;
    None where even all of them would not make it."""
    whole = float((h.effect - h.control).mean())
    if whole < effect:
        return None

    def mixed(answering: np.ndarray, still: np.ndarray) -> np.ndarray:
        return np.where(rng.random(len(answering)) < effect / whole, answering, still)

    def controls(size: int) -> np.ndarray:
        return h.control[rng.integers(len(h.control), size=size)]

    rows = rng.integers(len(h.effect), size=count)
    control = h.control[rows]
    found = mixed(h.effect[rows], controls(count))
    if h.beyond is None:  # nothing is asked of the other classes
        return replace(h, effect=found, control=control)
    own, others = np.flatnonzero(h.own), np.flatnonzero(~h.own)
    rest = rng.choice(others, OTHERS * count)
    beyond = np.concatenate([found - control, mixed(h.beyond[rest], controls(len(rest)) - controls(len(rest)))])
    alone = None
    if h.alone is not None:
        chosen = rng.choice(own, count)
        alone = np.concatenate([mixed(h.alone[chosen], h.alone[rng.choice(others, count)]),
                                mixed(h.alone[rest], h.alone[rng.choice(others, len(rest))])])
    return replace(h, effect=found, control=control, beyond=beyond, alone=alone, own=np.arange(len(beyond)) < count)


def shows(h: Hypothesis, tested: int, config: AuditConfig, seed: int) -> bool:
    """Whether the audit's rule shows it; the correction is that of the first of `tested` questions, the harshest."""
    parts = [part for part in (h.beyond, h.alone) if part is not None]
    found = [sign_flip_p(h.effect - h.control, max(FLIPS, PER_QUESTION * tested), seed)]
    found += [separation_p(part, h.own, max(PERMUTATIONS, PER_QUESTION * tested), seed) for part in parts]
    h.p = max(found)
    h.p_adjusted = min(1.0, h.p * tested)
    if not judge(h, config, seed, "images")["shown"]:
        return False
    if h.name.partition(":")[0] not in ("look", "laterality"):
        return True
    gain = mean_interval_of(-h.beyond[~h.own], config.level, seed)  # as following.with_gain
    return int((~h.own).sum()) >= MIN_CASES and gain["low"] > 0 and gain["value"] >= config.min_effect / 2


def power(questions: list[tuple[Hypothesis, int]], effect: float, count: int, draws: int = DRAWS) -> float | None:
    """Share of resamples, over all the questions, that show the effect."""
    config, shown = AuditConfig(), []
    for index, (h, tested) in enumerate(questions):
        for draw in range(draws):
            rng = rng_of("power", index, draw, count, effect)
            found = resampled(h, effect, count, rng)
            if found is not None:
                shown.append(shows(found, tested, config, draw))
    return float(np.mean(shown)) if shown else None


def power_table(records: list[dict], work: Path, kinds: Sequence[str] = KINDS) -> dict[str, dict]:
    """kind -> {"datasets", effect: {images: share that shows it}}; stops where nearly all do."""
    table = {}
    for kind in kinds:
        taken = [r for r in records if factor_of(r, kind) and truth_of(r, kind) == "taken"
                 and (work / key_of(r).replace(" ", "-") / "cases.parquet").exists()]
        taken.sort(key=lambda r: -exact_effect(r, factor_of(r, kind)))
        questions = [found for r in taken if (found := asked_of(r, kind, work / key_of(r).replace(" ", "-")))]
        row: dict = {"datasets": len(questions[:MOST_DATASETS])}
        for effect in EFFECTS if questions else ():
            row[f"{effect:g}"] = curve = {}
            for count in IMAGES:
                curve[str(count)] = found = power(questions[:MOST_DATASETS], effect, count)
                if found is None or found >= 0.95:
                    break
        table[kind] = row
        print(kind, row, flush=True)
    return table


def fewest(curve: dict[str, float | None]) -> int | None:
    """The smallest number of images from which on WANTED of the resamples show it; None for more than were tried."""
    enough = None
    for count in sorted(curve, key=int, reverse=True):
        if curve[count] is None or curve[count] < WANTED:
            break
        enough = int(count)
    return enough
