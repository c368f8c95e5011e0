"""compare: two finished runs, model against model on the same cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from xray_debug.commands.terminal import out, say

FILES = ("compare.json", "compare.md", "compare.html")


def add_compare(app: typer.Typer) -> None:
    app.command()(compare)


def compare(first: Annotated[Path, typer.Argument(metavar="RUN", help="run folder: A")],
            second: Annotated[Path, typer.Argument(metavar="RUN", help="run folder: B")],
            out_dir: Annotated[Optional[Path], typer.Option(
                "--out", help="folder for compare.md, compare.html, compare.json")] = None):  # fmt: skip
    """Two runs, model against model on the same cases: scores, verdicts, what changed."""
    from xray_debug.report.compare import compare_runs
    from xray_debug.report.compare_pages import SCORES, VERDICTS, score_cells, verdict_cells

    if out_dir is not None:
        _check_free(out_dir)
    report = compare_runs(_opened(first), _opened(second))
    scores = [row for row in report["scores"] if row["trained_on"] == report["scores"][0]["trained_on"]]
    shown = [row for row in report["verdicts"] if any(side and side["shown"] for side in (row["a"], row["b"]))]
    for head, cells, rows in ((SCORES, score_cells, scores), (VERDICTS, verdict_cells, shown)):
        if rows:
            _print(head, [cells(row) for row in rows])
    left = [(len(report["scores"]) - len(scores), "scores of models trained on other images"),
            (len(report["verdicts"]) - len(shown), "questions to which neither run shows an answer")]  # fmt: skip
    if any(number for number, _ in left):
        say(f"not in these tables: {', '.join(f'{number} {what}' for number, what in left if number)} (--out has them)")
    for sentence in report["sentences"]:
        say(sentence)
    for entry in report["not_shown"]:
        say(f"not shown: {entry['what']}: {entry['why']}")
    if out_dir is not None:
        _write(report, out_dir)


def _opened(folder: Path):
    """The run's store and the options that it was made with; RunError where it is none."""
    from xray_debug.config import load_config
    from xray_debug.run.folder import RunError
    from xray_debug.run.store import Store

    store = Store(folder)
    if not store.pipeline_file.exists():
        raise RunError(f"{folder}: expected a run folder with pipeline.yaml; xray-debug run makes one")
    return store, load_config(store.pipeline_file)


def _check_free(folder: Path) -> None:
    from xray_debug.run.folder import RunError
    from xray_debug.run.places import check_no_stage

    check_no_stage(folder)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"--out {folder}: is a file, expected a folder")
    there = [name for name in FILES if (folder / name).exists()]
    if there:
        raise RunError(f"{folder / there[0]}: is there already; choose another --out")


def _print(head: tuple[str, ...], lines: list[list[str]]) -> None:
    """As a table, or where the terminal is too narrow for its words, a line for each row."""
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    from xray_debug.data.shown import shown

    table = Table(*head)
    for line in lines:
        table.add_row(*(Text(shown(cell)) for cell in line))
    if Measurement.get(out, out.options.update(width=1000), table).minimum <= out.width:
        out.print(table)
        return
    for line in lines:
        say("; ".join(f"{name}: {cell}" for name, cell in zip(head, line, strict=True) if cell))


def _write(report: dict, folder: Path) -> None:
    from xray_debug.data.files import private, write_json, write_text
    from xray_debug.report.compare_pages import render_html, render_markdown

    with private():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / FILES[0], report)
        write_text(folder / FILES[1], render_markdown(report))
        write_text(folder / FILES[2], render_html(report))
    say(f"{folder / FILES[2]}: written, with {FILES[1]} and {FILES[0]}")
