"""The detectors' common behaviour: batches, sizes, bad input, tiles, merging; tables of many files."""

import numpy as np
import pytest
import torch

from xray_debug.data.boxes import TextBox
from xray_debug.data.images import to_gray8, write_image
from xray_debug.text import detect_table, load_detector, scales
from xray_debug.text.craft import CraftLite, save_lite
from xray_debug.text.detectors.registry import BUNDLED, CraftLiteDetector, PPOCRDetector

bundled = pytest.mark.skipif(not BUNDLED.exists(), reason="no bundled weights")


def film(height=300, width=260, text="L", at=(40, 90), size=3.0, level=240, seed=0):
    """A grey gradient with noise and a letter on it."""
    import cv2

    rng = np.random.default_rng(seed)
    image = np.linspace(40, 140, height)[:, None] + rng.normal(0, 2, (height, width))
    image = image.clip(0, 255).astype(np.uint8)
    if text:
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size / 2, level, round(2 * size), cv2.LINE_AA)
    return image


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A detector with a small random network that finds something nearly everywhere."""
    torch.manual_seed(0)
    net = CraftLite((4, 4, 6, 6, 8))
    torch.nn.init.constant_(net.head[-1].bias, 0.0)
    torch.nn.init.normal_(net.head[-1].weight, std=3.0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_lite(net, path)
    return CraftLiteDetector(path, precision="fp32", base=128, finest=128, text_threshold=0.5)


def test_a_batch_gives_what_single_images_give(tiny):
    images = [film(seed=s, height=h) for s, h in enumerate((300, 300, 260, 200))]
    batch = tiny.detect(images)
    assert batch == [tiny.detect([image])[0] for image in images]
    assert any(batch)


def test_colour_of_equal_channels_is_gray(tiny):
    image = film()
    assert tiny.detect([np.stack([image] * 3, axis=-1)]) == tiny.detect([image])


def test_boxes_lie_in_the_image_with_scores_in_range(tiny):
    for image in (film(300, 90), film(77, 201), film(1, 1, ""), film(2, 500, ""), film(500, 3, "")):
        for box in tiny.detect([image])[0]:
            assert 0 <= box.x0 < box.x1 <= image.shape[1] and 0 <= box.y0 < box.y1 <= image.shape[0]
            assert 0 <= box.score <= 1 and all(isinstance(v, int) for v in box.box)


def test_sixteen_bits_are_windowed(tiny):
    deep = film().astype(np.uint16) * 257
    assert tiny.detect([deep]) == tiny.detect([to_gray8(deep)])


@pytest.mark.parametrize("image, error, message", [
    (np.zeros((0, 5), np.uint8), ValueError, "image 0: expected a non-empty array"),
    (np.zeros((5, 5, 4), np.uint8), ValueError, "image 0: expected a non-empty array"),
    (np.zeros((5, 5), np.float32), TypeError, "image 0: expected uint8 or uint16 pixels, got float32"),
])
def test_other_input_is_refused(tiny, image, error, message):
    with pytest.raises(error, match=message):
        tiny.detect([image])


def test_no_images_no_boxes(tiny):
    assert tiny.detect([]) == []


def test_requests_that_cannot_be_met():
    with pytest.raises(ValueError, match="unknown detector 'crafty': expected one of craft-lite, craft, ppocr"):
        load_detector("crafty")
    with pytest.raises(ValueError, match="has no option 'treshold'"):
        load_detector("craft-lite", treshold=1)
    with pytest.raises(ValueError, match="precision must be"):
        load_detector("craft-lite", precision="fp8")
    with pytest.raises(ValueError, match="missing.safetensors: no such weight file"):
        load_detector("craft-lite", "missing.safetensors")
    with pytest.raises(ValueError, match="multiples"):
        load_detector("craft-lite", tile=100)


# ------------------------------------------------------------------------------------------------ the bundled weights


@bundled
@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_the_bundled_weights_find_a_letter(precision):
    image = film(768, 640, "L", (60, 120), 2.4)
    (found,) = load_detector("craft-lite", precision=precision).detect([image])
    assert len(found) == 1
    rows, columns = np.nonzero(image > 200)
    x0, y0, x1, y1 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    box = found[0]
    common = (min(x1, box.x1) - max(x0, box.x0)) * (min(y1, box.y1) - max(y0, box.y0))
    assert common >= 0.8 * (x1 - x0) * (y1 - y0)


@bundled
def test_the_bundled_weights_find_nothing_on_an_empty_film():
    assert load_detector("craft-lite").detect([film(768, 640, ""), np.zeros((50, 60), np.uint8)]) == [[], []]


@bundled
def test_a_large_film_is_read_for_its_small_print():
    image = film(1536, 1200, "AP 110 kV", (800, 1400), 1.1, 250)
    (found,) = load_detector("craft-lite").detect([image])
    assert any(box.x0 > 700 and box.y0 > 1300 for box in found)


@bundled
def test_the_bundled_weights_are_small():
    assert BUNDLED.stat().st_size <= 8_000_000


# ------------------------------------------------------------------------------------------------------------ sizes


@pytest.mark.parametrize("shape, sides", [
    ((100, 90), [200]), ((1, 1), [32]), ((768, 600), [768]), ((384, 20), [768]), ((1100, 700), [768]),
    ((1200, 900), [768, 1200]), ((900, 4000), [768, 1536]),
])
def test_working_sides(shape, sides):
    assert scales.working_sides(*shape) == sides


@pytest.mark.parametrize("shape", [(64, 64), (200, 64), (260, 324)])
def test_tiles_equal_the_whole_for_a_local_network(shape):
    def network(values):  # halves the resolution; looks no further than a pixel
        return values[:, ::2, ::2] + values[:, 1::2, 1::2]

    values = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    np.testing.assert_array_equal(scales.in_tiles(values, network, 64, 16), network(values))


def test_tiles_and_the_whole_agree_on_the_detectors_boxes(tiny):
    image, seen = film(300, 300), []
    values = tiny.prepare(scales.pad_to(image, 32))
    maps = tiny._run([values])[0]
    tiles = scales.in_tiles(values, lambda v: seen.append(v.shape) or tiny._run([v])[0], 256, 192)
    assert len(seen) == 4
    assert np.median(np.abs(tiles - maps)) < 1e-5  # only near the tiles' edges do they differ


def test_merging_keeps_the_larger_box_and_the_higher_score():
    found = scales.merge([TextBox(0, 0, 10, 10, 0.8), TextBox(1, 1, 9, 9, 0.9), TextBox(50, 0, 60, 10, 0.7)])
    assert found == [TextBox(0, 0, 10, 10, 0.9), TextBox(50, 0, 60, 10, 0.7)]
    assert scales.merge([]) == []


@pytest.mark.parametrize("rectangle, expected", [((0, 0, 5, 5), (0, 0, 10, 15)), ((-3, -1, 2, 2), (0, 0, 4, 6)),
                                                 ((60, 2, 70, 4), None)])
def test_rectangles_of_the_map_in_the_image(rectangle, expected):
    box = scales.to_image(np.array(rectangle, float), (2.0, 3.0), 90, 100, 0.5)
    assert (box.box if box else None) == expected


# ------------------------------------------------------------------------------------------------------------ tables


class Fixed:
    """Finds one box in every image, and cannot take an image of one row."""

    name = "fixed"

    def detect(self, images):
        for i, image in enumerate(images):
            if image.shape[0] == 1:
                raise ValueError(f"image {i}: too flat")
        return [[TextBox(0, 0, image.shape[1], 2, 0.5)] for image in images]


def test_the_table_has_every_box_and_the_problems_every_fault(tmp_path):
    items, told = [], []
    for i in range(5):
        write_image(tmp_path / f"{i}.png", np.full((1 if i == 3 else 8, 10 + i), 7, np.uint8))
        items.append((f"{i}.png", tmp_path / f"{i}.png"))
    (tmp_path / "bad.png").write_bytes(b"no image")
    items.insert(2, ("bad.png", tmp_path / "bad.png"))
    items.append(("gone.png", tmp_path / "gone.png"))
    table, problems = detect_table(Fixed(), items, 2, lambda done, total: told.append((done, total)))
    assert list(table.columns) == ["image_id", "x0", "y0", "x1", "y1", "score", "detector"]
    assert table["image_id"].tolist() == ["0.png", "1.png", "2.png", "4.png"]
    assert table["x1"].tolist() == [10, 11, 12, 14] and set(table["detector"]) == {"fixed"}
    assert set(problems) == {"bad.png", "gone.png", "3.png"} and "too flat" in problems["3.png"]
    assert told == [(2, 7), (4, 7), (6, 7), (7, 7)]


def test_an_empty_list_gives_an_empty_table():
    table, problems = detect_table(Fixed(), [])
    assert len(table) == 0 and problems == {} and str(table["x0"].dtype) == "int64"


# ------------------------------------------------------------------------------------------------------------- ppocr


@pytest.fixture(scope="module")
def ppocr():
    pytest.importorskip("rapidocr", reason="extra ppocr is not installed")
    pytest.importorskip("onnxruntime", reason="extra ppocr is not installed")
    return load_detector("ppocr", threads=1)


def test_ppocr_finds_a_word_and_loads_no_reader(ppocr):
    image = film(400, 500, "PORTABLE", (60, 120), 3)
    (found,) = ppocr.detect([image])
    assert found and found[0].x0 < 90 and found[0].x1 > 250
    assert ppocr.engine.text_rec is None and ppocr.engine.text_cls is None
    assert ppocr.detect([film(400, 500, "")]) == [[]]


def test_ppocr_drops_what_is_as_large_as_the_film_and_what_is_faint(ppocr, monkeypatch):
    class Found:
        boxes = np.array([[[0, 0], [99, 0], [99, 79], [0, 79]], [[5, 5], [30, 5], [30, 15], [5, 15]],
                          [[50, 5], [80, 5], [80, 15], [50, 15]]], float)
        scores = [0.9, 0.8, 0.3]

    monkeypatch.setattr(ppocr, "engine", lambda *args, **options: Found)
    assert ppocr.detect([np.zeros((80, 100), np.uint8)]) == [[TextBox(5, 5, 30, 15, 0.8)]]


def test_ppocr_without_its_model_says_so(tmp_path):
    pytest.importorskip("rapidocr", reason="extra ppocr is not installed")
    with pytest.raises(ValueError, match="no such weight file"):
        PPOCRDetector(tmp_path / "det.onnx")


def test_ppocr_without_its_package_names_the_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(ImportError, match="needs the extra ppocr"):
        load_detector("ppocr")
