"""The map of a case that has none, or whose map is damaged: said, and offered to be computed."""

from __future__ import annotations

import hashlib

import streamlit as st

from xray_debug.review.jobs import Job
from xray_debug.review.pages.following import begin, follow
from xray_debug.review.pages.shell import Context
from xray_debug.run.further import case_map


def offer_map(context: Context, image_id: str) -> None:
    """Offers to compute the case's map where it is missing or damaged; nothing where it is there.

    It is computed by `xray-debug explain-case` in a process of its own and kept beside the stage's results
    (run/further.py), where `case_map` finds it for every page and session.
    """
    found = case_map(context.store, image_id)
    if found.saliency is not None:
        return
    if not found.damaged:  # which the page has said
        st.text("This case has no saliency map: it was not among those that stage explain was asked for.")
    if not context.store.has("description"):
        st.text("It can be computed once stage train is complete.")
        return
    number = hashlib.sha256(image_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    job = Job(context.store.job_folder(f"map-{number}"))
    arguments = ["explain-case", "--run", str(context.store.folder), "--", image_id]
    if not job.running():
        st.button("Compute the map", key=f"map-{number}-begin", on_click=begin, args=(job, arguments))
    follow(job, f"map-{number}", "The map")
