"""report: tables, figures, one HTML file and a PDF."""

from __future__ import annotations

from collections.abc import Mapping

from xray_debug.config import PipelineConfig
from xray_debug.run.store import OUTPUTS, Store
from xray_debug.stages.base import Context, Stage


def run(context: Context) -> None:
    from xray_debug.report.report import write_report

    write_report(context.store, context.config, context.stages)


def inputs(store: Store, config: PipelineConfig) -> Mapping[str, str]:
    """It tells what every stage was made from, also where a stage made otherwise gives the same results."""
    stages = dict.fromkeys(output.stage for output in OUTPUTS.values())
    return {f"how {name} was made": (store.record(name) or {}).get("fingerprint", "absent")
            for name in stages if name != STAGE.name}  # fmt: skip


STAGE = Stage(
    name="report",
    help="Tables, figures, one HTML file and a PDF.",
    needs=("manifest", "views", "predictions"),
    wants=(
        "explanations", "maps", "sanity", "regions", "cases", "checks", "verdict", "patches", "changes", "probe",
        "cleaning facts", "unread", "retrained predictions", "repairs", "groups", "repaired cases", "repaired checks",
    ),
    options=(
        "report", "name", "seeds", "phantom", "prepare", "train", "explain", "detect", "audit", "clean", "retrain",
        "model",
    ),
    outputs=("report", "page", "summary", "paper", "figures"),
    work=run,
    inputs=inputs,
)  # fmt: skip
