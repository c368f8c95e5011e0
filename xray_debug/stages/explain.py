"""explain: saliency maps of the chosen cases."""

from __future__ import annotations

from xray_debug.config import PipelineConfig
from xray_debug.run.store import OUTPUTS
from xray_debug.stages.base import Context, Stage, model_plugin
from xray_debug.stages.selection import DEFAULT, check_select, class_of, selected_cases, selection_of, spread

MOST = 64


def check(config: PipelineConfig) -> None:
    from xray_debug.models.explainer import checked_method

    check_select(config.explain.select)
    checked_method(config.explain.method, config.explain.options)


def run(context: Context) -> None:
    import numpy as np

    from xray_debug.models.explainer import ExplainWorker
    from xray_debug.run.engine import TableRows

    config, store = context.config, context.store
    frame, views = store.manifest(), store.views()
    row_of = {name: i for i, name in enumerate(frame["image_id"])}
    predictions = store.table("predictions")
    chosen, select = selected_cases(config, predictions), selection_of(config.explain.select, predictions)
    if select != config.explain.select:
        context.say(f"no test image is of class {class_of(DEFAULT)}: explain.select={select} instead")
    cases = chosen[["image_id", "predicted"]].rename(columns={"predicted": "target"})
    if not len(cases):
        context.say(f"explain: 0 cases: no test image is chosen by explain.select={config.explain.select}")
    cases["sanity"] = np.isin(np.arange(len(cases)), spread(len(cases), config.explain.sanity_cases))

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
    parts_of_objective = [name for name in table if name.startswith("objective_")]
    found = table.reindex(columns=[*OUTPUTS["explanations"].columns, *parts_of_objective])
    store.write_table("explanations", found)
    checked = table.reindex(columns=OUTPUTS["sanity"].columns)
    store.write_table("sanity", checked[checked["image_id"].isin(cases["image_id"][cases["sanity"]])])
    context.facts["images"] = len(table)
    still = int(found["hardly_moved"].eq(True).sum())
    if still:
        context.say(f"explain: the masks of {still} of {len(found)} cases hardly moved; their maps say little")


STAGE = Stage(
    name="explain",
    help="Saliency maps of the chosen cases.",
    needs=("manifest", "views", "weights", "description", "predictions"),
    options=("explain", "seeds"),
    outputs=("explanations", "maps", "sanity"),
    work=run,
    plugins=lambda store, config: (("xray_debug.methods", config.explain.method), model_plugin(store, config)),
    parts=True,
)
