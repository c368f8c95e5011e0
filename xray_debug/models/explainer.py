"""Explains what a classifier says of images: knows model folders and files, which saliency does not."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np
import torch

from xray_debug.config import ConfigError
from xray_debug.models.checkpoint import load_checkpoint
from xray_debug.models.inference import load_for_inference
from xray_debug.models.own.loading import FORWARD_ONLY, NEEDS_NONE
from xray_debug.models.predict import to_batch
from xray_debug.models.sanity import SANITY, SanityChecks
from xray_debug.saliency import METHODS, Explanation, deletion_insertion, sparseness
from xray_debug.saliency.asking import OddInput
from xray_debug.saliency.result import StillMask
from xray_debug.stats.seeds import seed_of

LAYERED = {"gradcam"}  # methods that look into layers, which are others in a folded network


NOT_OPTIONS = {"model", "images", "targets", "baselines", "mask_size", "seed", "output", "reshape_transform",
               "progress"}  # fmt: skip


def checked_method(method: str, options: dict) -> None:
    """ConfigError where there is no such method, or where it does not take these options."""
    try:
        METHODS.check(method, "explain.method")
    except ValueError as error:
        raise ConfigError(str(error)) from error
    parameters = inspect.signature(METHODS[method]).parameters.values()
    names = {p.name for p in parameters} - NOT_OPTIONS
    unknown = sorted(set(options) - names)
    if unknown:
        raise ConfigError(f"explain.options: {method} does not take {unknown[0]}; it takes {', '.join(sorted(names))}")
    try:
        getattr(METHODS[method], "check_options", dict)(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"explain.options: {error}") from error


@dataclass
class ExplainWorker:
    """Saliency maps and their deletion and insertion curves, with one model and one method.

    Rows carry image_id, view (uint8 (S, S), what the model sees), target (a class's name) and, where its sanity checks
    are wanted, `sanity` (true). Results: image_id, target, method, mask_size, probability (of the target), deletion,
    insertion (areas under the curves), sparseness (Gini index), objective (final, NaN for a method without one) and its
    parts (objective_...), hardly_moved, saliency (m, m) float32 in [0, 1], deletion_curve, insertion_curve, and the
    SANITY checks (None where not wanted).

    An image's noise has a seed of its own. On a CPU images are explained one by one, which costs nothing there (the
    methods send many altered images through the network for each) and makes a result the same whatever stands beside
    it. On a GPU up to `batch_size` are explained together, and the last digits can differ. `trusted`: see
    load_checkpoint.

    `progress`, an attribute: called with (what is done, done, of how many) for one image and the next, in this process.
    """

    model_folder: str
    method: str = "igos_pp"
    options: dict = field(default_factory=dict)
    mask_size: int = 28
    seed: int = 0
    device: str = "cpu"
    batch_size: int = 8
    trusted: bool = False
    progress: ClassVar[Callable[[str, int, int], None] | None] = None  # no field: a worker is sent to other processes

    def open(self) -> None:
        """Loads the model. ConfigError for a method or options there are not, ValueError for a bad model folder."""
        checked_method(self.method, self.options)
        load = load_checkpoint if self.method in LAYERED else load_for_inference
        self.model = load(self.model_folder, trusted=self.trusted).to(self.device)
        if not self.model.differentiable and self.method not in FORWARD_ONLY:
            raise ConfigError(f"explain.method: {self.method} needs gradients, which the model {self.model.name} does "
                              f"not give; {NEEDS_NONE}")  # fmt: skip
        self.checks = SanityChecks(self.model_folder, self.method, self.options, self.mask_size, self.seed, self.device,
                                   fold=self.method not in LAYERED, trusted=self.trusted)  # fmt: skip
        for known in (StillMask, OddInput):  # in the results: hardly_moved, the curves
            warnings.simplefilter("ignore", known)

    def __call__(self, rows: list[dict]) -> list[dict]:
        """ConfigError for a target that the model does not have, ValueError where the model gives NaN or infinity."""
        size = 1 if torch.device(self.device).type == "cpu" else self.batch_size
        return [row for i in range(0, len(rows), size) for row in self._explain(rows[i : i + size])]

    def _explain(self, rows: list[dict]) -> list[dict]:
        images = to_batch(np.stack([row["view"] for row in rows]), self.device)
        targets = torch.tensor([self._target(row["target"]) for row in rows], device=self.device)
        seeds = [seed_of("explain", self.seed, row["image_id"]) >> 1 for row in rows]
        try:
            found = METHODS[self.method](
                self.model, images, targets, mask_size=self.mask_size, seed=seeds, **self.options, **self._told()
            )  # fmt: skip
            self._tell("deletion and insertion", 0, 1)
            curves = deletion_insertion(self.model, images, found.saliency, targets)
        except TypeError as error:
            raise ConfigError(f"explain.options: {self.method} does not take them: {error}") from error
        except ValueError as error:
            names = rows[0]["image_id"] if len(rows) == 1 else f"{len(rows)} images from {rows[0]['image_id']} on"
            raise ValueError(f"{names}: {error}") from error
        sparse, still = sparseness(found.saliency), found.hardly_moved
        return [
            {
                "image_id": row["image_id"],
                "target": row["target"],
                "method": self.method,
                "mask_size": int(found.saliency.shape[-1]),
                "probability": float(curves.deletion_curve[i, 0]),  # nothing is deleted yet
                "deletion": float(curves.deletion[i]),
                "insertion": float(curves.insertion[i]),
                "sparseness": float(sparse[i]),
                "hardly_moved": bool(still[i]),
                **_objective(found, i),
                "saliency": found.saliency[i, 0].cpu().numpy(),
                "deletion_curve": curves.deletion_curve[i].cpu().numpy(),
                "insertion_curve": curves.insertion_curve[i].cpu().numpy(),
                **self._sanity(row, images[i : i + 1], targets[i : i + 1], found.saliency[i : i + 1], seeds[i]),
            }
            for i, row in enumerate(rows)
        ]

    def _told(self) -> dict[str, Callable]:
        """The option by which a method that iterates tells how far it is."""
        takes = "progress" in inspect.signature(METHODS[self.method]).parameters
        return {"progress": partial(self._tell, self.method)} if takes and self.progress else {}

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.progress:
            self.progress(what, done, total)

    def _sanity(self, row, image, target, saliency, seed: int) -> dict[str, float | None]:
        return self.checks(self.model, image, target, saliency, seed) if row.get("sanity") else dict.fromkeys(SANITY)

    def _target(self, name: str) -> int:
        if name not in self.model.classes:
            raise ConfigError(f"target: expected one of the model's classes {self.model.classes}, got {name!r}")
        return self.model.classes.index(name)


def _objective(found: Explanation, row: int) -> dict[str, float]:
    """The final objective of one image and its parts."""
    parts = {name: float(values[row]) for name, values in (found.objective or {}).items()}
    return {"objective": parts.pop("total", math.nan), **{f"objective_{name}": value for name, value in parts.items()}}
