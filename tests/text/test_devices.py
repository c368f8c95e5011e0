"""The map of devices becomes boxes: compact ones whole, lines in pieces, and each place is of one kind."""

import numpy as np
import pytest
import torch
from text_fixture import film

from xray_debug.data.boxes import TextBox
from xray_debug.text.craft import CraftLite, Thresholds, find_words, save_lite
from xray_debug.text.detectors.craft_lite import CraftLiteDetector
from xray_debug.text.devices import PIECE, find_devices, settle
from xray_debug.text.scales import merge
from xray_debug.text.training.targets import Character, draw_devices, draw_targets

LIMITS = Thresholds(0.5, 1.0, 0.4)


def body(x, y, wide, tall):
    return Character(np.array([x, y], float), np.array([wide / 2, 0.0]), np.array([0.0, tall / 2]))


def test_a_compact_device_is_one_box_around_it():
    (found,) = find_devices(draw_devices([body(100, 80, 60, 40)], [], 200, 240), LIMITS)
    x0, y0, x1, y1 = 2 * found.rectangle
    assert x0 <= 72 and y0 <= 62 and x1 >= 128 and y1 >= 98 and found.score > 0.99
    assert (x1 - x0) * (y1 - y0) < 2.5 * 60 * 40


def test_a_line_comes_in_pieces_that_cover_it_and_little_else():
    points = np.array([[20.0, 20.0], [380.0, 360.0]])
    found = find_devices(draw_devices([], [(points, 3.0)], 400, 400), LIMITS)
    assert len(found) > 5
    covered = np.zeros((200, 200), bool)
    for piece in found:
        x0, y0, x1, y1 = piece.rectangle.astype(int)
        assert max(x1 - x0, y1 - y0) <= PIECE
        covered[y0:y1, x0:x1] = True
    along = (np.linspace(0.02, 0.98, 50)[:, None] * (points[1] - points[0]) + points[0]) / 2
    assert covered[along[:, 1].astype(int), along[:, 0].astype(int)].all()
    assert covered.mean() < 0.25  # one box would be nearly all of it


def test_under_its_threshold_nothing_is_found():
    heat = 0.45 * draw_devices([body(60, 60, 40, 40)], [], 120, 120)
    assert find_devices(heat, LIMITS) == []


@pytest.mark.parametrize("text, device, kinds", [(0.7, 0.9, "device"), (0.9, 0.6, "text"), (0.8, 0.85, "device")])
def test_a_letter_that_both_maps_claim_is_text_only_where_that_is_surer(text, device, kinds):
    region = np.float32(text) * draw_targets([body(80, 80, 24, 24)], 160, 160)[0]
    heat = np.float32(device) * draw_devices([body(80, 80, 26, 26)], [], 160, 160)
    words, devices = find_words(region, np.zeros_like(region), Thresholds(0.65, 0.4, 0.3)), find_devices(heat, LIMITS)
    assert len(words) == 1 and len(devices) == 1
    words, devices = settle(words, devices, region, heat)
    assert (len(words), len(devices)) == ((0, 1) if kinds == "device" else (1, 0))


def test_several_letters_need_only_be_as_sure_as_a_device():
    letters = draw_targets([body(60, 80, 20, 20), body(84, 80, 20, 20)], 160, 160)
    heat = np.float32(0.95) * draw_devices([body(72, 80, 50, 26)], [], 160, 160)
    words = find_words(*(np.float32(0.9) * letters), Thresholds(0.65, 0.4, 0.3))
    assert len(words) == 1 and words[0].score == pytest.approx(0.9, abs=0.03)
    words, devices = settle(words, find_devices(heat, LIMITS), 0.9 * letters[0], heat)
    assert len(words) == 1 and devices == []
    region = np.float32(0.9) * draw_targets([body(72, 80, 44, 20)], 160, 160)[0]  # one blob of the same place
    words, devices = settle(find_words(region, 0 * region), find_devices(heat, LIMITS), region, heat)
    assert words == [] and len(devices) == 1


def test_a_word_gives_way_to_a_device_that_is_found_alone():
    """Under the threshold of devices there is none, and a letter that gave way to it would be lost to both kinds."""
    region = np.float32(0.58) * draw_targets([body(80, 80, 24, 24)], 160, 160)[0]
    heat = np.float32(0.55) * draw_devices([body(80, 80, 40, 40)], [], 160, 160)
    words = find_words(region, 0 * region, Thresholds(0.55, 0.4, 0.25))
    for least, kinds in ((0.5, (0, 1)), (0.6, (1, 0))):
        found = settle(words, find_devices(heat, Thresholds(least, 1.0, 0.2)), region, heat)
        assert tuple(map(len, found)) == kinds


def test_a_letter_on_a_large_device_stays_and_so_does_the_device():
    region = draw_targets([body(80, 80, 20, 20)], 240, 240)[0]
    heat = np.float32(0.8) * draw_devices([body(100, 100, 150, 150)], [], 240, 240)
    region *= np.float32(0.98)
    words, devices = settle(find_words(region, np.zeros_like(region)), find_devices(heat, LIMITS), region, heat)
    assert len(words) == 1 and len(devices) == 1


def test_a_line_across_a_letter_does_not_take_it():
    region = np.float32(0.9) * draw_targets([body(100, 100, 40, 40)], 200, 200)[0]
    heat = draw_devices([], [(np.array([[0.0, 100.0], [200.0, 100.0]]), 3.0)], 200, 200)
    words, _ = settle(find_words(region, np.zeros_like(region)), find_devices(heat, LIMITS), region, heat)
    assert len(words) == 1


def test_two_readings_of_one_place_agree_on_the_surer_kind():
    text, same = TextBox(10, 10, 30, 30, 0.7), TextBox(11, 10, 31, 31, 0.9, "device")
    apart = TextBox(60, 10, 80, 30, 0.8)
    assert merge([[text, apart], [same]]) == [same, apart]
    assert merge([[same], [text._replace(score=0.95), apart]]) == [text._replace(score=0.95), apart]
    large = TextBox(0, 0, 100, 100, 0.9, "device")  # a letter on it is another thing
    assert merge([[text], [large]]) == [large, text]
    assert merge([[text, same]]) == [text, same]  # of one reading: its detector has settled what is what


class Drawn(CraftLiteDetector):
    """The bundled detector with given maps in place of its network's."""

    def __init__(self, maps, **options):
        super().__init__(precision="fp32", mirror=False, look=None, base=128, finest=128, **options)
        self.given = maps

    def run(self, values, network):
        return self.given


def test_the_detector_gives_both_kinds_and_takes_thresholds_for_a_use():
    region = draw_targets([body(30, 30, 20, 20)], 128, 128)
    heat = np.float32(0.7) * draw_devices([body(90, 90, 30, 30)], [], 128, 128)
    image = film(128, 128, "")
    (found,) = Drawn(np.concatenate([region, heat[None]])).detect([image])
    assert [box.kind for box in found] == ["text", "device"] and found[1].score == pytest.approx(0.7, abs=0.01)
    assert found[1].x0 <= 77 and found[1].x1 >= 103
    (found,) = Drawn(np.concatenate([region, heat[None]]), device_threshold=0.8).detect([image])
    assert [box.kind for box in found] == ["text"]


class Bright(CraftLiteDetector):
    """Takes for a device what is bright, and for text nothing; reads closely where a look saw something."""

    def forward(self, batch):
        bright = torch.nn.functional.avg_pool2d((batch[:, :1] + 1) / 2, 2)
        return torch.cat([0 * bright, 0 * bright, bright], dim=1)


@pytest.mark.parametrize("look", [0.1, None])
@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize("side", [768, 1536])
def test_devices_are_read_closely_like_text(tmp_path, look, mirror, side):
    save_lite(CraftLite((4, 4, 6, 6, 8), outputs=3), tmp_path / "w.safetensors")
    image, size = np.zeros((side, side), np.uint8), side // 768
    image[300 * size:340 * size, 500 * size:550 * size] = 250
    detector = Bright(tmp_path / "w.safetensors", precision="fp32", look=look, mirror=mirror)
    (found,) = detector.detect([image])
    (box,) = found
    assert box.kind == "device" and box.score > 0.9
    np.testing.assert_allclose(box.box, np.array([500, 300, 550, 340]) * size, atol=20 * size)
    assert box.x0 <= 500 * size and box.y1 >= 340 * size
