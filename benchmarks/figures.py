"""The figures of the iGOS++ paper, each by one command, from your own images; a PNG is written where --out says.

    python benchmarks/figures.py --figure 2 --images FOLDER --out figure-2.png            1, 2, 4, 6, 8, 9, 10
    python benchmarks/figures.py --figure 3 --data FOLDER --out figure-3.png              with FashionMNIST in FOLDER
    python benchmarks/figures.py --figure 5 --run runs/demo --out figure-5.png            5, 7, 11, 12: a finished run

1 I-GOS and iGOS++; 2 methods with curves; 3 label randomisation; 4 adversarial images; 5 text on a film; 6 a failure;
7 text erased; 8 methods; 9 mask sizes; 10 bilateral and plain variation; 11 the pixels that decide; 12 text alone.
--model and --weights are those of benchmarks/saliency.py. Nothing is downloaded unasked.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import figures_films
import figures_labels
import figures_photographs
import torch
from networks import load_classifier
from saliency import changed
from saliency_tables import PRESET_METHODS

NAMES = sorted([*figures_photographs.FIGURES, *figures_films.FIGURES, "3"], key=int)


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", choices=NAMES, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the PNG")
    parser.add_argument("--images", type=Path, help="folder of images")
    parser.add_argument("--names", nargs="*", default=[], help="file names of the images; the first ones otherwise")
    parser.add_argument("--count", type=int, default=3, help="images shown")
    parser.add_argument("--confidence", type=float, default=0.6, help="least predicted probability of an image shown")
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--weights", help="state dict of a torchvision model, or download")
    parser.add_argument("--wanted", default="", help="figure 4: the class of the adversarial images")
    parser.add_argument("--run", type=Path, help="figures 5, 7, 11, 12: a finished run")
    parser.add_argument("--class", dest="class_name", default="", help="figures 5, 7, 11, 12: the class looked into")
    parser.add_argument("--data", type=Path, help="figure 3: folder with torchvision's FashionMNIST")
    parser.add_argument("--preset", choices=("default", "paper", "quick"), default="default", help="iGOS++ and I-GOS")
    parser.add_argument("--set", action="append", default=[], metavar="METHOD.OPTION=VALUE", help="as rise.masks=1000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    args = parsed(arguments)
    torch.set_num_threads(args.threads)
    options = {method: {"preset": args.preset} for method in PRESET_METHODS}
    for method, own in changed(args.set).items():
        options.setdefault(method, {}).update(own)
    if args.out.suffix.lower() != ".png":
        raise ValueError(f"--out {args.out}: expected a file name ending in .png")
    if args.figure == "3":
        figures_labels.figure_3(figures_labels.Request(args.out, args.data, options=options, seed=args.seed))
    elif args.figure in figures_films.FIGURES:
        if args.run is None:
            raise ValueError(f"--figure {args.figure}: expected --run, the folder of a finished run")
        figures_films.FIGURES[args.figure](figures_films.Request(
            args.run, args.out, args.count, args.class_name, options=options, seed=args.seed))  # fmt: skip
    else:
        if args.images is None:
            raise ValueError(f"--figure {args.figure}: expected --images, a folder of images")
        classifier = load_classifier(args.model, args.weights, args.device)
        figures_photographs.FIGURES[args.figure](figures_photographs.Request(
            classifier, args.images, args.out, args.names, args.count, args.confidence, options, args.seed,
            args.wanted))  # fmt: skip
    print(args.out)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        raise SystemExit(f"benchmarks/figures.py: {error}") from None
