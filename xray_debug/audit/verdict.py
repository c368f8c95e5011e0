"""The verdict on a dataset, class by class: relies on text, relies on its absence, relies on a region, not shown.

Computed from the rows of cases.parquet alone. For each class the question is put to the images that carry its label,
not to those the model assigns to it: among the latter the probability is high by selection, and any change lowers it.
The questions are those of the registered checks; hypotheses.py says how they are tested and when they count as shown.
Text is also asked after over all classes at once, each image by the probability of its own label: more images, so a
smaller effect can be shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from xray_debug.audit.checks import Check, all_checks, blamed
from xray_debug.audit.hypotheses import ALL, MIN_CASES, Hypothesis, judge, numbers, test_all
from xray_debug.audit.summary import blackout_summary, counted, flag_summary, per_patient, swap_summary
from xray_debug.config import AuditConfig

NOT_SHOWN = "not shown"
KINDS = ("look", "laterality")  # of what every image has one way or another, beside text, its absence and regions


@dataclass(frozen=True)
class Judged:
    """One hypothesis of one check with its entry of the verdict."""

    check: Check
    hypothesis: Hypothesis
    entry: dict

    @property
    def sentence(self) -> str:
        with blamed(self.check.name, type(self.check), "sentence"):
            return self.check.sentence(self.hypothesis, self.entry)

    @property
    def hint(self) -> str:
        with blamed(self.check.name, type(self.check), "hint"):
            return "" if self.entry["shown"] else self.check.hint(self.hypothesis, self.entry)


def usable(cases: pd.DataFrame) -> pd.DataFrame:
    """The cases that were measured."""
    return cases[cases["problem"] == ""] if "problem" in cases else cases


def judge_all(cases: pd.DataFrame, classes: list[str], config: AuditConfig, seed: int = 0,
              checks: Sequence[Check] | None = None) -> list[Judged]:
    """All that is asked of one test set, class by class, then over all classes; tested, corrected and judged."""
    cases = usable(cases)
    units = per_patient(cases)
    unit, _ = counted(cases)
    checks = all_checks(config) if checks is None else checks
    asked = []
    for label in classes:
        for check in checks:
            with blamed(check.name, type(check), "hypotheses"):
                asked += [(check, h) for h in _different(check.hypotheses(units, label), [h for _, h in asked])]
    asked += [(check, h) for check in checks for h in check.over_all_classes(units, classes)]
    test_all([h for _, h in asked], seed)
    found = []
    for check, h in asked:
        with blamed(check.name, type(check), "detail"):
            found.append(Judged(check, h, check.detail(h, judge(h, config, seed, unit), units, seed)))
    return found


def _different(found: list[Hypothesis], before: list[Hypothesis]) -> list[Hypothesis]:
    """The questions of a check; ValueError where one has the name of another check's on the same class."""
    taken = {(h.label, h.name) for h in before}
    for h in found:
        if (h.label, h.name) in taken:
            raise ValueError(f"expected a question of a name of its own, {h.name!r} is asked of {h.label} already")
    return found


def class_verdict(label: str, judged: list[Judged]) -> dict:
    """{"verdict", "text", "absence", "regions", "look", "laterality", "sentences", "hints"} of one class."""
    own = {j.hypothesis.name: j for j in judged if j.hypothesis.label == label}
    kinds = {kind: {name.removeprefix(f"{kind}:"): j.entry for name, j in own.items() if name.startswith(f"{kind}:")}
             for kind in KINDS}
    regions = {name.removeprefix("region:"): j.entry for name, j in own.items()
               if name not in ("text", "absence") and name.partition(":")[0] not in KINDS}
    shown = [j for j in own.values() if j.entry["shown"]]
    text, absence = own["text"].entry, own["absence"].entry
    return {
        "verdict": "; ".join(j.hypothesis.words for j in shown) or NOT_SHOWN,
        "text": text, "absence": absence, "regions": regions, **kinds,
        "sentences": [j.sentence for j in shown] or [_nothing(label, text, absence)],
        "hints": [hint for hint in (*(j.hint for j in own.values()), _beside_a_look(label, shown)) if hint],
    }  # fmt: skip


def _beside_a_look(label: str, shown: list[Judged]) -> str:
    """A look is all over the film, so a region that goes all round it loses the look when it is filled in."""
    looks = [j.hypothesis.words.removeprefix("relies on ") for j in shown if j.hypothesis.name.startswith("look:")]
    around = [j.hypothesis.name.removeprefix("region:") for j in shown if getattr(j.check, "all_round", False)]
    if not looks or not around:
        return ""
    return (f"{label}: {' and '.join(around)} may be no more than where {' and '.join(looks)} is seen, which what is "
            f"filled in loses too: train on films of one {' and '.join(looks)} to tell.")


def _nothing(label: str, text: dict, absence: dict) -> str:
    if text["n"] < MIN_CASES and absence["n"] < MIN_CASES:
        return (f"{label}: not shown; too few {text['unit']}, {text['n']} with text and {absence['n']} without it "
                f"(at least {MIN_CASES} of a kind are needed).")
    parts = []  # a figure below 0 raises it
    if text["n"] >= MIN_CASES:
        parts.append(f"removing text lowers its probability {numbers(text)}")
    if absence["n"] >= MIN_CASES:
        parts.append(f"pasting markers lowers it {numbers(absence)}")
    return f"{label}: not shown; {'; '.join(parts)}."


def set_verdict(cases: pd.DataFrame, classes: list[str], config: AuditConfig, seed: int = 0,
                judged: list[Judged] | None = None) -> dict:
    """The verdict on the audited images of one test set; `judged`: what judge_all found, where that is known."""
    judged = judge_all(cases, classes, config, seed) if judged is None else judged
    cases = usable(cases)
    unit, units = counted(cases)
    result = {label: class_verdict(label, judged) for label in classes}
    overall = next((j for j in judged if j.hypothesis.label == ALL), None)
    together = bool(overall and overall.entry["shown"] and not any(result[c]["text"]["shown"] for c in classes))
    named = [label for label in classes if result[label]["verdict"] != NOT_SHOWN]
    said = [f"the classes together {overall.hypothesis.words}"] if together else []
    said += [f"{c} {result[c]['verdict']}" for c in named]
    hints = [hint for label in classes for hint in result[label]["hints"]]
    own = [sentence for label in (named or classes) for sentence in result[label]["sentences"]]
    first = [f"The classes together {overall.hypothesis.said} {numbers(overall.entry)}."] if together else []
    kinds = {"text": together or any(result[c]["text"]["shown"] for c in classes),
             "absence": any(result[c]["absence"]["shown"] for c in classes),
             **{kind: sorted({r for c in classes for r, e in result[c][kind].items() if e["shown"]})
                for kind in ("regions", *KINDS)}}
    return {
        "verdict": "; ".join(said) or NOT_SHOWN,
        "sentences": first + own + hints,
        "shown": kinds, "overall": overall and overall.entry, "classes": result, "cases": len(cases),
        "unit": unit, "units": units,
        "hypotheses": sum(j.hypothesis.tested for j in judged), "level": config.level,
        "swaps": swap_summary(cases, config, seed), "flagged": flag_summary(cases),
        "centre_blacked_out": blackout_summary(cases, config, seed),
    }  # fmt: skip


def dataset_verdict(table: pd.DataFrame, classes: list[str], config: AuditConfig,
                    seed: int = 0) -> tuple[dict, dict[str, list[Judged]]]:
    """The verdict on the dataset's own test set, and under "test_sets" on every test set by itself; and what was
    judged of each test set."""
    parts = {str(name): part for name, part in table.groupby("test_set")}
    judged = {name: judge_all(part, classes, config, seed) for name, part in parts.items()}
    sets = {name: set_verdict(part, classes, config, seed, judged[name]) for name, part in parts.items()}
    own = sets.get("test") or sets.get("") or next(iter(sets.values()))
    passes = table["passes"].dropna() if "passes" in table else pd.Series(dtype=float)
    problems = int((table["problem"] != "").sum()) if "problem" in table else 0
    return {**own, "test_sets": sets, "passes_per_case": float(passes.mean()) if len(passes) else 0.0,
            "most_passes": int(passes.max()) if len(passes) else 0, "problems": problems}, judged
