"""The film with its boxes as a component of the page: what it is sent, and what comes back.

The component's own code is in review/editor/. It is sent one packet: the length of a JSON header (4 bytes, little
endian), the header, and the PNGs that it names by (start, length).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import streamlit as st

from xray_debug.data.boxes import as_boxes, clip_boxes
from xray_debug.data.shown import shown
from xray_debug.review.pictures import Patch, Pictures
from xray_debug.review.view import ImageError, RunView, ViewError

SOURCES = Path(__file__).parents[1] / "editor"
DRAFTS = 200  # cases whose unsaved boxes a session keeps

Boxes = list[list[int]]


def packet(head: dict[str, Any], **parts: bytes | None) -> bytes:
    """The header with each part's place in it, and the parts."""
    start, body = 0, b""
    for name, part in parts.items():
        head = {**head, name: [start, len(part or b"")]}
        body += part or b""
        start = len(body)
    text = json.dumps(head).encode()
    return len(text).to_bytes(4, "little") + text + body


@st.cache_resource(show_spinner=False)
def pictures() -> Pictures:
    """Of all sessions together."""
    return Pictures()


_component = st.components.v2.component(
    "xray_debug_editor",
    **{kind: (SOURCES / f"editor.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")},
)


def drafts() -> dict[str, dict]:
    """image_id -> the boxes that this session has changed and not saved: version, number (of the change), boxes."""
    return st.session_state.setdefault("drafts", {})


def draft_of(image_id: str, version: int) -> dict | None:
    """The unsaved boxes of a case, unless they were drawn on an earlier version of it."""
    found = drafts().get(image_id)
    return found if found is not None and found["version"] == version else None


def take_edit() -> None:
    """Keeps what the browser sent as a draft; what is no list of boxes is left out."""
    edit = st.session_state.get("editor", {}).get("edit")
    try:
        boxes = as_boxes(edit["boxes"]).tolist()
        drafts()[str(edit["case"])] = {"version": int(edit["version"]), "number": int(edit["number"]), "boxes": boxes}
    except (KeyError, TypeError, ValueError):
        return
    while len(drafts()) > DRAFTS:
        del drafts()[next(iter(drafts()))]


def show(run: RunView, image_id: str, boxes: Boxes, version: int) -> tuple[int, int] | None:
    """Draws the film with these boxes, editable; its (height, width), or None where it cannot be shown."""
    draft, regions = draft_of(image_id, version), run.regions(image_id)
    stored, boxes = boxes, draft["boxes"] if draft else boxes
    others = [{"box": box.tolist(), "kind": shown(kind)}
              for box, kind in zip(regions.boxes, regions.kinds, strict=True)
              if kind not in run.clean.kinds]  # fmt: skip
    head = {"case": image_id, "version": version, "edit": draft["number"] if draft else 0, "boxes": boxes,
            "found": run.boxes_of(image_id).tolist(), "stored": stored, "others": others, "problem": "", "map": "",
            "at": (0, 0)}  # fmt: skip
    film = heat = patch = size = None
    try:
        layers = pictures().layers(run, image_id)
        film, heat, size = layers.picture, layers.heat, layers.film.pixels.shape[:2]
        head["map"] = "Map damaged" if layers.map_problem else "" if heat else "No map"
        patch, head["at"] = _patch(run, image_id, boxes, size, head)
    except (ImageError, ViewError) as error:
        head["problem"] = f"The image cannot be shown. {shown(error)}"
    _component(key="editor", data=packet(head, film=film, heat=heat, patch=patch), on_edit_change=take_edit)
    return size


def _patch(run: RunView, image_id: str, boxes: Boxes, size: tuple[int, int], head: dict) -> Patch:
    try:
        return pictures().cleaned(run, image_id, clip_boxes(boxes, *size).tolist())
    except ImageError:
        raise
    except ValueError as error:
        head["problem"] = f"Cleaning would leave this film as it is: {shown(error)}"
        return Patch(b"", (0, 0))


def map_problem(run: RunView, image_id: str) -> str:
    """Why the case's map cannot be shown; "" where it can, where there is none, or where the film itself cannot."""
    try:
        return pictures().layers(run, image_id).map_problem
    except (ImageError, ViewError):
        return ""
