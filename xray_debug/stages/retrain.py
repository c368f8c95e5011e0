"""retrain: the same trainings on COVIDx++ and on the control; every model of every seed sees both test versions once.

A given model is asked of both test versions, and trained anew by the user's command where there is one.
With retrain.leave_sources_out the originals and COVIDx++ are also learned without each source that can be spared;
with retrain.repairs there are models mended in other ways, audited again beside the one of COVIDx++.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xray_debug.config import ConfigError, PipelineConfig
from xray_debug.run.fingerprint import digest
from xray_debug.run.store import Store
from xray_debug.stages import modelling, own_retrain, repairs, train
from xray_debug.stages.base import Context, Stage, model_plugin

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TESTED = ("original", "cleaned")


@dataclass(frozen=True)
class Model:
    """A trained model: its folder, and what the table of predictions says of it."""

    folder: Path
    trained_on: str
    seed: int
    without: str = ""


def sources_to_leave_out(frame: pd.DataFrame) -> list[str]:
    """Sources that a model can be trained without and tested on.

    They hold test images of several classes, and of each class there are train and val images elsewhere.
    """
    counts = frame.groupby(["source", "label", "split"]).size().unstack("split", fill_value=0)
    counts = counts.reindex(columns=["train", "val", "test"], fill_value=0)
    total, result = counts.groupby("label").sum(), []
    for source, own in counts.groupby("source"):
        left = total.sub(own.droplevel("source"), fill_value=0)
        if source and (own["test"] > 0).sum() > 1 and (left[["train", "val"]] > 0).all(axis=None):
            result.append(str(source))
    return result


def _left_out(context: Context, frame: pd.DataFrame, folder: Path) -> list[Model]:
    """Models that never see a source; folders by number, since a source may be named as no folder can be."""
    if not context.config.retrain.leave_sources_out:
        return []
    sources = sources_to_leave_out(frame)
    context.say(f"sources left out in turn: {', '.join(sources) or 'none can be'}")
    return [Model(folder / "without" / f"{number}-{version}" / f"seed-{seed}", version, seed, source)
            for number, source in enumerate(sources) for version in TESTED
            for seed in context.config.all_seeds]  # fmt: skip


def _usable(context: Context, versions: list[str]) -> tuple[pd.DataFrame, dict]:
    """Manifest and views without the images that could not be cleaned or that reviewers have excluded.

    So every version holds the same images.
    """
    import numpy as np

    store = context.store
    frame, views = store.manifest(), {name: store.views(name) for name in versions}
    found = list(store.parts("cleaned views").rows(["problem", "excluded"]))
    done = np.array([not row["problem"] for row in found], bool)
    wanted = np.array([not row.get("excluded") for row in found], bool)
    for count, what in (((~done & wanted).sum(), "could not be cleaned"), ((~wanted).sum(), "are excluded by review")):
        if count:
            context.say(f"{count} images that {what} are left out")
    kept = done & wanted
    if not kept.all():
        frame, views = frame[kept].reset_index(drop=True), {name: found.rows(kept) for name, found in views.items()}
    return frame, views


def check(config: PipelineConfig) -> None:
    repairs.check(config)
    if config.model is None:
        if config.retrain.command is not None:
            raise ConfigError("retrain.command: trains a given model anew, expected a section model:")
        return train.check(config)
    if config.retrain.leave_sources_out:
        raise ConfigError("retrain.leave_sources_out: expected false with a section model:")
    own_retrain.check(config)


def _erased(store: Store) -> str:
    """A digest of what was done to the images; who has approved of it does not count."""
    log = store.table("changes").drop(columns=["decision", "event", "reviewer"], errors="ignore")
    return digest(log.astype(str).to_dict("list"))


def _given(context: Context) -> None:
    """A given model is asked of the cleaned test images; it is trained anew where the user says how."""
    import pandas as pd

    store, config, folder = context.store, context.config, context.store.path("retrained")
    new: list[Model] = []
    if config.retrain.command is None:
        context.say("your model is not trained again; retrain.command says how it could be (docs/how-to/your-model.md)")
    else:
        versions = ["cleaned"] + ["control"] * config.clean.control
        new = [Model(folder / name / f"seed-{seed}", name, seed) for name in versions for seed in config.all_seeds]
    for model in new:
        known = _erased(store) + modelling.recorded(context, "prepare", "manifest")
        data = store.path("cleaned" if model.trained_on == "cleaned" else "control")
        own_retrain.train(context, model.trained_on, data, model.folder, model.seed, known + model.trained_on)
    frame, views = _usable(context, list(TESTED))
    old = Model(store.path("model"), "original", config.all_seeds[0])
    table = pd.concat([
        modelling.predicted(context, model.folder, frame, views[tested_on], model.trained_on, tested_on, model.seed)
        for model in [old, *new] for tested_on in TESTED if (model.trained_on, tested_on) != ("original", "original")
    ], ignore_index=True)  # fmt: skip
    store.write_table("retrained predictions", table)
    store.write_json("retrained metrics", modelling.metrics(context, frame, table))
    context.facts["images"] = 0


def run(context: Context) -> None:
    if context.config.model is not None:
        return _given(context)
    import pandas as pd

    store, seeds = context.store, context.config.all_seeds
    folder = store.path("retrained")
    versions = ["original", "cleaned"] + ["control"] * context.config.clean.control
    frame, views = _usable(context, versions)
    new = [Model(folder / name / f"seed-{seed}", name, seed) for name in versions[1:] for seed in seeds]
    new += _left_out(context, frame, folder)
    digests = {"original": ("prepare", "views"), "cleaned": ("clean", "cleaned views"),
               "control": ("clean", "cleaned views")}  # fmt: skip
    known = {version: modelling.recorded(context, *where) + version for version, where in digests.items()}
    jobs = [
        modelling.training(context, frame, views[model.trained_on], model.folder, model.seed, model.without or None,
                           known[model.trained_on])
        for model in new
    ]  # fmt: skip
    mended = [Model(folder / "repairs" / name / f"seed-{seed}", name, seed)
              for name in context.config.retrain.repairs for seed in seeds]  # fmt: skip
    groups = repairs.groups_of(context, frame, views) if mended else None
    asked = frame, views, groups, known, {(model.trained_on, model.seed): model.folder for model in mended}
    jobs += repairs.training_jobs(context, *asked)
    modelling.train_all(context, jobs, f"train {len(jobs)} models")
    facts = repairs.mend_all(context, *asked)
    new += mended
    old = [Model(store.path("model") / f"seed-{seed}", "original", seed) for seed in seeds]
    tables = [
        modelling.predicted(context, model.folder, frame, views[tested_on], model.trained_on, tested_on, model.seed,
                            model.without)
        for model in [*old, *new] for tested_on in TESTED
        if model.without or (model.trained_on, tested_on) != ("original", "original")
    ]  # fmt: skip
    table = pd.concat(tables, ignore_index=True)
    modelling.copy_model(folder / "cleaned" / f"seed-{seeds[0]}", folder)
    store.write_table("retrained predictions", table)
    store.write_json("retrained metrics", modelling.metrics(context, frame, table))
    if mended:
        _tell_repairs(context, frame, groups, facts, [model for model in new if not model.without])
    context.facts["images"] = sum(len(job.train) + len(job.val) for job in jobs)


def _tell_repairs(context: Context, frame: pd.DataFrame, groups: np.ndarray, facts: dict, models: list[Model]) -> None:
    """The groups of the images, what became of each last layer, and the audit of the first seed's models."""
    from xray_debug.stages import audit_again

    store, config = context.store, context.config
    store.write_table("groups", frame[["image_id", "split", "test_set"]].assign(group=groups))
    store.write_json("repairs", {"by": config.retrain.groups, "repairs": {
        name: facts.get(name, {}) for name in config.retrain.repairs}})  # fmt: skip
    if not audit_again.has_audit(store):
        context.say("the repaired models are not audited again: stage audit has not run")
        return
    first = [(model.trained_on, model.folder) for model in models
             if model.seed == config.all_seeds[0] and model.trained_on not in ("original", "control")]  # fmt: skip
    audit_again.audit_again(context, frame, first)


def _inputs(store: Store, config: PipelineConfig) -> Mapping[str, str]:
    """What the user's command is made of; of what the repaired models are audited with."""
    if config.retrain.repairs:
        from xray_debug.stages import audit_again

        return audit_again.state(store)
    if config.model is None or config.retrain.command is None:
        return {}
    return {"files of retrain.command": digest(own_retrain.command_files(config))}


STAGE = Stage(
    name="retrain",
    help="Train again on COVIDx++ with the same configuration and seeds.",
    needs=("manifest", "views", "cleaned views", "weights", "description", "predictions"),
    options=("train", "model", "seeds", "retrain", "clean.control", "report.bootstrap"),
    outputs=("retrained predictions", "retrained metrics", "repairs", "groups", "repaired cases", "repaired checks"),
    work=run,
    inputs=_inputs,
    plugins=lambda store, config: (
        ("xray_debug.models", config.train.model), model_plugin(store, config),
        *((group, None) for group in ("xray_debug.repairs", "xray_debug.checks") if config.retrain.repairs),
    ),
    skips=lambda config: () if config.retrain.repairs else ("xray_debug.stages.audit_again",),
    adopts=("cleaned/seed-*", "control/seed-*", "without/*/seed-*", "repairs/*/seed-*"),
)
