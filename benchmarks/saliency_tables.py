"""The tables of the iGOS++ paper (arXiv 2012.15783) as data: rows, columns, its figures, and how ours are measured.

A cell without a method is one that this project cannot fill: the paper's figure stands alone. Options are changes to
the preset that the tables are run with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

PRESET_METHODS = ("igos", "igos_pp")  # the methods that --preset applies to


@dataclass(frozen=True)
class Cell:
    """One figure: the paper's, and the method, options, mask size and field of ours."""

    paper: float | str | None = None
    method: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    mask_size: int = 28
    field: str = "deletion"


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]
    network: str = ""  # of the paper
    images: int = 5000  # of the paper
    note: str = ""

    def cells(self) -> list[Cell]:
        """Those that are measured."""
        return [cell for _, cells in self.rows for cell in cells if cell is not None and cell.method]


def _scores(method: str | None, figures: Sequence[float | None], sizes: Sequence[int], options=None) -> tuple:
    """Deletion and insertion at each size; None where the paper has no figure."""
    cells: list[Cell | None] = []
    for number, size in enumerate(sizes):
        own = options(size) if callable(options) else dict(options or {})
        for place, name in enumerate(("deletion", "insertion")):
            figure = figures[2 * number + place]
            cells.append(None if figure is None else Cell(figure, method, own, size, name))
    return tuple(cells)


def _columns(sizes: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"{name}, {size} x {size}" for size in sizes for name in ("deletion", "insertion"))


def _methods(sizes: Sequence[int], figures: dict[str, Sequence[float | None]], masks: int) -> tuple:
    """Rows of tables 1 and 2. RISE's masks are drawn at 7 x 7 and enlarged, as the paper says."""
    own = {
        "Grad-CAM": ("gradcam", {}), "Integrated gradients": ("integrated_gradients", {}),
        "RISE": ("rise", {"masks": masks}), "Mask": ("mask_perturbation", {}), "I-GOS": ("igos", {}),
        "iGOS++": ("igos_pp", {}),
    }  # fmt: skip
    return tuple((name, _scores(own[name][0], figures[name], sizes, own[name][1])) for name in own)


NOTHING = (None,) * 2
TABLE_1 = Table(
    "Table 1: deletion (lower is better) and insertion (higher is better)",
    _columns((224, 28, 7)),
    _methods((224, 28, 7), {
        "Grad-CAM": (*NOTHING, *NOTHING, 0.1675, 0.6521),
        "Integrated gradients": (0.0907, 0.2921, *NOTHING, *NOTHING),
        "RISE": (0.1196, 0.5637, *NOTHING, *NOTHING),
        "Mask": (0.0468, 0.4962, 0.1151, 0.5559, 0.2259, 0.6003),
        "I-GOS": (0.0420, 0.5846, 0.1059, 0.5986, 0.1607, 0.6632),
        "iGOS++": (0.0328, 0.7261, 0.0929, 0.7284, 0.1810, 0.7332),
    }, masks=8000),
    "resnet50",
)  # fmt: skip
TABLE_2 = Table(
    "Table 2: deletion and insertion, second network",
    _columns((224, 28, 14)),
    _methods((224, 28, 14), {
        "Grad-CAM": (*NOTHING, *NOTHING, 0.1527, 0.5938),
        "Integrated gradients": (0.0663, 0.2551, *NOTHING, *NOTHING),
        "RISE": (0.1082, 0.5139, *NOTHING, *NOTHING),
        "Mask": (0.0482, 0.4158, 0.1056, 0.5335, 0.1753, 0.5647),
        "I-GOS": (0.0336, 0.5246, 0.0899, 0.5701, 0.1213, 0.6387),
        "iGOS++": (0.0344, 0.6537, 0.0796, 0.7066, 0.1123, 0.7061),
    }, masks=4000),
    "vgg19",
)  # fmt: skip

# one step for all iterations: the median of what line search takes on images that are not in the tables
FIXED_STEP = {28: 8.0, 224: 40.0}


def _fixed(size: int) -> dict:
    return {"optimiser": "fixed", "rate": FIXED_STEP[size]}


TABLE_3 = Table(
    "Table 3: ablation",
    _columns((224, 28)),
    tuple((name, _scores(method, figures, (224, 28), options)) for name, method, options, figures in (
        ("I-GOS", "igos", {}, (0.0420, 0.5846, 0.1059, 0.5986)),
        ("Insertion", "igos", {"variant": "insertion"}, (0.0760, 0.6192, 0.1321, 0.7231)),
        ("I-GOS + insertion (naive)", "igos", {"variant": "single"}, (0.0322, 0.6175, 0.2037, 0.5103)),
        ("iGOS++ (no noise)", "igos_pp", {"noise": 0.0}, (0.0490, 0.5943, 0.0904, 0.7108)),
        ("iGOS++ (fixed step size)", "igos_pp", _fixed, (0.0332, 0.5695, 0.1052, 0.7060)),
        ("iGOS++ (no BTV)", "igos_pp", {"bilateral": False}, (0.0245, 0.6742, 0.0813, 0.6825)),
        ("iGOS++", "igos_pp", {}, (0.0328, 0.7261, 0.0929, 0.7284)),
    )),
    "resnet50",
    note="Insertion: I-GOS with the insertion term in place of the deletion term; naive: one mask with both terms.",
)  # fmt: skip


def _mask_row(part: str, figures: Sequence[float]) -> tuple[Cell, ...]:
    places = [(size, score) for size in (224, 28) for score in ("deletion", "insertion")]
    return tuple(Cell(figure, "igos_pp", {}, size, score + part)
                 for figure, (size, score) in zip(figures, places, strict=True))  # fmt: skip


TABLE_5 = Table(
    "Table 5: the masks of iGOS++ by themselves",
    _columns((224, 28)),
    (
        ("Mx", _mask_row("_x", (0.0268, 0.5008, 0.1011, 0.5536))),
        ("My", _mask_row("_y", (0.0594, 0.7184, 0.1788, 0.6912))),
        ("Mxy (iGOS++)", _mask_row("", (0.0328, 0.7261, 0.0929, 0.7332))),
    ),
    "resnet50",
)


def _seconds(size: int, *figures: float | str | None) -> tuple[Cell | None, ...]:
    methods = (("igos_pp", {}), ("igos", {}), ("mask_perturbation", {}), ("rise", {"masks": 8000}), ("gradient", {}))
    return tuple(None if figure is None else Cell(figure, name, own, size, "seconds")
                 for (name, own), figure in zip(methods, figures, strict=True))  # fmt: skip


TABLE_6 = Table(
    "Table 6: running time, seconds an image",
    ("iGOS++", "I-GOS", "Mask", "RISE", "gradient-based"),
    (("28 x 28", _seconds(28, 16.67, 1.50, 14.66, None, None)),
     ("224 x 224", _seconds(224, 12.25, 1.48, 17.03, 61.77, "< 1"))),
    "resnet50",
    note="The paper: GeForce GTX 1080 Ti and 8 CPU cores. Ours: seconds of the processor, or of the clock on a GPU.",
)  # fmt: skip

LAMBDAS = ((1.0, 2.0), (1.0, 20.0), (10.0, 20.0), (10.0, 200.0))


def _losses(method: str, options: dict, figures: Sequence[float]) -> tuple[Cell, ...]:
    return tuple(Cell(figure, method, {**options, "area_weight": area, "smooth_weight": smooth}, 28, "loss")
                 for figure, (area, smooth) in zip(figures, LAMBDAS, strict=True))  # fmt: skip


TABLE_7 = Table(
    "Table 7: deletion less insertion score at the final mask, f(M) - f(1 - M), 28 x 28",
    tuple(f"lambda1 = {area:g}, lambda2 = {smooth:g}" for area, smooth in LAMBDAS),
    (
        ("I-GOS + insertion (naive)", _losses("igos", {"variant": "single"}, (-0.869, -0.374, 0.346, 0.693))),
        ("iGOS++", _losses("igos_pp", {}, (-0.971, -0.649, 0.158, 0.654))),
    ),
    "resnet50",
    images=500,
)

FIGURES = ("deletion", "insertion", "objective", "forward", "backward", "seconds")


def _own(title: str, rows: Sequence[tuple[str, str, dict]], size: int) -> Table:
    """A table of this project's own: every figure of each row, nothing of the paper's."""
    return Table(title, FIGURES, tuple((name, tuple(Cell(None, method, own, size, figure) for figure in FIGURES))
                                       for name, method, own in rows))  # fmt: skip


PAPER = {"preset": "paper"}
METHOD_ROWS = (
    ("igos_pp", "igos_pp", {}),
    ("igos_pp paper", "igos_pp", PAPER),
    ("igos", "igos", {}),
    ("igos paper", "igos", PAPER),
    ("mask_perturbation", "mask_perturbation", {}),
    ("rise", "rise", {"masks": 1000}),
    ("integrated_gradients", "integrated_gradients", {}),
    ("gradcam", "gradcam", {}),
    ("gradient", "gradient", {}),
)
SPEED_ROWS = (
    ("paper", "igos_pp", PAPER),
    ("warm line search", "igos_pp", PAPER | {"optimiser": "warm_line_search"}),
    ("warm, 5 stratified points", "igos_pp",
     PAPER | {"optimiser": "warm_line_search", "integration_steps": 5, "points": "stratified"}),
    ("paths only, 3 points, 15 iterations", "igos_pp",
     {"integration_steps": 3, "iterations": 15, "end_iterations": 0}),
    ("ends only, 22 iterations", "igos_pp", {"iterations": 22, "end_iterations": 22}),
    ("quick", "igos_pp", {"preset": "quick"}),
    ("default", "igos_pp", {}),
)  # fmt: skip

PAPER_TABLES = {"1": TABLE_1, "2": TABLE_2, "3": TABLE_3, "5": TABLE_5, "6": TABLE_6, "7": TABLE_7}
NAMES = (*PAPER_TABLES, "methods", "speed")


def table_named(name: str, mask_size: int = 28) -> Table:
    """`mask_size` is that of the project's own tables, methods and speed; the paper's have their own sizes."""
    if name == "methods":
        return _own("All methods", METHOD_ROWS, mask_size)
    if name == "speed":
        return _own("Each idea for speed by itself", SPEED_ROWS, mask_size)
    return PAPER_TABLES[name]
