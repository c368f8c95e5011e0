"""retrain.repairs: models mended in other ways than by cleaning, each trained or made of one that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xray_debug.config import ConfigError, PipelineConfig
from xray_debug.data.classes import class_order
from xray_debug.run.fingerprint import code_state, digest
from xray_debug.run.folder import RunError
from xray_debug.run.plugins import plugin_code
from xray_debug.stages import modelling
from xray_debug.stages.base import Context

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from xray_debug.data.views import Views
    from xray_debug.models.fit import FitJob

CLEAN = "clean+"
NO_TEXT = "no text"
Versions = Mapping[str, "Views"]  # of the images: original, cleaned


@dataclass(frozen=True)
class Asked:
    """A repair as the options name it: a name of the registry, on cleaned images or on the originals."""

    name: str

    @property
    def cleaned(self) -> bool:
        return self.name.startswith(CLEAN)

    @property
    def kind(self) -> str:
        return self.name.removeprefix(CLEAN)

    @property
    def version(self) -> str:
        return "cleaned" if self.cleaned else "original"


def asked(config: PipelineConfig) -> list[Asked]:
    return [Asked(name) for name in config.retrain.repairs]


def check(config: PipelineConfig) -> None:
    """ConfigError for repairs that there are not, that say the same twice, or that a given model cannot have."""
    if not config.retrain.repairs:
        return
    from xray_debug.models.repairs import REPAIRS

    if config.model is not None:
        raise ConfigError("retrain.repairs: repairs a model that is trained here, expected none with a section model:")
    names = config.retrain.repairs
    for repair in asked(config):
        if repair.kind not in REPAIRS:
            raise ConfigError(f"retrain.repairs: expected some of {', '.join(REPAIRS)}, or clean+ before one of them, "
                              f"got {repair.name!r}")  # fmt: skip
        if repair.cleaned and REPAIRS[repair.kind].needs_markers:
            raise ConfigError(f"retrain.repairs: {repair.kind} learns from cleaned images as it is, expected it "
                              f"without clean+, got {repair.name!r}")  # fmt: skip
    if len(set(names)) < len(names):
        raise ConfigError(f"retrain.repairs: expected different repairs, got {', '.join(names)}")


# ---------------------------------------------------------------------------------------------------- groups


def groups_of(context: Context, frame: pd.DataFrame, views: Versions) -> np.ndarray:
    """(n,) names of the groups of the images, "LABEL, VALUE": by retrain.groups, numbers in bands (stats/groups.py).

    marker: for which class the image's text speaks to the model of the first seed, that is the class whose log
    probability it raises most over the same image cleaned; NO_TEXT where both look the same.
    """
    import numpy as np

    from xray_debug.stats.groups import named_groups

    by = context.config.retrain.groups
    if by == "marker":
        values = _spoken_for(context, views)
    else:
        if by not in frame:
            known = [name for name in frame if name.startswith("attr_")]
            raise RunError(f"retrain.groups: expected marker, source{''.join(f', {name}' for name in known)}, "
                           f"got {by}, which the manifest has no column for")  # fmt: skip
        values = named_groups(frame[by].tolist())
    return np.char.add(np.char.add(frame["label"].to_numpy(str), ", "), values)


def _spoken_for(context: Context, views: Versions) -> np.ndarray:
    import numpy as np

    from xray_debug.models.inference import load_for_inference
    from xray_debug.models.predict import probabilities_side_by_side

    model = load_for_inference(context.store.path("model"), context.device)
    logs = [np.log(np.maximum(probabilities_side_by_side(model, views[name]), np.float32(1e-30)))
            for name in ("original", "cleaned")]  # fmt: skip
    names = np.array([f"text speaks for {name}" for name in model.classes])
    found = names[(logs[0] - logs[1]).argmax(1)]
    same = [(old == new).all() for old, new in zip(views["original"], views["cleaned"], strict=True)]
    return np.where(same, NO_TEXT, found)


# ---------------------------------------------------------------------------------------------------- trainings


def training_jobs(context: Context, frame: pd.DataFrame, views: Versions, groups: np.ndarray, known: Mapping[str, str],
                  folders: Mapping[tuple[str, int], Path]) -> list[FitJob]:  # fmt: skip
    """The trainings that repairs ask for.

    `known`: version -> digest of its views; `folders`: (name, seed) -> folder.
    """
    import numpy as np

    from xray_debug.models.repairs import REPAIRS

    codes, jobs = np.unique(groups, return_inverse=True)[1].astype(np.int64), []
    for repair in asked(context.config):
        kind = REPAIRS[repair.kind]
        if not kind.trains:
            continue
        version = "cleaned" if kind.needs_markers else repair.version
        for seed in context.config.all_seeds:
            job = modelling.training(context, frame, views[version], folders[repair.name, seed], seed, None,
                                     known[version] + (known["original"] if kind.needs_markers else ""))  # fmt: skip
            changes: dict[str, Any] = {"repair": repair.kind, "code": digest([job.code, _plugin(repair)])}
            if kind.needs_groups:
                changes |= {"groups": codes[job.train], "val_groups": codes[job.val]}
            if kind.needs_markers:
                changes["marked"] = views["original"].rows(job.train)
            jobs.append(replace(job, **changes))
    return jobs


def _plugin(repair: Asked) -> dict[str, str]:
    return plugin_code([("xray_debug.repairs", repair.kind)])


# ---------------------------------------------------------------------------------------------------- last layers


def mend_all(context: Context, frame: pd.DataFrame, views: Versions, groups: np.ndarray, known: Mapping[str, str],
             folders: Mapping[tuple[str, int], Path]) -> dict[str, dict]:  # fmt: skip
    """The models of stage train with their last layer learned anew, as far as that is not done yet.

    Arguments as for training_jobs. Gives the first seed's facts of each repair. On cleaned images with groups by
    marker it is the classes that are balanced: what told the groups apart is gone.
    """
    import numpy as np

    from xray_debug.models.repairs import REPAIRS, Grouped

    chosen = [repair for repair in asked(context.config) if not REPAIRS[repair.kind].trains]
    tell = context.progress("mend the last layer") if chosen else None
    total, facts = len(chosen) * len(context.config.all_seeds), {}
    labels = frame["label"].map(class_order(frame["label"]).index).to_numpy(np.int64)
    places = [np.flatnonzero(frame["split"] == split) for split in ("train", "val")]
    for number, repair in enumerate(chosen):
        plain = repair.cleaned and context.config.retrain.groups == "marker"
        codes = labels if plain else np.unique(groups, return_inverse=True)[1].astype(np.int64)
        parts = [Grouped(views[repair.version].rows(rows), labels[rows], codes[rows]) for rows in places]
        scale_of = views["original"].rows(places[0]) if repair.cleaned else None
        base = [repair.name, _code(repair), known, [part.labels.tolist() for part in parts],
                [part.groups.tolist() for part in parts], frame["image_id"].tolist()]  # fmt: skip
        for turn, seed in enumerate(context.config.all_seeds):
            source, folder = context.store.path("model") / f"seed-{seed}", folders[repair.name, seed]
            found = _mended(context, repair, source, folder, parts, scale_of, seed, base)
            facts.setdefault(repair.name, found)
            tell(number * len(context.config.all_seeds) + turn + 1, total)
    return facts


def _code(repair: Asked) -> str:
    return digest([code_state("xray_debug.models.repairs"), _plugin(repair)])


def _mended(context: Context, repair: Asked, source: Path, folder: Path, parts: Sequence, scale_of, seed: int,
            base: list) -> dict:  # fmt: skip
    from xray_debug.models.checkpoint import DESCRIPTION, load_checkpoint, save_checkpoint
    from xray_debug.models.description import read_description
    from xray_debug.models.repairs import REPAIRS

    old = read_description(source / DESCRIPTION)
    key = digest([*base, old.sha256, seed])
    try:
        done = load_checkpoint(folder).extra
        if done.get("key") == key:
            return done["mended"]
    except ValueError:  # not there, or damaged: it is made anew
        pass
    model = load_checkpoint(source).to(context.device)
    try:
        facts = REPAIRS[repair.kind]().mend(model, *parts, seed, scale_of)
    except ValueError as error:
        raise RunError(f"retrain.repairs: {repair.name}: {error}") from error
    save_checkpoint(model.eval(), folder, key=key, seed=seed, mended=facts, repair=repair.name)
    return facts
