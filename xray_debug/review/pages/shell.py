"""The frame of the review app: which run, who reviews, and the pages.

A page is a module of this folder with `page(context)`. Names of files and people are shown as plain text alone
(`st.text`), never as Markdown or HTML.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import streamlit as st

from xray_debug.review.decisions import ReviewDB, ReviewError
from xray_debug.review.stages import StageInfo, run_named
from xray_debug.review.view import RunView, ViewError, load_run
from xray_debug.run.store import Store

START = "Start with: xray-debug review --run DIR"
PAGES = (  # module, title, path in the address; those that need a run first
    ("cases", "Cases", "cases"),
    ("queue", "Queue", "queue"),
    ("summary", "Summary", "summary"),
    ("explain", "Explain one image", "explain"),
    ("start", "Runs", "start"),
)
NEED_A_RUN = ("cases", "queue", "summary")
STYLE = Path(__file__).with_name("shell.css")


@dataclass(frozen=True)
class Context:
    """What every page is given. Without a run that can be shown, `run` and `review` are None and `problem` says why.

    `folder`: the run folder as it was asked for ("" for none); `reviewer`: who decides ("" while nobody said so).
    `stages`: the pipeline's, in order, as app.py hands them down. `fixed`: the command has named the run, and
    no other is opened.
    """

    folder: str
    store: Store | None
    run: RunView | None
    review: ReviewDB | None
    reviewer: str
    problem: str = ""
    stages: Sequence[StageInfo] = ()
    fixed: bool = False


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """`--run DIR` and `--user-header NAME` of the command line; others are ignored."""
    parser = argparse.ArgumentParser(prog="xray-debug review", exit_on_error=False, add_help=False)
    parser.add_argument("--run", default="")
    parser.add_argument("--user-header", default="")
    try:
        return parser.parse_known_args(arguments)[0]
    except argparse.ArgumentError:
        return parser.parse_args([])


def open_to_all() -> bool:
    """Whether Streamlit listens everywhere because nobody has said where: films and notes are patients' data."""
    return st.get_option("server.address") is None and bool(st.context.headers)  # none: no server, but a test


@st.cache_resource(show_spinner=False)
def store_of(folder: str) -> Store:
    """One store for all sessions, so that it keeps what it knows of large results."""
    return Store(folder)


@st.cache_resource(show_spinner=False, max_entries=2)
def run_of(folder: str, state: tuple) -> RunView:
    """The run as it was in that state of its files, read once for all sessions."""
    return load_run(store_of(folder))


@st.cache_resource(show_spinner=False, max_entries=2)
def review_of(path: str, file: int) -> ReviewDB:
    """The decisions in a file; `file` tells one file of that name from another."""
    return ReviewDB(path)


def opened(arguments: Sequence[str], reviewer: str, stages: Sequence[StageInfo] = ()) -> Context:
    """The context of this rerun; reads only what has changed since the last.

    Where the command names no run, the address may name one of those in the folder runs, and no other.
    """
    fixed = options(arguments).run
    folder = fixed or run_named(st.session_state.get("run", ""))
    if not folder:
        return Context("", None, None, None, reviewer, stages=stages)
    store = store_of(folder)
    try:
        run = run_of(folder, store.state())
        file = store.review_file
        review = review_of(str(file), file.stat().st_ino if file.exists() else 0)
    except (ViewError, ReviewError) as error:
        return Context(folder, store, None, None, reviewer, str(error), stages, bool(fixed))
    return Context(folder, store, run, review, reviewer, "", stages, bool(fixed))


def reviewer_of(header: str) -> tuple[str, bool]:
    """(name, whether it is the proxy's, which the page cannot change)."""
    given = st.context.headers.get(header, "") if header else ""
    return (given, True) if given else (st.session_state.get("reviewer", ""), False)


def pages(context_of) -> dict[str, st.Page]:
    """The pages whose module exists, by name; the first is the one that opens."""
    known = {}
    for module, title, place in PAGES:
        name = f"{__package__}.{module}"
        if importlib.util.find_spec(name) is not None:
            known[module] = st.Page(partial(_page, name, context_of), title=title, url_path=place,
                                    default=not known)  # fmt: skip
    return known


def _page(module: str, context_of) -> None:
    context = context_of()
    if context.run is None and module.rpartition(".")[2] in NEED_A_RUN:
        _no_run(context)
        return
    importlib.import_module(module).page(context)


def _no_run(context: Context) -> None:
    name = f"{__package__}.start"
    if importlib.util.find_spec(name) is not None:
        importlib.import_module(name).page(context)
    elif context.problem:
        st.error("The run cannot be shown.")
        st.text(context.problem)
    else:
        st.error(START)


def main(arguments: Sequence[str], stages: Sequence[StageInfo] = ()) -> None:
    """Draws the app; `arguments` are the command's, `stages` the pipeline's."""
    st.set_page_config(page_title="xray-debug review", layout="wide", initial_sidebar_state="collapsed")
    if open_to_all():
        st.error(f"This page would be open to everybody in the network. {START}, or give a --server.address.")
        return
    st.html(STYLE)
    st.session_state.setdefault("reviewer", st.query_params.get("reviewer", ""))
    st.session_state.setdefault("run", st.query_params.get("run", ""))
    known = pages(lambda: opened(arguments, reviewer_of(options(arguments).user_header)[0], stages))
    chosen = st.navigation(list(known.values()), position="hidden")
    with st.container(horizontal=True, key="bar", vertical_alignment="center"):
        for page in known.values():
            st.page_link(page)
        name, fixed = reviewer_of(options(arguments).user_header)
        if fixed:
            st.text_input("Reviewer", value=name, disabled=True, label_visibility="collapsed", key="given-reviewer")
        else:
            st.text_input("Reviewer", key="reviewer", label_visibility="collapsed", placeholder="Your name", width=180)
    if name:
        st.query_params["reviewer"] = name
    if st.session_state["run"]:
        st.query_params["run"] = st.session_state["run"]
    chosen.run()
