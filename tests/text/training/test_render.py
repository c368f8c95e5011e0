"""Rendered markers: boxes are exact, samples repeatable, distractors no text; score maps follow their equation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.text.training import distractors, kinds
from xray_debug.text.training.render import (
    LEAD,
    SANS,
    SERIF,
    UNIT,
    draw_sticker,
    framed,
    hollow,
    joined,
    line_sticker,
    placing,
    with_halo,
)
from xray_debug.text.training.samples import KNOWN, NOTHING, UNLABELLED, Background, make_sample
from xray_debug.text.training.targets import EDGE, Character, clipped, draw_targets, visible_share

FONTS = sorted(set(LEAD + SANS + SERIF))


def upright(centre, half):
    return Character(np.array(centre, float), np.array([half[0], 0.0]), np.array([0.0, half[1]]))


@pytest.mark.parametrize("font", FONTS)
def test_a_glyphs_box_is_its_ink(font):
    sticker = line_sticker("R", font, UNIT, 1)
    rows, columns = np.nonzero(sticker.ink > 0)
    (character,) = sticker.characters
    x0, y0, x1, y1 = character.bounds()
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x0, y0, x1, y1)
    assert 0.7 * UNIT < y1 - y0 < 1.4 * UNIT


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 360), st.booleans(), st.floats(0.3, 1.5), st.sampled_from("LRFGD"))
def test_drawn_ink_lies_in_the_drawn_box(angle, mirrored, scale, letter):
    image = np.zeros((200, 200), np.float32)
    sticker = line_sticker(letter, "DejaVuSans-Bold", UNIT)
    matrix = placing(sticker, (100, 100), scale, angle, mirrored)
    (character,) = draw_sticker(image, sticker, matrix, 255, 1.0)
    rows, columns = np.nonzero(image > 100)
    # every inked pixel, in the character's own axes, is within its half sides and a pixel more
    axes = np.stack([character.right, character.down], axis=1)
    inside = np.linalg.inv(axes) @ (np.stack([columns + 0.5, rows + 0.5]) - character.centre[:, None])
    slack = 1.5 / min(np.linalg.norm(character.right), np.linalg.norm(character.down))
    assert np.abs(inside).max() <= 1 + slack
    assert np.abs(inside).max(axis=1).min() >= 1 - 2 * slack  # and the box is no larger than it must be


def test_mirroring_mirrors():
    sticker, images = line_sticker("F", "DejaVuSans-Bold", UNIT), []
    for mirrored in (False, True):
        image = np.zeros((101, 101), np.float32)
        draw_sticker(image, sticker, placing(sticker, (50.5, 50.5), 1.0, 0.0, mirrored), 255, 1.0)
        images.append(image)
    np.testing.assert_allclose(images[0][:, ::-1], images[1], atol=2)
    assert np.abs(images[0] - images[1]).max() > 100


def test_spaces_part_words_and_marks_have_no_box():
    sticker = line_sticker("AP 1.5", "DejaVuSans", UNIT)
    assert [c.word for c in sticker.characters] == [0, 0, 1, 1]


def test_text_without_ink_is_refused():
    with pytest.raises(ValueError, match="no ink"):
        line_sticker("  ", "DejaVuSans", UNIT)


def test_parts_keep_their_boxes_and_words():
    letter, initials = line_sticker("L", "DejaVuSans", UNIT), line_sticker("AB", "DejaVuSans", 20)
    both = joined([(letter, 0, 0), (initials, 5, 60)])
    assert len({c.word for c in both.characters}) == 2
    for character in both.characters:
        x0, y0, x1, y1 = character.bounds().astype(int)
        assert both.ink[y0:y1, x0:x1].max() > 0.5


@pytest.mark.parametrize("shape", ["circle", "ellipse", "box", "capsule"])
@pytest.mark.parametrize("filled", [False, True])
def test_frames_hold_the_letter(shape, filled):
    sticker = framed(line_sticker("R", "DejaVuSans", UNIT), shape, 8, 3, filled)
    x0, y0, x1, y1 = sticker.characters[0].bounds()
    height, width = sticker.ink.shape
    assert x0 > 0 and y0 > 0 and x1 < width and y1 < height
    if filled:
        assert sticker.plate[int(y0 + y1) // 2, int(x0 + x1) // 2] == 1


def test_halo_surrounds_and_hollow_empties():
    letter = line_sticker("I", "DejaVuSans-Bold", UNIT)
    halo = with_halo(letter, 3)
    assert (halo.halo >= halo.ink).all() and (halo.halo > 0.5).sum() > (halo.ink > 0.5).sum()
    outline = hollow(letter, 3)
    x, y = outline.characters[0].centre.astype(int)
    assert outline.ink[y, x] < 0.1 and outline.ink.max() > 0.9


@pytest.mark.parametrize("kind", [k.make for k in kinds.KINDS])
def test_every_kind_of_marker_has_characters_on_its_ink(kind):
    for seed in range(6):
        sticker = kind(np.random.default_rng(seed))
        assert sticker.characters
        for character in sticker.characters:
            x0, y0, x1, y1 = character.bounds().round().astype(int)
            assert sticker.ink[y0:y1, x0:x1].max() > 0.3


def ground(seed=0):
    return np.random.default_rng(seed).integers(40, 120, (300, 260), dtype=np.uint8)


def test_samples_are_repeatable_and_differ():
    one, again, other = (make_sample(Background(ground()), np.random.default_rng(s), 128) for s in (3, 3, 4))
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.maps, again.maps)
    assert (one.image != other.image).any()


def test_samples_have_the_stated_shapes_and_ranges():
    texts, devices = 0, 0
    for seed in range(25):
        sample = make_sample(Background(ground()), np.random.default_rng(seed), 128)
        assert sample.image.shape == (128, 128) and sample.image.dtype == np.uint8
        assert sample.maps.shape == (3, 64, 64) and sample.maps.min() >= 0 and sample.maps.max() <= 1
        assert sample.weights.shape == (2, 64, 64) and set(np.unique(sample.weights)) <= {NOTHING, UNLABELLED, KNOWN}
        texts, devices = texts + bool(sample.characters), devices + bool(sample.devices)
    assert 5 < texts < 25 and 5 < devices < 25


def test_plain_samples_teach_only_what_is_known():
    known = np.zeros((2, 150, 130), np.uint8)
    sample = make_sample(Background(ground(), known), np.random.default_rng(0), 128, plain=1.0)
    assert not sample.characters and not sample.devices and sample.maps.max() == 0
    assert (sample.weights[0] == KNOWN).all() and (sample.weights[1] == UNLABELLED).all()  # nobody looked for devices


def test_what_is_unsure_stays_unsure():
    everywhere = np.ones((150, 130), bool)
    sample = make_sample(Background(ground(), unsure=everywhere), np.random.default_rng(1), 64)
    assert not sample.weights[0, 10:-10, 10:-10].any() and not sample.characters


def test_known_text_moves_with_its_background():
    image, known = np.full((300, 260), 60, np.uint8), np.zeros((2, 150, 130), np.uint8)
    image[100:140, 90:130] = 220
    known[0, 50:70, 45:65] = 255
    for seed in range(6):
        sample = make_sample(Background(image, known), np.random.default_rng(seed), 256, plain=1.0)
        where = sample.maps[0] > 0.95
        if where.sum() > 50:
            gray = sample.image[::2, ::2].astype(float)
            assert abs(gray[where].mean() - np.median(gray)) > 30
            return
    pytest.fail("no sample showed the known text")


def test_known_devices_move_with_their_background_and_what_is_doubtful_is_not_learnt():
    image, devices = np.full((300, 260), 60, np.uint8), np.full((2, 150, 130), UNLABELLED, np.uint8)
    image[100:140, 90:130], devices[0] = 220, 0
    devices[0, 50:70, 45:65], devices[1, 50:70, 45:65] = 255, KNOWN
    devices[1, 100:] = NOTHING
    shown = 0
    for seed in range(12):
        sample = make_sample(Background(image, devices=devices), np.random.default_rng(seed), 256, plain=1.0)
        where = sample.maps[2] > 0.95
        if where.sum() > 50:
            gray = sample.image[::2, ::2].astype(float)
            assert abs(gray[where].mean() - np.median(gray)) > 30
            assert (sample.weights[1][where] == KNOWN).mean() > 0.95
            shown += 1
        assert sample.maps[:2].max() == 0 and (sample.weights[0] == UNLABELLED).all()
    assert shown


def test_a_plate_close_around_its_letters_is_part_of_them():
    letters = line_sticker("AB", "DejaVuSans-Bold", UNIT)
    close, wide = framed(letters, "box", 4, 1, True), framed(letters, "box", 60, 1, True)
    grown = kinds.over_plate(close)
    bounds = np.array([character.bounds() for character in grown.characters])
    rows, columns = np.nonzero(close.plate > 0.5)
    expected = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    np.testing.assert_allclose([*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0)], expected, atol=0.01)
    assert [character.word for character in grown.characters] == [character.word for character in close.characters]
    assert kinds.over_plate(wide) is wide


@pytest.mark.parametrize("draw", sorted(set(distractors.KINDS), key=lambda f: f.__name__))
def test_distractors_change_the_image_within_its_range(draw):
    changed = 0
    for seed in range(8):
        image = np.full((96, 96), 90, np.float32)
        draw(image, np.random.default_rng(seed), 30.0)
        assert image.dtype == np.float32 and image.min() >= 0 and image.max() <= 255.01
        changed += (image != 90).any()
    assert changed >= 4


def test_region_map_against_the_gaussian():
    character = Character(np.array([40.0, 30.0]), np.array([8.0, 6.0]), np.array([-9.0, 12.0]))
    region = draw_targets([character], 80, 80)[0]
    for x, y in ((19.5, 15.5), (24.5, 18.5), (12.5, 20.5), (20.5, 10.5)):
        a, b = np.linalg.solve(np.stack([character.right, character.down], axis=1), np.array([2 * x, 2 * y]) - (40, 30))
        assert region[int(y), int(x)] == pytest.approx(np.exp(-0.5 * EDGE**2 * (a * a + b * b)), abs=0.01)


def test_affinity_spans_from_centre_to_centre():
    pair = [upright((20, 20), (8, 10)), upright((44, 20), (8, 10))]
    affinity = draw_targets(pair, 40, 64)[1]
    assert affinity[9:11, 15:17].min() > 0.9  # midway
    half = 12 / 2  # half the distance of the centres, in the map
    expected = np.exp(-0.5 * EDGE**2 * ((10.5 - 16) / half) ** 2)
    assert affinity[9, 10] == pytest.approx(expected, rel=0.1)
    assert draw_targets([pair[0]], 40, 64)[1].max() == 0


def test_thin_characters_are_widened():
    region = draw_targets([upright((30, 30), (1, 15))], 60, 60)[0]
    assert (region[15] > 0.4).sum() >= 3


def test_a_cut_character_keeps_its_visible_part():
    cut = clipped(upright((5, 50), (15, 20)), 100, 100)
    np.testing.assert_allclose(cut.bounds(), (0, 30, 20, 70))
    whole = upright((50, 50), (15, 20))
    assert clipped(whole, 100, 100) is whole
    assert visible_share(upright((0, 50), (10, 10)), 100, 100) == pytest.approx(0.5)
