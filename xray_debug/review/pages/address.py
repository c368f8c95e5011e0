"""What the page's address says: case, filter, search, page of thumbnails. A copied link opens the same again.

The address is the one place that holds this; widgets are set from it before they are drawn, and write to it when used.
"""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from xray_debug.review.queue import FIELDS, SHOWN, Filter, Queue

EVERYTHING = "all"


def asked(queue: Queue) -> Filter:
    """The filter of the address. Without `show` flagged cases are asked for, where there are any."""
    values = {name: st.query_params.get_all(name) for name in FIELDS}
    flagged = "show" in queue.facts and SHOWN[0] in set(queue.facts["show"].categories)
    if not values["show"] and flagged:
        values["show"] = [SHOWN[0]]
    if EVERYTHING in values["show"]:
        values["show"] = []
    return Filter.of(values, st.query_params.get("search", ""))


def ask(name: str, values: Iterable[str]) -> None:
    """One field of the filter, or `search`, as it is from now on; the page of thumbnails is the first again."""
    values = [value for value in values if value]
    if name == "show" and not values:
        values = [EVERYTHING]
    put(name, values)
    put("page", [])


def put(name: str, values: list[str]) -> None:
    if values:
        st.query_params[name] = values if len(values) > 1 else values[0]
    elif name in st.query_params:
        del st.query_params[name]


def clear() -> None:
    """No filter at all."""
    for name in [*FIELDS, "search", "page"]:
        put(name, [])


def go(image_id: str | None) -> None:
    """Turns to a case."""
    if image_id is not None:
        st.query_params["case"] = image_id


def in_words(filter_: Filter) -> str:
    """The filter as one line; "" for none."""
    parts = [" or ".join(values) if name == "show" else f"{FIELDS[name].lower()}: {' or '.join(values)}"
             for name, values in filter_.values.items()]  # fmt: skip
    return "; ".join([*parts, *([f"name with {filter_.search}"] if filter_.search else [])])
