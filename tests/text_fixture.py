"""A film with a letter on it."""

import cv2
import numpy as np


def film(height=300, width=260, text="L", at=(40, 90), size=3.0, level=240, seed=0):
    """A grey gradient with noise and a letter on it."""
    rng = np.random.default_rng(seed)
    image = np.linspace(40, 140, height)[:, None] + rng.normal(0, 2, (height, width))
    image = image.clip(0, 255).astype(np.uint8)
    if text:
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size / 2, level, round(2 * size), cv2.LINE_AA)
    return image
