"""A given model in place of training: its labels, its code, its score, and whether it is worth auditing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from xray_debug.config import ConfigError, PipelineConfig
from xray_debug.data.external import files_of_model, model_sha256
from xray_debug.run.fingerprint import digest, file_digest
from xray_debug.run.folder import RunError
from xray_debug.run.plugins import factory_code
from xray_debug.stages import modelling
from xray_debug.stages.base import Context

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from xray_debug.models.own import OwnModel
    from xray_debug.models.own.adapter import OwnClassifier

FEW, SOME = 48, 120  # test images on which other ways are tried, where the model does well and where it does not


def check(config: PipelineConfig) -> None:
    """ConfigError for settings of the model that cannot be."""
    from xray_debug.models.own import check_settings

    if len(config.model.findings) > 1:
        raise ConfigError(f"model.findings: one run audits one finding, got {', '.join(config.model.findings)}; "
                          "xray-debug audit-model and run make a run for each")  # fmt: skip
    try:
        check_settings(config.model, config.explain.method)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def inputs(config: PipelineConfig) -> Mapping[str, str]:
    """The state of a factory's code and of a file's external data; the file itself is looked at as every file that an
    option names."""
    if config.model is None:
        return {}
    found = {}
    if config.model.factory is not None:
        found["code of the model's function"] = digest(factory_code(config.model.factory))
    if config.model.file is not None and (more := files_of_model(config.model.file)[1:]):
        found["external data of model.file"] = digest([(file.name, file_digest(file)) for file in more])
    return found


def own_model(config: PipelineConfig, file: Path | None = None) -> OwnModel:
    """The given model, or another of its kind in `file`."""
    from xray_debug.data.view import ModelView
    from xray_debug.models.own import OwnModel

    settings = config.model if file is None else config.model.model_copy(update={"file": str(file), "held": None})
    code = digest(factory_code(settings.factory)) if settings.factory else settings.held or ""
    sha256 = model_sha256(settings.file) if settings.file else ""
    return OwnModel(settings, ModelView.from_config(config.view), sha256, code)


def score(context: Context) -> None:
    """Scores the given model once on the test images, says the score first, and stops at one that is chance."""
    from xray_debug.models.checkpoint import save_own

    store, config = context.store, context.config
    frame, views, folder = store.manifest(), store.views(), store.path("model")
    own = own_model(config)
    model = opened(own, config)
    save_own(own, model.classes, folder)
    test = (frame["split"] == "test").to_numpy()
    check_answers(model, views.rows(test), own.config.file or own.config.factory or own.name)
    table = modelling.predicted(context, folder, frame, views, "original", "original", config.all_seeds[0])
    store.write_table("predictions", table)
    store.write_json("metrics", modelling.metrics(context, frame, table))
    context.facts["images"] = len(table)
    _judge(context, model, frame, table)


def opened(own: OwnModel, config: PipelineConfig) -> OwnClassifier:
    """The model, tried; ConfigError where the explanations need gradients that it does not give."""
    from xray_debug.models.own import opened as open_own
    from xray_debug.models.own.loading import FORWARD_ONLY, NEEDS_NONE

    model = open_own(own)
    if not model.differentiable and config.explain.method not in FORWARD_ONLY:
        raise ConfigError(f"explain.method: {config.explain.method} needs gradients, which this model does not give; "
                          f"{NEEDS_NONE}")  # fmt: skip
    return model


def check_answers(model: OwnClassifier, views, where: str) -> None:
    """ValueError where what the model gives for real images is not what `output` says."""
    import torch

    from xray_debug.models.own.outputs import check_numbers
    from xray_debug.models.predict import to_batch

    with torch.inference_mode():
        parts = [model.answers(to_batch(views[start : start + 8])) for start in range(0, min(len(views), 32), 8)]
    check_numbers(torch.cat(parts), model.config, where)


def _judge(context: Context, model: OwnClassifier, frame: pd.DataFrame, table: pd.DataFrame) -> None:
    """Says the score; RunError for a model that does no better than chance, unless the user wants it anyway."""
    from xray_debug.models.own.standing import better_ways, standing

    config = context.config
    own = table[table["test_set"].isin(["test", ""])] if table["test_set"].isin(["test", ""]).any() else table
    found = own[[f"p_{name}" for name in model.classes]].to_numpy()
    codes = own["label"].map(model.classes.index).to_numpy()
    patients = frame.drop_duplicates("image_id").set_index("image_id")["patient_id"].reindex(own["image_id"])
    level = standing(found, codes, patients.to_numpy(str), config.seed)
    context.facts["score"] = level.sentence
    context.say(f"your model: {level.sentence}")
    unseen = sorted(set(model.classes) - set(own["label"]))
    if config.model.output == "softmax" and config.model.finding is None and 2 * len(unseen) > len(model.classes):
        context.say(f"WARNING: {len(unseen)} of the model's {len(model.classes)} classes are no image's label; are "
                    "they findings that do not exclude each other? --output sigmoid --finding NAME")  # fmt: skip
    if level.threshold:
        context.say("WARNING: your model tells the classes apart, but not at a probability of 0.5: its decisions are "
                    "one-sided, its probabilities can still be audited")  # fmt: skip
    rows = _spread(frame, own["image_id"], codes, SOME if level.chance else FEW)
    truth = frame["label"].iloc[rows].map(model.classes.index).to_numpy()
    ways = better_ways(model, _films(context, frame, rows), truth, config.seed)
    told = [f"on {len(rows)} test images: {way.sentence}" for way in ways[:4]]
    context.facts["better_ways"] = told
    if not level.chance:
        for sentence in told:
            context.say(f"WARNING: asked in another way your model does better, {sentence}")
        return
    causes = "; ".join(told) or "none of the other normalisations, resizings and orders of the classes does better"
    sentence = (f"your model does no better than chance on the labels of this dataset ({level.sentence}), so a verdict "
                "would be about another model than yours; likely causes are normalise, resize, the order of classes, "
                f"or labels that mean something else; {causes}")  # fmt: skip
    if not config.model.anyway:
        raise RunError(f"{sentence}; --anyway goes on with it as it is")
    context.say(f"WARNING: {sentence}")


def _spread(frame: pd.DataFrame, image_ids: pd.Series, codes: np.ndarray, most: int) -> np.ndarray:
    """At most `most` rows of the manifest, evenly over the classes."""
    import numpy as np
    import pandas as pd

    place = pd.Series(np.arange(len(frame)), index=frame["image_id"])
    turn = pd.Series(codes).groupby(codes).cumcount().to_numpy()
    chosen = np.sort(np.lexsort((codes, turn))[:most])
    return place.loc[image_ids.to_numpy()[chosen]].to_numpy()


def _films(context: Context, frame: pd.DataFrame, rows: np.ndarray):
    """Gives the views of some images as another ModelView makes them; those of the run's own view are there."""
    import numpy as np

    from xray_debug.data.unchanged import read_known
    from xray_debug.data.view import ModelView

    root, views, own = context.store.dataset_root(), context.store.views(), ModelView.from_config(context.config.view)
    images = [(root / frame["path"].iloc[row], frame["sha256"].iloc[row]) for row in rows]

    def films(view: ModelView) -> np.ndarray:
        if view == own:
            return views[rows]
        return np.stack([view.apply(*read_known(*image)) for image in images])

    return films
