"""Many image files through a detector, in batches, memory bounded: the table of text boxes and what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from xray_debug.data.images import read_image
from xray_debug.text.detectors.registry import Detector

COLUMNS = {"image_id": "object", "x0": "int64", "y0": "int64", "x1": "int64", "y1": "int64", "score": "float64",
           "detector": "object"}


def detect_table(
    detector: Detector, items: Sequence[tuple[str, str | Path]], batch_size: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """(table of boxes, {image_id: problem}) for `items` of (image_id, path).

    The table has one row per box, columns image_id x0 y0 x1 y1 score detector; an image without text has none. A file
    that cannot be read or detected in is named in the problems and left out. The next batch is decoded in a thread
    while the detector works on this one, so two batches of images are in memory at most.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    items, rows, problems, done = list(items), [], {}, 0
    for batch in _batches(items, batch_size):
        good = [(name, image) for name, image in batch if isinstance(image, np.ndarray)]
        problems |= {name: image for name, image in batch if isinstance(image, str)}
        for name, found in _detect(detector, good).items():
            if isinstance(found, str):
                problems[name] = found
            else:
                rows += [(name, *box, detector.name) for box in found]
        done += len(batch)
        if progress:
            progress(done, len(items))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS), problems


def _batches(items, batch_size: int) -> Iterator[list[tuple[str, np.ndarray | str]]]:
    parts = [items[start:start + batch_size] for start in range(0, len(items), batch_size)]
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(_read, parts[0]) if parts else None
        for following in [*parts[1:], None][:len(parts)]:
            batch = coming.result()
            coming = pool.submit(_read, following) if following else None
            yield batch


def _read(part) -> list[tuple[str, np.ndarray | str]]:
    """Each image, or in its place the sentence that says why there is none."""
    result = []
    for name, path in part:
        try:
            result.append((name, read_image(path)))
        except (ValueError, OSError) as error:
            result.append((name, str(error)))
    return result


def _detect(detector: Detector, images: list[tuple[str, np.ndarray]]) -> dict[str, list | str]:
    """Boxes by name; where the batch fails, one image at a time, so that one bad image spoils no other."""
    try:
        return dict(zip((name for name, _ in images), detector.detect([image for _, image in images]), strict=True))
    except (ValueError, TypeError) as error:
        if len(images) == 1:
            return {images[0][0]: f"{images[0][0]}: {error}"}
        return {k: v for item in images for k, v in _detect(detector, [item]).items()}
