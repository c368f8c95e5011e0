"""The frame of the review app: its pages in one row, the reviewer's name, and the page that is open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from xray_debug.review.pages import cases, explain, queue, shell, start, summary
from xray_debug.review.stages import StageInfo

PAGES = {  # name in the address -> title and page; the first opens
    "cases": ("Cases", cases.page),
    "queue": ("Queue", queue.page),
    "summary": ("Summary", summary.page),
    "explain": ("Explain one image", explain.page),
    "start": ("Runs", start.page),
}
NEED_A_RUN = ("cases", "queue", "summary")  # without one the page of runs says what is missing
STYLE = Path(__file__).with_name("shell.css")


def main(arguments: Sequence[str], stages: Sequence[StageInfo] = ()) -> None:
    """Draws the app; `arguments` are the command's, `stages` the pipeline's."""
    st.set_page_config(page_title="xray-debug review", layout="wide", initial_sidebar_state="collapsed")
    if shell.open_to_all():
        st.error(f"This page would be open to everybody in the network. {shell.START}, or give a --server.address.")
        return
    st.html(STYLE)
    name, fixed = shell.reviewer_of(shell.options(arguments).user_header)
    asked = st.query_params.get("view", "")
    chosen = asked if asked in PAGES else next(iter(PAGES))
    with st.container(horizontal=True, key="bar", vertical_alignment="center"):
        for page, (title, _) in PAGES.items():
            st.button(title, key=f"to-{page}", type="secondary" if page == chosen else "tertiary",
                      on_click=shell.open_page, args=(page,))  # fmt: skip
        st.text_input("Reviewer", key="given-reviewer" if fixed else "reviewer", label_visibility="collapsed",
                      placeholder="Your name", width=180, disabled=fixed, on_change=_named)  # fmt: skip
    context = shell.opened(arguments, name, stages)
    if context.run is None and chosen in NEED_A_RUN:
        chosen = "start"
    PAGES[chosen][1](context)


def _named() -> None:
    name = st.session_state["reviewer"].strip()
    if name:
        st.query_params["reviewer"] = name
    else:
        st.query_params.pop("reviewer", None)
