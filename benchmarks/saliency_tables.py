"""The rows of each table that benchmarks/saliency.py can measure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    name: str
    method: str
    options: dict = field(default_factory=dict)
    mask_size: int | None = None


@dataclass(frozen=True)
class Table:
    title: str
    rows: tuple[Row, ...]


def _rows(*rows: tuple) -> tuple[Row, ...]:
    return tuple(Row(*row) for row in rows)


RIVALS = _rows(
    ("igos_pp", "igos_pp"),
    ("igos_pp paper", "igos_pp", {"paper": True}),
    ("igos", "igos", {"paper": True}),
    ("mask_perturbation", "mask_perturbation"),
    ("rise", "rise", {"masks": 1000}),
    ("integrated_gradients", "integrated_gradients"),
    ("gradcam", "gradcam"),
    ("gradient", "gradient"),
)
PAPER = {"paper": True}
ABLATION = _rows(
    ("full", "igos_pp", PAPER),
    ("fixed step", "igos_pp", PAPER | {"optimiser": "fixed"}),
    ("nesterov", "igos_pp", PAPER | {"optimiser": "nesterov"}),
    ("no noise", "igos_pp", PAPER | {"noise": 0.0}),
    ("plain TV", "igos_pp", PAPER | {"bilateral": False}),
    ("insertion only", "igos_pp", PAPER | {"variant": "insertion"}),
    ("deletion only", "igos_pp", PAPER | {"variant": "deletion"}),
    ("naive I-GOS + insertion", "igos_pp", PAPER | {"variant": "naive"}),
    ("one mask", "igos_pp", PAPER | {"variant": "single"}),
)
SIZES = tuple(
    Row(f"{method} {size}", method, {"paper": True} if method.startswith("igos") else {}, size)
    for size in (28, 56, 112, 224)
    for method in ("igos_pp", "igos", "mask_perturbation")
)
SPEED = _rows(
    ("paper", "igos_pp", PAPER),
    ("warm line search", "igos_pp", PAPER | {"optimiser": "warm_line_search"}),
    ("warm, 5 stratified points", "igos_pp",
     PAPER | {"optimiser": "warm_line_search", "integration_steps": 5, "points": "stratified"}),
    ("paths only, 3 points, 15 iterations", "igos_pp",
     {"integration_steps": 3, "iterations": 15, "end_iterations": 0}),
    ("ends only, 22 iterations", "igos_pp", {"iterations": 22, "end_iterations": 22}),
    ("quick", "igos_pp", {"preset": "quick"}),
    ("default", "igos_pp"),
)  # fmt: skip

TABLES: dict[str, Table] = {
    "methods": Table("All methods", RIVALS),
    "speed": Table("Each idea for speed by itself", SPEED),
    "1": Table("Table 1: methods at one mask size, first network", RIVALS),
    "2": Table("Table 2: methods at one mask size, second network (give it as --model)", RIVALS),
    "3": Table("Table 3: ablation", ABLATION),
    "5": Table("Table 5: mask sizes", SIZES),
    "6": Table("Table 6: ablation at the given mask size, second network", ABLATION),
    "7": Table("Table 7: time and passes", RIVALS),
}
