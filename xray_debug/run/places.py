"""Where results may be written: never on, in or around what is read, and nowhere that holds something else."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from xray_debug.config import PipelineConfig
from xray_debug.run.fingerprint import is_path
from xray_debug.run.folder import MAKER, RECORD, RunError, read_json
from xray_debug.run.store import DATA_FILE


def absolute_paths(config: PipelineConfig) -> dict[str, Path]:
    """Makes the paths in `config` absolute, so that they hold wherever the run goes on; option -> what is read there.

    The free options of models, methods and detectors are texts of any kind: those that name what is there are paths.
    """
    config.data, config.audit.regions, config.detect.weights = (
        path and os.path.abspath(path) for path in (config.data, config.audit.regions, config.detect.weights))
    config.prepare.images = config.prepare.images and os.path.abspath(config.prepare.images)
    found = {"audit.regions": config.audit.regions, "detect.weights": config.detect.weights}
    if config.model is not None:
        found["model.file"] = config.model.file = config.model.file and os.path.abspath(config.model.file)
        config.model.factory = config.model.factory and _absolute_factory(config.model.factory)
    if isinstance(config.retrain.command, list):
        config.retrain.command = [os.path.abspath(part) if is_path(part) else part for part in config.retrain.command]
    for section, part, options in (("train", config.train, "model_options"), ("explain", config.explain, "options"),
                                   ("detect", config.detect, "options")):  # fmt: skip
        values = getattr(part, options)
        paths = {name: os.path.abspath(value) for name, value in values.items() if is_path(value)}
        setattr(part, options, values | paths)
        found |= {f"{section}.{options}.{name}": path for name, path in paths.items()}
    return {option: Path(path) for option, path in found.items() if path}


def _absolute_factory(text: str) -> str:
    """FILE.py:function with the file's whole path; module:function as it is."""
    module, sign, function = text.rpartition(":")
    return f"{os.path.abspath(module)}:{function}" if sign and module.endswith(".py") else text


def check_place(out: Path, data: Path | None, stages: Sequence[str], others: Mapping[str, Path] | None = None) -> None:
    """RunError where `out` cannot be a run folder without harm to something; nothing is touched.

    It must be new, empty or a run folder; `data` and `out` lie apart, links followed, but for a table that the run
    itself keeps; `others` (option -> file or folder that is read) lie in no folder of a stage, since that is replaced.
    """
    if data is not None and os.path.abspath(data) != os.path.abspath(out / DATA_FILE):
        for inner in (data, *_links(data)):
            if _inside(out, inner) or _inside(inner, out):
                raise RunError(f"--out {out}: lies on, in or around the dataset {inner}; choose a folder apart from it")
    for option, path in (others or {}).items():
        for stage in (*stages, ".work"):
            if _inside(path, out / stage):
                raise RunError(f"{option}: {path} lies in a folder that a stage of {out} replaces; copy it elsewhere")
    check_no_stage(out)
    if out.exists() and not out.is_dir():
        raise RunError(f"--out {out}: expected a folder, found a file")
    if out.is_dir() and not is_run(out, stages) and any(out.iterdir()):
        raise RunError(f"--out {out}: is neither empty nor a run folder; choose another --out")


def check_no_stage(out: Path) -> None:
    """RunError where `out` is, or lies in, a folder that a stage of some run replaces."""
    real = Path(os.path.realpath(out))
    for folder in (real, *real.parents):
        working = folder.name == ".work" and is_run(folder.parent, ())
        if working or _record(folder).get("made_by") == MAKER:
            raise RunError(f"--out {out}: lies in {folder}, which a stage replaces; choose a folder outside it")


def is_run(folder: Path, stages: Sequence[str]) -> bool:
    """Whether xray-debug has worked in this folder before."""
    if (folder / ".work").is_dir():
        return True
    return any(_record(folder / stage).get("made_by") == MAKER for stage in stages)


def _record(folder: Path) -> dict:
    """The stage.json in a folder; {} where there is none that is to be understood."""
    with contextlib.suppress(RunError):
        return read_json(folder / RECORD, {})
    return {}


def _links(root: Path) -> Iterator[Path]:
    """Where links to folders lead, of those in `root` and one folder below."""
    for folder in (root, *_folders(root)):
        for path in _folders(folder):
            if path.is_symlink():
                yield path


def _folders(root: Path) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(root) as found:
        return [Path(entry.path) for entry in found if entry.is_dir()]
    return []


def _inside(path: Path, folder: Path) -> bool:
    """Whether `path` is `folder` or lies in it, links followed, also where the file system knows no capitals."""
    path, folder = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    if folder in (path, *path.parents):
        return True
    if not folder.exists():
        return False
    return any(os.path.samefile(above, folder) for above in (path, *path.parents) if above.exists())
