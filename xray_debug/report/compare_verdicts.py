"""The verdicts of two runs side by side, and how far an effect differs on the cases that both have measured."""

from __future__ import annotations

import numpy as np
import pandas as pd

from xray_debug.audit.hypotheses import ALL, MIN_CASES
from xray_debug.report.inputs import RunFiles
from xray_debug.report.scores import named
from xray_debug.stats.intervals import LEVEL, Interval, bootstrap

PREFIXES = {"text": "", "absence": "paste_"}  # of a question's columns in the cases; else the question's own name
SHOWN = ("effect", "control", "difference")
KEYS = ["test_set", "check", "question", "label"]
SIDE = ["n", "unit", *(f"{name}{end}" for name in SHOWN for end in ("", "_low", "_high")), "p_adjusted"]
NEEDED = ["kind", *KEYS, *SIDE, "shown"]


def verdicts(a: RunFiles, b: RunFiles, shared: np.ndarray, samples: int, seed: int, left_out: list[dict]) -> list[dict]:
    """A row for each test set, question and class that either run's audit asked: `a`, `b` (None: not asked), and where
    both have measured the same cases, `cases` of them and `change`, the difference (effect less control) in B less
    that in A, a mean over patients with its paired bootstrap interval.

    `shared`: the images that are the same in both.
    """
    tables = []
    for name, run in (("A", a), ("B", b)):
        if not run.store.has("checks") or run.cases is None:
            left_out.append({"what": f"the verdict of {name}", "why": run.store.why_absent("checks")})
            return []
        checks = run.store.table("checks")
        lacking = [column for column in NEEDED if column not in checks]
        if lacking:
            left_out.append({"what": f"the verdict of {name}", "why": "its table of checks was written by another "
                             f"version of xray-debug, it lacks {', '.join(lacking)}"})  # fmt: skip
            return []
        tables.append(checks[checks["kind"] == "intervention"])
    rows = []
    asked = dict.fromkeys(tuple(row) for table in tables for row in table[KEYS].itertuples(index=False))
    for key in sorted(asked, key=lambda key: key[0] != "test"):  # the dataset's own test set first
        test_set, _, question, label = key
        sides = [_side(table, key) for table in tables]
        row = {**dict(zip(KEYS, key, strict=True)), "a": sides[0], "b": sides[1], "cases": 0,
               **named("change", Interval(np.nan, np.nan, np.nan))}  # fmt: skip
        if None not in sides:
            found = [beyond(_measured(run, test_set, shared), question, label) for run in (a, b)]
            row |= _change(*found, a.patients, samples, seed)
        rows.append({**row, "reads": reads(row)})
    return rows


def _side(table: pd.DataFrame, key: tuple) -> dict | None:
    found = table[(table[KEYS] == list(key)).all(axis=1)]
    if not len(found):
        return None
    row = found.iloc[0]
    return {**{name: row[name] for name in SIDE}, "shown": bool(row["shown"])}


def _measured(run: RunFiles, test_set: str, shared: np.ndarray) -> pd.DataFrame:
    cases = run.cases
    if "problem" in cases:
        cases = cases[cases["problem"].fillna("") == ""]
    if "test_set" in cases:
        cases = cases[cases["test_set"] == test_set]
    return cases[cases["image_id"].isin(shared)].drop_duplicates("image_id")


def beyond(cases: pd.DataFrame, question: str, label: str) -> pd.Series:
    """image_id -> effect less control of the images that a question is put to; those of any class for ALL.

    Empty where the columns of the question are not known: then the verdicts stand side by side and no more.
    """
    if label == ALL:
        parts = [beyond(cases, question, name) for name in cases["label"].unique()]
        return pd.concat(parts) if parts else pd.Series(dtype=float)
    prefix = PREFIXES.get(question, question.replace(":", "_") + "_")
    names = [f"{prefix}{kind}_{label}" for kind in ("effect", "control_effect")]
    if not {*names, "text_visible"} <= set(cases):
        return pd.Series(dtype=float)
    own = cases[cases["label"] == label]
    if question in PREFIXES:
        own = own[(own["text_visible"] > 0) == (question == "text")]
    values = own.set_index("image_id")[names].astype(float)
    found = values[names[0]] - values[names[1]]
    return found[np.isfinite(found)]


def _change(first: pd.Series, second: pd.Series, patients: pd.Series | None, samples: int, seed: int) -> dict:
    """{"cases", "change", "change_low", "change_high"} of the images in both; of fewer than MIN_CASES patients none."""
    moved = (second - first).dropna()
    known = {} if patients is None else patients.dropna().to_dict()
    units = moved.groupby([known.get(name, name) for name in moved.index]).mean().to_numpy()
    if len(units) < MIN_CASES:
        return {"cases": len(moved)}
    return {"cases": len(moved), **named("change", bootstrap(np.mean, [units], samples, seed, LEVEL))}


def reads(row: dict) -> str:
    """What the two verdicts allow to be said; that one is shown and the other not is no difference by itself."""
    a, b = row["a"], row["b"]
    if a is None or b is None:
        return f"not asked in {'A' if a is None else 'B'}"
    less, more = row["change_high"] < 0, row["change_low"] > 0
    moved = "; weaker in B" if less else "; stronger in B" if more else ""
    if a["shown"] and b["shown"]:
        return f"shown in both{moved}"
    if not a["shown"] and not b["shown"]:
        return f"shown in neither{moved}"
    expected = less if a["shown"] else more
    return f"shown in {'A' if a['shown'] else 'B'} alone" + (moved if expected else "; a difference is not shown")
