"""The page of cases: pages through flagged cases and saves decisions.

Shows and asks only; what is shown comes from review/view.py, what is decided goes to review/decisions.py.
File names and notes are shown as plain text, never as Markdown or HTML, and without signs that turn a line round.
"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from xray_debug.data.overlay import map_facts
from xray_debug.data.shown import shown
from xray_debug.review.decisions import ReviewDB, ReviewError
from xray_debug.review.pages.shell import Context
from xray_debug.review.view import ImageError, RunView, ViewError, parse_boxes, picture

ANSWERS = {"approve": "Approve: erase these boxes", "reject": "Reject: leave the image", "edit": "Save my boxes"}


def show_table(frame: pd.DataFrame) -> None:
    texts = [name for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])]
    readable = {name: frame[name].map(lambda value: value if pd.isna(value) else shown(value)) for name in texts}
    st.dataframe(frame.assign(**readable), hide_index=True)


def step(by: int, count: int) -> None:
    st.session_state["position"] = min(max(st.session_state.get("position", 0) + by, 0), max(count - 1, 0))


def choose_case(names: list[str], decided: dict[str, str]) -> str:
    """The case in front, with buttons to the one before and after it."""
    position = min(st.session_state.get("position", 0), len(names) - 1)
    st.session_state["position"] = position
    left, middle, right = st.columns([1, 4, 1])
    left.button("Previous", on_click=step, args=(-1, len(names)), disabled=position == 0, key="previous")
    right.button("Next", on_click=step, args=(1, len(names)), disabled=position == len(names) - 1, key="next")
    answer = decided.get(names[position], "not decided")
    middle.text(f"Case {position + 1} of {len(names)}: {shown(names[position])} ({answer})")
    return names[position]


def show_picture(run: RunView, image_id: str) -> None:
    saliency = run.saliency(image_id)
    opacity = st.slider("Opacity of the saliency", 0.0, 1.0, 0.5, 0.05, disabled=saliency is None, key="opacity")
    try:
        image = run.image(image_id)
    except (ImageError, ViewError) as error:
        st.warning("The image cannot be shown.")
        st.text(shown(error))
        return
    plain, marked = st.columns(2)
    plain.image(image, caption="Image")
    overlay = picture(image, run.boxes_of(image_id), saliency, run.view, opacity)
    facts = "" if saliency is None else f" ({map_facts(saliency)})"
    marked.image(overlay, caption=f"Saliency and text boxes{facts}")
    if saliency is None:
        st.info("This case has no saliency map.")


def show_numbers(run: RunView, image_id: str) -> None:
    facts, numbers = run.facts(image_id), run.numbers(image_id)
    st.text("\n".join(f"{shown(name)}: {shown(value)}" for name, value in facts.items()))
    if len(numbers):
        show_table(numbers)
    else:
        st.info("This case has not been audited.")


def ask(run: RunView, review: ReviewDB, image_id: str) -> None:
    """Note, boxes to edit and the three answers; a saved answer turns to the next case."""
    found = pd.DataFrame(run.boxes_of(image_id), columns=["x0", "y0", "x1", "y1"])
    with st.form(f"decision-{image_id}"):
        reviewer = st.text_input("Reviewer", value=st.session_state.get("reviewer_name", ""))
        note = st.text_input("Note")
        edited = st.data_editor(found, num_rows="dynamic", key=f"boxes-{image_id}")
        pressed = {name: column.form_submit_button(label) for (name, label), column in
                   zip(ANSWERS.items(), st.columns(3), strict=True)}  # fmt: skip
    answer = next((name for name, hit in pressed.items() if hit), None)
    if answer is None:
        return
    try:
        boxes = parse_boxes(edited.to_dict("records")) if answer == "edit" else None
        review.decide(image_id, answer, boxes, reviewer, note)
    except (ReviewError, ViewError) as error:
        st.error("Not saved.")
        st.text(shown(error))
        return
    st.session_state["reviewer_name"] = reviewer
    step(1, len(run.image_ids(st.session_state.get("flagged_only", True))))
    st.rerun()


def show_history(review: ReviewDB, image_id: str) -> None:
    history = review.history(image_id)
    if len(history):
        st.caption("Decisions so far")
        show_table(history[["decision", "reviewer", "note", "decided_at"]])


def page(context: Context) -> None:
    """Draws the page."""
    run, review = context.run, context.review
    flagged_only = st.toggle("Flagged cases only", value=True, key="flagged_only")
    names = run.image_ids(flagged_only)
    if not names:
        st.info("No case to show.")
        return
    decided = review.decisions().set_index("image_id")["decision"].to_dict()
    st.progress(sum(name in decided for name in names) / len(names), "decided")
    image_id = choose_case(names, decided)
    left, right = st.columns([2, 1])
    with left:
        show_picture(run, image_id)
    with right:
        show_numbers(run, image_id)
        ask(run, review, image_id)
        show_history(review, image_id)
