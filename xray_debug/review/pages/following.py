"""A job on a page: a bar while it runs, which goes on by itself, a way to stop it, and how it ended."""

from __future__ import annotations

import streamlit as st

from xray_debug.data.shown import shown
from xray_debug.review.jobs import Job, JobError, State

EVERY = 0.7  # seconds between two looks at it


def begin(job: Job, arguments: list[str]) -> None:
    """Starts it, for a button's on_click; why that was not possible is shown by `follow`."""
    st.session_state.pop(_key(job), None)
    try:
        job.start(arguments)
    except JobError as error:
        st.session_state[_key(job)] = str(error)


def follow(job: Job, key: str, what: str) -> State:
    """Shows how far it is, or how it ended; nothing where it was never started. The page is drawn anew at its end.

    `what`: what is being done, "The demo"; `key`: of the widgets.
    """
    state, problem = job.state(), st.session_state.get(_key(job), "")
    if state.running:
        st.fragment(_moving, run_every=EVERY)(job, key, what)
    elif problem:
        failed(what, problem)
    elif state.stopped:
        st.info(f"{what} was stopped after {duration(state.seconds)} ({state.when}). What is done is kept.")
    elif state.ended is not None and not state.succeeded:
        failed(f"{what} ({state.when})", state.error)
    return state


def _moving(job: Job, key: str, what: str) -> None:
    state = job.state()
    if not state.running:
        st.rerun()
    with st.container(border=True, key=f"{key}-moving"):
        st.progress(state.share, "Progress of this step")
        count = f": {state.done} of {state.total}" if state.total > 1 else ""
        st.text(shown(f"{what}, {duration(state.seconds)} so far; {state.doing or 'the program is loaded'}{count}"))
        if state.said:
            st.text(shown(state.said[-1]))
        st.button("Stop", key=f"{key}-stop", on_click=job.stop)


def failed(what: str, error: str) -> None:
    """Why it failed: one sentence, as text."""
    st.error(f"{what} failed.")
    st.text(shown(error, keep="\n"))


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _key(job: Job) -> str:
    return f"problem-{job.folder}"
