"""Measures cleaning on the phantom, where the marker-free truth is known, and times it.

    python benchmarks/cleaning.py [--images N] [--folder DATASET] [--json FILE]

One table for each question: which region to erase (error against the truth, change of a classifier's probability
against its probability on the truth), what gives a repaired place away (the probe), and how fast it goes against a
plain loop of cv2.inpaint over whole images.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from xray_debug.cleaning.controls import image_seed
from xray_debug.cleaning.dataset import PROBE_IMAGES, clean_dataset
from xray_debug.cleaning.erase import clean_image, erase
from xray_debug.cleaning.inpainting import inpaint_boxes
from xray_debug.config import CleanConfig, PhantomConfig, TrainConfig, ViewConfig
from xray_debug.data.boxes import as_boxes, rasterise_boxes
from xray_debug.data.images import ModelView, read_image, write_image
from xray_debug.models import build_model, load_checkpoint
from xray_debug.models.fit import fit
from xray_debug.models.predict import probabilities as predict
from xray_debug.phantom import CLASSES, PhantomCase, make_case

DILATIONS = (0.0, 0.1, 0.15, 0.25, 0.4)
SHAPES = ("box", "letters")
MARGINS = {"tight": (0.0, 0.0), "loose": (0.05, 0.30), "short": (-0.12, 0.0)}  # of the shorter side, each side apart
TRAIN_SIZE = 96


def marker_boxes(case: PhantomCase) -> list[list[int]]:
    """The letters' boxes; a circle or plate around a letter counts as part of it, as detectors are to report it."""
    return [entry.get("outer") or entry["box"] for entry in case.boxes]


def disturbed(boxes, kind: str, name: str) -> np.ndarray:
    """Boxes as a detector might give them: each side moved out (or in) by its own share of the shorter side."""
    rng, low_high = np.random.default_rng(image_seed(0, name)), MARGINS[kind]
    array = as_boxes(boxes).astype(float)
    shorter = (array[:, 2:] - array[:, :2]).min(axis=1, keepdims=True)
    return as_boxes(array + rng.uniform(*low_high, array.shape) * shorter * np.array([-1, -1, 1, 1]))



# --------------------------------------------------------------------------------------------- the classifier


def draw(config: PhantomConfig, name: str, count: int, seed: int, reverse: bool = False) -> list[PhantomCase]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda i: make_case(config, CLASSES[i % 3], (name, seed, i), reverse=reverse),
                             range(count)))  # fmt: skip


def shortcut_classifier(config: PhantomConfig, images: int, seed: int, folder: Path):
    """A classifier trained on marked phantoms, so one that reads the markers: the strictest judge of what is left."""
    if (folder / "model.json").exists():
        return load_checkpoint(folder)
    view = ViewConfig(size=TRAIN_SIZE)
    settings = TrainConfig(view=view, epochs=12, batch_size=32, learning_rate=2e-3)
    cases = draw(config, "train", images, seed)
    labels = np.arange(images) % 3
    pixels = np.stack([ModelView.from_config(view).apply(case.image) for case in cases])
    cut = images * 5 // 6
    model = build_model("covidnet", CLASSES, ModelView.from_config(view), seed=seed)
    fit(model, pixels[:cut], labels[:cut], pixels[cut:], labels[cut:], settings, folder, seed)
    return model


def probabilities(model, images: list[np.ndarray]) -> np.ndarray:
    return predict(model, np.stack([model.view.apply(image) for image in images]))


def accuracy(model, cases: list[PhantomCase]) -> float:
    found = probabilities(model, [case.image for case in cases]).argmax(1)
    return float(np.mean([CLASSES[k] == case.label for k, case in zip(found, cases, strict=True)]))


# --------------------------------------------------------------------------------------------- which region


def measure_region(cases: list[PhantomCase], model, truth: np.ndarray, kind: str, settings: CleanConfig) -> dict:
    """Error of cleaning under one setting, means over the cases.

    mae: |cleaned - truth| inside the region. cost: the same summed over the whole image, per pixel of the marker's
    boxes. left: share of the marker's own pixels (|marked - truth| >= 4) outside the region. change:
    |p(cleaned) - p(truth)| of the labelled class; change_p95 its 95th percentile. `truth` are the (N, K)
    probabilities of the marker-free images.
    """
    rows, cleaned_images = [], []
    for i, case in enumerate(cases):
        boxes = disturbed(marker_boxes(case), kind, str(i))
        cleaned, region = clean_image(case.image, boxes, settings)
        error = np.abs(cleaned.astype(float) - case.clean)
        marker = np.abs(case.image.astype(float) - case.clean) >= 4
        area = rasterise_boxes(marker_boxes(case), *case.image.shape).sum()
        rows.append((error[region].mean(), error.sum() / area, (marker & ~region).sum() / max(marker.sum(), 1),
                     region.sum() / area))  # fmt: skip
        cleaned_images.append(cleaned)
    own = [CLASSES.index(case.label) for case in cases]
    change = np.abs(probabilities(model, cleaned_images) - truth)[np.arange(len(own)), own]
    names = ("mae", "cost", "left", "area")
    return dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True)) | {
        "change": float(change.mean()),
        "change_low": float(np.quantile(_means(change), 0.025)),
        "change_high": float(np.quantile(_means(change), 0.975)),
        "change_p95": float(np.quantile(change, 0.95)),
    }


def _means(values: np.ndarray, samples: int = 1000) -> np.ndarray:
    rng = np.random.default_rng(0)
    return values[rng.integers(len(values), size=(samples, len(values)))].mean(axis=1)


def region_table(cases, model) -> list[dict]:
    """Every shape, dilation and kind of box; and the marked images themselves as the zero line."""
    own = [CLASSES.index(case.label) for case in cases]
    truth, marked = (probabilities(model, [getattr(c, name) for c in cases]) for name in ("clean", "image"))
    change = np.abs(marked - truth)[np.arange(len(own)), own]
    rows = [{"boxes": "(not cleaned)", "shape": "", "dilation": None, "change": float(change.mean()),
             "change_p95": float(np.quantile(change, 0.95))}]  # fmt: skip
    for kind in MARGINS:
        for shape in SHAPES:
            for dilation in DILATIONS:
                settings = CleanConfig(shape=shape, dilation=dilation, min_dilation=0 if dilation == 0 else 2)
                rows.append({"boxes": kind, "shape": shape, "dilation": dilation}
                            | measure_region(cases, model, truth, kind, settings))  # fmt: skip
    return rows


# --------------------------------------------------------------------------------------------- traces


def write_cases(cases: list[PhantomCase], folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The cases as files with their manifest and boxes."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, boxes = [], []
    for i, case in enumerate(cases):
        name = f"{i:05d}.png"
        write_image(folder / name, case.image)
        rows.append({"image_id": name, "split": "test", "patient_id": str(i), "label": case.label,
                     "source": case.source, "path": name, "test_set": "test", "problem": ""})  # fmt: skip
        boxes += [{"image_id": name, **dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))}
                  for box in marker_boxes(case)]  # fmt: skip
    return pd.DataFrame(rows), pd.DataFrame(boxes, columns=["image_id", "x0", "y0", "x1", "y1"])


def trace_table(cases: list[PhantomCase], folder: Path) -> list[dict]:
    """The probe's area under the ROC curve; beside it that of the truth inpainted in the same places, which no
    trace of text can raise: what remains of it is the place itself."""
    rows = []
    marked, boxes = write_cases(cases, folder / "marked")
    truth = [PhantomCase(c.clean, c.clean, c.label, c.boxes, source=c.source) for c in cases]
    write_cases(truth, folder / "truth")
    for shape in SHAPES:
        for dilation in DILATIONS:
            settings = CleanConfig(shape=shape, dilation=dilation, min_dilation=0 if dilation == 0 else 2)
            row = {"shape": shape, "dilation": dilation}
            for name in ("marked", "truth"):
                if name == "truth" and shape == "letters":  # no letters to find in the truth
                    continue
                out = folder / f"{name}-{shape}-{dilation}"
                changes = clean_dataset(marked, folder / name, boxes, out, settings, probe_images=PROBE_IMAGES)
                row |= {f"{name}_{key}": changes.attrs["probe"][key] for key in ("auc", "low", "high")}
            rows.append(row)
    return rows


# --------------------------------------------------------------------------------------------- speed


def speed_table(images: list[np.ndarray], boxes: list[np.ndarray], folder: Path, repeat: int = 2) -> list[dict]:
    """Images per second of inpainting alone and of whole files, against a plain loop; best of `repeat`."""
    manifest = pd.DataFrame({"image_id": [f"{i:05d}.png" for i in range(len(images))], "split": "test",
                             "patient_id": "p", "label": "normal", "source": "s", "test_set": "test", "problem": "",
                             "sha256": "0" * 64})  # fmt: skip
    manifest["path"] = manifest["image_id"]
    table = pd.DataFrame([{"image_id": f"{i:05d}.png", **dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))}
                          for i, own in enumerate(boxes) for box in own.tolist()])  # fmt: skip
    source = folder / "speed"
    source.mkdir(parents=True)
    for name, image in zip(manifest["image_id"], images, strict=True):
        write_image(source / name, image)
    masks = [rasterise_boxes(own, *image.shape[:2]).astype(np.uint8) for image, own in zip(images, boxes, strict=True)]
    settings = CleanConfig(dilation=0, min_dilation=0)
    patches = [erase(image, own, settings).patch for image, own in zip(images, boxes, strict=True)]

    def plain_files():
        for name, mask in zip(manifest["image_id"], masks, strict=True):
            cleaned = cv2.inpaint(read_image(source / name), mask, 10, cv2.INPAINT_TELEA)
            write_image(folder / "plain.png", cleaned)

    attempts = iter(range(100))
    tasks = {
        "pixels: plain cv2.inpaint, whole image": lambda: [
            cv2.inpaint(image, mask, 10, cv2.INPAINT_TELEA) for image, mask in zip(images, masks, strict=True)
        ],
        "pixels: inpaint_boxes": lambda: [inpaint_boxes(image, own) for image, own in zip(images, boxes, strict=True)],
        "pixels: laid over from patches": lambda: [
            erase(image, own, settings, patch) for image, own, patch in zip(images, boxes, patches, strict=True)
        ],
        "files: plain loop of cv2.inpaint": plain_files,
        "files: clean_dataset": lambda: clean_dataset(
            manifest, source, table, folder / f"out{next(attempts)}", settings
        ),
        "files: clean_dataset with its control": lambda: clean_dataset(
            manifest, source, table, folder / f"out{next(attempts)}", settings, control=folder / f"out{next(attempts)}"
        ),
    }
    rows, base = [], np.ones(2)
    for name, task in tasks.items():
        spent = np.min([_seconds(task) for _ in range(repeat)], axis=0) / len(images)
        base = spent if ": plain" in name else base
        rows.append({"what": name, "images_per_second": 1 / spent[0], "cpu_ms_per_image": 1000 * spent[1],
                     "times_plain": base[0] / spent[0], "times_plain_cpu": base[1] / spent[1]})  # fmt: skip
    return rows


def _seconds(task) -> tuple[float, float]:
    """(wall time, processor time)"""
    wall, processor = time.perf_counter(), time.process_time()
    task()
    return time.perf_counter() - wall, time.process_time() - processor


def folder_images(folder: Path, limit: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Annotated images of a folder in COVIDx layout (text_boxes.json beside test/), those with boxes."""
    entries = json.loads((folder / "text_boxes.json").read_text(encoding="utf-8"))
    chosen = [(name, entry["boxes"]) for name, entry in entries.items() if entry["boxes"]][:limit]
    images = [read_image(folder / "test" / name) for name, _ in chosen]
    return images, [as_boxes([box.get("outer") or box["box"] for box in boxes]) for _, boxes in chosen]


# --------------------------------------------------------------------------------------------- main


def show(title: str, rows: list[dict]) -> None:
    table = pd.DataFrame(rows)
    print(f"\n{title}\n{table.to_string(index=False, na_rep='', float_format=lambda v: f'{v:.3f}')}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300, help="phantoms measured")
    parser.add_argument("--train", type=int, default=600, help="phantoms that train the classifier")
    parser.add_argument("--model", type=Path, help="keeps the classifier here, and takes it from here again")
    parser.add_argument("--size", type=int, default=256, help="side of the phantoms, pixels")
    parser.add_argument("--folder", type=Path, help="annotated COVIDx folder to time on as well")
    parser.add_argument("--only", choices=("region", "trace", "speed"), help="one of the tables")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="writes all tables here")
    return parser.parse_args()


def region_results(config: PhantomConfig, cases: list[PhantomCase], options, folder: Path) -> dict:
    model = shortcut_classifier(config, options.train, options.seed, options.model or folder / "model")
    turned = draw(config, "test", options.images, options.seed, reverse=True)
    found = {"as trained": accuracy(model, cases), "markers reversed": accuracy(model, turned)}
    print("accuracy of the classifier:", found, flush=True)
    rows = region_table(cases, model)
    show(f"Which region to erase ({len(cases)} phantoms with markers)", rows)
    return {"accuracy": found, "region": rows}


def main() -> None:
    options = arguments()
    config = PhantomConfig(size=options.size)
    cases = [case for case in draw(config, "test", options.images, options.seed) if case.boxes]
    result = {"images": len(cases), "size": options.size, "seed": options.seed, "cores": os.cpu_count(),
              "opencv": cv2.__version__, "torch": torch.__version__}  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only in (None, "region"):
            result |= region_results(config, cases, options, folder)
        if options.only in (None, "trace"):
            result["trace"] = trace_table(cases, folder)
            show("What gives a repaired place away (AUC of the probe)", result["trace"])
        if options.only in (None, "speed"):
            images, boxes = [case.image for case in cases], [as_boxes(marker_boxes(case)) for case in cases]
            if options.folder:
                images, boxes = folder_images(options.folder, options.images)
            for scale in (1, 3):
                name = f"speed at {scale} times the size"
                large = [cv2.resize(image, None, fx=scale, fy=scale) for image in images]
                result[name] = speed_table(large, [own * scale for own in boxes], folder / f"speed{scale}")
                show(f"{name} ({len(images)} images, {os.cpu_count()} cores)", result[name])
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
