"""The Lightning side of training: batches, one module, resumption. `training.fit` is the way in."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import lightning
import numpy as np
import pandas as pd
import torch
from sklearn.metrics import f1_score
from torch import Tensor
from torch.nn import functional as F

from xray_debug.config import TrainConfig
from xray_debug.models import XrayClassifier
from xray_debug.models.augment import augment
from xray_debug.models.checkpoint import save_weights
from xray_debug.models.fit import TrainingError

LAST, BEST, HISTORY = "last.ckpt", "best.safetensors", "history.csv"


@dataclass
class Job:
    """Everything one training needs; see `training.fit`."""

    model: XrayClassifier
    images: np.ndarray
    labels: np.ndarray
    val_images: np.ndarray
    val_labels: np.ndarray
    config: TrainConfig
    folder: Path
    seed: int

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of what decides the result. Of the images, 64 of each split stand for all."""
        model = self.model
        settings = self.config.model_dump(mode="json", exclude={"accelerator", "devices", "workers"})
        identity = [model.name, model.classes, vars(model.view), model.options, settings, self.seed]
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode())
        for images, labels in ((self.images, self.labels), (self.val_images, self.val_labels)):
            digest.update(labels.tobytes())
            some = np.unique(np.linspace(0, len(images) - 1, 64).astype(int))
            digest.update(np.ascontiguousarray(images[some]).tobytes())
        return digest.hexdigest()


class Batches:
    """Iterates over one epoch's batches (uint8 (B, S, S), int64 (B,)) of images held as one array.

    The order depends on the seed and the epoch. Batches differ in size by at most one, so that none has a single
    image (batch normalisation cannot do with one). Under distributed training each process gets its share.
    """

    def __init__(self, images, labels: np.ndarray, size: int, epoch: Callable[[], int], balance: str, seed: int | None):
        self.images, self.labels, self.size, self.epoch = images, labels, size, epoch
        self.balance, self.seed = balance, seed

    def order(self, epoch: int) -> np.ndarray:
        """Indices of the images of `epoch`, in order; without a seed, all of them as they come."""
        n = len(self.labels)
        if self.seed is None:
            return np.arange(n)
        rng = np.random.default_rng([self.seed, epoch])
        if self.balance == "sampler":
            share = 1 / np.bincount(self.labels)[self.labels]
            return rng.choice(n, n, p=share / share.sum())
        return rng.permutation(n)

    def _share(self, order: np.ndarray) -> np.ndarray:
        if self.seed is None or not torch.distributed.is_initialized():
            return order
        world, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
        return np.resize(order, math.ceil(len(order) / world) * world)[rank::world]

    def __len__(self) -> int:
        return math.ceil(len(self._share(np.arange(len(self.labels)))) / self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in np.array_split(self._share(self.order(self.epoch())), len(self)):
            images = np.ascontiguousarray(self.images[rows])
            yield torch.from_numpy(images), torch.from_numpy(self.labels[rows])


class Task(lightning.LightningModule):
    """Adam, a halving of the rate on plateaus, best weights by macro-F1 on val, a checkpoint after every epoch.

    What is scored on val and kept is a running average of the weights, which varies far less from epoch to epoch
    than the weights themselves.
    """

    def __init__(self, job: Job, progress: Callable[[int, int], None] | None):
        super().__init__()
        self.job, self.progress, self.model = job, progress, job.model
        self.averaged = copy.deepcopy(job.model).requires_grad_(False).eval()
        self.rows: list[dict] = []
        self.plateau_state: dict = {}
        counts = np.bincount(job.labels, minlength=len(job.model.classes))
        weight = len(job.labels) / (len(counts) * counts) if job.config.balance == "loss" else np.ones(len(counts))
        self.register_buffer("weight", torch.tensor(weight, dtype=torch.float32), persistent=False)

    def epoch_now(self) -> int:
        """The epoch counted from 0, for Batches; a method, since a lambda could not go to another process."""
        return self.current_epoch

    def configure_optimizers(self):
        config = self.job.config
        optimizer = torch.optim.Adam(
            self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode="max", factor=0.5, patience=config.patience - 1, threshold=0.0
        )
        if self.plateau_state:
            self.plateau.load_state_dict(self.plateau_state)
        return optimizer

    def on_train_start(self) -> None:
        if self._exhausted():
            self.trainer.should_stop = True

    def on_train_epoch_start(self) -> None:
        self.started, self.losses, self.outputs = time.perf_counter(), [], []
        rank = self.trainer.global_rank
        # own streams for each epoch and process: an epoch does not depend on how training came to it
        numbers = np.random.SeedSequence([self.job.seed, self.current_epoch, rank]).generate_state(2)
        torch.manual_seed(int(numbers[0]))
        self.generator = torch.Generator().manual_seed(int(numbers[1]))

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        images = augment(images[:, None].float() / 255, self.job.config.augment, self.generator)
        loss = F.cross_entropy(self.model(images).float(), labels, weight=self.weight)
        self.losses.append(loss.detach())
        return loss

    @torch.no_grad()
    def on_train_batch_end(self, outputs, batch, index: int) -> None:
        """averaged = decay averaged + (1 - decay) weights; the decay grows to `average`, so the start is forgotten."""
        step = self.global_step
        keep = min(self.job.config.average, (1 + step) / (10 + step))
        for mean, value in zip(self.averaged.state_dict().values(), self.model.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self.outputs.append(self.averaged(batch[0][:, None].float() / 255).float())

    def _row(self) -> dict:
        """This epoch's line of the history."""
        logits = torch.cat(self.outputs).cpu()
        labels = torch.from_numpy(self.job.val_labels)
        predicted = logits.argmax(1)
        row = {
            "epoch": self.current_epoch + 1,
            "train_loss": float(torch.stack(self.losses).mean()),
            "val_loss": float(F.cross_entropy(logits, labels, weight=self.weight.cpu())),
            "val_accuracy": float((predicted == labels).float().mean()),
            "val_f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
            "learning_rate": self.plateau.optimizer.param_groups[0]["lr"],
            "seconds": time.perf_counter() - self.started,
        }
        for name in ("train_loss", "val_loss"):
            if not math.isfinite(row[name]):
                raise TrainingError(
                    f"training: {name} became {row[name]} in epoch {row['epoch']}; "
                    f"a learning_rate below {self.job.config.learning_rate:g} may help"
                )
        return row

    def _exhausted(self) -> bool:
        """Whether no epoch of the last `stop_after` was a new best."""
        recent = self.rows[-self.job.config.stop_after :]
        return len(recent) == self.job.config.stop_after and not any(row["best"] for row in recent)

    def on_train_epoch_end(self) -> None:
        row = self._row()
        best = max(((r["val_f1"], -r["val_loss"]) for r in self.rows), default=(-1.0, 0.0))
        row["best"] = (row["val_f1"], -row["val_loss"]) > best
        self.rows.append(row)
        self.plateau.step(row["val_f1"])
        if self._exhausted():
            self.trainer.should_stop = True
        folder = self.job.folder
        if self.trainer.is_global_zero:
            if row["best"]:
                save_weights(self.averaged, folder / BEST)
            pd.DataFrame(self.rows).to_csv(folder / (HISTORY + ".part"), index=False)
            os.replace(folder / (HISTORY + ".part"), folder / HISTORY)
        self.trainer.save_checkpoint(folder / (LAST + ".part"))
        if self.trainer.is_global_zero:
            os.replace(folder / (LAST + ".part"), folder / LAST)
            if self.progress:
                self.progress(row["epoch"], self.job.config.epochs)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["fingerprint"] = self.job.fingerprint
        checkpoint["rows"] = self.rows
        checkpoint["plateau"] = self.plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.rows, self.plateau_state = checkpoint["rows"], checkpoint["plateau"]
        if hasattr(self, "plateau"):
            self.plateau.load_state_dict(self.plateau_state)


def _resumable(job: Job) -> Path | None:
    """last.ckpt, where it is whole, of this very job, and its best weights are there."""
    last = job.folder / LAST
    if not last.is_file() or not (job.folder / BEST).is_file():
        return None
    try:
        checkpoint = torch.load(last, map_location="cpu", weights_only=True)
    except Exception:  # a damaged file fails in many ways, and each means: start again
        return None
    return last if checkpoint.get("fingerprint") == job.fingerprint else None


@contextlib.contextmanager
def _quiet():
    """Lightning's messages and warnings off; torch's global random state and determinism flag kept."""
    loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric")]
    levels, state = [logger.level for logger in loggers], torch.get_rng_state()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        torch.set_rng_state(state)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


def _on_gpu(accelerator: str) -> bool:
    return accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())


def run(job: Job, progress: Callable[[int, int], None] | None) -> None:
    """Trains until the epochs are used up or val stops getting better; leaves BEST and HISTORY in the folder."""
    config = job.config
    # a progress bar cannot go to the other processes that several devices take
    task = Task(job, progress if config.devices == 1 else None)
    train = Batches(job.images, job.labels, config.batch_size, task.epoch_now, config.balance, job.seed)
    val = Batches(job.val_images, job.val_labels, max(config.batch_size, 64), task.epoch_now, "none", None)
    with _quiet():
        trainer = lightning.Trainer(
            accelerator=config.accelerator,
            devices=config.devices,
            strategy="auto" if config.devices == 1 else "ddp_spawn",
            precision=config.precision,
            max_epochs=config.epochs,
            deterministic="warn",
            sync_batchnorm=config.devices != 1 and _on_gpu(config.accelerator),  # torch has it for GPUs only
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        job.model.train()
        last = _resumable(job)
        trainer.fit(task, train, val, ckpt_path=last, weights_only=True if last else None)
    job.model.to("cpu")
