"""The worker: each image decoded once for everything, results of a row its own, files whole or absent."""

import functools
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from cleaning_fixture import BOX, COLUMNS, SETTINGS, BrightSpots, dataset, files, film, frame, sha256

from xray_debug.cleaning import worker as module
from xray_debug.cleaning.controls import image_seed, moved_region
from xray_debug.cleaning.dataset import clean_dataset, finish, plan_rows
from xray_debug.cleaning.erase import clean_image, erase
from xray_debug.cleaning.inpainting import inpaint_region
from xray_debug.cleaning.residue import FEATURES, PATCHES_PER_IMAGE
from xray_debug.cleaning.worker import CleanWorker
from xray_debug.config import CleanConfig, EngineConfig
from xray_debug.data.boxes import TextBox
from xray_debug.data.images import DECODES, ImageError, ModelView, image_header, read_film, read_image, write_image
from xray_debug.data.unchanged import read_known
from xray_debug.run.engine import Engine, TableRows

VIEW = {"size": 24, "crop_top": 0.1}


def split(boxes: pd.DataFrame) -> dict:
    return {name: part[COLUMNS[1:]].to_numpy() for name, part in boxes.groupby("image_id")}


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data", *dataset(tmp_path / "data")


def opened(tmp_path, config=SETTINGS, control=True, reader=None, view=VIEW) -> CleanWorker:
    out, control_out = str(tmp_path / "out"), str(tmp_path / "control") if control else None
    worker = pickle.loads(pickle.dumps(CleanWorker(config.model_dump(), 3, out, control_out, reader, view)))
    worker.open()
    return worker


def planned(data, config=SETTINGS, **options) -> list[dict]:
    root, manifest, boxes = data
    return plan_rows(manifest, root, split(boxes), config, seed=3, **options).to_dict("records")


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that are decoded."""
    names = []
    monkeypatch.setattr(module, "read_film", lambda path, *more: (names.append(str(path)), read_film(path, *more))[1])
    monkeypatch.setattr(module, "read_known", lambda path, *more: (names.append(str(path)), read_known(path, *more))[1])
    return names


def test_every_image_is_decoded_once_for_everything_and_unchanged_ones_not_at_all(data, tmp_path, reads):
    rows = planned(data, second_images=None)
    views = {row["image_id"]: ModelView(**VIEW).apply(read_image(row["path"])) for row in rows}
    rows = [row | {"view": views[row["image_id"]]} for row in rows]
    results = opened(tmp_path, reader=BrightSpots)(rows)
    changed = [row["path"] for row, result in zip(rows, results, strict=True) if result["changed"]]
    untouched = [row["untouched"] for row in rows if row["probe"]]
    assert len(changed) == 4 and all(row["read_again"] and row["probe"] for row in rows if row["path"] in changed)
    assert sorted(reads) == sorted([*changed, *untouched]) and len(set(changed)) == 4
    del reads[:]
    before = DECODES.total
    opened(tmp_path)([row | {"probe": False} for row in rows])
    assert reads == changed and DECODES.total - before == len(changed)


def test_a_view_that_does_not_come_with_the_row_is_made(data, tmp_path, reads):
    (row,) = [row for row in planned(data) if row["image_id"] == "b.png"]
    (result,) = opened(tmp_path)([row])
    assert reads == [row["path"]]
    np.testing.assert_array_equal(result["view"], ModelView(**VIEW).apply(film(1)))
    np.testing.assert_array_equal(result["control_view"], result["view"])
    (result,) = opened(tmp_path, control=False, view=None)([row])
    assert result["view"] is None and result["control_view"] is None and result["control_file"] == ""
    assert len(reads) == 1 and result["file"] == "b.png" and result["failed"] == "" and not result["changed"]


def test_files_and_views_hold_what_is_to_be_erased(data, tmp_path):
    view = ModelView(**VIEW)
    for row, result in zip(rows := planned(data), opened(tmp_path)(rows), strict=True):
        if not result["changed"]:
            assert row["image_id"] in ("b.png", "e.png")
            continue
        image, window = read_film(row["path"])
        cleaned, region = clean_image(image, [BOX], SETTINGS)
        placed, moved = moved_region(image, [BOX], SETTINGS, image_seed(3, row["image_id"]))
        control = inpaint_region(image, moved, SETTINGS.radius, SETTINGS.method)
        for folder, key, expected in (("out", "", cleaned), ("control", "control_", control)):
            file = tmp_path / folder / row["folder"] / result[f"{key}file"]
            found, kept = read_film(file)
            assert kept == window  # whoever reads the file sees it as it is seen here
            assert (found.dtype, found.shape) == (image.dtype, image.shape)
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(result[f"{key}view"], view.apply(expected, window))
        assert result["cleaned_sha256"] == sha256(tmp_path / "out" / row["folder"] / result["file"])
        assert json.loads(result["boxes"]) == [list(BOX)] and json.loads(result["control_boxes"]) == placed.tolist()
        assert (result["area_share"], result["control_area_share"]) == (region.mean(), moved.mean())


def test_views_and_counts_are_those_of_the_file_where_its_format_loses(data, tmp_path):
    config = CleanConfig(lossy="jpeg", dilation=0.15)
    (row,) = [row for row in planned(data, config) if row["image_id"] == "c.jpg"]
    (result,) = opened(tmp_path, config)([row])
    for folder, key in (("out", "view"), ("control", "control_view")):
        written = read_image(tmp_path / folder / "train/c.jpg")
        np.testing.assert_array_equal(result[key], ModelView(**VIEW).apply(written))
    assert image_header(tmp_path / "control/train/c.jpg").format == "JPEG"


def test_a_patch_that_comes_with_the_row_replaces_inpainting(data, tmp_path, monkeypatch):
    rows = [row | {"probe": False} for row in planned(data) if row["boxes"]]
    results = opened(tmp_path, control=False)(rows)
    whole = files(tmp_path / "out")
    patched = [row | {"patch": erase(read_image(row["path"]), row["boxes"], SETTINGS).patch} for row in rows]
    monkeypatch.setattr(module, "clean_image", None)
    monkeypatch.setattr("xray_debug.cleaning.erase.clean_image", None)
    again = opened(tmp_path / "again", control=False)(patched)
    assert files(tmp_path / "again/out") == whole
    assert [r["cleaned_sha256"] for r in again] == [r["cleaned_sha256"] for r in results]


def test_a_row_depends_on_nothing_but_itself(data, tmp_path):
    rows = planned(data, second_images=None)
    together = opened(tmp_path / "a", reader=BrightSpots)(rows)
    worker = opened(tmp_path / "b", reader=BrightSpots)
    alone = [worker([row])[0] for row in rows[::-1]][::-1]
    for first, second in zip(together, alone, strict=True):
        assert list(first) == list(second)
        for key in first:
            np.testing.assert_array_equal(first[key], second[key], err_msg=key)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_all_results_have_the_same_keys_and_arrays_of_one_shape(data, tmp_path):
    results = opened(tmp_path, reader=BrightSpots)(planned(data, second_images=None))
    assert len({tuple(sorted(result)) for result in results}) == 1
    assert {result["view"].shape for result in results} == {(24, 24)}
    probes = [result["probe"] for result in results if result["probe"] is not None]
    assert len(probes) == 4 and {probe.shape for probe in probes} == {(3, PATCHES_PER_IMAGE, FEATURES)}
    assert [result["residual"] is None for result in results] == [not result["changed"] for result in results]


class Refuses:
    def detect(self, images):
        raise ValueError("no such image")


def test_a_reader_that_fails_leaves_the_repair(data, tmp_path):
    (row,) = [row for row in planned(data, second_images=None) if row["image_id"] == "c.jpg"]
    (result,) = opened(tmp_path, reader=Refuses)([row])
    assert result["residual"] is None and result["changed"]
    assert result["note"] == "JPEG written losslessly as PNG; not read again: no such image"


class FindsDevices:
    def detect(self, images):
        return [[TextBox(0, 0, 4, 4, 0.9, "device"), TextBox(9, 9, 14, 14, 0.9)] for _ in images]


@pytest.mark.parametrize(("kinds", "count"), [(["text"], 1), (["text", "device"], 2)])
def test_a_device_is_left_over_only_where_devices_are_erased(data, tmp_path, kinds, count):
    (row,) = [row for row in planned(data, second_images=None) if row["image_id"] == "c.jpg"]
    config = SETTINGS.model_copy(update={"kinds": kinds})
    worker = CleanWorker(config.model_dump(), 0, str(tmp_path), None, FindsDevices)
    worker.open()
    assert worker([row])[0]["residual"] == count


class GivesNoNumbers:
    name = "odd"

    def detect(self, images):
        return [[TextBox(0, 0, 4, 4, float("nan"))] for _ in images]


def test_a_reader_that_gives_nan_says_nothing_of_what_is_left(data, tmp_path):
    (row,) = [row for row in planned(data, second_images=None) if row["image_id"] == "c.jpg"]
    (result,) = opened(tmp_path, reader=GivesNoNumbers)([row])
    assert result["residual"] is None and result["changed"]
    assert result["note"].endswith("not read again: the detector odd gives a box with the score nan, "
                                   "expected a finite number")


def test_what_cannot_be_read_is_an_error_and_leaves_no_file(data, tmp_path):
    rows = {row["image_id"]: row for row in planned(data)}
    (data[0] / "train/a.png").write_bytes(b"\x89PNG cut off")
    (data[0] / "train/b.png").unlink()
    worker = opened(tmp_path, view=None)
    with pytest.raises(ImageError, match=r"a\.png"):
        worker([rows["a.png"]])
    with pytest.raises(FileNotFoundError):
        worker([rows["b.png"]])
    assert files(tmp_path / "out") == {}


def test_an_untouched_image_that_cannot_be_read_gives_no_patches(data, tmp_path):
    (row,) = [row for row in planned(data) if row["image_id"] == "a.png"]
    assert row["untouched"]
    (result,) = opened(tmp_path)([row | {"untouched": str(tmp_path / "missing.png")}])
    known = ~np.isnan(result["probe"][:, 0, 0])
    assert known.tolist() == [True, True, False]


def many(root, count=24):
    """More images than one part of the engine holds."""
    (root / "train").mkdir(parents=True)
    rows = [(f"{i:02d}.png", "train", "normal", "") for i in range(count)]
    for i, (name, *_) in enumerate(rows):
        write_image(root / "train" / name, film(i))
    boxes = pd.DataFrame([(rows[i][0], *BOX) for i in range(0, count, 2)], columns=COLUMNS)
    return frame(rows, root), boxes


def by_engine(workers, root, manifest, boxes, folder):
    plan = plan_rows(manifest, root, split(boxes), SETTINGS, seed=3, second_images=None)
    out, control = folder / "dataset", folder / "control"
    worker = CleanWorker(SETTINGS.model_dump(), 3, str(out), str(control), BrightSpots, VIEW)
    engine = Engine(EngineConfig(workers=workers))
    arrays = {"view": ((24, 24), np.uint8), "control_view": ((24, 24), np.uint8)}
    parts = engine.run(worker, TableRows(plan), folder / "parts", "clean", arrays=arrays)
    return parts, finish(plan, parts.table(), out, control)


def test_the_engine_gives_what_the_loop_gives_whatever_the_workers(tmp_path):
    root = tmp_path / "data"
    manifest, boxes = many(root)
    changes = clean_dataset(manifest, root, boxes, tmp_path / "0/dataset", SETTINGS, seed=3,
                            control=tmp_path / "0/control", reader=BrightSpots)  # fmt: skip
    wanted = files(tmp_path / "0")
    for workers in (1, 2):
        parts, found = by_engine(workers, root, manifest, boxes, tmp_path / str(workers))
        pd.testing.assert_frame_equal(found, changes)
        assert found.attrs["summary"] == changes.attrs["summary"] and found.attrs["summary"]["changed"] == 12
        written = files(tmp_path / str(workers))
        assert {name: sha for name, sha in written.items() if not name.startswith("parts")} == wanted
        views = np.concatenate([np.load(file) for file in parts.arrays("view")])
        cleaned = [read_image(tmp_path / "0/dataset/train" / name) for name in manifest["image_id"]]
        np.testing.assert_array_equal(views, [ModelView(**VIEW).apply(image) for image in cleaned])
        probes = [row["probe"] for row in parts.rows(["probe"])]
        assert sum(probe is not None for probe in probes) == 12


def test_an_image_that_cannot_be_done_is_named_and_in_no_label_file(tmp_path):
    root = tmp_path / "data"
    manifest, boxes = many(root, 10)
    (root / "train/02.png").write_bytes(b"not an image")
    manifest["sha256"] = ""  # with it, the change itself would be what is named
    plan = plan_rows(manifest, root, split(boxes), SETTINGS)
    worker = CleanWorker(SETTINGS.model_dump(), 0, str(tmp_path / "out"))
    parts = Engine(EngineConfig(workers=1)).run(worker, TableRows(plan), tmp_path / "parts", "clean")
    changes = finish(plan, parts.table(), tmp_path / "out", set_aside=1)
    assert changes["image_id"].tolist() == ["00.png", "04.png", "06.png", "08.png"]
    assert changes["residual"].isna().all() and (changes["control_boxes"] == "").all()
    assert list(changes.attrs["summary"]["failed"]) == ["02.png"]
    assert "02.png: not an image" in changes.attrs["summary"]["failed"]["02.png"]
    assert changes.attrs["summary"]["set_aside"] == 1 and changes.attrs["summary"]["images"] == 10
    names = (tmp_path / "out/train_COVIDx.txt").read_text()
    assert "02.png" not in names and "03.png" in names and not (tmp_path / "out/train/02.png").exists()


def test_a_killed_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    root = tmp_path / "data"
    manifest, boxes = many(root)
    by_engine(1, root, manifest, boxes, tmp_path / "whole")
    written = []

    def dies(path, image, window=None):
        if len(written) == 12:
            raise MemoryError
        written.append(path)
        write_image(path, image, window)

    monkeypatch.setattr(module, "write_image", dies)
    with pytest.raises(MemoryError):
        by_engine(1, root, manifest, boxes, tmp_path / "out")
    assert not (tmp_path / "out/dataset/train_COVIDx.txt").exists()
    again = []
    monkeypatch.setattr(module, "write_image",
                        lambda path, *more: (again.append(path), write_image(path, *more)))
    by_engine(1, root, manifest, boxes, tmp_path / "out")
    whole, found = files(tmp_path / "whole"), files(tmp_path / "out")
    assert len(again) < 24 and len(again) + len(written) >= 24  # the parts that were finished stay
    assert {k: v for k, v in found.items() if "parts" not in k} == {k: v for k, v in whole.items() if "parts" not in k}


def test_a_reader_is_made_where_the_work_is_done(tmp_path):
    calls = []
    worker = CleanWorker({}, 0, str(tmp_path), reader=functools.partial(calls.append, 1))
    assert calls == []
    worker.open()
    assert calls == [1]


def test_sixteen_bits_are_seen_through_the_window_of_the_original(tmp_path):
    """Bright ink sets the film's window; without it a window of its own would show the same tissue brighter."""
    rng, view = np.random.default_rng(4), {"size": 60}
    image = (2000 + rng.normal(0, 200, (60, 60))).astype(np.uint16)
    image[4:12, 40:56] = 60000
    write_image(tmp_path / "a.png", image)
    box = [(40, 4, 56, 12)]
    row = {"image_id": "a.png", "file": "a.png", "folder": "test", "path": str(tmp_path / "a.png"), "boxes": box,
           "origin": "detector", "sha256": "", "read_again": True, "probe": False, "untouched": ""}  # fmt: skip
    (result,) = opened(tmp_path, reader=BrightSpots, view=view)([row])
    original = ModelView(60).apply(image)
    _, region = clean_image(image, box, SETTINGS)
    assert np.array_equal(result["view"][~region], original[~region]) and result["residual"] == 0
    control = read_image(tmp_path / "control" / "test" / "a.png")
    assert np.array_equal(result["control_view"][control == image], original[control == image])
