"""The end of a review: counts, agreement, the dataset made anew, what to run next, the decisions as a file."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from xray_debug.data.shown import shown
from xray_debug.review.behind import behind
from xray_debug.review.decisions import ReviewError
from xray_debug.review.exchange import events_csv
from xray_debug.review.jobs import Job
from xray_debug.review.pages.answers import answers_of
from xray_debug.review.pages.following import begin, follow
from xray_debug.review.pages.shell import Context, open_page
from xray_debug.review.pages.start import WORK
from xray_debug.review.stages import command_for, in_a_shell, stage_states
from xray_debug.review.summary import Counts, agreement_rows, counted, next_steps, several
from xray_debug.review.words import DECISIONS
from xray_debug.run.store import StoreError

LISTED = 20  # disagreements


def page(context: Context) -> None:
    """Draws the page."""
    try:
        counts = counted(answers_of(context.run, context.review).now(), context.review.by_reviewer())
        agreement = agreement_rows(context.review.agreement())
    except ReviewError as error:
        st.error("The decisions cannot be read.")
        st.text(shown(error))
        return
    left, right = st.columns(2, gap="large")
    with left:
        show_counts(counts)
        show_agreement(counts, agreement)
    with right:
        late = show_dataset(context, sum(counts.by_decision.values()))
        show_next(context, counts, late)
        offer_file(context)


def show_counts(counts: Counts) -> None:
    st.subheader("Decided")
    with st.container(horizontal=True):
        for label, (done, total) in (("Flagged cases", counts.flagged), ("Other images with boxes", counts.others)):
            if total:
                st.metric(label, f"{done} of {total}")
        st.metric("Reviewers disagree on", len(counts.disagreements))
    total = sum(counts.by_decision.values())
    if not total:
        st.text("Nothing is decided yet: without a decision the boxes are erased as they were detected.")
        return
    rows = [("what counts", counts.by_decision), *counts.by_reviewer.items()]
    table = pd.DataFrame([{"decided by": shown(name), **{DECISIONS[kind]: own[kind] for kind in own},
                           "together": sum(own.values())} for name, own in rows])  # fmt: skip
    st.dataframe(table, hide_index=True, height="content")


def show_agreement(counts: Counts, rows: list[dict]) -> None:
    st.subheader("Agreement")
    if not rows:
        st.text("It is shown once two reviewers have decided the same images.")
        return
    table = pd.DataFrame(rows)
    table["reviewers"] = table["reviewers"].map(shown)
    st.dataframe(table, hide_index=True, height="content")
    st.text("Kappa is 1 where two always agree and 0 where they agree no more than by chance. The decision that came "
            "last counts.")  # fmt: skip
    if counts.disagreements:
        with st.expander(f"Images they disagree on ({len(counts.disagreements)})"):
            for number, name in enumerate(counts.disagreements[:LISTED]):
                with st.container(horizontal=True, vertical_alignment="center"):
                    st.button("Open", key=f"disagreement-{number}", on_click=open_page, args=("cases",),
                              kwargs={"case": name})  # fmt: skip
                    st.text(shown(name))
            if len(counts.disagreements) > LISTED:
                st.text(f"and {len(counts.disagreements) - LISTED} more; the queue has a filter for them")


def show_dataset(context: Context, decided: int) -> int:
    """How far the dataset is behind, and the button that makes it anew; the number of decisions that are newer.

    `decided`: how many there are, which is how many may be newer where the dataset does not say.
    """
    st.subheader("The cleaned dataset")
    store, job = context.store, Job(context.store.job_folder(WORK))
    try:
        found = behind(store)
    except (ReviewError, StoreError) as error:
        st.error("How far the dataset is behind cannot be told.")
        st.text(shown(error))
        found = None
    if found is None and store.has("changes"):
        st.text("An earlier version made it, which did not note the decisions that it was made with.")
    elif found is None:
        st.text("It has not been made yet.")
    elif not found.decisions:
        st.success("It is as decided.")
    else:
        st.warning(f"It is behind: {several(len(found.decisions), 'decision is', 'decisions are')} newer than it is, "
                   f"and {several(len(found.images), 'image', 'images')} will change.")  # fmt: skip
    arguments = command_for(store, "clean")
    st.code(in_a_shell(arguments), language=None, wrap_lines=True)
    st.button("Make it anew" if store.has("changes") else "Make it", type="primary", key="clean-begin",
              disabled=job.running() or not store.has("regions"), on_click=begin, args=(job, arguments))  # fmt: skip
    state = follow(job, "clean", "The work on this run")
    if state.succeeded and state.said:
        st.text(shown(state.said[-1]))
    return decided if found is None else len(found.decisions)


def show_next(context: Context, counts: Counts, late: int) -> None:
    st.subheader("Next")
    steps = next_steps(context.store, stage_states(context.store, context.stages), counts, late)
    if not steps:
        st.success("Nothing: all is decided, and everything is made of these decisions.")
    for step in steps:
        st.text(shown(f"{step.why[:1].upper()}{step.why[1:]}."))
        if step.arguments:
            st.code(in_a_shell(step.arguments), language=None, wrap_lines=True)
    if sum(bool(step.arguments) for step in steps) > 1:
        st.text("All of these in one:")
        st.code(in_a_shell(command_for(context.store)), language=None, wrap_lines=True)


def offer_file(context: Context) -> None:
    def content() -> str:
        return events_csv(context.review)

    st.download_button("The decisions as CSV", content, "decisions.csv", "text/csv", key="decisions-csv",
                       on_click="ignore")  # fmt: skip
