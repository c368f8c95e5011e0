"""The engine on whole stages: images per second, processor seconds, peak memory, and whether the bytes are the same.

    python benchmarks/engine.py --data DIR --images 120                                 # engines compared
    python benchmarks/engine.py --fast --images 2000 15000 --engines threads-2          # is memory flat?
    python benchmarks/engine.py --data DIR --side 2048 --images 24 --engines threads-1 \
        --stages prepare explain detect audit clean                                     # what an image costs

The films of DIR (default: a phantom; with --fast one of 96 pixels) are repeated under new names until there are as many
as --images says; with --side they are enlarged first. Every stage before the measured one is done once; then each
engine does the stage anew, in a process of its own, so that peaks of memory do not mix. `clean-alone` is clean without
the control dataset; the second reader is off. For explain and audit a network is trained for one epoch, and at most
--cases test images are worked on.

Of each row: seconds of the whole stage, loading and starting processes included; images per second and processor
seconds per image from the moment when every worker has done one part; the largest resident memory of the process and
its children (pages that several share count for each); whether the results, stage.json's digests and the files of
clean, are those of the first engine of the list. Processor seconds are the steadier measure on a busy machine; `busy`
is the load (processes that want a core) when the row began.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import multiprocessing
import os
import platform
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from xray_debug.config import PhantomConfig, parse_config
from xray_debug.data.files import copy_file, write_json
from xray_debug.data.formats import read_rows
from xray_debug.data.formats.covidx_labels import write_labels
from xray_debug.data.images import read_image, write_image
from xray_debug.run.engine import Engine
from xray_debug.run.fingerprint import contents_digest
from xray_debug.run.folder import Run
from xray_debug.run.store import OUTPUTS, Store
from xray_debug.stages.registry import STAGES, Job, stages_before

ENGINES = {
    "threads-1": {"workers": 1},
    "threads-2": {"workers": 2},
    "processes-2": {"workers": 2, "processes": True},
    "ray-2": {"workers": 2, "engine": "ray"},
}
CHOICES = ("prepare", "explain", "detect", "audit", "clean", "clean-alone")


# ------------------------------------------------------------------------------------------------ the dataset


def repeated(root: Path, out: Path, count: int, side: int | None) -> Path:
    """A COVIDx of `count` images: the films of `root`, spread evenly, and again under other names where too few."""
    rows = [row for row in read_rows(root) if not row["problem"]]
    films = [rows[i] for i in np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]
    lines = {"train": [], "test": []}
    for number in range(count):
        row, again = films[number % len(films)], f"{number // len(films):04d}-"
        split, name = "test" if row["split"] == "test" else "train", again + Path(row["path"]).name
        name = name if side is None else str(Path(name).with_suffix(".png"))
        target = out / split / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if number < len(films) and side is not None:
            write_image(target, enlarged(read_image(root / row["path"]), side))
        else:
            first = root / row["path"] if side is None else target.with_name("0000-" + name[5:])
            copy_file(first, target)
        lines[split].append((again + row["patient_id"], name, row["label"], row["source"]))
    for split, found in lines.items():
        write_labels(out / f"{split}_COVIDx.txt", pd.DataFrame(found, columns=["patient_id", "image_id", "label",
                                                                               "source"]))  # fmt: skip
    return out


def enlarged(image: np.ndarray, side: int) -> np.ndarray:
    import cv2

    scale = side / max(image.shape[:2])
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)


def source_of(options: argparse.Namespace, work: Path) -> Path:
    if options.data is not None:
        return options.data
    from xray_debug.phantom.dataset import write_phantom

    return write_phantom(work / "phantom", PhantomConfig(train=96, test=24, size=96 if options.fast else 256), 0)


# ------------------------------------------------------------------------------------------------ one measurement


class Spent:
    """Processor seconds of this process and of all below it, ended ones included, from looks twice a second."""

    def __enter__(self) -> Spent:
        self.known: dict[tuple, float] = {}
        self.lock, self.stop = threading.Lock(), threading.Event()
        self.before = self.look()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.stop.wait(0.5):
            self.look()

    def look(self) -> float:
        me = psutil.Process()
        with self.lock:
            for process in [me, *me.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):  # it has just ended
                    times = process.cpu_times()
                    self.known[process.pid, process.create_time()] = times.user + times.system
            return sum(self.known.values())


def work_on(folder: Path, settings: dict, stage: str, engine: dict, force: bool = True) -> dict:
    """Does one stage of a run folder; what it took, in a process that does nothing else."""
    run, config, ticks = Run(folder), parse_config(settings | {"engine": engine}), {}

    def progress(what: str):
        ticks[what] = []
        return lambda done, total: ticks[what].append((done, time.perf_counter(), spent.look()))

    busy = psutil.getloadavg()[0]
    with Spent() as spent, run.locked():
        Job(run, config, Engine(config.engine, progress), lambda text: None, only=stage, force=force)()
        total = spent.look() - spent.before
    record, store = run.record(stage), Store(folder)
    files = [store.path(name) for name in STAGES[stage].outputs if OUTPUTS[name].kind == "folder"]
    return {
        "images": record["images"], "seconds": record["seconds"], "processor_seconds": round(total, 2),
        "peak_memory_mb": record["peak_memory_mb"], "busy": round(busy, 2), **steady(list(ticks.values()), engine),
        "digests": record["outputs"] | {"files": contents_digest([file for file in files if file.exists()])},
    }  # fmt: skip


def steady(ticks: list[list[tuple]], engine: dict) -> dict:
    """The rates from the tick at which every worker has done a part; None where nothing comes after it."""
    found = ticks[-1] if ticks else []
    first = max(engine["workers"], 1) - 1
    if len(found) < first + 2 or found[-1][0] == found[first][0]:
        return {"images_per_second": None, "processor_per_image": None}
    done, clock, processor = (end - start for start, end in zip(found[first], found[-1], strict=True))
    return {"images_per_second": done / clock, "processor_per_image": processor / done}


def apart(*arguments) -> dict:
    """work_on in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work_on, *arguments).result()


# ------------------------------------------------------------------------------------------------ all of them


def settings_for(data: Path, options: argparse.Namespace, control: bool) -> dict:
    return {
        "data": str(data), "train": {"view": {"size": 64 if options.fast else 128}, "epochs": 1, "batch_size": 16},
        "explain": {"select": "all", "max_cases": options.cases}, "audit": {"max_cases": options.cases},
        "detect": {"second": None}, "clean": {"control": control}, "report": {"bootstrap": 100},
    }  # fmt: skip


def needed(stage: str) -> list[str]:
    """The stages that must be done before, in their order."""
    wanted, waiting = set(), [stage]
    while waiting:
        before = stages_before(STAGES[waiting.pop()])
        waiting += before
        wanted |= set(before)
    return [name for name in STAGES if name in wanted]


def measured(data: Path, folder: Path, options: argparse.Namespace) -> Iterator[dict]:
    """One row for each stage and engine."""
    for choice in options.stages:
        stage, control = choice.removesuffix("-alone"), choice != "clean-alone"
        settings, first = settings_for(data, options, control), None
        for name in needed(stage):
            apart(folder, settings, name, {"workers": 0}, False)
        for name in options.engines:
            if ENGINES[name].get("engine") == "ray" and importlib.util.find_spec("ray") is None:
                yield {"stage": choice, "engine": name, "skipped": "ray is not installed (the extra ray)"}
                continue
            row = apart(folder, settings, stage, ENGINES[name])
            first = first or row["digests"]
            yield {"stage": choice, "engine": name, "same": row["digests"] == first, **row}


HEADS = ("images", "stage", "engine", "seconds", "images/s", "ratio", "cpu s/image", "peak MiB", "busy", "bytes")


def cells(row: dict, rows: list[dict]) -> list[str]:
    """A row of the table; the ratio is to the first engine's images per second."""
    start = [str(row["images"]), row["stage"], row["engine"]]
    if "skipped" in row:
        return [*start, row["skipped"]]
    first = next(r for r in rows if (r["asked"], r["stage"]) == (row["asked"], row["stage"]))
    rate, base, cost = row["images_per_second"], first.get("images_per_second"), row["processor_per_image"]
    return [
        *start, f"{row['seconds']:.1f}", "-" if rate is None else f"{rate:.2f}",
        f"{rate / base:.2f} x" if rate and base else "-", "-" if cost is None else f"{cost:.4f}",
        f"{row['peak_memory_mb']:.0f}", f"{row['busy']:.1f}", "same" if row["same"] else "OTHERS",
    ]  # fmt: skip


def show(texts: list[str]) -> None:
    print("".join(f"{text:>13}" for text in texts), flush=True)


def machine() -> dict:
    import torch

    packages = {name: metadata.version(name) for name in ("torch", "numpy", "ray") if importlib.util.find_spec(name)}
    return {
        "system": platform.platform(), "processor": platform.processor(), "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(), "python": platform.python_version(), **packages,
        "memory_mb": psutil.virtual_memory().total // 2**20,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a dataset; default: a phantom")
    parser.add_argument("--images", type=int, nargs="+", default=[120])
    parser.add_argument("--side", type=int, help="pixels, long side to which the films are enlarged")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--stages", nargs="+", choices=CHOICES, default=["detect", "clean", "clean-alone"])
    parser.add_argument("--cases", type=int, default=16, help="test images explained and audited at most")
    parser.add_argument("--fast", action="store_true", help="small films")
    parser.add_argument("--work", type=Path, help="where images and runs lie meanwhile; default: a temporary folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict] = []
    show(list(HEADS))
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        source = source_of(options, Path(folder))
        for count in options.images:
            data = repeated(source, Path(folder, f"data-{count}"), count, options.side)
            for row in measured(data, Path(folder, f"run-{count}"), options):
                rows.append({"asked": count, "images": count, **row})
                show(cells(rows[-1], rows))
    if options.json:
        asked = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
        write_json(options.json, {"date": time.strftime("%Y-%m-%d"), "machine": machine(), "options": asked,
                                  "rows": rows})  # fmt: skip


if __name__ == "__main__":
    main()
