"""What a network knows of an image just before it decides: what goes into its last linear layer."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from xray_debug.models.classifier import XrayClassifier, device_of
from xray_debug.models.predict import to_batch
from xray_debug.models.repairs.dfr import features_of, last_layer


def penultimate_features(model: XrayClassifier, images) -> np.ndarray:
    """float64 (n, D) of `images` uint8 (n, S, S); the model's mode is left as it was.

    ValueError for a network without a linear layer that takes one row for each image (programs from a file have none
    that could be listened to), and for features that are no numbers.
    """
    was_training = model.training
    model.eval()
    try:
        found = features_of(model, _layer(model, images[:2]), images)
    finally:
        model.train(was_training)
    if found.shape[0] != len(images):
        raise ValueError(f"{model.name}: expected a row of features for each of {len(images)} images, got {len(found)}")
    return found


@torch.inference_mode()
def _layer(model: XrayClassifier, images: np.ndarray) -> nn.Linear:
    """The last layer, or, where the logits are made of its output (a single logit, say), the one that ran last."""
    layers = [layer for layer in model.net.modules() if isinstance(layer, nn.Linear)]
    none = ValueError(f"{model.name} has no last linear layer whose input could be read")
    if not layers:
        raise none
    try:
        return last_layer(model, images)
    except ValueError:
        pass
    ran: list[nn.Linear] = []
    handles = [layer.register_forward_hook(lambda layer, inputs, _: ran.append(layer) if inputs[0].ndim == 2 else None)
               for layer in layers]  # fmt: skip
    try:
        model(to_batch(images, device_of(model)))
    finally:
        for handle in handles:
            handle.remove()
    if not ran or ran.count(ran[-1]) > 1:
        raise none
    return ran[-1]
