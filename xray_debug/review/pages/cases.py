"""The page of cases: one film, why it is here, and the keys that decide.

Shows and asks only: what is shown comes from review/view.py, queue.py and words.py; what a button does is in
answers.py. File names, names of people and notes are shown as plain text, never as Markdown or HTML, and without signs
that turn a line round.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from xray_debug.data.shown import shown
from xray_debug.review.decisions import ReviewError
from xray_debug.review.pages import address, answers, editor
from xray_debug.review.pages.maps import offer_map
from xray_debug.review.pages.shell import Context
from xray_debug.review.queue import Decided, Filter, Queue, neighbour, next_open, select
from xray_debug.review.words import DECISIONS, NAMES, four_numbers, measures, percent, why

BUTTONS = (  # decision, label, key, what it does
    ("approve", "Approve", "A", "Erase the boxes shown"),
    ("reject", "Reject", "X", "Leave the film as it is"),
    ("edit", "Save boxes", "S", "Erase the boxes shown, as your correction"),
    ("exclude", "Exclude", "E", "Leave the image out of the cleaned data"),
)
FACTS = {"label": "labelled", "source": "source", "split": ""}  # of the first line of a case, and their words


def page(context: Context) -> None:
    """Draws the page."""
    run = context.run
    try:
        decided = answers.answers_of(run, context.review).now()
    except ReviewError as error:
        st.error("The decisions cannot be read.")
        st.text(shown(error))
        return
    if not len(run.queue):
        st.info("No case to show: no text was found, and nothing was audited.")
        return
    chosen = select(run.queue, decided, address.asked(run.queue))
    image_id = current(context, decided, chosen)
    _turned_to(image_id)
    try:
        version = context.review.version(image_id)
        row = answers.answers_of(run, context.review).now().rows.get(image_id)  # at that version or later, never before
        _overtaken(context, image_id, version)
    except ReviewError as error:
        st.error("The decisions cannot be read.")
        st.text(shown(error))
        return
    with st.container(key="screen"):
        with st.container(key="film"):
            size = editor.show(run, image_id, answers.stored_boxes(run, row, image_id), version)
        with st.container(key="side", gap="small"):
            _place(context, decided, chosen, image_id)
            _told()
            _why(context, image_id, row, version)
            _ask(context, image_id, version, size)
            _more(context, image_id)
    _prepare_next(context, decided, chosen, image_id)


def current(context: Context, decided: Decided, chosen: np.ndarray) -> str:
    """The case of the address; else the first that nobody has decided; else the first."""
    queue = context.run.queue
    asked = st.query_params.get("case")
    if asked in queue.position:
        return asked
    if asked is not None:
        answers.tell("warning", "There is no such case; here is another.", shown(asked))
    first = next_open(chosen, decided, -1)
    return queue.names[first if first is not None else chosen[0] if len(chosen) else 0]


def _turned_to(image_id: str) -> None:
    if st.query_params.get("case") != image_id:
        address.go(image_id)
    if st.session_state.get("at") != image_id:
        st.session_state["at"], st.session_state["note"] = image_id, ""


def _overtaken(context: Context, image_id: str, version: int) -> None:
    """Says so where boxes that were not saved are no longer shown, because of somebody else's event."""
    draft = editor.drafts().get(image_id)
    if draft is None or draft["version"] == version:
        return
    del editor.drafts()[image_id]
    last = context.review.events(image_id)[-1:]
    if last and last[0].reviewer != context.reviewer and "told" not in st.session_state:
        answers.tell("warning", "Your boxes are not shown: somebody has decided this case since you drew them.",
                     answers.in_words(last[0]))  # fmt: skip


def _place(context: Context, decided: Decided, chosen: np.ndarray, image_id: str) -> None:
    """Where in the queue this is, and the ways on."""
    queue = context.run.queue
    here = queue.position[image_id]
    before, after = neighbour(chosen, here, -1), neighbour(chosen, here, 1)
    with st.container(horizontal=True, key="steps", vertical_alignment="center", gap="small"):
        for label, key, place in (("Before", "Left", before), ("After", "Right", after)):
            target = None if place is None else queue.names[place]
            st.button(label, key=f"{key}-{image_id}", shortcut=key, disabled=target is None, on_click=address.go,
                      args=(target,))  # fmt: skip
        st.button("Next undecided", key=f"next-{image_id}", shortcut="N", on_click=answers.turn_to_open,
                  args=(context, image_id))  # fmt: skip
        st.session_state["search"] = st.query_params.get("search", "")
        st.text_input("Search by name", key="search", placeholder="Search by name ( / )", label_visibility="collapsed",
                      width=170, on_change=_search, args=(context,))  # fmt: skip
        st.text(_where(queue, decided, chosen, here), width="content")


def _where(queue: Queue, decided: Decided, chosen: np.ndarray, here: int) -> str:
    place = int(np.searchsorted(chosen, here))
    inside = place < len(chosen) and chosen[place] == here
    filtered = address.in_words(address.asked(queue))
    at = f"{place + 1} of" if inside else "Not among the"
    return (f"{at} {len(chosen)}{shown(f' ({filtered})') if filtered else ''}, "
            f"{int(decided.open[chosen].sum())} undecided; ? for all keys")  # fmt: skip


def _search(context: Context) -> None:
    address.ask("search", [st.session_state["search"].strip()])
    queue = context.run.queue
    asked = address.asked(queue)
    try:
        decided = answers.answers_of(context.run, context.review).now()
        chosen = select(queue, decided, asked)
    except ReviewError:  # which the page is about to say
        return
    if not len(chosen):
        others = len(select(queue, decided, Filter.of({}, asked.search)))
        answers.tell("info", f"{answers.NONE_LEFT} Without its other fields (page Queue) {others} would be."
                     if others else answers.NONE_LEFT)  # fmt: skip
    elif queue.position.get(st.query_params.get("case", ""), -1) not in chosen:
        address.go(queue.names[chosen[0]])


def _told() -> None:
    kind, head, detail = st.session_state.pop("told", ("", "", ""))
    if kind:
        with st.container(key="told"):
            getattr(st, kind)(head)
            if detail:
                st.text(detail)


def _why(context: Context, image_id: str, row: dict | None, version: int) -> None:
    """Name, facts, the sentence and the four numbers."""
    found = context.run.row(image_id)
    known = {name: word for name, word in FACTS.items() if found.get(name) not in (None, "")}
    facts = [f"{word} {shown(found[name])}".strip() for name, word in known.items()]
    state = "not decided"
    if row is not None:
        state = f"{DECISIONS.get(row['decision'], row['decision'])} by {shown(row['reviewer'] or 'somebody')}"
        state += f": {shown(row['note'])}" if row["note"] else ""
    if answers.unsaved(context.run, row, image_id, version):
        state += "; boxes changed, not saved"
    with st.container(key="why", gap="small"):
        st.text(f"{shown(image_id)} ({', '.join([*facts, state])})")
        st.text(why(found, len(context.run.boxes_of(image_id)), context.store.has("regions")))
        if found.get("remarks"):
            st.text(f"Remark: {shown(found['remarks'])}.")
    with st.container(horizontal=True, key="numbers", gap="small"):
        for number in four_numbers(found):
            st.metric(number.name, percent(number.value), help=number.how)


def _ask(context: Context, image_id: str, version: int, size: tuple[int, int] | None) -> None:
    with st.container(horizontal=True, key="answers", gap="small"):
        for decision, label, key, say in BUTTONS:
            st.button(label, key=f"{decision}-{image_id}-{version}", shortcut=key, help=say,
                      type="primary" if decision == "approve" else "secondary", on_click=answers.decide,
                      args=(context, image_id, decision, version, size))  # fmt: skip
        for way, key in (("undo", "U"), ("redo", "Y")):
            st.button(way.capitalize(), key=way, shortcut=key, on_click=answers.back, args=(context, way),
                      help=f"{way.capitalize()} your last decision; nothing is deleted")  # fmt: skip
    st.text_input("Note", key="note", placeholder="Note: kept with your next decision on this case",
                  label_visibility="collapsed")  # fmt: skip


def _more(context: Context, image_id: str) -> None:
    """Everything else that is known, and a map where there is none."""
    run = context.run
    if problem := editor.map_problem(run, image_id):
        st.warning("This case's saliency map is damaged.")
        st.text(shown(problem))
    with st.expander("All that was measured, and the record", key="more", on_change="rerun") as more:
        if more.open:  # nobody waits for a table that is not looked at
            facts = [(NAMES.get(name, name), shown(value)) for name, value in run.facts(image_id).items()]
            rows = pd.DataFrame(facts + [pair for pair in measures(run.row(image_id)) if pair[0] not in dict(facts)],
                                columns=["What", "Value"])  # fmt: skip
            st.dataframe(rows, hide_index=True, height=240)
            _record(context, image_id)
    offer_map(context, image_id)


def _record(context: Context, image_id: str) -> None:
    history = context.review.history(image_id)
    if not len(history):
        st.text("Nobody has decided this case.")
        return
    readable = history[["decision", "reviewer", "note", "decided_at"]].map(
        lambda value: "" if value is None else shown(value))  # fmt: skip
    st.text("The record, oldest first")
    st.dataframe(readable, hide_index=True)


def _prepare_next(context: Context, decided: Decided, chosen: np.ndarray, image_id: str) -> None:
    """The pictures of the cases that may come next, made while this one is looked at."""
    queue, here = context.run.queue, context.run.queue.position[image_id]
    places = (next_open(chosen, decided, here), neighbour(chosen, here, 1))
    names = [queue.names[place] for place in places if place is not None]
    wanted = {name: answers.stored_boxes(context.run, decided.rows.get(name), name) for name in names}
    editor.pictures().ahead(context.run, wanted)
