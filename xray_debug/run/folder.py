"""Run folders: fingerprints, complete-or-absent stages, resume, locks.

A run is a folder with one sub-folder per stage. `stage.json` is written last, so a stage is complete or
absent; until then `.partial.json` remembers for which fingerprint the work inside was begun, so that a killed
stage goes on where it stopped, and starts afresh when its inputs have changed meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

PACKAGES = ("xray-debug", "torch", "torchvision", "opencv-python", "lightning", "numpy", "pandas", "scikit-learn")


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message is one sentence for the user."""


def digest(value: Any) -> str:
    """sha256 (16 hex digits) of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def code_digest(modules: Iterable[str]) -> str:
    """sha256 of the sources of the package's `modules`: "audit" is audit.py, audit_*.py and the folder audit/."""
    root, total = Path(__file__).parent, hashlib.sha256()
    for name in sorted(modules):
        files = [root / f"{name}.py", *root.glob(f"{name}_*.py"), *(root / name).rglob("*")]
        for file in sorted(files):
            if file.is_file() and file.suffix in {".py", ".safetensors", ".json", ".html"}:
                total.update(file.name.encode() + b"\0" + file.read_bytes())
    return total.hexdigest()[:16]


def folder_digest(root: Path) -> str:
    """Names, sizes and times of all files below `root`: changes when a dataset does, without reading it."""
    rows = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            with contextlib.suppress(OSError):
                facts = path.stat()
                rows.append((str(path.relative_to(root)), facts.st_size, facts.st_mtime_ns))
    return digest(sorted(rows))


def write_json(path: Path, value: Any) -> None:
    """Strict JSON, written whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=1, default=str, allow_nan=False), encoding="utf-8")
    os.replace(temporary, path)


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise RunError(f"{path}: expected a readable JSON file, {error}") from error


def _reset_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: sets the high-water mark back


def peak_memory_mb() -> float:
    """Peak resident memory in MiB since the last reset (where the system lets it be reset), largest child included."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        own = int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    scale = 1024 if sys.platform != "darwin" else 1024 * 1024
    return round((own + children) / scale, 1)


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


@dataclass(frozen=True)
class Fingerprint:
    """What a stage depends on, kept in parts so that a change can be named."""

    inputs: dict[str, str]
    parameters: dict[str, Any]
    code: str

    @property
    def key(self) -> str:
        return digest([self.inputs, self.parameters, self.code])

    def difference(self, recorded: dict) -> str:
        """Why the recorded stage does not fit: "" when it does."""
        if recorded.get("fingerprint") == self.key:
            return ""
        changed = [f"input {k}" for k, v in self.inputs.items() if recorded.get("inputs", {}).get(k) != v]
        old = recorded.get("parameters", {})
        changed += [f"option {k}" for k in _changed(old, json.loads(json.dumps(self.parameters, default=str)))]
        if recorded.get("code") != self.code:
            changed.append("code")
        return ", ".join(changed) + " changed" if changed else "fingerprint changed"


def _changed(old: Any, new: Any, prefix: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        return [name for k in keys for name in _changed(old.get(k), new.get(k), f"{prefix}.{k}" if prefix else str(k))]
    return [] if old == new else [prefix]


class Run:
    """A run folder. Use `with run.locked():` around anything that writes."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def path(self, *parts: str) -> Path:
        return self.folder.joinpath(*parts)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One writer at a time; the lock goes with the process, also when it is killed."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.folder}: cannot be made a run folder: {error.strerror}") from error
        lock = FileLock(self.path(".lock"), timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise RunError(f"{self.folder}: another xray-debug is working in this run folder") from error
        try:
            yield
        finally:
            lock.release()

    def record(self, stage: str) -> dict | None:
        """The stage's stage.json, or None while it is absent."""
        file = self.path(stage, "stage.json")
        return read_json(file) if file.exists() else None

    def require(self, stage: str, needed_by: str) -> dict:
        found = self.record(stage)
        if found is None:
            raise RunError(f"{self.folder}: stage {needed_by} needs stage {stage}, which is not complete")
        return found

    def reason_to_run(self, stage: str, fingerprint: Fingerprint) -> str:
        """Why the stage must run, "" when what is there still holds."""
        found = self.record(stage)
        if found is not None:
            return fingerprint.difference(found)
        partial = self.path(stage, ".partial.json")
        if partial.exists() and read_json(partial).get("fingerprint") == fingerprint.key:
            return "interrupted, goes on where it stopped"
        return "not yet run"

    @contextlib.contextmanager
    def stage(self, name: str, fingerprint: Fingerprint, seed: int, device: str, fresh: bool = False) -> Iterator[Path]:
        """The stage's folder to write into; completed by stage.json when the block ends without an error."""
        folder, partial = self.path(name), self.path(name, ".partial.json")
        keeps = not fresh and partial.exists() and read_json(partial).get("fingerprint") == fingerprint.key
        if folder.exists() and not keeps:
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        before = read_json(partial).get("seconds", 0.0) if keeps else 0.0
        write_json(partial, {"fingerprint": fingerprint.key, "seconds": before})
        _reset_peak()
        start = time.perf_counter()
        try:
            yield folder
        except BaseException:
            spent = before + time.perf_counter() - start
            with contextlib.suppress(OSError):
                write_json(partial, {"fingerprint": fingerprint.key, "seconds": spent})
            raise
        write_json(
            folder / "stage.json",
            {
                "stage": name,
                "fingerprint": fingerprint.key,
                "inputs": fingerprint.inputs,
                "parameters": fingerprint.parameters,
                "code": fingerprint.code,
                "seed": seed,
                "device": device,
                "versions": versions(),
                "seconds": round(before + time.perf_counter() - start, 2),
                "peak_memory_mb": peak_memory_mb(),
                "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            },
        )
        partial.unlink(missing_ok=True)
