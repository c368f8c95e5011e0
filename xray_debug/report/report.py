"""The report of a run: report.json with every figure, report.html that opens by itself, report.md, figures/.

Reads the run folder only; no model is loaded. What the run does not hold is left out and named in `not_shown`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from xray_debug.config import PipelineConfig
from xray_debug.report import cleaning as report_cleaning
from xray_debug.report import figures as report_figures
from xray_debug.report import tables as report_tables
from xray_debug.report.cases import flagged_cases
from xray_debug.report.explanations import explanations
from xray_debug.report.format import plain
from xray_debug.report.html import render_html
from xray_debug.report.inputs import RunFiles, read_cells, read_run
from xray_debug.report.markdown import render_markdown
from xray_debug.report.words import headline


def write_report(run_dir: str | Path, config: PipelineConfig) -> Path:
    """Writes `run_dir`/report/ and returns the path of report.json.

    Raises ValueError where `run_dir` is no folder, a table is broken or predictions contradict each other.
    """
    run = read_run(run_dir, config)
    folder = run.folder / "report"
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for old in figures.glob("*.png"):
        old.unlink()
    report = plain(build_report(run, figures))
    text = json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False)
    _write(folder / "report.json", text + "\n")
    _write(folder / "report.html", render_html(report, folder))
    _write(folder / "report.md", render_markdown(report))
    return folder / "report.json"


def build_report(run: RunFiles, figures: Path) -> dict:
    """Everything the report says, as one dictionary; writes the pictures into `figures`."""
    samples, seed = run.config.report.bootstrap, run.config.seed
    cells, without = report_tables.apart(read_cells(run))
    permutations = run.config.audit.permutations
    verdict = dict(run.verdict or {})
    report = {
        "name": run.config.name,
        "level": report_tables.LEVEL,
        "classes": run.classes,
        "no_evidence": verdict.pop("no_evidence", None),
        "verdict": verdict or None,
        "table4": report_tables.table4(cells, samples, seed),
        "patients": report_tables.patients(cells),
        "reference": report_tables.REFERENCE,
        "differences": report_tables.differences(cells, samples, seed),
        "gaps": report_tables.gaps(cells, samples, seed),
        "per_class": report_tables.per_class(cells),
        "per_source": report_tables.per_source(cells),
        "left_out_sources": report_tables.left_out_sources(cells, without, run, samples, seed),
        "calibration": report_tables.calibration(cells, run),
        "confusion": report_tables.confusion(cells),
        "repaired": report_cleaning.repaired(run, permutations, seed),
        "residual": report_cleaning.residual(run),
        "probe": run.probe,
        "faults": report_cleaning.faults(run),
        "explanations": explanations(run, samples, seed),
    }
    report["flagged"], report["flagged_counts"] = flagged_cases(run, figures)
    report["timings"], report["versions"] = _timings(run), _versions(run)
    _note_gaps(run, report, cells)
    report["figures"] = _draw(report, figures)
    report["config"] = run.config.model_dump(mode="json")
    report["not_shown"] = run.not_shown
    report["headline"] = headline(report)
    return report


def _timings(run: RunFiles) -> dict[str, dict]:
    """Wall time and peak memory of each finished stage but this one."""
    return {
        stage: {"seconds": record.get("seconds"), "peak_memory_mb": record.get("peak_memory_mb")}
        for stage, record in run.records.items()
        if stage != "report"
    }


def _versions(run: RunFiles) -> dict[str, str]:
    """Package versions and device, from the stage that trained, or the first that has them."""
    for stage in ("train", *run.records):
        record = run.records.get(stage, {})
        if record.get("versions"):
            return {**record["versions"], "device": record.get("device")}
    return {}


def _note_gaps(run: RunFiles, report: dict, cells: dict) -> None:
    """Names what a complete report would hold and this one does not, beyond missing files."""
    trained = {key[0] for key in cells}
    if run.predictions is not None and "cleaned" in trained and "control" not in trained:
        run.leave_out("the row trained on the control cleaning", "clean.control is off: no control images were written")
    if cells and len(run.config.all_seeds) < 2:
        run.leave_out("the spread over seeds", "one seed was trained; give several in the pipeline's seeds:")
    if cells and not report["gaps"]:
        run.leave_out("scores on further test sets", "the dataset has none (prepare.extra_tests)")
    if run.verdict is not None and report["no_evidence"] is None:
        run.leave_out("the no-evidence baselines", "audit/verdict.json does not hold them")


def _draw(report: dict, folder: Path) -> dict[str, str]:
    """Writes the figures of the tables; name -> path relative to the report."""
    jobs = {
        "table4": (report_figures.table4_figure, report["table4"]),
        "confusion": (report_figures.confusion_figure, report["confusion"]),
        "reliability": (report_figures.reliability_figure, list(_first_test(report["calibration"]))),
    }
    curves = (report["explanations"] or {}).get("curves")
    jobs["curves"] = (report_figures.mean_curves_figure, curves)
    found = {}
    for name, (draw, rows) in jobs.items():
        if rows:
            draw(rows, folder / f"{name}.png")
            found[name] = f"figures/{name}.png"
    return found


def _first_test(rows: list[dict]) -> Iterable[dict]:
    """Rows of the dataset's own test set, or of the first there is."""
    return (row for row in rows if row["test_set"] == rows[0]["test_set"])


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
