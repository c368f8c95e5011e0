"""One training in this process, as it was begun in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from xray_debug.config import TrainConfig
from xray_debug.data.files import atomic_write
from xray_debug.models.checkpoint import save_checkpoint
from xray_debug.models.classifier import XrayClassifier
from xray_debug.models.job import HISTORY, JOB, LAST, ROWS, Data, How
from xray_debug.models.precision import on_gpu
from xray_debug.models.threads import threads_of

Progress = Callable[[int, int], None]


def device_count(config: TrainConfig) -> int:
    """`devices` as a number."""
    if config.devices != "auto":
        return config.devices
    return max(torch.cuda.device_count(), 1) if on_gpu(config.accelerator) else 1


def train_here(
    model: XrayClassifier, data: Data, config: TrainConfig, folder: Path, seed: int, key: str, how: How,
    progress: Progress | None = None, repair: str = "",
) -> None:  # fmt: skip
    """Trains in this process into a folder of write_begun. Under DDP all processes come here, and the first writes."""
    from xray_debug.models.loop import Plan, run  # Lightning takes seconds to import

    with threads_of(how.threads):
        found = run(Plan(model, data, config, folder, seed, key, how.precision, device_count(config), repair), progress)
    if found is None:
        return
    rows, best = found
    model.net.load_state_dict(best)
    row = [r for r in rows if r["best"]][-1]
    model.extra = {"key": key, "seed": seed, "best_epoch": row["epoch"], "val_f1": row["val_f1"], **vars(how)}
    history = pd.DataFrame(rows).to_csv(index=False).encode()
    atomic_write(folder / HISTORY, lambda file: file.write(history), sync=True)  # model.json vouches for it
    save_checkpoint(model.eval(), folder, **model.extra)
    for name in (LAST, JOB, ROWS):
        (folder / name).unlink(missing_ok=True)
