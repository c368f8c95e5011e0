"""What each repair did: scores, the worst group, the original model's shortcuts before and after, which to take."""

from __future__ import annotations

import numpy as np
import pandas as pd

from xray_debug.report.format import count, percent, signed
from xray_debug.report.inputs import RunFiles
from xray_debug.report.scores import named
from xray_debug.report.tables import WORST_OF
from xray_debug.stats.groups import clustered_share
from xray_debug.stats.intervals import LEVEL
from xray_debug.stats.scores import Cell, Cells, cell_scores

ORIGINAL, NO_REPAIR = "original", ("original", "control")  # the control row tells what inpainting costs
MEASURES = ("effect", "control", "difference")
KEYS = ["check", "question", "label"]
RULE = (
    "Of the models in whose audit no shortcut is shown, those whose worst group's accuracy lies within the best one's "
    "interval count as equal; of these the one with the highest accuracy on the original test images is taken, "
    "the first in the table where two are alike."
)
OPTIMISTIC = "It was chosen on these test images, so its figures are on the bright side: confirm them on others."


def repairs(run: RunFiles, cells: Cells, samples: int, seed: int) -> dict | None:
    """A row for each model, `take` and `text`; None where the run has no repairs.

    A shortcut of the original is what is shown of it by stage audit or, on the repairs' cases, again: fewer cases show
    less, and what a repaired model shares with the original is not its own.

    Scores are of all seeds' models on the original images of the test set that was audited (the usual one, where none
    was), the audit of the first seed's. `worst`: of the groups with WORST_OF images or more. `effects`: of every
    shortcut of the original model, in this model; `further`: those shown of this model alone.
    """
    if not run.store.has("repairs") or not cells:
        return None
    store, told = run.store, run.store.json("repairs")
    checks = store.table("repaired checks") if store.has("repaired checks") else None
    whole = store.table("checks") if checks is not None and store.has("checks") else None
    if checks is None:
        run.leave_out("what the audit says of the repaired models", store.why_absent("repaired checks"))
    test_set = next(iter(cells))[2] if checks is None else str(checks["test_set"].iloc[0])
    groups = store.table("groups").set_index("image_id")["group"]
    known = {} if whole is None else shown_of(whole, test_set)
    rows = [_row(model, cell, groups, checks, known, told["repairs"].get(model, {}), samples, seed)
            for (model, tested, name), cell in cells.items() if (tested, name) == (ORIGINAL, test_set)]  # fmt: skip
    cases = 0 if checks is None else int(store.table("repaired cases", ["model"])["model"].eq(ORIGINAL).sum())
    taken, text = choice(rows)
    return {"by": told["by"], "test_set": test_set, "cases": cases, "least": WORST_OF, "rows": rows, "take": taken,
            "text": text, "rule": RULE}  # fmt: skip


def _row(model: str, cell: Cell, groups: pd.Series, checks: pd.DataFrame | None, known: dict, facts: dict,
         samples: int, seed: int) -> dict:  # fmt: skip
    scores = cell_scores(cell, samples, seed, LEVEL)
    row = {"model": model, **{name: scores[name] for name in ("accuracy", "accuracy_low", "accuracy_high")},
           "images": len(cell.labels), "seeds": len(cell.seeds), "worst": worst_group(cell, groups), "facts": facts,
           "audited": checks is not None and bool((checks["model"] == model).any()), "effects": [], "further": []}
    if row["audited"]:
        row["effects"], row["further"] = _shortcuts(checks, model, known)
    return row


def worst_group(cell: Cell, groups: pd.Series) -> dict | None:
    """The group of images with the lowest accuracy, of those with WORST_OF images or more; None where there is none.

    Accuracy is a mean over seeds with Wilson's interval, the images of a patient taken together. `small`: how many
    groups have fewer.
    """
    names, hits = groups.reindex(cell.image_ids).to_numpy(object), cell.correct.mean(0)
    found, small = [], 0
    for name in sorted(set(names[pd.notna(names)])):
        inside = names == name
        if inside.sum() < WORST_OF:
            small += 1
            continue
        found.append({"group": name, "images": int(inside.sum()),
                      **named("accuracy", clustered_share(hits[inside], cell.owners[inside]))})  # fmt: skip
    return {**min(found, key=lambda row: row["accuracy"]), "small": small} if found else None


def shown_of(checks: pd.DataFrame, test_set: str) -> dict[tuple[str, str, str], float]:
    """(check, question, class) of what stage audit showed on a test set -> its effect beyond controls."""
    found = checks[(checks["kind"] == "intervention") & (checks["test_set"] == test_set) & checks["shown"]]
    return dict(zip(found[KEYS].itertuples(index=False, name=None), found["difference"].astype(float), strict=True))


def _shortcuts(checks: pd.DataFrame, model: str, known: dict) -> tuple[list[dict], list[str]]:
    """The original's shortcuts in this model, those shown of it here and `known` ones (shown_of), and what is shown of
    this model alone. What was not asked on these cases has no images and no effect: it is not gone."""
    asked = checks[checks["kind"] == "intervention"]
    old, own = (asked[asked["model"] == name].set_index(KEYS) for name in (ORIGINAL, model))
    here = {key: float(row["difference"]) for key, row in old[old["shown"].astype(bool)].iterrows()}
    effects = []
    for key, before in (known | here).items():
        row = own.loc[key] if key in own.index else pd.Series(dtype=float)
        entry = {**dict(zip(KEYS, key, strict=True)), "n": int(row.get("n", 0)), "shown": bool(row.get("shown", False))}
        for name in MEASURES:
            entry[name] = {end: float(row.get(name + column, np.nan))
                           for end, column in (("value", ""), ("low", "_low"), ("high", "_high"))}  # fmt: skip
        entry["before"] = before
        effects.append(entry)
    new = [key for key in own[own["shown"].astype(bool)].index if key not in known and key not in here]
    return effects, [f"{label}: {question}" for _, question, label in sorted(new)]


def choice(rows: list[dict]) -> tuple[str | None, str]:
    """Which model to take by RULE (None for none), and a sentence that says so."""
    original = next((row for row in rows if row["model"] == ORIGINAL), None)
    tried = [row for row in rows if row["model"] not in NO_REPAIR and row["audited"]]
    if original is None or not original["audited"] or not tried:
        return None, "The repaired models were not audited again, so nothing is said about which to take."
    if not original["effects"]:
        return None, "The audit of the original model shows no shortcut: there is nothing to repair."
    free = [row for row in tried if asked_after(row) and not row["further"]
            and not any(entry["shown"] for entry in row["effects"])]  # fmt: skip
    if not free:
        left = "a shortcut is still shown" + ("" if all(map(asked_after, tried)) else ", or could not be asked after,")
        least = min(tried, key=largest_left)
        return None, (f"No repair suffices: {left} of each of the {count(len(tried))} models. "
                      f"The least is left with {least['model']}, whose largest effect beyond controls is "
                      f"{signed(largest_left(least))} ({signed(largest_left(original))} before).")  # fmt: skip
    if not all(row["worst"] for row in free):
        return None, (f"No shortcut is shown any more of {', '.join(row['model'] for row in free)}; no group has "
                      f"{WORST_OF} test images, so nothing is said about which to take.")  # fmt: skip
    best = max(free, key=lambda row: row["worst"]["accuracy"])
    equal = [row for row in free if row["worst"]["accuracy"] >= best["worst"]["accuracy_low"]]
    taken = max(equal, key=lambda row: row["accuracy"])
    worst = taken["worst"]
    return taken["model"], (
        f"Take {taken['model']}: in its audit no shortcut is shown any more, its worst group "
        f"({worst['group']}) reaches {percent(worst['accuracy'])} % ({percent(worst['accuracy_low'])} to "
        f"{percent(worst['accuracy_high'])}), and its accuracy is {percent(taken['accuracy'])} % "
        f"({percent(original['accuracy'])} % before). {''.join(_cautions(taken, original))}{OPTIMISTIC}")  # fmt: skip


def _cautions(taken: dict, original: dict) -> list[str]:
    """What speaks against the model that is taken: a shortcut hardly smaller than it was, a worse worst group."""
    found = []
    for entry in taken["effects"]:
        left = entry["difference"]
        if left["high"] >= entry["before"]:
            found.append(f"But {shortcut_name(entry)} still has an effect of {signed(left['value'])} "
                         f"({signed(left['low'])} to {signed(left['high'])}), {signed(entry['before'])} before: it is "
                         f"not shown, and not shown to be smaller. ")  # fmt: skip
    before = original["worst"]
    if before and taken["worst"]["accuracy"] < before["accuracy"]:
        found.append(f"But the worst group of the original model ({before['group']}) reached "
                     f"{percent(before['accuracy'])} %. ")  # fmt: skip
    return found


def asked_after(row: dict) -> bool:
    """Whether all of the original's shortcuts were measured in this model: what was not is not gone."""
    return all(entry["n"] for entry in row["effects"])


def largest_left(row: dict) -> float:
    """The largest effect beyond controls of the original's shortcuts in this model; infinite where one is not known."""
    values = [entry["difference"]["value"] for entry in row["effects"]]
    return float("inf") if any(value is None or value != value for value in values) else max(values)


def shortcut_name(entry: dict) -> str:
    """A shortcut as the head of a column: the class and what it is known by."""
    return f"{entry['label']}: {entry['question'].removeprefix('region:')}"
