"""What the review has come to, in numbers, and what is to be run next. No Streamlit and no torch here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from xray_debug.review.decisions import DECISIONS, Agreement
from xray_debug.review.queue import DISAGREED, NOT_DECIDED, SHOWN, Decided
from xray_debug.review.stages import COMPLETE, StageState, command_for
from xray_debug.run.store import Store

NO_NAME = "without a name"
FAIR, GOOD, VERY_GOOD = 0.21, 0.61, 0.81  # Landis and Koch 1977, Biometrics 33: fair, substantial, almost perfect


@dataclass(frozen=True)
class Counts:
    """Images of the queue; `flagged` and `others` as (decided, of how many); the decisions that count, by kind; each
    reviewer's own, by kind; the images on which two reviewers' decisions differ, in the queue's order.
    """

    flagged: tuple[int, int]
    others: tuple[int, int]
    by_decision: Mapping[str, int]
    by_reviewer: Mapping[str, Mapping[str, int]]
    disagreements: Sequence[str]


def counted(decided: Decided, by_reviewer: Mapping[str, Mapping[str, Any]]) -> Counts:
    """Of the decisions as the queue sees them, and as ReviewDB.by_reviewer has them; those on images that are not in
    the queue are left out."""
    queue = decided.queue
    open_ = decided.decided == NOT_DECIDED
    shown = queue.facts.get("show")
    flagged = open_ & False if shown is None else shown == SHOWN[0]
    counting = [row["decision"] for name, row in decided.rows.items() if name in queue.position]
    own = {who or NO_NAME: [event.decision for name, event in events.items() if name in queue.position]
           for who, events in by_reviewer.items()}  # fmt: skip
    return Counts(
        _share(flagged, open_), _share(~flagged, open_), _kinds(counting),
        {who: _kinds(own[who]) for who in sorted(own) if own[who]},
        [str(name) for name in queue.names[decided.disagreement == DISAGREED]],
    )  # fmt: skip


def _kinds(decisions: Iterable[str]) -> dict[str, int]:
    found = Counter(decisions)
    return {kind: found.get(kind, 0) for kind in DECISIONS}


def _share(chosen, open_) -> tuple[int, int]:
    return int((chosen & ~open_).sum()), int(chosen.sum())


def agreement_rows(found: Iterable[Agreement]) -> list[dict[str, Any]]:
    """A row for each pair of reviewers, as a person reads it."""
    rows = []
    for one in found:
        low, high = one.interval.low, one.interval.high
        rows.append({
            "reviewers": f"{one.pair[0] or NO_NAME} and {one.pair[1] or NO_NAME}", "images both decided": one.images,
            "Cohen's kappa": "–" if one.kappa != one.kappa else f"{one.kappa:.2f}",
            "95 % interval": "–" if low != low else f"{low:.2f} to {high:.2f}", "in words": _in_words(one.kappa),
        })  # fmt: skip
    return rows


def _in_words(kappa: float) -> str:
    if kappa != kappa:
        return "both always said the same one thing: nothing to be compared"
    steps = ((VERY_GOOD, "almost perfect"), (GOOD, "good"), (FAIR, "fair to moderate"), (0.0, "slight"))
    return next((words for least, words in steps if kappa >= least), "less than by chance")


def several(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


class Step(NamedTuple):
    """Something to do next: why, and the arguments of the command ([]: it is done in the app)."""

    why: str
    arguments: list[str]


def next_steps(store: Store, states: Sequence[StageState], counts: Counts, late: int) -> list[Step]:
    """What is to be done after the review, in its order: what is not decided, the dataset, what is made of it.

    `late`: how many decisions are, or may be, newer than the dataset.
    """
    steps, again = [], late > 0
    left = counts.flagged[1] - counts.flagged[0]
    if left:
        what = several(left, "flagged case is", "flagged cases are")
        steps.append(Step(f"{what} not decided; without a decision the boxes are erased as detected", []))
    if counts.disagreements:
        what = several(len(counts.disagreements), "image", "images")
        steps.append(Step(f"reviewers disagree on {what}; the latest decision counts", []))
    for one in states:
        if one.state == COMPLETE and not (again and one.name in ("clean", "retrain", "report")):
            continue
        if one.name == "clean" and one.state == COMPLETE:
            why = f"{several(late, 'decision is', 'decisions are')} newer than the dataset"
        else:
            why = f"stage {one.name} is {one.state if one.state != COMPLETE else 'made of the earlier dataset'}"
        steps.append(Step(why, command_for(store, one.name)))
        again = again or one.name == "clean"
    return steps
