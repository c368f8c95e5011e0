"""The tables of the iGOS++ paper, ours beside the paper's, and two tables of this project: methods and speed.

    python benchmarks/saliency.py --table 1 --images FOLDER
    python benchmarks/saliency.py --table 1 --images ILSVRC2012_val --model resnet50 --weights download \\
        --preset paper --limit 5000 --limit-224 5000 --device cuda                            (the paper's own setting)
    python benchmarks/saliency.py --table methods --images runs/NAME/data/test --model runs/NAME/train --mask-size 28

--model is efficientnet-lite0 (the default; its packages hold the weights), a torchvision name with --weights FILE or
download, or a checkpoint folder of this project. FOLDER is any folder of images; the class explained is the one that
the network says, as in the paper. Each figure is a mean over images +- its standard error.

Every image is kept at once in a JSON file of --results (first in a journal beside it): a stopped run goes on where it
was, with the same command, and tables share what they have in common. Settings are kept beside each figure; where a
default has changed, it is measured anew. --again METHOD measures a method anew whose code has changed. --show prints
what is there and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from networks import Case, Classifier, cases, load_classifier, name_of
from saliency_print import differences, printed
from saliency_store import Measurement, Store, forget, machine, planned, read_results
from saliency_tables import NAMES, PAPER_TABLES, table_named

ROUND = 10  # images that every method sees before the next ones: a stopped run has every row
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Plan:
    """What is asked for, checked."""

    name: str
    preset: str
    changes: dict[str, dict]
    mask_size: int
    limits: tuple[int, int]  # masks below 224, and from 224
    steps: int
    seed: int

    def limit(self, mask_size: int) -> int:
        return self.limits[1] if mask_size >= 224 else self.limits[0]

    def file(self, folder: Path, family: str) -> Path:
        own = f"{family}table-{self.name}"
        if self.name not in PAPER_TABLES:
            own += f"-{self.mask_size}"
        return Path(folder) / (own + ("" if self.preset == "default" else f"-{self.preset}") + ".json")


def family_of(name: str) -> str:
    """What the names of a network's results begin with."""
    return f"saliency-{name}-"


def changed(pairs: list[str]) -> dict[str, dict[str, Any]]:
    """["rise.masks=1000"] to {"rise": {"masks": 1000}}."""
    found: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        place, equals, text = pair.partition("=")
        method, point, option = place.partition(".")
        if not (equals and point and method and option):
            raise ValueError(f"--set {pair}: expected METHOD.OPTION=VALUE, as rise.masks=1000")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        found.setdefault(method, {})[option] = value
    return found


def run(plan: Plan, classifier: Classifier, images: Path, results: Path, only: list[str], confidence: float = 0.0,
        batch: list[Case] | None = None) -> dict:  # fmt: skip
    """Measures what is missing, image by image, and returns the table's results as they are in its file."""
    table, family = table_named(plan.name, plan.mask_size), family_of(classifier.name)
    digest = classifier.digest()
    measurements, _ = planned(
        table.cells(), classifier.name, digest, plan.preset, plan.changes, plan.steps, plan.seed
    )
    store = Store(plan.file(results, family), family)
    store.fill(measurements)
    names: list[str] = []

    def save() -> None:
        store.save({"table": plan.name, "preset": plan.preset, "changes": plan.changes, "mask_size": plan.mask_size,
                    "limits": list(plan.limits), "steps": plan.steps, "seed": plan.seed, "network": classifier.name,
                    "weights": digest, "confidence": confidence, "machine": machine(classifier.device),
                    "order": names}, measurements)  # fmt: skip

    chosen = [own for own in measurements.values() if not only or own.method in only]
    started, most = time.perf_counter(), max(plan.limits)
    group: list[tuple[int, Case]] = []
    for place, case in enumerate(batch or cases(classifier, images, most, confidence)):
        names.append(case.name)
        group.append((place, case))
        if len(group) == ROUND:
            _round(plan, classifier, group, chosen, store, started)
            save()
            group = []
    if not names:
        raise ValueError(f"{images}: no image that the network predicts with a probability of {confidence} or more")
    _round(plan, classifier, group, chosen, store, started)
    save()
    return read_results(plan.file(results, family))


def _round(plan: Plan, classifier: Classifier, group, chosen: list[Measurement], store: Store, started: float) -> None:
    for own in chosen:
        for place, case in group:
            if place < plan.limit(own.mask_size) and own.lacks(case):
                own.measure(classifier, case)
                store.add(own, case.name)
        if group:
            said = f"{group[-1][0] + 1} images: {own.method} {own.mask_size}, {time.perf_counter() - started:.0f} s"
            print(said, file=sys.stderr, flush=True)


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=NAMES, default="1", help="which table")
    parser.add_argument("--images", type=Path, help="folder of images")
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--weights", help="state dict of a torchvision model, or download")
    parser.add_argument("--preset", choices=("default", "paper", "quick"), default="default", help="iGOS++ and I-GOS")
    parser.add_argument("--set", action="append", default=[], metavar="METHOD.OPTION=VALUE", help="as rise.masks=1000")
    parser.add_argument("--limit", type=int, default=60, help="images at masks below 224")
    parser.add_argument("--limit-224", type=int, default=30, help="images at masks of 224")
    parser.add_argument("--confidence", type=float, default=0.0, help="least predicted probability of an image used")
    parser.add_argument("--mask-size", type=int, default=28, help="of the tables methods and speed")
    parser.add_argument("--steps", type=int, default=50, help="steps of the curves")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="", help="comma-separated methods that are measured now")
    parser.add_argument("--again", action="append", default=[], metavar="METHOD", help="measure this method anew")
    parser.add_argument("--against", metavar="ROW", help="also print paired differences to this row")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--show", action="store_true", help="print what was measured, measure nothing")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    args = parsed(arguments)
    torch.set_num_threads(args.threads)
    plan = Plan(args.table, args.preset, changed(args.set), args.mask_size, (args.limit, args.limit_224), args.steps,
                args.seed)  # fmt: skip
    if args.show:
        found = read_results(plan.file(args.results, family_of(name_of(args.model))))
    else:
        if args.images is None:
            raise ValueError("--images: expected a folder of images (or --show)")
        classifier = load_classifier(args.model, args.weights, args.device)
        for method in args.again:
            forget(family_of(classifier.name), args.results, method)
        only = [name for name in args.only.split(",") if name]
        found = run(plan, classifier, args.images, args.results, only, args.confidence)
    print(printed(found))
    if args.against:
        print(differences(found, args.against))


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        raise SystemExit(f"benchmarks/saliency.py: {error}") from None
