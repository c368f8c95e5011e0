"""Explains cases for the explain stage and explain-image: knows models and files, which saliency does not."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from xray_debug.config import ConfigError, ExplainConfig
from xray_debug.models import load_checkpoint

Case = tuple[str, np.ndarray, str]  # image_id, uint8 (S, S) as the model sees it, target class
FIXED_SIZE = {"gradcam", "integrated_gradients", "gradient"}  # their maps have the size the network gives


def case_seed(seed: int, image_id: str) -> int:
    """A seed of its own for each image, so that a case's map does not depend on its neighbours."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{image_id}".encode()).digest()[:4], "big")


class Explainer:
    """Explains cases with one model and one method; every map is saved as soon as it is there."""

    def __init__(self, model_folder: Path, config: ExplainConfig, seed: int, device: str = "cpu"):
        from xray_debug.saliency import METHODS

        if config.method not in METHODS:
            raise ConfigError(f"explain.method: expected one of {', '.join(METHODS)}, got {config.method!r}")
        self.model = load_checkpoint(model_folder).to(device).eval()
        self.method, self.config, self.seed, self.device = METHODS[config.method], config, seed, device

    def explain(self, cases: Sequence[Case]) -> list[dict]:
        """One row per case: the map (m, m) and its deletion and insertion curves and areas."""
        from xray_debug.saliency import deletion_insertion

        images = torch.from_numpy(np.stack([image for _, image, _ in cases])).to(self.device)[:, None].float() / 255
        targets = torch.tensor([self.target_of(name) for _, _, name in cases], device=self.device)
        options = dict(self.config.options)
        if self.config.method not in FIXED_SIZE:
            options |= {"mask_size": self.config.mask_size, "seed": [case_seed(self.seed, c[0]) for c in cases]}
        start = time.perf_counter()
        try:
            found = self.method(self.model, images, targets, **options)
        except TypeError as error:
            raise ConfigError(f"explain.options: {self.config.method} does not take them: {error}") from error
        seconds = (time.perf_counter() - start) / len(cases)
        curves = deletion_insertion(self.model, images, found.saliency, targets)
        with torch.no_grad():
            chosen = self.model(images).softmax(1).gather(1, targets[:, None])[:, 0]
        return [
            {
                "image_id": image_id,
                "target": target,
                "method": self.config.method,
                "mask_size": int(found.saliency.shape[-1]),
                "probability": float(chosen[i]),
                "deletion": float(curves.deletion[i]),
                "insertion": float(curves.insertion[i]),
                "seconds": seconds,
                "saliency": found.saliency[i, 0].cpu().numpy(),
                "deletion_curve": curves.deletion_curve[i].cpu().numpy(),
                "insertion_curve": curves.insertion_curve[i].cpu().numpy(),
            }
            for i, (image_id, _, target) in enumerate(cases)
        ]

    def target_of(self, name: str) -> int:
        if name not in self.model.classes:
            raise ConfigError(f"target: expected one of the model's classes {self.model.classes}, got {name!r}")
        return self.model.classes.index(name)

    def explain_all(
        self, cases: Sequence[Case], folder: Path, progress: Callable[[int, int], None] | None = None
    ) -> pd.DataFrame:
        """All cases in batches into `folder`/<image_id>.npz; those already there are not computed again."""
        folder.mkdir(parents=True, exist_ok=True)
        todo = [case for case in cases if not (folder / f"{case[0]}.npz").exists()]
        done = len(cases) - len(todo)
        for start in range(0, len(todo), self.config.batch_size):
            batch = todo[start : start + self.config.batch_size]
            for row in self.explain(batch):
                save_map(row, folder / f"{row['image_id']}.npz")
            done += len(batch)
            if progress:
                progress(done, len(cases))
        rows = [read_facts(folder / f"{case[0]}.npz") for case in cases]
        columns = ["image_id", "target", "method", "mask_size", "probability", "deletion", "insertion", "seconds"]
        return pd.DataFrame(rows, columns=columns)


def save_map(row: dict, file: Path) -> None:
    """Arrays and facts of one case in one .npz (no pickle), written whole or not at all."""
    arrays = {name: value for name, value in row.items() if isinstance(value, np.ndarray)}
    facts = {name: value for name, value in row.items() if not isinstance(value, np.ndarray)}
    temporary = file.with_name(file.name + ".tmp")
    with temporary.open("wb") as stream:
        np.savez_compressed(stream, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)
    os.replace(temporary, file)


def read_facts(file: Path) -> dict:
    with np.load(file, allow_pickle=False) as stored:
        return json.loads(stored["facts"].tobytes())
