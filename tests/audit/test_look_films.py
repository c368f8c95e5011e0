"""The look of the films as columns beside the manifest."""

import numpy as np
import pandas as pd
from look_fixture import film

from xray_debug.audit.look.films import films_of_views
from xray_debug.audit.look.measures import FILM_MEASURES
from xray_debug.audit.look.typical import MOST_IMAGES
from xray_debug.data.view import ModelView
from xray_debug.data.views import Views


def frame(count: int) -> pd.DataFrame:
    return pd.DataFrame({
        "image_id": [f"i{i}" for i in range(count)], "patient_id": [f"p{i // 2}" for i in range(count)],
        "label": ["a", "b", "b", "a"] * (count // 4), "split": ["train"] * (count // 2) + ["test"] * (count // 2),
        "width": 48, "height": 48, "problem": "",
    })  # fmt: skip


def test_usable_images_are_measured_in_the_manifest_s_rows():
    table, images = frame(16), np.stack([np.uint8(film(seed, 48) * 255) for seed in range(16)])
    table.loc[3, "problem"] = "broken"
    table.loc[[4, 5], "label"] = "a"  # of one patient
    found = films_of_views(table, {}, Views.of(images), ModelView(size=48))
    assert list(found) == [f"film_{name}" for name in FILM_MEASURES] and len(found) == 16
    known = found.notna().all(axis=1)
    assert not known[3] and known[[4, 5]].sum() == 1 and known.sum() == 14
    row = int(np.flatnonzero(known)[-1])
    expected = [measure(images[row].astype(np.float32) / np.float32(255)) for measure in FILM_MEASURES.values()]
    assert found.loc[row].tolist() == expected


def test_text_is_not_measured_and_margins_of_the_view_are_not():
    table, images = frame(4).assign(width=24), np.full((4, 48, 48), 0, np.uint8)
    images[:, :, 12:36] = 100
    images[:, 4:8, 16:20] = 255
    boxes = {f"i{i}": [(4, 4, 8, 8)] for i in range(4)}
    found = films_of_views(table, boxes, Views.of(images), ModelView(size=48, resize="pad")).dropna()
    assert np.allclose(found["film_brightness"], 100 / 255, atol=1e-4) and (found["film_black margin"] == 0).all()


def test_of_many_images_a_sample_is_measured():
    count = 4 * MOST_IMAGES + 400
    table = frame(count).assign(patient_id=[f"p{i}" for i in range(count)])
    found = films_of_views(table, {}, Views.of(np.zeros((count, 16, 16), np.uint8)), ModelView(size=16))
    known = found["film_brightness"].notna().to_numpy()
    assert known[: count // 2].sum() == known[count // 2 :].sum() == MOST_IMAGES
