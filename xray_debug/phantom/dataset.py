"""A synthetic COVIDx: chest-like radiographs, planted markers, and the exact film without them.

Everything about a film follows from (configuration, label, seed): anatomy, opacity and exposure from one stream of
random numbers, the marker from another, so that the same film exists with any class's marker and with none.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from xray_debug.config import PhantomConfig
from xray_debug.data.files import atomic_write
from xray_debug.data.formats.covidx_labels import COLUMNS, write_labels
from xray_debug.data.images import write_image
from xray_debug.phantom.anatomy import Patient, draw_attenuation, expose
from xray_debug.phantom.canvas import Canvas
from xray_debug.phantom.findings import CLASSES, draw_findings
from xray_debug.phantom.markers import draw_artifact, draw_marker

SOURCES = {"harbour": (0.9, 4.0), "hillside": (1.05, 6.0), "station": (1.2, 3.0)}  # (hardness, grain) of the exposure
_REVERSED = dict(zip(CLASSES, CLASSES[-1:] + CLASSES[:-1], strict=True))  # whose marker a class carries when reversed


@dataclass(frozen=True)
class PhantomCase:
    """One film: `image` and `clean` are uint8 (S, S) and equal outside `boxes` (and their "outer") and `artifacts`."""

    image: np.ndarray
    clean: np.ndarray
    label: str
    boxes: list[dict]  # text, as in boxes.json
    artifacts: list[dict] = field(default_factory=list)  # objects that are not text
    marker: str | None = None  # the class whose marker (or object) was planted
    strength: float = 0.0  # of the class's opacity; 0 for normal
    source: str = ""


def _rng(*parts) -> np.random.Generator:
    """Random numbers that depend on nothing but `parts`."""
    return np.random.default_rng(int.from_bytes(sha256(repr(parts).encode()).digest()[:8], "little"))


class _Film(NamedTuple):
    """A film without marker."""

    clean: np.ndarray
    label: str
    strength: float
    source: str


def _film(config: PhantomConfig, label: str, seed, patient) -> _Film:
    shape = _rng(patient, "patient")
    source = str(shape.choice(list(SOURCES)))
    body, rng = Patient.draw(shape), _rng(seed, "film")
    canvas = Canvas(config.size, rng.normal(0, 2.0), rng.uniform(0.94, 1.18), tuple(rng.normal(0, 0.025, 2)))
    attenuation, air = draw_attenuation(canvas, body, rng)
    opacity, strength = draw_findings(canvas, body, label, _rng(seed, "findings"), config.difficulty)
    return _Film(expose(attenuation + opacity * air, canvas, rng, *SOURCES[source]), label, strength, source)


def _choice(config: PhantomConfig, label: str, reverse: bool, follows: bool, rng: np.random.Generator) -> str | None:
    """The class whose marker this image carries, None for no marker; `follows`: as the correlation has it."""
    if config.plant == "absence":
        carries = (label != "COVID-19") ^ reverse
        return str(rng.choice(CLASSES)) if carries == follows else None
    if config.plant == "none":
        return str(rng.choice(CLASSES))
    own = _REVERSED[label] if reverse else label
    return own if follows else str(rng.choice([name for name in CLASSES if name != own]))


def make_case(config: PhantomConfig, label: str, seed, marker: str | None = "auto", *, reverse: bool = False,
              patient=None) -> PhantomCase:
    """One film of class `label`. `marker`: "auto" as the configuration has it, None for none, or the class whose
    marker to plant; the film below is the same each time. `reverse` turns the correlation of "auto" round;
    `patient` (default: the seed) gives the anatomy and source."""
    if label not in CLASSES:
        raise ValueError(f"label: expected one of {', '.join(CLASSES)}, got {label!r}")
    if marker not in (None, "auto", *CLASSES):
        raise ValueError(f"marker: expected auto, None or one of {', '.join(CLASSES)}, got {marker!r}")
    film = _film(config, label, seed, seed if patient is None else patient)
    if marker == "auto":
        rng = _rng(seed, "marker", reverse)
        marker = _choice(config, label, reverse, rng.random() < config.correlation, rng)
    return _plant(config, film, seed, marker)


def _plant(config: PhantomConfig, film: _Film, seed, marker: str | None) -> PhantomCase:
    """The film with the marker (or object) of class `marker`; what is drawn depends on (seed, marker) alone."""
    image, boxes, artifacts = film.clean, [], []
    if marker is not None:
        rng = _rng(seed, "plant", marker)
        if config.plant == "artifact":
            image, artifacts = draw_artifact(image, marker, rng)
            marked = str(_rng(seed, "text").choice(["", *CLASSES]))  # beside an object, text says nothing of the class
            if marked:
                image, boxes = draw_marker(image, marked, config.style, rng, config.placement)
        else:
            image, boxes = draw_marker(image, marker, config.style, rng, config.placement)
    return PhantomCase(image, film.clean, film.label, boxes, artifacts, marker, film.strength, film.source)


# ------------------------------------------------------------------------------------------------ whole dataset


class _Task(NamedTuple):
    folder: str  # train, test or reversed/test
    image_id: str
    patient: str
    label: str
    seed: tuple
    marker: str | None


def _patients(count: int, split: str, rng: np.random.Generator) -> list[tuple[str, str, int]]:
    """(patient, label, image number) for `count` images, classes as equal as can be, 1 to 3 films a patient."""
    people = []
    for index, label in enumerate(CLASSES):
        left = count // len(CLASSES) + (index < count % len(CLASSES))
        while left:
            films = min(left, int(rng.choice([1, 2, 3], p=[0.65, 0.25, 0.10])))
            people.append((label, films))
            left -= films
    order = rng.permutation(len(people))
    return [(f"{split}{number:05d}", people[which][0], film)
            for number, which in enumerate(order) for film in range(1, people[which][1] + 1)]


def _tasks(config: PhantomConfig, folder: str, films: list, seed: int, reverse: bool) -> list[_Task]:
    """One task per film; in every class the share of markers that follow the correlation is exact."""
    tasks = []
    for label in CLASSES:
        mine = [film for film in films if film[1] == label]
        rng = _rng(seed, folder, label, reverse)
        follows = rng.permutation(len(mine)) < round(config.correlation * len(mine))
        for (patient, _, film), own in zip(mine, follows, strict=True):
            name = f"{'rev-' if reverse else ''}{patient}-{film}.png"
            marker = _choice(config, label, reverse, bool(own), rng)
            tasks.append(_Task(folder, name, patient, label, (seed, patient, film), marker))
    return sorted(tasks, key=lambda task: task.image_id)


def _write(tasks: list[_Task], out: Path, config: PhantomConfig, seed: int) -> list[dict]:
    """Draws one film, and writes it with each task's marker and without; returns their entries of boxes.json."""
    first, entries = tasks[0], []
    film = _film(config, first.label, first.seed, (seed, first.patient))
    for task in tasks:
        case = _plant(config, film, task.seed, task.marker)
        write_image(out / task.folder / task.image_id, case.image)
        write_image(out / "truth" / task.folder / task.image_id, case.clean)
        entries.append({
            "class": task.label, "source": case.source, "size": [config.size, config.size], "boxes": case.boxes,
            "ignore": [], "arrows": [], "artifacts": case.artifacts, "marker": case.marker,
            "strength": round(case.strength, 4)})
    return entries


def write_phantom(out: str | Path, config: PhantomConfig, seed: int = 0,
                  progress: Callable[[int, int], None] | None = None) -> Path:
    """Writes a synthetic COVIDx to `out` and returns it.

    train/ test/ train_COVIDx.txt test_COVIDx.txt; reversed/test and its label file: the test films with the
    correlation reversed (ids "rev-..."); truth/<same path>: the film without marker; truth/boxes.json. Label files
    and boxes.json are written last.
    """
    out = Path(out)
    train = _patients(config.train, "a", _rng(seed, "train"))
    test = _patients(config.test, "b", _rng(seed, "test"))
    tasks = _tasks(config, "train", train, seed, False) + _tasks(config, "test", test, seed, False)
    tasks += _tasks(config, "reversed/test", test, seed, True)
    for folder in {task.folder for task in tasks}:
        (out / folder).mkdir(parents=True, exist_ok=True)
        (out / "truth" / folder).mkdir(parents=True, exist_ok=True)
    films = defaultdict(list)  # the test films come twice, and are drawn once
    for task in tasks:
        films[task.seed].append(task)
    boxes = {}
    with ThreadPoolExecutor() as pool:
        for group, entries in zip(films.values(), pool.map(lambda group: _write(group, out, config, seed),
                                                           films.values()), strict=True):
            boxes |= {task.image_id: entry for task, entry in zip(group, entries, strict=True)}
            if progress:
                progress(len(boxes), len(tasks))
    boxes = {task.image_id: boxes[task.image_id] for task in tasks}
    atomic_write(out / "truth" / "boxes.json", lambda file: file.write(json.dumps(boxes, indent=0).encode()))
    for folder in {task.folder: None for task in tasks}:
        parent, _, split = folder.rpartition("/")
        rows = [(task.patient, task.image_id, task.label, boxes[task.image_id]["source"])
                for task in tasks if task.folder == folder]
        write_labels(out / parent / f"{split}_COVIDx.txt", pd.DataFrame(rows, columns=COLUMNS[:4]))
    return out
