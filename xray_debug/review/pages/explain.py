"""Explain one image: a radiograph that a person drops, a model, a method; the map and the curves when it is done.

Reading the film and computing happen in a process of its own (review/explanations.py). The address names the
explanation, so that a reload finds it again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd
import streamlit as st

from xray_debug.data.explanation import ExplanationError
from xray_debug.data.overlay import OPACITY, map_facts
from xray_debug.data.shown import shown
from xray_debug.review.explanations import (
    LARGEST_UPLOAD,
    PICTURE,
    Explanation,
    Explanations,
    Wish,
    classes_of,
    methods_known,
)  # fmt: skip
from xray_debug.review.jobs import JobError
from xray_debug.review.pages.following import follow
from xray_debug.review.pages.maps import offer_map
from xray_debug.review.pages.shell import Context

if TYPE_CHECKING:
    import altair as alt

__all__ = ["offer_map", "page"]

PLACE = "explanation"  # in the address
OF_RUN, OTHER = "The model of this run", "Another model"
PREDICTED, OWN_DEFAULT = "what the model predicts", "default"
DELETION, INSERTION = "#D55E00", "#0072B2"  # as in every other picture of curves


@st.cache_resource(show_spinner=False)
def known_explanations() -> Explanations:
    return Explanations()


@st.cache_resource(show_spinner="Asking which methods there are ...")
def known_methods() -> list[dict]:
    return methods_known()


def page(context: Context) -> None:
    """Draws the page."""
    asked, found = st.columns([1, 3], gap="medium")
    with asked:
        ask(context)
    with found:
        show(known_explanations().get(st.query_params.get(PLACE, "")))


# --------------------------------------------------------------------------------------------------------- asking


def ask(context: Context) -> None:
    """Film, model, method; the button that begins."""
    film = st.file_uploader("Radiograph (PNG, JPEG, TIFF or DICOM)", key="film", max_upload_size=LARGEST_UPLOAD)
    model, of_run = ask_model(context)
    try:
        known = {row["method"]: row for row in known_methods()}
    except ExplanationError as error:
        st.error("The methods cannot be listed.")
        st.text(shown(error))
        return
    method = st.selectbox("Method", list(known), key="method")
    st.text(shown(known[method]["help"]))
    presets = known[method]["presets"] or [OWN_DEFAULT]
    preset = st.selectbox("Preset", presets, key=f"preset-{method}", disabled=len(presets) == 1)
    place = str(context.store.path("model")) if of_run else model
    target = st.selectbox("Class to explain", [PREDICTED, *classes_of(place)], key="target", format_func=shown)
    missing = "Drop a radiograph first." if film is None else "Say which model." if not model else ""
    if st.button("Explain", type="primary", key="explain-begin", disabled=bool(missing)):
        begin(Wish(film.name, model, of_run, method, preset if len(presets) > 1 else "",
                   "" if target == PREDICTED else target), film.getvalue())  # fmt: skip
    if missing:
        st.text(missing)


def ask_model(context: Context) -> tuple[str, bool]:
    """(run or model, whether it is a run)."""
    has_one = context.store is not None and context.store.has("description")
    which = st.radio("Model", [OF_RUN, OTHER] if has_one else [OTHER], key="model-of", horizontal=True)
    if which == OF_RUN:
        return str(context.store.folder), True
    given = st.text_input("Folder of the model", key="model-folder", placeholder="runs/demo/train",
                          help="A folder with model.json and model.safetensors, as train/ of a run is one. A model "
                               "that is a program is not run from here.")  # fmt: skip
    return str(Path(given.strip()).expanduser()) if given.strip() else "", False


def begin(wish: Wish, content: bytes) -> None:
    """Starts it in place of the one that this session has shown."""
    all_of_them = known_explanations()
    all_of_them.remove(st.query_params.get(PLACE, ""))
    try:
        st.query_params[PLACE] = all_of_them.begin(wish, content)
    except (ExplanationError, JobError) as error:
        st.error("It cannot be explained.")
        st.text(shown(error))


def forget(key: str) -> None:
    known_explanations().remove(key)
    st.query_params.pop(PLACE, None)


# -------------------------------------------------------------------------------------------------------- showing


def show(one: Explanation | None) -> None:
    """How far it is; then film, map, numbers and curves."""
    if one is None:
        if PLACE in st.query_params:
            st.info("This explanation is gone: the app was started anew, or others took its place.")
        else:
            st.info("The map and the deletion and insertion curves appear here.")
        return
    st.text(shown(one.wish.name))
    if one.job.state().ended not in (None, 0) and not one.job.state().stopped:
        st.error("It cannot be explained.")
        st.text(one.error(one.job.state().error))
    elif follow(one.job, "explain", "The explanation").succeeded:
        show_result(one)
    st.button("Remove this explanation", key="explain-remove", on_click=forget, args=(st.query_params[PLACE],),
              help="Stops it where it runs; the film and what was made of it go away. "
                   "They go away too when the app ends.")  # fmt: skip


def show_result(one: Explanation) -> None:
    try:
        found = one.result
    except ExplanationError as error:
        st.error("The explanation cannot be shown.")
        st.text(shown(error))
        return
    facts = found.facts
    known = zip(facts["classes"], facts["probabilities"], strict=True)
    said = ", ".join(f"{name} {value:.3f}" for name, value in known)
    st.text(shown(f"The model says: {said}. Explained: {facts['target']}."))
    if facts["hardly_moved"]:
        st.warning("The masks hardly moved: this map says little.")
    film, curves = st.columns([3, 2], gap="medium")
    with film:
        opacity = st.slider("Opacity of the map", 0.0, 1.0, OPACITY, 0.05, key="explain-opacity")
        overlay = found.overlay(opacity)
        st.image(overlay, width="stretch", alt="The radiograph under its saliency map")
        st.text(f"Brightest where it matters most; {map_facts(found.saliency)}.")
    with curves:
        st.altair_chart(curves_chart(found.curves, facts["target"]))
        st.text(f"Area under deletion {facts['deletion']:.3f} (lower is better), under insertion "
                f"{facts['insertion']:.3f} (higher is better); {facts['seconds']:.0f} s.")  # fmt: skip
    download(one, overlay)


def curves_chart(curves: np.ndarray, target: str) -> alt.Chart:
    """Both curves over the share of the pixels; what they say is in the text beside them."""
    import altair as alt  # heavy: no other page need wait for it

    shares = np.tile(100 * curves[:, 0], 2)
    kinds = np.repeat(["deletion", "insertion"], len(curves))
    table = pd.DataFrame({"pixels": shares, "kind": kinds, "probability": curves[:, 1:].T.ravel()})
    quiet = {"aria": False}  # a part of a chart has a role without a name else
    kind = alt.Color("kind", title=None, scale=alt.Scale(domain=["deletion", "insertion"], range=[DELETION, INSERTION]),
                     legend=alt.Legend(orient="top", columns=1, **quiet))  # fmt: skip
    x = alt.X("pixels", title=["pixels replaced, %,", "most salient first"], axis=alt.Axis(**quiet),
              scale=alt.Scale(domain=[0, 100]))  # fmt: skip
    y = alt.Y("probability", title=f"probability of {shown(target)}", axis=alt.Axis(**quiet),
              scale=alt.Scale(domain=[0, 1]))  # fmt: skip
    return alt.Chart(table, height=320).mark_line(**quiet).encode(x, y, kind, alt.StrokeDash("kind", legend=None))


def download(one: Explanation, overlay) -> None:
    stem = Path(one.film.name).stem.removeprefix("film_")
    _, picture = cv2.imencode(".png", overlay[..., ::-1])
    files = {
        "Overlay": (f"{stem}.overlay.png", picture.tobytes(), "image/png"),
        "Picture with curves": (f"{stem}.explained.png", one.file(PICTURE), "image/png"),
        "Map (NumPy)": (f"{stem}.map.npy", one.file("data/map.npy"), "application/octet-stream"),
        "Curves (CSV)": (f"{stem}.curves.csv", one.file("data/curves.csv"), "text/csv"),
    }
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text("Download", width="content")
        for label, (name, content, mime) in files.items():
            st.download_button(label, content, name, mime, key=f"download-{name}", on_click="ignore")
