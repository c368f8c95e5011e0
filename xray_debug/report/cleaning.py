"""What cleaning did, for the report: who was cleaned, what text is left, and what was set aside."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from xray_debug.report.inputs import RunFiles
from xray_debug.report.second_reader import reader_name
from xray_debug.stats.intervals import LEVEL, wilson


def repaired_flags(run: RunFiles) -> pd.DataFrame | None:
    """Usable images with `repaired` (bool) and `area_share` (0 where not repaired); None before cleaning."""
    frame, changes = run.usable, run.changes
    if frame is None or changes is None:
        return None
    frame = frame[~frame["image_id"].isin(list(run.excluded))]
    done = changes[changes["boxes"].map(_number_of_boxes) > 0].drop_duplicates("image_id").set_index("image_id")
    result = frame[["image_id", "label", "source", "split", "test_set"]].copy()
    result["repaired"] = result["image_id"].isin(done.index)
    area = done["area_share"] if "area_share" in done else pd.Series(np.nan, index=done.index)
    result["area_share"] = result["image_id"].map(area).where(result["repaired"], 0.0).astype(float)
    return result.reset_index(drop=True)


def _number_of_boxes(value) -> int:
    """Boxes of a row of changes.parquet: JSON text, or already a sequence."""
    return len(json.loads(value) if isinstance(value, str) else value)


def repaired(run: RunFiles, permutations: int, seed: int) -> dict | None:
    """Share of images and area repaired by class and source, and whether the repair tells the class."""
    flags = repaired_flags(run)
    if flags is None:
        return None
    rows = [{"group": "all", "name": "all images", **_repaired_row(flags)}]
    for group in ("label", "source", "split"):
        order = run.classes if group == "label" else sorted(set(flags[group]))
        rows += [{"group": group, "name": name, **_repaired_row(flags[flags[group] == name])} for name in order
                 if (flags[group] == name).any()]  # fmt: skip
    cross = [
        {"label": label, "source": source, **_repaired_row(part)}
        for (label, source), part in flags.groupby(["label", "source"], sort=True)
    ]
    large = flags["area_share"] > flags["area_share"].median()
    facts = {"repaired": flags["repaired"], "repaired area above the median": large}
    predicts = [
        {"fact": fact, "images_of": name, **predicts_label(values[part], flags["label"][part], permutations, seed)}
        for fact, values in facts.items()
        for name, part in [("all", flags["split"] != ""), ("training", flags["split"] != "test")]
        if flags["label"][part].nunique() > 1
    ]
    return {"rows": rows, "by_class_and_source": cross, "predicts_label": predicts, "kept": kept(run, flags)}


def kept(run: RunFiles, flags: pd.DataFrame) -> dict | None:
    """Laterality letters that stayed in place (clean.keep), by class; None where all text was to go.

    They are those that were read; that a reviewer has drawn boxes over one, or left its image out, is not looked at.
    """
    if run.config.clean.keep is None or not run.store.has("letters"):
        return None
    letters = run.store.table("letters")
    own = letters[letters["image_id"].isin(flags["image_id"])]
    counts = {name: int(flags.loc[flags["label"] == name, "image_id"].isin(own["image_id"]).sum())
              for name in run.classes}  # fmt: skip
    each = ", ".join(f"{name} {number} of {int((flags['label'] == name).sum())}" for name, number in counts.items())
    said = (f"{len(own)} laterality letters in {own['image_id'].nunique()} images were read and left in place "
            f"(clean.keep), unless a reviewer has decided otherwise; images with one by class: {each}.")  # fmt: skip
    return {"letters": len(own), "images": int(own["image_id"].nunique()), "by_class": counts, "text": said}


def _repaired_row(part: pd.DataFrame) -> dict:
    interval = wilson(int(part["repaired"].sum()), len(part), LEVEL)
    touched = part.loc[part["repaired"], "area_share"]
    return {
        "images": len(part), "repaired": int(part["repaired"].sum()), "share": float(part["repaired"].mean()),
        "share_low": float(interval.low), "share_high": float(interval.high),
        "area": float(part["area_share"].mean()), "area_of_repaired": float(touched.mean()) if len(touched) else None,
    }  # fmt: skip


def best_balanced_accuracy(yes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Balanced accuracy of the best guess of the class from one yes/no fact.

    `yes` (..., K) counts of yes in each class, `sizes` (K,) images in each: the mean over classes of
    max P(yes | class) and max P(no | class); 1/K where the fact says nothing, 1 at most for two classes.
    """
    share = np.asarray(yes, float) / np.asarray(sizes, float)
    return (share.max(-1) + (1 - share).max(-1)) / share.shape[-1]


def predicts_label(fact, labels, permutations: int, seed: int) -> dict:
    """How well a yes/no fact gives the class away, against the same labels permuted.

    With the class sizes kept, permuting labels draws the yes counts from a multivariate hypergeometric law.
    """
    fact, labels = np.asarray(fact, bool), np.asarray(labels)
    names, codes = np.unique(labels, return_inverse=True)
    sizes, yes = np.bincount(codes), np.bincount(codes, weights=fact).astype(int)
    value = float(best_balanced_accuracy(yes, sizes))
    rng = np.random.default_rng(seed)
    by_chance = best_balanced_accuracy(rng.multivariate_hypergeometric(sizes, int(fact.sum()), permutations), sizes)
    auc = {}
    for k, name in enumerate(names):
        rest = max(int(sizes.sum() - sizes[k]), 1)
        auc[str(name)] = 0.5 + (yes[k] / sizes[k] - (yes.sum() - yes[k]) / rest) / 2
    return {
        "balanced_accuracy": value, "by_chance": float(by_chance.mean()), "auc": auc, "images": len(labels),
        "p": float((1 + (by_chance >= value - 1e-12).sum()) / (1 + permutations)), "permutations": permutations,
    }  # fmt: skip


def residual(run: RunFiles) -> dict | None:
    """Repaired images in which a second detector still finds text, by class and source."""
    changes = run.changes
    if changes is None:
        return None
    if "residual" not in changes or changes["residual"].isna().all():
        run.leave_out("residual text after cleaning", "no second detector read the cleaned images (detect.second)")
        return None
    read = changes[changes["residual"].notna()]
    rows = [{"group": "all", "name": "all cleaned images", **_residual_row(read)}]
    for group in ("label", "source"):
        rows += [{"group": group, "name": name, **_residual_row(part)} for name, part in read.groupby(group, sort=True)]
    return {"rows": rows, "detector": reader_name(run)}


def _residual_row(part: pd.DataFrame) -> dict:
    left = int((part["residual"] > 0).sum())
    interval = wilson(left, len(part), LEVEL)
    return {"images": len(part), "with_text": left, "share": left / len(part), "share_low": float(interval.low),
            "share_high": float(interval.high), "boxes": int(part["residual"].sum())}  # fmt: skip


def faults(run: RunFiles, listed: int = 50) -> dict | None:
    """Images set aside, counted by problem, with the first of each named."""
    if run.manifest is None:
        return None
    aside = run.manifest[run.manifest["problem"].fillna("") != ""]
    kinds = aside["problem"].map(_kind).value_counts()
    first = aside.head(listed)[["image_id", "problem"]].astype(str)
    return {
        "images": len(run.manifest), "set_aside": len(aside),
        "kinds": [{"problem": str(name), "images": int(n)} for name, n in kinds.items()],
        "listed": first.to_dict("records"), "later": _later(run, listed), "excluded": len(run.excluded),
        "duplicates": _linked(run, "duplicate_of"), "near_duplicates": _linked(run, "near_duplicate_of"),
        "patients_in_both_splits": _shared_patients(run),
    }  # fmt: skip


def _later(run: RunFiles, listed: int) -> list[dict]:
    """Images that a stage after prepare could not do, and decisions that are not done as they stand."""
    rows = []
    if run.store.has("unread"):
        rows += [("detect", f"{name}: {why}") for name, why in run.store.json("unread").items()]
    if run.cases is not None and "problem" in run.cases:
        aside = run.cases[run.cases["problem"].fillna("") != ""]
        rows += [("audit", f"{name}: {why}") for name, why in zip(aside["image_id"], aside["problem"], strict=True)]
    if run.store.has("cleaning facts"):
        found = run.store.json("cleaning facts")
        rows += [("clean", f"{name}: {why}") for name, why in found["failed"].items()]
        rows += [("clean", remark) for remark in found["remarks"]]
    rows += [("review", f"{name}: excluded by event {event}") for name, event in run.excluded.items()]
    return [{"stage": stage, "problem": problem} for stage, problem in rows[:listed]]


def _kind(problem: str) -> str:
    """A problem without the name of the file it is about."""
    return problem.split(": ")[-1]


def _linked(run: RunFiles, column: str) -> int | None:
    frame = run.usable
    if column not in frame:
        return None
    return int((frame[column].fillna("").astype(str) != "").sum())


def _shared_patients(run: RunFiles) -> int | None:
    frame = run.usable
    if "patient_id" not in frame:
        return None
    test = frame["split"] == "test"
    return len(set(frame.loc[test, "patient_id"]) & set(frame.loc[~test, "patient_id"]))
