"""Training: the loss against its definition, samples that follow from the seed, resume, labels of text and devices."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from xray_debug.data.boxes import TextBox
from xray_debug.data.images import write_image
from xray_debug.text.craft import CraftLite, lite_facts, load_lite, save_lite, with_devices
from xray_debug.text.training import backgrounds, train
from xray_debug.text.training.samples import KNOWN, NOTHING, UNLABELLED, Background, make_sample
from xray_debug.text.training.targets import Character, draw_targets

TINY = train.TrainOptions(steps=4, batch=2, crop=64, warmup=2, seed=3)


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setattr(train, "CraftLite", lambda outputs: CraftLite((4, 4, 6, 6, 8), outputs=outputs))


def ground(seed=0, shape=(200, 180)):
    return Background(np.random.default_rng(seed).integers(30, 160, shape, dtype=np.uint8))


def slow_loss(logits, maps, weights):
    """The definition, pixel lists in Python: what is sought, the hardest background three to one, all background."""
    total = 0.0
    for plane in range(3):
        losses = F.binary_cross_entropy_with_logits(logits[:, plane], maps[:, plane], reduction="none")
        value = losses.flatten().tolist()
        sure, text = (weights[:, plane // 2] > 0).flatten().tolist(), (maps[:, plane] > 0.1).flatten().tolist()
        wanted = [v for v, s, t in zip(value, sure, text, strict=True) if s and t]
        rest = sorted((v for v, s, t in zip(value, sure, text, strict=True) if s and not t), reverse=True)
        hard = rest[:max(3 * len(wanted), 500 * len(logits))]
        total += sum(np.mean(part) for part in (wanted, hard, rest) if part)
    return total


def random_batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 32, 32, generator=generator)
    maps = (torch.rand(2, 3, 32, 32, generator=generator) - 0.8).clamp(min=0) * 5
    return logits, maps, torch.full((2, 2, 32, 32), 2, dtype=torch.uint8)


NEVER = 1.0, 1.0


def test_loss_against_its_definition():
    logits, maps, weights = random_batch()
    for _ in range(2):
        expected = pytest.approx(slow_loss(logits, maps, weights), rel=1e-4)
        assert float(train.loss_of(logits, maps, weights, NEVER)) == expected
        weights[0, 0, :20], weights[1, 1, 12:] = 0, 0


@pytest.mark.parametrize("plane", [0, 2])
def test_what_was_overlooked_is_not_unlearnt(plane):
    logits, maps = torch.full((1, 3, 32, 32), -9.0, requires_grad=True), torch.zeros(1, 3, 32, 32)
    with torch.no_grad():
        logits[0, plane, 5, 5] = 3.0
    for kind, learnt in ((1, False), (2, True), (0, False)):
        weights = torch.full((1, 2, 32, 32), kind, dtype=torch.uint8)
        overlooked = (0.5, 1.0) if plane == 0 else (1.0, 0.5)
        (gradient,) = torch.autograd.grad(train.loss_of(logits, maps, weights, overlooked), logits)
        assert bool(gradient[0, plane, 5, 5] != 0) == learnt
        weights[0, 1 - plane // 2] = 0  # the other kind's weights say nothing of this one
        (gradient,) = torch.autograd.grad(train.loss_of(logits, maps, weights, overlooked), logits)
        assert bool(gradient[0, plane, 5, 5] != 0) == learnt


def test_samples_follow_from_seed_and_number():
    whole = train.Samples([ground()], 6, 64, seed=1)
    later = train.Samples([ground()], 6, 64, seed=1, first=4)
    assert len(whole) == 6 and len(later) == 2
    for a, b in zip(whole[5], later[1], strict=True):
        np.testing.assert_array_equal(a, b)
    inputs, maps, weights = whole[0]
    assert inputs.shape == (2, 64, 64) and maps.shape == (3, 32, 32) and weights.shape == (2, 32, 32)
    assert set(np.unique(weights)) <= {0, 1, 2}


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    grounds = [ground(s) for s in range(3)]
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    whole = train.train(grounds, tmp_path / "a" / "w.safetensors", TINY, workers=0, every=2)

    class Stop(Exception):
        pass

    def stop(done, total, text):
        if done == 3:
            raise Stop

    with pytest.raises(Stop):
        train.train(grounds, tmp_path / "b" / "w.safetensors", TINY, workers=0, every=2, report=stop)
    told = []
    resumed = train.train(grounds, tmp_path / "b" / "w.safetensors", TINY, workers=0, every=2,
                          report=lambda done, total, text: told.append((done, total)))
    assert told == [(3, 4), (4, 4)]  # from the checkpoint of step 2 on
    for a, b in zip(whole.net.state_dict().values(), resumed.net.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)
    assert lite_facts(tmp_path / "b" / "w.safetensors")["step"] == 4
    load_lite(tmp_path / "b" / "w.safetensors")


def test_a_run_with_other_settings_is_not_gone_on_with(tmp_path):
    train.train([ground()], tmp_path / "w.safetensors", TINY, workers=0)
    with pytest.raises(ValueError, match="w.ckpt: the run kept here had other settings"):
        train.train([ground()], tmp_path / "w.safetensors", train.TrainOptions(steps=5, batch=2, crop=64), workers=0)


def test_the_rate_warms_up_and_falls():
    options = train.TrainOptions(steps=100, warmup=10, rate=1.0)
    rates = [train.rate_at(step / 100, step, options) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) > 0.95 and rates[100] == pytest.approx(0.01)
    assert all(a >= b for a, b in zip(rates[10:-1], rates[11:], strict=True))


# ---------------------------------------------------------------------------------------------------- pseudo labels


def blob(x, y, half, peak=1.0, shape=(100, 100)):
    character = Character(np.array([x, y]) * 2.0, np.array([2.0 * half, 0]), np.array([0, 2.0 * half]))
    return peak * draw_targets([character], 2 * shape[0], 2 * shape[1])[0]


def no(shape=(100, 100)):
    return np.zeros(shape, bool)


def mask(x0, y0, x1, y1, shape=(100, 100)):
    result = no(shape)
    result[y0:y1, x0:x1] = True
    return result


@pytest.mark.parametrize("peak", [1.0, 0.7])
def test_a_strong_blob_becomes_the_character_it_came_from(peak):
    (character,), read = backgrounds.find_characters(blob(40, 60, 8, peak), no(), no(), False)
    np.testing.assert_allclose(character.centre, (80, 120), atol=2)
    np.testing.assert_allclose((character.right[0], character.down[1]), (16, 16), atol=2.5)
    assert read[60, 40]


@pytest.mark.parametrize("peak, text, wrong, reviewed, count", [
    (0.4, no(), no(), False, 0),  # too faint
    (0.4, mask(25, 45, 55, 75), no(), True, 1),  # but a person says it is text
    (0.9, no(), mask(25, 45, 55, 75), True, 0),  # strong, but a person says it is not
    (0.9, no(), no(), True, 0),  # strong, but nobody said so in an image that was reviewed
    (0.9, no(), no(), False, 1),
])
def test_what_a_person_says_counts(peak, text, wrong, reviewed, count):
    characters, _ = backgrounds.find_characters(blob(40, 60, 8, peak), text, wrong, reviewed)
    assert len(characters) == count


class Teacher:
    """Stands in for the detector: reads one strong blob, and one between the thresholds."""

    def score_maps(self, image):
        maps = np.zeros((2, *((s + 1) // 2 for s in image.shape)), np.float32)
        maps[0] = np.maximum(blob(30, 20, 6, 1.0, maps.shape[1:]), blob(70, 60, 6, 0.4, maps.shape[1:]))
        return maps if image[0, 0] == 1 else maps[:, :, ::-1]  # the mirror image reads mirrored


def image_with_a_corner():
    image = np.zeros((160, 200), np.uint8)
    image[0, 0] = 1
    return image


def test_pseudo_labels_keep_the_sure_and_mask_the_doubtful():
    found = backgrounds.pseudo_label(Teacher(), image_with_a_corner(), None, (160, 200))
    assert found.known[0, 20, 30] > 240 and found.known[0, 60, 70] == 0
    assert found.unsure[60, 70] and not found.unsure[20, 30] and not found.unsure[5, 5]
    assert found.devices is None and (found.places == [[2 * 30, 2 * 20]]).all(axis=1).any()  # x, y of the whole image
    assert make_sample(found, np.random.default_rng(0), 64).weights.shape == (2, 32, 32)


def test_labels_of_devices_leave_the_places_of_text():
    found = backgrounds.pseudo_label(Teacher(), image_with_a_corner(), None, (160, 200))
    labelled = backgrounds.with_labels(found, {"device": [[100, 100, 120, 130]]}, (160, 200))
    assert len(labelled.places) == len(found.places) + 1 and (labelled.places[0] == [110, 115]).all()


def test_a_reading_is_kept_and_not_made_again(tmp_path):
    image, kept = image_with_a_corner(), tmp_path / "readings" / "a.npy"
    first = backgrounds.pseudo_label(Teacher(), image, None, (160, 200), kept)
    again = backgrounds.pseudo_label(None, image, None, (160, 200), kept)
    np.testing.assert_array_equal(first.known, again.known)
    np.testing.assert_array_equal(first.known, backgrounds.pseudo_label(Teacher(), image, None, (160, 200)).known)


def test_corrections_are_in_pixels_of_the_original():
    correction = {"not_text": [[20, 10, 40, 30]], "text": [[60, 50, 80, 70]]}  # the original is half the working size
    found = backgrounds.pseudo_label(Teacher(), image_with_a_corner(), correction, (80, 100))
    assert found.known[0].max() > 0 and found.known[0, 20, 30] == 0 and not found.unsure[20, 30]
    assert found.known[0, 60, 70] > 240


def test_masks_of_suspected_text_scale_with_the_image():
    found = backgrounds.masked(np.zeros((1536, 1000), np.uint8), [(100, 200, 140, 240)])
    assert found.image.shape[0] == 768 and found.unsure.shape == (384, 250)
    assert found.unsure[50:60, 25:35].all() and not found.unsure[100:, :].any()


# ------------------------------------------------------------------------------------------------------ backgrounds


class Reader:
    def detect(self, images):
        return [[TextBox(2, 2, 12, 12, 0.9)] for _ in images]


def test_backgrounds_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(backgrounds, "load_detector", lambda name: Reader())
    (tmp_path / "deep").mkdir()
    write_image(tmp_path / "a.png", np.full((60, 50), 9, np.uint8))
    write_image(tmp_path / "deep" / "b.png", np.full((60, 50, 3), 9, np.uint8))
    (tmp_path / "c.png").write_bytes(b"not an image")
    boxes, told = tmp_path / "boxes.json", []
    found = backgrounds.load_backgrounds(tmp_path, boxes_file=boxes, progress=lambda *a: told.append(a))
    assert len(found) == 2 and all(b.image.shape == (768, 640) and b.unsure.any() for b in found)
    assert set(json.loads(boxes.read_text())) == {"a.png", "b.png"} and told[-1] == (3, 3)
    assert 1 <= len(backgrounds.load_backgrounds(tmp_path, limit=2, boxes_file=boxes)) <= 2  # c.png may be among them


def test_a_folder_without_images_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(backgrounds, "load_detector", lambda name: Reader())
    with pytest.raises(ValueError, match="expected radiographs"):
        backgrounds.load_backgrounds(tmp_path)


def test_phantoms_are_backgrounds_without_text():
    (one,) = backgrounds.phantom_backgrounds(1, 0)
    assert one.image.shape == (768, 768) and one.known.max() == 0 and one.image.std() > 5


def test_a_short_training_learns_to_find_letters(tmp_path, monkeypatch):
    """On plain ground, 150 steps suffice to tell letters from nothing."""
    monkeypatch.setattr(train, "CraftLite", lambda outputs: CraftLite((8, 12, 16, 24, 24), outputs=outputs))
    options = train.TrainOptions(steps=150, batch=4, crop=128, rate=5e-3, warmup=20, trust_from=10**6)
    state = train.train([ground(s) for s in range(2)], tmp_path / "w.safetensors", options, workers=0)
    hits, samples = 0, train.Samples([ground(5)], 40, 128, seed=9)
    with torch.no_grad():
        for inputs, maps, _ in (samples[i] for i in range(40)):
            region = state.mean(torch.from_numpy(inputs)[None]).sigmoid()[0, 0].numpy()
            if maps[0].max() > 0.9:
                hits += region[maps[0] > 0.8].mean() > 3 * region[maps[0] < 0.05].mean()
    assert hits >= 10


# ---------------------------------------------------------------------------------------------------------- devices


def test_labels_of_devices_are_in_pixels_of_the_original():
    image = np.zeros((768, 600), np.uint8)
    labels = {"device": [[100, 40, 140, 80]], "not_device": [[10, 200, 30, 220]], "unsure": [[200, 300, 240, 340]]}
    found = backgrounds.with_labels(Background(image, places=np.array([[3.0, 4.0]])), labels, (384, 300))
    heat, weights = found.devices  # half of the working size is the original's size
    assert heat.shape == (384, 300) and heat[60, 120] > 250 and heat[60, 170] == 0
    assert 100 < heat[60, 101] < 180  # a half at the edge
    assert weights[60, 120] == KNOWN and weights[210, 20] == KNOWN and weights[320, 220] == NOTHING
    assert weights[5, 5] == UNLABELLED and found.image is image
    np.testing.assert_allclose(found.places, [(240, 120), (40, 420), (440, 640), (3, 4)])
    complete = backgrounds.with_labels(Background(image), labels | {"complete": True}, (384, 300)).devices[1]
    assert complete[5, 5] == KNOWN and complete[320, 220] == NOTHING


def test_labels_reach_the_backgrounds_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(backgrounds, "load_detector", lambda name: Reader())
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, np.full((60, 50), 9, np.uint8))
    file = tmp_path / "devices.json"
    file.write_text(json.dumps({"a.png": {"device": [[10, 10, 30, 30]]}}))
    a, b = backgrounds.load_backgrounds(tmp_path, devices=file)
    assert a.devices[0].max() == 255 and b.devices is None


def test_slices_hold_neither_text_nor_devices():
    one, other = backgrounds.slice_backgrounds(2, 0)
    assert one.image.shape == (768, 768) and one.image.std() > 20 and (one.image != other.image).any()
    assert one.known.max() == 0 and one.devices[0].max() == 0 and (one.devices[1] == KNOWN).all()


def test_bundled_labels_are_boxes_inside_their_images():
    file = Path(backgrounds.__file__).with_name("covidx-mini-devices.json")
    labels = json.loads(file.read_text())
    for entry in labels.values():
        assert set(entry) <= {"device", "not_device", "unsure", "complete"}
        for key in set(entry) - {"complete"}:
            boxes = np.array(entry[key])
            assert (boxes[:, 2:] > boxes[:, :2]).all() and boxes.min() >= 0 and boxes.max() <= 768
    assert sum(len(entry.get("device", [])) for entry in labels.values()) >= 400


def test_a_run_that_goes_on_from_two_maps_keeps_them_and_starts_the_third(tmp_path):
    old = CraftLite((4, 4, 6, 6, 8))
    save_lite(old, tmp_path / "old.safetensors")
    state = train.start(TINY, tmp_path / "old.safetensors")
    values = torch.randn(1, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = load_lite(tmp_path / "old.safetensors")(values), state.mean(values)
    assert found.shape[1] == 3
    torch.testing.assert_close(found[:, :2], expected, rtol=0, atol=1e-5)


def test_twenty_steps_teach_the_map_of_devices(tmp_path, monkeypatch):
    """On samples that were not trained on its loss falls, and it is higher on devices than elsewhere."""
    monkeypatch.setattr(train, "CraftLite", lambda outputs: CraftLite((8, 12, 16, 24, 24), outputs=outputs))
    options = train.TrainOptions(steps=20, batch=4, crop=128, rate=1e-2, warmup=4, average=0.8, trust_from=10**6)
    fresh, grounds = train.Samples([ground(5)], 24, 128, seed=9), [ground(s) for s in range(2)]
    inputs, maps, weights = (torch.from_numpy(np.stack(part)) for part in zip(*(fresh[i] for i in range(24)),
                                                                              strict=True))  # fmt: skip

    def state_of(net):
        with torch.no_grad():
            logits = net.eval()(inputs)
        only, heat = weights.clone(), logits[:, 2].sigmoid()
        only[:, 0] = 0  # of devices alone
        ratio = heat[maps[:, 2] > 0.9].mean() / heat[maps[:, 2] < 0.1].mean()
        return float(train.loss_of(logits, maps, only, NEVER)), float(ratio)

    loss, ratio = state_of(train.start(options, None).mean)
    later, higher = state_of(train.train(grounds, tmp_path / "w.safetensors", options, workers=0).mean)
    assert later < 0.9 * loss and higher > 1.5 and higher > 1.3 * ratio
    assert lite_facts(tmp_path / "w.safetensors")["outputs"] == ["text", "affinity", "device"]


def test_devices_alone_leave_text_bit_for_bit(tmp_path, monkeypatch):
    """Also after a start anew: no weight of text moves, and no running mean."""
    save_lite(CraftLite((8, 12, 16, 24, 24)).eval(), tmp_path / "two.safetensors")
    text = load_lite(tmp_path / "two.safetensors")
    options = train.TrainOptions(steps=6, batch=2, crop=64, rate=1e-2, warmup=2, devices_alone=True)

    def stop(done, total, text):
        if done == 3:
            raise KeyboardInterrupt

    for report in (stop, None):  # the second goes on from what the first has saved
        with pytest.raises(KeyboardInterrupt) if report else contextlib.nullcontext():
            train.train([ground(0)], tmp_path / "three.safetensors", options, tmp_path / "two.safetensors", 0, 2,
                        report)  # fmt: skip
    found = load_lite(tmp_path / "three.safetensors").state_dict()
    for name, value in text.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, msg=name)
    fresh = with_devices(text).state_dict()
    assert any(not torch.equal(found[name], fresh[name]) for name in fresh if name.startswith("device_ups"))
    inputs = torch.randn(1, 2, 64, 64)
    with torch.no_grad():
        three = load_lite(tmp_path / "three.safetensors")
        torch.testing.assert_close(three(inputs)[:, :2], text(inputs), rtol=0, atol=0)


def test_devices_apart_do_not_move_what_is_shared():
    """The gradient on everything but their own way back is that of text alone."""
    torch.manual_seed(0)
    net = train.start(train.TrainOptions(devices_apart=True), None).net
    inputs, maps = torch.randn(2, 2, 64, 64), torch.rand(2, 3, 32, 32)
    weights = torch.full((2, 2, 32, 32), 2, dtype=torch.uint8)

    def gradients(maps, weights):
        net.zero_grad(set_to_none=True)
        train.loss_of(net(inputs), maps, weights, NEVER).backward()
        return {name: value.grad.clone() for name, value in net.named_parameters() if value.grad is not None}

    both = gradients(maps, weights)
    of_text = weights.clone()
    of_text[:, 1] = 0
    alone = gradients(maps, of_text)
    assert both.keys() == dict(net.named_parameters()).keys()
    for name, value in both.items():
        own = name.startswith("device_")
        assert torch.equal(value, alone[name]) != own or not value.any(), name
    assert any(value.any() for name, value in both.items() if name.startswith("device_ups"))
