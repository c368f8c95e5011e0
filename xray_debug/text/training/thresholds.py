"""The thresholds of craft-lite's two uses, chosen on reviewed films by cross-validation over their sources.

    python -m xray_debug.text.training.thresholds --films DIR --labels train_COVIDx.txt --review FILE --devices FILE \
        --weights FILE --readings DIR --json FILE

Each film is read once; every setting of the grid is then tried on the same score maps. A setting is good for a use if
it finds most among those that keep to the use's MOST_FALSE boxes a film (where none does: the one with the fewest).
For each source it is chosen on the films of all others and scored on that source; the use's own is chosen on all.

The films are those that the network was trained on, so that the figures flatter it; only the choice is taken from them.
Text is what a person confirmed, false is a box with under TRUE of its area on confirmed or unsure text: more than there
are, since a person looked only at what an earlier network had found. Devices are false only where all of a film's are
known.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xray_debug.data.boxes import TextBox, as_boxes, rasterise_boxes
from xray_debug.data.files import atomic_write, file_sha256, write_json
from xray_debug.data.images import read_film
from xray_debug.text.craft import Thresholds
from xray_debug.text.detectors.craft_lite import USES, CraftLiteDetector
from xray_debug.text.scales import merge
from xray_debug.text.training.scoring import COVERED, HALF, MARGIN, TRUE

# boxes a film, fixed beforehand: text erased where there is none, text looked at in vain, a region that is no device
MOST_FALSE = {"clean": 0.12, "audit": 0.3, "device": 1.0}
# a low threshold makes the boxes larger; which is right the reviewed boxes, an earlier network's, cannot say. On 80
# drawn films 0.3 leaves 3.0 % of the markers' pixels, 0.25 1.4 %, 0.2 0.6 %, and 6.9, 7.5, 8.2 % of the film go
TEXT = [{"text_threshold": peak, "low_text": 0.25} for peak in (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75)]
DEVICE = [{"device_threshold": peak, "low_device": 0.2} for peak in (0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)]
TEXTS, DEVICES = ("covered", "text", "false"), ("found", "devices", "device_false")
COUNTS = ("text", "covered", "boxes", "false", "devices", "found", "as_text", "device_boxes", "device_false")
Readings = list[tuple[np.ndarray, tuple[float, float]]]


def readings_of(detector: CraftLiteDetector, image: np.ndarray, kept: Path | None) -> Readings:
    """The detector's score maps of uint8 (H, W), in steps of half precision; `kept`: their file, or to be."""
    if kept is None or not kept.exists():
        made = [(maps.astype(np.float16), scale) for maps, scale in detector.readings(image)]
        if kept is None:
            return [(maps.astype(np.float32), scale) for maps, scale in made]
        arrays = {f"{name}{i}": value for i, pair in enumerate(made) for name, value in zip(("maps", "scale"), pair,
                  strict=True)}  # fmt: skip
        kept.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(kept, lambda file: np.savez_compressed(file, **arrays))
    with np.load(kept, allow_pickle=False) as found:
        return [(found[f"maps{i}"].astype(np.float32), tuple(found[f"scale{i}"])) for i in range(len(found.files) // 2)]


def boxes_at(detector: CraftLiteDetector, readings: Readings, shape: tuple[int, int],
             setting: Mapping[str, float]) -> list[TextBox]:
    """What `detect` would give of these score maps with the setting's thresholds; the detector keeps them."""
    detector.thresholds = Thresholds(setting["text_threshold"], setting["link_threshold"], setting["low_text"],
                                     detector.thresholds.min_area)  # fmt: skip
    detector.device_thresholds = Thresholds(setting["device_threshold"], 1.0, setting["low_device"],
                                            detector.thresholds.min_area)  # fmt: skip
    return merge([detector._boxes(maps, scale, shape) for maps, scale in readings])


def counts_of(boxes: Sequence[TextBox], text: Mapping, devices: Mapping, shape: tuple[int, int]) -> dict[str, int]:
    """COUNTS of one film. `text`: its lists "text" and "unsure"; `devices`: "device", "unsure" and "complete"."""
    found = {kind: as_boxes([box.box for box in boxes if box.kind == kind]) for kind in ("text", "device")}
    under = {kind: rasterise_boxes(found[kind], *shape) for kind in found}
    known = as_boxes([*text.get("text", ()), *text.get("unsure", ())])
    allowed = rasterise_boxes(known + np.array([-MARGIN, -MARGIN, MARGIN, MARGIN]), *shape)
    marked = rasterise_boxes([*devices.get("device", ()), *devices.get("unsure", ())], *shape)
    own, confirmed = as_boxes(devices.get("device", ())), as_boxes(text.get("text", ()))
    return dict(zip(COUNTS, (
        len(confirmed), _many(under["text"], confirmed, COVERED), len(found["text"]),
        len(found["text"]) - _many(allowed, found["text"], TRUE), len(own), _many(under["device"], own, HALF),
        _many(under["text"], own, HALF), len(found["device"]),
        len(found["device"]) - _many(marked, found["device"], TRUE) if devices.get("complete") else 0,
    ), strict=True))  # fmt: skip


def _many(mask: np.ndarray, boxes: np.ndarray, share: float) -> int:
    """How many of `boxes` have at least `share` of their area in `mask`."""
    windows = [mask[max(0, y0):max(0, y1), max(0, x0):max(0, x1)] for x0, y0, x1, y1 in boxes]
    return sum(bool(window.size) and window.mean() >= share for window in windows)


def chosen(counts: np.ndarray, most_false: float) -> int:
    """The setting that covers most among those with at most `most_false` false boxes a film, else the one with fewest.

    counts: (settings, films, 3): found, known, false. Of equals the one with fewer false boxes, then the first.
    """
    covered, _, false = counts.sum(axis=1).T
    kept = false <= most_false * counts.shape[1]
    if not kept.any():
        kept = false == false.min()
    return int(np.lexsort((np.arange(len(false)), false, -covered, ~kept))[0])


def cross_validated(counts: np.ndarray, sources: Sequence[str], most_false: float) -> list[dict]:
    """For each source: the setting chosen on the films of the others, and what it does on this one's."""
    sources, rows = np.asarray(sources), []
    for source in sorted(set(sources)):
        here = sources == source
        if here.all():
            break
        best = chosen(counts[:, ~here], most_false)
        covered, known, false = counts[best, here].sum(axis=0)
        rows.append({"source": source, "films": int(here.sum()), "setting": best, "known": int(known),
                     "covered": int(covered), "false": int(false)})  # fmt: skip
    return rows


def _sources(labels: Path) -> dict[str, str]:
    """image -> source, of a COVIDx label file."""
    lines = [line.split() for line in labels.read_text(encoding="utf-8").splitlines() if line.strip()]
    if any(len(cells) < 4 for cells in lines):
        raise ValueError(f"{labels}: expected lines of patient, image, label and source")
    return {cells[-3]: cells[-1] for cells in lines}


def measured(options: argparse.Namespace) -> tuple[list[str], list[str], dict[str, np.ndarray]]:
    """Films, their sources, and (settings, films, COUNTS) for the grid of text (devices as they are) and of devices."""
    torch.set_num_threads(options.threads)
    detector = CraftLiteDetector(options.weights, precision="fp32", **{  # reads wherever some setting could find
        name: min(setting[name] for setting in grid) for grid in (TEXT, DEVICE) for name in grid[0]})  # fmt: skip
    first, mark = vars(detector).copy(), file_sha256(detector.weights)[:12]
    review, devices = (json.loads(file.read_text(encoding="utf-8")) for file in (options.review, options.devices))
    known = _sources(options.labels)
    names = [name for name in sorted(known) if name in devices and (options.films / name).is_file()]
    usual = USES["clean"]
    tables: dict[str, list] = {"text": [], "device": []}
    for number, name in enumerate(names):
        vars(detector).update(first)
        image = read_film(options.films / name).gray
        readings = readings_of(detector, image, options.readings and options.readings / f"{name}.{mark}.npz")
        for kind, grid in (("text", TEXT), ("device", DEVICE)):
            found = [counts_of(boxes_at(detector, readings, image.shape, usual | setting), review.get(name, {}),
                               devices[name], image.shape) for setting in grid]
            tables[kind].append([[row[count] for count in COUNTS] for row in found])
        if (number + 1) % 50 == 0:
            print(f"{number + 1} of {len(names)} films", flush=True)
    counts = {kind: np.array(rows).swapaxes(0, 1) for kind, rows in tables.items()}
    return names, [known[name] for name in names], counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("films", "labels", "review", "devices", "weights"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--readings", type=Path, help="folder for the score maps; kept for another start")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names, sources, tables = measured(options)
    result: dict[str, Any] = {"films": len(names)}
    for use, most_false in MOST_FALSE.items():
        kind, grid, what = ("device", DEVICE, DEVICES) if use == "device" else ("text", TEXT, TEXTS)
        counts = tables[kind][:, :, [COUNTS.index(name) for name in what]]
        folds, best = cross_validated(counts, sources, most_false), chosen(counts, most_false)
        covered, known, false = counts[best].sum(axis=0)
        print(f"{use} (at most {most_false} false a film): {grid[best]}, {covered} of {known}, "
              f"{false / len(names):.3f} false a film on all")
        for row in folds:
            print(f"    without {row['source']} ({row['films']} films): {grid[row['setting']]}; on it {row['covered']} "
                  f"of {row['known']}, {row['false'] / row['films']:.3f} false a film")
        out = {name: sum(row[name] for row in folds) for name in ("covered", "known", "false", "films")}
        print(f"    held out, together: {out['covered']} of {out['known']}, "
              f"{out['false'] / max(out['films'], 1):.3f} false a film")  # fmt: skip
        result[use] = {"setting": grid[best], "folds": folds}
    for kind, grid in (("text", TEXT), ("device", DEVICE)):
        result[f"{kind} settings"] = [{**setting, **dict(zip(COUNTS, map(int, counts), strict=True))}
                                      for setting, counts in zip(grid, tables[kind].sum(axis=1), strict=True)]
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
