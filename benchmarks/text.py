"""Times text detectors on the same images in one run, and scores them on annotated radiographs.

    python benchmarks/text.py --images DIR [--annotations FILE] [--count 20] [--side 640] [--json FILE]

Four readers: craft-lite (bundled), CRAFT's official network as craft-text-detector builds it (random weights: the
time is the same), rapidocr's detector, and tesseract if it is installed. The two networks are first timed alone on
tensors of the same size (`--side`), then every reader end to end, from pixels to boxes, at its own defaults. Times are
the median over images after one to warm up, on the clock and of the processor (all threads; steadier on a busy
machine). Accuracy: the measures of xray_debug.text.training.scoring, for every reader that
has trained weights.
"""

from __future__ import annotations

import argparse
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
from xray_debug.data.images import SUFFIXES, read_image
from xray_debug.text import load_detector
from xray_debug.text.detectors import official
from xray_debug.text.training.scoring import read_annotations, score_detections


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


class RandomCraft:
    """The official network with random weights: its time is that of the trained one, its boxes mean nothing."""

    name = "craft"

    def __init__(self, side: int):
        self.net, self.side = official.craft_network(), side

    @torch.inference_mode()
    def detect(self, images):
        from xray_debug.text.scales import pad_to, resize_to

        for image in images:
            self.net(torch.from_numpy(official.normalise(pad_to(resize_to(image, self.side), 32)))[None])
        return [[] for _ in images]


def timed(calls) -> dict[str, float]:
    """Median seconds of the calls, on the clock and of the processor."""
    clock, processor = [], []
    for call in calls:
        start = time.perf_counter(), time.process_time()
        call()
        clock.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    return {"clock": float(np.median(clock)), "processor": float(np.median(processor))}


def repeated(call, repeats: int) -> dict[str, float]:
    call()
    return timed([call] * repeats)


def time_networks(side: int, repeats: int) -> dict[str, dict[str, float]]:
    """Seconds a forward pass of each network takes on one square input of `side` pixels."""
    lite, exact = load_detector("craft-lite"), load_detector("craft-lite", precision="fp32")
    times = {}
    with torch.inference_mode():
        values = torch.rand(1, 2, side, side)
        kind = str(lite.dtype).removeprefix("torch.")
        times[f"craft-lite ({kind})"] = repeated(lambda: lite.forward(values), repeats)
        if lite.dtype != torch.float32:
            times["craft-lite (float32)"] = repeated(lambda: exact.forward(values), repeats)
        try:
            network, colour = official.craft_network(), torch.rand(1, 3, side, side)
            times["craft (float32)"] = repeated(lambda: network(colour), max(1, repeats // 5))
        except ImportError as error:
            print(error)
    return times


def readers(side: int) -> list:
    found = [load_detector("craft-lite")]
    for make in (lambda: RandomCraft(side), lambda: load_detector("ppocr")):
        try:
            found.append(make())
        except ImportError as error:
            print(error)
    if shutil.which("tesseract"):
        found.append(Tesseract())
    return found


def time_readers(images: list[np.ndarray], side: int) -> dict[str, dict[str, float]]:
    """Median seconds per image, from pixels to boxes."""
    result = {}
    for reader in readers(side):
        reader.detect(images[:1])
        chosen = images if reader.name != "craft" else images[:5]
        result[reader.name] = timed([partial(reader.detect, [image]) for image in chosen])
    return result


def score_readers(annotations: Path, folder: Path, side: int) -> dict[str, dict]:
    truth = read_annotations(annotations)
    images = {name: read_image(folder / name) for name in truth}
    result = {}
    for reader in readers(side):
        if reader.name != "craft":
            found = {name: reader.detect([image])[0] for name, image in images.items()}
            score = score_detections(truth, found, {name: image.shape[:2] for name, image in images.items()})
            result[reader.name] = score.as_dict()
    return result


def show(report: dict) -> None:
    print(f"\nnetworks alone, {report['side']} x {report['side']}, seconds per image, {report['threads']} threads")
    print(f"  {'':24}    clock  processor")
    for name, seconds in report["networks"].items():
        print(f"  {name:24} {seconds['clock']:8.4f}   {seconds['processor']:8.4f}")
    if "ratio" in report:
        clock, processor = report["ratio"]["clock"], report["ratio"]["processor"]
        print(f"  craft-lite is {clock:.1f} ({processor:.1f}) times as fast as craft")
    print("from pixels to boxes, seconds per image")
    for name, seconds in report["readers"].items():
        print(f"  {name:24} {seconds['clock']:8.4f}   {seconds['processor']:8.4f}")
    for name, s in report.get("accuracy", {}).items():
        print(f"{name:12} covered {s['covered']:6.1%}  cleaned {s['cleaned']:6.1%}  "
              f"false {s['false_per_image']:.2f} per image  erased {s['erased']:.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of radiographs")
    parser.add_argument("--annotations", type=Path, help="JSON of their text; names are relative to --images")
    parser.add_argument("--count", type=int, default=20, help="images timed")
    parser.add_argument("--side", type=int, default=640, help="pixels, long side of the official network's input")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, help="of torch; default: its own choice")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    files = sorted(f for f in options.images.iterdir() if f.suffix.lower() in SUFFIXES)
    if not files:
        raise SystemExit(f"error: {options.images}: no images here")
    chosen = files[::max(1, len(files) // options.count)][:options.count]
    networks = time_networks(options.side, options.repeats)
    report = {"side": options.side, "threads": torch.get_num_threads(), "machine": platform.processor(),
              "torch": torch.__version__, "networks": networks,
              "readers": time_readers([read_image(f) for f in chosen], options.side)}
    if "craft (float32)" in networks:
        lite, official_one = next(iter(networks.values())), networks["craft (float32)"]
        report["ratio"] = {kind: official_one[kind] / lite[kind] for kind in lite}
    if options.annotations:
        report["accuracy"] = score_readers(options.annotations, options.images, options.side)
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
