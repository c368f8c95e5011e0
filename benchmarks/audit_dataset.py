"""One dataset of the audit's benchmark: drawn, trained on, its exact effects, and what the audit says of it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from audit_plants import CLASSES, PLANTS, VIEW, Drawn, PlantedFilm, films_of
from audit_saliency import rank_planted, region_masks, rule_of_thumb

from xray_debug.audit.auditor import AuditResult, finish, make_bank
from xray_debug.audit.knowledge import ask_features, what_features_tell
from xray_debug.audit.look.collect import looks_of_views
from xray_debug.audit.look.films import films_of_views
from xray_debug.audit.no_evidence import no_evidence
from xray_debug.audit.worker import AuditWorker
from xray_debug.config import AuditConfig, CleanConfig, TrainConfig
from xray_debug.data.boxes import as_boxes
from xray_debug.data.images import ModelView, write_image
from xray_debug.models import build_model
from xray_debug.models.fit import fit
from xray_debug.models.penultimate import penultimate_features
from xray_debug.models.predict import probabilities

TRAIN_IMAGES, TEST_IMAGES = 300, 72
PERMUTATIONS = 100  # of the suspicions; they go on by themselves where a smaller p is asked for
# a false box costs an audit less than a missed one
SENSITIVE = {"text_threshold": 0.35, "low_text": 0.22, "grow": 0.15}


class Views:
    """uint8 (N, S, S) as the stages hand them on."""

    def __init__(self, images: np.ndarray):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows) -> np.ndarray:
        return self.images[rows]

    def rows(self, rows) -> np.ndarray:
        return self.images[rows]


def text_of(film: Drawn) -> np.ndarray:
    """(N, 4) boxes of the text with its frame or ring."""
    return as_boxes([box.get("outer", box["box"]) for box in film.boxes])


def labels_of(films: list[PlantedFilm]) -> np.ndarray:
    return np.array([CLASSES.index(film.label) for film in films])


def train(films: list[PlantedFilm], images: np.ndarray, view: ModelView, folder: Path, seed: int):
    """A small covidnet, chosen on every fifth of its training films."""
    labels, val = labels_of(films), np.arange(len(films)) % 5 == 0
    torch.manual_seed(seed)
    model = build_model("covidnet", CLASSES, view, width=16, depth=0.3)
    epochs = films[0].plant.epochs
    config = TrainConfig(epochs=epochs, batch_size=16, learning_rate=5e-3, stop_after=epochs, patience=5,
                         view={"size": view.size}, accelerator="cpu")  # fmt: skip
    fit(model, images[~val], labels[~val], images[val], labels[val], config, folder, seed)
    return model.eval()


def probabilities_of(model, images: np.ndarray) -> np.ndarray:
    """uint8 (N, S, S) -> (N, K)."""
    return probabilities(model, images[:, None].astype(np.float32) / 255, 64)


def exact_effects(model, films: list[PlantedFilm], view: ModelView) -> tuple[dict, dict[str, np.ndarray]]:
    """factor -> class -> {"n", "effect"}: what the class's own probability loses without the factor, on average over
    its films that have it; and what the network says of every film without its text, (N, K) under "text".
    """
    pairs, rows = [film.pairs() for film in films], labels_of(films)
    found, without = {}, {}
    for factor in sorted({name for pair in pairs for name in pair}):
        own = np.array([i for i, pair in enumerate(pairs) if factor in pair])
        before, after = (probabilities_of(model, np.stack([view.apply(pairs[i][factor][side]) for i in own]))
                         for side in (0, 1))
        lost = (before - after)[np.arange(len(own)), rows[own]]
        found[factor] = {label: {"n": int(mine.sum()), "effect": float(lost[mine].mean())}
                         for k, label in enumerate(CLASSES) if (mine := rows[own] == k).any()}
        whole = np.full((len(films), len(CLASSES)), np.nan)
        whole[own] = after
        without[factor] = whole
    return found, without


def manifest_of(films: list[PlantedFilm], drawn: list[Drawn], split: str, folder: Path) -> pd.DataFrame:
    """Rows as prepare has them, of films that the audit may read in `folder`."""
    return pd.DataFrame([{
        "image_id": film.name, "patient_id": film.name, "label": film.label, "source": film.source, "split": split,
        "test_set": "test" if split == "test" else "", "width": own.image.shape[1], "height": own.image.shape[0],
        "bit_depth": 8, "attr_sex": film.sex, "file": str(folder / film.name)}
        for film, own in zip(films, drawn, strict=True)])  # fmt: skip


def detected(detector: str, films: list[PlantedFilm], drawn: list[Drawn]) -> dict[str, np.ndarray]:
    """image_id -> boxes of the text as a detector sees it."""
    from xray_debug.text import load_detector

    found = load_detector(detector, **(SENSITIVE if detector == "craft-lite" else {})).detect([d.image for d in drawn])
    text = [[box.box for box in boxes if box.kind == "text"] for boxes in found]
    return {film.name: as_boxes(boxes) for film, boxes in zip(films, text, strict=True)}


def audited(model, cases: pd.DataFrame, boxes: dict, devices: dict, looks: dict | None, config: AuditConfig, seed: int,
            **beside) -> AuditResult:  # fmt: skip
    """As the stage audit does it, without a run folder."""
    worker = AuditWorker("", config.model_dump(), CleanConfig().model_dump(), seed, looks=looks)
    worker.start(model, make_bank(cases, boxes, model.view, config, CleanConfig(), seed))
    rows = worker([{**row, "boxes": boxes.get(row["image_id"], ()), "devices": devices.get(row["image_id"], ())}
                   for row in cases.to_dict("records")])
    return finish(cases, rows, model.classes, config, seed, looks=looks, **beside)


def regions_table(films: list[PlantedFilm], drawn: list[Drawn], path: Path) -> str | None:
    """The planted regions as a user's table, or None where there are none."""
    rows = [(film.name, *box, "disc") for film, own in zip(films, drawn, strict=True) for box in own.regions]
    if not rows:
        return None
    pd.DataFrame(rows, columns=["image_id", "x0", "y0", "x1", "y1", "name"]).to_csv(path, index=False)
    return str(path)


def flags_of(cases: pd.DataFrame, before: np.ndarray, without: np.ndarray | None, min_effect: float) -> dict:
    """Changed decisions that were flagged, against the exact films without text; `large`: of changes that move the
    probability by at least `min_effect`."""
    if without is None:
        return {"flagged": 0, "changed": 0, "both": 0, "large": 0, "large_both": 0}
    own = before.argmax(axis=1)
    known = np.isfinite(without).all(axis=1)
    after = np.where(known[:, None], without, before)
    changed = after.argmax(axis=1) != own
    large = changed & ((before - after)[np.arange(len(own)), own] >= min_effect)
    flagged = (cases["kind"] == "decision").to_numpy()
    return {"flagged": int(flagged.sum()), "changed": int(changed.sum()), "both": int((flagged & changed).sum()),
            "large": int(large.sum()), "large_both": int((flagged & large).sum())}


def questions_of(checks: pd.DataFrame) -> list[dict]:
    """What was asked of each class, and what came out: the rows that are interventions."""
    asked, found = checks[checks["kind"] == "intervention"], []
    for row in asked.to_dict("records"):
        numbers = {name: _short(row[name]) for name in ("effect", "control", "difference", "p_adjusted")}
        found.append({"check": row["check"], "question": row["question"], "label": row["label"], "n": int(row["n"]),
                      **numbers, "tested": bool(np.isfinite(row["p"])), "shown": bool(row["shown"])})
    return found


def suspicions_of(checks: pd.DataFrame) -> list[dict]:
    """The no-evidence baselines and what the features tell: check, question, corrected p."""
    asked = checks[checks["kind"] == "suspicion"]
    return [{"check": row["check"], "question": row["question"], "effect": _short(row["effect"]),
             "control": _short(row["control"]), "p_adjusted": _short(row["p_adjusted"])}
            for row in asked.to_dict("records")]  # fmt: skip


def _short(value: float) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 4)


def run_dataset(folder: Path, name: str, correlation: float, seed: int, methods=(), detector: str = "none") -> dict:
    """Everything about one dataset, as plain values; cases.parquet and features.npz stay in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    clock, view = [time.process_time()], ModelView(VIEW)
    given = films_of(name, correlation, "train", TRAIN_IMAGES, seed)
    films = films_of(name, correlation, "test", TEST_IMAGES, seed)
    parts = [[film.drawn() for film in own] for own in (given, films)]
    trained, images = (np.stack([view.apply(own.image) for own in part]) for part in parts)
    clock.append(time.process_time())
    model = train(given, trained, view, folder / "model", seed)
    clock.append(time.process_time())
    before, labels = probabilities_of(model, images), labels_of(films)
    effects, without = exact_effects(model, films, view)
    clock.append(time.process_time())
    for film, own in zip(films, parts[1], strict=True):
        write_image(folder / film.name, own.image)
    config = AuditConfig(regions=regions_table(films, parts[1], folder / "regions.csv"))
    frames = [manifest_of(own, part, split, folder) for own, part, split in
              ((given, parts[0], "train"), (films, parts[1], "test"))]  # fmt: skip
    frame, views = pd.concat(frames, ignore_index=True), Views(np.concatenate([trained, images]))
    boxes = {film.name: text_of(own) for group, part in zip((given, films), parts, strict=True)
             for film, own in zip(group, part, strict=True)}
    devices = {film.name: as_boxes(own.devices) for film, own in zip(films, parts[1], strict=True)}
    looks = looks_of_views(frame, boxes, views, view, config, seed)
    measured = films_of_views(frame, boxes, views, view, seed)
    whole = pd.concat([frame, measured], axis=1)
    beside = {"evidence": no_evidence(frame, boxes, seed, PERMUTATIONS, views.images, measured),
              "features": what_features_tell(ask_features(model, whole, views, seed), whole, seed, PERMUTATIONS)}
    clock.append(time.process_time())
    result = audited(model, frames[1], boxes, devices, looks, config, seed, **beside)
    clock.append(time.process_time())
    masks = [region_masks(own, text_of(own), view) for own in parts[1]]
    rule = rule_of_thumb(model, images, before.argmax(axis=1), masks)
    clock.append(time.process_time())
    result.cases.to_parquet(folder / "cases.parquet")
    np.savez(folder / "features.npz", features=penultimate_features(model, images), labels=labels,
             has=np.array([film.group for film in films]))
    steps = ("draw", "train", "exact", "suspicions", "audit", "saliency")
    record = {
        "name": name, "seed": seed, "correlation": correlation, "difficulty": PLANTS[name].difficulty,
        "seconds": {step: round(float(took), 1) for step, took in zip(steps, np.diff(clock), strict=True)},
        "accuracy": float((before.argmax(axis=1) == labels).mean()), "effects": effects,
        "verdict": result.verdict["verdict"], "questions": questions_of(result.checks),
        "suspicions": suspicions_of(result.checks), "looks": list(result.verdict["looks"]["differ"]),
        "one_way": {label: names for label, own in result.verdict["classes"].items()
                    if (names := [name for name, entry in own["look"].items() if entry["one_way"]])},
        "flags": flags_of(result.cases, before, without.get("text"), config.min_effect),
        "saliency": rule, "ranking": rank_planted(model, films, masks, images, before, methods),
        "passes": float(result.verdict["passes_per_case"]), "most_passes": int(result.verdict["most_passes"]),
    }  # fmt: skip
    if detector != "none":
        seen = {**boxes, **detected(detector, films, parts[1])}
        again = audited(model, frames[1], seen, devices, looks, config, seed)
        record["detected"] = {
            "detector": detector, "verdict": again.verdict["verdict"], "questions": questions_of(again.checks),
            "flags": flags_of(again.cases, before, without.get("text"), config.min_effect)}  # fmt: skip
    return record
