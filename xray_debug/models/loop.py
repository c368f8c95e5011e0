"""The Lightning side of training: one module, resumption, one device or many. `fit` is the way in."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch import Tensor
from torch.nn import functional as F

from xray_debug.config import TrainConfig
from xray_debug.data.files import sync_file, write_text
from xray_debug.models.augment import augment
from xray_debug.models.batches import Batches, ranks
from xray_debug.models.checkpoint import weights_of
from xray_debug.models.classifier import XrayClassifier
from xray_debug.models.job import HISTORY, LAST, Data, TrainingError
from xray_debug.models.precision import on_gpu
from xray_debug.models.repairs import repair_of_training
from xray_debug.models.repairs.base import balancing_weights
from xray_debug.stats.metrics import confusion_matrix, scores

SAVE_SECONDS = 30  # between two saves of what a resumption needs


@dataclass(frozen=True)
class Plan:
    """One training, with all that `fit` has decided."""

    model: XrayClassifier
    data: Data
    config: TrainConfig
    folder: Path
    seed: int
    key: str
    precision: str
    devices: int = 1
    repair: str = ""


class Task(lightning.LightningModule):
    """Adam, a halving of the rate on plateaus, the best weights by macro-F1 on val.

    Where a repair balances groups, the groups of val count alike, too, in its macro-F1 and loss.

    What is scored on val and kept is a running average of the weights, which varies far less from epoch to epoch
    than the weights themselves.
    """

    def __init__(self, plan: Plan, progress: Callable[[int, int], None] | None):
        super().__init__()
        self.plan, self.progress, self.model = plan, progress, plan.model
        self.config, self.data = plan.config, plan.data
        self.repair = repair_of_training(plan.repair, plan.data.groups)
        codes = plan.data.val_groups
        self.val_weights = np.ones(len(plan.data.val_labels)) if codes is None else balancing_weights(codes)
        self.averaged = copy.deepcopy(plan.model).requires_grad_(False).eval()
        self.rows: list[dict] = []
        self.best: dict[str, Tensor] = {}
        self.plateau_state: dict = {}
        self.saved = time.monotonic()
        self.register_buffer("weight", torch.tensor(self._class_weights(), dtype=torch.float32), persistent=False)

    def _class_weights(self) -> np.ndarray:
        counts = np.bincount(self.data.labels, minlength=len(self.model.classes))
        if self.balance != "loss":
            return np.ones(len(counts))
        return len(self.data.labels) / (len(counts) * counts)

    @property
    def balance(self) -> str:
        """How what there is less of is made to count as much: as the repair says, or the options."""
        return self.repair.balance if self.repair and self.repair.balance else self.config.balance

    def epoch_now(self) -> int:
        """The epoch counted from 0, for Batches."""
        return self.current_epoch

    def configure_optimizers(self):
        parameters = list(self.model.parameters())
        optimizer = torch.optim.Adam(
            parameters,
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            fused=parameters[0].device.type in ("cpu", "cuda"),
        )
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode="max", factor=0.5, patience=self.config.patience - 1, threshold=0.0
        )
        if self.plateau_state:
            self.plateau.load_state_dict(self.plateau_state)
        return optimizer

    def on_train_start(self) -> None:
        self.pairs = _pairs(self.averaged, self.model)
        if self._exhausted():
            self.trainer.should_stop = True

    def on_train_epoch_start(self) -> None:
        self.started, self.losses, self.outputs = time.perf_counter(), [], []
        # own streams for each epoch and process: an epoch does not depend on how training came to it
        numbers = np.random.SeedSequence([self.plan.seed, self.current_epoch, ranks()[0]]).generate_state(2)
        torch.manual_seed(int(numbers[0]))
        self.generator = torch.Generator().manual_seed(int(numbers[1]))

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels, *groups = batch
        images = augment(images[:, None].float() / 255, self.config.augment, self.generator)
        logits = self.model(images).float()
        if groups:
            loss = self.repair.loss(F.cross_entropy(logits, labels, reduction="none"), groups[0])
        else:
            loss = F.cross_entropy(logits, labels, weight=self.weight)
        self.losses.append(loss.detach())
        return loss

    def on_train_batch_end(self, outputs, batch, index: int) -> None:
        """averaged = decay averaged + (1 - decay) weights; the decay grows to `average`, so the start is forgotten."""
        step = self.global_step
        average(self.pairs, min(self.config.average, (1 + step) / (10 + step)))

    def on_validation_epoch_start(self) -> None:
        if ranks()[1] > 1:  # each process has seen other batches; what is scored and kept is the first one's
            for value in self.averaged.buffers():
                torch.distributed.broadcast(value, 0)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self.outputs.append(self.averaged(batch[0][:, None].float() / 255).float())

    def _val_logits(self) -> Tensor:
        """(n, K) in the order of the val images, of all processes."""
        rows = []
        for part in self.outputs:
            together = self.all_gather(part) if ranks()[1] > 1 else part[None]
            rows.append(together.transpose(0, 1).flatten(0, 1).cpu())  # the first of each process, the second, ...
        sizes = [len(b) for b in np.array_split(self.data.val_labels, len(rows))]
        return torch.cat([part[:size] for part, size in zip(rows, sizes, strict=True)])

    def _row(self) -> dict:
        """This epoch's line of the history."""
        logits, labels = self._val_logits(), self.data.val_labels
        predicted = logits.argmax(1).numpy()
        found = scores(confusion_matrix(labels, predicted, logits.shape[1], self.val_weights))
        loss = torch.stack(self.losses).mean()
        row = {
            "epoch": self.current_epoch + 1,
            "train_loss": float(self.all_gather(loss).mean() if ranks()[1] > 1 else loss),
            "val_loss": self._val_loss(logits),
            "val_accuracy": float(found["accuracy"]),
            "val_f1": float(found["f1"]),
            "learning_rate": self.plateau.optimizer.param_groups[0]["lr"],
            "precision": self.plan.precision,
            "seconds": time.perf_counter() - self.started,
        }
        for name in ("train_loss", "val_loss"):
            if not math.isfinite(row[name]):
                raise TrainingError(
                    f"training: {name} became {row[name]} in epoch {row['epoch']}; "
                    f"a learning_rate below {self.config.learning_rate:g} may help"
                )
        return row

    def _val_loss(self, logits: Tensor) -> float:
        labels, weight = torch.from_numpy(self.data.val_labels), self.weight.cpu()
        if self.data.val_groups is None:
            return float(F.cross_entropy(logits, labels, weight=weight))
        losses = F.cross_entropy(logits, labels, reduction="none")
        return float((torch.from_numpy(self.val_weights) * losses).mean())

    def _exhausted(self) -> bool:
        """Whether no epoch of the last `stop_after` was a new best."""
        recent = self.rows[-self.config.stop_after :]
        return len(recent) == self.config.stop_after and not any(row["best"] for row in recent)

    def on_train_epoch_end(self) -> None:
        row = self._row()
        best = max(((r["val_f1"], -r["val_loss"]) for r in self.rows), default=(-1.0, 0.0))
        row["best"] = (row["val_f1"], -row["val_loss"]) > best
        self.rows.append(row)
        if row["best"]:
            self.best = weights_of(self.averaged)
        self.plateau.step(row["val_f1"])
        if self._exhausted():
            self.trainer.should_stop = True
        self._keep()
        if self.progress and self.trainer.is_global_zero:
            self.progress(row["epoch"], self.config.epochs)

    def _keep(self) -> None:
        """The history of every epoch; now and then what a resumption needs."""
        folder = self.plan.folder
        if self.trainer.is_global_zero:
            write_text(folder / HISTORY, pd.DataFrame(self.rows).to_csv(index=False))
        due = torch.tensor(time.monotonic() - self.saved >= SAVE_SECONDS, device=self.device)
        if ranks()[1] > 1:  # all save or none: Lightning waits for all in it
            torch.distributed.broadcast(due, 0)
        if due:
            partial = folder / (LAST + ".part")
            self.trainer.save_checkpoint(partial)
            if self.trainer.is_global_zero:
                sync_file(partial)
                os.replace(partial, folder / LAST)
            self.saved = time.monotonic()

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["key"] = self.plan.key
        checkpoint["rows"] = self.rows
        checkpoint["best"] = self.best
        checkpoint["plateau"] = self.plateau.state_dict()
        checkpoint["repair"] = self.repair.state() if self.repair else {}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.rows, self.best, self.plateau_state = checkpoint["rows"], checkpoint["best"], checkpoint["plateau"]
        if self.repair:
            self.repair.load_state(checkpoint["repair"])
        if hasattr(self, "plateau"):
            self.plateau.load_state_dict(self.plateau_state)


Pairs = tuple[list[Tensor], list[Tensor], list[tuple[Tensor, Tensor]]]


def _pairs(averaged: XrayClassifier, model: XrayClassifier) -> Pairs:
    """The floating tensors of both, in the same order, and the pairs of the others (counters)."""
    both = list(zip(averaged.state_dict().values(), model.state_dict().values(), strict=True))
    floats = [(mean, value) for mean, value in both if mean.is_floating_point()]
    others = [(mean, value) for mean, value in both if not mean.is_floating_point()]
    return [mean for mean, _ in floats], [value for _, value in floats], others


@torch.no_grad()
def average(pairs: Pairs, keep: float) -> None:
    """mean = keep mean + (1 - keep) value, in place; counters are copied."""
    means, values, others = pairs
    torch._foreach_lerp_(means, values, 1 - keep)
    for mean, value in others:
        mean.copy_(value)


def _resumable(plan: Plan) -> Path | None:
    """last.ckpt, where it is whole and of this very training."""
    last = plan.folder / LAST
    if not last.is_file():
        return None
    try:
        checkpoint = torch.load(last, map_location="cpu", weights_only=True)
    except Exception:  # a damaged file fails in many ways, and each means: start again
        return None
    return last if checkpoint.get("key") == plan.key and checkpoint.get("best") else None


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


def run(plan: Plan, progress: Callable[[int, int], None] | None) -> tuple[list[dict], dict[str, Tensor]] | None:
    """Trains until the epochs are used up or val stops getting better: the history's rows and the best weights.

    With several devices or nodes each process of Lightning's DDP comes here; all but the first get None.
    """
    config, data = plan.config, plan.data
    task = Task(plan, progress)
    train = Batches(data.images, data.labels, config.batch_size, task.epoch_now, task.balance, plan.seed, data.groups,
                    data.marked)  # fmt: skip
    val = Batches(data.val_images, data.val_labels, max(config.batch_size, 64), task.epoch_now, "none", None)
    several = plan.devices * config.nodes > 1
    with _quiet():
        trainer = lightning.Trainer(
            accelerator=config.accelerator,
            devices=plan.devices,
            num_nodes=config.nodes,
            strategy="ddp" if several else "auto",
            # a batch scheduler's variables are heeded only where it starts the processes
            plugins=[LightningEnvironment()] if config.nodes == 1 else None,
            precision=plan.precision,
            max_epochs=config.epochs,
            deterministic="warn",
            sync_batchnorm=several and on_gpu(config.accelerator),  # torch has it for GPUs only
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        plan.model.train()
        last = _resumable(plan)
        trainer.fit(task, train, val, ckpt_path=last, weights_only=True if last else None)
    plan.model.to("cpu")
    return (task.rows, task.best) if trainer.is_global_zero else None
