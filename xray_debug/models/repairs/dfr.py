"""Deep feature reweighting: only the last layer is learned anew, on images among which the shortcut tells nothing.

Kirichenko, Izmailov and Wilson 2023, "Last layer re-training is sufficient for robustness to spurious correlations".
The features are what goes into the last linear layer. As in the paper they are standardised, the layer is an
L1-regularised logistic regression, and its weights are the mean over several random subsamples in which every group has
as many images. Three things differ: it learns from the training images and keeps val for the choice of C; C is chosen
by the mean loss of val's groups, not by the worst group's accuracy, which a dozen images do not tell; and where the
smallest group has fewer than FEWEST images, the others keep up to FEWEST and are weighed down to it.
"""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from xray_debug.models.classifier import XrayClassifier, device_of
from xray_debug.models.predict import CPU_CHUNK, NotFinite, to_batch
from xray_debug.models.repairs.base import REPAIRS, Grouped, LastLayer, balancing_weights
from xray_debug.models.threads import one_thread
from xray_debug.stats.seeds import rng_of

SUBSAMPLES, TRIED = 10, 2  # as in the paper; those on which each C is tried
FEWEST = 8
STRENGTHS = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)  # of C, as in the paper; L1
ITERATIONS = 200
SCALE = 1e-6  # a feature that varies less has no scale


@torch.no_grad()
def last_layer(model: XrayClassifier, images: np.ndarray) -> nn.Linear:
    """The linear layer whose output is the model's; tried on `images` uint8 (n, S, S).

    ValueError for a network that has none.
    """
    outputs: dict[nn.Linear, Tensor] = {}
    layers = [layer for layer in model.net.modules() if isinstance(layer, nn.Linear)]
    handles = [layer.register_forward_hook(lambda layer, _, output: outputs.__setitem__(layer, output))
               for layer in layers]  # fmt: skip
    try:
        logits = model(to_batch(images, device_of(model)))
    finally:
        for handle in handles:
            handle.remove()
    for layer in reversed(layers):
        if layer in outputs and outputs[layer].shape == logits.shape and torch.equal(outputs[layer], logits):
            return layer
    raise ValueError(f"dfr: expected a network that ends in a linear layer, {model.name} does not")


@torch.inference_mode()
def features_of(model: XrayClassifier, layer: nn.Linear, images) -> np.ndarray:
    """float64 (n, D), what goes into `layer` for each of `images` uint8 (n, S, S), in evaluation mode.

    On a CPU with one thread and CPU_CHUNK at a time, as predict.probabilities does it, so that an image has the same
    features whatever others it comes with. NotFinite for features that are no numbers.
    """
    kept: list[Tensor] = []
    device = device_of(model)
    size = CPU_CHUNK if device.type == "cpu" else 256
    handle = layer.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
    found = np.empty((len(images), layer.in_features))
    try:
        with one_thread():
            for start in range(0, len(images), size):
                batch = to_batch(images[start : start + size], device)
                count = len(batch)
                if count < size and device.type == "cpu":
                    batch = torch.cat([batch, batch[:1].expand(size - count, -1, -1, -1)])
                model(batch)
                found[start : start + count] = kept.pop()[:count].cpu().double().numpy()
    finally:
        handle.remove()
    bad = np.flatnonzero(~np.isfinite(found).all(1)).tolist()
    if bad:
        raise NotFinite(bad)
    return found


def balanced_subsample(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sorted places of a subsample in which every group has as many images as the smallest, but not fewer than FEWEST
    where it has so many."""
    members = [np.flatnonzero(groups == code) for code in np.unique(groups)]
    size = max(min(map(len, members)), FEWEST)
    return np.sort(np.concatenate([rng.permutation(own)[:size] for own in members]))


def _regression(c: float, seed: int):
    from sklearn.linear_model import LogisticRegression

    known = inspect.signature(LogisticRegression).parameters["l1_ratio"].default
    lasso = {"penalty": "l1"} if known is None else {"l1_ratio": 1.0}  # before and since scikit-learn 1.8
    return LogisticRegression(C=c, solver="saga", max_iter=ITERATIONS, tol=1e-3, random_state=seed, **lasso)


def layer_of(model) -> tuple[np.ndarray, np.ndarray]:
    """Weights (K, D) and biases (K,) of a linear layer whose softmax is scikit-learn's predict_proba."""
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:  # of two classes it gives the difference
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias


def fitted(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, c: float, seed: int,
           subsamples: int = SUBSAMPLES) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The mean layer, weights (K, D) and biases (K,), of logistic regressions on balanced subsamples.

    ValueError where a class has no image.
    """
    parts = []
    for number in range(subsamples):
        rows = balanced_subsample(groups, rng_of(seed, "dfr", number))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not converged to the last digit
            model = _regression(c, number).fit(features[rows], labels[rows], balancing_weights(groups[rows]))
        parts.append(layer_of(model))
    return np.mean([weight for weight, _ in parts], 0), np.mean([bias for _, bias in parts], 0)


def group_loss(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, layer: tuple) -> float:
    """The mean over groups of a layer's mean cross-entropy in each."""
    logits = features @ layer[0].T + layer[1]
    logits -= logits.max(1, keepdims=True)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]
    return float((balancing_weights(groups) * losses).mean())


@REPAIRS.register("dfr", help="the last layer alone learned anew, every group of images counting alike")
class Dfr(LastLayer):
    def mend(self, model: XrayClassifier, train: Grouped, val: Grouped, seed: int, scale_of=None) -> dict:
        """See LastLayer; gives C, its val loss, the loss before, and the number of features that are used."""
        model.eval()
        layer = last_layer(model, train.images[:2])
        known, unseen = (features_of(model, layer, part.images) for part in (train, val))
        before = tuple(value.detach().cpu().double().numpy() for value in (layer.weight, _bias(layer)))
        old = group_loss(unseen, val.labels, val.groups, before)
        mean = known.mean(0)
        scale = (known if scale_of is None else features_of(model, layer, scale_of)).std(0)
        scale[scale < SCALE * max(float(scale.max()), SCALE)] = 1.0
        for features in (known, unseen):  # in place: of many images there is room for one copy
            features -= mean
            features /= scale
        learned = known, train.labels, train.groups
        tried = {c: fitted(*learned, c, seed, TRIED) for c in STRENGTHS}
        best = min(tried, key=lambda c: group_loss(unseen, val.labels, val.groups, tried[c]))
        weight, bias = fitted(*learned, best, seed)
        new = group_loss(unseen, val.labels, val.groups, (weight, bias))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight / scale))
            _bias(layer).copy_(torch.from_numpy(bias - (weight / scale) @ mean))
        return {"c": best, "val_loss": new, "val_loss_before": old,
                "features": int((np.abs(weight).max(0) > 0).sum()), "of": weight.shape[1]}  # fmt: skip


def _bias(layer: nn.Linear) -> nn.Parameter:
    if layer.bias is None:
        raise ValueError("dfr: expected a last layer with a bias, this network's has none")
    return layer.bias
