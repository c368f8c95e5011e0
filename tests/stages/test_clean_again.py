"""clean after decisions have changed: the changed images are made anew, and the whole is what a fresh clean gives."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from covidx_fixture import make_dataset
from formats_fixture import make_dicom, make_folders, make_table

from xray_debug.cleaning import worker
from xray_debug.cleaning.verify import faults_of, restore
from xray_debug.config import CleanConfig, EngineConfig, parse_config
from xray_debug.data.formats.layout import Layout
from xray_debug.data.images import write_image
from xray_debug.review.behind import behind, behind_sentence
from xray_debug.review.decisions import ReviewDB
from xray_debug.run.engine import Engine
from xray_debug.run.folder import Run
from xray_debug.run.store import Store
from xray_debug.stages import registry

LAYOUTS = {"covidx": make_dataset, "folders": make_folders, "table": make_table, "dicom": make_dicom}
BOX = [8, 10, 20, 18]


class Cleaned:
    """A run that is done up to clean; of every three images the first two have a box."""

    def __init__(self, folder: Path, layout: str = "covidx", **clean):
        data = LAYOUTS[layout](folder / "d")
        self.folder, self.said = folder / "r", []
        self.config = parse_config({
            "data": str(data), "phantom": None, "detect": {"second": None}, "train": {"view": {"size": 32}},
            "prepare": {"label_tag": "ImageComments"} if layout == "dicom" else {}, "clean": clean,
        })  # fmt: skip
        self.do("prepare")
        self.detect()
        self.do("clean")

    @property
    def store(self) -> Store:
        return Store(self.folder)

    @property
    def review(self) -> ReviewDB:
        return ReviewDB(self.store.review_file)

    @property
    def names(self) -> list[str]:
        return self.store.manifest()["image_id"].tolist()

    def do(self, stage: str, **options) -> None:
        self.said.clear()
        run = Run(self.folder)
        with run.locked():
            engine = Engine(EngineConfig(workers=1), say=self.said.append)
            registry.Job(run, self.config, engine, self.said.append, only=stage, **options)()

    def detect(self) -> None:
        run, stage = Run(self.folder), registry.STAGES["detect"]
        mark = registry.fingerprint(stage, run, self.config)
        store = Store(self.folder, {"detect": run.begin("detect", mark)})
        boxes = [(name, "text", *BOX, 0.9, "fake") for i, name in enumerate(self.names) if i % 3 != 2]
        columns = ["image_id", "kind", "x0", "y0", "x1", "y1", "score", "detector"]
        store.write_table("regions", pd.DataFrame(boxes, columns=columns))
        store.write_json("unread", {})
        run.complete("detect", mark, {"outputs": registry._digests(stage, store)})

    def copy(self, folder: Path, without: str = "") -> "Cleaned":
        """The same run in another folder, on the same dataset."""
        shutil.copytree(self.folder, folder, ignore=lambda place, _: {without} if place == str(self.folder) else ())
        other = object.__new__(Cleaned)
        other.folder, other.said, other.config = folder, [], self.config.model_copy(deep=True)
        return other

    def fresh(self, folder: Path) -> "Cleaned":
        """The same with nothing of stage clean, cleaned."""
        other = self.copy(folder, "clean")
        other.do("clean")
        return other

    def contents(self) -> dict[str, bytes]:
        folder = self.folder / "clean"
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
                if path.is_file() and path.name != "stage.json"}  # fmt: skip

    def files(self) -> dict[str, tuple[int, int]]:
        """Image of a dataset -> (number of the file, time of its last change)."""
        folder = self.folder / "clean"
        found = [path for kind in ("dataset", "control") for path in (folder / kind).rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns) for path in found
                if path.suffix in (".png", ".dcm", "")}  # fmt: skip

    def faults(self) -> list[str]:
        store = self.store
        return list(faults_of(store.manifest(), store.table("changes"), store.dataset_root(), store.path("cleaned"),
                              self.config.clean, Layout.of(store.json("dataset")), store.path("control")))  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """layout -> a run of it that no test changes."""
    known: dict[str, Cleaned] = {}

    def give(layout: str = "covidx") -> Cleaned:
        if layout not in known:
            known[layout] = Cleaned(tmp_path_factory.mktemp(layout), layout)
        return known[layout]

    return give


@pytest.fixture
def run(made, tmp_path) -> Cleaned:
    return made().copy(tmp_path / "r")


def decide(run: Cleaned) -> set[str]:
    """One decision of each kind, and the images that change by them."""
    names = run.names
    run.review.decide(names[0], "reject", reviewer="ada")
    run.review.decide(names[1], "edit", [[2, 2, 12, 9]], "ada")
    run.review.decide(names[2], "edit", [[20, 20, 30, 28]], "bob")  # had no boxes
    run.review.decide(names[3], "exclude", reviewer="bob")
    run.review.decide(names[4], "approve", reviewer="bob")
    run.review.decide(names[5], "reject", reviewer="bob")  # had no boxes
    return {*names[:4]}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_only_what_a_decision_changed_is_made_anew_and_all_is_as_a_fresh_clean_gives(made, tmp_path, layout):
    run = made(layout).copy(tmp_path / "r")
    before, changed = run.files(), decide(run)
    run.do("clean")
    after = run.files()
    assert run.contents() == run.fresh(tmp_path / "fresh").contents()
    anew = {Path(name).stem for name in before if after.get(name) != before[name]}
    assert {Path(name).stem for name in changed} == anew and len(before) == 48
    assert f"{len(run.names) - 4} images are as they were before, 4 were made anew" in run.said
    assert all((run.folder / "clean" / name).stat().st_nlink == 1 for name in after)
    assert run.faults() == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_excluded_image_is_in_no_dataset_and_no_label_and_the_log_says_by_whom(made, tmp_path, layout):
    run = made(layout).copy(tmp_path / "r")
    name = run.names[3]
    number = run.review.decide(name, "exclude", reviewer="ada")
    run.do("clean")
    stem = Path(name).stem
    for kind in ("cleaned", "control"):
        folder = run.store.path(kind)
        assert not [path for path in folder.rglob(f"{stem}*")]
        labels = [path for path in folder.rglob("*") if path.suffix in (".txt", ".csv")]
        assert not any(stem in path.read_text() for path in labels)
        assert json.loads((folder / "cleaning.json").read_text())["excluded"] == {name: number}
    log = run.store.table("changes").set_index("image_id").loc[name]
    assert (log["decision"], log["event"], log["reviewer"], log["origin"]) == ("exclude", number, "ada", "reviewer")
    assert (log["file"], log["boxes"], log["cleaned_sha256"]) == ("", "", "")
    assert run.faults() == [] and "1 images are left out of the cleaned data: reviewers have excluded them" in run.said
    paths = run.store.manifest().set_index("image_id")["path"]
    both = [name, run.names[0]]  # an excluded and an erased image
    given = restore(run.store.manifest(), run.store.dataset_root(), both, tmp_path / "back")
    for image_id, copy in zip(both, given, strict=True):
        assert copy.read_bytes() == run.store.image_file(paths[image_id]).read_bytes()
    planted = run.store.path("cleaned") / "planted.txt"
    planted.write_text("x")
    assert run.faults() == ["planted.txt: is in the cleaned dataset and in no manifest"]
    planted.unlink()


def test_an_exclusion_that_is_undone_brings_the_image_back(run, made):
    run.review.decide(run.names[3], "exclude", reviewer="ada")
    run.do("clean")
    run.review.undo("ada")
    run.do("clean")
    assert run.contents() == made().contents()


def test_an_excluded_image_that_came_back_by_hand_is_a_fault(run, tmp_path):
    place = run.store.path("cleaned") / "train" / run.names[0]
    content = place.read_bytes()
    run.review.decide(run.names[0], "exclude")
    run.do("clean")
    place.write_bytes(content)
    (first, second) = run.faults()
    assert first == f"{run.names[0]}: is excluded by event 1, and yet {place} is there"
    assert second == f"train/{run.names[0]}: is in the cleaned dataset and in no manifest"


def test_the_log_names_the_event_that_each_image_follows(run, tmp_path):
    decide(run)
    run.do("clean")
    log, names = run.store.table("changes").set_index("image_id"), run.names
    wanted = {names[1]: ("edit", 2, "ada", "reviewer"), names[2]: ("edit", 3, "bob", "reviewer"),
              names[4]: ("approve", 5, "bob", "detector"), names[6]: ("", 0, "", "detector")}  # fmt: skip
    for name, row in wanted.items():
        assert tuple(log.loc[name, ["decision", "event", "reviewer", "origin"]]) == row
    assert names[0] not in log.index and names[5] not in log.index


def test_how_far_the_dataset_is_behind(run, tmp_path):
    assert behind(run.store) == ([], []) and behind_sentence(run.store) == ""
    decide(run)
    names = run.names
    assert behind(run.store) == (names[:6], [*names[:4], names[5]])
    assert "of 6 images the decision is another" in behind_sentence(run.store)
    run.do("clean")
    assert behind(run.store) == ([], [])
    run.review.decide(names[0], "reject", reviewer="eve")  # the same again, by another
    assert behind(run.store) == ([], [])
    run.review.undo("ada")  # the edit of names[1]
    assert behind(run.store) == ([names[1]], [names[1]])
    run.store.review_file.write_bytes(b"no review file, but long enough to be looked at" * 9)
    assert "cannot be told: " in behind_sentence(run.store)
    shutil.rmtree(run.folder / "clean")
    assert behind(run.store) is None and behind_sentence(run.store) == ""


def test_an_approval_alone_makes_no_image_and_no_view_anew(run, tmp_path):
    outputs = run.store.record("clean")["outputs"]
    run.review.decide(run.names[0], "approve", reviewer="ada")
    run.do("clean")
    assert f"{len(run.names)} images are as they were before, 0 were made anew" in run.said
    assert run.store.record("clean")["outputs"]["cleaned views"] == outputs["cleaned views"]  # retrain stays as it is
    assert run.store.table("changes")["event"].tolist()[0] == 1


@pytest.mark.parametrize("harm", ["edited", "gone", "part", "array"])
def test_a_file_that_is_no_longer_what_was_written_is_made_anew(run, tmp_path, harm):
    folder, names = run.folder / "clean", run.names
    victim = run.store.path("cleaned") / "train" / names[7]
    if harm == "edited":  # of the same size, so that only its contents tell
        victim.write_bytes(victim.read_bytes()[::-1])
    elif harm == "gone":
        victim.unlink()
    elif harm == "part":
        part = next((folder / "views").glob("part-*.parquet"))
        part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    else:
        array = next((folder / "views").glob("part-*.view.npy"))
        array.write_bytes(array.read_bytes()[:40])
    run.review.decide(names[0], "reject")
    run.do("clean")
    assert run.contents() == run.fresh(tmp_path / "fresh").contents()
    assert run.faults() == []


def test_an_original_that_changed_meanwhile_is_named_as_by_a_fresh_clean(tmp_path):
    run = Cleaned(tmp_path)
    name = run.names[7]
    write_image(run.store.dataset_root() / "train" / name, np.full((40, 44), 7, np.uint8))
    run.review.decide(run.names[0], "reject")
    run.do("clean")
    assert run.contents() == run.fresh(tmp_path / "fresh").contents()
    assert list(run.store.json("cleaning facts")["failed"]) == [name]


@pytest.mark.parametrize("change", ["options", "code", "packages", "forced"])
def test_what_was_made_otherwise_is_not_taken_over(run, monkeypatch, change):
    before = run.files()
    run.review.decide(run.names[0], "approve")
    if change == "options":
        run.config.clean = CleanConfig(radius=5)
    elif change == "forced":
        run.do("clean", force=True)
    else:
        file = run.folder / "clean" / "stage.json"
        record = json.loads(file.read_text())
        record |= {"code": "another"} if change == "code" else {"versions": record["versions"] | {"numpy": "1"}}
        file.write_text(json.dumps(record))
    if change != "forced":
        run.do("clean")
    assert not any("as they were before" in line for line in run.said)
    after = run.files()
    assert after.keys() == before.keys() and all(after[name] != before[name] for name in before)


def test_a_disk_without_second_names_for_files_gets_copies(run, tmp_path, monkeypatch):
    decide(run)

    def refused(*names):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("xray_debug.data.files.os.link", refused)
    monkeypatch.setattr(worker.CleanWorker, "_erased", counted := Counted(worker.CleanWorker._erased))
    run.do("clean")
    assert counted.calls == 2  # the two edits
    monkeypatch.undo()
    assert run.contents() == run.fresh(tmp_path / "fresh").contents()


@pytest.mark.parametrize("kind", ["link", "second name"])
def test_a_file_that_is_also_somebody_elses_is_copied_and_not_shared(run, tmp_path, kind):
    """Of the same bytes, put there by a user: what he does to it later is not done to the dataset."""
    lying, own = run.store.path("cleaned") / "train" / run.names[7], tmp_path / "own.png"
    content = lying.read_bytes()
    lying.replace(own)
    os.symlink(own, lying) if kind == "link" else os.link(own, lying)
    run.review.decide(run.names[0], "reject")
    run.do("clean")
    own.write_bytes(b"another")
    assert not lying.is_symlink() and lying.read_bytes() == content


class Counted:
    """A method that counts its calls."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __get__(self, instance, owner):
        def call(*arguments):
            self.calls += 1
            return self.function(instance, *arguments)

        return call


def test_a_stopped_clean_leaves_the_old_dataset_and_goes_on(run, tmp_path, monkeypatch):
    before = run.contents()
    decide(run)
    taken = worker.CleanWorker._taken_over
    calls = []

    def stop(self, row, before):
        calls.append(row["image_id"])
        if len(calls) == 12:
            raise KeyboardInterrupt
        return taken(self, row, before)

    monkeypatch.setattr(worker.CleanWorker, "_taken_over", stop)
    with pytest.raises(KeyboardInterrupt):
        run.do("clean")
    monkeypatch.undo()
    assert run.contents() == before  # whole, though some of its files have a second name already
    run.do("clean")
    assert "clean: interrupted, goes on where it stopped" in run.said
    assert run.contents() == run.fresh(tmp_path / "fresh").contents()


def test_what_is_drawn_changes_little_with_one_decision(run, tmp_path):
    columns = ["image_id", "measured"]
    parts = pd.DataFrame(run.store.parts("cleaned views").rows(columns)).set_index("image_id")["measured"]
    run.review.decide(run.names[0], "reject")  # one less to probe, one more to look in
    run.do("clean")
    after = pd.DataFrame(run.store.parts("cleaned views").rows(columns)).set_index("image_id")["measured"]
    assert 1 <= (parts != after).sum() <= 6  # of 16 that are probed


@pytest.fixture
def read(run, monkeypatch):
    """The run cleaned with a second reader that reads 10 originals and every cleaned image; what it is asked for."""
    run.config.detect.detector, run.config.detect.second = "ppocr", "craft-lite"  # it was detect's work, and is done
    run.config.detect.recall_images = 10
    run.do("clean")
    calls, of = [], worker.read_boxes
    monkeypatch.setattr(worker, "read_boxes", lambda *arguments: (calls.append(1), of(*arguments))[1])
    return run, calls


def test_what_the_second_reader_saw_is_taken_over_with_all_else(read, tmp_path):
    run, calls = read
    first = run.store.table("readings").set_index("image_id")
    assert len(first) == 10 and first["found"].notna().all()
    assert set(first["label"]) == set(run.store.manifest()["label"])
    assert run.store.record("clean")["second_reader"] == "craft-lite"
    decide(run)
    changed = set(run.names[:3])  # the fourth is excluded and no longer read
    run.do("clean")
    after = run.store.table("readings").set_index("image_id")
    anew = changed | (set(after.index) - set(first.index))
    both = [name for name in after.index if name in first.index and name not in anew]
    assert len(both) >= 5 and after.loc[both].equals(first.loc[both])
    again = run.store.table("changes").set_index("image_id")["residual"]
    assert len(calls) == len(anew & set(after.index)) + int(again[again.index.isin(anew)].notna().sum())
    assert run.contents() == run.fresh(tmp_path / "fresh").contents()


def test_parts_and_their_merge_read_what_one_run_reads(read, tmp_path, monkeypatch):
    run, _ = read
    monkeypatch.setattr(registry.clean, "MOST", 7)
    whole = run.fresh(tmp_path / "whole")
    other = run.copy(tmp_path / "parts", "clean")
    for share in ({"part": (1, 2)}, {"part": (2, 2)}, {"merge": True}):
        place = Run(other.folder)
        with place.locked():
            engine = Engine(EngineConfig(workers=1), say=other.said.append, **share)
            registry.Job(place, other.config, engine, other.said.append, only="clean")()
    assert len(list((other.folder / "clean" / "views").glob("*.parquet"))) > 2
    assert other.contents() == whole.contents()
    assert other.store.table("readings").equals(run.store.table("readings"))


def test_another_number_of_originals_is_another_result(read, tmp_path):
    run, _ = read
    before = run.files()
    run.config.detect.recall_images = 3
    run.do("clean")
    assert len(run.store.table("readings")) == 3 and "clean: option detect.recall_images changed" in run.said
    assert run.files().keys() == before.keys()
    run.config.detect.recall_images = 0
    run.do("clean")
    assert len(run.store.table("readings")) == 0
