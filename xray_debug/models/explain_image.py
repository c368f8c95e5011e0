"""One image, one picture: the film, its map, the overlay and the curves with their areas."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xray_debug.config import ConfigError, ExplainConfig
from xray_debug.data.images import read_image
from xray_debug.models.explainer import Explainer


def explain_one(
    image: Path, model: Path, config: ExplainConfig, target: str | None, picture: Path, seed: int = 0
) -> str:
    """Writes `picture` (PNG) and returns the facts in one line; `target` None explains the predicted class."""
    import torch

    from xray_debug.saliency.plots import explain_figure

    if picture.suffix.lower() != ".png":
        raise ConfigError(f"--out {picture}: expected a file name ending in .png")
    explainer = Explainer(model, config, seed, "cuda" if torch.cuda.is_available() else "cpu")
    seen = explainer.model.view.apply(read_image(image))
    with torch.no_grad():
        batch = torch.from_numpy(seen)[None, None].to(explainer.device).float() / 255
        probabilities = explainer.model(batch).softmax(1)[0].cpu().numpy()
    classes = explainer.model.classes
    row = explainer.explain([(image.name, seen, target or classes[int(np.argmax(probabilities))])])[0]
    title = f"{image.name}: {row['target']} {row['probability']:.3f} ({config.method})"
    explain_figure(
        seen, row["saliency"], row["deletion_curve"], row["insertion_curve"], row["deletion"], row["insertion"], title,
        picture,
    )  # fmt: skip
    return (
        f"{row['target']} {row['probability']:.3f}, deletion {row['deletion']:.3f}, insertion {row['insertion']:.3f},"
        f" {row['seconds']:.1f} s"
    )
