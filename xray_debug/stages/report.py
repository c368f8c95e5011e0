"""report: tables, figures and one HTML file."""

from __future__ import annotations

from xray_debug.stages.base import Context, Stage


def run(context: Context) -> None:
    from xray_debug.report.report import write_report

    write_report(context.store, context.config, context.stages)


STAGE = Stage(
    name="report",
    help="Tables, figures and one HTML file.",
    needs=("manifest", "views", "predictions"),
    wants=(
        "explanations", "maps", "sanity", "regions", "cases", "checks", "verdict", "patches", "changes", "probe",
        "retrained predictions",
    ),
    options=("report", "name"),
    outputs=("report", "page", "summary", "figures"),
    work=run,
)  # fmt: skip
