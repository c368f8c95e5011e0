"""What was measured, one JSON file a table: kept image by image, shared between tables, never measured twice.

A measurement is one method with its resolved options at one mask size on one network. Its key is a hash of these, so
that another default is another measurement: what was measured before is not mixed in, and only it is measured anew.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from networks import Case, Classifier
from saliency_tables import PRESET_METHODS, Cell

from xray_debug.data.files import write_json
from xray_debug.saliency import METHODS, Explanation, deletion_insertion
from xray_debug.saliency.measure import objective_of
from xray_debug.saliency.methods.igos import IGOS_PRESETS
from xray_debug.saliency.methods.presets import PRESETS, chosen

COMMON = ("model", "images", "targets", "baselines", "mask_size", "seed", "internal_batch_size", "progress", "trace")
MASK_FIELDS = ("deletion_x", "insertion_x", "deletion_y", "insertion_y")
CURVE_FIELDS = ("deletion", "insertion")
CPU_CHUNK = 4  # images sent through the network at once: what fits the caches of a core


def resolved(method: str, options: dict[str, Any]) -> dict[str, Any]:
    """Every option of the method as it will be used, defaults included."""
    if method in PRESET_METHODS:
        changes = {name: value for name, value in options.items() if name != "preset"}
        presets = PRESETS if method == "igos_pp" else IGOS_PRESETS
        return asdict(chosen(presets, options.get("preset", "default"), changes))
    parameters = inspect.signature(METHODS[method]).parameters
    unknown = sorted(set(options) - set(parameters))
    if unknown:
        raise ValueError(f"{method}: unknown option {unknown[0]!r}")
    return {name: options.get(name, parameter.default) for name, parameter in parameters.items()
            if name not in COMMON}  # fmt: skip


SETTINGS = ("network", "weights", "method", "mask_size", "options", "steps", "seed")


def key_of(settings: dict[str, Any]) -> str:
    """12 hex digits of the settings. Options of None are left out: one that a method has gained changes nothing."""
    own = {name: settings[name] for name in SETTINGS}
    own["options"] = {name: value for name, value in own["options"].items() if value is not None}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:12]


class Measurement:
    """One method at one mask size: its settings, and its figures by image."""

    def __init__(self, classifier: str, digest: str, cell: Cell, preset: str, changes: dict[str, dict], steps: int,
                 seed: int):  # fmt: skip
        own = dict(cell.options)
        if cell.method in PRESET_METHODS:
            own = {"preset": preset, **own}
        self.method, self.mask_size = cell.method, cell.mask_size
        self.options = own | changes.get(cell.method, {})
        self.steps, self.seed = steps, seed
        self.settings = {
            "network": classifier, "weights": digest, "method": cell.method, "mask_size": cell.mask_size,
            "options": resolved(cell.method, self.options), "steps": steps, "seed": seed,
        }  # fmt: skip
        self.key = key_of(self.settings)
        self.chunked = "internal_batch_size" in inspect.signature(METHODS[cell.method]).parameters
        self.fields: set[str] = set()
        self.images: dict[str, dict] = {}

    def lacks(self, case: Case) -> bool:
        found = self.images.get(case.name)
        return found is None or found["input"] != case.digest or not self.fields <= set(found)

    def measure(self, classifier: Classifier, case: Case) -> None:
        """The figures of one image, and what they cost; curves only where a table asks for them."""
        model, targets = classifier.model, torch.tensor([case.target])
        common = (model, case.image, targets)
        # seconds of the processor: other programs on the machine do not count
        clock = time.process_time if classifier.device == "cpu" else time.perf_counter
        chunk = {"internal_batch_size": CPU_CHUNK} if classifier.device == "cpu" and self.chunked else {}
        started = clock()
        found = METHODS[self.method](*common, case.baseline, mask_size=self.mask_size, seed=self.seed, **chunk,
                                     **self.options)  # fmt: skip
        seconds = clock() - started
        figures = {
            "input": case.digest, "target": case.target, "probability": case.probability, "seconds": seconds,
            "forward": found.evaluations.forward, "backward": found.evaluations.backward,
            "objective": objective_of(*common, case.baseline, found).item(),
        }  # fmt: skip
        loss = _loss(found)
        if loss is not None:
            figures["loss"] = loss
        maps = {}
        if self.fields & set(CURVE_FIELDS):
            maps[""] = found.saliency
        if self.fields & set(MASK_FIELDS):
            maps |= {"_x": 1 - found.deletion_mask, "_y": 1 - found.insertion_mask}
        for suffix, saliency in maps.items():
            curves = deletion_insertion(model, case.image, saliency, targets, case.baseline, steps=self.steps)
            figures[f"deletion{suffix}"] = curves.deletion.item()
            figures[f"insertion{suffix}"] = curves.insertion.item()
        before = self.images.get(case.name)
        if before and before["input"] == case.digest:
            figures = before | figures
        self.images[case.name] = figures

    def as_json(self) -> dict:
        return {"key": self.key, "asked": self.options, **self.settings, "images": self.images}


def _loss(found: Explanation) -> float | None:
    """f(M) - f(1 - M) at the final mask, the score terms of equation 4 (table 7); None where a term is not there."""
    parts = found.objective or {}
    for mask in ("xy", "x"):
        if f"deletion_{mask}" in parts and f"insertion_{mask}" in parts:
            return (parts[f"deletion_{mask}"] + parts[f"insertion_{mask}"]).item()
    return None


def planned(cells: Iterable[Cell], classifier: str, digest: str, preset: str, changes: dict[str, dict], steps: int,
            seed: int) -> tuple[dict[str, Measurement], dict[int, str]]:  # fmt: skip
    """The measurements that the cells need, each once, by key; and the key of each cell, by its id."""
    found: dict[str, Measurement] = {}
    keys: dict[int, str] = {}
    for cell in cells:
        own = Measurement(classifier, digest, cell, preset, changes, steps, seed)
        own = found.setdefault(own.key, own)
        own.fields.add(cell.field)
        keys[id(cell)] = own.key
    return found, keys


def machine(device: str) -> dict[str, Any]:
    return {"processor": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "device": device,
            "system": platform.system(), "torch": torch.__version__}  # fmt: skip


def _processor() -> str:
    return platform.processor() or platform.machine()


class Store:
    """The file of one table, and what the files beside it, of other tables and the same network, already know.

    Each image is first a line of a journal beside the file, so that a stop at any moment loses none; `save` makes a
    new file and ends the journal.
    """

    def __init__(self, path: Path, family: str):
        self.path = Path(path)
        self.journal = self.path.with_suffix(".jsonl")
        self.known: dict[str, dict] = {}
        folder = self.path.parent
        for file in sorted(folder.glob(f"{family}table-*.json"), key=lambda file: file == self.path):
            for item in read_results(file)["measurements"]:
                for name, figures in item["images"].items():
                    self._learn(item["key"], name, figures)
        for file in sorted(folder.glob(f"{family}table-*.jsonl")):
            for line in _whole_lines(file):
                self._learn(*json.loads(line))

    def _learn(self, key: str, name: str, figures: dict) -> None:
        images = self.known.setdefault(key, {})
        before = images.get(name)
        images[name] = before | figures if before and before["input"] == figures["input"] else figures

    def fill(self, measurements: dict[str, Measurement]) -> None:
        for key, own in measurements.items():
            own.images = {name: dict(figures) for name, figures in self.known.get(key, {}).items()}

    def add(self, own: Measurement, name: str) -> None:
        """One image that was measured."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps([own.key, name, own.images[name]]) + "\n")

    def save(self, head: dict[str, Any], measurements: dict[str, Measurement]) -> None:
        """The table's file, whole."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():  # of a run stopped early: the images that the file has figures of beside its own
            before = read_results(self.path)["order"]
            head = head | {"order": before if before[: len(head["order"])] == head["order"] else head["order"]}
        date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        write_json(self.path, head | {"date": date, "measurements": [own.as_json() for own in measurements.values()]})
        self.journal.unlink(missing_ok=True)


def _whole_lines(file: Path) -> list[str]:
    """The lines of a journal without the last one where a stop cut it."""
    text = file.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()


def read_results(path: Path) -> dict[str, Any]:
    """ValueError where the file is none of these."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        for item in found["measurements"]:
            item["key"] = key_of(item)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected results of benchmarks/saliency.py ({error})") from error
    return found


def forget(family: str, folder: Path, method: str) -> int:
    """Removes a method's measurements from every table of a network, so that they are made anew; how many."""
    count = 0
    for path in Path(folder).glob(f"{family}table-*.jsonl"):
        raise ValueError(f"{path}: left by a stopped run; let the same command end first")
    for path in sorted(Path(folder).glob(f"{family}table-*.json")):
        found = read_results(path)
        kept = [item for item in found["measurements"] if item["method"] != method]
        count += len(found["measurements"]) - len(kept)
        write_json(path, found | {"measurements": kept})
    return count
