"""What the checks of the look and of the side say of networks, and cost, on phantoms with a planted look.

    python benchmarks/look.py --looks none noise brightness jpeg mirror --json look.json

In 95 % of the films of COVID-19, and in 5 % of the others, the property is raised (mirror: the film is turned round). A
small covidnet is trained on them and its test films are audited twice without the two checks and twice with them, in
turn. `taken` is the exact effect: what the network's probability of COVID-19 loses, on average over its films, where
they are drawn without the property.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from audit import CLASSES, as_arrays, datasets, draw, label_indices, probabilities_of, text_boxes, write_test

from xray_debug.audit.auditor import audit_dataset
from xray_debug.audit.look.families import FAMILIES
from xray_debug.config import AuditConfig, CleanConfig, TrainConfig
from xray_debug.data.view import ModelView
from xray_debug.models import build_model
from xray_debug.models.fit import fit

AMOUNTS = {"brightness": 0.4, "contrast": -0.15, "gamma": 0.25, "sharpness": -0.4, "noise": 0.3, "jpeg": 0.9,
           "resolution": -0.35}  # fmt: skip
TURNS = ((False, 0), (True, 0), (False, 1), (True, 1))


def altered(image: np.ndarray, look: str, seed: int) -> np.ndarray:
    """uint8 (S, S) with the look."""
    if look == "none":
        return image
    if look == "mirror":
        return image[:, ::-1].copy()
    return np.round(FAMILIES[look](image.astype(np.float32) / 255, AMOUNTS[look], seed) * 255).astype(np.uint8)


def films(split: str, count: int, look: str, seed: int) -> tuple[list, np.ndarray]:
    """(name, film) with the look planted, and bool (N,) which films have it."""
    rng, found, has = np.random.default_rng((seed, split == "test")), [], []
    for index, (name, film) in enumerate(draw(datasets()["none"], split, count, seed)):
        has.append((film.label == "COVID-19") == (rng.random() < 0.95))
        image = altered(film.image, look, index) if has[-1] else film.image
        found.append((name, dataclasses.replace(film, image=image)))
    return found, np.array(has)


def measured(look: str, seed: int, args, folder: Path) -> dict:
    view = ModelView(args.size)
    given, _ = films("train", args.train, look, seed)
    images, labels, val = as_arrays(given, view), label_indices(given), np.arange(len(given)) % 5 == 0
    torch.manual_seed(seed)
    model = build_model("covidnet", CLASSES, view, width=16, depth=0.3)
    config = TrainConfig(epochs=args.epochs, batch_size=16, learning_rate=5e-3, stop_after=args.epochs, patience=5,
                         view={"size": args.size}, accelerator="cpu")  # fmt: skip
    fit(model, images[~val], labels[~val], images[val], labels[val], config, folder / "model", seed)
    model.eval()
    given, has = films("test", args.test, look, seed)
    own = has & (label_indices(given) == CLASSES.index("COVID-19"))
    plain = [film for film, mine in zip(draw(datasets()["none"], "test", args.test, seed), own, strict=True) if mine]
    seen = [film for film, mine in zip(given, own, strict=True) if mine]
    before, after = (probabilities_of(model, as_arrays(part, view))[:, 2].mean() for part in (seen, plain))
    cases, boxes, costs, found = write_test(given, folder / "test"), text_boxes(given, "truth"), {}, None
    for checks, turn in TURNS:
        options = AuditConfig() if checks else AuditConfig(look="off", laterality=False)
        start = time.process_time()
        result = audit_dataset(model, cases, boxes, {}, options, CleanConfig(), seed)
        costs[f"{'with' if checks else 'without'} {turn}"] = {
            "seconds": (time.process_time() - start) / len(cases), "passes": result.passes / len(cases)}
        found = result.verdict if checks else found
    return {"look": look, "seed": seed, "taken": float(before - after), "verdict": found["verdict"],
            "shown": found["shown"], "moved": list(found["looks"]["differ"]), "costs": costs}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    looks = ["none", *AMOUNTS, "mirror"]
    parser.add_argument("--looks", nargs="+", choices=looks, default=looks)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--train", type=int, default=480)
    parser.add_argument("--test", type=int, default=90)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--json", type=Path)
    args, rows = parser.parse_args(), []
    torch.set_num_threads(1)
    print(f"{'look':<12}{'seed':>5}{'taken':>8}{'passes':>16}{'s a case':>16}  verdict")
    for look in args.looks:
        for seed in args.seeds:
            with tempfile.TemporaryDirectory() as folder:
                row = measured(look, seed, args, Path(folder))
            rows.append(row)
            mean = {(name, what): np.mean([row["costs"][f"{name} {turn}"][what] for turn in (0, 1)])
                    for name in ("without", "with") for what in ("passes", "seconds")}  # fmt: skip
            passes, seconds = (f"{mean['without', what]:.3g} > {mean['with', what]:.3g}"
                               for what in ("passes", "seconds"))  # fmt: skip
            print(f"{look:<12}{seed:>5}{row['taken']:>8.2f}{passes:>16}{seconds:>16}  {row['verdict']}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
