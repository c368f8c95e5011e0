"""The bundled detector: what it finds, and that close reading of a few places gives what reading all closely gives."""

import itertools

import numpy as np
import pytest
import torch
from text_fixture import film

from xray_debug.config import PhantomConfig
from xray_debug.data.boxes import iou, rasterise_boxes
from xray_debug.phantom import make_case
from xray_debug.text import load_detector
from xray_debug.text.craft import CraftLite, lite_facts, load_lite, save_lite
from xray_debug.text.detectors import craft_lite
from xray_debug.text.detectors.craft_lite import BUNDLED, CraftLiteDetector
from xray_debug.text.scales import TRIM
from xray_debug.text.training.devices import add_devices
from xray_debug.text.training.targets import Character, visible_share

IMAGE = film(768, 640, "L", (60, 120), 2.4)


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


def test_the_bundled_weights_find_nothing_on_an_empty_film():
    assert load_detector("craft-lite").detect([film(768, 640, ""), np.zeros((50, 60), np.uint8)]) == [[], []]


def test_a_large_film_is_read_for_its_small_print():
    image = film(1536, 1200, "AP 110 kV", (800, 1400), 1.1, 250)
    (found,) = load_detector("craft-lite").detect([image])
    assert any(box.x0 > 700 and box.y0 > 1300 for box in found)


def test_the_bundled_weights_are_small():
    assert BUNDLED.stat().st_size <= 8_000_000


@pytest.fixture(scope="module")
def exact():
    return load_detector("craft-lite", precision="fp32")


def area_read(detector, monkeypatch) -> list[tuple[str, int]]:
    """Fills up with (what reads, pixels) of every reading that `detector` does from now on."""
    done, run = [], detector.run
    monkeypatch.setattr(detector, "run", lambda values, network: (
        done.append((network.__name__, values.shape[1] * values.shape[2])), run(values, network))[1])
    return done


@pytest.mark.parametrize("devices, share", [(True, 0.95), (False, 2 / 3)])
def test_close_reading_gives_what_reading_all_closely_gives(devices, share, monkeypatch):
    """On six phantoms: the same boxes but for a pixel or two and for those at the threshold, for less of the network's
    work, and for much less where devices are not asked for."""
    exact = CraftLiteDetector(precision="fp32", devices=devices)
    configs = [PhantomConfig(style=("mixed", "rotated")[i % 2]) for i in range(6)]
    images = [make_case(config, "COVID-19", ("close reading", i)).image for i, config in enumerate(configs)]
    done = area_read(exact, monkeypatch)
    close = exact.detect(images)
    assert sum(pixels for _, pixels in done) < share * len(images) * 2 * 512 * 512
    monkeypatch.setattr(exact, "look", None)
    compared = 0
    for some, others in itertools.permutations((close, exact.detect(images))):
        for boxes, candidates in zip(some, others, strict=True):
            for box in boxes:
                if box.kind == "text" and box.score > exact.thresholds.text + 0.02:
                    overlaps = iou([box.box], [other.box for other in candidates])[0]
                    assert overlaps.max() > 0.85
                    assert box.score == pytest.approx(candidates[int(overlaps.argmax())].score, abs=0.05)
                    compared += 1
    assert compared > 10


def test_the_maps_of_text_are_the_same_with_and_without_that_of_devices(exact):
    """The map of devices has a way back of its own: without it no bit of the others changes."""
    assert lite_facts(BUNDLED)["outputs"] == ["text", "affinity", "device"]
    alone = CraftLiteDetector(precision="fp32", devices=False)
    maps, expected = exact.score_maps(IMAGE), alone.score_maps(IMAGE)
    assert len(maps) == 3 and len(expected) == 2
    np.testing.assert_array_equal(maps[:2], expected)
    assert {box.kind for box in exact.detect([IMAGE])[0]} == {"text"}
    assert [box.box for box in alone.detect([IMAGE])[0]] == [box.box for box in exact.detect([IMAGE])[0]]


def test_the_bundled_weights_find_devices_and_take_few_of_them_for_text(exact):
    """Devices drawn as in the training, over ten films that it never saw; half of a box under boxes of the kind."""
    alone, drawn, counts = CraftLiteDetector(precision="fp32", devices=False), 0, {"device": 0, "text": 0, "alone": 0}
    for i in range(10):
        image = make_case(PhantomConfig(size=512), "normal", ("devices", i), None).image.astype(np.float32)
        parts, _ = add_devices(image, np.random.default_rng(i), 40.0, 3, np.zeros(image.shape, bool))
        film = image.clip(0, 255).astype(np.uint8)
        boxes = exact.detect([film])[0]
        under = {kind: [box.box for box in boxes if box.kind == kind] for kind in ("device", "text")}
        under["alone"] = [box.box for box in alone.detect([film])[0]]
        for part in parts:
            if isinstance(part, Character) and visible_share(part, *image.shape) > 0.9:
                x0, y0, x1, y1 = part.bounds().clip(0, 512).round().astype(int)
                drawn += 1
                for kind, found in under.items():
                    counts[kind] += rasterise_boxes(found, *image.shape)[y0:y1, x0:x1].mean() >= 0.5
    assert counts["device"] > 0.4 * drawn > 8, (drawn, counts)
    assert counts["text"] <= min(0.1 * drawn, counts["alone"]), (drawn, counts)


@pytest.mark.parametrize("header", [["text", "device"], "text", 3])
def test_weights_with_other_outputs_are_refused(tmp_path, header):
    save_lite(CraftLite((4, 4, 6, 6, 8)), tmp_path / "w.safetensors", outputs=header)
    with pytest.raises(ValueError, match="w.safetensors: .*expected the outputs"):
        load_lite(tmp_path / "w.safetensors")


@pytest.mark.parametrize("use", craft_lite.USES)
def test_a_use_sets_the_thresholds_that_are_not_given(use):
    found, own = load_detector("craft-lite", use=use), load_detector("craft-lite", use=use, low_text=0.2)
    expected = craft_lite.USES[use]
    assert (found.thresholds.text, found.thresholds.low) == (expected["text_threshold"], expected["low_text"])
    assert found.device_thresholds.text == expected["device_threshold"]
    assert (own.thresholds.text, own.thresholds.low) == (expected["text_threshold"], 0.2)


def test_where_a_film_is_empty_only_the_look_is_done(exact, monkeypatch):
    done = area_read(exact, monkeypatch)
    assert exact.detect([film(768, 768, "")]) == [[]]
    assert done == [("forward", 512 * 512)]


def test_a_look_that_sees_all_reads_all(tmp_path):
    """With look=0 and a threshold that anything may reach, the places are the film: equal, bit for bit."""
    torch.manual_seed(0)
    net = CraftLite((4, 4, 6, 6, 8))
    torch.nn.init.constant_(net.head[-1].bias, 0.0)
    torch.nn.init.normal_(net.head[-1].weight, std=3.0)
    save_lite(net, tmp_path / "tiny.safetensors")
    options = {"precision": "fp32", "base": 128, "finest": 256, "text_threshold": 0.5}
    whole, close = (CraftLiteDetector(tmp_path / "tiny.safetensors", look=look, **options) for look in (None, 0.0))
    for image in (film(300, 260), film(60, 40)):
        assert close.detect([image]) == whole.detect([image])
        for (a, _), (b, _) in zip(close.readings(image), whole.readings(image), strict=True):
            np.testing.assert_array_equal(a, b)


def test_places_are_read_with_their_edges_trimmed_and_the_rest_is_zero(exact, monkeypatch):
    values = np.random.default_rng(0).random((2, 128, 192)).astype(np.float32)

    def network(batch):  # local: what it gives depends on a pixel alone
        return batch[:, [0, 1, 1], ::2, ::2]

    found = exact._read(values, network, [(0, 0, 96, 64), (96, 64, 192, 128)])
    given, trim = values[[0, 1, 1], ::2, ::2], TRIM // 2
    expected = np.zeros((3, 64, 96), np.float32)
    expected[:, :32 - trim, :48 - trim] = given[:, :32 - trim, :48 - trim]
    expected[:, 32 + trim:, 48 + trim:] = given[:, 32 + trim:, 48 + trim:]
    np.testing.assert_array_equal(found, expected)
    straight = np.full_like(found, 0.5)
    np.testing.assert_allclose(exact._read(values, network, [(0, 0, 192, 128)], straight),
                               (given + 0.5) / 2)


def test_the_mirror_image_is_read_turned_back(exact):
    batch = torch.from_numpy(exact.prepare(film(128, 160)))[None]
    with torch.inference_mode():
        expected = exact.forward(torch.from_numpy(batch.numpy()[..., ::-1].copy())).numpy()[..., ::-1]
        np.testing.assert_array_equal(exact.mirrored(batch).numpy(), expected)
        np.testing.assert_allclose(exact.maps(batch).numpy(), (exact.forward(batch).numpy() + expected) / 2, atol=1e-6)


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="precision must be"):
        load_detector("craft-lite", precision="fp8")
    with pytest.raises(ValueError, match="use must be clean or audit, got 'both'"):
        load_detector("craft-lite", use="both")
    with pytest.raises(ValueError, match="look must be"):
        load_detector("craft-lite", look=1.0)
    with pytest.raises(ValueError, match="missing.safetensors: no such weight file"):
        load_detector("craft-lite", "missing.safetensors")


@pytest.mark.parametrize(("options", "said"), [
    ({"device_threshold": 0.1}, "expected low_device of at most device_threshold, got 0.2 and 0.1"),
    ({"device_threshold": 1.5}, r"device_threshold must be in \[0, 1\], got 1.5"),
    ({"low_device": "high"}, "low_device must be a number, got 'high'"),
    ({"text_threshold": float("nan")}, "text_threshold must be in"),
    ({"text_threshold": True}, "text_threshold must be a number, got True"),
    ({"tile": "big"}, "tile must be a number, got 'big'"),
    ({"grow": None}, "grow must be a number, got None"),
    ({"devices": "maybe"}, "devices must be true or false, got 'maybe'"),
    ({"mirror": 2}, "mirror must be true or false, got 2"),
    ({"look": "none"}, "look must be in .*, got 'none'"),
])  # fmt: skip
def test_a_wrong_value_is_told_by_the_name_of_its_option(options, said):
    with pytest.raises(ValueError, match=said):
        load_detector("craft-lite", **options)


@pytest.mark.parametrize("measured, dtype", [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_auto_takes_what_was_measured(monkeypatch, measured, dtype):
    monkeypatch.setattr(craft_lite, "measured_precision", lambda: measured)
    assert load_detector("craft-lite", precision="auto").dtype == dtype
    assert load_detector("craft-lite", precision="fp32").dtype == torch.float32


def test_half_precision_finds_what_single_precision_finds(exact):
    half, image = load_detector("craft-lite", precision="bf16"), film(384, 320, "L", (60, 120), 2.4)
    (a,), (b,) = exact.detect([image])[0], half.detect([image])[0]
    assert iou([a.box], [b.box])[0, 0] > 0.85 and a.score == pytest.approx(b.score, abs=0.05)
