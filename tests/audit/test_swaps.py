import numpy as np

from xray_debug.audit.removals import remove_boxes
from xray_debug.audit.swaps import Donor, Piece, choose_donors, make_donor, paste
from xray_debug.config import CleanConfig
from xray_debug.data.images import ModelView

VIEW = ModelView(32)


def marked(value=200, ground=80):
    image = np.full((64, 64), ground, np.uint8)
    image[6:12, 50:58] = value
    return image, [(49, 5, 59, 13)]


def test_pasted_into_its_own_cleaned_image_a_marker_gives_the_original_back():
    image, boxes = marked()
    donor = make_donor("a.png", "normal", image, boxes, VIEW, CleanConfig(), 0)
    cleaned, _ = remove_boxes(image, boxes, CleanConfig())
    assert not np.array_equal(cleaned, image)
    assert np.array_equal(paste(cleaned, donor, donor.markers), image)


def test_controls_stand_where_the_markers_stand_and_hold_no_text():
    image, boxes = marked()
    donor = make_donor("a.png", "normal", image, boxes, VIEW, CleanConfig(), 0)
    assert [(p.x, p.y, p.difference.shape) for p in donor.controls] == [
        (p.x, p.y, p.difference.shape) for p in donor.markers
    ]
    assert np.abs(donor.controls[0].difference).max() <= 4  # the grain of the repair
    assert abs(donor.markers[0].difference.max() - 120) <= 4


def test_dark_text_on_bright_ground_is_lifted_too():
    image, boxes = marked(value=10, ground=230)
    donor = make_donor("a.png", "normal", image, boxes, VIEW, CleanConfig(), 0)
    pasted = paste(np.full((64, 64), 100, np.uint8), donor, donor.markers)
    assert pasted[8, 54] == 0 and pasted[40, 20] == 100  # 220 levels darker, cut at black


def test_paste_scales_with_the_height_and_keeps_the_relative_place():
    image, boxes = marked()
    donor = make_donor("a.png", "normal", image, boxes, VIEW, CleanConfig(), 0)
    target = np.full((128, 128), 80, np.uint8)
    changed = np.argwhere(paste(target, donor, donor.markers) > 140)
    assert np.abs(changed.mean(axis=0) / 128 - [9 / 64, 54 / 64]).max() < 0.02
    assert abs(len(changed) - 4 * 48) < 40


def test_a_piece_larger_than_the_image_is_cut_down_to_it():
    donor = Donor("a", "normal", 10, 10, (Piece(np.full((10, 40), 5.0, np.float32), 0.5, 0.5),), ())
    assert (paste(np.zeros((10, 10), np.uint8), donor, donor.markers) == 5).all()


def pasted_by_hand(image, donor, pieces):
    """At the donor's own size: every piece added to the whole image, cut to 8 bits at the end."""
    gray = image.astype(float)
    for piece in pieces:
        h, w = piece.difference.shape
        y, x = round(piece.y * len(image) - h / 2), round(piece.x * len(image) - w / 2)
        gray[y : y + h, x : x + w] += piece.difference
    return np.round(gray.clip(0, 255)).astype(np.uint8)


def test_overlapping_pieces_add_up_before_they_are_cut_to_8_bits():
    image = np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.uint8)
    pieces = (Piece(np.full((8, 8), 90.0, np.float32), 0.3, 0.3), Piece(np.full((8, 8), -90.0, np.float32), 0.35, 0.3),
              Piece(np.full((4, 6), 50.0, np.float32), 0.8, 0.9))
    donor = Donor("a", "normal", 40, 40, pieces, ())
    assert np.array_equal(paste(image, donor, pieces), pasted_by_hand(image, donor, pieces))
    assert np.array_equal(paste(image, donor, ()), image)


def test_no_donor_without_visible_text():
    image, boxes = marked()
    assert make_donor("a.png", "normal", image, [], VIEW, CleanConfig(), 0) is None
    assert make_donor("a.png", "normal", image, boxes, ModelView(32, crop_top=0.3), CleanConfig(), 0) is None


def donors():
    return [Donor(f"{label}{i}", label, 8, 8, (), ()) for label in ("x", "y", "z") for i in range(3)]


def test_chosen_donors_are_of_other_classes_in_turn_and_do_not_depend_on_anything_but_the_seed():
    chosen = choose_donors(donors(), "x", 4, seed=3)
    assert sorted(d.label for d in chosen) == ["y", "y", "z", "z"]
    assert len({d.image_id for d in chosen}) == 4
    assert chosen == choose_donors(donors(), "x", 4, seed=3)
    assert any(choose_donors(donors(), "x", 4, seed=s) != chosen for s in range(5))


def test_fewer_donors_than_asked_for():
    assert len(choose_donors(donors(), "x", 50, 0)) == 6
    assert choose_donors(donors()[:3], "x", 2, 0) == []
    assert choose_donors([], "x", 2, 0) == []
