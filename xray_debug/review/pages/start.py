"""The way in: what a run lacks and the command that makes it; without a run the demo, and the runs there are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from xray_debug.data.shown import shown
from xray_debug.review.behind import behind_sentence
from xray_debug.review.jobs import Job
from xray_debug.review.pages.following import begin, follow
from xray_debug.review.pages.shell import Context
from xray_debug.review.stages import (
    COMPLETE,
    DEMO,
    RUNS,
    command_for,
    free_for_a_run,
    in_a_shell,
    runs_in,
    stage_states,
)  # fmt: skip
from xray_debug.run.store import Store

WHAT_IT_IS = (
    "No run is open. The demo shows what a run is: a synthetic set of radiographs in which burned-in letters give the "
    "class away, a model that falls for it, and the repair."
)
REPORTS = {"page": "The report (HTML)", "paper": "The report (PDF)"}
WORK = "work"  # the one job of a run that changes it


def page(context: Context) -> None:
    """Draws the page."""
    if context.folder:
        show_run(context)
    else:
        st.subheader("Is the classifier right for the wrong reason?")
        st.write(WHAT_IT_IS)
        offer_demo(context)
    show_runs(context)


# ------------------------------------------------------------------------------------------------ the run that is open


def show_run(context: Context) -> None:
    """Its stages, what is missing, and how it goes on."""
    store = context.store
    st.subheader("This run")
    st.text(shown(store.folder))
    if not store.folder.is_dir() or not store.pipeline_file.is_file():
        st.error("This is no run folder.")
        st.text(shown(context.problem or f"{store.folder}: expected a run folder with pipeline.yaml"))
        offer_demo(context)
        return
    if context.problem:
        st.error("The run cannot be reviewed yet.")
        st.text(shown(context.problem))
    states = stage_states(store, context.stages)
    frame = pd.DataFrame([(one.name, one.help, one.state, one.day) for one in states],
                         columns=["stage", "what it does", "state", "finished"])  # fmt: skip
    st.dataframe(frame, hide_index=True, height="content")
    missing = [one for one in states if one.state != COMPLETE]
    if not missing:
        late = behind_sentence(store)
        if late:
            st.warning("Every stage is complete, but not with the newest decisions.")
            st.text(shown(f"{late[:1].upper()}{late[1:]}."))
        else:
            st.success("Every stage is complete.")
        offer_report(store)
        return
    st.text(f"Missing: {', '.join(f'{one.name} ({one.state})' for one in missing)}. This makes it:")
    go_on(store, command_for(store), "Go on with this run", "run")


def offer_report(store: Store) -> None:
    """The report, as a page (its pictures are in it) and for print, where they are."""
    with st.container(horizontal=True, key="reports"):
        for name, label in REPORTS.items():
            if store.has(name):
                file = store.path(name)
                st.download_button(label, file.read_bytes, file.name, key=f"report-{name}", on_click="ignore")
    if store.has("page"):
        st.text(shown(f"They lie in {store.path('page').parent}"))


def go_on(store: Store, arguments: list[str], label: str, key: str) -> None:
    """A command to copy, a button that runs it, and how far it is."""
    job = Job(store.job_folder(WORK))
    st.code(in_a_shell(arguments), language=None, wrap_lines=True)
    st.button(label, type="primary", key=f"{key}-begin", disabled=job.running(), on_click=begin, args=(job, arguments))
    follow(job, key, "This run")


# --------------------------------------------------------------------------------------------- the demo, and other runs


def offer_demo(context: Context) -> None:
    """The command, and a button that does the same."""
    store = Store(DEMO)
    if not free_for_a_run(DEMO, context.stages):
        st.text(shown(f"{DEMO} holds something else, so that the demo needs another place:"))
        st.code(in_a_shell(["demo", "--out", str(RUNS / "demo-2")]), language=None, wrap_lines=True)
        return
    job, states = Job(store.job_folder(WORK)), stage_states(store, context.stages)
    if states and all(one.state == COMPLETE for one in states) and not job.running():
        st.button("Open the demo", type="primary", key="demo-open", on_click=open_run, args=(DEMO.name,))
        return
    st.text("Nothing is downloaded. It takes about five minutes on two cores, and can be stopped and gone on with.")
    st.code(in_a_shell(["demo"]), language=None, wrap_lines=True)
    st.button("Start the demo", type="primary", key="demo-begin", disabled=job.running(), on_click=begin,
              args=(job, ["demo"]))  # fmt: skip
    follow(job, "demo", "The demo")


def open_run(name: str) -> None:
    """Opens one of the runs in the folder runs; for on_click."""
    st.query_params["run"] = name
    st.query_params.pop("case", None)


def show_runs(context: Context) -> None:
    """The runs in the folder runs: opened where the command has named none, else the command that opens them."""
    found = runs_in()
    if not found:
        return
    st.subheader("Runs here")
    for number, path in enumerate(found):
        states = stage_states(Store(path), context.stages)
        done = sum(one.state == COMPLETE for one in states)
        with st.container(horizontal=True, vertical_alignment="center", key=f"run-{number}"):
            if not context.fixed:
                st.button("Open", key=f"open-{number}", on_click=open_run, args=(path.name,),
                          disabled=_is_open(context, path))  # fmt: skip
            st.text(shown(f"{path.name}: {done} of {len(states)} stages complete"))
            if context.fixed:
                st.code(in_a_shell(["review", "--run", str(path)]), language=None, wrap_lines=True)


def _is_open(context: Context, path: Path) -> bool:
    return bool(context.folder) and Path(context.folder) == path
