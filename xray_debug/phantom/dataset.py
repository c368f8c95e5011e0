"""A synthetic COVIDx folder: films with planted markers, and the exact films without them.

Made in three steps: what is to be drawn (phantom_rows), each film (PhantomWorker), the labels and the truth
(finish_phantom). write_phantom does the three in one thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from xray_debug.config import PhantomConfig
from xray_debug.data.files import atomic_write, sync_all
from xray_debug.data.formats.covidx_labels import COLUMNS, write_labels
from xray_debug.data.images import write_image
from xray_debug.phantom.case import choose_marker, draw_film, plant
from xray_debug.phantom.findings import CLASSES
from xray_debug.stats.seeds import rng_of

FOLDERS = ("train", "test", "reversed/test")


def phantom_rows(config: PhantomConfig, seed: int = 0) -> list[dict]:
    """One row per film: image_id, patient, film (its number of the patient), label, and `copies`.

    `copies` are (folder, image_id, class whose marker it carries or None): a test film is written twice, under its
    own name and, as "rev-...", with the correlation reversed. In every class of every folder the share of markers that
    follow the correlation is exact.
    """
    train, test = (_films(count, name, rng_of(seed, split))
                   for split, name, count in (("train", "a", config.train), ("test", "b", config.test)))  # fmt: skip
    rows: dict[tuple, dict] = {}
    for folder, films in zip(FOLDERS, (train, test, test), strict=True):
        for (patient, label, film), marker in _markers(config, folder, films, seed):
            name = f"{patient}-{film}.png"
            row = {"image_id": name, "patient": patient, "film": film, "label": label, "copies": []}
            copy = f"rev-{name}" if folder == FOLDERS[2] else name
            rows.setdefault((patient, film), row)["copies"].append((folder, copy, marker))
    return sorted(rows.values(), key=lambda row: row["image_id"])


def _films(count: int, name: str, rng: np.random.Generator) -> list[tuple[str, str, int]]:
    """(patient, label, film) for `count` films, classes as equal as can be, 1 to 3 films a patient."""
    people = []
    for index, label in enumerate(CLASSES):
        left = count // len(CLASSES) + (index < count % len(CLASSES))
        while left:
            films = min(left, int(rng.choice([1, 2, 3], p=[0.65, 0.25, 0.10])))
            people.append((label, films))
            left -= films
    order = rng.permutation(len(people))
    return [(f"{name}{number:05d}", people[which][0], film)
            for number, which in enumerate(order) for film in range(1, people[which][1] + 1)]  # fmt: skip


def _markers(config: PhantomConfig, folder: str, films: list, seed: int) -> list[tuple]:
    """(film, class of its marker) of one folder."""
    result, reverse = [], folder == FOLDERS[2]
    for label in CLASSES:
        mine = [film for film in films if film[1] == label]
        rng = rng_of(seed, folder, label, reverse)
        follows = rng.permutation(len(mine)) < round(config.correlation * len(mine))
        result += [(film, choose_marker(config, label, reverse, bool(own), rng))
                   for film, own in zip(mine, follows, strict=True)]  # fmt: skip
    return result


class PhantomWorker:
    """For rows of phantom_rows: draws the film once, writes each copy with its marker, and the film without, to `out`.

    What comes back is `entries`: JSON of {image_id: its entry of boxes.json}.
    """

    def __init__(self, out: str | Path, config: PhantomConfig, seed: int = 0):
        self.out, self.config, self.seed = str(out), config, seed
        self.writes_into = [self.out]

    def open(self) -> None:
        for folder in FOLDERS:
            for place in (folder, f"truth/{folder}"):
                Path(self.out, place).mkdir(parents=True, exist_ok=True)

    def __call__(self, rows: list[dict]) -> list[dict]:
        return [{"entries": json.dumps(self._write(row))} for row in rows]

    def _write(self, row: dict) -> dict[str, dict]:
        seed, entries = (self.seed, row["patient"], row["film"]), {}
        film = draw_film(self.config, row["label"], seed, (self.seed, row["patient"]))
        for folder, image_id, marker in row["copies"]:
            case = plant(self.config, film, seed, marker)
            write_image(Path(self.out, folder, image_id), case.image)
            write_image(Path(self.out, "truth", folder, image_id), case.clean)
            entries[image_id] = {
                "class": case.label, "source": case.source, "size": [self.config.size] * 2, "boxes": case.boxes,
                "ignore": [], "arrows": [], "artifacts": case.artifacts, "marker": case.marker,
                "strength": round(case.strength, 4)}  # fmt: skip
        return entries


def finish_phantom(out: str | Path, rows: list[dict], entries: Iterable[str]) -> Path:
    """Writes what is written last, truth/boxes.json and the label files, and returns `out`; `entries` as the worker
    gives them, one for each row."""
    out, found = Path(out), {}
    for text in entries:
        found |= json.loads(text)
    boxes = {}
    for folder in FOLDERS:
        copies = [(row, image_id) for row in rows for place, image_id, _ in row["copies"] if place == folder]
        boxes |= {image_id: found[image_id] for _, image_id in copies}
        lines = [(row["patient"], image_id, row["label"], found[image_id]["source"]) for row, image_id in copies]
        parent, _, split = folder.rpartition("/")
        write_labels(out / parent / f"{split}_COVIDx.txt", pd.DataFrame(lines, columns=COLUMNS[:4]))
    sync_all(out)  # before the file that vouches for the others
    content = json.dumps(boxes, indent=0).encode()
    atomic_write(out / "truth" / "boxes.json", lambda file: file.write(content), sync=True)
    return out


def write_phantom(out: str | Path, config: PhantomConfig, seed: int = 0,
                  progress: Callable[[int, int], None] | None = None) -> Path:  # fmt: skip
    """Writes a synthetic COVIDx to `out` and returns it; `progress` counts images.

    train/ test/ train_COVIDx.txt test_COVIDx.txt; reversed/test and its label file: the test films with the
    correlation reversed (ids "rev-..."); truth/<same path>: the film without marker; truth/boxes.json. Label files
    and boxes.json are written last.
    """
    rows, entries, done = phantom_rows(config, seed), [], 0
    total = sum(len(row["copies"]) for row in rows)
    worker = PhantomWorker(out, config, seed)
    worker.open()
    for row in rows:
        entries.append(worker([row])[0]["entries"])
        done += len(row["copies"])
        if progress:
            progress(done, total)
    return finish_phantom(out, rows, entries)
