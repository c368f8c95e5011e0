"""A whole run at COVIDx's size: seconds, images per second, and whether memory stays flat while a stage goes on.

    python benchmarks/load.py --out WORK [--train 13358 --test 2000 --cases 2000 --side 256 --workers 1]

A phantom of --train and --test films is drawn by prepare; the other stages follow, each by its own command, as a user
would give it, while this program looks at the resident memory of that process and its children once a second. The
network is trained for one epoch: it is the load that is measured here, not the classifier. A stopped run goes on with
the same command; stages that have their row are not measured again.

Of each row: peak MiB; the median MiB of the second fifth of the stage's time and of its last fifth (the first is
starting up). Flat memory has a ratio near 1 between them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import yaml

from xray_debug.data.files import write_json
from xray_debug.run.folder import Run

STAGES = ("prepare", "train", "detect", "explain", "audit", "clean")


def pipeline(options: argparse.Namespace) -> dict:
    return {
        "name": "load", "phantom": {"train": options.train, "test": options.test, "size": options.side},
        "train": {"model": "covidnet", "view": {"size": 112}, "epochs": 1, "batch_size": 16},
        "explain": {"select": "all", "max_cases": options.cases}, "audit": {"max_cases": options.cases},
        "detect": {"second": None}, "prepare": {"near_duplicate_agreement": 0.95},
    }  # fmt: skip


def resident_mb(process: psutil.Process) -> float:
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.Error:  # it has just ended
            continue
    return total / 2**20


def watched(command: list[str], log: Path) -> list[float]:
    """MiB, once a second, while the command ran."""
    seen = []
    with open(log, "ab") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as child:
        process = psutil.Process(child.pid)
        while child.poll() is None:
            time.sleep(1)
            if psutil.pid_exists(child.pid):
                seen.append(resident_mb(process))
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}; see {log}")
    return seen


def row_of(stage: str, run: Path, seen: list[float]) -> dict:
    record, fifth = Run(run).record(stage), max(len(seen) // 5, 1)
    early, late = float(np.median(seen[fifth : 2 * fifth] or seen)), float(np.median(seen[-fifth:]))
    return {
        "stage": stage, "images": record["images"], "seconds": record["seconds"],
        "processor_seconds": record["processor_seconds"],
        "images_per_second": record["images"] / record["seconds"],
        "peak_mb": round(max(seen), 1), "second_fifth_mb": round(early, 1), "last_fifth_mb": round(late, 1),
        "ratio": round(late / early, 3), "busy": round(psutil.getloadavg()[1], 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run, its log and the figures")
    parser.add_argument("--train", type=int, default=13_358)
    parser.add_argument("--test", type=int, default=2_000)
    parser.add_argument("--cases", type=int, default=2_000, help="test images explained and audited")
    parser.add_argument("--side", type=int, default=256, help="pixels of a film")
    parser.add_argument("--workers", type=int, default=0, help="as the command line's; 0: one a core")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    run, log, figures = options.out / "run", options.out / "log.txt", options.out / "load.json"
    asked = {name: value for name, value in vars(options).items() if name != "out"}
    kept = json.loads(figures.read_text()) if figures.exists() else {"options": asked, "rows": []}
    if kept["options"] != asked:
        raise SystemExit(f"{figures}: made with other options ({kept['options']}); choose another --out")
    path = options.out / "load.yaml"
    path.write_text(yaml.safe_dump(pipeline(options)))
    start = [sys.executable, "-m", "xray_debug"]
    for stage in STAGES:
        if stage in [row["stage"] for row in kept["rows"]]:
            continue
        command = ["run", str(path), "--out", str(run), "--only", stage, "--workers", str(options.workers)]
        seen = watched(start + command, log)
        kept["rows"].append(row_of(stage, run, seen))
        write_json(figures, kept | {"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count()})
        print(json.dumps(kept["rows"][-1]), flush=True)


if __name__ == "__main__":
    main()
