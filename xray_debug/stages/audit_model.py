"""The audit of a user's own model from Python: the stages up to the verdict, and a report when it is asked for."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xray_debug.config import PipelineConfig, dump_config
from xray_debug.data.files import copy_file, write_text
from xray_debug.run.folder import Run
from xray_debug.run.places import absolute_paths, check_place
from xray_debug.run.store import Store
from xray_debug.stages.own_runs import pipeline_for, runs_of, verdict_sentences

if TYPE_CHECKING:
    import pandas as pd
    import torch

STAGES_OF_AUDIT = ("prepare", "train", "explain", "detect", "audit")
SHOWN = 10
Say = Callable[[str], None]


def audit_model(
    model: torch.nn.Module | str | PathLike,
    data: str | PathLike | pd.DataFrame,
    *,
    classes: Sequence[str],
    images: str | PathLike | None = None,
    columns: dict[str, str] | None = None,
    size: int = 224,
    normalise: str = "imagenet",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    resize: str = "squash",
    resize_to: int = 0,
    channels: int = 3,
    output: str = "softmax",
    finding: str | Sequence[str] | None = None,
    labels: dict[str, str | None] | None = None,
    preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None,
    arch: str | None = None,
    factory: str | None = None,
    out: str | PathLike | None = None,
    seed: int = 0,
    anyway: bool = False,
    options: dict[str, Any] | None = None,
    say: Say | None = print,
) -> ModelAudit | dict[str, ModelAudit]:
    """Audits a trained classifier: what do its decisions on the test images owe to text, its absence, other regions?

    Args:
        model: a module (a copy is asked; it takes (N, channels, size, size)), a file (state dict, safetensors,
            TorchScript, torch.export, ONNX), or "module:function".
        data: a dataset as `xray-debug run --data` takes it, or a table as a DataFrame (kept in the run folder);
            training images are not needed.
        classes: names in the order of the outputs.
        images: folder that a table's paths start from; without it the table's own, of a DataFrame the current one.
        columns: of a table: {"path": .., "label": .. (or "labels": "A+B"), "patient": .., "source": .., "split": ..}.
        size, resize, resize_to: the square that the model takes, in pixels, and how an image becomes it: "squash",
            "shorter+crop" (the shorter side to `resize_to`, 0: `size`), "pad".
        normalise, mean, std, channels: what is done to values in [0, 1]; see ModelConfig.
        output: "softmax" (a logit for each class), "sigmoid" (one for each finding), "logit" (a single one),
            "probabilities".
        finding: class audited as "has it, has it not"; several give a dictionary of audits.
        labels: label of the dataset -> class; None leaves its images out.
        preprocess: in place of normalise and channels: images (N, 1, size, size) in [0, 1] -> what the model takes.
            Differentiable, for explanations by gradients.
        arch, factory: of a state dict: a torchvision name, or the function that makes the network.
        out: run folder; the same call goes on where it stopped. Without it, a temporary one.
        anyway: also where the model does no better than chance.
        options: of the pipeline, {"explain.method": "rise"}.
        say: gets a line for each thing that is worth telling; None for silence.

    Raises:
        ValueError: one sentence: the model, the data or an option cannot be used as given, or the model does no better
            than chance.
    """
    import torch

    settings: dict[str, Any] = {
        "classes": list(classes), "size": size, "normalise": normalise, "resize": resize, "resize_to": resize_to,
        "mean": mean and [float(v) for v in mean], "std": std and [float(v) for v in std], "channels": channels,
        "output": output, "findings": [finding] if isinstance(finding, str) else list(finding or ()),
        "labels": labels or {}, "arch": arch, "factory": factory, "anyway": anyway,
    }  # fmt: skip
    if isinstance(model, torch.nn.Module):
        from xray_debug.models.own.held import hold

        settings["held"] = hold(model, preprocess)
    elif preprocess is not None:
        raise ValueError("preprocess: expected with a module; a factory brings its own, as (model, preprocess)")
    elif ":" in str(model) and not Path(model).is_file():
        settings["factory"] = str(model)
    else:
        settings["file"] = str(Path(model))
    assignments = [f"{name}={_yaml(value)}" for name, value in (options or {}).items()]
    quiet = say or (lambda text: None)
    holder = tempfile.TemporaryDirectory(prefix="xray-debug-", ignore_cleanup_errors=True) if out is None else None
    place = Path(out) if holder is None else Path(holder.name, "run")
    framed = not isinstance(data, (str, PathLike))
    file = Store(place).data_file if framed else Path(data)
    found = {}
    with ExitStack() as failed:
        if holder is not None:
            failed.callback(holder.cleanup)
        config = pipeline_for(settings, file, [f"seed={seed}", *assignments], quiet)
        if framed or images is not None:
            config.prepare.images = str(Path(images or ".").resolve())
        if columns is not None:
            config.prepare.columns = dict(columns)
        for folder, one in runs_of(place, config):
            if framed:
                one.data = str(Store(folder).data_file)
            _run(folder, one, STAGES_OF_AUDIT, quiet, data if framed else None)
            found[one.model.finding or ""] = ModelAudit(folder, one, quiet, holder)
        failed.pop_all()
    return found if len(found) > 1 else next(iter(found.values()))


def _keep(frame: pd.DataFrame, file: Path) -> None:
    """The table as a file of the run, which every later stage reads like any other."""
    text = frame.to_csv(index=False, lineterminator="\n")
    if not file.is_file() or file.read_bytes() != text.encode():
        write_text(file, text)


def _yaml(value: Any) -> str:
    import json

    return json.dumps(value)


def _run(folder: Path, config: PipelineConfig, stages: Sequence[str], say: Say,
         frame: pd.DataFrame | None = None) -> None:  # fmt: skip
    """Runs what must run of these stages; `frame`: the dataset's table, which the run keeps."""
    from xray_debug.run.engine import Engine
    from xray_debug.stages.registry import STAGES, Job, check_options

    named, run = absolute_paths(config), Run(folder)
    run.check_free(list(STAGES))
    for place in (config.data, config.prepare.images):
        check_place(folder, place and Path(place), list(STAGES), named)
    if frame is None:
        check_options(config, store=Store(folder))
    with run.locked():
        write_text(Store(folder).pipeline_file, dump_config(config), sync=True)
        if frame is not None:
            _keep(frame, Store(folder).data_file)
            check_options(config, store=Store(folder))  # asks for the dataset
        for stage in stages:
            Job(run, config, Engine(config.engine, say=say), say, only=stage)()


@dataclass
class ModelAudit:
    """What was found: `verdict` and `sentences`, `cases` and `checks` (DataFrames), `score`; report() and show().

    `folder`: the run, which every command of xray-debug takes as --run.
    """

    folder: Path
    config: PipelineConfig
    say: Say = field(repr=False, default=print)
    holder: tempfile.TemporaryDirectory | None = field(repr=False, default=None)  # of a run without a folder of its own

    @property
    def store(self) -> Store:
        return Store(self.folder)

    @cached_property
    def details(self) -> dict:
        """All of verdict.json: every class and question with effects, controls, intervals, p-values."""
        return self.store.json("verdict")

    @property
    def verdict(self) -> str:
        """In a few words: "COVID-19 relies on text; ...", or "not shown"."""
        return self.details["verdict"]

    @property
    def sentences(self) -> list[str]:
        """The verdict and its evidence."""
        return verdict_sentences(self.details)

    @cached_property
    def cases(self) -> pd.DataFrame:
        """One row per audited image: prediction, probabilities, effects of the interventions, flag and its reason."""
        return self.store.table("cases")

    @cached_property
    def checks(self) -> pd.DataFrame:
        """One row per class and question of each check."""
        return self.store.table("checks")

    @property
    def score(self) -> str:
        """How well the model does on the test images."""
        return (self.store.record("train") or {}).get("score", "")

    def report(self, path: str | PathLike | None = None) -> Path:
        """Makes the report, one HTML file that opens by itself, and returns where it is; `path`: a copy goes there."""
        _run(self.folder, self.config, ("report",), self.say)
        page = self.store.path("page")
        if path is None:
            return page
        target = Path(path)
        target = target / page.name if target.is_dir() else target
        copy_file(page, target)
        return target

    def show(self) -> None:
        """Prints score, verdict and the cases that owe most to text; in a notebook the report follows."""
        print("\n".join([f"score: {self.score}", *self.sentences]))
        flagged = self.cases[self.cases["flagged"]].sort_values("rank").head(SHOWN)
        for row in flagged.itertuples():
            print(f"{row.image_id}: {row.reasons}")
        if "ipykernel" in sys.modules:
            from IPython.display import HTML, display

            display(HTML(self.report().read_text(encoding="utf-8")))
