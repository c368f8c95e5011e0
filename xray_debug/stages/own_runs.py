"""The pipeline of a given model: its options where the user gives none, a run for each finding, the verdict's words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from xray_debug.config import ConfigError, PipelineConfig, override, parse_config
from xray_debug.report.words import nothing_shown

EXPLAINED = 24  # test images whose decisions are explained, where the user does not say
MASKS = 1000  # of RISE there: it is forward passes
NAME = re.compile(r"[^\w.+-]+")


def pipeline_for(model: dict[str, Any], data: Path, assignments: list[str], say: Callable[[str], None],
                 name: str = "own-model") -> PipelineConfig:  # fmt: skip
    """The pipeline that audits a model; `model`: the options of ModelConfig, `assignments`: a.b=value of the user's."""
    from xray_debug.models.own import kinds

    values: dict[str, Any] = {"data": str(data.resolve()), "model": model,
                              "explain": {"select": "all", "max_cases": EXPLAINED, "sanity_cases": 4}}  # fmt: skip
    values["name"] = NAME.sub("-", name).strip(".-") or "own-model"
    given = {text.partition("=")[0].strip() for text in assignments}
    file = model.get("file")
    onnx = bool(file) and Path(file).is_file() and kinds.kind_of(file) == kinds.ONNX
    if onnx and "explain.method" not in given:
        say(f"an ONNX file has no gradients: decisions are explained by RISE, {MASKS} masks each (explain.options)")
        values["explain"] |= {"method": "rise", "options": {"masks": MASKS}, "sanity_cases": 0}
    config = parse_config(override(values, assignments), "audit-model")
    if config.model is None:
        raise ConfigError("audit-model: expected a model")
    return config


def runs_of(folder: Path, config: PipelineConfig) -> Iterator[tuple[Path, PipelineConfig]]:
    """(run folder, configuration) of each run that a pipeline asks for: one for each of several findings."""
    findings = config.model.findings if config.model is not None else []
    if len(findings) < 2:
        yield folder, config
        return
    names = [NAME.sub("-", finding).strip(".-") or "finding" for finding in findings]
    for number, (finding, name) in enumerate(zip(findings, names, strict=True)):
        place = name if names.count(name) == 1 else f"{name}-{number + 1}"
        one = config.model.model_copy(update={"findings": [finding]})
        yield folder / place, config.model_copy(update={"model": one}, deep=True)


def verdict_sentences(verdict: dict) -> list[str]:
    """What a verdict says, in a first sentence, and its evidence."""
    said = verdict["verdict"]
    if said == "not shown":
        said = nothing_shown(verdict)
    return [f"{said}.", *verdict["sentences"]]
