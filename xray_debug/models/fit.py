"""Training and prediction. What is best is chosen on val; test images never come here during training.

`fit` saves after every epoch and, called again after an interruption, goes on from there. Order, augmentation and
dropout of an epoch depend on the seed and the epoch alone, so that the interruption leaves no trace in the result.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from xray_debug.config import TrainConfig
from xray_debug.models import XrayClassifier, load_checkpoint, save_checkpoint
from xray_debug.models.weights import fill, read_state

Progress = Callable[[int, int], None]


class TrainingError(RuntimeError):
    """Training that cannot go on; the message is one sentence for the user."""


class FitResult(NamedTuple):
    """history: one row per epoch (epoch train_loss val_loss val_accuracy val_f1 learning_rate seconds)."""

    history: pd.DataFrame
    best_epoch: int
    seconds: float


def seed_everything(seed: int) -> None:
    """Seeds Python's, NumPy's and torch's global random states."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def to_batch(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 (N, S, S) -> float32 (N, 1, S, S) in [0, 1], a model's input."""
    batch = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return batch[:, None].float() / 255


def _check(images, labels: np.ndarray, classes: list[str], what: str) -> np.ndarray:
    """Labels as int64 (N,), after making sure that they go with `images` and `classes`."""
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


@torch.inference_mode()
def predict(model: XrayClassifier, images, batch_size: int = 64, progress: Progress | None = None) -> np.ndarray:
    """Class probabilities, float32 (N, K), of `images` uint8 (N, S, S); runs on the model's device.

    `images` is an array or anything with `len` and slicing. The model's mode is left as it was.
    """
    device = next(model.parameters()).device
    was_training, parts = model.training, []
    model.eval()
    try:
        for start in range(0, len(images), batch_size):
            batch = to_batch(images[start : start + batch_size], device)
            parts.append(model(batch).float().softmax(1).cpu().numpy())
            if progress:
                progress(min(start + batch_size, len(images)), len(images))
    finally:
        model.train(was_training)
    return np.concatenate(parts) if parts else np.empty((0, len(model.classes)), np.float32)


def _finish(model: XrayClassifier, folder: Path, fingerprint: str, seed: int) -> FitResult:
    """The best weights into `model` and the model folder; what only a resumption needs is removed."""
    from xray_debug.models.loop import BEST, HISTORY, LAST

    history = pd.read_csv(folder / HISTORY)
    best = int(history.loc[history["best"].to_numpy().nonzero()[0][-1], "epoch"])
    seconds = float(history["seconds"].sum())
    fill(model.net, read_state(folder / BEST), str(folder / BEST))
    model.eval()
    f1 = float(history.set_index("epoch").loc[best, "val_f1"])
    model.extra = {"fingerprint": fingerprint, "seed": seed, "best_epoch": best, "val_f1": f1, "seconds": seconds}
    save_checkpoint(model, folder, **model.extra)
    for name in (LAST, BEST):
        (folder / name).unlink(missing_ok=True)
    return FitResult(history, best, seconds)


def _already_done(model: XrayClassifier, folder: Path, fingerprint: str) -> FitResult | None:
    """The result of an earlier call with the very same task, whose weights go into `model`."""
    from xray_debug.models.loop import HISTORY

    try:
        saved, history = load_checkpoint(folder), pd.read_csv(folder / HISTORY)
    except (ValueError, OSError):
        return None
    if saved.extra.get("fingerprint") != fingerprint:
        return None
    model.net.load_state_dict(saved.net.state_dict())
    model.extra = saved.extra
    model.eval()
    return FitResult(history, saved.extra["best_epoch"], saved.extra["seconds"])


def fit(
    model: XrayClassifier,
    images,
    labels: np.ndarray,
    val_images,
    val_labels: np.ndarray,
    config: TrainConfig,
    folder: str | os.PathLike,
    seed: int,
    progress: Progress | None = None,
) -> FitResult:
    """Trains `model` and leaves it with the weights of the epoch that was best on val, in eval mode.

    Args:
        model: changed in place.
        images, val_images: uint8 (N, S, S), an array (memory-mapped or not) or anything with `len`, `shape` and
            indexing by an index array and a slice.
        labels, val_labels: (N,) class indices; every class must occur in `labels`.
        config: best is the highest macro-F1 on val, among equals the lowest loss.
        folder: gets model.safetensors, model.json and history.csv; while training also last.ckpt, from which a
            later call with the same arguments goes on. A finished folder of the same arguments is loaded.
        seed: of order, augmentation and dropout. The global random state is left as it was.
        progress: called with (epochs done, epochs at most).

    Raises:
        ValueError: images and labels that do not fit.
        TrainingError: the loss stopped being finite.
    """
    from xray_debug.models.loop import Job, run  # Lightning takes seconds to import

    folder = Path(folder)
    labels = _check(images, labels, model.classes, "training")
    val_labels = _check(val_images, val_labels, model.classes, "val")
    absent = [name for i, name in enumerate(model.classes) if i not in labels]
    if absent:
        raise ValueError(f"training labels: expected images of every class, got none of {', '.join(absent)}")
    folder.mkdir(parents=True, exist_ok=True)
    job = Job(model, images, labels, val_images, val_labels, config, folder, seed)
    done = _already_done(model, folder, job.fingerprint)
    if done is None:
        (folder / "model.json").unlink(missing_ok=True)  # no half-new model folder after an interruption
        run(job, progress)
        done = _finish(model, folder, job.fingerprint, seed)
    if progress:
        progress(config.epochs, config.epochs)
    return done
