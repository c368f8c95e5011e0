"""Two more ways to remove a region than cleaning's inpainting, in the pixels that the model sees.

Every way of removing text leaves a trace of its own, and a model that knows a marker by a slight disturbance can take
the trace for the marker. An effect that shows under one plausible fill is there; so the audit tries several, on the
text and on its controls alike. "smoothed" continues the surroundings as evenly as possible (Laplace's equation);
"mirrored" takes the other half of the chest, fitted to the surroundings at the region's rim (Perez, Gangnet, Blake,
"Poisson Image Editing", 2003), and so has anatomy and grain.
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import splu

RIM = 1.0  # standard deviation of the blur that keeps grain out of the rim's values, pixels
NEIGHBOURS = ((0, 1), (0, -1), (1, 0), (-1, 0))
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
FILLS = ("smoothed", "mirrored")
SYMMETRIC = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}


class Membrane:
    """Laplace's equation on the pixels of `region` (bool (S, S), not all of it), factorised once for several images.

    Pixels outside the region are held; at the image's edge the surface is level.
    """

    def __init__(self, region: np.ndarray):
        region = np.asarray(region, bool)
        if region.all():
            raise ValueError("the region covers the whole image, so nothing is left to fill it in from")
        self.region, self.rows = region, np.flatnonzero(region)
        ys, xs = np.nonzero(region)
        index = np.full(region.shape, -1)
        index[ys, xs] = np.arange(len(ys))
        inner, degree = [], np.zeros(len(ys))
        self.held = []  # (unknowns, pixels outside that they touch)
        for dy, dx in NEIGHBOURS:
            y, x = ys + dy, xs + dx
            inside = (y >= 0) & (y < region.shape[0]) & (x >= 0) & (x < region.shape[1])
            degree += inside
            own = np.flatnonzero(inside)
            other = index[y[own], x[own]]
            inner.append((own[other >= 0], other[other >= 0]))
            self.held.append((own[other < 0], (y[own] * region.shape[1] + x[own])[other < 0]))
        rows, columns = (np.concatenate([pair[side] for pair in inner]) for side in (0, 1))
        matrix = coo_matrix((-np.ones(len(rows)), (rows, columns)), (len(ys),) * 2)
        matrix.setdiag(degree)
        self.solve = splu(matrix.tocsc(), **SYMMETRIC).solve if len(ys) else None

    def fill(self, values: np.ndarray) -> np.ndarray:
        """`values` (S, S) with the region replaced by the membrane that its surroundings hold; float64."""
        filled = np.array(values, np.float64)
        if self.solve is not None:
            flat, right = filled.ravel(), np.zeros(len(self.rows))
            for unknowns, pixels in self.held:
                right[unknowns] += flat[pixels]
            filled[self.region] = self.solve(right)
        return filled


def around(image: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Local mean of what lies outside the region, (S, S): the rim without its grain."""
    outside = (~region).astype(np.float64)
    weight = cv2.GaussianBlur(outside, (0, 0), RIM)
    return cv2.GaussianBlur(image * outside, (0, 0), RIM) / np.maximum(weight, 1e-9)


class Fills:
    """The fills of one image, float (S, S) in [0, 1]: what belongs to its text alone is worked out once.

    `text`: mask of all text, (S, S) in [0, 1], which the mirrored half must not bring back.
    """

    def __init__(self, image: np.ndarray, text: np.ndarray):
        self.image, self.text = image, grown(text)

    def of(self, mask: np.ndarray) -> dict[str, np.ndarray]:
        """The image without what `mask`, (S, S) in [0, 1], touches: name of the fill -> float32 (S, S).

        Empty where the mask leaves nothing to fill in from; pixels outside the mask and its rim of one pixel (what
        resizing smears) are those of the image.
        """
        image, region = self.image, grown(mask)
        whole = region | self.text
        if whole.all() or not region.any():
            return {}
        membrane, rim = self._membrane(region), around(image, whole)
        smooth = membrane.fill(rim)
        source = np.ascontiguousarray(np.where(whole, self._without_text(smooth, region, rim), image)[:, ::-1])
        offset = membrane.fill(rim - cv2.GaussianBlur(source, (0, 0), RIM))
        found = {"smoothed": smooth, "mirrored": source + offset}
        return {name: np.where(region, values.clip(0, 1), image).astype(np.float32) for name, values in found.items()}

    @cached_property
    def _text_membrane(self) -> Membrane:
        return Membrane(self.text)

    def _membrane(self, region: np.ndarray) -> Membrane:
        return self._text_membrane if np.array_equal(region, self.text) else Membrane(region)

    def _without_text(self, smooth: np.ndarray, region: np.ndarray, rim: np.ndarray) -> np.ndarray:
        """`smooth`, in which the region is filled, with the text filled too: the membrane of both together.

        Where they do not touch, neither holds the other's edge, so that the text can be filled by itself.
        """
        if not (self.text & ~region).any():
            return smooth
        if (cv2.dilate(region.astype(np.uint8), CROSS).astype(bool) & self.text).any():
            return Membrane(region | self.text).fill(rim)
        return self._text_membrane.fill(smooth)


def grown(mask: np.ndarray) -> np.ndarray:
    """bool (S, S): every pixel the mask touches, and one around."""
    return cv2.dilate((np.asarray(mask) > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
