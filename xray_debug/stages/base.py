"""What a stage is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xray_debug.config import ConfigError, PipelineConfig
from xray_debug.run.fingerprint import Fingerprint, Seen
from xray_debug.run.store import Store

if TYPE_CHECKING:
    from xray_debug.run.engine import Engine


@dataclass
class Context:
    """What a stage at work is given.

    `folder`: its work folder; `scratch`: a folder for parts that are gone once the stage is complete; `stages`: all
    of the pipeline, in order; `facts`: what it adds to stage.json (`images`); `seen`: what its `inputs` have read;
    `mark`: what its result depends on; `fresh`: nothing of an earlier result is wanted.
    """

    store: Store
    config: PipelineConfig
    engine: Engine
    folder: Path
    scratch: Path
    say: Callable[[str], None]
    stages: tuple[Stage, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    seen: Mapping[str, Any] = field(default_factory=dict)
    mark: Fingerprint | None = None
    fresh: bool = False

    @property
    def progress(self):
        return self.engine.progress

    @property
    def trusted(self) -> bool:
        """Whether the run's model may be a program: the user has named it."""
        return self.config.model is not None

    @property
    def device(self) -> str:
        """The device that the configuration asks for; "auto" is a GPU where there is one."""
        return device_of(self.config)


def device_of(config: PipelineConfig) -> str:
    """See Context.device."""
    import torch

    if config.device != "auto":
        return config.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_device(config: PipelineConfig) -> None:
    """ConfigError for a device that torch does not know or this machine does not have."""
    if config.device == "auto":
        return
    import torch

    try:
        torch.empty(0, device=config.device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device: expected auto, cpu, cuda, mps ..., got {config.device!r}: {reason}") from error


def model_plugin(store: Store, config: PipelineConfig) -> tuple[str, str]:
    """The entry point, if any, that the run's trained model is built by."""
    options = (store.record("train") or {}).get("parameters", {}).get("train") or {}
    return "xray_debug.models", options.get("model", config.train.model)


def _nothing(*_: Any) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Args:
        name: of the stage, its folder and its command.
        help: one line.
        needs: results of earlier stages that it reads, by their names in run/store.py.
        wants: the same of those that it reads where they are there, and can do without.
        options: sections or options ("clean.radius") that change its result.
        outputs: its own results.
        work: does it.
        inputs: further inputs with what tells one state of them from another, from (store, config). Files that options
            name are inputs anyway.
        adopts: patterns of folders in its work folder that carry their own fingerprint and may outlive the stage's.
        skips: packages whose code does not matter, from the configuration.
        plugins: (group, name or None for all) of the entry points whose code it may call, from (store, config).
        parts: whether it can be shared out with --part.
    """

    name: str
    help: str
    needs: tuple[str, ...]
    options: tuple[str, ...]
    outputs: tuple[str, ...]
    work: Callable[[Context], None]
    inputs: Callable[[Store, PipelineConfig], Mapping[str, str | Seen]] = _nothing
    adopts: tuple[str, ...] = ()
    skips: Callable[[PipelineConfig], tuple[str, ...]] = lambda config: ()
    plugins: Callable[[Store, PipelineConfig], tuple[tuple[str, str | None], ...]] = lambda store, config: ()
    parts: bool = False
    wants: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """The stage's own file, from which its code is read."""
        return self.work.__module__
