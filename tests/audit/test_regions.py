import numpy as np
import pandas as pd
import pytest

from xray_debug.audit.frames import Frames, prepare_case
from xray_debug.audit.regions import (
    FIELD,
    add_region_frames,
    load_regions,
    margin_mask,
    moved_masks,
    region_masks,
    without,
)
from xray_debug.config import AuditConfig, CleanConfig
from xray_debug.data.images import ModelView, write_image

VIEW = ModelView(40)


def case(name="a.png"):
    image = np.random.default_rng(0).integers(60, 160, (80, 80)).astype(np.uint8)
    return prepare_case(name, image, [(4, 4, 14, 12)], VIEW, AuditConfig(), CleanConfig(), np.zeros_like, 0)


def test_margin_mask_covers_what_the_central_field_does_not():
    mask = margin_mask(40, FIELD)
    assert mask.sum() == 40 * 40 - 30 * 30 and not mask[5:35, 5:35].any()


def test_table_of_boxes(tmp_path):
    path = tmp_path / "tubes.csv"
    pd.DataFrame({"image_id": ["a.png", "a.png", "b.png"], "x0": [2, 40, 0], "y0": [2, 40, 0], "x1": [10, 50, 4],
                  "y1": [10, 44, 4], "name": ["tube", "lead", "tube"]}).to_csv(path, index=False)
    user = load_regions(path)
    masks = user.masks("a.png", 80, 80)
    assert user.names == ["lead", "tube"] and sorted(masks) == ["lead", "tube"]
    assert masks["tube"].sum() == 64 and masks["tube"][2:10, 2:10].all()
    assert sorted(user.masks("b.png", 80, 80)) == ["tube"] and user.masks("c.png", 80, 80) == {}
    parquet = tmp_path / "tubes.parquet"
    pd.read_csv(path).drop(columns="name").to_parquet(parquet)
    assert load_regions(parquet).names == ["region"]


def test_folders_of_masks(tmp_path):
    mask = np.zeros((80, 80), np.uint8)
    mask[5:9] = 255
    for name in ("lungs", "tubes"):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "a.png", mask)
    user = load_regions(tmp_path)
    assert user.names == ["lungs", "tubes"]
    assert np.array_equal(user.masks("a.jpg", 80, 80)["lungs"], mask > 0)
    assert load_regions(tmp_path / "lungs").names == ["lungs"]
    with pytest.raises(ValueError, match=r"a\.png: expected a mask of 80 x 60"):
        user.masks("a.png", 60, 80)


@pytest.mark.parametrize("write, message", [
    (lambda p: None, "no such folder of masks or table of boxes"),
    (lambda p: p.write_text("image_id,x0,y0\na,1,2\n"), "x1, y1 missing"),
    (lambda p: p.write_text("image_id,x0,y0,x1,y1\na,1,2,3,4\na,1,x,3,4\n"), "row 2: expected four numbers"),
])  # fmt: skip
def test_tables_that_cannot_be_used(tmp_path, write, message):
    path = tmp_path / "boxes.csv"
    write(path)
    with pytest.raises(ValueError, match=message):
        load_regions(path)


def test_other_files_and_too_many_kinds(tmp_path):
    (tmp_path / "a.xlsx").write_text("")
    with pytest.raises(ValueError, match="expected a folder, a .csv or a .parquet"):
        load_regions(tmp_path / "a.xlsx")
    frame = pd.DataFrame({"image_id": "a", "x0": 0, "y0": 0, "x1": 1, "y1": 1, "name": list("abcdefg")})
    frame.to_csv(tmp_path / "many.csv", index=False)
    with pytest.raises(ValueError, match="at most 6 kinds, got 7"):
        load_regions(tmp_path / "many.csv")


@pytest.mark.parametrize("seed", range(5))
def test_small_masks_are_moved_as_they_are_and_off_the_original(seed):
    mask, avoid = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    mask[3:9, 5:8] = True
    avoid[:, 30:] = True
    for moved in moved_masks(mask, avoid, seed, 3):
        assert moved.sum() == mask.sum() and not (moved & (mask | avoid)).any()
        ys, xs = np.nonzero(moved)
        assert (np.ptp(ys), np.ptp(xs)) == (5, 2)


def test_controls_of_large_masks_have_about_their_area_and_keep_off_text():
    mask, avoid = margin_mask(40, FIELD), np.zeros((40, 40), bool)
    avoid[10:14, 10:20] = True
    for moved in moved_masks(mask, avoid, 1, 3):
        assert abs(moved.mean() - mask.mean()) < 0.02 and not (moved & avoid).any()


def test_without_changes_the_mask_alone():
    image = np.random.default_rng(1).random((40, 40)).astype(np.float32)
    mask = np.zeros((40, 40), bool)
    mask[10:14, 20:30] = True
    result = without(image, mask)
    assert np.array_equal(result[~mask], image[~mask]) and not np.allclose(result[mask], image[mask])


def test_region_frames_start_from_the_text_free_image(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("image_id,x0,y0,x1,y1,name\na.png,40,40,60,60,disc\n")
    found, frames = case(), Frames()
    masks = region_masks(found, VIEW, load_regions(path))
    assert list(masks) == ["border", "outside centre", "disc"]
    assert masks["disc"][20:30, 20:30].all() and masks["disc"].sum() == 12 * 12  # one pixel of rim
    add_region_frames(frames, found, masks, 0)
    by_name = dict(zip(frames.names, frames.images, strict=True))
    assert len(frames.names) == 3 * 3 * 3
    assert np.array_equal(by_name["region/disc/inpainted"][~masks["disc"]], found.text_free[~masks["disc"]])
    assert np.array_equal(by_name["region/disc/only"][masks["disc"]], found.text_free[masks["disc"]])
