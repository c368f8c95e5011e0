"""All stages in their order; what is up to date, and running what is not. Only this module knows the order."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xray_debug.config import ConfigError, PipelineConfig
from xray_debug.run.fingerprint import (
    Fingerprint,
    Seen,
    changed_options,
    chosen_options,
    code_state,
    contents_digest,
    digest,
    named_files,
)
from xray_debug.run.folder import Run, RunError
from xray_debug.run.plugins import plugin_code
from xray_debug.run.store import OUTPUTS, Store
from xray_debug.stages import audit, clean, detect, explain, prepare, report, retrain, train
from xray_debug.stages.base import Context, Stage, check_device
from xray_debug.stages.selection import check_class, class_of, selected_cases

if TYPE_CHECKING:
    from xray_debug.run.engine import Engine

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        prepare.STAGE, train.STAGE, explain.STAGE, detect.STAGE, audit.STAGE, clean.STAGE, retrain.STAGE, report.STAGE,
    )
}  # fmt: skip


def stages_before(stage: Stage, needed: bool = False) -> tuple[str, ...]:
    """The stages whose results it reads, in their order; `needed`: those without which it cannot be done."""
    names = stage.needs if needed else (*stage.needs, *stage.wants)
    wanted = {OUTPUTS[name].stage for name in names}
    return tuple(name for name in STAGES if name in wanted)


CHECKS = {"prepare": prepare.check, "train": train.check, "explain": explain.check, "detect": detect.check,
          "audit": audit.check, "clean": clean.check, "retrain": retrain.check}  # fmt: skip


def check_options(config: PipelineConfig, only: str | None = None, store: Store | None = None) -> None:
    """ConfigError with a line for each name or option that nothing answers to, before anything is touched.

    `only`: of one stage alone; where `store` has what it reads, the names in it are looked at, too. Of all stages: a
    class that the dataset's labels lack is told now and not after training.
    """
    faults = []
    for check in (check_device, *(CHECKS[name] for name in CHECKS if only in (None, name))):
        try:
            check(config)
        except (ValueError, ImportError) as error:
            faults.append(str(error))
    if not faults:
        try:
            if only in (None, "detect") and not _detected(config, store):
                detect.check_ready(config)
            if only in (None, "clean") and not (store is not None and store.has("changes")):
                clean.check_ready(config)
        except (ValueError, ImportError) as error:
            faults.append(str(error))
    try:
        if only == "explain" and store is not None and store.has("predictions") and not faults:
            selected_cases(config, store.table("predictions"))
        elif only is None and class_of(config.explain.select) is not None:
            check_class(config.explain.select, prepare.classes_of(config))
    except ValueError as error:
        faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(dict.fromkeys(faults)))


def _detected(config: PipelineConfig, store: Store | None) -> bool:
    """Whether the run has boxes of the detector that is asked for, with its options."""
    record = Run(store.folder).record("detect") if store is not None and store.has("regions") else None
    return record is not None and not changed_options(record, chosen_options(config, ("seed", *detect.STAGE.options)))


def fingerprint(stage: Stage, run: Run, config: PipelineConfig) -> Fingerprint:
    """What `stage` depends on, as things stand now."""
    store, inputs = Store(run.folder), {}
    for name in (*stage.needs, *stage.wants):
        record = run.record(OUTPUTS[name].stage) or {}
        inputs[name] = record.get("outputs", {}).get(name, "absent")
    further, parameters = stage.inputs(store, config), chosen_options(config, ("seed", *stage.options))
    seen = {name: found.value for name, found in further.items() if isinstance(found, Seen)}
    inputs |= {name: found.digest if isinstance(found, Seen) else found for name, found in further.items()}
    files = code_state(stage.module, skips=tuple(stage.skips(config))) | plugin_code(stage.plugins(store, config))
    return Fingerprint(inputs | named_files(parameters), parameters, digest(files), files, seen)


def plan(run: Run, config: PipelineConfig, first: str | None = None, only: str | None = None,
         force: bool = False) -> list[tuple[Stage, str]]:  # fmt: skip
    """Every chosen stage with why it would run ("" = it would be skipped).

    A stage after one that runs is only looked at again when that one has given its results: where they are what
    they were before, it is skipped after all.
    """
    rows, changed, again = [], set(), force and first is None
    begun = run.asked(request_of(first, only, force)) if again or first is not None else {}
    for stage in [STAGES[only]] if only else STAGES.values():
        again = again or stage.name == first
        before = sorted(changed & set(stages_before(stage)))
        try:
            why = reason(run, stage.name, fingerprint(stage, run, config), again, begun)
        except (ValueError, ImportError) as error:  # the dataset is away, say: the other stages can still be told of
            why = f"cannot run: {error}"
        if not why and before:
            why = f"if stage {', '.join(before)} gives another result"
        if why:
            changed.add(stage.name)
        rows.append((stage, why))
    return rows


def request_of(first: str | None, only: str | None, force: bool) -> dict:
    """What tells one request for stages to be made anew from another."""
    return {"first": first, "only": only, "force": force}


def reason(run: Run, stage: str, mark: Fingerprint, again: bool, begun: Mapping[str, str]) -> str:
    """Why the stage must run. `again`: it was asked for; `begun`: what of the request was begun before a stop."""
    return "asked for" if again and begun.get(stage) != mark.key else run.reason_to_run(stage, mark)


def stale_stages(run: Run, config: PipelineConfig, stage: str) -> list[str]:
    """Of a stage and those that it reads: the ones that no longer hold (`status` says why)."""
    wanted = {stage}
    for name in reversed(STAGES):
        wanted |= set(stages_before(STAGES[name])) if name in wanted else set()
    return [found.name for found, why in plan(run, config) if why and found.name in wanted]


def made_otherwise(stage: Stage, run: Run, config: PipelineConfig) -> list[str]:
    """A sentence for each stage before `stage` that was made with other options than `config` asks for, or of what a
    stage before it no longer gives: saliency maps of the model before this one, say."""
    wanted, sentences = {stage.name}, []
    for name in reversed(STAGES):
        wanted |= set(stages_before(STAGES[name])) if name in wanted else set()
    for name in (name for name in STAGES if name in wanted - {stage.name}):
        changed = changed_options(run.record(name) or {}, chosen_options(config, ("seed", *STAGES[name].options)))
        if changed and run.record(name):
            sentences.append(f"{stage.name} uses stage {name} as it was made, with another {', '.join(changed)}; "
                             f"xray-debug run or xray-debug {name} makes it anew")
        elif older := _made_anew(run, name):
            sentences.append(f"{stage.name} uses stage {name} as it was made, before stage {', '.join(older)} was made "
                             f"anew; xray-debug run or xray-debug {name} makes it of what is there now")
    return sentences


def _made_anew(run: Run, name: str) -> list[str]:
    """The stages that have given another result since stage `name` was made of it."""
    stage, used = STAGES[name], (run.record(name) or {}).get("inputs", {})
    changed = {OUTPUTS[what].stage for what in (*stage.needs, *stage.wants) if what in used and used[what]
               != (run.record(OUTPUTS[what].stage) or {}).get("outputs", {}).get(what, "absent")}  # fmt: skip
    return [found for found in STAGES if found in changed]


@dataclass
class Job:
    """A request to run stages: see cli.run for the options."""

    run: Run
    config: PipelineConfig
    engine: Engine
    say: Callable[[str], None]
    first: str | None = None
    only: str | None = None
    force: bool = False

    def __call__(self) -> list[str]:
        """Runs what must run, in order; the names of the stages that ran."""
        chosen = [STAGES[self.only]] if self.only else list(STAGES.values())
        self.engine.say = self._tell
        self.run.check_free([stage.name for stage in chosen])
        self._tell_kept(self.run.recover(list(STAGES)))
        ran, again = [], self.force and self.first is None
        for stage in chosen:
            again = again or stage.name == self.first
            for needed in stages_before(stage, needed=True):
                self.run.require(needed, stage.name)
            for sentence in made_otherwise(stage, self.run, self.config) if self.only else ():
                self._tell(sentence)
            if self._stage(stage, again):
                ran.append(stage.name)
        if not self._shared:
            self.run.forget_asked(request_of(self.first, self.only, self.force))
        return ran

    @property
    def _shared(self) -> bool:
        return self.engine.part is not None or self.engine.merge

    def _tell_kept(self, kept: list[Path]) -> None:
        """Where the user's own files are now that lay in a stage's folder."""
        if kept:
            places = ", ".join(path.relative_to(self.run.folder).as_posix() for path in kept[:3])
            more = f" and {len(kept) - 3} more" if len(kept) > 3 else ""
            self._tell(f"kept what was in a stage's folder and is not as the stage left it: {places}{more}")

    def _tell(self, text: str) -> None:
        self.say(text)
        self.run.log(text)

    def _stage(self, stage: Stage, again: bool) -> bool:
        from xray_debug.run.engine import PartDone
        from xray_debug.run.memory import MemoryWatch

        mark = fingerprint(stage, self.run, self.config)
        request, shared = request_of(self.first, self.only, self.force), self._shared
        why = reason(self.run, stage.name, mark, again, {} if shared else self.run.asked(request))
        if not why:
            self._tell(f"{stage.name}: up to date")
            return False
        if shared and not stage.parts:
            names = ", ".join(s.name for s in STAGES.values() if s.parts)
            raise RunError(f"--part: stage {stage.name} cannot be shared out, expected one of {names}")
        self._tell(f"{stage.name}: {why}")
        if shared:
            self.run.check_shared(stage.name, mark, self.engine.merge)
        fresh = why == "asked for" and not shared
        folder = self.run.begin(stage.name, mark, fresh, stage.adopts)
        if fresh:
            self.run.note_asked(request, stage.name, mark)
        store = Store(self.run.folder, {stage.name: folder})
        context = Context(store, self.config, self.engine, folder, self.run.scratch(stage.name), self._tell,
                          tuple(STAGES.values()), seen=mark.seen, mark=mark, fresh=fresh)  # fmt: skip
        start, before = time.perf_counter(), _processor_seconds()
        try:
            with MemoryWatch() as memory:
                stage.work(context)
        except PartDone:
            self._tell(f"{stage.name}: part {self.engine.part[0]} of {self.engine.part[1]} is done")
            return True
        except BaseException:
            self.run.log(traceback.format_exc().rstrip(), "ERROR")
            raise
        finally:
            with contextlib.suppress(OSError):  # the disk may be full: what is told is what happened in the stage
                self.run.spent(stage.name, time.perf_counter() - start)
        facts: dict[str, Any] = {
            "seed": self.config.seed, "device": context.device, "peak_memory_mb": memory.peak_mb,
            "processor_seconds": round(_processor_seconds() - before, 2), "workers": self.engine.workers,
            "threads": _threads(),
        }  # fmt: skip
        self._tell_kept(self.run.complete(stage.name, mark, {**facts, **context.facts,
                                                             "outputs": _digests(stage, store)}))  # fmt: skip
        return True


def _threads() -> int:
    """Of torch in this process, which the last digits of a network's results can depend on; 0 where it is not used."""
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch else 0


def _processor_seconds() -> float:
    """Of this process and of its children that have ended (0 for these on Windows)."""
    return sum(os.times()[:4])


def _digests(stage: Stage, store: Store) -> dict[str, str]:
    """What tells one state of the stage's results from another, of those that are the same each time."""
    return {name: contents_digest([store.path(name)]) for name in stage.outputs
            if OUTPUTS[name].steady and store.path(name).exists()}  # fmt: skip
