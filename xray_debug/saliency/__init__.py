"""Saliency maps for any image classifier, and measures of how faithful they are. Nothing here knows of X-rays.

    from xray_debug.saliency import igos_pp, deletion_insertion
    explanation = igos_pp(model, images, targets)          # images (N, C, H, W), targets (N,)
    explanation.saliency                                   # (N, 1, 28, 28) in [0, 1], 1 = most salient
"""

from xray_debug.saliency.faithfulness import (
    Curves,
    deletion_insertion,
    insertion_deletion_images,
    rank_pixels,
)
from xray_debug.saliency.images import blurred, compose, upsample_saliency
from xray_debug.saliency.infidelity import infidelity, max_sensitivity
from xray_debug.saliency.measure import sparseness
from xray_debug.saliency.methods.gradients import gradcam, gradient, integrated_gradients
from xray_debug.saliency.methods.igos import igos, igos_pp
from xray_debug.saliency.methods.mask import mask_perturbation
from xray_debug.saliency.methods.rise import rise
from xray_debug.saliency.randomisation import mprt, random_logit
from xray_debug.saliency.regions import pointing_game, relevance_mass_accuracy, relevance_rank_accuracy
from xray_debug.saliency.registry import METHODS
from xray_debug.saliency.result import Evaluations, Explanation, Step
from xray_debug.saliency.road import noisy_linear_imputation, road
from xray_debug.saliency.sanity import adversarial_alarm, mi_fgsm, randomise_labels

__all__ = [
    "METHODS",
    "Curves",
    "Evaluations",
    "Explanation",
    "Step",
    "adversarial_alarm",
    "blurred",
    "compose",
    "deletion_insertion",
    "gradcam",
    "gradient",
    "igos",
    "igos_pp",
    "infidelity",
    "insertion_deletion_images",
    "integrated_gradients",
    "mask_perturbation",
    "max_sensitivity",
    "mi_fgsm",
    "mprt",
    "noisy_linear_imputation",
    "pointing_game",
    "random_logit",
    "randomise_labels",
    "rank_pixels",
    "relevance_mass_accuracy",
    "relevance_rank_accuracy",
    "rise",
    "road",
    "sparseness",
    "upsample_saliency",
]
