"""explain-image: pictures of what a model says of some films, by one method or several side by side."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from xray_debug.config import ConfigError
from xray_debug.data.explanation import write_explanation
from xray_debug.data.images import read_film
from xray_debug.models.explainer import ExplainWorker, checked_method
from xray_debug.models.predict import probabilities
from xray_debug.saliency import METHODS
from xray_debug.saliency.plots import Compared, Explained, compare_figure, explain_figure
from xray_debug.saliency.result import alike

MOST = 32  # films in one picture


class Way(NamedTuple):
    """One way to explain: a method and the preset of it that was asked for, None for its own default."""

    method: str
    preset: str | None = None

    @property
    def name(self) -> str:
        return self.method if self.preset is None else f"{self.method} {self.preset}"

    @property
    def options(self) -> dict:
        return {} if self.preset is None else {"preset": self.preset}


def ways_of(methods: Sequence[str], presets: Sequence[str]) -> list[Way]:
    """Each method once, those that have presets once with each of `presets`. ConfigError for what there is not."""
    ways, used = [], False
    for method in dict.fromkeys(methods):
        checked_method(method, {})
        own = list(dict.fromkeys(presets)) if "preset" in inspect.signature(METHODS[method]).parameters else []
        used = used or bool(own)
        ways += [Way(method, preset) for preset in own or [None]]
    for way in ways:
        checked_method(way.method, way.options)
    if presets and not used:
        checked_method(methods[0], {"preset": presets[0]})  # says what it takes
    return ways


def presets_of(method: str) -> list[str]:
    """The presets of a method, the first one its default; none where it has none."""
    return sorted(getattr(METHODS[method], "presets", ()), key=lambda name: name != "default")


def explain_images(images: Sequence[Path], model: Path, ways: Sequence[Way], target: str | None, picture: Path,
                   mask_size: int = 28, seed: int = 0, trusted: bool = False, data: Path | None = None,
                   progress: Callable[[str, int, int], None] | None = None) -> list[str]:  # fmt: skip
    """One picture (PNG) of all images and ways; the facts of each, a line for each map.

    One image explained in one way: the film, its map, the overlay and the curves. Else the paper's Figure 2: a row for
    each image, with the film, an overlay for each way, and the curves of deletion and insertion. `target` None explains
    what is predicted. `trusted`: see load_checkpoint. `data`: a folder for write_explanation, of one map alone.
    `progress`: called with (what is done, done, of how many).
    """
    if picture.suffix.lower() != ".png":
        raise ConfigError(f"--out {picture}: expected a file name ending in .png")
    if not 1 <= len(images) <= MOST:
        raise ConfigError(f"images: expected 1 to {MOST}, got {len(images)}")
    if data is not None and len(images) * len(ways) > 1:
        raise ConfigError(f"--data {data}: expected one image and one method, got {len(images)} and {len(ways)}")
    if data is not None and data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise ConfigError(f"--data {data}: is there already, expected a new or empty folder")
    views, targets, rows, lines = [], [], [], []
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for way in ways:
        if progress:
            progress("load the model", 0, 1)
        worker = ExplainWorker(str(model), way.method, way.options, mask_size, seed, device, trusted=trusted)
        worker.open()
        worker.progress = progress
        if not views:
            views = [worker.model.view.apply(*read_film(image)) for image in images]
            targets = [target or predicted_class(worker.model, view) for view in views]
        rows.append([])
        for image, view, wanted in zip(images, views, targets, strict=True):
            started = time.perf_counter()
            row = worker([{"image_id": image.name, "view": view, "target": wanted}])[0]
            rows[-1].append(row)
            seconds = time.perf_counter() - started
            lines.append(_said(image, way, row, seconds, len(images) * len(ways) > 1))
    found = [[explained(way, row) for way, row in zip(ways, own, strict=True)] for own in zip(*rows, strict=True)]
    said = [said_of(row) for row in rows[0]]
    if data is not None:
        known = [round(float(value), 6) for value in probabilities(worker.model, views[0][None])[0]]
        write_explanation(data, images[0].name, read_film(images[0]), worker.model.view, rows[0][0],
                          seconds=round(seconds, 1), preset=ways[0].preset, classes=worker.model.classes,
                          probabilities=known)  # fmt: skip
    if len(lines) == 1:
        explain_figure(views[0], found[0][0], f"{images[0].name}: {said[0]} ({ways[0].name})", picture)
    else:
        names = [image.name for image in images]
        compare_figure([Compared(*row) for row in zip(views, names, said, found, strict=True)], picture)
    return lines


def predicted_class(model, view) -> str:
    return model.classes[int(probabilities(model, view[None])[0].argmax())]


def explained(way: Way, row: dict) -> Explained:
    return Explained(way.name, row["saliency"], row["deletion_curve"], row["insertion_curve"], row["deletion"],
                     row["insertion"], row["hardly_moved"])  # fmt: skip


def said_of(row: dict) -> str:
    """The class and its probability, and that of the blurred film where it is about the same."""
    blurred = f" (blurred {row['deletion_curve'][-1]:.3f})" if _alike(row) else ""
    return f"{row['target']} {row['probability']:.3f}{blurred}"


def _alike(row: dict) -> bool:
    return bool(alike(*torch.as_tensor(row["deletion_curve"])[[0, -1]]))


def _said(image: Path, way: Way, row: dict, seconds: float, named: bool) -> str:
    start = f"{image.name}, {way.name}: " if named else ""
    still = ", the masks hardly moved" if row["hardly_moved"] else ""
    same = ", the blurred film says about the same: there is nothing to explain" if _alike(row) else ""
    return (f"{start}{said_of(row)}, deletion {row['deletion']:.3f}, insertion "
            f"{row['insertion']:.3f}, {seconds:.1f} s{same}{still}")  # fmt: skip
