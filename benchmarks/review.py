"""The review app on a large run: how long it takes to open, to turn to the next case, to decide, and its memory.

    python benchmarks/review.py --cases 20000 --steps 500
    python benchmarks/review.py --run runs/mini --steps 100       # a run that is there; its review file is not touched

A run of that many cases is made in a temporary folder: tables by the run's own writers, as wide as the audit makes
them, over a few phantom films that come again and again; a tenth of the cases are flagged and as many decided before.
The app is driven in a process of its own, once through Streamlit's own test driver (the server's work alone), and,
where a Chromium is to be had, once in a browser (from the key to the film on the screen). Seconds are wall clock;
processor seconds are the steadier measure on a busy machine; `busy` is the load when the measurement began.
"""

from __future__ import annotations

import argparse
import ast
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from xray_debug.config import PhantomConfig, dump_config, parse_config
from xray_debug.data.files import write_json, write_text
from xray_debug.data.images import write_image
from xray_debug.phantom.case import make_case
from xray_debug.phantom.findings import CLASSES
from xray_debug.review.decisions import ReviewDB
from xray_debug.run.parts import write_part
from xray_debug.run.store import Store

ROOT = Path(__file__).parents[1]
FILMS, SIDE, WIDTH = 12, 1024, 100  # films drawn, their pixels, and further columns of the audit


def make_run(folder: Path, cases: int) -> Store:
    """A run with that many images, all audited."""
    store, rng = Store(folder / "run"), np.random.default_rng(0)
    films = [make_case(PhantomConfig(size=SIDE), CLASSES[i % 3], i, CLASSES[i % 3]) for i in range(FILMS)]
    for i, film in enumerate(films):
        (folder / "data").mkdir(parents=True, exist_ok=True)
        write_image(folder / "data" / f"{i}.png", film.image)
    for stage in ("prepare", "detect", "audit", "explain"):
        store.stage_folder(stage).mkdir(parents=True)
        write_json(store.stage_folder(stage) / "stage.json", {})
    write_text(store.pipeline_file, dump_config(parse_config({"data": str(folder / "data")}, "benchmark")))
    names = [f"case-{i:06d}.png" for i in range(cases)]
    which = np.arange(cases) % FILMS
    label, source = (np.array([getattr(film, name) for film in films])[which] for name in ("label", "source"))
    shared = {"image_id": names, "label": label, "source": source, "test_set": "test"}
    store.write_table("manifest", pd.DataFrame({
        **shared, "path": [f"{i}.png" for i in which], "split": "test", "patient_id": names, "width": SIDE,
        "height": SIDE, "sha256": "", "problem": "", "view_index": np.arange(cases)}))  # fmt: skip
    store.write_json("dataset", {"root": str(folder / "data")})
    boxes = [(name, "text", *box["box"], score, "exact") for name, i, score in zip(names, which, rng.random(cases),
             strict=True) for box in films[i].boxes]  # fmt: skip
    columns = ["image_id", "kind", "x0", "y0", "x1", "y1", "score", "detector"]
    store.write_table("regions", pd.DataFrame(boxes, columns=columns))
    store.write_table("cases", _audit(shared, cases, rng))
    maps = [{"image_id": name, "saliency": rng.random((28, 28), np.float32)} for name in names[: cases // 100]]
    store.path("maps").mkdir()
    for number, start in enumerate(range(0, len(maps), 64)):
        write_part(store.path("maps"), number, maps[start : start + 64], "benchmark")
    flagged = names[: cases // 10]
    rows = [{"image_id": name, "decision": ("approve", "reject")[i % 2]} for i, name in enumerate(flagged[::2])]
    ReviewDB(store.review_file).decide_many(rows, "somebody else")
    return store


def _audit(shared: dict, cases: int, rng: np.random.Generator) -> pd.DataFrame:
    flagged, p = np.arange(cases) < cases // 10, rng.random((4, cases))
    known = {
        "predicted": shared["label"], "probability": p[0], "p_text_removed": p[1], "p_text_only": p[2],
        "p_control_removed": p[3], "effect": p[0] - p[1], "control_effect": 0.01, "removed_by": "inpainted",
        "decision_text_removed": "normal", "kind": np.where(flagged, "decision", ""), "flagged": flagged,
        "reasons": np.where(flagged, "It relies on its text.", ""), "remarks": "", "rank": np.arange(1, cases + 1)}
    more = pd.DataFrame(rng.random((cases, WIDTH)), columns=[f"p_measure_{i}" for i in range(WIDTH)])
    return pd.concat([pd.DataFrame(shared | known), more], axis=1)


DRIVER = """
import sys, time, psutil
from streamlit.testing.v1 import AppTest
run, steps = sys.argv[1], int(sys.argv[2])
sys.argv = ["app.py", "--run", run]
me, clock = psutil.Process(), time.perf_counter
def measured(act):
    wall, processor = clock(), time.process_time()
    act()
    return clock() - wall, time.process_time() - processor
app = AppTest.from_file("app.py", default_timeout=600)
opened = measured(app.run)
assert not app.exception, app.exception
press = lambda label: next(b for b in app.button if b.label == label).click().run()
for _ in range(10):
    press("After")
before, turned = me.memory_info().rss, [measured(lambda: press("After")) for _ in range(steps)]
grown = me.memory_info().rss - before
decided = [measured(lambda: press("Approve")) for _ in range(20)]
assert not app.exception, app.exception
print(repr([opened, turned, decided, before, grown, "torch" in sys.modules]))
"""


def of_the_server(run: Path, steps: int) -> dict:
    """The app's own work, without a browser."""
    command, env = [sys.executable, "-c", DRIVER, str(run), str(steps)], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=env)
    opened, turned, decided, memory, grown, torch = ast.literal_eval(done.stdout.strip().splitlines()[-1])
    middle = lambda pairs, which: statistics.median(pair[which] for pair in pairs)  # noqa: E731
    return {"open_seconds": opened[0], "open_processor": opened[1], "step_seconds": middle(turned, 0),
            "step_processor": middle(turned, 1), "decide_seconds": middle(decided, 0),
            "decide_processor": middle(decided, 1), "memory_mib": memory / 2**20, "grown_mib": grown / 2**20,
            "torch_imported": torch}  # fmt: skip


def in_a_browser(run: Path, steps: int) -> dict | None:
    """The same from the key to the film on the screen; None where no Chromium is to be had."""
    sys.path.insert(0, str(ROOT / "tests"))
    from browser_fixture import find_browser, open_browser
    from review_server_fixture import Case, serving

    if find_browser() is None:
        return None
    with serving(run) as server, open_browser() as browser:
        family = [psutil.Process(server.process.pid)]
        family += family[0].children(recursive=True)
        memory = lambda: sum(one.memory_info().rss for one in family) / 2**20  # noqa: E731
        start = time.perf_counter()
        with Case(browser, f"{server.address}?reviewer=benchmark") as case:
            opened = time.perf_counter() - start
            for _ in range(10):
                case.key("ArrowRight")
            before, turned, decided = memory(), [], []
            for seconds, key, count in ((turned, "ArrowRight", steps), (decided, "a", 20)):
                for _ in range(count):
                    start = time.perf_counter()
                    case.key(key)
                    seconds.append(time.perf_counter() - start)
            grown = memory() - before
            return {"open_seconds": opened, "step_seconds": statistics.median(turned),
                    "decide_seconds": statistics.median(decided), "memory_mib": before, "grown_mib": grown}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--run", type=Path, help="a run folder instead of one that is made")
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "review.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        if options.run is None:
            make_run(Path(folder), options.cases)
        else:
            shutil.copytree(options.run, run)
        result = {"cases": options.cases if options.run is None else str(options.run), "steps": options.steps,
                  "machine": platform.processor() or platform.machine(), "cores": os.cpu_count(),
                  "busy": os.getloadavg()[0] if hasattr(os, "getloadavg") else None}  # fmt: skip
        result["server"] = of_the_server(run, options.steps)
        print(pd.Series(result["server"]).to_string(), flush=True)
        if not options.no_browser:
            result["browser"] = in_a_browser(run, options.steps)
            print("in a browser", pd.Series(result["browser"]).to_string(), sep="\n")
    write_json(options.out, result)


if __name__ == "__main__":
    main()
