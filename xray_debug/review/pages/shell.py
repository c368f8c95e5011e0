"""What every page of the review app is given: which run, and who reviews.

A page is a module of this folder with `page(context)`, listed in navigation.py. Names of files and people are shown as
plain text alone (`st.text`), never as Markdown or HTML.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from xray_debug.review.decisions import ReviewDB, ReviewError
from xray_debug.review.stages import StageInfo, run_named
from xray_debug.review.view import RunView, ViewError, load_run
from xray_debug.run.store import Store

START = "Start with: xray-debug review --run DIR"


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
    folder = fixed or run_named(st.query_params.get("run", ""))
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
    """(name, whether it is the proxy's, which the page cannot change); the reviewer's field is set to it.

    Without a proxy it is the address's, so that a reload or a link keeps it.
    """
    given = st.context.headers.get(header, "").strip() if header else ""
    name = given or st.query_params.get("reviewer", "")
    st.session_state["given-reviewer" if given else "reviewer"] = name
    return name, bool(given)


def open_page(name: str, **address: str) -> None:
    """Turns to another page; for callbacks. `address`: what the address says from then on."""
    for key, value in {"view": name, **address}.items():
        st.query_params[key] = value
