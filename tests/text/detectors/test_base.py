"""What detectors of score maps share: batches, sizes, bad input, tiles. With a small random network."""

import numpy as np
import pytest
import torch
from text_fixture import film

from xray_debug.data.images import to_gray8
from xray_debug.text import load_detector, scales
from xray_debug.text.craft import CraftLite, save_lite
from xray_debug.text.detectors.craft_lite import CraftLiteDetector


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


def test_tiles_and_the_whole_agree_on_the_detectors_boxes(tiny):
    image, seen = film(300, 300), []
    values = tiny.prepare(scales.pad_to(image, 32))
    maps = tiny.run(values, tiny.maps)
    tiles = scales.in_tiles(values, lambda v: seen.append(v.shape) or tiny.run(v, tiny.maps), 256, 192)
    assert len(seen) == 4
    assert np.median(np.abs(tiles - maps)) < 1e-5  # only near the tiles' edges do they differ


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="multiples"):
        load_detector("craft-lite", tile=100)


def test_boxes_of_both_sizes_come_back_in_pixels_of_the_image(tiny, monkeypatch):
    """One blob in the coarse map and another in the fine one, both 32 x 32 pixels of the image."""
    def maps(batch):
        result = torch.zeros(1, 2, batch.shape[2] // 2, batch.shape[3] // 2)
        if batch.shape[2] == 128:
            result[0, 0, 8:16, 16:24] = 1  # 4 pixels of the image each
        else:
            result[0, 0, 64:80, 96:112] = 1  # 2 each
        return result

    for name, value in {"look": None, "finest": 256, "maps": maps, "grow": 0, "least_grow": 0}.items():
        monkeypatch.setattr(tiny, name, value)
    image = film(256, 256)
    assert [maps.shape[1:] for maps, _ in tiny.readings(image)] == [(64, 64), (128, 128)]
    coarse, fine = tiny.detect([image])[0]
    for box, (x, y) in ((coarse, (64, 32)), (fine, (192, 128))):
        assert box.score == 1 and box.x0 <= x and box.y0 <= y and box.x1 >= x + 32 and box.y1 >= y + 32
        assert box.x1 - box.x0 < 100 and box.y1 - box.y0 < 100
