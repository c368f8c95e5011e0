"""compare.md and compare.html from what compare.py found, and the cells of both tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from jinja2 import Template

from xray_debug.report.format import MISSING, count, missing, p_value, percent, points, signed
from xray_debug.report.marks import table, text
from xray_debug.report.template import page_environment

SCORES = ("trained on", "test set", "score", "class", "images", "A, %", "B, %", "B less A, points", "p", "p (Holm)",
          "reads as")  # fmt: skip
VERDICTS = ("test set", "question", "class", "A: effect", "A: controls", "A", "B: effect", "B: controls", "B", "cases",
            "B less A", "reads as")  # fmt: skip


def score_cells(row: dict) -> list[str]:
    return [row["trained_on"], row["test_set"], row["what"], row["class"], count(row["images"]), percent(row["a"]),
            percent(row["b"]), ranged(row, "difference", points), p_value(row["p"]) if row["p"] is not None else "",
            p_value(row["p_holm"]) if row["p_holm"] is not None else "", row["reads"]]  # fmt: skip


def verdict_cells(row: dict) -> list[str]:
    sides = []
    for side in (row["a"], row["b"]):
        sides += ([ranged(side, "effect", signed), ranged(side, "control", signed),
                   "shown" if side["shown"] else "not shown"] if side else ["", "", "not asked"])  # fmt: skip
    return [row["test_set"], row["question"], row["label"], *sides, count(row["cases"]), ranged(row, "change", signed),
            row["reads"]]  # fmt: skip


def ranged(row: dict, name: str, form: Callable[[float], str]) -> str:
    """The value with the ends of its interval; – where there is none."""
    if missing(row[name]):
        return MISSING
    ends = row[f"{name}_low"], row[f"{name}_high"]
    return form(row[name]) + ("" if missing(ends[0]) else f" ({form(ends[0])} to {form(ends[1])})")


def render_markdown(report: dict) -> str:
    """The comparison in GitHub's Markdown; every text is escaped."""
    parts = [f"# {text(report['runs']['a']['name'])} (A) and {text(report['runs']['b']['name'])} (B)",
             "\n".join(f"- {text(sentence)}" for sentence in report["sentences"])]  # fmt: skip
    for title, head, cells, rows in (("Scores", SCORES, score_cells, report["scores"]),
                                     ("Verdicts", VERDICTS, verdict_cells, report["verdicts"])):  # fmt: skip
        if rows:
            parts += [f"## {title}", table(list(head), [[text(cell) for cell in cells(row)] for row in rows])]
    parts += ["## Not shown", "\n".join(f"- **{text(e['what'])}**: {text(e['why'])}" for e in report["not_shown"])
              ] if report["not_shown"] else []  # fmt: skip
    return "\n\n".join(parts) + "\n"


def render_html(report: dict) -> str:
    """One page with nothing fetched and no scripts; every text is escaped by the template engine."""
    return _template().render(report=report)


@cache
def _template() -> Template:
    environment = page_environment()
    environment.globals |= {"score_cells": score_cells, "verdict_cells": verdict_cells, "SCORES": SCORES,
                            "VERDICTS": VERDICTS}  # fmt: skip
    return environment.get_template("compare.html")
