"""Explanations of single radiographs that a person brings: each a job with a temporary folder of its own.

The film's pixels are never read here, only its head: a process of its own (`xray-debug explain-image`) decodes it and
loads the model. Folders lie in the system's place for temporary files, are this user's alone, and go away when they are
not wanted any longer, when the app ends, or, where it was killed, when the next one begins. No Streamlit and no torch.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import psutil

from xray_debug.data.explanation import ExplanationError, ExplanationFiles
from xray_debug.data.files import name_of, write_json
from xray_debug.data.images import ImageError, image_header
from xray_debug.data.shown import shown
from xray_debug.review import jobs
from xray_debug.review.jobs import Job, environment

LARGEST_UPLOAD = 200  # MB
MOST, MOST_RUNNING = 8, 2  # kept, and computed at once
PREFIX, OWNER, PICTURE, DATA = "xray-debug-explain-", "owner.json", "explanation.png", "data"


@dataclass(frozen=True)
class Wish:
    """What is to be explained, and how. `model`: a run (`of_run`) or a model's folder or file; `target`, `preset`: ""
    for the class that the model predicts, and for the method's own default."""

    name: str
    model: str
    of_run: bool = False
    method: str = "igos_pp"
    preset: str = ""
    target: str = ""

    def arguments(self, film: Path, folder: Path) -> list[str]:
        """Of explain-image."""
        given = ["--run" if self.of_run else "--model", self.model, "--method", self.method,
                 "--out", str(folder / PICTURE), "--data", str(folder / DATA)]  # fmt: skip
        given += ["--preset", self.preset] if self.preset else []
        given += ["--target", self.target] if self.target else []
        return ["explain-image", *given, "--", str(film)]


@dataclass
class Explanation:
    """One wish in its folder."""

    folder: Path
    wish: Wish
    film: Path
    job: Job = field(init=False)

    def __post_init__(self):
        self.job = Job(self.folder / "job")

    def error(self, said: str) -> str:
        """What the program said, of the film by its own name."""
        return shown(said.replace(str(self.film), self.wish.name).replace(f"{self.film.name}:", f"{self.wish.name}:"),
                     keep="\n")  # fmt: skip

    def file(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    @cached_property
    def result(self) -> ExplanationFiles:
        """ExplanationError where its files are not whole."""
        return ExplanationFiles.read(self.folder / DATA)


class Explanations:
    """All that this app has begun, by keys that cannot be guessed: the films are patients' data."""

    def __init__(self):
        self._known: dict[str, Explanation] = {}
        self._lock = threading.Lock()
        remove_left_behind()
        atexit.register(self.clear)

    def begin(self, wish: Wish, content: bytes) -> str:
        """Starts one; its key. ExplanationError where too many are at work, or `content` is empty, too large or by its
        head no image."""
        if not content:
            raise ExplanationError(f"{shown(wish.name)}: empty file, expected a radiograph")
        if len(content) > LARGEST_UPLOAD * 10**6:
            megabytes = len(content) / 10**6
            raise ExplanationError(f"{shown(wish.name)}: {megabytes:.0f} MB, expected {LARGEST_UPLOAD} at most")
        try:
            image_header(wish.name, content)
        except ImageError as error:
            raise ExplanationError(shown(error)) from error
        with self._lock:
            self._make_room()
            try:
                folder = Path(tempfile.mkdtemp(prefix=PREFIX))
            except OSError as error:
                raise ExplanationError(f"{tempfile.gettempdir()}: no folder can be made there: {error}") from error
            try:
                one, key = _started(folder, wish, content), secrets.token_urlsafe(12)
            except BaseException as error:
                shutil.rmtree(folder, ignore_errors=True)
                if isinstance(error, OSError):
                    raise ExplanationError(f"{shown(wish.name)}: cannot be kept: {error.strerror or error}") from error
                raise
            self._known[key] = one
        return key

    def _make_room(self) -> None:
        running = [one for one in self._known.values() if one.job.running()]
        if len(running) >= MOST_RUNNING:
            raise ExplanationError(f"{len(running)} explanations are being made; try again when one is done")
        for key in [key for key, one in self._known.items() if one not in running]:
            if len(self._known) >= MOST:
                _remove(self._known.pop(key))

    def get(self, key: str) -> Explanation | None:
        return self._known.get(key)

    def remove(self, key: str) -> None:
        """Stops it where it runs; its files go."""
        with self._lock:
            one = self._known.pop(key, None)
        if one is not None:
            _remove(one)

    def clear(self) -> None:
        for key in list(self._known):
            self.remove(key)


def _started(folder: Path, wish: Wish, content: bytes) -> Explanation:
    me = psutil.Process()
    write_json(folder / OWNER, {"pid": me.pid, "born": me.create_time()})
    film = folder / safe_name(wish.name)
    film.write_bytes(content)
    one = Explanation(folder, wish, film)
    one.job.start(wish.arguments(film, folder), where=None)
    return one


def _remove(one: Explanation) -> None:
    one.job.stop(patience=2)
    shutil.rmtree(one.folder, ignore_errors=True)


def remove_left_behind() -> None:
    """What an app that was killed has left: folders of this user whose app is no more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, psutil.Error):
            if hasattr(os, "getuid") and folder.lstat().st_uid != os.getuid():
                continue  # another's, who may have written the number of any process into it
            owner = json.loads((folder / OWNER).read_text(encoding="utf-8"))
            alive = psutil.pid_exists(owner["pid"]) and abs(
                psutil.Process(owner["pid"]).create_time() - owner["born"]) < 2  # fmt: skip
            if not alive and not folder.is_symlink():
                Job(folder / "job").stop(patience=2)
                shutil.rmtree(folder, ignore_errors=True)


def safe_name(name: str) -> str:
    """A file name like `name` in which nothing means anything, for a film in its own folder."""
    stem, dot, suffix = re.sub(r"[^A-Za-z0-9._-]", "_", Path(name.replace("\\", "/")).name).rpartition(".")
    if not dot:
        stem, suffix = suffix, ""
    return name_of(f"film_{stem}"[:80], f".{suffix[:10]}" if suffix else "")


def methods_known(seconds: float = 120) -> list[dict]:
    """What explains: method, help and presets (the default first) of each, igos_pp first.

    Asked of xray-debug in a process of its own, since the list takes torch to be loaded.
    """
    command = [*jobs.PROGRAM, "--json-lines", "methods"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=seconds,
                              env=environment(), stdin=subprocess.DEVNULL)  # fmt: skip
        rows = [row for row in map(json.loads, done.stdout.splitlines()) if "method" in row]
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ExplanationError(f"the methods cannot be listed: {error}") from error
    if not rows:
        words = shown(done.stderr.strip()[-300:] or "xray-debug said nothing")
        raise ExplanationError(f"the methods cannot be listed: {words}")
    return sorted(rows, key=lambda row: row["method"] != "igos_pp")


def classes_of(model: str) -> Sequence[str]:
    """The classes that a model's description names; none where there is none to be read."""
    place = Path(model)
    for file in (place / "model.json", place.parent / "model.json") if model else ():
        with contextlib.suppress(OSError, ValueError, TypeError):
            found = json.loads(file.read_text(encoding="utf-8"))["classes"]
            if isinstance(found, list) and all(isinstance(name, str) for name in found):
                return found
    return ()
