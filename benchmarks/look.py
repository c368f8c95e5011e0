"""What the checks of the look and of the side cost, on datasets of the audit's benchmark.

    python benchmarks/look.py --plants clean noise brightness jpeg mirror --json look.json

The test films of each dataset are audited twice without the two checks and twice with them, in turn: passes and seconds
of processor time a case.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from audit_dataset import TEST_IMAGES, TRAIN_IMAGES, audited, manifest_of, text_of, train
from audit_plants import AMOUNTS, VIEW, films_of

from xray_debug.audit.look.collect import make_looks
from xray_debug.config import AuditConfig
from xray_debug.data.images import write_image
from xray_debug.data.view import ModelView

TURNS = ((False, 0), (True, 0), (False, 1), (True, 1))
CHECKS = {True: "with", False: "without"}


def measured(name: str, seed: int, folder: Path) -> dict:
    view, given = ModelView(VIEW), films_of(name, 0.95, "train", TRAIN_IMAGES, seed)
    model = train(given, np.stack([view.apply(film.drawn().image) for film in given]), view, folder / "model", seed)
    films = films_of(name, 0.95, "test", TEST_IMAGES, seed)
    drawn = [film.drawn() for film in films]
    for film, own in zip(films, drawn, strict=True):
        write_image(folder / film.name, own.image)
    cases, costs = manifest_of(films, drawn, "test", folder), {}
    boxes = {film.name: text_of(own) for film, own in zip(films, drawn, strict=True)}
    for checks, turn in TURNS:
        config = AuditConfig() if checks else AuditConfig(look="off", laterality=False)
        start = time.process_time()
        looks = make_looks(cases, boxes, view, config, seed)
        result = audited(model, cases, boxes, {}, looks, config, seed)
        costs[f"{CHECKS[checks]} {turn}"] = {"seconds": (time.process_time() - start) / len(cases),
                                             "passes": result.passes / len(cases)}
    return {"plant": name, "seed": seed, "costs": costs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    plants = ["clean", *AMOUNTS, "mirror"]
    parser.add_argument("--plants", nargs="+", choices=plants, default=plants)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--json", type=Path)
    args, rows = parser.parse_args(), []
    torch.set_num_threads(1)
    print(f"{'plant':<12}{'seed':>5}{'passes':>16}{'s a case':>20}")
    for name in args.plants:
        for seed in args.seeds:
            with tempfile.TemporaryDirectory() as folder:
                row = measured(name, seed, Path(folder))
            rows.append(row)
            mean = {(way, what): np.mean([row["costs"][f"{way} {turn}"][what] for turn in (0, 1)])
                    for way in CHECKS.values() for what in ("passes", "seconds")}  # fmt: skip
            passes, seconds = (f"{mean['without', what]:.3g} > {mean['with', what]:.3g}"
                               for what in ("passes", "seconds"))  # fmt: skip
            print(f"{name:<12}{seed:>5}{passes:>16}{seconds:>20}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
