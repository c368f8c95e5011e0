"""explain: saliency maps of the chosen cases."""

from __future__ import annotations

from xray_debug.config import PipelineConfig
from xray_debug.stages.base import Context, Stage, model_plugin
from xray_debug.stages.selection import check_select, selected_cases

MOST = 64
COLUMNS = ["image_id", "target", "method", "mask_size", "probability", "deletion", "insertion"]


def check(config: PipelineConfig) -> None:
    from xray_debug.models.explainer import checked_method

    check_select(config.explain.select)
    checked_method(config.explain.method, config.explain.options)


def run(context: Context) -> None:
    from xray_debug.models.explainer import ExplainWorker
    from xray_debug.run.engine import TableRows

    config, store = context.config, context.store
    frame, views = store.manifest(), store.views()
    row_of = {name: i for i, name in enumerate(frame["image_id"])}
    chosen = selected_cases(config, store.table("predictions"))
    cases = chosen[["image_id", "predicted"]].rename(columns={"predicted": "target"})

    def add(rows: list[dict]) -> list[dict]:
        return [{**row, "view": views[row_of[row["image_id"]]]} for row in rows]

    settings = config.explain
    worker = ExplainWorker(
        str(store.path("model")), settings.method, dict(settings.options), settings.mask_size, config.seed,
        context.device, settings.batch_size,
    )  # fmt: skip
    parts = context.engine.run(worker, TableRows(cases, add), store.path("maps"), "explain", most=MOST)
    table = parts.table()
    if len(table):
        table = table[table["problem"] == ""]
    store.write_table("explanations", table.reindex(columns=COLUMNS))
    context.facts["images"] = len(table)


STAGE = Stage(
    name="explain",
    help="Saliency maps of the chosen cases.",
    needs=("manifest", "views", "weights", "description", "predictions"),
    options=("explain", "seeds"),
    outputs=("explanations", "maps"),
    work=run,
    plugins=lambda store, config: (("xray_debug.methods", config.explain.method), model_plugin(store, config)),
    parts=True,
)
