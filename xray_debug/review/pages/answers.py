"""What the buttons of the page of cases do: decide, undo, redo, turn to another case.

Run as callbacks, before the page is drawn: a decision is in the file before the next case is shown.
"""

from __future__ import annotations

import threading

import streamlit as st

from xray_debug.data.shown import shown
from xray_debug.review.decisions import Conflict, Event, ReviewDB, ReviewError
from xray_debug.review.pages import address, editor
from xray_debug.review.pages.shell import Context
from xray_debug.review.queue import Decided, neighbour, next_open, select
from xray_debug.review.view import RunView
from xray_debug.review.words import DECISIONS

MANY = 200  # images with new events, from which all are read again
NONE_LEFT = "No case is left by this filter."


class Answers:
    """The decisions of a run as its queue sees them, for all sessions; of new events their images alone are read."""

    def __init__(self, run: RunView, review: ReviewDB):
        self.run, self.review, self._lock = run, review, threading.Lock()
        self._decided = Decided(run.queue, -1)

    def now(self) -> Decided:
        """ReviewError where the file cannot be read."""
        last = self.review.last()
        with self._lock:
            if last != self._decided.last:
                self._follow()
            return self._decided

    def _follow(self) -> None:
        known, last = self._decided.last, self.review.last()  # before the rest, which may then hold more, never less
        changed = self.review.since(known) if 0 <= known <= last else None  # None: nothing is known, or another file
        if changed is None or len(changed) > MANY:
            self._decided = Decided(self.run.queue, last, self.review.latest(), self.review.disagreements())
            return
        decided = self._decided.copy()  # other sessions are reading that one
        for image_id in changed:
            decided.put(image_id, self.review.of(image_id), bool(self.review.disagreements(image_id)))
        decided.last, self._decided = last, decided


@st.cache_resource(show_spinner=False, max_entries=2, hash_funcs={RunView: id, ReviewDB: id})
def answers_of(run: RunView, review: ReviewDB) -> Answers:
    return Answers(run, review)


def tell(kind: str, head: str, detail: str = "") -> None:
    """A message for the next drawing of the page: `head` is ours, `detail` is shown as plain text."""
    st.session_state["told"] = (kind, head, detail)


def boxes_now(run: RunView, row: dict | None, image_id: str, version: int) -> list[list[int]]:
    """The boxes on the screen: unsaved ones, else the reviewer's, else the detector's."""
    draft = editor.draft_of(image_id, version)
    if draft:
        return draft["boxes"]
    return stored_boxes(run, row, image_id)


def unsaved(run: RunView, row: dict | None, image_id: str, version: int) -> bool:
    """Whether the boxes on the screen are others than those that would be there after a reload."""
    return not _same(boxes_now(run, row, image_id, version), stored_boxes(run, row, image_id))


def stored_boxes(run: RunView, row: dict | None, image_id: str) -> list[list[int]]:
    own = row is not None and row["decision"] == "edit"
    return row["boxes"] if own else run.boxes_of(image_id).tolist()


def decide(context: Context, image_id: str, decision: str, seen: int, size: tuple[int, int] | None) -> None:
    """Stores a decision on what the page showed, and turns to the next case that nobody has decided."""
    if st.query_params.get("case") != image_id:
        return  # a second press of a key, meant for a case that is no longer shown
    editor.take_edit()  # both may have come at once, and in which order callbacks run is not said
    run, review = context.run, context.review
    try:
        row = answers_of(run, review).now().rows.get(image_id)
        boxes = boxes_now(run, row, image_id, seen) if decision in ("approve", "edit") else None
        if decision == "approve":  # what is approved is what is on the screen
            decision = "approve" if _same(boxes, run.boxes_of(image_id).tolist()) else "edit"
        review.decide(image_id, decision, boxes if decision == "edit" else None, context.reviewer,
                      st.session_state.get("note", ""), seen=seen, size=size)  # fmt: skip
    except Conflict as conflict:
        tell("warning", "Not saved: somebody has decided this case since it was shown to you.",
             in_words(conflict.other))  # fmt: skip
        return
    except ReviewError as error:
        tell("error", "Not saved.", shown(error))
        return
    editor.drafts().pop(image_id, None)
    st.session_state["note"] = ""
    turn_to_open(context, image_id, again=row is not None)
    if not context.reviewer and not st.session_state.setdefault("asked-for-name", False):
        st.session_state["asked-for-name"] = True  # once: who decides for himself alone need not have a name
        tell("info", "Kept, but without a name. Say who you are at the top right, and your next decisions are yours.")


def _same(one, other) -> bool:
    return sorted(map(tuple, one)) == sorted(map(tuple, other))


def in_words(other: Event) -> str:
    """Another's event, and what may be done about it."""
    who = shown(other.reviewer or "somebody")
    note = f' ("{shown(other.note)}")' if other.note else ""
    return (f"{who}: {DECISIONS.get(other.decision, other.decision)}{note}, {other.decided_at[:16].replace('T', ' ')}. "
            "The page shows it now; decide again, and yours counts. Both stay in the record.")  # fmt: skip


def turn_to_open(context: Context, image_id: str | None = None, again: bool = False) -> None:
    """To the next case of the filter that nobody has decided. `again`: this one had been, so that with none left it is
    the next one of all (of those that reviewers disagree on, say)."""
    run = context.run
    try:
        decided = answers_of(run, context.review).now()
    except ReviewError as error:
        tell("error", "The decisions cannot be read.", shown(error))
        return
    chosen = select(run.queue, decided, address.asked(run.queue))
    here = run.queue.position.get(image_id or st.query_params.get("case", ""), -1)
    place = next_open(chosen, decided, here)
    if place is None and again:
        place = neighbour(chosen, here, 1)
    if place is None:
        tell(*(("success", "Every case of this filter is decided.") if len(chosen) else ("info", NONE_LEFT)))
        return
    address.go(run.queue.names[place])


def back(context: Context, way: str) -> None:
    """`way`: "undo" or "redo" this reviewer's last step, and turn to its case."""
    try:
        event = getattr(context.review, way)(context.reviewer)
    except ReviewError as error:
        tell("error", f"Nothing was changed by {way}.", shown(error))
        return
    if event is None:
        tell("info", f"Nothing of yours to {way}.")
        return
    editor.drafts().pop(event.image_id, None)
    address.go(event.image_id)
    if (count := context.review.together(event)) > 1:
        done = "taken back" if way == "undo" else "made again"
        tell("info", f"{count} decisions that were made at one stroke are {done}; this is the last of them.")
