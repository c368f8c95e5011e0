"""Devices as radiographs show them, drawn with what the map of devices has to say: electrodes, clips, ports, jewellery.

Each function draws one thing in its own frame (a `Pen`), one unit being about half its height, and returns its parts:
a `Character`, which here is any turned box, for what is compact, and a `Line` for a lead, a tube or a chain.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from xray_debug.text.training.distractors import curve, lay, paint
from xray_debug.text.training.targets import Character

FAINT = 7  # grey levels: what changes the film less cannot be asked for
LEAST = 3.5  # pixels, half the side of the smallest body


@dataclass(frozen=True)
class Line:
    """A lead, tube, wire or chain: `points` (P, 2) x, y in pixels of the image, `half` of its width."""

    points: np.ndarray
    half: float


Part = Character | Line


class Pen:
    """Draws on a uint8 (H, W) coverage in a frame of its own: moved, turned, scaled and sometimes mirrored."""

    def __init__(self, form: np.ndarray, centre: np.ndarray, scale: float, angle: float, mirrored: bool = False):
        c, s = np.cos(angle), np.sin(angle)
        self.form, self.scale, self.angle = form, scale, angle
        self.turn = scale * np.array([[c, -s], [s, c]]) @ np.diag([-1 if mirrored else 1, 1])
        self.centre = np.asarray(centre, float)

    def at(self, points) -> np.ndarray:
        """(P, 2) pixels of the image."""
        return np.asarray(points, float).reshape(-1, 2) @ self.turn.T + self.centre

    def _fixed(self, points) -> np.ndarray:
        return (self.at(points) * 8).round().astype(np.int32)

    def width(self, share: float) -> int:
        return max(1, round(share * self.scale))

    def disc(self, x: float, y: float, rx: float, ry: float | None = None, value: int = 255, line: float = 0) -> None:
        """An ellipse, filled or (line > 0) as a ring of that width."""
        turn = np.linspace(0, 2 * np.pi, 40)
        points = np.stack([x + rx * np.cos(turn), y + (ry or rx) * np.sin(turn)], axis=1)
        self.path(points, line, value, True) if line else self.area(points, value)

    def path(self, points, width: float, value: int = 255, closed: bool = False) -> None:
        cv2.polylines(self.form, [self._fixed(points)], closed, int(value), self.width(width), cv2.LINE_AA, 3)

    def area(self, points, value: int = 255) -> None:
        cv2.fillPoly(self.form, [self._fixed(points)], int(value), cv2.LINE_AA, 3)

    def box(self, x0: float, y0: float, x1: float, y1: float, value: int = 255, line: float = 0) -> None:
        corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        self.path(corners, line, value, True) if line else self.area(corners, value)

    def body(self, x0: float, y0: float, x1: float, y1: float) -> Character:
        """What takes up this box of the frame."""
        right, down = self.turn @ ((x1 - x0) / 2, 0), self.turn @ (0, (y1 - y0) / 2)
        sides = (side * max(1.0, LEAST / max(np.linalg.norm(side), 1e-6)) for side in (right, down))
        return Character(self.at(((x0 + x1) / 2, (y0 + y1) / 2))[0], *sides)

    def lead(self, rng: np.random.Generator, x: float, y: float, width: float = 0.12, value: int = 200) -> Line:
        """A lead that goes off from here, outwards."""
        start = self.at((x, y))[0]
        heading = np.arctan2(*(start - self.centre)[::-1]) + rng.normal() * 0.3
        points = curve(rng, start, self.scale * rng.uniform(2, 14), rng.uniform(0.01, 0.12), heading)
        wide = self.width(width * rng.uniform(0.6, 1.4))
        cv2.polylines(self.form, [(points * 8).round().astype(np.int32)], False, int(value), wide, cv2.LINE_AA, 3)
        return Line(points, wide / 2)


def _chance(rng: np.random.Generator, share: float) -> bool:
    return bool(rng.random() < share)


# ------------------------------------------------------------------------------------------------- electrodes


def pad(pen: Pen, rng: np.random.Generator) -> list[Part]:
    """An electrode seen from the front: a plate, often six-sided, rings or dots of a snap on it, and often a lead."""
    tall = rng.uniform(0.75, 1.25)
    if _chance(rng, 0.75):
        corners = np.linspace(0, 2 * np.pi, int(rng.choice((6, 8, 30))), endpoint=False)
        pen.area(np.stack([np.cos(corners), tall * np.sin(corners)], axis=1), rng.integers(50, 200))
    for share in rng.uniform(0.25, 1, rng.integers(1, 4)):
        pen.disc(0, 0, share, share * tall, rng.integers(140, 256), rng.uniform(0.06, 0.22))
    if _chance(rng, 0.6):
        x, y = rng.normal(size=2) * 0.15
        pen.disc(x, y, rng.uniform(0.12, 0.45), None, 0 if _chance(rng, 0.4) else 255)
    parts: list[Part] = [pen.body(-1, -tall, 1, tall)]
    if _chance(rng, 0.6):
        end = rng.uniform(1.0, 2.2)
        pen.path([(0.3, 0), (end, rng.normal() * 0.2)], rng.uniform(0.15, 0.5), rng.integers(150, 256))
        parts = [pen.body(-1, -tall, max(1, end), tall)]
        parts += [pen.lead(rng, end, 0)] if _chance(rng, 0.6) else []
    return parts


def clamp(pen: Pen, rng: np.random.Generator) -> list[Part]:
    """The clamp of a lead on an electrode: a half moon with holes, a bar across, and two jointed arms."""
    rim, turn = rng.integers(150, 256), np.linspace(np.pi / 2, 3 * np.pi / 2, 16)
    moon = np.stack([-0.15 + 0.85 * np.cos(turn), np.sin(turn)], axis=1)
    pen.area(moon, rng.integers(40, 170))
    pen.path(moon, rng.uniform(0.08, 0.2), rim, _chance(rng, 0.7))
    for y in (-0.45, 0, 0.45):
        if _chance(rng, 0.7):
            pen.disc(-0.55 + 0.1 * abs(y), y, rng.uniform(0.08, 0.16), None, 0 if _chance(rng, 0.6) else 255)
    pen.path([(rng.uniform(-0.1, 0.2), -1.0), (rng.uniform(-0.1, 0.2), 1.0)], rng.uniform(0.1, 0.22), rim)
    ends = []
    for side in (-1, 1):
        bend, end = rng.uniform(0.5, 1.0), rng.uniform(1.0, 2.0)
        pen.path([(0.1, 0.8 * side), (bend, side * rng.uniform(0.5, 0.9)), (end, side * rng.uniform(0.2, 0.8))],
                 rng.uniform(0.1, 0.24), rim)  # fmt: skip
        ends.append(end)
    if _chance(rng, 0.4):  # an L lies on it, as letters do
        pen.path([(0.2, -0.6), (0.2, 0.4), (0.9, 0.4)], rng.uniform(0.1, 0.2), rim)
    lead = [pen.lead(rng, max(ends), 0.4)] if _chance(rng, 0.5) else []
    return [pen.body(-1.05, -1.05, max(ends), 1.05), *lead]


def snap(pen: Pen, rng: np.random.Generator) -> list[Part]:
    """A press stud, a button or an ear clip: a disc with rings, holes or studs around; or the same from the side."""
    if _chance(rng, 0.3):
        pen.disc(0, 0, rng.uniform(0.15, 0.4), 1, rng.integers(150, 256))
        pen.box(0, -0.45, rng.uniform(0.3, 0.6), 0.45, rng.integers(150, 256))
        return [pen.body(-0.4, -1, 0.6, 1)]
    tall = rng.uniform(0.5, 1)
    pen.disc(0, 0, 1, tall, rng.integers(90, 230))
    pen.disc(0, 0, rng.uniform(0.6, 0.95), tall * 0.75, rng.integers(120, 256), rng.uniform(0.08, 0.2))
    if _chance(rng, 0.5):
        for turn in np.linspace(0, 2 * np.pi, int(rng.choice((2, 4, 6, 8))), endpoint=False):
            far, dark = rng.choice((0.3, 0.75)), _chance(rng, 0.6)
            pen.disc(far * np.cos(turn), far * tall * np.sin(turn), rng.uniform(0.08, 0.16), None, 10 if dark else 255)
    else:
        pen.disc(0, 0, rng.uniform(0.15, 0.5), None, 0 if _chance(rng, 0.5) else 255)
    return [pen.body(-1, -tall, 1, tall)]


# --------------------------------------------------------------------------------------------- what is implanted


def pacemaker(pen: Pen, rng: np.random.Generator) -> list[Part]:
    """A can with its battery and circuit, a header, and leads from it."""
    tall, shade = rng.uniform(0.8, 1.2), rng.integers(90, 200)
    turn = np.linspace(0, 2 * np.pi, 40)
    can = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    can = np.sign(can) * np.abs(can) ** 0.5 * (1, tall)  # a rounded box
    pen.area(can, shade)
    pen.path(can, 0.05, min(255, shade + 50), True)
    pen.box(-0.75, 0, 0.75, 0.8 * tall, min(255, shade + rng.integers(20, 60)))
    for _ in range(rng.integers(3, 12)):
        x, y = rng.uniform(-0.8, 0.6), rng.uniform(-0.8, 0) * tall
        pen.box(x, y, x + rng.uniform(0.05, 0.3), y + rng.uniform(0.05, 0.25), rng.integers(60, 256))
    pen.box(-0.6, -1.35 * tall, 0.5, -0.95 * tall, rng.integers(60, 160))
    leads = [pen.lead(rng, x, -1.2 * tall, 0.06) for x in rng.uniform(-0.6, 0.6, rng.integers(0, 4))]
    return [pen.body(-1.02, -1.35 * tall, 1.02, 1.02 * tall), *leads]


def port(pen: Pen, rng: np.random.Generator) -> list[Part]:
    """The chamber of a port: one ring or two, round or three-cornered, with holes, a stem, and its catheter."""
    shade, twice, reach = rng.integers(130, 256), _chance(rng, 0.25), 1.0
    for x in (-0.75, 0.75) if twice else (0,):
        pen.disc(x, 0, 0.85, 1, shade, rng.uniform(0.15, 0.45))
        if _chance(rng, 0.4):
            pen.disc(x, 0, 0.7, 0.8, shade // 3)
    reach = 1.6 if twice else 1.0
    if _chance(rng, 0.5):
        for turn in np.linspace(0.3, 2 * np.pi + 0.3, int(rng.choice((3, 6, 8))), endpoint=False):
            pen.disc(0.88 * reach * np.cos(turn), 0.88 * np.sin(turn), 0.12, None, 20)
    pen.path([(0, -0.9), (0, -1.6)], rng.uniform(0.15, 0.4), shade)
    catheter = [pen.lead(rng, 0, -1.6, 0.14, int(shade * 0.7))] if _chance(rng, 0.7) else []
    return [pen.body(-reach, -1.6, reach, 1), *catheter]


def clips(pen: Pen, rng: np.random.Generator) -> list[Part]:
    """Surgical clips and staples: a few short bright strokes, each by itself."""
    parts: list[Part] = []
    for _ in range(rng.integers(1, 7)):
        x, y = rng.normal(size=2) * 1.6
        angle, long, wide = rng.uniform(0, np.pi), rng.uniform(0.2, 0.6), rng.uniform(0.08, 0.22)
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        ends = np.array([x, y]) + np.array([-along, along]) * long
        if _chance(rng, 0.35):  # open staples
            ends = np.concatenate([ends[:1] + across * long, ends, ends[1:] + across * long * rng.uniform(0, 1)])
        pen.path(ends, wide, rng.integers(170, 256))
        (x0, y0), (x1, y1) = ends.min(axis=0) - wide / 2, ends.max(axis=0) + wide / 2
        parts.append(pen.body(x0, y0, x1, y1))
    return parts


def wires(pen: Pen, rng: np.random.Generator) -> list[Part]:
    """Wires of the sternum, one under the other: flat loops or figures of eight, twisted at one place."""
    parts: list[Part] = []
    for i in range(rng.integers(1, 5)):
        y, wide, tall = 1.6 * i, rng.uniform(0.8, 1.3), rng.uniform(0.12, 0.5)
        turn = np.linspace(0, 2 * np.pi, 40)
        eight = 2 if _chance(rng, 0.25) else 1
        pen.path(np.stack([wide * np.cos(turn), y + tall * np.sin(eight * turn)], axis=1), rng.uniform(0.05, 0.1),
                 rng.integers(150, 256), True)  # fmt: skip
        pen.path([(0, y - 0.2), (rng.normal() * 0.2, y + 0.25)], 0.12, 255)
        parts.append(pen.body(-wide, y - tall - 0.05, wide, y + tall + 0.05))
    return parts


def screws(pen: Pen, rng: np.random.Generator) -> list[Part]:
    """A rod or a plate with the heads of its screws."""
    long, shade, wide = rng.uniform(1, 2.5), rng.integers(170, 256), rng.uniform(0.2, 0.5)
    pen.path([(-long, 0), (long, 0)], wide, shade)
    for x in np.linspace(-long, long, rng.integers(2, 5)):
        pen.disc(x, 0, rng.uniform(0.3, 0.5), None, shade)
        pen.path([(x, 0), (x + rng.normal() * 0.1, rng.choice((-1, 1)) * rng.uniform(0.6, 1.1))], wide * 0.6, shade)
    return [pen.body(-long - 0.4, -1.1, long + 0.4, 1.1)]


# ------------------------------------------------------------------------------------------- clothes, jewellery


def spring(pen: Pen, rng: np.random.Generator) -> list[Part]:
    """Turns of wire, or the slider of a strap: flat rings over each other."""
    count, tall, wide = int(rng.integers(2, 6)), rng.uniform(0.2, 0.45), rng.uniform(0.07, 0.16)
    shear = rng.normal() * 0.3
    for i in range(count):
        y = (i - (count - 1) / 2) * tall * 1.3
        pen.disc(shear * y, y, 1, tall * 0.7, rng.integers(150, 256), wide)
    return [pen.body(-1.1, -count * tall * 0.7, 1.1, count * tall * 0.7)]


def hooks(pen: Pen, rng: np.random.Generator) -> list[Part]:
    """Hooks and eyes of a closure: bent wire with two small loops, one or a column of them."""
    parts: list[Part] = []
    for i in range(rng.integers(1, 5)):
        y, wide = 2.6 * i, rng.uniform(0.12, 0.26)
        turn = np.linspace(-0.7 * np.pi, 0.7 * np.pi, 20) + np.pi
        arc = np.stack([np.cos(turn), y + np.sin(turn)], axis=1)
        shade = rng.integers(130, 256)
        pen.path(arc, wide, shade)
        for x, end in (arc[0], arc[-1]):
            pen.disc(x + 0.3, end, 0.32, None, shade, wide)
        parts.append(pen.body(-1.15, y - 1.25, 1.35, y + 1.25))
    return parts


def buckle(pen: Pen, rng: np.random.Generator) -> list[Part]:
    """A frame with a bar, or a ring alone, or a cross to wear."""
    kind, tall, wide, shade = rng.integers(3), rng.uniform(0.6, 1.2), rng.uniform(0.1, 0.25), rng.integers(140, 256)
    if kind == 0:
        pen.box(-1, -tall, 1, tall, shade, wide)
        pen.path([(-1, 0), (1, 0)], wide, shade)
    elif kind == 1:
        pen.disc(0, 0, 1, tall, shade, wide)
    else:
        pen.path([(0, -1), (0, tall)], wide * 1.6, shade)
        pen.path([(-0.6, -0.4), (0.6, -0.4)], wide * 1.6, shade)
    return [pen.body(-1, -max(1, tall) if kind == 2 else -tall, 1, tall)]


def safety_pin(pen: Pen, rng: np.random.Generator) -> list[Part]:
    """Two wires from a coil to a head; or a hair grip."""
    shade, wide, long = rng.integers(160, 256), rng.uniform(0.08, 0.18), rng.uniform(1.4, 2.4)
    pen.disc(-long, 0, 0.3, None, shade, wide)
    pen.path([(-long, -0.3), (long, -0.35 - 0.3 * rng.random())], wide, shade)
    pen.path([(-long, 0.3), (long, 0.3 * rng.random())], wide, shade)
    if _chance(rng, 0.6):
        pen.box(long - 0.2, -0.5, long + 0.3, 0.4, shade)
    return [pen.body(-long - 0.3, -0.6, long + 0.3, 0.5)]


def connector(pen: Pen, rng: np.random.Generator) -> list[Part]:
    """A connector or stopcock of a line, ribbed or plain; or the end of a tube, an eye in it."""
    long, wide, shade = rng.uniform(0.8, 1.8), rng.uniform(0.35, 0.7), rng.integers(60, 200)
    pen.box(-long, -wide, long, wide, shade, 0 if _chance(rng, 0.6) else 0.12)
    for x in np.linspace(-long, long, rng.integers(0, 8)):
        pen.path([(x, -wide), (x, wide)], 0.1, min(255, shade + 60))
    if _chance(rng, 0.3):
        pen.disc(-long, 0, wide * 0.6, None, 0)
        pen.disc(-long, 0, wide, None, min(255, shade + 60), 0.12)
    tube = [pen.lead(rng, long, 0, wide * 0.8, shade)] if _chance(rng, 0.7) else []
    return [pen.body(-long, -wide, long, wide), *tube]


# ------------------------------------------------------------------------------------------------------- lines


def lead(pen: Pen, rng: np.random.Generator) -> list[Part]:
    """A lead or tube across the crop: one curve, two edges of one, one with a stripe, or dashed."""
    size = max(pen.form.shape)
    points = curve(rng, pen.centre, size * rng.uniform(0.3, 1.5), rng.uniform(0.01, 0.2))
    wide, line = pen.width(rng.uniform(0.06, 0.5) ** 1.5), (points * 8).round().astype(np.int32)
    dashed = _chance(rng, 0.1)
    for part in np.array_split(line, 14)[::2] if dashed else [line]:
        cv2.polylines(pen.form, [part], False, 255, wide, cv2.LINE_AA, 3)
    if wide >= 3 and _chance(rng, 0.6):
        cv2.polylines(pen.form, [line], False, int(rng.integers(30, 120)), wide - 2, cv2.LINE_AA, 3)
        if wide >= 5 and _chance(rng, 0.5):  # the stripe that makes a tube visible
            cv2.polylines(pen.form, [line], False, 255, 1, cv2.LINE_AA, 3)
    return [Line(points, wide / 2)]


def chain(pen: Pen, rng: np.random.Generator) -> list[Part]:
    """A necklace or a zip: beads, links or teeth along a curve."""
    points = curve(rng, pen.centre, pen.scale * rng.uniform(3, 14), rng.uniform(0.005, 0.08))
    radius, kind = max(1, round(pen.scale * rng.uniform(0.06, 0.2))), rng.integers(3)
    steps = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    places = np.arange(0, steps[-1], radius * rng.uniform(1.8, 4))
    along = np.stack([np.interp(places, steps, points[:, i]) for i in range(2)], axis=1)
    for i, spot in enumerate(along.round().astype(int).tolist()):
        if kind == 2:
            reach = radius * (1 if i % 2 else -1)
            cv2.line(pen.form, spot, (spot[0] + reach, spot[1] + radius // 2), 255, max(1, radius // 2), cv2.LINE_AA)
        else:
            cv2.circle(pen.form, spot, radius, 255, -1 if kind == 0 else max(1, radius // 3), cv2.LINE_AA)
    return [Line(points, float(radius))]


def ball(pen: Pen, rng: np.random.Generator) -> list[Part]:
    """A plain disc, ring or plate: what holds a marker, without its letter; a device or not, nobody can say."""
    tall, line = rng.uniform(0.6, 1.6), 0 if _chance(rng, 0.6) else rng.uniform(0.05, 0.2)
    pen.disc(0, 0, 1, tall, 255, line) if _chance(rng, 0.65) else pen.box(-1, -tall, 1, tall, 255, line)
    return [pen.body(-1, -tall, 1, tall)]


KINDS = {
    pad: (0.4, 1.1), clamp: (0.4, 1.2), snap: (0.3, 0.9), pacemaker: (1.4, 3.2), port: (0.6, 1.5), clips: (0.3, 0.8),
    wires: (0.6, 1.6), screws: (0.4, 1.2), spring: (0.4, 1.0), hooks: (0.3, 0.7), buckle: (0.4, 1.2),
    safety_pin: (0.3, 0.8), connector: (0.3, 0.9), lead: (0.5, 1.5), chain: (0.5, 1.5),
    ball: (0.2, 1.2),
}  # what is drawn, and how large a unit of its frame is, in heights of a marker
SHARES = np.array([5, 6, 4, 1, 2, 3, 2, 1, 2, 2, 2, 1, 2, 5, 2, 4], float)


def add_devices(image: np.ndarray, rng: np.random.Generator, unit: float, count: int, taken: np.ndarray
                ) -> tuple[list[Part], list[Part]]:
    """`count` random devices on float32 `image` in place: (their parts, the parts of those that cannot be asked for).

    `unit`: pixels of a marker; nothing is begun where `taken` (bool, image's size).
    """
    seen, faint, size = [], [], np.array(image.shape[::-1])
    for _ in range(count):
        draw = list(KINDS)[rng.choice(len(KINDS), p=SHARES / SHARES.sum())]
        scale = max(4.0, unit * rng.uniform(*KINDS[draw]))
        for _ in range(5):
            centre = rng.uniform(0.02, 0.98, 2) * size
            x0, y0 = np.maximum(0, centre - 1.3 * scale).astype(int)
            x1, y1 = (centre + 1.3 * scale).astype(int) + 1
            if not taken[y0:y1, x0:x1].any():
                break
        else:
            continue
        form = np.zeros(image.shape, np.uint8)
        parts = draw(Pen(form, centre, scale, rng.uniform(0, 2 * np.pi), _chance(rng, 0.5)), rng)
        before = image.copy()
        lay(image, form, *paint(rng))
        ink = form > 60
        change = float(np.abs(image - before)[ink].mean()) if ink.any() else 0.0
        (seen if change >= FAINT and draw is not ball else faint).extend(parts)
    return seen, faint
