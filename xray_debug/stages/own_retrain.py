"""retrain of a given model: the user's own command trains it on the cleaned data, or nothing does."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from xray_debug.config import ConfigError, PipelineConfig
from xray_debug.data.files import write_json
from xray_debug.run.fingerprint import digest, named_files
from xray_debug.run.folder import RunError
from xray_debug.run.plugins import code_of_file, factory_code
from xray_debug.stages import own
from xray_debug.stages.base import Context

PLACES = ("data", "out", "seed")
LINES = 3  # of what a command said last


def check(config: PipelineConfig) -> None:
    """ConfigError for a command without a place for the data or the model."""
    command = config.retrain.command
    if command is None:
        return
    if not command:
        raise ConfigError("retrain.command: expected a command, got none")
    text = command if isinstance(command, str) else " ".join(command)
    lacking = [name for name in ("data", "out") if f"{{{name}}}" not in text]
    if lacking:
        raise ConfigError("retrain.command: expected {data} (the folder to train on) and {out} (the file to write) in "
                          f"it, {{{lacking[0]}}} is missing: {text}")  # fmt: skip
    if config.model.file is None and config.model.factory is None:
        raise ConfigError("retrain.command: expected a model of a file or a factory, got one given in Python")


def filled_in(command: Sequence[str] | str, values: dict[str, str]) -> list[str] | str:
    """The command with its places filled; quoted in a text, which a shell reads."""
    if isinstance(command, str):
        quote = (lambda text: subprocess.list2cmdline([text])) if os.name == "nt" else shlex.quote
        return _put(command, {name: quote(value) for name, value in values.items()})
    return [_put(part, values) for part in command]


def _put(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def command_files(config: PipelineConfig) -> dict[str, str]:
    """What the command is made of, name -> digest: the files that it names, and what its scripts import beside them."""
    told = config.retrain.command or []
    try:
        parts = shlex.split(told, posix=os.name != "nt") if isinstance(told, str) else told
    except ValueError:  # quotes of a shell's own
        parts = told.split()
    parts = [part.strip("\"';&|()") for part in parts]
    found = named_files({"retrain": {"command": parts}})
    for part in parts:
        if part.endswith(".py") and Path(part).is_file():
            found |= {f"{part}: {name}": value for name, value in code_of_file(Path(part)).items()}
    return found


def model_file(config: PipelineConfig, folder: Path) -> Path:
    """Where the command must leave its model: of the kind that the given one is."""
    return folder / f"model{Path(config.model.file).suffix if config.model.file else '.pt'}"


def train(context: Context, version: str, data: Path, folder: Path, seed: int, known: str) -> None:
    """Runs the command for one version of the data and one seed, unless it has been done for the same.

    RunError where it fails, leaves no model, or one that cannot be read as the given one was.
    """
    from xray_debug.models.checkpoint import save_own

    config, out = context.config, model_file(context.config, folder)
    code = factory_code(config.model.factory) if config.model.factory else {}
    key = digest([config.retrain.command, command_files(config), known, seed, config.model.model_dump(mode="json"),
                  code])  # fmt: skip
    mark = folder / "done.json"
    if mark.exists() and mark.read_text(encoding="utf-8").strip().strip('"') == key and out.is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for old in (mark, out):  # what an earlier command left is not this one's
        old.unlink(missing_ok=True)
    command = filled_in(config.retrain.command, {"data": str(data), "out": str(out), "seed": str(seed)})
    context.say(f"retrain, {version}, seed {seed}: {command if isinstance(command, str) else shlex.join(command)}")
    log = folder / "log.txt"
    with log.open("w", encoding="utf-8") as file:
        try:
            done = subprocess.run(command, shell=isinstance(command, str), stdout=file, stderr=subprocess.STDOUT,
                                  stdin=subprocess.DEVNULL, check=False)  # fmt: skip
        except OSError as error:
            raise RunError(f"retrain.command: cannot be started: {error.strerror or error}") from error
    if done.returncode:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-LINES:]
        raise RunError(f"retrain.command: status {done.returncode} on {data}: {' | '.join(said) or 'it said nothing'}")
    if not out.is_file():
        raise RunError(f"retrain.command: expected a model in {out}, as {{out}} says, found none")
    found = own.own_model(config, out)
    save_own(found, own.opened(found, config).classes, folder)
    write_json(mark, key)
