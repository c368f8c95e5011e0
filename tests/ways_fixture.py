"""A stand-in for xray-debug, so that the pages that start it are tested without torch: it says what the tests want.

    python -m ways_fixture --json-lines demo ...
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

METHODS = (("gradcam", []), ("igos_pp", ["default", "paper", "quick"]))


def line(**values) -> None:
    print(json.dumps(values), flush=True)


def end(status: int) -> None:
    line(exit=status)
    sys.exit(status)


def after(option: str) -> str:
    return sys.argv[sys.argv.index(option) + 1]


def explain_image() -> None:
    """Explains what is a whole image; else it says what the program would."""
    from xray_debug.data.explanation import write_explanation
    from xray_debug.data.images import Film, GreyWindow, ImageError, ModelView, read_film

    film = Path(sys.argv[-1])
    try:
        read_film(film)
    except ImageError as error:
        line(error=str(error))
        end(2)
    line(doing="igos_pp", done=12, total=12)
    curve = np.linspace(1, 0, 5)
    row = {"target": "pneumonia", "probability": 1.0, "method": after("--method"), "mask_size": 4, "deletion": 0.5,
           "insertion": 0.5, "hardly_moved": False, "saliency": np.eye(4, dtype=np.float32), "deletion_curve": curve,
           "insertion_curve": curve[::-1]}  # fmt: skip
    pixels = Film(np.full((40, 60), 90, np.uint8), GreyWindow())
    Path(after("--out")).write_bytes(b"picture")
    write_explanation(Path(after("--data")), film.name, pixels, ModelView(32), row, classes=["normal", "pneumonia"],
                      probabilities=[0.0, 1.0], seconds=1.5)  # fmt: skip


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: end(143))
    command = sys.argv[2]
    with Path(os.environ["WAYS_CALLS"]).open("a") as file:
        file.write(json.dumps(sys.argv[2:]) + "\n")
    if command == "methods":
        for name, presets in METHODS:
            line(method=name, help=f"what {name} is", presets=presets)
    elif command == "explain-image":
        explain_image()
    elif os.environ.get("WAYS_FAILS"):
        line(error=os.environ["WAYS_FAILS"])
        end(2)
    else:
        line(doing="write the cleaned images", done=3, total=12)
        line(say="3 <b>images</b> so far")
        while not Path(os.environ["WAYS_CALLS"]).with_name("go").exists():
            time.sleep(0.02)
        line(say="12 images")
    end(0)


if __name__ == "__main__":
    main()
