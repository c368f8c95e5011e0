"""train: one model per seed on the original images, each tested once; or the given model, tested once."""

from __future__ import annotations

from xray_debug.config import PipelineConfig
from xray_debug.stages import modelling, own
from xray_debug.stages.base import Context, Stage


def check(config: PipelineConfig) -> None:
    if config.model is not None:
        return own.check(config)
    from xray_debug.models.build import check_name

    check_name(config.train.model)


def run(context: Context) -> None:
    if context.config.model is not None:
        return own.score(context)
    import pandas as pd

    store, seeds = context.store, context.config.all_seeds
    frame, views, folder = store.manifest(), store.views(), store.path("model")
    known = modelling.recorded(context, "prepare", "views") + "original"
    jobs = [modelling.training(context, frame, views, folder / f"seed-{seed}", seed, None, known) for seed in seeds]
    modelling.train_all(context, jobs, f"train, {len(seeds)} seed" + "s" * (len(seeds) > 1))
    table = pd.concat(
        [modelling.predicted(context, job.folder, frame, views, "original", "original", job.seed) for job in jobs],
        ignore_index=True,
    )
    modelling.copy_model(jobs[0].folder, folder)
    store.write_table("predictions", table)
    store.write_json("metrics", modelling.metrics(context, frame, table))
    context.facts["images"] = int((frame["split"] != "test").sum()) * len(seeds)


STAGE = Stage(
    name="train",
    help="Train the classifier on the original images, or score the given one.",
    needs=("manifest", "views"),
    options=("train", "model", "seeds", "report.bootstrap"),
    outputs=("weights", "description", "predictions", "metrics"),
    work=run,
    inputs=lambda store, config: own.inputs(config),
    plugins=lambda store, config: (("xray_debug.models", config.train.model),),
    adopts=("seed-*",),
)
