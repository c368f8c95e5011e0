"""Does the audit say what is true? Synthetic datasets with a planted shortcut for every check, and none.

    python benchmarks/audit.py --seeds 101 102 103
    python benchmarks/audit.py --seeds 101 --only clean mirror --correlations 0.95 0.8
    python benchmarks/audit.py --seeds 101 102 103 --power --rival

Plants (audit_plants.py): markers, absence of text, a device, a border, a strip outside the centre, a region that the
user knows, seven looks, a mirrored class, a marker's side, a body, marker and look at once; a marker that is not taken
(weak correlation, easy findings), a file type that no network sees; and datasets with nothing planted. Of each a small
covidnet is trained. Its exact effects come from the same films without what is planted. Then the test films are audited
with the default checks, as the stage does, and everything is judged by the exact effects (audit_tables.py). Beside that
stand the rule of thumb of saliency maps (audit_saliency.py), with --rival ShortKit-ML (audit_rival.py), with --power
how many images each check needs (audit_power.py). The boxes are exact, so that the figures speak of the audit alone;
--detector audits again with a detector's. --methods ranks saliency methods by how well they find a marker.

Seeds 1 to 5 are for tuning: what is changed in the audit after a look at them may only be judged on fresh seeds, from
101. The table is of the seeds asked for, so one of both kinds is refused. Each dataset is kept in --json when it is
done, under a key of the settings and the code that measures, so a run that was stopped goes on, and parts add up. The
order is seed by seed, so that a table is balanced wherever it stops.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import shutil
from functools import cache
from pathlib import Path

import audit_dataset
import audit_plants
import audit_saliency
import torch
from audit_plants import PLANTS, forget
from audit_power import fewest, power_table
from audit_rival import ABSENT, installed, rival_flags
from audit_saliency import METHODS, mean_ranking
from audit_tables import (
    check_table,
    class_table,
    flag_shares,
    rival_table,
    rule_table,
    suspicion_table,
    told_beside_a_look,
    told_one_way,
)

from xray_debug.data.files import atomic_write

TUNING, FRESH = range(1, 6), 101  # seeds on which constants may be chosen; the first that may be published
RESULTS = Path(__file__).parent / "results" / "audit.json.gz"


@cache
def code_key(name: str) -> str:
    """Changes with the code that measures, with the sizes of datasets, and with what is planted in this one."""
    package = Path(__file__).parents[1] / "xray_debug"
    files = [*sorted((package / "audit").rglob("*.py")), *sorted((package / "phantom").glob("*.py")),
             *(package / "cleaning" / f"{part}.py" for part in ("inpainting", "fills", "controls"))]  # fmt: skip
    sizes = (audit_dataset.TRAIN_IMAGES, audit_dataset.TEST_IMAGES, audit_plants.EPOCHS, audit_saliency.EXPLAINED)
    text = repr((sizes, audit_plants.planted(name))).encode()
    return hashlib.sha256(b"".join(file.read_bytes() for file in files) + text).hexdigest()[:16]


def read_results(path: Path) -> dict:
    """{"datasets": {key: record}, "rival": {key: flags}, "power": {...}}; empty where there is no file."""
    empty = {"datasets": {}, "rival": {}, "power": {}}
    if not path.exists():
        return empty
    content = path.read_bytes()
    return empty | json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)


def write_results(path: Path, results: dict) -> None:
    """A line a dataset, so that two versions can be compared; compressed where the name ends in .gz, and then, too, the
    same bytes each time."""
    parts = []
    for name, part in results.items():
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in part.items())
        parts.append(f"{json.dumps(name)}: {{\n{lines}\n}}")
    content = ("{" + ",\n".join(parts) + "}\n").encode()
    content = gzip.compress(content, mtime=0) if path.suffix == ".gz" else content
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, lambda file: file.write(content))


def asked(args) -> list[tuple[str, float, int]]:
    """(name, correlation, seed) of the datasets, seed by seed; the first correlation of all plants comes first.

    A plant without a correlation, or with one of its own, is run once.
    """
    found = []
    for seed in args.seeds:
        for index, correlation in enumerate(args.correlations):
            found += [(name, correlation, seed) for name in args.only
                      if not index or (PLANTS[name].correlation is None and not name.startswith("clean"))]
    return found


def run_all(args, results: dict) -> list[dict]:
    """The records asked for, those that are missing measured now."""
    records, before = [], None
    for name, correlation, seed in asked(args):
        own = f"{name} {correlation:g} {seed}"
        saved, key = results["datasets"].get(own), code_key(name)
        if saved is None and args.table:
            continue
        if saved is None or (saved["key"] != key and not args.table):
            if seed != before:
                forget()  # the films of one seed are drawn once
            before, folder = seed, args.work / own.replace(" ", "-")
            saved = {"key": key} | audit_dataset.run_dataset(folder, name, correlation, seed, args.methods,
                                                             args.detector)  # fmt: skip
            for file in folder.iterdir():  # what the power and the rival need is kept
                if file.is_dir():
                    shutil.rmtree(file)
                elif file.suffix in (".png", ".tif"):
                    file.unlink()
            results["datasets"][own] = saved
            results["rival"].pop(own, None)
            write_results(args.json, results)
            print(f"{own}: {saved['verdict']} ({sum(saved['seconds'].values()):.0f} s)", flush=True)
        records.append(saved)
    return records


def said(found: dict) -> str:
    """A share as text: 9/10 (0.60 to 0.98)."""
    return f"{found['k']}/{found['n']} ({found['low']:.2f} to {found['high']:.2f})" if found["n"] else "-"


def print_tables(records: list[dict], results: dict) -> None:
    seeds = sorted({record["seed"] for record in records})
    print(f"\n{len(records)} datasets, seeds {', '.join(map(str, seeds))}\n")
    heads = ("named where taken", "named between", "accused where not", "nothing taken", "error of the effect")
    print(f"{'check':20}" + "".join(f"{head:>26}" for head in heads) + f"{'signed':>8}")
    for kind, row in check_table(records).items():
        error = row["error"]
        numbers = f"{error['value']:.3f} ({error['low']:.3f} to {error['high']:.3f})" if error["n"] else "-"
        signed = f"{error['signed']:+.3f}" if error["n"] else ""
        shares = "".join(f"{said(row[truth]):>26}" for truth in ("taken", "between", "left", "nothing"))
        print(f"{kind:20}{shares}{numbers:>26}{signed:>8}")
    print("flags on text: " + "; ".join(f"{name} {said(found)}" for name, found in flag_shares(records).items()))
    parts = {"class by class, of what is planted: named where taken, named where not": class_table(records),
             "suspicions: planted and raised, not planted and raised": suspicion_table(records),
             "saliency's rule of thumb, on regions": rule_table(records),
             "a look that was not named, told one way": {"look": told_one_way(records)},
             "border and field named, said to be maybe the look": {"all round": told_beside_a_look(records)}}
    if results["rival"]:
        parts["detectors of embeddings, on whole datasets"] = rival_table(records, results["rival"])
    for title, table in parts.items():
        print(f"\n{title}")
        for name, row in table.items():
            print(f"{name:24}{said(row['taken']):>26}{said(row['left']):>26}")
    for name, curves in results["power"].items():
        least = {effect: fewest(curve) for effect, curve in curves.items() if effect != "datasets"}
        if least:
            print(f"images needed, {name}: {least}")
    again = [{**record, **record["detected"]} for record in records if "detected" in record]
    if again:
        print("\nwith the boxes of a detector")
        for kind, row in check_table(again).items():
            print(f"{kind:20}{said(row['taken']):>26}{said(row['left']):>26}")
    for method, row in mean_ranking(records).items():
        print(f"{method:22}{row['pointing']:9.2f}{row['mass']:7.3f}{row['enrichment']:12.2f}{row['seconds']:9.2f}")


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--only", nargs="+", choices=list(PLANTS), default=list(PLANTS), help="plants")
    parser.add_argument("--correlations", type=float, nargs="+", default=[0.95])
    parser.add_argument("--json", type=Path, default=RESULTS, help="file that keeps the results")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-audit"), help="cases and embeddings")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=[], help="saliency methods to rank")
    parser.add_argument("--detector", default="none", help="audit again with its boxes of the text")
    parser.add_argument("--rival", action="store_true", help="also ShortKit-ML's detectors")
    parser.add_argument("--power", action="store_true", help="also how many images each check needs")
    parser.add_argument("--table", action="store_true", help="only of what is there; nothing is measured")
    return parser


def main(argv: list[str] | None = None) -> None:
    parser = options()
    args = parser.parse_args(argv)
    if any(seed in TUNING for seed in args.seeds) and any(seed >= FRESH for seed in args.seeds):
        parser.error(f"--seeds: expected seeds below {FRESH} (for tuning) or from {FRESH} (for publishing), got both")
    torch.set_num_threads(1)
    results = read_results(args.json)
    records = run_all(args, results)
    if args.rival and installed():
        results["rival"] = rival_flags(records, args.work, results["rival"])
    elif args.rival:
        print(ABSENT)
    if args.power:
        results["power"] = power_table(records, args.work)
    if args.rival or args.power:
        write_results(args.json, results)
    print_tables(records, results)


if __name__ == "__main__":
    main()
