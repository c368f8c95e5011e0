"""Faults put into a copy of the package one at a time, each of which the named tests must find.

    python tests/mutations.py [--only NAME ...] [--list]

First the named tests must pass as the package is. Then it prints for each mutation whether it was caught, by which
test, and in what time; the exit status is 1 where one survives, or does not fit the sources any more. It takes about
twenty minutes and is no part of the suite.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("xray_debug", "tests", "pipelines", "docs", "app.py", "pyproject.toml", "README.md")
LONGEST = 300  # seconds of one mutation's tests
RIGHT, RUNS = "tests/pipeline/test_right_answers.py", "tests/pipeline/test_runs.py"


class Mutation(NamedTuple):
    """`old`, which occurs once in `file` of the package, becomes `new`; `tests`, arguments of pytest, must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = (
    # ------------------------------------------------------------------------------------------------ stages
    Mutation("best-epoch-on-test", "stages/modelling.py", 'for s in ("train", "val"))', 'for s in ("train", "test"))',
             f"{RIGHT}::test_the_best_epoch_is_chosen_on_val"),
    Mutation("cells-on-originals", "stages/retrain.py", "views[tested_on], model.trained_on, tested_on, model.seed,\n",
             'views["original"], model.trained_on, tested_on, model.seed,\n',
             f"{RIGHT}::test_every_cell_is_scored_on_the_images_it_names"),
    Mutation("retrained-on-originals", "stages/retrain.py", "frame, views[model.trained_on],",
             'frame, views["original"],', f"{RIGHT}::test_cleaned_and_control_models_learn_from_their_own_images"),
    Mutation("label-explained", "stages/explain.py",
             'chosen[["image_id", "predicted"]].rename(columns={"predicted": "target"})',
             'chosen[["image_id", "label"]].rename(columns={"label": "target"})',
             f"{RIGHT}::test_the_prediction_is_explained_and_not_the_label"),
    Mutation("another-seed-explained", "stages/train.py", "modelling.copy_model(jobs[0].folder, folder)",
             "modelling.copy_model(jobs[-1].folder, folder)",
             f"{RIGHT}::test_the_prediction_is_explained_and_not_the_label"),
    Mutation("decisions-ignored", "stages/clean.py", 'config.clean, as_table(context.seen["decisions"]),\n',
             "config.clean, None,\n", f"{RUNS}::test_decisions_of_reviewers_are_followed"),
    Mutation("decisions-not-an-input", "stages/clean.py", "Seen(digest(facts), rows)", "Seen(digest([]), rows)",
             f"{RUNS}::test_decisions_of_reviewers_are_followed"),
    Mutation("audit-radius", "stages/audit.py",
             'config.audit.model_dump(), config.clean.model_dump(), config.seed, pasted,',
             'config.audit.model_dump(), {**config.clean.model_dump(), "radius": 10}, config.seed, pasted,',
             f"{RIGHT}::test_the_audit_erases_as_cleaning_does"),
    Mutation("audit-radius-no-option", "stages/audit.py", '"view", "clean.method", "clean.radius",',
             '"view", "clean.method",',
             f"{RUNS}::test_options_that_change_results_invalidate_their_stages"),
    Mutation("source-left-in", "stages/modelling.py", '(frame["source"] != without)', '(frame["source"] != "")',
             "tests/stages/test_modelling.py"),
    Mutation("merge-begins-anew", "stages/registry.py", "why == \"asked for\" and not shared", "why == \"asked for\"",
             f"{RUNS}::test_shares_and_a_merge_give_the_same_boxes"),
    Mutation("code-not-looked-at", "stages/registry.py",
             "files = code_state(stage.module, skips=tuple(stage.skips(config)))", "files = {}",
             f"{RUNS}::test_code_is_part_of_the_fingerprint"),
    # ------------------------------------------------------------------------------------------------ run
    Mutation("key-without-code", "run/fingerprint.py", "digest([self.inputs, self.parameters, self.code])",
             "digest([self.inputs, self.parameters])", "tests/run/test_fingerprint.py"),
    Mutation("no-code-files", "run/fingerprint.py", "files = list(import_closure(module, root, skips))", "files = []",
             "tests/run/test_fingerprint.py"),
    Mutation("free-options-count", "run/fingerprint.py", 'option.json_schema_extra.get("result") is False', "False",
             "tests/run/test_fingerprint.py"),
    Mutation("batch-size-counts", "config/sections.py", "batch_size: int = free(64, ge=1)",
             "batch_size: int = Field(64, ge=1)", f"{RUNS}::test_options_of_the_machine_invalidate_nothing"),
    Mutation("any-part-will-do", "run/parts.py", ".get(KEY) == key.encode()", ".get(KEY) is not None",
             "tests/run/test_engine.py -k 'not engine3'"),
    Mutation("stop-waits", "run/local_pool.py", "wait = self.processes or not isinstance(failure, KeyboardInterrupt)",
             "wait = True", "tests/run/test_engine.py -k stops"),
    Mutation("problems-not-set-aside", "run/store.py", 'frame[frame["problem"].fillna("") == ""]', "frame",
             "tests/run/test_store.py"),
    Mutation("users-folder-replaced", "run/folder.py", "            self.check_free([stage])\n", "",
             "tests/run/test_folder.py"),
    # ------------------------------------------------------------------------------------------------ report, review
    Mutation("first-decision-counts", "review/decisions.py",
             "SELECT max(id) FROM standing GROUP BY image_id)", "SELECT min(id) FROM standing GROUP BY image_id)",
             "tests/review/test_decisions.py"),
    Mutation("outdated-views-stored", "review/decisions.py", 'last["id"] > seen', "False",
             "tests/review/test_decisions.py"),
    Mutation("others-decisions-undone", "review/decisions.py",
             "FROM standing WHERE reviewer = ? ORDER BY", "FROM standing WHERE ? != 'x' ORDER BY",
             "tests/review/test_decisions.py"),
    Mutation("formulas-in-csv", "review/exchange.py", 'f"\'{row[name]}" if FORMULA.match(row[name]) else row[name]',
             "row[name]", "tests/review/test_exchange.py"),
    Mutation("imported-twice", "review/exchange.py", "        if number is None:\n", "        if True:\n",
             "tests/review/test_exchange.py"),
    Mutation("excluded-are-scored", "report/inputs.py", "run.predictions = run.predictions[~gone]",
             "run.predictions = run.predictions[gone | ~gone]", "tests/report/test_excluded.py"),
    Mutation("taken-over-unread", "data/files.py", "if file_sha256(target) == digest:", "if target.exists():",
             "tests/stages/test_clean_again.py -k 'no_longer'"),
    Mutation("small-groups-ranked", "report/groups.py", "            if not _large(own):",
             "            if not len(own.labels):", "tests/report/test_scores.py"),
    Mutation("other-files-compared", "report/compare.py", "good = both[same_label & same_file]",
             "good = both[same_label]", "tests/report/test_compare.py"),
    Mutation("shown-alone-is-a-change", "report/compare_verdicts.py", 'expected = less if a["shown"] else more',
             "expected = True", "tests/report/test_compare.py"),
    Mutation("differences-not-corrected", "report/tables.py", 'holm([row["p"] for row in rows])',
             '[row["p"] for row in rows]', "tests/report"),
    # ------------------------------------------------------------------------------------------------ audit
    Mutation("hypotheses-not-corrected", "audit/hypotheses.py", "holm([h.p for h in tested])",
             "[h.p for h in tested]", "tests/audit/test_verdict.py"),
    Mutation("separation-not-asked", "audit/hypotheses.py", "            separates\n            and h.p_adjusted",
             "            h.p_adjusted", "tests/audit/test_verdict.py"),
    Mutation("gain-not-asked", "audit/following.py", 'bool(entry["shown"] and follows)', 'bool(entry["shown"])',
             "tests/audit/test_following.py tests/audit/test_look.py"),
    Mutation("look-control-too-small", "audit/look/moves.py", "np.float32(change / rms(best, image))",
             "np.float32(0.3 * change / rms(best, image))", "tests/audit/test_look_moves.py tests/audit/test_look.py"),
    Mutation("controls-not-subtracted", "audit/checks/text.py",
             'row["effect_beyond_controls"] = row["effect"] - row["control_effect"]',
             'row["effect_beyond_controls"] = row["effect"]', "tests/audit/test_auditor.py tests/audit/test_checks.py"),
    Mutation("slices-judged-where-fitted", "audit/clusters/slices.py",
             "np.where(half, -1, mixture.by_features(points))", "mixture.by_features(points)",
             "tests/audit/test_clusters.py"),
    # ------------------------------------------------------------------------------------------------ cleaning
    Mutation("controls-on-letters-that-stay", "cleaning/controls.py", "place(grown, height, width, seed, avoid)[0]",
             "place(grown, height, width, seed)[0]", "tests/cleaning/test_kept.py"),
    Mutation("controls-on-text", "cleaning/controls.py",
             "np.concatenate([avoid, cropped_margins(view, height, width)])", "cropped_margins(view, height, width)",
             "tests/cleaning/test_controls.py"),
    Mutation("mirror-on-text", "cleaning/controls.py", "if not intersection_areas(mirror, forbidden).any():",
             "if True:", "tests/cleaning/test_controls.py"),
    Mutation("patch-without-options", "cleaning/erase.py", ", [getattr(config, o) for o in OPTIONS]]", "]",
             "tests/cleaning/test_erase.py"),
    Mutation("labels-of-failed-images", "cleaning/dataset.py", 'place=place)[files != ""]', "place=place)",
             "tests/cleaning/test_worker.py"),
    # ------------------------------------------------------------------------------------------------ text
    Mutation("letters-as-sure-as-devices", "text/devices.py", "SURER = 0.1", "SURER = 0.0",
             "tests/text/test_devices.py"),
    Mutation("print-like-a-letter", "text/devices.py", ">= 4).sum()) < 2", ">= 4).sum()) < 9",
             "tests/text/test_devices.py"),
    Mutation("device-stays-under-text", "text/devices.py", ".mean() <= 0.5]", ".mean() <= 1.5]",
             "tests/text/test_devices.py"),
    Mutation("kinds-settled-in-a-reading", "text/scales.py", "(*readings[:i], *readings[i + 1:])", "readings",
             "tests/text/test_devices.py"),
    Mutation("look-blind-to-devices", "text/detectors/craft_lite.py", "max(self.look, LOOK_DEVICE))",
             "2.0)", "tests/text/test_devices.py"),
    Mutation("unknown-facts-counted", "audit/clusters/collect.py", 'known = ~np.isin(values, ["", UNKNOWN])',
             "known = np.ones(len(values), bool)", "tests/audit/test_candidates.py"),
    Mutation("controls-on-devices", "audit/checks/text.py", "np.concatenate([case.boxes, as_boxes(case.devices)])",
             "case.boxes", "tests/audit"),
    Mutation("patients-counted-twice", "audit/hypotheses.py",
             'frame = frame.groupby([cases["patient_id"], labels], sort=False).mean()',
             'frame = frame.set_index(pd.MultiIndex.from_arrays([cases["patient_id"], labels]))', "tests/audit"),
    Mutation("craft-threshold", "text/craft.py", "text: float = 0.7", "text: float = 0.6", "tests/text/test_craft.py"),
    # ------------------------------------------------------------------------------------------------ models
    Mutation("one-order-for-all-seeds", "models/batches.py", "np.random.default_rng([self.seed, epoch])",
             "np.random.default_rng([0, epoch])", "tests/models/test_loop.py tests/models/test_fit.py"),
    Mutation("val-without-average", "models/loop.py", "self.outputs.append(self.averaged(",
             "self.outputs.append(self.model(", "tests/models/test_loop.py tests/models/test_fit.py"),
    # ------------------------------------------------------------------------------------------------ saliency
    Mutation("curves-swapped", "saliency/faithfulness.py",
             "Curves(areas[:, 0], areas[:, 1], scores[:, 0], scores[:, 1], shares)",
             "Curves(areas[:, 1], areas[:, 0], scores[:, 1], scores[:, 0], shares)",
             "tests/saliency/test_faithfulness.py"),
    Mutation("least-salient-first", "saliency/faithfulness.py",
             "by_value = torch.argsort(values.flatten(1).gather(1, order), dim=1, descending=True, stable=True)",
             "by_value = torch.argsort(values.flatten(1).gather(1, order), dim=1, descending=False, stable=True)",
             "tests/saliency/test_faithfulness.py"),
    Mutation("road-unweighted", "saliency/road.py", "WEIGHTS = {1: 1 / 6, 2: 1 / 12}", "WEIGHTS = {1: 1 / 8, 2: 1 / 8}",
             "tests/saliency/test_road.py"),
    Mutation("road-from-one-end", "saliency/road.py", "ranks[row : row + 1] >= total - count",
             "ranks[row : row + 1] < count", "tests/saliency/test_road.py"),
    Mutation("rank-of-another-number", "saliency/regions.py", "< count.view(-1, 1, 1)", "< count.view(-1, 1, 1) + 1",
             "tests/saliency/test_regions.py"),
    Mutation("cascade-alone", "saliency/randomisation.py", "        if state:\n", "        if True:\n",
             "tests/saliency/test_randomisation.py"),
    Mutation("overlay-not-scaled", "data/overlay.py", "fine = scaled_map(resized_map(saliency, *rgb.shape[:2]))",
             "fine = resized_map(saliency, *rgb.shape[:2])", "tests/data/test_overlay.py"),
    Mutation("still-masks-not-told", "saliency/result.py", "< HARDLY", "< 0", "tests/models/test_explainer.py"),
    Mutation("mask-turned-round", "saliency/images.py", "torch.lerp(baselines, images,",
             "torch.lerp(images, baselines,", "tests/saliency/test_terms.py tests/saliency/test_faithfulness.py"),
    # ------------------------------------------------------------------------------------------------ data
    Mutation("val-by-image", "data/splits.py",
             'group = train["patient_id"].map(linked_patients(train["patient_id"], train["sha256"]))',
             "group = pd.Series(train.index.astype(str), train.index)", "tests/data/test_splits.py"),
    Mutation("crop-ignored", "data/view.py", "np.ascontiguousarray(image[rows.kept, columns.kept])",
             "np.ascontiguousarray(image)", "tests/data/test_view.py"),
    Mutation("margins-unseen", "data/view.py", "columns.parts[1]] = found", "columns.parts[0]] = found",
             "tests/data/test_view.py"),
    Mutation("no-window", "data/view.py", "for level in (0.005, 0.995))", "for level in (0.0, 1.0))",
             "tests/data/test_view.py"),
    Mutation("no-duplicates", "data/duplicates.py", 'first.where(first != frame.loc[good, "image_id"], "")',
             'first.where(first != first, "")', "tests/data/test_duplicates.py tests/data/test_manifest.py"),
    Mutation("copies-are-links", "data/files.py",
             '    with open(source, "rb") as read:\n        atomic_write(target, lambda file: _copy(read, file))',
             "    os.link(source, target)", "tests/data/test_files.py"),
    Mutation("classes-by-alphabet", "data/classes.py", "(_RANK.get(name, len(_RANK)), name)", "name",
             "tests/data/test_classes.py"),
    # ------------------------------------------------------------------------------------------------ stats
    Mutation("bootstrap-by-image", "stats/scores.py",
             "return self.image_ids if self.patients is None else self.patients", "return self.image_ids",
             "tests/stats/test_scores.py"),
    Mutation("no-wilson", "stats/scores.py", "_named(name, wilson(hits, total, level))",
             "_named(name, Interval(hits / total, hits / total, hits / total))", "tests/stats/test_scores.py"),
    Mutation("delong-by-image", "stats/delong.py", "np.arange(len(has)) if groups is None else np.unique",
             "np.arange(len(has)) if True else np.unique", "tests/stats/test_delong.py"),
    Mutation("threshold-breaks-its-word", "stats/ranking.py", "(1 - specificity) * others + 1e-9",
             "(1 - specificity) * others + 1", "tests/stats/test_ranking.py"),
    Mutation("mcnemar-one-sided", "stats/tests.py", "p = 2 * special.bdtr", "p = special.bdtr",
             "tests/stats/test_tests.py"),
)  # fmt: skip


def copied(folder: Path) -> Path:
    """The checkout without what was built or measured."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, folder / name)
    return folder


def tried(mutation: Mutation, folder: Path) -> tuple[bool, str]:
    """Whether the tests find it, and the first that does, or why not."""
    file = folder / "xray_debug" / mutation.file
    whole = file.read_text(encoding="utf-8")
    count = whole.count(mutation.old)
    if count != 1:
        return False, f"DOES NOT FIT: expected its text once in {mutation.file}, found it {count} times"
    file.write_text(whole.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        result = tested(folder, ["-x", *shlex.split(mutation.tests)], LONGEST)
    except subprocess.TimeoutExpired:
        return True, f"caught: the tests do not end within {LONGEST} s"
    finally:
        file.write_text(whole, encoding="utf-8")
    if result.returncode == 1:  # tests ran, and one failed
        found = re.search(r"^(?:FAILED|ERROR) (\S+)", result.stdout, re.MULTILINE)
        return True, f"caught by {found.group(1).rpartition('/')[2] if found else 'a test'}"
    if result.returncode == 0:
        return False, "SURVIVED"
    return False, f"NOT TRIED: pytest ended with {result.returncode}: {(result.stdout + result.stderr).strip()[-300:]}"


def tested(folder: Path, arguments: list[str], seconds: float | None = None) -> subprocess.CompletedProcess:
    """pytest in the copy."""
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these mutations alone")
    parser.add_argument("--list", action="store_true", help="their names, and nothing else")
    arguments = parser.parse_args()
    unknown = set(arguments.only or ()) - {mutation.name for mutation in MUTATIONS}
    if unknown:
        parser.error(f"--only: no mutation is called {', '.join(sorted(unknown))}")
    chosen = [mutation for mutation in MUTATIONS if not arguments.only or mutation.name in arguments.only]
    if arguments.list:
        print("\n".join(f"{mutation.name:26} {mutation.file}" for mutation in chosen))
        return 0
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        copied(Path(folder))
        named = {word for m in chosen for word in shlex.split(m.tests) if word.startswith("tests/")}
        before = tested(Path(folder), sorted(named))
        if before.returncode:
            print(f"{before.stdout[-2000:]}\nthe tests do not pass as the package is, so nothing can be told")
            return 1
        for mutation in chosen:
            start = time.perf_counter()
            caught, words = tried(mutation, Path(folder))
            missed += not caught
            print(f"{mutation.name:26} {time.perf_counter() - start:6.1f} s  {words}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
