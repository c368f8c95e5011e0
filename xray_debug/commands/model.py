"""The command audit-model: a model of the user's own, audited on their data, in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from xray_debug.commands.data import ColumnsOption, ImagesOption, table_options
from xray_debug.commands.terminal import say

if TYPE_CHECKING:
    from xray_debug.config import PipelineConfig

def add_audit_model(app: typer.Typer, execute: Callable[..., None]) -> None:
    """Adds the command to `app`; `execute(folder, config, force=...)` runs the stages."""

    @app.command("audit-model")
    def audit_model(
        model: Annotated[str, typer.Option(help="FILE (state dict, safetensors, TorchScript, .pt2, ONNX), or "
                                                "module:function or FILE.py:function that makes it")],
        data: Annotated[Path, typer.Option(help="dataset: a folder, or a table of labels")],
        classes: Annotated[str, typer.Option(help="names in the order of the outputs, a,b,c")],
        out_dir: Annotated[Path, typer.Option("--out", help="run folder")],
        images: ImagesOption = None,
        columns: ColumnsOption = None,
        arch: Annotated[Optional[str], typer.Option(help="network of a state dict: a torchvision name")] = None,
        factory: Annotated[Optional[str], typer.Option(help="function that makes the network of a state dict")] = None,
        size: Annotated[int, typer.Option(help="pixels of the square the model takes")] = 224,
        normalise: Annotated[str, typer.Option(
            help="imagenet, unit, symmetric, gray, torchxrayvision or none")] = "imagenet",
        resize: Annotated[str, typer.Option(help="squash, shorter+crop or pad")] = "squash",
        channels: Annotated[int, typer.Option(help="1 or 3")] = 3,
        output: Annotated[str, typer.Option(help="softmax, sigmoid, logit or probabilities")] = "softmax",
        finding: Annotated[Optional[list[str]], typer.Option(help="audited as has it, has it not; repeatable")] = None,
        labels: Annotated[Optional[str], typer.Option(
            help="LABEL=CLASS,...: what labels of the dataset are; LABEL=: left out")] = None,
        anyway: Annotated[bool, typer.Option("--anyway", help="also where it does no better than chance")] = False,
        force: Annotated[bool, typer.Option("--force", help="run also what is up to date")] = False,
        set_: Annotated[Optional[list[str]], typer.Option("--set", help="option of the pipeline, a.b=value")] = None,
    ):  # fmt: skip
        """Audits your own trained model on your data: scores it, explains it, and says what it relies on."""
        from xray_debug.stages.own_runs import pipeline_for

        is_code = ":" in model and not Path(model).is_file()
        settings = {
            "file": None if is_code else model, "factory": model if is_code else factory, "arch": arch,
            "classes": parts_of(classes), "size": size, "normalise": normalise, "resize": resize, "channels": channels,
            "output": output, "findings": finding or [], "labels": pairs_of(labels), "anyway": anyway,
        }  # fmt: skip
        config = pipeline_for(settings, data, set_ or [], say, out_dir.name)
        table_options(config.prepare, images, columns)
        said = []
        for folder, one in each_finding(out_dir, config):
            execute(folder, one, force=force)
            said.append(verdict_of(folder, one))
        for sentence in said:
            say(sentence)


def parts_of(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def pairs_of(text: str | None) -> dict[str, str | None]:
    """"a=b,c=" as {"a": "b", "c": None}. ConfigError for another form."""
    from xray_debug.config import ConfigError

    found: dict[str, str | None] = {}
    for part in parts_of(text or ""):
        name, sign, value = part.partition("=")
        if not sign or not name.strip():
            raise ConfigError(f"--labels {part}: expected LABEL=CLASS, or LABEL= to leave its images out")
        found[name.strip()] = value.strip() or None
    return found


def each_finding(folder: Path, config: PipelineConfig) -> Iterator[tuple[Path, PipelineConfig]]:
    """The runs of a pipeline: one, or one for each finding of a model, in a folder of its own."""
    from xray_debug.stages.own_runs import runs_of

    yield from runs_of(folder, config)


def verdict_of(folder: Path, config: PipelineConfig) -> str:
    """The verdict of a finished run, and where its report is."""
    from xray_debug.run.store import Store
    from xray_debug.stages.own_runs import verdict_sentences

    store = Store(folder)
    about = f"{config.model.finding}: " if config.model and config.model.finding else ""
    lines = verdict_sentences(store.json("verdict"))
    told = [f"verdict: {about}{lines[0]}", *(f"  {line}" for line in lines[1:]), f"report: {store.path('page')}"]
    return "\n".join(told)
