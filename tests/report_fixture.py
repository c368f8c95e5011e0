"""A run folder as the stages leave it, with tiny images and made-up predictions, for the tests of the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from xray_debug.config import PipelineConfig
from xray_debug.data.files import write_json
from xray_debug.data.images import write_image
from xray_debug.report.inputs import StageInfo
from xray_debug.run.parts import write_part
from xray_debug.run.store import OUTPUTS, Store

CLASSES = ("normal", "pneumonia", "COVID-19")
STAGES = [StageInfo(name, f"The work of {name}.") for name in dict.fromkeys(output.stage for output in OUTPUTS.values())
          if name != OUTPUTS["report"].stage]  # fmt: skip
SIDE = 48
TRAIN, TEST = 30, 36
BOX = (3, 2, 17, 10)
KIND_EFFECTS = {"effect": 0.41, "control": 0.02, "difference": 0.39}
SKILL = {"original": 0.6, "cleaned": 0.9, "control": 0.62}  # how often a model is right where text misleads


def small_config(**changes) -> PipelineConfig:
    values = {"name": "fake run", "seed": 3, "seeds": [0, 1], "train": {"view": {"size": 32}},
              "report": {"bootstrap": 200, "max_flagged": 3}, "audit": {"permutations": 99}}  # fmt: skip
    return PipelineConfig.model_validate(values | changes)


def image_names(test_sets: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """(image_id, split, test_set); one name holds what would be markup in HTML and Markdown."""
    rows = [(f"train-{i:03d}.png", "val" if i % 6 == 0 else "train", "") for i in range(TRAIN)]
    for name in test_sets:
        rows += [(f"{name}-{i:03d}.png", "test", name) for i in range(TEST)]
    rows[TRAIN] = ("a<b>&'$x$|`*.png", "test", test_sets[0])
    return rows


def make_run(folder: Path, config: PipelineConfig, test_sets: tuple[str, ...] = ("test", "reversed")) -> Store:
    """A whole run below `folder`, every stage complete."""
    rng, store = np.random.default_rng(7), Store(folder)
    for stage in STAGES:
        (folder / stage.name).mkdir(parents=True)
    usable = make_manifest(store, test_sets, rng)
    test = usable[usable["split"] == "test"]
    write_predictions(store, test, config, rng)
    marked = set(write_boxes(store, usable)["image_id"])
    write_audit(store, test, marked, rng)
    write_cleaning(store, usable, marked, rng)
    for number, stage in enumerate(STAGES):
        complete(store, stage.name, seconds=1.5 + number, peak_memory_mb=100.0 + number, images=10 * number)
    return store


def complete(store: Store, stage: str, **facts) -> None:
    """The record that makes a stage complete."""
    record = {"stage": stage, "versions": {"numpy": "2.0"}, "device": "cpu", "inputs": {"data": "d16e57"},
              "parameters": {"seed": 0}, "code": "c0de", "threads": 1, **facts}  # fmt: skip
    write_json(store.stage_folder(stage) / "stage.json", record)


def make_manifest(store: Store, test_sets, rng) -> pd.DataFrame:
    """Writes images and manifest; returns the rows that can be used."""
    rows = []
    for number, (image_id, split, test_set) in enumerate(image_names(test_sets)):
        path = f"{'test' if split == 'test' else 'train'}/{image_id}"
        target = store.path("manifest").parent / "data" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        write_image(target, rng.integers(0, 255, (SIDE, SIDE + 4), dtype=np.uint8))
        label = CLASSES[number % 3]
        rows.append({"image_id": image_id, "split": split, "patient_id": f"p{number // 2}", "label": label,
                     "path": path, "source": "cohen" if label == "COVID-19" else ("nih", "actmed")[number % 2],
                     "width": SIDE + 4, "height": SIDE, "bit_depth": 8, "sha256": "", "problem": "",
                     "test_set": test_set, "attr_view": ("PA", "A<P>")[number % 12 > 1],
                     "duplicate_of": "", "near_duplicate_of": ""})  # fmt: skip
    rows[5]["problem"] = f"{rows[5]['image_id']}: the file is truncated"
    manifest = pd.DataFrame(rows).assign(view_index=np.arange(len(rows)))
    store.write_table("manifest", manifest)
    store.write_json("dataset", {"root": "data"})
    return manifest[manifest["problem"] == ""]


def predict(test: pd.DataFrame, trained: str, tested: str, seed: int, rng) -> pd.DataFrame:
    truth = test["label"].map(CLASSES.index).to_numpy()
    right = rng.random(len(test)) < np.where(test["test_set"] == "test", 0.92, SKILL[trained])
    best = np.where(right, truth, (truth + rng.integers(1, 3, len(test))) % 3)
    probabilities = rng.dirichlet([1, 1, 1], len(test)) * 0.4
    probabilities[np.arange(len(test)), best] += 0.6
    table = test[["test_set", "image_id", "label", "source"]].reset_index(drop=True)
    table = table.assign(trained_on=trained, without="", tested_on=tested, seed=seed)
    table["predicted"] = [CLASSES[i] for i in best]
    return table.assign(**{f"p_{name}": probabilities[:, i] for i, name in enumerate(CLASSES)})


def write_predictions(store: Store, test: pd.DataFrame, config: PipelineConfig, rng) -> None:
    parts = {"predictions": [], "retrained predictions": []}
    for seed in config.all_seeds:
        for trained in SKILL:
            for tested in ("original", "cleaned"):
                name = "predictions" if (trained, tested) == ("original", "original") else "retrained predictions"
                parts[name].append(predict(test, trained, tested, seed, rng))
        unseen = predict(test[test["source"] == "nih"], "control", "original", seed, rng)
        parts["retrained predictions"].append(unseen.assign(trained_on="original", without="nih"))
    for name, tables in parts.items():
        store.write_table(name, pd.concat(tables, ignore_index=True))


def write_boxes(store: Store, usable: pd.DataFrame) -> pd.DataFrame:
    marked = usable[(usable["label"] != "COVID-19") | (np.arange(len(usable)) % 4 == 0)]
    rows = [(name, "text", *BOX, 0.9, "fake") for name in marked["image_id"]]
    boxes = pd.DataFrame(rows, columns=["image_id", "kind", "x0", "y0", "x1", "y1", "score", "detector"])
    device = boxes.head(1).assign(kind="device")  # no text: nobody erases or draws it
    store.write_table("regions", pd.concat([boxes, device], ignore_index=True))
    return boxes


def write_audit(store: Store, test: pd.DataFrame, marked: set, rng) -> None:
    cases = test[["image_id", "label", "source", "test_set"]].reset_index(drop=True)
    columns = ("probability", "effect", "control_effect", "p_text_only", "p_text_inpainted", "p_inserted_0.06",
               "p_deleted_0.12", "deletion", "insertion")  # fmt: skip
    for name in columns:
        cases[name] = rng.random(len(cases))
    cases["removed_by"] = np.resize(["inpainted", "smoothed", "mirrored"], len(cases))
    for name in ("smoothed", "mirrored"):
        cases[f"p_text_{name}"] = rng.random(len(cases))
    cases["p_text_removed"] = [row[f"p_text_{row['removed_by']}"] for _, row in cases.iterrows()]
    cases.loc[0, "control_effect"] = np.nan
    cases["predicted"], cases["text_visible"] = "COVID-19", cases["image_id"].isin(marked).astype(int)
    cases["flagged"] = np.arange(len(cases)) < 5
    cases["kind"] = np.where(cases["flagged"], "decision", "")
    cases["reasons"] = np.where(cases["flagged"], "Without its text the probability <falls>.", "")
    cases["remarks"], cases["rank"] = "", np.arange(1, len(cases) + 1)
    store.write_table("cases", cases)
    store.write_json("verdict", make_verdict())
    write_maps(store, list(cases["image_id"].head(4)), rng)


def write_maps(store: Store, names: list[str], rng) -> None:
    """Explanations of these cases, with their maps in parts of three."""
    rows = [{"image_id": name, "saliency": rng.random((7, 7), dtype=np.float32),
             "deletion_curve": np.linspace(0.9, 0.1, 6), "insertion_curve": np.linspace(0.1, 0.9, 6)}
            for name in names]  # fmt: skip
    store.path("maps").mkdir(exist_ok=True)
    for start in range(0, len(rows), 3):
        write_part(store.path("maps"), start // 3, rows[start : start + 3], "fake")
    table = [{"image_id": name, "target": "COVID-19", "method": "igos_pp", "mask_size": 7, "probability": 0.9,
              "deletion": 0.2, "insertion": 0.7, "sparseness": 0.6, "objective": -1.25, "objective_area": 0.2,
              "hardly_moved": name == names[0]} for name in names]  # fmt: skip
    store.write_table("explanations", pd.DataFrame(table))
    checks = {"target": "COVID-19", "mprt_output": 0.5, "mprt_all": np.nan, "random_logit": 0.4, "max_sensitivity": 0.1}
    store.write_table("sanity", pd.DataFrame([{"image_id": name, **checks} for name in names[:2]]))


def share(value: float, **more) -> dict:
    return {"value": value, "low": value - 0.03, "high": value + 0.04, **more}


def make_verdict() -> dict:
    """The shape of audit/verdict.json, with its no-evidence baselines."""
    def asked(shown: bool) -> dict:
        return {"n": 31, "effect": share(0.31), "control": share(0.01), "difference": share(0.3), "p": 0.0002,
                "separation": share(0.28) if shown else None, "p_adjusted": 0.0017, "shown": shown}  # fmt: skip

    kinds = {"lone letter": {"n": 19, **{k: share(v) for k, v in KIND_EFFECTS.items()}}}

    def judged(label: str) -> dict:
        return {"verdict": "relies on text", "text": asked(True) | {"places": {}, "kinds": kinds},
                "absence": asked(False) | {"textless_here": share(0.6, n=12), "textless_elsewhere": share(0.05, n=24)},
                "regions": {"border": asked(False)}, "sentences": [f"{label} relies on text."]}  # fmt: skip

    own = {"verdict": "COVID-19 relies on text", "sentences": ["COVID-19 relies on text: by 0.31 on average."],
           "classes": {label: judged(label) for label in CLASSES}, "cases": 36, "hypotheses": 9,
           "swaps": {"n": 20, "followed": share(0.55), "control": share(0.05)},
           "centre_blacked_out": {"n": 36, "chance": 1 / 3, "blacked_out": share(0.71),
                                  "image": share(0.93)}}  # fmt: skip
    told = {"label": "COVID-19", "recall": 0.9, "elsewhere": 0.1, "category": "<b>south</b>"}
    baseline = {"mean_recall": 0.83, "chance": 1 / 3, "p": 0.002, "p_adjusted": 0.004, "speaks_for": told,
                "test": {"test": share(0.86, n=36, majority=0.33)}}
    empty = {"mean_recall": 0.34, "chance": 1 / 3, "p": 0.4, "p_adjusted": 0.4,
             "speaks_for": told | {"category": "nothing"},
             "test": {}}
    known = {"name": "source", "groups": ["north", "south"], "images": 36, "features": share(0.91),
             "pixels": share(0.77), "label": share(0.62), "p": 0.001, "p_adjusted": 0.002}
    features = {"images": 36, "dimension": 64, "rows": [known, known | {"name": "attribute <i>sex</i>"}],
                "sentences": ["The model's features tell the source with AUROC 0.91."]}
    return {**own, "features": features, "clusters": make_clusters(),
            "test_sets": {"test": own}, "passes_per_case": 120.5, "no_evidence": {
        "chance": 1 / 3, "images": 101, "patients": 99, "predictors": {"source": baseline, "file type": empty},
        "sentences": ["From the source alone the label is guessed with a mean recall of 0.83."]}}  # fmt: skip


def make_clusters() -> dict:
    """A kind of maps with its typical cases, and a slice without any that is known."""
    along = [{"what": "source: <b>south</b>", "inside": 0.9, "outside": 0.2, "p_adjusted": 0.01}]
    kind = {"name": "COVID-19, kind 1 of 2", "by": "maps", "label": "COVID-19", "images": 12, "of": 40, "share": 0.3,
            "peak": "top left", "centre": [0.2, 0.3], "border": 0.2, "corners": 0.6, "outside": 0.8, "with": along,
            "cases": ["test-001.png", "test-002.png", "test-030.png"], "text": "12 of 40 maps look at the top left."}
    part = {"name": "slice 1", "by": "features", "label": "normal", "images": 9, "of": 60, "share": 0.15,
            "errors": 0.6, "errors_elsewhere": 0.1, "p": 0.001, "p_adjusted": 0.004, "with": [],
            "cases": ["nobody.png"], "text": "9 of 60 images of which it gets 60 % wrong."}
    told = {"images": 40, "kinds": 2, "eigenvalues": [0.0, 0.1, 0.8]}
    return {"candidates": [kind, part], "maps": {"COVID-19": told},
            "slices": {"images": 120, "counted_on": 60, "slices": 5},
            "notes": ["normal: 12 explained cases whose maps moved, at least 30 are needed"]}  # fmt: skip


def write_cleaning(store: Store, usable: pd.DataFrame, marked: set, rng) -> None:
    done = usable[usable["image_id"].isin(marked)]
    changes = done[["image_id", "label", "source", "split", "test_set"]].reset_index(drop=True)
    changes["boxes"] = json.dumps([list(BOX)])
    changes["origin"], changes["file"], changes["area_share"] = "detector", changes["image_id"], 0.04
    changes["cleaned_sha256"], changes["residual"] = "", rng.integers(0, 2, len(changes))
    store.write_table("changes", changes)
    store.write_table("readings", make_readings(usable, marked))
    store.write_json("probe", {"auc": 0.55, "low": 0.49, "high": 0.61, "patches": 90})


def make_readings(usable: pd.DataFrame, marked: set) -> pd.DataFrame:
    """Every third original: of each erased box a second reader sees three of four, every fifth has one of its own."""
    rows = usable[["image_id", "patient_id", "label", "source", "split", "test_set"]].iloc[::3].reset_index(drop=True)
    rows["erased"] = rows["image_id"].isin(marked).astype(int)
    rows["seen"] = rows["erased"] * (np.arange(len(rows)) % 4 > 0)
    rows["alone"] = (np.arange(len(rows)) % 5 == 0).astype(int)
    rows["found"] = rows["seen"] + rows["alone"]
    return rows.astype({name: "Int64" for name in ("erased", "seen", "found", "alone")}).assign(note="")
