"""What makes the class of a phantom."""

import numpy as np

from xray_debug.config import PhantomConfig
from xray_debug.phantom import CLASSES, make_case
from xray_debug.phantom.findings import draw_strength

SMALL = PhantomConfig(train=12, test=6, size=128)


def test_opacities_make_the_class_and_follow_the_difficulty():
    rng = np.random.default_rng(0)
    easy, usual, hard = (np.array([draw_strength(rng, d) for _ in range(400)]) for d in (0.0, 1.0, 2.0))
    assert np.median(easy) > np.median(usual) > np.median(hard)
    assert np.std(np.log(easy)) < np.std(np.log(usual)) < np.std(np.log(hard))
    assert make_case(SMALL, "normal", 0).strength == 0 < make_case(SMALL, "pneumonia", 0).strength
    films = {label: make_case(PhantomConfig(size=128, difficulty=0.0), label, 11, None).clean.astype(float)
             for label in CLASSES}
    change = {label: films[label] - films["normal"] for label in CLASSES}
    left, right = (change["pneumonia"][:, half].clip(0).sum() for half in (slice(0, 64), slice(64, 128)))
    assert max(left, right) > 20 * (min(left, right) + 1)  # one lung
    left, right = (change["COVID-19"][:, half].clip(0).sum() for half in (slice(0, 64), slice(64, 128)))
    assert min(left, right) > 0.2 * max(left, right) > 100  # both
    assert change["COVID-19"].min() >= -1 and change["pneumonia"].min() >= -1
