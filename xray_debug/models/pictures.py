"""One picture an image of what a model says of it, as the engine's work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xray_debug.config import ConfigError
from xray_debug.data.unchanged import read_known
from xray_debug.models.explain_images import explained, predicted_class, said_of, ways_of
from xray_debug.models.explainer import ExplainWorker
from xray_debug.saliency.plots import explain_figure


@dataclass
class PictureWorker:
    """Rows with image_id, file, sha256 and picture (a path) -> the row of ExplainWorker and `picture`, its name.

    `target`: a class of the model; None: what it predicts for each image.
    """

    model: str
    method: str = "igos_pp"
    preset: str | None = None
    target: str | None = None
    mask_size: int = 28
    seed: int = 0
    trusted: bool = False  # a model that is a program may be run
    batch = 1

    def open(self) -> None:
        """ConfigError for a method, preset or class that there is not, ValueError for a bad model."""
        self.way = ways_of([self.method], [self.preset] if self.preset else [])[0]
        self.worker = ExplainWorker(self.model, self.way.method, self.way.options, self.mask_size, self.seed,
                                    trusted=self.trusted)  # fmt: skip
        self.worker.open()
        classes = self.worker.model.classes
        if self.target is not None and self.target not in classes:
            raise ConfigError(f"--target {self.target}: expected one of {', '.join(classes)}")

    def __call__(self, rows: list[dict]) -> list[dict]:
        return [self._one(row) for row in rows]

    def _one(self, row: dict) -> dict:
        model, film = self.worker.model, read_known(row["file"], row["sha256"])
        view = model.view.apply(*film)
        target = self.target or predicted_class(model, view)
        found = self.worker([{"image_id": row["image_id"], "view": view, "target": target}])[0]
        title = f"{row['image_id']}: {said_of(found)} ({self.way.name})"
        explain_figure(view, explained(self.way, found), title, row["picture"])
        return {name: value for name, value in found.items() if isinstance(value, str | int | float)} | {
            "picture": Path(row["picture"]).name
        }
