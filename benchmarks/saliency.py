"""Measures the saliency methods on one model and one folder of images: passes, time, deletion, insertion, objective.

    python benchmarks/saliency.py --model runs/NAME/train --images runs/NAME/data/test --mask-size 28 --json out.json
    python benchmarks/saliency.py --model resnet50 --weights resnet50.pth --images ILSVRC2012_val --table 1

--model is a checkpoint folder of this project or a torchvision name (with --weights a state dict; nothing is
downloaded). Means over the images with standard errors; with --against METHOD also paired differences.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from saliency_tables import TABLES, Row
from torch import nn

from xray_debug.data.images import read_image, to_gray8
from xray_debug.saliency import METHODS, blurred, deletion_insertion
from xray_debug.saliency.measure import mean_error, objective_of

SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".webp"}
SCORES = ("deletion", "insertion", "objective")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load_model(name: str, weights: str | None, classes: int) -> tuple[nn.Module, Callable[[Path], torch.Tensor]]:
    """The network in evaluation mode and what turns an image file into its input (1, C, H, W)."""
    if Path(name).exists():
        from xray_debug.models import load_checkpoint

        model = load_checkpoint(name)
        view = model.view
        return model.eval(), lambda path: torch.from_numpy(view.apply(read_image(path)))[None, None].float() / 255
    import torchvision

    model = torchvision.models.get_model(name, weights=None, num_classes=classes)
    if weights is None:
        raise SystemExit(f"--model {name}: expected --weights FILE with its state dict; nothing is downloaded")
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval(), imagenet_input


def imagenet_input(path: Path) -> torch.Tensor:
    """224 x 224 RGB, normalised as torchvision's ImageNet models expect."""
    import cv2

    image = read_image(path)
    if image.ndim == 2:
        image = cv2.cvtColor(to_gray8(image), cv2.COLOR_GRAY2RGB)
    image = cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA).astype("float32") / 255
    chosen = torch.from_numpy(image).permute(2, 0, 1)[None]
    return (chosen - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(DEVIATION).view(1, 3, 1, 1)


def load_images(folder: Path, limit: int, prepare, model: nn.Module, confidence: float) -> tuple[torch.Tensor, ...]:
    """The first `limit` images, by name, that the model predicts with `confidence`; and those predictions."""
    found, targets = [], []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        image = prepare(path)
        with torch.no_grad():
            probability = torch.softmax(model(image), 1)[0]
        if probability.max() >= confidence:
            found.append(image)
            targets.append(int(probability.argmax()))
        if len(found) == limit:
            break
    if not found:
        raise SystemExit(f"{folder}: no image that the model predicts with a probability of {confidence} or more")
    return torch.cat(found), torch.tensor(targets)


def measure(row: Row, model, images, targets, baselines, mask_size: int, steps: int, seed: int) -> dict:
    """One method, one image at a time: what it cost and how faithful its maps are."""
    deletion, insertion, objective, seconds, forward, backward = [], [], [], [], [], []
    method = METHODS[row.method]
    for number in range(len(images)):
        one = slice(number, number + 1)
        found = method(model, images[one], targets[one], baselines[one], mask_size=mask_size, seed=seed, **row.options)
        curves = deletion_insertion(model, images[one], found.saliency, targets[one], baselines[one], steps=steps)
        deletion.append(curves.deletion.item())
        insertion.append(curves.insertion.item())
        seconds.append(found.seconds)
        forward.append(found.evaluations.forward)
        backward.append(found.evaluations.backward)
        objective.append(objective_of(model, images[one], targets[one], baselines[one], found).item())
    return {
        "name": row.name, "method": row.method, "options": row.options, "mask_size": mask_size,
        "deletion": deletion, "insertion": insertion, "objective": objective, "seconds": seconds,
        "forward": forward, "backward": backward,
    }  # fmt: skip


def printed(results: list[dict], against: str | None) -> str:
    narrow = " ".join(f"{name:>8s}" for name in ("forward", "backward", "seconds"))
    lines = [f"{'method':30s} {narrow} " + " ".join(f"{name:>16s}" for name in SCORES)]
    for result in results:
        cells = [f"{sum(result[key]) / len(result[key]):8.{digits}f}" for key, digits in
                 (("forward", 0), ("backward", 0), ("seconds", 2))]  # fmt: skip
        cells += ["{:7.3f} +- {:.3f}".format(*mean_error(result[key])).rjust(16) for key in SCORES]
        lines.append(f"{result['name']:30s} " + " ".join(cells))
    reference = next((r for r in results if r["name"] == against), None)
    for result in results if reference else []:
        pairs = {
            key: mean_error([a - b for a, b in zip(result[key], reference[key], strict=True)])
            for key in SCORES
        }
        speed = sum(reference["seconds"]) / sum(result["seconds"])
        lines.append(
            f"{result['name']:30s} minus {against}: "
            + ", ".join("{} {:+.3f} +- {:.3f}".format(key, *pair) for key, pair in pairs.items())
            + f"; {speed:.1f} times as fast"
        )
    return "\n".join(lines)


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="checkpoint folder, or a torchvision name with --weights")
    parser.add_argument("--weights", help="state dict for a torchvision model")
    parser.add_argument("--classes", type=int, default=1000, help="classes of the torchvision model")
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--mask-size", type=int, default=28)
    parser.add_argument("--limit", type=int, default=12, help="images used")
    parser.add_argument("--confidence", type=float, default=0.6, help="least predicted probability of an image used")
    parser.add_argument("--steps", type=int, default=50, help="steps of the curves")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="threads of torch")
    parser.add_argument("--table", choices=sorted(TABLES), default="methods", help="which rows, as in the paper")
    parser.add_argument("--only", help="comma-separated names of rows")
    parser.add_argument("--against", help="row that the others are compared with, pair by pair")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write every figure here")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    args = parsed(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    model, prepare = load_model(args.model, args.weights, args.classes)
    images, targets = load_images(args.images, args.limit, prepare, model, args.confidence)
    model, images = model.to(args.device), images.to(args.device)
    baselines = blurred(images)
    table = TABLES[args.table]
    rows = [row for row in table.rows if not args.only or row.name in args.only.split(",")]
    if not rows:
        raise SystemExit(f"--only {args.only}: expected names from {', '.join(row.name for row in table.rows)}")
    print(f"{table.title}; {len(images)} images of {tuple(images.shape[1:])}, masks {args.mask_size}", flush=True)
    run = partial(measure, model=model, images=images, targets=targets, baselines=baselines,
                  steps=args.steps, seed=args.seed)  # fmt: skip
    results, started = [], time.perf_counter()
    for row in rows:
        results.append(run(row, mask_size=row.mask_size or args.mask_size))
        print(f"{row.name}: {time.perf_counter() - started:.0f} s so far", file=sys.stderr, flush=True)
        if args.json:
            args.json.write_text(json.dumps({"table": args.table, "model": args.model, "results": results}, indent=1))
    print(printed(results, args.against))


if __name__ == "__main__":
    main()
