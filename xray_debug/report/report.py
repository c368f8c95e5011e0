"""The report of a run: report.json with every figure, report.html that opens by itself, report.pdf, .md, figures/.

Reads the run through the store only; no model is loaded. What the run does not hold is left out and named in
`not_shown`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from xray_debug.config import PipelineConfig
from xray_debug.data.classes import COVID_CLASSES
from xray_debug.data.files import atomic_write, write_text
from xray_debug.report import cleaning as report_cleaning
from xray_debug.report import figures as report_figures
from xray_debug.report import second_reader as report_reader
from xray_debug.report import tables as report_tables
from xray_debug.report.calibration import calibration
from xray_debug.report.cases import flagged_cases
from xray_debug.report.clusters import clusters
from xray_debug.report.explanations import explanations
from xray_debug.report.format import plain, timing_rows
from xray_debug.report.groups import groups
from xray_debug.report.html import render_html
from xray_debug.report.inputs import RunFiles, StageInfo, read_cells, read_run
from xray_debug.report.markdown import render_markdown
from xray_debug.report.pdf import render_pdf
from xray_debug.report.repairs import repairs
from xray_debug.report.scores import scores
from xray_debug.report.words import headline
from xray_debug.run.folder import lineage
from xray_debug.run.store import OUTPUTS, Store
from xray_debug.stats.intervals import LEVEL


def write_report(store: Store, config: PipelineConfig, stages: Iterable[StageInfo] = ()) -> Path:
    """Writes report.json, .html, .md, .pdf and figures/ where the store puts them; returns report.json's path.

    `stages`: the pipeline's, in order (anything with `name` and `help`), for times and versions.
    Raises ValueError where the run is no folder, a table is broken or predictions contradict each other.
    """
    run = read_run(store, config, stages)
    figures = store.path("figures")
    figures.mkdir(parents=True, exist_ok=True)
    for old in figures.glob("*.png"):
        old.unlink()
    report = plain(build_report(run, figures))
    store.write_json("report", report)
    write_text(store.path("page"), render_html(report, figures.parent))
    write_text(store.path("summary"), render_markdown(report))
    paper = render_pdf(report, figures.parent)
    atomic_write(store.path("paper"), lambda file: file.write(paper))
    return store.path("report")


def build_report(run: RunFiles, figures: Path) -> dict:
    """Everything the report says, as one dictionary; writes the pictures into `figures`."""
    samples, seed = run.config.report.bootstrap, run.config.seed
    cells, without = read_cells(run)
    verdict = dict(run.verdict or {})
    comparable = run.config.model is None and set(run.classes) == set(COVID_CLASSES)  # with the paper's networks
    report = {
        "name": run.config.name,
        "run": run_shown(run.store.folder),
        "level": LEVEL,
        "classes": run.classes,
        "no_evidence": verdict.pop("no_evidence", None),
        "features": verdict.pop("features", None),
        "clusters": clusters(run, verdict.pop("clusters", None), figures),
        "verdict": verdict or None,
        "table4": report_tables.table4(cells, samples, seed),
        "patients": report_tables.patients(cells),
        "reference": report_tables.REFERENCE if comparable else [],
        "differences": report_tables.differences(cells, samples, seed),
        "gaps": report_tables.gaps(cells, samples, seed),
        "per_class": report_tables.per_class(cells),
        "per_source": report_tables.per_source(cells),
        "left_out_sources": report_tables.left_out_sources(cells, without, run, samples, seed),
        "scores": scores(cells, samples, seed),
        "calibration": calibration(cells, run, samples, seed),
        "confusion": report_tables.confusion(cells),
        "repaired": report_cleaning.repaired(run, run.config.audit.permutations, seed),
        "residual": report_cleaning.residual(run),
        "second_reader": report_reader.second_reader(run, samples, seed),
        "probe": run.probe,
        "faults": report_cleaning.faults(run),
        "explanations": explanations(run, samples, seed),
        "repairs": repairs(run, cells, samples, seed),
    }
    report["groups"], report["small_groups"] = groups(cells, run, samples, seed)
    report["given_model"] = given_model(run)
    report["flagged"], report["flagged_counts"] = flagged_cases(run, figures)
    report["timings"], report["versions"] = _timings(run), _versions(run)
    report["lineage"] = {stage: lineage(record) for stage, record in run.records.items()}
    _note_gaps(run, report, cells)
    report["figures"] = _draw(report, figures)
    report["config"] = run.config.model_dump(mode="json")
    report["not_shown"] = run.not_shown
    report["headline"] = headline(report)
    return report


def run_shown(folder: Path) -> str:
    """The run's folder as a command names it: from the working directory, or RUN where it lies elsewhere."""
    try:
        return shlex.quote(folder.resolve().relative_to(Path.cwd().resolve()).as_posix())
    except ValueError:  # a report is handed on: it does not tell where a home directory is
        return "RUN"


def given_model(run: RunFiles) -> dict | None:
    """What is known of a model that was not trained here; None for one that was."""
    settings = run.config.model
    if settings is None:
        return None
    own = run.store.json("description").get("own", {}) if run.store.has("description") else {}
    record = run.records.get(OUTPUTS["predictions"].stage, {})
    name = Path(settings.file).name if settings.file else settings.factory or "a model given in Python"
    score = record.get("score", "")
    return {"name": name, "sha256": own.get("sha256", ""), "finding": settings.finding, "score": score,
            "better_ways": record.get("better_ways", []), "retrained": run.config.retrain.command is not None}


def _timings(run: RunFiles) -> list[dict]:
    """Time, images and memory of each finished stage but this one, with what it does."""
    helps = {stage.name: stage.help for stage in run.stages}
    return [{**row, "help": helps[row["stage"]]} for row in timing_rows(run.records)]


def _versions(run: RunFiles) -> dict[str, str]:
    """Package versions and device, from the stage that trained, or the first that has them."""
    for stage in (OUTPUTS["predictions"].stage, *run.records):
        record = run.records.get(stage, {})
        if record.get("versions"):
            return {**record["versions"], **({"device": record["device"]} if record.get("device") else {})}
    return {}


def _note_gaps(run: RunFiles, report: dict, cells: dict) -> None:
    """Names what a complete report would hold and this one does not, beyond missing files."""
    trained = {key[0] for key in cells}
    if run.predictions is not None and "cleaned" in trained and "control" not in trained:
        run.leave_out("the row trained on the control cleaning", "clean.control is off: no control images were written")
    given = report["given_model"]
    if given is not None and not given["retrained"]:
        run.leave_out("what training on cleaned images changes", "the model was given and not trained here; "
                      "retrain.command can say how it is trained")  # fmt: skip
    elif cells and len(run.config.all_seeds) < 2:
        run.leave_out("the spread over seeds", "one seed was trained; --set 'seeds=[0, 1, 2]' trains three")
    if cells and not report["gaps"]:
        run.leave_out("scores on further test sets", "the dataset has none (prepare.extra_tests)")
    if run.verdict is not None and report["no_evidence"] is None:
        run.leave_out("the no-evidence baselines", f"{OUTPUTS['verdict'].where} does not hold them")
    if run.verdict is not None and report["features"] is None and not run.config.audit.features:
        run.leave_out("what the model's features tell", "audit.features is off")


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
            found[name] = f"{folder.name}/{name}.png"
    return found


def _first_test(rows: list[dict]) -> Iterable[dict]:
    """Rows of the dataset's own test set, or of the first there is."""
    return (row for row in rows if row["test_set"] == rows[0]["test_set"])
