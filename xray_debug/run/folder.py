"""Run folders: one sub-folder for each stage, complete or absent; resume, locks, and nothing of the user's touched.

A stage works in `.work/<stage>`, which belongs to one fingerprint, and what was there before stays until the new
result is whole: then `stage.json` is written, and the two folders change places. A killed stage goes on in its work
folder where it stopped; one whose fingerprint has changed meanwhile starts anew and may adopt pieces that vouch for
themselves (trained seeds).
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from xray_debug.data.files import copy_file, private, sync_all, sync_folder, write_json
from xray_debug.data.shown import shown
from xray_debug.run.fingerprint import Fingerprint

PACKAGES = ("xray-debug", "torch", "torchvision", "opencv-python", "lightning", "numpy", "pandas", "scikit-learn")
RECORD, KEY = "stage.json", ".key.json"


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message is one sentence for the user."""


def read_json(path: Path) -> Any:
    """The value in a JSON file; RunError names a file that is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: expected a readable JSON file, {error}") from error


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


LINEAGE = ("finished", "inputs", "parameters", "code", "files", "seed", "versions", "device", "threads", "precision",
           "workers", "outputs")  # fmt: skip


def lineage(record: dict) -> dict:
    """What a finished stage was made from, of its stage.json; old ones say less."""
    return {kind: record[kind] for kind in LINEAGE if kind in record}


class Run:
    """A run folder. Use `with run.locked():` around anything that writes."""

    def __init__(self, folder: str | Path):
        self.folder, self._part_lock = Path(folder), ""

    def path(self, *parts: str) -> Path:
        return self.folder.joinpath(*parts)

    def work(self, stage: str) -> Path:
        """Where a stage works until it is complete."""
        return self.path(".work", stage)

    def scratch(self, stage: str) -> Path:
        """Where a stage keeps parts that nobody needs once it is complete."""
        return self.path(".work", f"{stage}.scratch")

    # ------------------------------------------------------------------------------------------------ locks

    @contextlib.contextmanager
    def locked(self, part: tuple[int, int] | None = None) -> Iterator[None]:
        """One writer at a time; several where each does another `part` (i, n) of the same stage.

        The lock goes with the process, also when it is killed. What is made meanwhile is private: tables of patients.
        """
        with private(), self._locked(part):
            yield

    @contextlib.contextmanager
    def _locked(self, part: tuple[int, int] | None) -> Iterator[None]:
        try:
            self.path(".work").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.folder}: cannot be made a run folder: {error.strerror}") from error
        busy = RunError(f"{self.folder}: another xray-debug is working in this run folder")
        with contextlib.ExitStack() as stack:
            whole = FileLock(self.path(".lock"), timeout=0)
            try:
                if part is None:
                    stack.enter_context(whole)
                    for file in sorted(self.path(".work").glob("part-*.lock")):
                        with FileLock(file, timeout=0):
                            pass
                else:
                    self._part_lock = f"part-{part[0]}-of-{part[1]}.lock"
                    stack.enter_context(FileLock(self.path(".work", self._part_lock), timeout=0))
                    with whole.acquire(timeout=5):  # another part may be looking at this very moment
                        pass
            except Timeout as error:
                raise busy from error
            yield

    # ------------------------------------------------------------------------------------------------ records

    def record(self, stage: str) -> dict | None:
        """The stage's stage.json, or None while it is absent."""
        file = self.path(stage, RECORD)
        return read_json(file) if file.exists() else None

    def require(self, stage: str, needed_by: str) -> dict:
        found = self.record(stage)
        if found is None:
            raise RunError(f"{self.folder}: stage {needed_by} needs stage {stage}, which is not complete")
        return found

    def check_free(self, stages: list[str]) -> None:
        """RunError where a stage would have to replace a folder that no stage has made: it may be the user's."""
        for stage in stages:
            if self.path(stage).exists() and not self.path(stage, RECORD).is_file():
                raise RunError(f"{self.path(stage)}: was not made by xray-debug (it has no {RECORD}), so stage {stage} "
                               f"will not replace it; choose another --out")

    def reason_to_run(self, stage: str, fingerprint: Fingerprint) -> str:
        """Why the stage must run, "" when what is there still holds."""
        if self._work_key(stage) == fingerprint.key:
            return "interrupted, goes on where it stopped"
        found = self.record(stage)
        return "not yet run" if found is None else fingerprint.difference(found)

    def _work_key(self, stage: str) -> str:
        file = self.work(stage) / KEY
        return read_json(file).get("fingerprint", "") if file.exists() else ""

    # ------------------------------------------------------------------------------------------------ a stage's work

    def begin(self, stage: str, fingerprint: Fingerprint, fresh: bool = False, adopts: tuple[str, ...] = ()) -> Path:
        """The folder to work in: the one begun for this very fingerprint, or a new one with what can be adopted.

        `adopts`: patterns of folders in it that carry their own fingerprint, so that they may outlive the stage's.
        """
        with FileLock(self.path(".work", "begin.lock")):  # several parts may begin at the same moment
            return self._begin(stage, fingerprint, fresh, adopts)

    def _begin(self, stage: str, fingerprint: Fingerprint, fresh: bool, adopts: tuple[str, ...]) -> Path:
        folder = self.work(stage)
        if not fresh and self._work_key(stage) == fingerprint.key:
            return folder
        if folder.exists():
            self._check_alone(stage)
        aside = self.path(".work", f"{stage}.begun")
        if (folder / KEY).exists():  # without it, what is aside is what a kill left of this very change
            shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(self.scratch(stage), ignore_errors=True)
        if aside.exists():
            shutil.rmtree(folder, ignore_errors=True)
        elif folder.exists():
            os.replace(folder, aside)
        kept = [] if fresh else _matching(aside, adopts)
        folder.mkdir(parents=True, exist_ok=True)
        if not fresh and self.record(stage) is not None:  # what is whole goes before what was begun
            for path in _matching(self.path(stage), adopts):
                _adopt(path, folder / path.relative_to(self.path(stage)))
        for path in kept:
            _adopt(path, folder / path.relative_to(aside))
        write_json(folder / KEY, {"fingerprint": fingerprint.key, "seconds": 0.0})
        shutil.rmtree(aside, ignore_errors=True)
        return folder

    def _check_alone(self, stage: str) -> None:
        """RunError where another process works on a part of what is about to be begun anew."""
        for file in self.path(".work").glob("part-*.lock"):
            if file.name == self._part_lock:
                continue
            try:
                with FileLock(file, timeout=0):
                    pass
            except Timeout as error:
                raise RunError(f"{self.folder}: another part of stage {stage} is being worked on with other options, "
                               f"inputs or code; expected the same for all parts") from error

    def check_shared(self, stage: str, fingerprint: Fingerprint, merge: bool) -> None:
        """RunError where a share, or the merge, would not go with the parts that others have made."""
        begun = self._work_key(stage)
        if begun and begun != fingerprint.key:
            raise RunError(f"{self.folder}: the parts of stage {stage} that are there were made with other options, "
                           f"inputs or code; give the same --set to all, or run the stage without --part to start anew")
        if merge and not begun:
            raise RunError(f"{self.folder}: there are no parts of stage {stage} to put together; "
                           f"run its --part I/N first")

    def spent(self, stage: str, seconds: float = 0.0) -> float:
        """Seconds worked on a begun stage so far, with `seconds` more added to them."""
        file = self.work(stage) / KEY
        known = read_json(file) if file.exists() else {"fingerprint": "", "seconds": 0.0}
        total = known["seconds"] + seconds
        if seconds and file.parent.is_dir():
            write_json(file, {**known, "seconds": total})
        return total

    def complete(self, stage: str, fingerprint: Fingerprint, facts: dict) -> None:
        """Writes stage.json and lets the finished work take the stage's place."""
        work = self.work(stage)
        seconds = self.spent(stage)
        record = {
            "stage": stage, "made_by": "xray-debug", "fingerprint": fingerprint.key, "inputs": fingerprint.inputs,
            "parameters": fingerprint.parameters, "code": fingerprint.code, "files": dict(fingerprint.files),
            "versions": versions(),
            "seconds": round(seconds, 2), "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **facts,
        }  # fmt: skip
        for stray in work.rglob(".tmp-*"):  # of a write that was killed
            stray.unlink(missing_ok=True)
        sync_all(work)  # before the record that vouches for it
        write_json(work / RECORD, record)
        (work / KEY).unlink(missing_ok=True)
        self._swap(stage)

    def _swap(self, stage: str) -> None:
        work, place, old = self.work(stage), self.path(stage), self.path(".work", f"{stage}.old")
        shutil.rmtree(old, ignore_errors=True)
        if place.exists():
            self.check_free([stage])
            os.replace(place, old)
        os.replace(work, place)
        sync_folder(self.folder)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(self.scratch(stage), ignore_errors=True)

    def recover(self, stages: list[str]) -> None:
        """Ends what a kill interrupted in the middle of a change of places."""
        for stage in stages:
            if (self.work(stage) / RECORD).is_file():
                self._swap(stage)
            old = self.path(".work", f"{stage}.old")
            if old.exists():
                shutil.rmtree(old, ignore_errors=True)

    def log(self, text: str, level: str = "INFO") -> None:
        """An entry in log.txt: the time, a level (INFO, WARNING, ERROR), the text; a traceback keeps its lines."""
        with contextlib.suppress(OSError), self.path("log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {level:7} {shown(text, keep=chr(10))}\n")


def _matching(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    return [path for path in found if path.suffix != ".adopting"]


def _adopt(source: Path, target: Path) -> None:
    """Copies a folder; one that is there already stays."""
    if target.exists() or not source.is_dir():
        return
    partial = target.with_name(target.name + ".adopting")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, copy_function=_copy)
    sync_all(partial)  # what is adopted vouches for itself by being there
    os.replace(partial, target)


_copy: Callable = copy_file
