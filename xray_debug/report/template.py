"""The template engine of the pages: texts are escaped, numbers pass report/format.py, what is absent is an error."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from xray_debug.report.format import FORMATS
from xray_debug.report.words import test_name

NAMES = {
    "test_set": "test set", "trained_on": "trained on", "tested_on": "tested on", "n": "n", "p": "p", "auc": "AUC",
    "p_holm": "p (Holm)",
}  # fmt: skip


def page_environment() -> Environment:
    """With what templates/macros.html uses; a page adds what is its own."""
    environment = Environment(
        loader=PackageLoader("xray_debug.report", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= FORMATS | {"words": words, "kind": kind_of, "scalars": scalars, "nested": nested,
                                      "test_name": test_name}
    environment.globals |= {"place": place, "cell_of": cell_of, "unique": unique}
    return environment


def place(share: float | None) -> str:
    """A share in [0, 1] as a place on a line, for a style."""
    return f"{100 * min(max(share or 0.0, 0.0), 1.0):.2f}%"


def words(key: str) -> str:
    """A name of the data as a reader would say it."""
    return NAMES.get(str(key), str(key).replace("_", " "))


def kind_of(value) -> str:
    """How a value of unknown shape is shown: rows (list of dicts), facts (dict), list or scalar."""
    if isinstance(value, dict):
        return "facts"
    if isinstance(value, list):
        return "rows" if value and all(isinstance(item, dict) for item in value) else "list"
    return "scalar"


def scalars(value: dict) -> dict:
    """The entries that fit in a cell."""
    return {key: item for key, item in value.items() if kind_of(item) == "scalar"}


def nested(value: dict) -> dict:
    """The other entries, empty ones left out."""
    return {key: item for key, item in value.items() if kind_of(item) != "scalar" and item}


def unique(rows: list[dict], key: str) -> list:
    """The values of `key` in order of appearance."""
    return list(dict.fromkeys(row[key] for row in rows))


def cell_of(rows: list[dict], **wanted) -> dict | None:
    """The first row with these values."""
    return next((row for row in rows if all(row.get(key) == value for key, value in wanted.items())), None)
