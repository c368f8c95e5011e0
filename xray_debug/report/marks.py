"""What Markdown is made of: escaped text, tables, figures with their intervals."""

from __future__ import annotations

import html
import re

from xray_debug.report.format import percent


def text(value) -> str:
    """Free text without effect on the page: HTML and Markdown characters are escaped, line breaks become blanks."""
    flat = " ".join(str(value).split())
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", html.escape(flat, quote=False))


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in GitHub's Markdown of cells that are escaped already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def interval(row: dict, name: str, form=percent, start: str | None = None) -> str:
    """**value** (low to high) of row[name], row[name_low] and row[name_high], or of row[start...]; – for nothing."""
    start = f"{name}_" if start is None else start
    if row.get(name) is None:
        return "–"
    return f"**{form(row[name])}** ({form(row[start + 'low'])} to {form(row[start + 'high'])})"
