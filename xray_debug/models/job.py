"""What one training is made of: its data, its key, the files it leaves; and the error of one that cannot go on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from xray_debug.config import TrainConfig
from xray_debug.data.files import atomic_write, write_json
from xray_debug.data.view import ModelView
from xray_debug.data.views import Views
from xray_debug.models.build import build_model
from xray_debug.models.classifier import XrayClassifier

HISTORY, LAST, JOB, ROWS = "history.csv", "last.ckpt", "job.json", "job.npz"
MEMORY = 2**31  # bytes of images held by a training
# how a training is carried out, not what it is to do
HOW = {"accelerator", "devices", "nodes", "workers"}


class TrainingError(RuntimeError):
    """Training that cannot go on; the message is one sentence for the user."""


@dataclass(frozen=True)
class Data:
    """uint8 (N, S, S) and class indices (N,), to learn from and to choose the best epoch by.

    For a repair (models/repairs): `groups` and `val_groups`, codes (N,) of groups of images; `marked`, the images with
    their text where `images` are without.

    Images are arrays (memory-mapped or not) or anything with `len`, `shape` and indexing by an index array and a slice.
    """

    images: np.ndarray
    labels: np.ndarray
    val_images: np.ndarray
    val_labels: np.ndarray
    groups: np.ndarray | None = None
    val_groups: np.ndarray | None = None
    marked: np.ndarray | None = None

    def checked(self, classes: list[str]) -> Data:
        """With labels as int64; ValueError where images, labels and classes do not go together."""
        for what, codes, own in (("", self.groups, self.labels), ("val_", self.val_groups, self.val_labels)):
            if codes is not None and (np.shape(codes) != np.shape(own) or np.asarray(codes).dtype.kind not in "iu"):
                raise ValueError(f"{what}groups: expected {len(own)} whole numbers, one per image, got "
                                 f"{np.asarray(codes).dtype} {np.shape(codes)}")  # fmt: skip
        labels = _labels(self.images, self.labels, classes, "training")
        val_labels = _labels(self.val_images, self.val_labels, classes, "val")
        absent = [name for i, name in enumerate(classes) if i not in labels]
        if absent:
            raise ValueError(f"training labels: expected images of every class, got none of {', '.join(absent)}")
        return replace(self, labels=labels, val_labels=val_labels)


def _labels(images, labels: np.ndarray, classes: list[str], what: str) -> np.ndarray:
    labels = np.asarray(labels)
    if len(images.shape) != 3 or images.shape[1] != images.shape[2]:
        raise ValueError(f"{what} images: expected shape (N, S, S), got {tuple(images.shape)}")
    if labels.ndim != 1 or len(labels) != len(images):
        raise ValueError(f"{what} labels: expected {len(images)}, one per image, got shape {labels.shape}")
    if not len(labels):
        raise ValueError(f"{what} images: expected at least one, got none")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"{what} labels: expected class indices 0 to {len(classes) - 1}, got {np.unique(labels)[:5]}")
    return labels.astype(np.int64)


def digest_of(images, block: int = 256) -> str:
    """blake2b of the pixels, all of them, read in blocks."""
    digest = hashlib.blake2b(repr(tuple(images.shape)).encode(), digest_size=32)
    for start in range(0, len(images), block):
        digest.update(np.ascontiguousarray(images[start : start + block]))
    return digest.hexdigest()


def training_key(
    network: list, data: Data, config: TrainConfig, seed: int, images_digest: str = "", code: str = "",
    repair: str = "",
) -> str:  # fmt: skip
    """sha256 of what decides the result of a training.

    `network` is its name, classes, view and options. The key says nothing of how the training is carried out (HOW), nor
    of what a machine adds in the last digits (threads, what `precision: auto` comes to). `images_digest` stands for the
    images where the caller has one already; the images' bytes are hashed else.
    """
    settings = config.model_dump(mode="json", exclude=HOW | {"model", "model_options", "view"})
    images = images_digest or [digest_of(data.images), digest_of(data.val_images)]
    if not images_digest and data.marked is not None:
        images.append(digest_of(data.marked))
    identity = [*network, settings, seed, images, code, repair]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode())
    for codes in (data.labels, data.val_labels, data.groups, data.val_groups):
        if codes is not None:
            digest.update(np.asarray(codes, np.int64).tobytes())
    return digest.hexdigest()


def _held(views: Views, rows: np.ndarray) -> np.ndarray | Views:
    """The chosen images in memory, where they are not too many for it; else read when they are asked for."""
    chosen = views.rows(rows)
    return chosen[:] if np.prod(chosen.shape) <= MEMORY else chosen


@dataclass(frozen=True)
class FitJob:
    """One training as plain data, so that another process can do it.

    images         what the model sees of every image, in files
    train, val     rows of it, (n,) each;  labels, val_labels: their class indices
    classes        names, in the order of the indices
    config         network, view, options
    seed           of the weights to start from, of order, augmentation and dropout
    folder         gets the model
    images_digest  of all the file's contents, where the caller knows it: nothing is hashed then
    code           digest of the code that trains; a folder trained by other code is not taken for finished
    repair         name of the repair that takes part in the training; groups, val_groups and marked, what it needs, are
                   those of Data; marked has a row for each of train
    """

    images: Views
    train: np.ndarray
    labels: np.ndarray
    val: np.ndarray
    val_labels: np.ndarray
    classes: list[str]
    config: TrainConfig
    seed: int
    folder: Path
    images_digest: str = ""
    code: str = ""
    repair: str = ""
    groups: np.ndarray | None = None
    val_groups: np.ndarray | None = None
    marked: Views | None = None

    def model(self) -> XrayClassifier:
        """The network before training, the same for the same seed."""
        config, view = self.config, ModelView.from_config(self.config.view)
        return build_model(config.model, self.classes, view, config.pretrained, self.seed, **config.model_options)

    @property
    def data(self) -> Data:
        """What is learned from; images are read when they are asked for."""
        return Data(self.images.rows(self.train), self.labels, self.images.rows(self.val), self.val_labels, self.groups,
                    self.val_groups, self.marked)  # fmt: skip

    @property
    def held(self) -> Data:
        """The same with the images in memory, where they are not too many for it."""
        marked = None if self.marked is None else _held(self.marked, np.arange(len(self.marked)))
        return Data(_held(self.images, self.train), self.labels, _held(self.images, self.val), self.val_labels,
                    self.groups, self.val_groups, marked)  # fmt: skip

    @cached_property
    def key(self) -> str:
        """See training_key."""
        digest = self.images_digest
        if digest:
            rows = self.images.numbers[np.concatenate([self.train, self.val])]
            rows = rows if self.marked is None else np.append(rows, self.marked.numbers)
            digest += hashlib.sha256(rows.astype(np.int64).tobytes()).hexdigest()
        view = vars(ModelView.from_config(self.config.view))
        network = [self.config.model, self.classes, view, self.config.model_options]
        return training_key(network, self.data, self.config, self.seed, digest, self.code, self.repair)


@dataclass(frozen=True)
class How:
    """What is decided once for all trainings of a run, so that they are alike: Lightning's precision, CPU threads."""

    precision: str
    threads: int


def write_begun(folder: Path, key: str, how: How, job: FitJob | None = None) -> None:
    """The folder of a training that begins: an older model goes; job.json and job.npz say what is to be done."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").unlink(missing_ok=True)  # no half-new model folder after an interruption
    stored: dict = {"key": key, "how": vars(how)}
    if job is not None:
        places = job.images.numbers
        rows = {"train": places[job.train], "labels": job.labels, "val": places[job.val], "val_labels": job.val_labels}
        rows |= {} if job.groups is None else {"groups": job.groups, "val_groups": job.val_groups}
        if job.marked is not None:
            rows["marked"] = job.marked.numbers
        atomic_write(folder / ROWS, lambda file: np.savez(file, **rows), sync=True)
        config = job.config.model_dump(mode="json")
        stored["job"] = {"images": list(job.images.files), "classes": job.classes, "config": config, "seed": job.seed,
                         "repair": job.repair, "marked": list(job.marked.files if job.marked else ())}  # fmt: skip
    write_json(folder / JOB, stored)


def read_begun(folder: Path, key: str) -> How | None:
    """How an interrupted training in `folder` was begun, where it has this key."""
    try:
        stored = json.loads((folder / JOB).read_text(encoding="utf-8"))
        return How(**stored["how"]) if stored["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_job(folder: Path) -> tuple[FitJob, str, How]:
    """The job that write_begun wrote, its key, and how it is done."""
    stored = json.loads((folder / JOB).read_text(encoding="utf-8"))
    with np.load(folder / ROWS, allow_pickle=False) as file:
        rows = {name: file[name] for name in file.files}
    plain = stored["job"]
    plain |= {"images": Views(plain["images"]), "config": TrainConfig(**plain["config"]), "folder": folder}
    files = plain.pop("marked")
    if "marked" in rows:
        rows["marked"] = Views(files).rows(rows["marked"])
    return FitJob(**plain, **rows), stored["key"], How(**stored["how"])
