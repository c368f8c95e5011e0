"""The page of the queue: filters with counts, thumbnails, and one decision for all cases of a filter."""

from __future__ import annotations

import base64
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from xray_debug.data.shown import shown
from xray_debug.review.decisions import Conflict, ReviewError
from xray_debug.review.pages import address, answers, editor
from xray_debug.review.pages.shell import Context, open_page
from xray_debug.review.queue import FIELDS, NOT_DECIDED, Decided, counts, select
from xray_debug.review.summary import several
from xray_debug.review.view import ImageError, ViewError
from xray_debug.review.words import DECISIONS

A_PAGE = 24
BULK = {"approve": "Approve", "reject": "Reject", "exclude": "Exclude"}


def page(context: Context) -> None:
    """Draws the page."""
    try:
        decided = answers.answers_of(context.run, context.review).now()
    except ReviewError as error:
        st.error("The decisions cannot be read.")
        st.text(shown(error))
        return
    chosen = select(context.run.queue, decided, address.asked(context.run.queue))
    with st.container(key="queue"):
        with st.container(key="filters", gap="small"):
            _filters(context, decided)
        with st.container(key="found", gap="small"):
            _told()
            _bulk(context, decided, chosen)
            _thumbnails(context, decided, chosen)


def _told() -> None:
    kind, head, detail = st.session_state.pop("told", ("", "", ""))
    if kind:
        getattr(st, kind)(head)
        if detail:
            st.text(detail)


def _filters(context: Context, decided: Decided) -> None:
    queue = context.run.queue
    asked = address.asked(queue)
    st.session_state["search"] = asked.search
    st.text_input("Name", key="search", placeholder="A part of the name", on_change=_searched)
    for name, title in FIELDS.items():
        number = counts(queue, decided, asked, name)
        picked = [value for value in asked.values.get(name, ()) if value in number]
        if len(number) < 2 and not picked:
            continue
        st.session_state[f"filter-{name}"] = picked
        st.multiselect(title, list(number), key=f"filter-{name}", on_change=_filtered, args=(name,),
                       format_func=partial(_with_count, number), placeholder="any")  # fmt: skip
    st.button("No filter", on_click=_all_of_them)


def _with_count(number: dict[str, int], value: str) -> str:
    return f"{DECISIONS.get(value, shown(value))} ({number.get(value, 0)})"


def _searched() -> None:
    address.ask("search", [st.session_state["search"].strip()])


def _filtered(name: str) -> None:
    address.ask(name, st.session_state[f"filter-{name}"])


def _all_of_them() -> None:
    address.clear()
    address.ask("show", [])


# ------------------------------------------------------------------------------------------------- thumbnails


def _thumbnails(context: Context, decided: Decided, chosen: np.ndarray) -> None:
    pages = max(1, -(-len(chosen) // A_PAGE))
    number = min(max(_whole(st.query_params.get("page", "1")), 1), pages)
    with st.container(horizontal=True, key="pages", vertical_alignment="center", gap="small"):
        st.button("Before", key="page-before", shortcut="Left", disabled=number == 1, on_click=_to_page,
                  args=(number - 1,))  # fmt: skip
        st.button("After", key="page-after", shortcut="Right", disabled=number == pages, on_click=_to_page,
                  args=(number + 1,))  # fmt: skip
        st.session_state["to-page"] = number
        st.number_input("Page", 1, pages, key="to-page", width=130, label_visibility="collapsed",
                        on_change=lambda: _to_page(st.session_state["to-page"]))  # fmt: skip
        left = int(decided.open[chosen].sum())
        st.text(f"of {several(pages, 'page', 'pages')}; {several(len(chosen), 'case', 'cases')}, {left} undecided",
                width="content")  # fmt: skip
    if not len(chosen):
        st.info(answers.NONE_LEFT)
        return
    first = (number - 1) * A_PAGE
    with st.container(key="thumbnails"):
        for place in range(first, min(first + A_PAGE, len(chosen))):
            _thumbnail(context, decided, int(chosen[place]), place + 1)


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 1


def _to_page(number: int) -> None:
    address.put("page", [str(number)] if number > 1 else [])


def _thumbnail(context: Context, decided: Decided, at: int, number: int) -> None:
    run, queue = context.run, context.run.queue
    name = queue.names[at]
    with st.container(key=f"cell-{number}", gap="small"):
        try:
            picture = f"data:image/jpeg;base64,{base64.b64encode(editor.pictures().small(run, name)).decode()}"
            st.html(f'<img alt="Film {number} with its boxes" width="150" height="150" src="{picture}">')
        except (ImageError, ViewError):
            st.text("cannot be shown")
        word = decided.decided[at]
        state = "" if word == NOT_DECIDED else f": {DECISIONS.get(word, word)}"
        st.button(f"Open {number}{state}", key=f"open-{name}", on_click=open_page, args=("cases",),
                  kwargs={"case": name})  # fmt: skip
        st.text(shown(name))


# ------------------------------------------------------------------------------------------------- all at once


def _bulk(context: Context, decided: Decided, chosen: np.ndarray) -> None:
    """One decision for all cases of the filter, after a look at what it touches."""
    with st.expander("Decide all cases of this filter at once"):
        word = st.radio("Decision", list(BULK), format_func=BULK.get, key="bulk", horizontal=True)
        also = st.checkbox("also those that are decided already", key="bulk-also")
        touched = chosen if also else chosen[decided.open[chosen]]
        if not len(touched):
            st.info("It would touch nothing.")
            return
        queue = context.run.queue
        shared = ("class", "source", "split", "kind")
        facts = [(FIELDS[name], _told_counts(queue.facts[name][touched])) for name in shared]
        already = int((~decided.open[touched]).sum())
        boxes = sum(len(context.run.boxes_of(queue.names[place])) for place in touched)
        st.text(f"{several(len(touched), 'case', 'cases')} with {several(boxes, 'box', 'boxes')}; "
                f"{already} of them decided before.")  # fmt: skip
        st.dataframe(pd.DataFrame(facts, columns=["Of these", "how many"]), hide_index=True)
        st.text("The first: " + ", ".join(shown(queue.names[place]) for place in touched[:8]))
        st.button(f"{BULK[word]} {several(len(touched), 'case', 'cases')}", key="bulk-go", type="primary",
                  on_click=_decide_all, args=(context, word, touched, decided.last))  # fmt: skip


def _told_counts(values) -> str:
    found = pd.Series(values).value_counts()
    return ", ".join(f"{shown(value)} {count}" for value, count in found[found > 0].items())


def _decide_all(context: Context, word: str, touched: np.ndarray, last: int) -> None:
    rows = [{"image_id": name, "decision": word} for name in context.run.queue.names[touched]]
    try:
        count = context.review.decide_many(rows, context.reviewer, "decided together with others of a filter", last)
    except Conflict:
        answers.tell("warning", "Not saved: somebody has decided a case since this page was drawn. Look again.")
        return
    except ReviewError as error:
        answers.tell("error", "Not saved.", shown(error))
        return
    answers.tell("success", f"{several(count, 'case', 'cases')} decided; one Undo takes all of it back.")
