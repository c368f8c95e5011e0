"""Training. What is best is chosen on val; test images never come here.

`fit` trains one model in this process, `fit_all` several, side by side where that is faster. Both go on after an
interruption: order, augmentation and dropout of an epoch depend on the seed and the epoch alone, so that it leaves no
trace in the result. A finished folder whose key holds is taken as it is.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from xray_debug.config import TrainConfig
from xray_debug.models.checkpoint import WEIGHTS, load_checkpoint
from xray_debug.models.classifier import XrayClassifier
from xray_debug.models.job import (
    HISTORY,
    Data,
    FitJob,
    How,
    TrainingError,
    read_begun,
    training_key,
    write_begun,
)
from xray_debug.models.one import device_count, train_here
from xray_debug.models.precision import chosen_precision, on_cpu
from xray_debug.models.threads import threads_of

__all__ = ["FitJob", "FitResult", "TrainingError", "finished", "fit", "fit_all", "seed_everything"]

THREAD_GAIN = 0.75  # measured: two threads do a step in 58 ms, two processes of one thread each do two in 98 ms
SLACK = 1.2
Progress = Callable[[int, int], None]
Say = Callable[[str], None]


class FitResult(NamedTuple):
    """history: a row per epoch (epoch train_loss val_loss val_accuracy val_f1 learning_rate precision seconds best)."""

    history: pd.DataFrame
    best_epoch: int
    seconds: float
    precision: str
    threads: int


def seed_everything(seed: int) -> None:
    """Seeds Python's, NumPy's and torch's global random states."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


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
    say: Say | None = None,
) -> FitResult:
    """Trains `model` on one device and leaves it with the weights of the epoch that was best on val, in eval mode.

    Args:
        model: changed in place.
        images, labels, val_images, val_labels: see job.Data; every class must occur in `labels`.
        config: best is the highest macro-F1 on val, among equals the lowest loss. One device; for several see fit_all.
        folder: gets model.safetensors, model.json and history.csv; while training also last.ckpt, from which a
            later call with the same arguments goes on, in the precision in which it was begun. A finished folder of
            the same arguments is loaded. model.json's `extra` says with how many CPU threads and in which precision the
            model was trained; it holds no times.
        seed: of order, augmentation and dropout. The global random state is left as it was.
        progress: called with (epochs done, epochs at most).
        say: called with a sentence on the precision.

    Raises:
        ValueError: images and labels that do not fit.
        TrainingError: the loss stopped being finite.
    """
    folder = Path(folder)
    if device_count(config) * config.nodes > 1:
        raise ValueError(f"devices, nodes: fit trains on one device, fit_all on {config.devices} x {config.nodes}")
    data = Data(images, labels, val_images, val_labels).checked(model.classes)
    key = training_key([model.name, model.classes, vars(model.view), model.options], data, config, seed)
    done = finished(folder, key)
    if done is None:
        how = read_begun(folder, key) or How(_decided(config, model, say), torch.get_num_threads())
        write_begun(folder, key, how)
        train_here(model, data, config, folder, seed, key, how, progress)
        done = finished(folder, key)
    model.net.load_state_dict(load_checkpoint(folder).net.state_dict())
    model.eval()
    if progress:
        progress(config.epochs, config.epochs)
    return done


def finished(folder: str | os.PathLike, key: str) -> FitResult | None:
    """The result of the finished training in `folder`, where it has this key; needs neither Lightning nor a network."""
    folder = Path(folder)
    try:
        extra = json.loads((folder / "model.json").read_text(encoding="utf-8"))["extra"]
        if extra.get("key") != key or not (folder / WEIGHTS).is_file():
            return None
        history = pd.read_csv(folder / HISTORY)
        seconds = float(history["seconds"].sum())
        return FitResult(history, int(extra["best_epoch"]), seconds, extra["precision"], int(extra["threads"]))
    except (OSError, ValueError, KeyError):
        return None


def _decided(config: TrainConfig, model: XrayClassifier, say: Say | None) -> str:
    precision, sentence = chosen_precision(config, model)
    if say:
        say(sentence)
    return precision


def fit_all(
    jobs: Sequence[FitJob], workers: int = 0, progress: Progress | None = None, say: Say | None = None,
    precision: str = "",
) -> list[FitResult]:  # fmt: skip
    """All trainings, each into its folder, as `fit` does it; load_checkpoint gives the models.

    On CPUs `workers` of them run side by side (0: see slots_for), in processes that share torch's threads.
    A training's number of threads depends on `workers` and on the number of jobs, finished ones included, not on what
    is left to do; where some are finished or begun, it is theirs. What it gives depends on it in the last digits. With
    the same threads it gives the same bytes, alone or beside others. On GPUs, and with `devices` or `nodes`, trainings
    run one after the other; see processes.py for several devices and machines.

    Args:
        jobs: in different folders, with the same `config`.
        progress: called with (epochs done, epochs at most), summed over the jobs.
        say: called with sentences on the precision and on what is finished already.
        precision: what `precision: auto` comes to; "" takes that of a job that is finished or begun, so that seeds are
            alike, or decides. See FitResult.precision.

    Raises:
        as fit; the other trainings are stopped, and go on in a later call.
    """
    jobs = list(jobs)
    results = [finished(job.folder, job.key) for job in jobs]
    todo = [number for number, found in enumerate(results) if found is None]
    epochs = [0 if found is None else job.config.epochs for job, found in zip(jobs, results, strict=True)]
    total = sum(job.config.epochs for job in jobs)

    def tell(number: int, done: int) -> None:
        epochs[number] = done
        if progress:
            progress(sum(epochs), total)

    if say and len(todo) < len(jobs):
        say(f"{len(jobs) - len(todo)} of {len(jobs)} trainings were finished before")
    if todo:
        for number in todo:
            jobs[number].data.checked(jobs[number].classes)
        slots, threads = _shares(jobs, workers)
        begun = {number: read_begun(jobs[number].folder, jobs[number].key) for number in todo}
        known = next((found for found in (*results, *begun.values()) if found is not None), None)
        if known is not None and known.threads != threads:
            if say:
                say(f"training goes on with {known.threads} CPU threads, as it was begun, and not with {threads}")
            threads = known.threads
        how = How(precision or (known.precision if known else _decided_with(threads, jobs[todo[0]], say)), threads)
        for number in todo:
            write_begun(jobs[number].folder, jobs[number].key, begun[number] or how, jobs[number])
        _train(jobs, todo, slots, tell)
        results = [finished(job.folder, job.key) for job in jobs]
    if progress:
        progress(total, total)
    return results


def _shares(jobs: list[FitJob], workers: int) -> tuple[int, int]:
    """(trainings side by side, threads of each)."""
    config, budget = jobs[0].config, torch.get_num_threads()
    devices = device_count(config)
    if devices * config.nodes > 1:
        return 1, max(budget // devices, 1)
    slots = min(workers or slots_for(len(jobs), budget), len(jobs)) if on_cpu(config.accelerator) else 1
    return slots, max(budget // slots, 1)


def slots_for(jobs: int, threads: int) -> int:
    """How many of `jobs` trainings go side by side, where t threads are t ** THREAD_GAIN times as fast.

    The most that end within SLACK of the soonest: threads that wait for one another stand still on a machine that does
    other work besides (measured: four times slower), trainings of one thread each do not.
    """

    def duration(slots: int) -> float:
        return math.ceil(jobs / slots) / (threads // slots) ** THREAD_GAIN

    possible = range(1, min(jobs, threads) + 1)
    soonest = min(map(duration, possible))
    return max(slots for slots in possible if duration(slots) <= SLACK * soonest)


def _decided_with(threads: int, job: FitJob, say: Say | None) -> str:
    with threads_of(threads):
        return _decided(job.config, job.model(), say)


def _train(jobs: list[FitJob], todo: list[int], slots: int, tell: Callable[[int, int], None]) -> None:
    from xray_debug.models import processes

    folders = {number: jobs[number].folder for number in todo}
    config = jobs[0].config
    if device_count(config) * config.nodes > 1:
        for number, folder in folders.items():
            processes.train_apart([{number: folder}], tell, processes.launcher(config))
    else:  # one alone, too: Lightning has ideas of its own of what Ctrl-C and SIGTERM mean, and keeps its memory
        shares = [dict(list(folders.items())[slot::slots]) for slot in range(slots)]
        processes.train_apart([share for share in shares if share], tell)
