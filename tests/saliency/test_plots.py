"""Pictures of explanations: they can be opened, have the right size, and show what they are given."""

import numpy as np
from PIL import Image

from xray_debug.saliency.plots import explain_figure

IMAGE = np.tile(np.arange(40, dtype=np.uint8) * 6, (30, 1))


def test_explain_figure_accepts_what_the_methods_return(tmp_path):
    rng = np.random.default_rng(0)
    curve = np.linspace(0.9, 0.1, 11)
    saliency, name = rng.random((1, 7, 7)), "a_b $c.png"
    path = explain_figure(IMAGE / 255, saliency, curve, curve[::-1], 0.5, 0.5, name, tmp_path / "e.png")
    with Image.open(path) as picture:
        assert picture.size == (1352, 357)
