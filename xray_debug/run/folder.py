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
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from xray_debug.data.files import copy_file, private, sync_all, sync_folder, write_json
from xray_debug.data.shown import shown
from xray_debug.run import contents
from xray_debug.run.fingerprint import Fingerprint

PACKAGES = ("xray-debug", "torch", "torchvision", "opencv-python", "lightning", "numpy", "pandas", "scikit-learn")
RECORD, KEY, ASKED = contents.RECORD, contents.KEY, "asked.json"
MAKER = "xray-debug"


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message is one sentence for the user."""


def read_json(path: Path, kinds: Mapping[str, Any]) -> dict:
    """The mapping in a JSON file, whose values of the names in `kinds` are of these types where they are there.

    RunError names a file that is no JSON, no mapping, or has other values.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: expected a readable JSON file, {error}") from error
    if not isinstance(found, dict):
        raise RunError(f"{path}: expected a JSON mapping, got {type(found).__name__}")
    for name, kind in kinds.items():
        if name in found and not isinstance(found[name], kind):
            raise RunError(f"{path}: damaged, {name} is {type(found[name]).__name__}")
    return found


RECORD_KINDS: dict[str, Any] = {name: dict for name in ("inputs", "parameters", "files", "outputs", "versions")} | {
    name: str for name in ("stage", "made_by", "fingerprint", "code", "finished")}  # fmt: skip
KEY_KINDS: dict[str, Any] = {"fingerprint": str, "seconds": (int, float)}
RECORD_KINDS |= KEY_KINDS


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
        return read_json(file, RECORD_KINDS) if file.exists() else None

    def require(self, stage: str, needed_by: str) -> dict:
        found = self.record(stage)
        if found is None:
            raise RunError(f"{self.folder}: stage {needed_by} needs stage {stage}, which is not complete")
        return found

    def check_free(self, stages: list[str]) -> None:
        """RunError where a stage would have to replace a folder that no stage has made: it may be the user's."""
        for stage in stages:
            if not self.path(stage).exists():
                continue
            found = self.record(stage) or {}
            if found.get("made_by") != MAKER or found.get("stage") != stage:
                raise RunError(f"{self.path(stage)}: was not made by xray-debug (it has no {RECORD} of stage {stage}), "
                               f"so stage {stage} will not replace it; choose another --out")

    def reason_to_run(self, stage: str, fingerprint: Fingerprint) -> str:
        """Why the stage must run, "" when what is there still holds."""
        if self._work_key(stage) == fingerprint.key:
            return "interrupted, goes on where it stopped"
        found = self.record(stage)
        if found is None:
            return "not yet run"
        return fingerprint.difference(found) or self._damage(stage)

    def _damage(self, stage: str, below: str = "") -> str:
        """What is not as the finished stage left it; "" too where an earlier version made it, without a list."""
        return contents.difference(self.path(stage), below) if "listed" in (self.record(stage) or {}) else ""

    def _work_key(self, stage: str) -> str:
        file = self.work(stage) / KEY
        return read_json(file, KEY_KINDS).get("fingerprint", "") if file.exists() else ""

    def asked(self, request: dict) -> dict[str, str]:
        """Stage -> fingerprint of what was begun anew for this very request (`--force`, `--from`), which then stopped.

        Whoever gives the same command again wants the rest of it, and not all of it once more.
        """
        file = self.path(".work", ASKED)
        found = read_json(file, {"stages": dict}) if file.exists() else {}
        return found.get("stages", {}) if found.get("request") == request else {}

    def note_asked(self, request: dict, stage: str, fingerprint: Fingerprint) -> None:
        """Remembers that a stage is begun anew for this request."""
        stages = self.asked(request) | {stage: fingerprint.key}
        write_json(self.path(".work", ASKED), {"request": request, "stages": stages})

    def forget_asked(self, request: dict) -> None:
        """All that was asked for is done, or all that there is."""
        if request["only"] is None or self.asked(request):
            self.path(".work", ASKED).unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------------------ a stage's work

    def begin(self, stage: str, fingerprint: Fingerprint, fresh: bool = False, adopts: tuple[str, ...] = ()) -> Path:
        """The folder to work in: the one begun for this very fingerprint, or a new one with what can be adopted.

        `adopts`: patterns of folders in it that carry their own fingerprint, so that they may outlive the stage's.
        """
        with FileLock(self.path(".work", "begin.lock")):  # several parts may begin at the same moment
            return self._begin(stage, fingerprint, fresh, adopts)

    def _begin(self, stage: str, fingerprint: Fingerprint, fresh: bool, adopts: tuple[str, ...]) -> Path:
        folder = self.work(stage)
        self._check_can_be_replaced(stage)
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
                if not self._damage(stage, path.relative_to(self.path(stage)).as_posix() + "/"):
                    _adopt(path, folder / path.relative_to(self.path(stage)))
        for path in kept:
            _adopt(path, folder / path.relative_to(aside))
        write_json(folder / KEY, {"fingerprint": fingerprint.key, "seconds": 0.0})
        shutil.rmtree(aside, ignore_errors=True)
        return folder

    def _check_can_be_replaced(self, stage: str) -> None:
        """RunError, before hours of work, where the finished stage could not take its place by a change of names."""
        disk = self.folder.stat().st_dev
        for folder in (self.path(stage), self.work(stage), self.path(".work")):
            link = folder.is_symlink() and folder.name == stage
            if link or folder.exists() and folder.stat().st_dev != disk:
                raise RunError(f"{folder}: is a link or lies on another disk, so stage {stage} cannot replace it; "
                               f"expected the whole run folder on one disk")

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
        known = read_json(file, KEY_KINDS) if file.exists() else {}
        known = {"fingerprint": "", "seconds": 0.0} | known
        total = known["seconds"] + seconds
        if seconds and file.parent.is_dir():
            write_json(file, {**known, "seconds": total})
        return total

    def complete(self, stage: str, fingerprint: Fingerprint, facts: dict) -> list[Path]:
        """Writes stage.json and lets the finished work take the stage's place.

        Gives the user's own files that lay in what is replaced, where they are kept now.
        """
        work = self.work(stage)
        seconds = self.spent(stage)
        for stray in work.rglob(".tmp-*"):  # of a write that was killed
            stray.unlink(missing_ok=True)
        record = {
            "stage": stage, "made_by": MAKER, "listed": contents.write(work),
            "fingerprint": fingerprint.key, "inputs": fingerprint.inputs,
            "parameters": fingerprint.parameters, "code": fingerprint.code, "files": dict(fingerprint.files),
            "versions": versions(),
            "seconds": round(seconds, 2), "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **facts,
        }  # fmt: skip
        sync_all(work)  # before the record that vouches for it
        write_json(work / RECORD, record)
        (work / KEY).unlink(missing_ok=True)
        return self._swap(stage)

    def _swap(self, stage: str) -> list[Path]:
        work, place, old = self.work(stage), self.path(stage), self._old(stage)
        kept = self._discard(stage)
        if place.exists():
            self.check_free([stage])
            os.replace(place, old)
        os.replace(work, place)
        sync_folder(self.folder)
        kept += self._discard(stage)
        shutil.rmtree(self.scratch(stage), ignore_errors=True)
        return kept

    def _old(self, stage: str) -> Path:
        return self.path(".work", f"{stage}.old")

    def _discard(self, stage: str) -> list[Path]:
        """Removes what a stage was before; what in it is the user's goes to kept/<stage>/ first."""
        old = self._old(stage)
        if old.is_symlink():  # as earlier versions left it; what it leads to is not ours
            old.unlink()
        kept = contents.keep(old, self.path("kept", stage))
        shutil.rmtree(old, ignore_errors=True)
        return kept

    def recover(self, stages: list[str]) -> list[Path]:
        """Ends what a kill interrupted in the middle of a change of places; as `complete`, what it kept."""
        kept: list[Path] = []
        for stage in stages:
            if (self.work(stage) / RECORD).is_file():
                kept += self._swap(stage)
            kept += self._discard(stage)
        return kept

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
