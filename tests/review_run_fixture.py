"""A run of phantom films as a reviewer meets it, as large as asked for; tables by the store's own writers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from xray_debug.config import PhantomConfig, dump_config, parse_config
from xray_debug.data.files import write_json, write_text
from xray_debug.data.images import image_header, write_image
from xray_debug.phantom.case import PhantomCase, make_case
from xray_debug.phantom.findings import CLASSES
from xray_debug.run.folder import MAKER
from xray_debug.run.parts import write_part
from xray_debug.run.store import Store
from xray_debug.stats.seeds import rng_of

SIZE = 256


def drawn_films(count: int) -> list[PhantomCase]:
    """Phantom films with a marker each and its exact boxes."""
    config = PhantomConfig(size=SIZE)
    return [make_case(config, CLASSES[i % 3], ("review", i), CLASSES[(i + 1) % 3]) for i in range(count)]


def write_dataset(root: Path, films: list[PhantomCase], train: int, test: int) -> dict[str, PhantomCase]:
    """A COVIDx folder in which the films come again and again, each time a little brighter; image_id -> its film."""
    known = {}
    for split, count in (("train", train), ("test", test)):
        (root / split).mkdir(parents=True)
        lines = []
        for i in range(count):
            film, name = films[i % len(films)], f"{split}-{i:05d}.png"
            write_image(root / split / name, np.minimum(film.image, 250) + np.uint8(i // len(films) % 6))
            known[name] = film
            lines.append(f"{split}{i} {name} {film.label} {film.source}\n")
        (root / f"{split}_COVIDx.txt").write_text("".join(lines), encoding="utf-8")
    return known


def finish(store: Store, stage: str) -> None:
    """The stage as one that is complete."""
    write_json(store.stage_folder(stage) / "stage.json", {"made_by": MAKER, "stage": stage})


def add_found(store: Store, known: dict[str, PhantomCase]) -> None:
    """Stage detect: the exact boxes of every film."""
    rows = [{"image_id": name, "kind": "text", **dict(zip(("x0", "y0", "x1", "y1"), box["box"], strict=True)),
             "score": 0.55 + 0.4 * rng_of("score", name, at).random(), "detector": "exact"}
            for name, film in known.items() for at, box in enumerate(film.boxes)]  # fmt: skip
    store.stage_folder("detect").mkdir(parents=True, exist_ok=True)
    store.write_table("regions", pd.DataFrame(rows))
    store.write_json("unread", {})
    finish(store, "detect")


def add_audit(store: Store, known: dict[str, PhantomCase], flagged: int, maps: int = 0) -> None:
    """Stage audit of the test films, the first `flagged` of them flagged; and as many explained as `maps` says."""
    rows, names = [], [name for name in known if name.startswith("test")]
    for at, name in enumerate(names):
        rng, film = rng_of("audit", name), known[name]
        before, kind = rng.uniform(0.7, 0.99), ("decision", "probability")[at % 2] if at < flagged else ""
        other = next(name for name in CLASSES[at % 3 :] + CLASSES if name != film.label)
        after = before - (0.6 - 0.5 * at / max(flagged, 1) if kind else rng.uniform(0, 0.02))
        rows.append({
            "image_id": name, "label": film.label, "source": film.source, "test_set": "test", "predicted": film.label,
            "probability": before, "p_text_removed": after, "p_text_only": rng.uniform(0, 1), "removed_by": "inpainted",
            "p_control_removed": before - 0.01, "control_effect": 0.01, "effect": before - after, "controls": 5,
            "decision_text_removed": other if kind == "decision" else film.label, "kind": kind,
            "flagged": bool(kind), "reasons": "It relies on its text." if kind else "", "remarks": "", "rank": at + 1,
        })  # fmt: skip
    store.stage_folder("audit").mkdir(parents=True, exist_ok=True)
    store.write_table("cases", pd.DataFrame(rows))
    finish(store, "audit")
    if maps:
        store.path("maps").mkdir(parents=True)
        explained = [{"image_id": name, "saliency": saliency_of(name)} for name in names[:maps]]
        write_part(store.path("maps"), 0, explained, "fixture")
        finish(store, "explain")


def saliency_of(name: str) -> np.ndarray:
    """(28, 28) float32: a spot at a place of the name's own."""
    x, y = rng_of("map", name).uniform(6, 22, 2)
    rows, columns = np.mgrid[0:28, 0:28]
    return np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 20).astype(np.float32)


def write_prepared(store: Store, root: Path, known: dict[str, PhantomCase]) -> None:
    """Stage prepare without its work: the manifest of a folder whose files are as write_dataset left them."""
    rows = []
    for at, (name, film) in enumerate(known.items()):
        split = name.partition("-")[0]
        header = image_header(root / split / name) if at < 3 else None  # all have one size
        assert header is None or (header.width, header.height) == (SIZE, SIZE)
        rows.append({"image_id": name, "path": f"{split}/{name}", "split": split, "patient_id": f"P{at}",
                     "label": film.label, "source": film.source, "test_set": "test" if split == "test" else "",
                     "width": SIZE, "height": SIZE, "sha256": "", "problem": "", "view_index": at})  # fmt: skip
    store.stage_folder("prepare").mkdir(parents=True, exist_ok=True)
    store.write_table("manifest", pd.DataFrame(rows))
    store.write_json("dataset", {"root": str(root)})
    finish(store, "prepare")


def pipeline(root: Path):
    """The options of such a run."""
    return parse_config({"name": "review", "data": str(root), "detect": {"second": None},
                         "train": {"view": {"size": 112}}, "engine": {"workers": 1}}, "fixture")  # fmt: skip


def phantom_run(folder: Path, train=6, test=58, flagged=40, drawn=8, maps=8) -> Store:
    """A run up to stage audit; nothing of it was computed but the films."""
    root = folder / "data"
    known = write_dataset(root, drawn_films(drawn), train, test)
    store = Store(folder / "run")
    store.folder.mkdir(parents=True)
    write_text(store.pipeline_file, dump_config(pipeline(root)))
    write_prepared(store, root, known)
    add_found(store, known)
    add_audit(store, known, flagged, maps)
    return store
