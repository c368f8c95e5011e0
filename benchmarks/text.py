"""Times text detectors on the same images in one run, and scores them on annotated radiographs.

    python benchmarks/text.py --images DIR [--annotations FILE] [--devices FILE] [--count 20] [--json FILE]

Six readers: craft-lite (bundled), the same reading all of a film closely (`look=None`) and without its map of devices
(`devices=False`), the official CRAFT read as its authors read (where its weights are, as for `load_detector("craft")`;
else its network with random ones, for the time alone), rapidocr's detector, and tesseract if it is installed. The two
networks are first timed alone on tensors of the same size (`--side`), then every reader end to end, from pixels to
boxes, at its own defaults. Times are the mean over images after one to warm up, on the clock and of the processor (all
threads; steadier on a busy machine); ratios are to craft-lite in the same run, image by image in turn. Accuracy: the
measures of xray_debug.text.training.scoring, for every reader that has trained weights.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from xray_debug.data.boxes import TextBox
from xray_debug.data.files import write_json
from xray_debug.data.images import SUFFIXES, read_image
from xray_debug.text import load_detector, resolved_options
from xray_debug.text.detectors import craft as official
from xray_debug.text.scales import pad_to, resize_to
from xray_debug.text.training.scoring import read_annotations, score_detections, score_devices


class Tesseract:
    """The program tesseract, page segmentation mode 11 (sparse text); one process per image, as its users run it."""

    name = "tesseract"

    def detect(self, images):
        return [self._one(image) for image in images]

    def _one(self, image: np.ndarray) -> list[TextBox]:
        picture = cv2.imencode(".png", image)[1].tobytes()
        run = subprocess.run(["tesseract", "stdin", "stdout", "--psm", "11", "tsv"], input=picture, capture_output=True,
                             check=True)
        boxes = []
        for line in run.stdout.decode().splitlines()[1:]:
            cells = line.split("\t")
            if len(cells) == 12 and cells[0] == "5" and cells[11].strip():
                x, y, w, h = (int(value) for value in cells[6:10])
                boxes.append(TextBox(x, y, x + w, y + h, max(0.0, float(cells[10])) / 100))
        return boxes


class Variant:
    """craft-lite with other options: what the look saves and loses, what the map of devices costs."""

    def __init__(self, name: str, **options):
        self.name, self.detect = name, load_detector("craft-lite", **options).detect


class RandomCraft:
    """The official network with random weights: its time is that of the trained one, its boxes mean nothing."""

    name = "craft, random weights"

    def __init__(self, side: int):
        self.net, self.side = official.craft_network(), side

    @torch.inference_mode()
    def detect(self, images):
        for image in images:
            self.net(torch.from_numpy(official.normalise(pad_to(resize_to(image, self.side), 32)))[None])
        return [[] for _ in images]


def seconds(call) -> tuple[float, float]:
    """Of one call: on the clock and of the processor."""
    start = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def repeated(call, repeats: int) -> dict[str, float]:
    """Median seconds of `repeats` calls, after one to warm up."""
    call()
    clock, processor = np.median([seconds(call) for _ in range(repeats)], axis=0)
    return {"clock": float(clock), "processor": float(processor)}


def time_networks(side: int, repeats: int, precision: str) -> dict[str, dict[str, float]]:
    """Seconds a forward pass of each network takes on one square input of `side` pixels."""
    times = {}
    with torch.inference_mode():
        values = torch.rand(1, 2, side, side)
        for kind in dict.fromkeys([precision, "fp32"]):
            lite = load_detector("craft-lite", precision=kind)
            times[f"craft-lite ({kind})"] = repeated(partial(lite.forward, values), repeats)
        try:
            network, colour = official.craft_network(), torch.rand(1, 3, side, side)
            times["craft (fp32)"] = repeated(lambda: network(colour), max(1, repeats // 5))
        except ImportError as error:
            print(error)
    return times


def readers(side: int, precision: str) -> list:
    found = [load_detector("craft-lite", precision=precision),
             Variant("craft-lite, whole", look=None, precision=precision),
             Variant("craft-lite, no devices", devices=False, precision=precision)]
    for make in (lambda: load_detector("craft"), lambda: load_detector("ppocr", threads=torch.get_num_threads())):
        try:
            found.append(make())
        except (ImportError, ValueError) as error:  # not installed, or no weights
            print(error)
    if not any(reader.name == "craft" for reader in found):
        with contextlib.suppress(ImportError):
            found.append(RandomCraft(side))
    if shutil.which("tesseract"):
        found.append(Tesseract())
    return found


def time_readers(images: list[np.ndarray], side: int, precision: str) -> dict[str, dict[str, float]]:
    """Mean seconds per image, from pixels to boxes; the readers take turns, so that a busy machine slows all alike."""
    chosen, spent = readers(side, precision), {}
    for reader in chosen:
        reader.detect(images[:1])
    for i, image in enumerate(images):
        for reader in chosen:
            if reader.name.split(",")[0] != "craft" or i < 5:  # seconds an image
                spent.setdefault(reader.name, []).append(seconds(partial(reader.detect, [image])))
    means = {name: np.mean(values, axis=0) for name, values in spent.items()}
    return {name: {"clock": float(clock), "processor": float(processor)} for name, (clock, processor) in means.items()}


def score_readers(annotations: Path, folder: Path, side: int, precision: str, devices: Path | None) -> dict[str, dict]:
    truth, marked = read_annotations(annotations), json.loads(devices.read_text()) if devices else {}
    images = {name: read_image(folder / name) for name in truth}
    result = {}
    for reader in readers(side, precision):
        if not isinstance(reader, RandomCraft):
            found = {name: reader.detect([image])[0] for name, image in images.items()}
            shapes = {name: image.shape[:2] for name, image in images.items()}
            text = {name: [box for box in boxes if box.kind == "text"] for name, boxes in found.items()}
            result[reader.name] = score_detections(truth, text, shapes).as_dict()
            if marked:
                result[reader.name]["devices"] = score_devices(marked, found, shapes).as_dict()
    return result


def show(report: dict) -> None:
    for title, rows in ((f"networks alone, {report['side']} x {report['side']}", report["networks"]),
                        ("from pixels to boxes", report["readers"])):
        first = next(iter(rows.values()))
        print(f"\n{title}: seconds per image with {report['threads']} threads, and how many times {next(iter(rows))}'s")
        print(f"  {'':24}    clock           processor")
        for name, row in rows.items():
            cells = (f"{row[kind]:9.4f} {row[kind] / first[kind]:6.1f} x" for kind in ("clock", "processor"))
            print(f"  {name:24}" + "  ".join(cells))
    for name, s in report.get("accuracy", {}).items():
        print(f"{name:18} covered {s['covered']:6.1%}  cleaned {s['cleaned']:6.1%}  "
              f"false {s['false_per_image']:.2f} per image  erased {s['erased']:.2%}")
        if "devices" in s:
            d = s["devices"]
            print(f"{'':18} devices found {d['found']} of {d['devices']}, taken for text {d['as_text']}, "
                  f"false {d['false_per_image']:.2f} per image")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of radiographs")
    parser.add_argument("--annotations", type=Path, help="JSON of their text; names are relative to --images")
    parser.add_argument("--devices", type=Path, help="JSON of their devices: covidx-mini-devices-test.json beside this")
    parser.add_argument("--count", type=int, default=20, help="images timed")
    parser.add_argument("--side", type=int, default=640, help="pixels, long side of the official network's input")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, help="of torch; default: its own choice")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto", help="of craft-lite")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    files = sorted(f for f in options.images.iterdir() if f.suffix.lower() in SUFFIXES)
    if not files:
        raise SystemExit(f"error: {options.images}: no images here")
    chosen = files[::max(1, len(files) // options.count)][:options.count]
    precision = resolved_options("craft-lite", {"precision": options.precision})["precision"]
    report = {"side": options.side, "threads": torch.get_num_threads(), "machine": platform.processor(),
              "torch": torch.__version__, "precision": precision,
              "networks": time_networks(options.side, options.repeats, precision),
              "readers": time_readers([read_image(f) for f in chosen], options.side, precision)}
    if options.annotations:
        report["accuracy"] = score_readers(options.annotations, options.images, options.side, precision,
                                           options.devices)
    show(report)
    if options.json:
        write_json(options.json, report)


if __name__ == "__main__":
    main()
