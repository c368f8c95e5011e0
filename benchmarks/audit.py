"""Does the audit say what is true? Synthetic datasets with planted shortcuts, whose counterfactuals are exact.

    python benchmarks/audit.py --seeds 1 2 3 4 5 --json audit.json

For every seed: markers (bright, faint, rotated; correlation 0.95, 0.8, 0.6), planted absence, a planted object that is
not text, and a clean dataset. Each is drawn, a small covidnet is trained on it, the test images are audited, and the
verdict, the flags and the effects are compared with the same images without their marker. On the datasets of
correlation 0.95 the saliency methods are ranked by how well they find the planted marker.
The figures are with the exact boxes of the text, so that they speak of the audit alone. Datasets of correlation 0.95
are audited again with the boxes of --detector: "detected" in the JSON. Finished datasets are kept in --work.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from xray_debug.audit.auditor import audit_dataset
from xray_debug.audit.flags import add_flags
from xray_debug.audit.measures import saliency_share
from xray_debug.audit.verdict import dataset_verdict
from xray_debug.config import AuditConfig, CleanConfig, PhantomConfig, TrainConfig
from xray_debug.data.boxes import as_boxes, rasterise_boxes
from xray_debug.data.images import ModelView, write_image
from xray_debug.models import build_model, load_checkpoint
from xray_debug.models.fit import fit
from xray_debug.models.predict import probabilities
from xray_debug.phantom import PhantomCase, make_case

CLASSES = ["normal", "pneumonia", "COVID-19"]
STYLES, CORRELATIONS = ("bright", "faint", "rotated"), (0.95, 0.8, 0.6)
METHODS = ("igos_pp", "igos", "rise", "gradcam", "integrated_gradients", "gradient")
VIEW, TRAIN_IMAGES, TEST_IMAGES, EPOCHS = 112, 720, 90, 24
EASY, HARD = 0.3, 4.0  # difficulty of clean films, which a small net must learn, and of those with a shortcut to take
# a false box costs an audit less than a missed one
SENSITIVE = {"text_threshold": 0.35, "low_text": 0.22, "grow": 0.15}
USED = 0.05  # mean true effect from which a net can be said to have taken the shortcut
EXPLAINED = 12  # images of a dataset on which the saliency methods are ranked


def datasets() -> dict[str, dict]:
    """name -> what is planted."""
    planted = {f"{style}-{correlation}": {"plant": "marker", "style": style, "correlation": correlation}
               for correlation in CORRELATIONS for style in STYLES}
    others = ("absence", "artifact", "none")
    return planted | {plant: {"plant": plant, "style": "mixed", "correlation": 0.95} for plant in others}


# ------------------------------------------------------------------------------------------------ one dataset


def draw(options: dict, split: str, count: int, seed: int) -> list[tuple[str, PhantomCase]]:
    """(name, film) of `count` patients, one film each, the classes in turn; shares of markers are exact per class."""
    config = PhantomConfig(difficulty=EASY if options["plant"] == "none" else HARD, **options)
    return [(f"{split}{index:04d}.png", make_case(config, CLASSES[index % 3], (seed, split, index)))
            for index in range(count)]


def as_arrays(films: list[tuple[str, PhantomCase]], view: ModelView, which: str = "image") -> np.ndarray:
    """uint8 (N, S, S): the films, or with "clean" the same without marker, as the model sees them."""
    return np.stack([view.apply(getattr(film, which)) for _, film in films])


def label_indices(films: list[tuple[str, PhantomCase]]) -> np.ndarray:
    return np.array([CLASSES.index(film.label) for _, film in films])


def train(options: dict, view: ModelView, out: Path, seed: int):
    """A small covidnet, chosen on every fifth of its training films."""
    if (out / "model.json").exists():
        return load_checkpoint(out)
    films = draw(options, "train", TRAIN_IMAGES, seed)
    images, labels = as_arrays(films, view), label_indices(films)
    val = np.arange(len(films)) % 5 == 0
    torch.manual_seed(seed)
    model = build_model("covidnet", CLASSES, view, width=16, depth=0.3)
    config = TrainConfig(epochs=EPOCHS, batch_size=16, learning_rate=5e-3, stop_after=EPOCHS, patience=5,
                         view={"size": view.size}, accelerator="cpu")
    fit(model, images[~val], labels[~val], images[val], labels[val], config, out, seed)
    return model.eval()


def write_test(films: list[tuple[str, PhantomCase]], folder: Path) -> pd.DataFrame:
    """Writes the films and returns the table that the audit asks for."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, film in films:
        write_image(folder / name, film.image)
    return pd.DataFrame([{"image_id": name, "label": film.label, "source": film.source, "test_set": "test",
                          "file": str(folder / name)} for name, film in films])


def film_boxes(film: PhantomCase) -> np.ndarray:
    """(N, 4) boxes of the text with its frame or ring."""
    return as_boxes([box.get("outer", box["box"]) for box in film.boxes])


def text_boxes(films: list[tuple[str, PhantomCase]], source: str) -> dict[str, np.ndarray]:
    """Boxes of the test images: the detector's, or the true ones."""
    if source == "truth":
        return {name: film_boxes(film) for name, film in films}
    from xray_debug.text import load_detector

    options = SENSITIVE if source == "craft-lite" else {}
    found = load_detector(source, **options).detect([film.image for _, film in films])
    return {name: as_boxes([box.box for box in boxes if box.kind == "text"])
            for (name, _), boxes in zip(films, found, strict=True)}  # fmt: skip


def object_table(films: list[tuple[str, PhantomCase]], path: Path) -> str | None:
    """The planted objects as a user's table of regions, or None where there are none."""
    rows = [(name, *item["box"], "object") for name, film in films for item in film.artifacts]
    if not rows:
        return None
    pd.DataFrame(rows, columns=["image_id", "x0", "y0", "x1", "y1", "name"]).to_csv(path, index=False)
    return str(path)


def explain(model, images: np.ndarray, targets: np.ndarray, method: str) -> tuple[np.ndarray, float]:
    """Saliency (N, m, m) and seconds an image."""
    from xray_debug import saliency

    batch = torch.from_numpy(images)[:, None].float() / 255
    explanation = getattr(saliency, method)(model, batch, torch.from_numpy(targets), seed=0)
    return explanation.saliency[:, 0].numpy(), explanation.seconds / len(images)


def rank_methods(model, images: np.ndarray, targets: np.ndarray, masks: np.ndarray, methods) -> dict[str, dict]:
    """Pointing (the most salient pixel lies in the marker), mass and enrichment of every method, means over images."""
    import cv2

    result = {}
    for method in methods:
        maps, seconds = explain(model, images, targets, method)
        scores = []
        for saliency, mask in zip(maps, masks, strict=True):
            fine = cv2.resize(saliency, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
            scores.append((mask.ravel()[fine.argmax()] > 0, *saliency_share(fine, mask)))
        pointing, mass, enrichment = np.nanmean(np.array(scores, float), axis=0).tolist()
        result[method] = {"n": len(images), "pointing": pointing, "mass": mass, "enrichment": enrichment,
                          "seconds": seconds}
    return result


def probabilities_of(model, images: np.ndarray) -> np.ndarray:
    """uint8 (N, S, S) -> (N, K)."""
    return probabilities(model, images[:, None].astype(np.float32) / 255, 64)


def compare(cases: pd.DataFrame, truth: np.ndarray, min_effect: float) -> dict:
    """Flags and effects of one dataset against the exact counterfactuals, `truth` (N, K)."""
    predicted = cases["predicted"].map(CLASSES.index).to_numpy()
    changed = truth.argmax(axis=1) != predicted
    effect = cases["probability"].to_numpy() - truth[np.arange(len(cases)), predicted]
    flagged = (cases["kind"] == "decision").to_numpy()
    with_text = effect != 0
    return {
        "flagged": int(flagged.sum()), "changed": int(changed.sum()), "both": int((flagged & changed).sum()),
        "any_flagged": int(cases["flagged"].sum()),
        "any_right": int((cases["flagged"] & (changed | (effect >= min_effect / 2))).sum()),
        "effect_error": float(np.abs(cases["effect"] - effect)[with_text].mean()) if with_text.any() else 0.0,
        "effect_true": float(effect[with_text].mean()) if with_text.any() else 0.0,
        "mean_error": float((cases["effect"] - effect)[with_text].mean()) if with_text.any() else 0.0,
        "n": int(with_text.sum()),
    }  # fmt: skip


def run_dataset(folder: Path, name: str, options: dict, seed: int, args) -> dict:
    """Everything about one dataset."""
    folder.mkdir(parents=True, exist_ok=True)
    clock, view = [time.time()], ModelView(VIEW)
    model = train(options, view, folder / "model", seed)
    clock.append(time.time())
    films = draw(options, "test", TEST_IMAGES, seed)
    cases, images, labels = write_test(films, folder / "test"), as_arrays(films, view), label_indices(films)
    before, exact = probabilities_of(model, images), probabilities_of(model, as_arrays(films, view, "clean"))
    planted = options["plant"] == "marker" and options["correlation"] == 0.95
    ranking = rank_planted(model, films, images, before, args.methods) if planted else {}
    maps = some_maps(model, list(cases["image_id"]), images, before)
    clock.append(time.time())
    config = AuditConfig(regions=object_table(films, folder / "objects.csv"))
    sources = ["truth"] + [args.detector] * (options["correlation"] == 0.95 and args.detector != "none")
    for source in sources:
        result = audit_dataset(model, cases, text_boxes(films, source), maps, config, CleanConfig(), seed)
        result.cases.to_parquet(folder / f"cases-{'truth' if source == 'truth' else 'detected'}.parquet")
    clock.append(time.time())
    np.save(folder / "exact.npy", exact)
    steps = dict(zip(("train", "explain", "audit"), np.diff(clock).tolist(), strict=True))
    return {"name": name, "seed": seed, **options, "seconds": steps, "ranking": ranking,
            "accuracy": float((before.argmax(axis=1) == labels).mean()),
            "accuracy_clean": float((exact.argmax(axis=1) == labels).mean())}


def judged(folder: Path, seed: int, boxes: str = "truth") -> dict | None:
    """Flags and verdict from the measures of a finished dataset, and how they compare with the truth."""
    objects, exact = folder / "objects.csv", np.load(folder / "exact.npy")
    config = AuditConfig(regions=str(objects) if objects.exists() else None)
    if not (folder / f"cases-{boxes}.parquet").exists():
        return None
    cases = add_flags(pd.read_parquet(folder / f"cases-{boxes}.parquet"), config)
    verdict, _ = dataset_verdict(cases, CLASSES, config, seed)
    return {"verdict": verdict["verdict"], "shown": verdict["shown"],
            "classes": {c: entry["verdict"] for c, entry in verdict["classes"].items()},
            "compare": compare(cases, exact, config.min_effect),
            "passes": verdict["passes_per_case"], "most_passes": verdict["most_passes"]}


def some_maps(model, names: list[str], images: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Cheap maps for every eighth image, so that these cases cost what explained cases cost."""
    rows = np.arange(0, len(names), 8)
    values, _ = explain(model, images[rows], probabilities[rows].argmax(axis=1), "gradient")
    return {names[i]: value for i, value in zip(rows, values, strict=True)}


def rank_planted(model, films, images: np.ndarray, probabilities: np.ndarray, methods) -> dict:
    """Ranks the methods on rightly classified test images that carry their own class's marker."""
    rows = [i for i, (_, film) in enumerate(films)
            if film.boxes and film.marker == film.label == CLASSES[probabilities[i].argmax()]][:EXPLAINED]
    if not rows:
        return {}
    masks = np.stack([model.view.mask_to_view(rasterise_boxes(film_boxes(films[i][1]), *films[i][1].image.shape))
                      for i in rows])
    return rank_methods(model, images[rows], probabilities[rows].argmax(axis=1), masks, methods)


# ------------------------------------------------------------------------------------------------ all of them


def cached(path: Path, key: dict, make: Callable[[], dict]) -> dict:
    """The result in `path` if it was made with the same settings, else a new one."""
    if path.exists():
        saved = json.loads(path.read_text(encoding="utf-8"))
        if saved["key"] == key:
            return saved["result"]
    result = make()
    path.write_text(json.dumps({"key": key, "result": result}, indent=1), encoding="utf-8")
    return result


def code_key() -> str:
    """Changes with the code that measures; flags and verdict are drawn anew each time."""
    package = Path(__file__).parents[1] / "xray_debug"
    measuring = ("frames", "measures", "removals", "swaps", "worker", "bank")
    files = [*(package / "audit" / f"{name}.py" for name in measuring),
             *sorted((package / "audit" / "checks").glob("*.py")),
             *(package / "cleaning" / f"{name}.py" for name in ("inpainting", "fills", "controls"))]
    text = b"".join(file.read_bytes() for file in files)
    settings = repr((VIEW, TRAIN_IMAGES, TEST_IMAGES, EPOCHS, EASY, HARD, EXPLAINED))
    return hashlib.sha256(text + settings.encode()).hexdigest()[:16]


def ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def summary(results: list[dict]) -> dict:
    """The figures asked for; shares are None where no dataset of the kind was run."""
    def of(**wanted):
        return [r for r in results if all(r[key] == value for key, value in wanted.items())]

    planted, clean = of(plant="marker", correlation=0.95), of(plant="none")
    absence, objects = of(plant="absence"), of(plant="artifact")
    compared = [r["compare"] for r in results if r["plant"] != "artifact"]
    strong = [r["compare"] for r in planted]

    def named(rows):
        return ratio(sum(r["shown"]["text"] for r in rows), len(rows))

    def total(rows, key):
        return sum(row[key] for row in rows)

    everyone = [r["compare"] for r in results if r["plant"] != "artifact" and r["compare"]["n"]]
    return {
        "planted_named": named(planted),
        "planted_named_by_correlation": {str(c): named(of(plant="marker", correlation=c)) for c in CORRELATIONS},
        "planted_named_of_used": named([r for r in planted if r["compare"]["effect_true"] >= USED]),
        "clean_accused": ratio(sum(r["verdict"] != "not shown" for r in clean), len(clean)),
        "absence_named": ratio(sum(r["shown"]["absence"] for r in absence), len(absence)),
        "artifact_named": ratio(sum("object" in r["shown"]["regions"] for r in objects), len(objects)),
        "artifact_text_accused": named(objects),
        "flag_precision": ratio(total(strong, "both"), total(strong, "flagged")),
        "flag_recall": ratio(total(strong, "both"), total(strong, "changed")),
        "flag_precision_all": ratio(total(compared, "both"), total(compared, "flagged")),
        "flag_recall_all": ratio(total(compared, "both"), total(compared, "changed")),
        "any_flag_precision": ratio(total(compared, "any_right"), total(compared, "any_flagged")),
        "effect_error": ratio(sum(c["effect_error"] * c["n"] for c in everyone), total(everyone, "n")),
        "passes_per_case": float(np.mean([r["passes"] for r in results])) if results else 0.0,
        "most_passes": max((r["most_passes"] for r in results), default=0),
        "ranking": mean_ranking(results),
    }  # fmt: skip


def detected(results: list[dict]) -> dict:
    """The same figures where the boxes are a detector's, of the datasets that were audited so."""
    figures = summary([{**r, **r["detected"]} for r in results if r["detected"]])
    wanted = ("planted_named", "clean_accused", "absence_named", "flag_precision", "flag_recall", "effect_error")
    return {name: figures[name] for name in wanted}


def mean_ranking(results: list[dict]) -> dict:
    """Means over datasets, best enrichment first."""
    found = {}
    for result in results:
        for method, scores in result["ranking"].items():
            found.setdefault(method, []).append(scores)
    table = {method: {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
             for method, rows in found.items()}
    return dict(sorted(table.items(), key=lambda item: -item[1]["enrichment"]))


def print_table(results: list[dict], figures: dict) -> None:
    print(f"{'dataset':16}{'seed':>5}{'acc':>6}{'clean':>7}{'effect':>8}{'error':>7}{'flags':>7}{'true':>6}{'both':>6}"
          f"{'passes':>8}  verdict")
    for r in results:
        c, passes = r["compare"], r["passes"]
        print(f"{r['name']:16}{r['seed']:5}{r['accuracy']:6.2f}{r['accuracy_clean']:7.2f}{c['effect_true']:8.2f}"
              f"{c['effect_error']:7.3f}{c['flagged']:7}{c['changed']:6}{c['both']:6}{passes:8.0f}  {r['verdict']}")
    if figures["ranking"]:
        print(f"\n{'method':22}{'pointing':>9}{'mass':>7}{'enrichment':>12}{'s/image':>9}")
        for method, s in figures["ranking"].items():
            print(f"{method:22}{s['pointing']:9.2f}{s['mass']:7.3f}{s['enrichment']:12.2f}{s['seconds']:9.2f}")
    print()
    for name, value in figures.items():
        if name != "ranking":
            print(f"{name}: {value if not isinstance(value, float) else round(value, 4)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--datasets", nargs="+", choices=list(datasets()), default=list(datasets()))
    parser.add_argument("--detector", default="craft-lite", help="whose boxes the second audit takes; none for none")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS), help="methods to rank")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-audit"), help="models and finished results")
    args = parser.parse_args()
    results, key = [], {"detector": args.detector, "methods": args.methods, "code": code_key()}
    for seed in args.seeds:
        for name in args.datasets:
            folder = args.work / f"{name}-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            measured = cached(folder / "result.json", key, partial(
                run_dataset, folder, name, datasets()[name], seed, args))
            results.append({**measured, **judged(folder, seed), "detected": judged(folder, seed, "detected")})
            print(f"{name} {seed}: {results[-1]['verdict']}", flush=True)
    figures = {**summary(results), "detected": detected(results)}
    print_table(results, figures)
    if args.json:
        args.json.write_text(json.dumps({"summary": figures, "datasets": results}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
