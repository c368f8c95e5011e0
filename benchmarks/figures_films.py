"""Figures 5, 7, 11 and 12 of the iGOS++ paper, from a finished run: what a classifier of X-rays makes of the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from figure_grid import BAD, GOOD, Item, Picture, draw, heat

from xray_debug.data.images import read_image, to_gray8
from xray_debug.models import load_checkpoint
from xray_debug.run.store import Store
from xray_debug.saliency import METHODS, blurred, compose, insertion_deletion_images

MASK_SIZE = 32  # of the paper's figures 5 and 11
SHARES = (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.12, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class Film:
    """One test image as the model sees it, with its text in view pixels."""

    image_id: str
    label: str
    view: np.ndarray
    boxes: np.ndarray  # (N, 4), continuous
    text: np.ndarray  # float32 (S, S): the covered share of each pixel

    @property
    def image(self) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.view))[None, None].float() / 255


@dataclass
class Request:
    """The run, the class that is looked into, and where the figure goes."""

    run: Path
    out: Path
    count: int = 3
    class_name: str = ""
    candidates: int = 16  # films that are explained to find those that show it best
    options: dict[str, dict] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self):
        self.store = Store(self.run)
        self.model = load_checkpoint(self.store.path("model")).eval()
        classes = list(self.model.classes)
        self.class_name = self.class_name or ("COVID-19" if "COVID-19" in classes else classes[-1])
        if self.class_name not in classes:
            raise ValueError(f"--class {self.class_name}: expected one of {', '.join(classes)}")

    @property
    def target(self) -> int:
        return list(self.model.classes).index(self.class_name)

    def films(self, labels: Callable[[str], bool]) -> Iterator[Film]:
        """The run's test images with text, of the labels asked for, in the manifest's order."""
        manifest, views, boxes = self.store.manifest(), self.store.views(), self.store.boxes("text")
        for place, row in enumerate(manifest.itertuples()):
            own = boxes.get(row.image_id)
            if row.split != "test" or own is None or not len(own) or not labels(str(row.label)):
                continue
            view = np.asarray(views[place])
            covered = np.zeros((row.height, row.width), np.float32)
            for x0, y0, x1, y1 in own:
                covered[y0:y1, x0:x1] = 1
            yield Film(row.image_id, str(row.label), view, self.model.view.boxes_to_view(own, row.height, row.width),
                       self.model.view.mask_to_view(covered))  # fmt: skip

    def say(self, image: torch.Tensor) -> tuple[str, float, float]:
        """The predicted class, its probability, and that of the class looked into."""
        with torch.no_grad():
            found = torch.softmax(self.model(image), 1)[0]
        return self.model.classes[int(found.argmax())], float(found.max()), float(found[self.target])

    def explain(self, film: Film, method: str = "igos_pp") -> torch.Tensor:
        size = MASK_SIZE if method == "igos_pp" else 8  # Grad-CAM at its own resolution in the paper
        return METHODS[method](self.model, film.image, torch.tensor([self.target]), mask_size=size, seed=self.seed,
                               **self.options.get(method, {})).saliency  # fmt: skip

    def on_text(self) -> list[tuple[Film, torch.Tensor]]:
        """Films predicted as the class, explained, those first whose heat lies most on the text for its area."""
        chosen = []
        for film in self.films(lambda label: label == self.class_name):
            if self.say(film.image)[0] == self.class_name:
                chosen.append((film, self.explain(film)))
            if len(chosen) == self.candidates:
                break
        if not chosen:
            raise ValueError(f"{self.run}: no test image with text that is predicted as {self.class_name}")
        return sorted(chosen, key=lambda pair: -self._share_on_text(*pair))

    def _share_on_text(self, film: Film, saliency: torch.Tensor) -> float:
        side = film.view.shape[0]
        fine = cv2.resize(saliency[0, 0].numpy(), (side, side))
        return float((fine * film.text).sum() / max(fine.sum(), 1e-9) / max(film.text.mean(), 1e-9))


def pixels(image: torch.Tensor) -> np.ndarray:
    """(1, 1, S, S) in [0, 1] to uint8 (S, S)."""
    return (image[0, 0] * 255).round().clamp(0, 255).byte().numpy()


def figure_5(ask: Request, share: float = 0.06) -> None:
    """The film, Grad-CAM, iGOS++ at 32 x 32, and the 6 % most salient pixels on the blurred film."""
    rows, names = [], []
    for film, saliency in ask.on_text()[: ask.count]:
        shown, _ = insertion_deletion_images(film.image, blurred(film.image), saliency, share)
        said, probability, _ = ask.say(shown)
        cam = ask.explain(film, "gradcam")[0, 0].numpy()
        rows.append([
            Picture(film.view, "film", boxes=film.boxes), heat(film.view, cam, "Grad-CAM"),
            heat(film.view, saliency[0, 0].numpy(), f"iGOS++, {MASK_SIZE} x {MASK_SIZE}"),
            Picture(pixels(shown), f"{share:.0%} inserted", f"{said} {probability:.0%}",
                    BAD if said == ask.class_name else GOOD),
        ])  # fmt: skip
        names.append(film.image_id)
    draw(rows, names, ask.out, f"Figure 5: {ask.class_name} as the classifier sees it (boxes: text found)")


def figure_11(ask: Request) -> None:
    """The smallest share of pixels that makes the class when inserted, and that takes it away when deleted."""
    rows, names = [], []
    for film, saliency in ask.on_text()[: ask.count]:
        row: list[Item] = [Picture(film.view, "film", boxes=film.boxes),
                           heat(film.view, saliency[0, 0].numpy(), f"iGOS++, {MASK_SIZE} x {MASK_SIZE}")]  # fmt: skip
        for place, wanted in ((0, True), (1, False)):
            share, image = _smallest(ask, film, saliency, place, wanted)
            said, probability, own = ask.say(image)
            caption = f"{said} {probability:.0%}" if place == 0 else f"{ask.class_name} {own:.0%}, {said}"
            row.append(Picture(pixels(image), f"{'inserted' if place == 0 else 'deleted'}, PR {share:.0%}", caption,
                               GOOD if place == 0 else BAD))  # fmt: skip
        rows.append(row)
        names.append(film.image_id)
    draw(rows, names, ask.out, f"Figure 11: pixels that make {ask.class_name}, and without which it is none")


def _smallest(ask: Request, film: Film, saliency: torch.Tensor, place: int, wanted: bool):
    """The first share at which the changed image is (`wanted`) or is not the class; the largest where none is."""
    for share in SHARES:
        image = insertion_deletion_images(film.image, blurred(film.image), saliency, share)[place]
        if (ask.say(image)[0] == ask.class_name) == wanted:
            break
    return share, image


def figure_12(ask: Request) -> None:
    """Films, blurred, and blurred with their text: of the class (a) and of the next class but the first (b)."""
    classes = list(ask.model.classes)
    other = next(name for name in reversed(classes) if name != ask.class_name)
    rows, names, found = [], [], {}
    for letter, label in (("a", ask.class_name), ("b", other)):
        ranked = []
        for film in ask.films(lambda own, label=label: own == label):
            baseline = blurred(film.image)
            shown = compose(film.image, baseline, torch.from_numpy(film.text)[None, None])
            before, after = ask.say(baseline), ask.say(shown)
            flips = before[0] != ask.class_name and after[0] == ask.class_name
            ranked.append((not flips, before[2] - after[2], film, baseline, shown, before, after))
        found[label] = f"{sum(not own[0] for own in ranked)} of {len(ranked)}"
        for _, _, film, baseline, shown, before, after in sorted(ranked, key=lambda own: own[:2])[: ask.count]:
            said = ask.say(film.image)
            rows.append([
                Picture(film.view, f"{said[0]} {said[1]:.0%}"),
                Picture(pixels(baseline), f"blurred: {before[0]} {before[1]:.0%}"),
                Picture(pixels(shown), f"text: {after[0]} {after[1]:.0%}", boxes=film.boxes),
            ])
            names.append(f"{letter}) {film.label}")
    if not rows:
        raise ValueError(f"{ask.run}: no test image with text of {ask.class_name} or {other}")
    said = "; ".join(f"{label}: {count}" for label, count in found.items())
    draw(rows, names, ask.out, f"Figure 12: text alone makes {ask.class_name} ({said})")


def figure_7(ask: Request) -> None:
    """The film, the text found in it, and the film as the run cleaned it."""
    store = ask.store
    changes = store.table("changes")
    manifest = store.manifest().set_index("image_id")
    regions = store.table("regions")
    rows, names = [], []
    for change in changes[changes["label"] == ask.class_name].itertuples():
        row = manifest.loc[change.image_id]
        own = regions[(regions["image_id"] == change.image_id) & (regions["kind"] == "text")]
        if not len(own):
            continue
        film = to_gray8(read_image(store.image_file(row["path"])))
        cleaned = to_gray8(read_image(store.path("cleaned") / Path(row["path"]).parent / change.file))
        rows.append([Picture(film, "film"), Picture(film, "text found", boxes=own[["x0", "y0", "x1", "y1"]].to_numpy()),
                     Picture(cleaned, "cleaned")])  # fmt: skip
        names.append(change.image_id)
        if len(rows) == ask.count:
            break
    if not rows:
        raise ValueError(f"{ask.run}: no cleaned image of {ask.class_name}")
    draw(rows, names, ask.out, "Figure 7: text found and erased")


FIGURES: dict[str, Callable[[Request], None]] = {"5": figure_5, "7": figure_7, "11": figure_11, "12": figure_12}
