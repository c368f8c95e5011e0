"""detect, clean and explain of a folder of images, without a run: the stages' own workers, and parts until all is done.

What is made lies where the user says; parts lie beside it in a hidden folder, so that the same command goes on.
"""

from __future__ import annotations

import contextlib
import glob
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from xray_debug.config import ConfigError, PipelineConfig
from xray_debug.data.files import file_sha256, name_of, private, write_text
from xray_debug.data.formats.places import Walk
from xray_debug.run.engine import Engine, TableRows
from xray_debug.run.fingerprint import contents_digest, digest
from xray_debug.run.folder import RunError

MOST = 64
BOXES = ["image_id", "kind", "x0", "y0", "x1", "y1", "score", "detector"]
EXPLANATIONS = ["image_id", "target", "probability", "method", "mask_size", "deletion", "insertion", "objective",
                "picture"]  # fmt: skip
CHANGES_FILE, EXPLANATIONS_FILE = "changes.csv", "explanations.csv"


@dataclass
class Job:
    """Images below `source` (a folder, or one file), what is made in `out`, and who does the work."""

    source: Path
    out: Path
    config: PipelineConfig
    engine: Engine
    say: Callable[[str], None]

    def images(self) -> pd.DataFrame:
        """image_id (the path below the folder), file and sha256 of each, sorted by name."""
        if not self.source.exists():
            raise ConfigError(f"{self.source}: expected a folder of images, found nothing")
        root = self.source if self.source.is_dir() else self.source.parent
        if self.source.is_dir():
            walk = Walk(root)
            for link in walk.outside:
                self.say(f"{root / link}: a link that leads out of the folder, left out")
            names = walk.images
        else:
            names = [self.source.name]
        if not names:
            raise ConfigError(f"{self.source}: expected a folder of images, found none in it")
        files = [root / name for name in names]
        known = [_sha256(file) for file in files]
        return pd.DataFrame({"image_id": names, "file": [str(file) for file in files], "sha256": known})

    def check_place(self) -> None:
        """ConfigError where the result would lie among the images."""
        root = (self.source if self.source.is_dir() else self.source.parent).resolve()
        place = self.out.resolve()
        among = place == root or (self.source.is_dir() and (root in place.parents or place in root.parents))
        if among:
            raise ConfigError(f"--out {self.out}: lies in or around {self.source}, expected a place beside the images")

    def check_new(self, scratch: Path) -> None:
        """ConfigError where `out` is there and was not begun by this very job; what is gone begins anew."""
        begun = scratch / "begun"
        if begun.exists() and not self.out.exists():
            for path in [path for path in scratch.iterdir() if path.name != "lock"]:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not begun.exists():
            self.check_empty(begun=False)
        begun.touch()

    def check_empty(self, begun: bool | None = None) -> None:
        """ConfigError where `out` is there with something in it and no job of this place was `begun` (None: look)."""
        if begun is None:
            begun = any(self.out.parent.glob(f".{glob.escape(self.out.name[:60])}.*.parts"))
        if not begun and self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise ConfigError(f"--out {self.out}: is there already, expected a new or empty folder")

    def check_whole(self, names: Iterable[str]) -> None:
        """RunError where a file that was written is gone: taken away while the command was stopped."""
        gone = [name for name in names if not (self.out / name).is_file()]
        if gone:
            raise RunError(f"{self.out / gone[0]}: was written and is gone ({len(gone)} such files); remove {self.out} "
                           "and give the command again")  # fmt: skip

    @contextlib.contextmanager
    def scratch(self, key: object) -> Iterator[Path]:
        """The hidden folder of parts beside `out`, of this very job; gone once it is done."""
        folder = self.out.with_name(f".{self.out.name[:60]}.{digest(key)[:12]}.parts")
        with private():
            folder.mkdir(parents=True, exist_ok=True)
            try:
                with FileLock(folder / "lock", timeout=0):
                    yield folder
            except Timeout as error:
                raise ConfigError(f"{self.out}: another command is making it") from error
            shutil.rmtree(folder)


def _state(model: Path) -> str:
    """What tells one state of a model's file, or folder of files, from another."""
    return contents_digest(sorted(file for file in model.iterdir() if file.is_file()) if model.is_dir() else [model])


def _sha256(file: Path) -> str:
    try:
        return file_sha256(file)
    except OSError:
        return ""  # the worker tells what is wrong with it


# ------------------------------------------------------------------------------------------------------- detect


def detect_images(job: Job) -> None:
    """A CSV of boxes: image_id kind x0 y0 x1 y1 score detector. Images that cannot be read are named."""
    from xray_debug.stages.detect import found_words

    if job.out.suffix.lower() != ".csv":
        raise ConfigError(f"--out {job.out}: expected a file name ending in .csv")
    job.check_place()
    if job.out.is_symlink() or job.out.exists():  # it may have been corrected by hand
        raise ConfigError(f"--out {job.out}: is there already; choose another name, or remove it")
    images = job.images()
    with job.scratch([job.config.detect.model_dump(), images[["image_id", "sha256"]].to_dict("list")]) as folder:
        table, unread = _boxes(job, images, folder)
        _write_csv(job.out, table[BOXES])
    for sentence in found_words(table, len(images) - len(unread)):
        job.say(f"{job.out}: {sentence}")
    if unread:
        job.say(f"{job.out}: {len(unread)} of {len(images)} images could not be read; no row is about them")


def _boxes(job: Job, images: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """(table of boxes, image_id -> why nothing could be looked for in it)."""
    from xray_debug.stages.readers import decided_options
    from xray_debug.text import DetectWorker, boxes_table

    settings = job.config.detect
    options = decided_options(folder / "options.json", settings.detector, settings.options)
    worker = DetectWorker(settings.detector, settings.weights, options, settings.batch_size)
    parts = job.engine.run(worker, TableRows(images), folder / "boxes", "detect text", most=MOST)
    unread = {row["image_id"]: row["problem"] for row in parts.rows(["image_id", "problem"]) if row["problem"]}
    return boxes_table(parts.rows(), settings.detector), unread


# -------------------------------------------------------------------------------------------------------- clean


def clean_images(job: Job, boxes: Path | None) -> None:
    """The images with their boxes erased, in the same folders, and changes.csv; those without boxes as copies."""
    from xray_debug.cleaning.dataset import finish, plan_rows
    from xray_debug.cleaning.worker import CleanWorker
    from xray_debug.data.formats.layout import Layout
    from xray_debug.run.store import split_boxes
    from xray_debug.stages.letters import check_keep, letters_of

    check_keep(job.config)
    if not job.source.is_dir():
        raise ConfigError(f"{job.source}: expected a folder of images, found "
                          f"{'a file' if job.source.exists() else 'nothing'}")  # fmt: skip
    job.check_place()
    job.check_empty()
    images, settings = job.images(), job.config.clean
    table = _given_boxes(boxes, images) if boxes is not None else None
    where = job.config.detect.model_dump() if table is None else table.astype(str).to_dict("list")
    key = [settings.model_dump(), images[["image_id", "sha256"]].to_dict("list"), where]
    with job.scratch(key) as folder:
        job.check_new(folder)
        unread: dict[str, str] = {}
        if table is None:
            table, unread = _boxes(job, images, folder)
        given, keep = _of_kinds(table, settings.kinds, job.say), {}
        if settings.keep and "text" in settings.kinds:  # of text alone: a device is no letter, and not text beside one
            letters = letters_of(job.engine, images, _of_kinds(table, ["text"]), folder / "letters")
            job.say(f"{len(letters)} laterality letters in {letters['image_id'].nunique()} images stay (clean.keep)")
            keep = split_boxes(letters)
        manifest = images.assign(path=images["image_id"], patient_id="", label="", source="", split="", test_set="")
        layout = Layout(_AsItLies())
        plan = plan_rows(manifest, job.source, given, settings, outs=[job.out], unread=unread, probe_images=0,
                         layout=layout, keep=keep)  # fmt: skip
        worker = CleanWorker(settings.model_dump(), 0, str(job.out))
        parts = job.engine.run(worker, TableRows(plan), folder / "cleaned", "write the cleaned images", most=MOST)
        changes = finish(plan, parts.table(), job.out, layout=layout)
        files = parts.table()["file"].fillna("")
        folders = plan["folder"].where(plan["folder"] == "", plan["folder"] + "/")
        job.check_whole((folders + files)[files != ""])
        changes["file"] = changes["image_id"].map(dict(zip(plan["image_id"], folders, strict=True))) + changes["file"]
        columns = ["image_id", "file", "boxes", "original_sha256", "cleaned_sha256", "area_share", "note"]
        _write_csv(job.out / CHANGES_FILE, changes[columns])
    job.say(f"{job.out}: {len(changes)} of {len(images)} images changed, the log is {job.out / CHANGES_FILE}")
    failed = json.loads((job.out / "cleaning.json").read_text(encoding="utf-8"))["failed"]
    if failed:
        job.say(f"{job.out}: {len(failed)} of {len(images)} images could not be cleaned, cleaning.json says why")


class _AsItLies:
    """A layout without labels: each image where it lay."""

    def place(self, row) -> str:
        return row["path"]

    def write_back(self, out, data, config, frame) -> None:
        pass


def _given_boxes(file: Path, images: pd.DataFrame) -> pd.DataFrame:
    """A table's boxes, text where their `kind` is empty; ConfigError for an unknown image."""
    from xray_debug.data.box_table import read_box_table

    found = read_box_table(file)
    if "kind" in found:
        found["kind"] = found["kind"].fillna("").replace("", "text")
    unknown = sorted(set(found["image_id"]) - set(images["image_id"]))
    if unknown:
        raise ConfigError(f"{file}: {unknown[0]} is no image there ({len(unknown)} such names); image_id is the path "
                          "below the folder, as detect writes it")  # fmt: skip
    return found


def _of_kinds(found: pd.DataFrame, kinds: Sequence[str], say: Callable[[str], None] = lambda sentence: None) -> dict:
    """image_id -> boxes of a table, of these kinds where it has a column `kind`; a kind it has no box of is said."""
    if "kind" in found:
        there = sorted(set(found["kind"]))
        for kind in kinds:
            if kind not in there and (there or kind != "text"):
                others = f", only of {', '.join(there)}" if there else ""
                say(f"clean.kinds: no box of kind {kind} was found{others}")
        found = found[found["kind"].isin(kinds)]
    return {name: own[["x0", "y0", "x1", "y1"]].to_numpy() for name, own in found.groupby("image_id")}


# ------------------------------------------------------------------------------------------------------ explain


def explain_loose(
    job: Job, model: Path, method: str, preset: str | None, target: str | None, trusted: bool = False
) -> None:
    """A picture of each image (film, map, overlay, curves) and explanations.csv, in the folder `out`.

    `trusted`: a model that is a program (TorchScript, .pt2, a factory) may be run.
    """
    from xray_debug.models.pictures import PictureWorker

    job.check_place()
    job.check_empty()
    images, settings = job.images(), job.config.explain
    rows = images.assign(picture=[str(job.out / name) for name in _picture_names(images["image_id"])])
    worker = PictureWorker(str(model), method, preset, target, settings.mask_size, job.config.seed, trusted)
    worker.open()  # a wrong model, class or method is told before anything begins
    key = [_state(model), method, preset, target, settings.mask_size, images[["image_id", "sha256"]].to_dict("list")]
    with job.scratch(key) as folder:
        job.check_new(folder)
        job.out.mkdir(parents=True, exist_ok=True)
        parts = job.engine.run(worker, TableRows(rows), folder / "maps", "explain", most=16)
        table = parts.table()
        good = table[table["problem"] == ""].reindex(columns=EXPLANATIONS)
        job.check_whole(good["picture"])
        _write_csv(job.out / EXPLANATIONS_FILE, good)
    job.say(f"{job.out}: {len(good)} of {len(images)} images explained, the table is {job.out / EXPLANATIONS_FILE}")


def _picture_names(names: Sequence[str]) -> list[str]:
    """A file name for each image, without its folders, each once whatever the capitals."""
    taken: set[str] = set()
    found = []
    for name in names:
        stem, number = name.replace("/", "_").rpartition(".")[0] or name.replace("/", "_"), 1
        picture = name_of(stem, ".explained.png")
        while picture.casefold() in taken:
            number += 1
            picture = name_of(stem, f"_{number}.explained.png")
        taken.add(picture.casefold())
        found.append(picture)
    return found


# -------------------------------------------------------------------------------------------------------- files


def _write_csv(file: Path, table: pd.DataFrame) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, table.to_csv(index=False, lineterminator="\n"))
