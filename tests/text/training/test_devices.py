"""Drawn devices: their parts lie on their ink, sizes and faintness are told, the map follows its equation."""

import numpy as np
import pytest

from xray_debug.text.training import devices
from xray_debug.text.training.devices import Line, Pen, add_devices
from xray_debug.text.training.targets import Character, draw_devices


def drawn(kind, seed, size=400, scale=24.0):
    rng, form = np.random.default_rng(seed), np.zeros((size, size), np.uint8)
    pen = Pen(form, np.array([size / 2, size / 2]), scale, rng.uniform(0, 2 * np.pi), bool(seed % 2))
    return form, kind(pen, rng)


@pytest.mark.parametrize("kind", devices.KINDS)
def test_the_map_covers_what_was_drawn_and_little_else(kind):
    for seed in range(6):
        form, parts = drawn(kind, seed)
        bodies = [part for part in parts if isinstance(part, Character)]
        lines = [(part.points, part.half) for part in parts if isinstance(part, Line)]
        heat = draw_devices(bodies, lines, *form.shape)
        ink = form.reshape(200, 2, 200, 2).max(axis=(1, 3)) > 50
        assert ink.any() and (heat[ink] > 0.1).mean() > 0.88
        area = sum(4 * np.linalg.norm(body.right) * np.linalg.norm(body.down) for body in bodies) / 4
        along = [(np.linalg.norm(np.diff(points, axis=0), axis=1).sum(), half) for points, half in lines]
        length = sum(long * max(half + 1, 3) / 2 for long, half in along)
        assert (heat > 0.5).sum() <= 1.3 * (area + length) + 40


def test_pens_draw_where_they_say():
    form = np.zeros((100, 120), np.uint8)
    pen = Pen(form, np.array([60.0, 40.0]), 10.0, np.pi / 2)
    pen.box(0, -0.5, 3, 0.5)  # to the right in its frame, which is down in the image
    rows, columns = np.nonzero(form > 128)
    assert abs(rows.min() - 40) <= 1 and abs(rows.max() - 70) <= 1
    assert abs(columns.min() - 55) <= 1 and abs(columns.max() - 65) <= 1
    np.testing.assert_allclose(pen.body(0, -0.5, 3, 0.5).bounds(), (55, 40, 65, 70), atol=0.01)


def test_faint_ones_and_plain_discs_are_not_asked_for(monkeypatch):
    taken = np.zeros((128, 128), bool)
    monkeypatch.setattr(devices, "paint", lambda rng: (92.0, 1.0, 0.0))  # two grey levels above the ground
    seen, faint = add_devices(np.full((128, 128), 90, np.float32), np.random.default_rng(0), 20, 6, taken)
    assert not seen and faint
    monkeypatch.setattr(devices, "paint", lambda rng: (240.0, 1.0, 0.0))
    monkeypatch.setattr(devices, "SHARES", np.array([kind is devices.ball for kind in devices.KINDS], float))
    seen, faint = add_devices(np.full((128, 128), 90, np.float32), np.random.default_rng(0), 20, 6, taken)
    assert not seen and faint


def test_nothing_is_begun_where_something_is():
    image = np.full((128, 128), 90, np.float32)
    assert add_devices(image, np.random.default_rng(0), 20, 5, np.ones((128, 128), bool)) == ([], [])
    assert (image == 90).all()


def test_the_map_of_a_body_against_its_equation():
    body = Character(np.array([60.0, 40.0]), np.array([20.0, 0.0]), np.array([0.0, 10.0]))
    heat = draw_devices([body], [], 80, 120)
    for x, y in ((30, 20), (39, 20), (25, 24), (20, 16)):
        a, b = (2 * x + 1 - 60) / 20, (2 * y + 1 - 40) / 10
        assert heat[y, x] == pytest.approx(2 ** -(a**4 + b**4), abs=0.01)
    assert heat[:, :8].max() == 0


def test_the_map_of_a_line_is_a_half_at_its_edge_and_never_thinner_than_can_be_found():
    points = np.array([[20.0, 60.0], [180.0, 60.0]])
    thick, thin = (draw_devices([], [(points, half)], 120, 200)[:, 50] for half in (12.0, 0.5))
    assert thick[29:31].min() > 0.95 and 0.35 < thick[36] < 0.7 and thick[42] < 0.05
    assert thin[29:31].max() > 0.95 and (thin > 0.4).sum() >= 3 and (thin > 0.05).sum() <= 6
