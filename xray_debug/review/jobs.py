"""Programs that the review app starts: xray-debug itself, in a process of its own, followed through files.

What a job says (commands/terminal.py, --json-lines) goes into a file of its folder, so that every session of the app,
one that was reloaded and an app that was started anew see the same, and the work goes on without any of them. No
Streamlit here, and no torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from xray_debug.data.files import private, write_json

PACKAGE = Path(__file__).resolve().parents[1]
PROGRAM = (sys.executable, "-m", PACKAGE.name)
JOB, LINES, ERRORS, LOCK = "job.json", "lines.jsonl", "errors.txt", "lock"
TAIL = 1 << 16  # bytes of what it said that are read: the last sentences and steps
SAME = 2.0  # seconds by which the clock may have been set between two looks at when a process was started
PATIENCE = 10.0  # seconds for a program to end what it is at, once asked to stop


class JobError(ValueError):
    """A program that cannot be started; the message is one sentence."""

KILLED, STOPPED = -9, (130, 143)  # exit statuses


@dataclass(frozen=True)
class State:
    """How far a job is. `done` of `total` of what it is `doing`; `error`: why it failed, one sentence; `said`: its last
    sentences; `ended`: its exit status, None while it runs; `stopped`: because somebody asked for it; `seconds`: how
    long it runs or ran; `last`: when it last said something (seconds since 1970).
    """

    running: bool
    doing: str = ""
    done: int = 0
    total: int = 0
    said: tuple[str, ...] = ()
    error: str = ""
    ended: int | None = None
    seconds: float = 0.0
    stopped: bool = False
    last: float = 0.0

    @property
    def when(self) -> str:
        """`last` as a person reads it, in this machine's time."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self.last))

    @property
    def share(self) -> float:
        return min(self.done / self.total, 1.0) if self.total else 0.0

    @property
    def succeeded(self) -> bool:
        return self.ended == 0


_own: dict[int, subprocess.Popen] = {}  # those that this process has started: they are to be waited for
_own_lock = threading.Lock()


class Job:
    """The job whose files lie in `folder`; there may be none yet."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def start(self, arguments: Sequence[str], where: str | Path | None = None) -> bool:
        """Starts `xray-debug ARGUMENTS` in the folder `where`; False where the job runs already.

        JobError where its folder cannot be written or the program cannot be started.
        """
        try:
            with private():
                self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / LOCK, timeout=5):
                if self.running():
                    return False
                self._start(arguments, where)
        except Timeout as error:
            raise JobError(f"{self.folder}: another session is just starting this; try again") from error
        except OSError as error:
            raise JobError(f"{self.folder}: xray-debug cannot be started: {error.strerror or error}") from error
        return True

    def _start(self, arguments: Sequence[str], where: str | Path | None) -> None:
        command = [*PROGRAM, "--json-lines", *arguments]
        if os.name == "nt":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        else:  # Ctrl-C at the app's terminal is not for it
            apart = {"start_new_session": True}
        (self.folder / JOB).unlink(missing_ok=True)
        with open(self.folder / LINES, "wb") as lines, open(self.folder / ERRORS, "wb") as errors:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=lines, stderr=errors, cwd=where,
                                       env=environment(), **apart)  # fmt: skip
        with _own_lock:
            _own[process.pid] = process
        write_json(self.folder / JOB, {"pid": process.pid, "born": _born(process.pid), "begun": time.time(),
                                       "command": ["xray-debug", *arguments]})  # fmt: skip

    @property
    def known(self) -> dict:
        """pid, born, begun and command of the last start; {} where there was none."""
        try:
            found = json.loads((self.folder / JOB).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) and isinstance(found.get("pid"), int) else {}

    def running(self) -> bool:
        return self._process() is not None

    def _process(self) -> psutil.Process | None:
        """The process, where it still runs: one that has its number by now is not it."""
        known = self.known
        if not known:
            return None
        with _own_lock:
            own = _own.get(known["pid"])
            if own is not None and own.poll() is not None:
                del _own[known["pid"]]
                return None
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(known["pid"])
            same = abs(process.create_time() - known.get("born", 0)) < SAME
            if same and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def state(self) -> State:
        """What it says of itself by now; a job that was never started has not `ended` and does not run."""
        known, running = self.known, self.running()  # in this order: what it says last is then in its file
        if not known:
            return State(False)
        last = time.time()
        with contextlib.suppress(OSError):
            last = (self.folder / LINES).stat().st_mtime
        lines = self._lines()
        steps = [line for line in lines if isinstance(line.get("doing"), str)]
        step = steps[-1] if steps else {}
        said = tuple(line["say"] for line in lines if isinstance(line.get("say"), str))[-20:]
        errors = [line["error"] for line in lines if isinstance(line.get("error"), str)]
        ended = next((line["exit"] for line in reversed(lines) if isinstance(line.get("exit"), int)), None)
        ended = None if running else KILLED if ended is None else ended
        stopped = ended in STOPPED or (known.get("stop", False) and ended not in (0, None))
        error = "" if stopped or ended in (0, None) else errors[-1] if errors else self._last_words()
        seconds = max((time.time() if running else last) - known.get("begun", last), 0.0)
        return State(running, step.get("doing", ""), int(step.get("done", 0)), int(step.get("total", 0)), said, error,
                     ended, seconds, stopped, last)  # fmt: skip

    def lines(self) -> list[dict]:
        """All that a short job said."""
        return self._lines(whole=True)

    def _lines(self, whole: bool = False) -> list[dict]:
        found = []
        for line in _tail(self.folder / LINES, None if whole else TAIL).splitlines():
            with contextlib.suppress(ValueError):
                value = json.loads(line)
                if isinstance(value, dict):
                    found.append(value)
        return found

    def _last_words(self) -> str:
        words = _tail(self.folder / ERRORS, 2000).strip().splitlines()
        return words[-1][:300] if words else "it was ended from outside, without a word; the same command goes on"

    def stop(self, patience: float = PATIENCE) -> None:
        """Asks the program to stop, as Ctrl-C would, and ends it and what it has started after `patience` seconds."""
        process = self._process()
        if process is None:
            return
        with contextlib.suppress(psutil.Error):
            write_json(self.folder / JOB, {**self.known, "stop": True})
            family = [process, *process.children(recursive=True)]
            process.terminate()
            _, left = psutil.wait_procs(family, timeout=patience)
            for member in left:
                with contextlib.suppress(psutil.Error):
                    member.kill()
            psutil.wait_procs(left, timeout=1)
        self.running()  # takes note of its end


def environment() -> dict[str, str]:
    """Of a program that is to find this very package, wherever it is started."""
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _born(pid: int) -> float:
    """When the process was started, which tells it from another of the same number."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).create_time()
    return 0.0


def _tail(file: Path, most: int | None) -> str:
    """The end of a text file, from a whole line on."""
    try:
        with file.open("rb") as read:
            size = read.seek(0, os.SEEK_END)
            start = 0 if most is None else max(size - most, 0)
            read.seek(start)
            content = read.read()
    except OSError:
        return ""
    return (content.partition(b"\n")[2] if start else content).decode("utf-8", "replace")
