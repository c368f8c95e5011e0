"""Runs and their stages, as the review app tells of them: which are there, what is missing, what to run next."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from xray_debug.data.files import plain_name
from xray_debug.run.places import is_run
from xray_debug.run.store import OUTPUTS, Store, StoreError

RUNS = Path("runs")  # where xray-debug puts them, below the folder that it is started in
DEMO = RUNS / "demo"
MOST = 50  # runs that are listed
COMPLETE, OLDER, BEGUN, ABSENT, DAMAGED = "complete", "older than what it reads", "begun", "not yet run", "damaged"


class StageInfo(Protocol):
    """What is needed of a stage of the pipeline: its name, a line of help, and the results that it reads."""

    name: str
    help: str
    needs: tuple[str, ...]
    wants: tuple[str, ...]


@dataclass(frozen=True)
class StageState:
    """One stage of a run: COMPLETE, OLDER, BEGUN, ABSENT or DAMAGED, and when it was finished ("" where it is not)."""

    name: str
    help: str
    state: str
    finished: str = ""

    @property
    def day(self) -> str:
        """`finished` to the minute, as a person reads it."""
        return self.finished[:16].replace("T", " ")


def runs_in(folder: Path = RUNS) -> list[Path]:
    """The run folders in `folder`, those changed last first, at most MOST."""
    found = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                file = Store(path).pipeline_file
                if file.is_file():
                    found.append((-max(file.stat().st_mtime, path.stat().st_mtime), path.name, path))
    return [path for *_, path in sorted(found)[:MOST]]


def run_named(name: str) -> str:
    """The run of that name in RUNS; "" where there is none, or the name leads elsewhere."""
    return str(RUNS / name) if plain_name(name) and Store(RUNS / name).pipeline_file.is_file() else ""


def free_for_a_run(folder: Path, stages: Iterable[StageInfo]) -> bool:
    """Whether a run may be made there: nothing else lies in it."""
    if not folder.exists():
        return True
    return folder.is_dir() and (is_run(folder, [stage.name for stage in stages]) or not any(folder.iterdir()))


def stage_states(store: Store, stages: Sequence[StageInfo]) -> list[StageState]:
    """Each stage of the run, from the records alone: what a stage is made of is not looked at (`status` does)."""
    states: dict[str, StageState] = {}
    times: dict[str, float] = {}
    for stage in stages:
        state, finished = _state(store, stage.name)
        if state == COMPLETE:
            before = {OUTPUTS[name].stage for name in (*stage.needs, *stage.wants)}
            times[stage.name] = _time(finished)
            stale = any(states[name].state == OLDER or times.get(name, 0) > times[stage.name]
                        for name in before if name in states)  # fmt: skip
            state = OLDER if stale else COMPLETE
        states[stage.name] = StageState(stage.name, stage.help, state, finished)
    return list(states.values())


def _state(store: Store, stage: str) -> tuple[str, str]:
    try:
        record = store.record(stage)
    except StoreError:
        return DAMAGED, ""
    if record is None:
        return (BEGUN if store.begun(stage) else ABSENT), ""
    return COMPLETE, str(record.get("finished", ""))


def _time(text: str) -> float:
    """Seconds of a record's `finished`, 0 where it says none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def command_for(store: Store, stage: str | None = None) -> list[str]:
    """The arguments that make one stage of the run anew, or all that must run (None)."""
    if stage is not None:
        return [stage, "--run", str(store.folder)]
    return ["run", str(store.pipeline_file), "--out", str(store.folder)]


def in_a_shell(arguments: Sequence[str]) -> str:
    """A command as it is typed."""
    quoted = [f'"{part}"' if " " in part else part for part in arguments] if os.name == "nt" else \
        [shlex.quote(part) for part in arguments]  # fmt: skip
    return " ".join(["xray-debug", *quoted])
