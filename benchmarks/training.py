"""Training: what each precision costs and gives, and what trainings side by side gain.

    python benchmarks/training.py [--epochs 16] [--precisions 32-true bf16-mixed] [--out training.json]

On a phantom of the demo's kind, with the demo's network. Prints a table of precisions (seconds an epoch, macro-F1 on
val, how far the probabilities of the val images are from the first precision's) and a table of ways to carry out as
many trainings as there are threads: one after the other with all threads, and side by side with one thread each. To act
as a laptop with AVX2 alone: ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from xray_debug.data.cache import build_cache

from xray_debug.config import PhantomConfig, PrepareConfig, TrainConfig
from xray_debug.data.formats.covidx import build_manifest
from xray_debug.data.view import ModelView
from xray_debug.models import load_checkpoint
from xray_debug.models.fit import FitJob, fit_all
from xray_debug.models.precision import bfloat16_gain
from xray_debug.models.predict import Subset, probabilities
from xray_debug.phantom.dataset import write_phantom

CLASSES = ["normal", "pneumonia", "COVID-19"]
SIZE = 112


def prepared(folder: Path) -> FitJob:
    """One training on a phantom in `folder`, to be changed."""
    write_phantom(folder / "phantom", PhantomConfig(train=480, test=12, placement="shared"), 0, lambda *_: None)
    frame = build_manifest(folder / "phantom", PrepareConfig(), 0, lambda *_: None)
    view = ModelView(SIZE)
    build_cache([folder / "phantom" / path for path in frame["path"]], view, folder / "views.npy")
    codes = frame["label"].map(CLASSES.index).to_numpy()
    train, val = (np.flatnonzero(frame["split"] == split) for split in ("train", "val"))
    return FitJob(folder / "views.npy", train, codes[train], val, codes[val], CLASSES, TrainConfig(), 0, folder)


def changed(job: FitJob, folder: Path, seed: int = 0, **options) -> FitJob:
    config = TrainConfig(view={"size": SIZE}, batch_size=16, **options)
    return FitJob(
        job.images, job.train, job.labels, job.val, job.val_labels, job.classes, config, seed, folder / f"seed-{seed}"
    )


def precisions(job: FitJob, folder: Path, names: list[str], epochs: int, seeds: int) -> list[dict]:
    rows, first = [], None
    for name in names:
        jobs = [changed(job, folder / name, seed, epochs=epochs, precision=name) for seed in range(seeds)]
        found = fit_all(jobs, workers=1)
        val = Subset(np.load(job.images, mmap_mode="r"), job.val)
        shown = np.stack([probabilities(load_checkpoint(one.folder), val) for one in jobs])
        first = shown if first is None else first
        f1 = [float(result.history["val_f1"].max()) for result in found]
        rows.append({
            "precision": name,
            "seconds an epoch": float(np.median([s for result in found for s in result.history["seconds"]])),
            "val F1": float(np.mean(f1)), "val F1 of the seeds": f1,
            "mean difference": float(abs(shown - first).mean()),
            "same class": float((shown.argmax(-1) == first.argmax(-1)).mean()),
        })  # fmt: skip
        print(f"{name:12s} {rows[-1]['seconds an epoch']:8.2f} s/epoch   val F1 {np.mean(f1):.3f}   mean |dp| "
              f"{rows[-1]['mean difference']:.4f}   same class {rows[-1]['same class']:.3f}", flush=True)  # fmt: skip
    return rows


def side_by_side(job: FitJob, folder: Path, epochs: int) -> list[dict]:
    rows, count = [], max(torch.get_num_threads(), 2)
    for name, workers in (("one after the other", 1), ("side by side", count)):
        jobs = [changed(job, folder / name, seed, epochs=epochs, precision="32-true") for seed in range(count)]
        started = time.perf_counter()
        found = fit_all(jobs, workers)
        rows.append({"way": name, "trainings": count, "threads of each": found[0].threads,
                     "seconds": time.perf_counter() - started})  # fmt: skip
        print(f"{name:20s} {count} trainings, {found[0].threads} threads each: {rows[-1]['seconds']:.1f} s", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--precisions", nargs="*", default=["32-true", "bf16-mixed"])
    parser.add_argument("--skip-side-by-side", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("training.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = prepared(folder)
        machine = {"threads": torch.get_num_threads(), "cpu": torch.backends.cpu.get_cpu_capability(),
                   "bfloat16 gain": bfloat16_gain(changed(job, folder).model())}  # fmt: skip
        print(machine, flush=True)
        result = {"machine": machine, "precisions": precisions(job, folder, options.precisions, options.epochs,
                                                               options.seeds)}  # fmt: skip
        if not options.skip_side_by_side:
            result["side by side"] = side_by_side(job, folder, options.epochs)
    options.out.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
