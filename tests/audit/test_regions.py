import numpy as np
import pandas as pd
import pytest

from xray_debug.audit.regions import load_regions
from xray_debug.data.images import write_image


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
