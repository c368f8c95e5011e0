"""How many altered copies of a film are found again, and how many films of different patients are taken for one.

    python benchmarks/duplicates.py ../shared/covidx-mini [--films 100] [--half report]

The dataset's patients are cut into two halves: constants were chosen on `tune`, figures are those of `report`. Each
row of the table: so many films of the half, altered, are put beside all films of it, and looked for.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from xray_debug.config import PrepareConfig
from xray_debug.data.duplicates import near_pairs
from xray_debug.data.files import write_json
from xray_debug.data.formats import read_rows
from xray_debug.data.images import read_image
from xray_debug.data.likeness import outline, reduced
from xray_debug.data.scan import scan_image
from xray_debug.data.view import ModelView, to_gray8
from xray_debug.stats.seeds import seed_of


def crop(left: float, top: float, right: float, bottom: float) -> Callable:
    def act(film: np.ndarray) -> np.ndarray:
        height, width = film.shape
        return film[int(height * top) : height - int(height * bottom), int(width * left) : width - int(width * right)]

    return act


def border(share: float, grey: int = 0) -> Callable:
    def act(film: np.ndarray) -> np.ndarray:
        side = int(share * max(film.shape))
        return cv2.copyMakeBorder(film, side, side, side, side, cv2.BORDER_CONSTANT, value=grey)

    return act


def jpeg(film: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", film, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_GRAYSCALE)


def letter(film: np.ndarray) -> np.ndarray:
    height, width = film.shape
    place, size = (int(0.08 * width), int(0.16 * height)), height / 300
    return cv2.putText(film.copy(), "R", place, cv2.FONT_HERSHEY_SIMPLEX, size, 255, max(height // 130, 1))


def mirror(film: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(film[:, ::-1])


def invert(film: np.ndarray) -> np.ndarray:
    return 255 - film


def clahe(limit: float) -> Callable:
    return lambda film: cv2.createCLAHE(limit, (8, 8)).apply(np.ascontiguousarray(film))


def gamma(power: float) -> Callable:
    table = (255 * (np.arange(256) / 255) ** power).round().astype(np.uint8)
    return lambda film: table[film]


def half(film: np.ndarray) -> np.ndarray:
    return cv2.resize(film, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def both(*acts: Callable) -> Callable:
    def act(film: np.ndarray) -> np.ndarray:
        for one in acts:
            film = one(film)
        return film

    return act


ALTERED = {
    "crop 2 % each side": crop(0.02, 0.02, 0.02, 0.02), "crop 5 % each side": crop(0.05, 0.05, 0.05, 0.05),
    "crop 10 % each side": crop(0.1, 0.1, 0.1, 0.1), "crop 10 % of two sides": crop(0.1, 0.1, 0, 0),
    "crop 2, 5, 8, 0 %": crop(0.02, 0.05, 0.08, 0), "border 5 %, black": border(0.05),
    "border 10 %, white": border(0.1, 255), "mirror": mirror, "inversion": invert, "CLAHE, limit 2": clahe(2),
    "CLAHE, limit 4": clahe(4), "gamma 0.6": gamma(0.6), "gamma 1.8": gamma(1.8), "half the size": half,
    "JPEG 50": jpeg,
    "a burned-in letter": letter, "crop 5 %, letter, JPEG 50, half": both(crop(*[0.05] * 4), letter, jpeg, half),
    "mirror, inversion, crop 5 %": both(mirror, invert, crop(*[0.05] * 4)),
    "crop 5 %, border 5 %, gamma 1.8": both(crop(*[0.05] * 4), border(0.05), gamma(1.8)),
}  # fmt: skip


def measure(root: Path, half_name: str, films: int) -> dict:
    rows = [row for row in read_rows(root) if not row["problem"]]
    wanted = 1 if half_name == "report" else 0
    rows = [row for row in rows if seed_of("half", row["patient_id"]) % 2 == wanted]
    grays = [to_gray8(read_image(root / row["path"])) for row in rows]
    known = np.stack([outline(reduced(gray)) for gray in grays])
    least = PrepareConfig().near_duplicate_agreement
    started = time.process_time()
    among = near_pairs(known, least)
    seconds = time.process_time() - started
    result = {"half": half_name, "images": len(rows), "least agreement": least, "seconds": round(seconds, 1)}
    result["pairs of one patient"] = sum(rows[a]["patient_id"] == rows[b]["patient_id"] for a, b, *_ in among)
    result["pairs of several patients"] = [
        [rows[a]["image_id"], rows[b]["image_id"], mirrored, round(value, 3)] for a, b, mirrored, value in among
        if rows[a]["patient_id"] != rows[b]["patient_id"]]  # fmt: skip
    chosen = np.linspace(0, len(rows) - 1, min(films, len(rows))).astype(int)
    found = {}
    for name, act in ALTERED.items():
        copies = np.stack([outline(reduced(np.ascontiguousarray(act(grays[i])))) for i in chosen])
        pairs = {(a, b) for a, b, *_ in near_pairs(np.concatenate([known, copies]), least)}
        found[name] = float(np.mean([(i, len(known) + n) in pairs for n, i in enumerate(chosen)]))
        print(f"{name:36} {found[name]:6.1%}", flush=True)
    return result | {"copies": len(chosen), "found": found, "scan": cost(root, rows[::10])}


def cost(root: Path, rows: list[dict]) -> dict:
    """Processor time of the scan of an image, and of its outline in it, in milliseconds."""
    spent = {}
    for name, act in (("scan", lambda path: scan_image(path, ModelView(224))),
                      ("outline", lambda path: outline(reduced(to_gray8(read_image(path))))),
                      ("decode", lambda path: to_gray8(read_image(path)))):  # fmt: skip
        started = time.process_time()
        for row in rows:
            act(root / row["path"])
        spent[name] = 1000 * (time.process_time() - started) / len(rows)
    return {"scan": round(spent["scan"], 2), "outline": round(spent["outline"] - spent["decode"], 2)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--half", choices=("tune", "report"), default="report")
    parser.add_argument("--films", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/duplicates.json"))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    figures = measure(options.data, options.half, options.films)
    print(json.dumps({name: value for name, value in figures.items() if name != "found"}, indent=1))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, figures)
