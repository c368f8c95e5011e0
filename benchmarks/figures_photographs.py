"""Figures 1, 2, 4, 6, 8, 9 and 10 of the iGOS++ paper: a classifier of photographs (or any other) and its images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from figure_grid import BAD, GOOD, CurvePair, Item, Picture, draw, heat
from networks import Case, Classifier, cases, image_files, load_case
from torch import nn

from xray_debug.saliency import METHODS, blurred, deletion_insertion, insertion_deletion_images, mi_fgsm

SIZES = (7, 14, 28, 56, 112, 224)
EPSILONS = (1, 2, 4, 8, 16)
LAMBDAS = (0.2, 2.0, 20.0, 200.0)


@dataclass(frozen=True)
class Request:
    """What is drawn: the classifier, its images (by name, or the first ones that it is sure of), and how."""

    classifier: Classifier
    images: Path
    out: Path
    names: Sequence[str] = ()
    count: int = 3
    confidence: float = 0.6
    options: dict[str, dict] = field(default_factory=dict)  # method -> its options
    seed: int = 0
    wanted: str = ""  # the class of adversarial images

    def cases(self, count: int | None = None) -> list[Case]:
        if not self.names:
            return list(cases(self.classifier, self.images, count or self.count, self.confidence))
        files = {path.name: path for path in image_files(self.images)}
        missing = [name for name in self.names if name not in files]
        if missing:
            raise ValueError(f"--names {missing[0]}: no such image in {self.images}")
        return [load_case(self.classifier, files[name]) for name in self.names]

    def picture(self, image: torch.Tensor):
        return self.classifier.pictures(image)[0]

    def label(self, target: int) -> str:
        return self.classifier.classes[target] if target < len(self.classifier.classes) else str(target)

    def explain(self, method: str, case: Case, mask_size: int, **changes) -> tuple[torch.Tensor, CurvePair]:
        """Saliency (1, 1, m, m) and its curves."""
        targets = torch.tensor([case.target])
        options = self.options.get(method, {}) | changes
        found = METHODS[method](self.classifier.model, case.image, targets, case.baseline, mask_size=mask_size,
                                seed=self.seed, **options)  # fmt: skip
        curves = deletion_insertion(self.classifier.model, case.image, found.saliency, targets, case.baseline)
        return found.saliency.cpu(), CurvePair(
            curves.deletion_curve[0].cpu().numpy(), curves.insertion_curve[0].cpu().numpy(),
            curves.deletion.item(), curves.insertion.item(),
        )  # fmt: skip

    def panel(self, method: str, case: Case, mask_size: int, title: str, **changes) -> tuple[Picture, CurvePair]:
        """The map over the image with its areas below; of a signed map, what is above its middle."""
        saliency, curves = self.explain(method, case, mask_size, **changes)
        if method == "integrated_gradients":
            saliency = (saliency - saliency.median()).clamp(min=0)
        caption = f"del {curves.deletion:.3f}, ins {curves.insertion:.3f}"
        return heat(self.picture(case.image), saliency[0, 0].numpy(), title, caption), curves

    def probability(self, image: torch.Tensor, target: int) -> float:
        with torch.no_grad():
            return torch.softmax(self.classifier.model(image), 1)[0, target].item()

    def named(self, case: Case) -> str:
        return f"{self.label(case.target)} {case.probability:.2f}"


def figure_1(ask: Request, share: float = 0.06) -> None:
    """I-GOS and iGOS++ at 224 x 224, and what the network says of the 6 % most salient pixels of each."""
    rows, names = [], []
    for case in ask.cases():
        row: list[Item] = [Picture(ask.picture(case.image), "image")]
        for method, title in (("igos", "I-GOS"), ("igos_pp", "iGOS++")):
            saliency, _ = ask.explain(method, case, 224)
            shown, _ = insertion_deletion_images(case.image, case.baseline, saliency, share)
            said = ask.probability(shown, case.target)
            row.append(heat(ask.picture(case.image), saliency[0, 0].numpy(), title))
            colour = GOOD if said > 0.5 else BAD
            row.append(Picture(ask.picture(shown), f"{share:.0%} by {title}", f"{said:.1%}", colour))
        rows.append(row)
        names.append(ask.named(case))
    draw(rows, names, ask.out, "Figure 1: the most salient pixels inserted into the blurred image")


COMPARED = (
    ("gradcam", 7, "Grad-CAM, 7"), ("integrated_gradients", 224, "integrated gradients, 224"), ("rise", 224, "RISE"),
    ("mask_perturbation", 28, "Mask, 28"), ("igos", 28, "I-GOS, 28"), ("igos", 224, "I-GOS, 224"),
    ("igos_pp", 28, "iGOS++, 28"), ("igos_pp", 224, "iGOS++, 224"),
)  # fmt: skip


def figure_2(ask: Request) -> None:
    """Each method's map and, below it, its deletion and insertion curves."""
    rows, names = [], []
    for case in ask.cases():
        found = [ask.panel(method, case, size, title) for method, size, title in COMPARED]
        rows += [[Picture(ask.picture(case.image), "image"), *(picture for picture, _ in found)],
                 [None, *(curves for _, curves in found)]]  # fmt: skip
        names += [ask.named(case), ""]
    draw(rows, names, ask.out, "Figure 2: methods; deletion (solid) and insertion (dashed) curves")


def figure_8(ask: Request, mask_size: int = 224) -> None:
    """More images, the areas below each map."""
    methods = (("igos_pp", mask_size, "iGOS++"), ("igos", mask_size, "I-GOS"), ("rise", 224, "RISE"),
               ("gradcam", 7, "Grad-CAM"), ("integrated_gradients", 224, "integrated gradients"),
               ("gradient", 224, "gradient"))  # fmt: skip
    rows, names = [], []
    for case in ask.cases():
        found = [ask.panel(method, case, size, title)[0] for method, size, title in methods]
        rows.append([Picture(ask.picture(case.image), "image"), *found])
        names.append(ask.named(case))
    draw(rows, names, ask.out, "Figure 8: methods; areas under the deletion and the insertion curve")


def figure_9(ask: Request) -> None:
    """iGOS++ at each mask size."""
    rows, names = [], []
    for case in ask.cases():
        found = [ask.panel("igos_pp", case, size, f"{size} x {size}")[0] for size in SIZES]
        rows.append([Picture(ask.picture(case.image), "image"), *found])
        names.append(ask.named(case))
    draw(rows, names, ask.out, "Figure 9: mask sizes of iGOS++")


def figure_10(ask: Request, mask_size: int = 224) -> None:
    """Bilateral against plain total variation over lambda 2."""
    rows, names = [], []
    for case in ask.cases(1):
        for bilateral, name in ((True, "BTV"), (False, "TV")):
            own = [ask.panel("igos_pp", case, mask_size, f"lambda2 = {weight:g}", bilateral=bilateral,
                             smooth_weight=weight)[0] for weight in LAMBDAS]  # fmt: skip
            rows.append([Picture(ask.picture(case.image), ask.named(case)), *own])
            names.append(name)
    draw(rows, names, ask.out, f"Figure 10: BTV and TV, masks of {mask_size} x {mask_size}")


class _InValues(nn.Module):
    """The classifier as a function of values in [0, 1], where an attack's bounds are the same in every channel."""

    def __init__(self, classifier: Classifier):
        super().__init__()
        self.classifier, self.model = classifier, classifier.model

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.model(self.classifier.normalised(values))


def figure_4(ask: Request) -> None:
    """Natural and adversarial images (MI-FGSM towards one class), masks of 28 and 224, and their curves."""
    classes = list(ask.classifier.classes)
    wanted = ask.wanted or ("Persian cat" if "Persian cat" in classes else classes[0])
    if wanted not in classes:
        raise ValueError(f"--wanted {wanted}: not a class of {ask.classifier.name}")
    rows, names = [], []
    for case in ask.cases():
        if case.target == classes.index(wanted):
            continue
        attacked, epsilon = _attacked(ask, case, classes.index(wanted))
        for one, name in ((case, "natural"), (attacked, f"moved by {epsilon}/255")):
            row: list[Item] = [Picture(ask.picture(one.image), ask.named(one))]
            for size in (28, 224):
                row += ask.panel("igos_pp", one, size, f"{size} x {size}")
            rows.append(row)
            names.append(name)
    if not rows:
        raise ValueError(f"--wanted {wanted}: the images are taken for {wanted} as they are; name another class")
    draw(rows, names, ask.out, f"Figure 4: natural images, and adversarial ones that are taken for {wanted}")


def _attacked(ask: Request, case: Case, wanted: int) -> tuple[Case, int]:
    """The image moved by the smallest of EPSILONS / 255 that the network takes for `wanted` (or the largest); and it.

    The least that does it: the more a pixel may move, the more the image really holds of the class.
    """
    classifier = ask.classifier
    values, target = classifier.values_of(case.image), torch.tensor([case.target])
    for epsilon in EPSILONS:
        moved = mi_fgsm(_InValues(classifier), values, target, epsilon / 255, wanted=torch.tensor([wanted]))
        image = classifier.normalised(moved)
        with torch.no_grad():
            said = torch.softmax(classifier.model(image), 1)[0]
        if int(said.argmax()) == wanted:
            break
    found = int(said.argmax())
    return Case(case.name, image, blurred(image), found, float(said[found]), case.digest), epsilon


def figure_6(ask: Request, mask_size: int = 28) -> None:
    """A failure: the image of which the network is least sure."""
    found = ask.cases(40) if ask.names else list(cases(ask.classifier, ask.images, 40))
    case = min(found, key=lambda own: own.probability)
    picture, curves = ask.panel("igos_pp", case, mask_size, f"iGOS++, {mask_size} x {mask_size}")
    draw([[Picture(ask.picture(case.image), case.name), picture, curves]], [ask.named(case)], ask.out,
         "Figure 6: an image of which the network is not sure")  # fmt: skip


FIGURES: dict[str, Callable[[Request], None]] = {
    "1": figure_1, "2": figure_2, "4": figure_4, "6": figure_6, "8": figure_8, "9": figure_9, "10": figure_10
}  # fmt: skip
