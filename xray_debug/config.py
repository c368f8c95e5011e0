"""The pipelines' YAML as typed models. Every option has a default; an unknown one is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError


class ConfigError(ValueError):
    """A pipeline file or option that cannot be used; the message is one sentence for the user."""

    fatal = True  # no single image's matter: the engine stops


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)


def free(default, description: str = "", **limits):
    """An option that changes how the work is done and not what comes out: it is in no fingerprint."""
    return Field(default, description=description, json_schema_extra={"result": False}, **limits)


class EngineConfig(Section):
    """Who does the work on many images."""

    engine: Literal["local", "ray"] = free("local", "this machine, or Ray (the extra ray)")
    workers: int = free(0, "single-threaded workers side by side; 0: one a core", ge=0)
    processes: bool = free(False, "processes in place of threads (local): worth it from about 8 cores on")
    address: str | None = free(None, "of a Ray cluster; null starts one on this machine")


class PhantomConfig(Section):
    """A synthetic COVIDx (xray_debug.phantom). Counts are images over all three classes."""

    train: int = Field(480, ge=12)
    test: int = Field(150, ge=6)
    size: int = Field(256, ge=96, description="pixels, square")
    correlation: float = Field(0.95, ge=0, le=1, description="how often a marker's style follows the class")
    plant: Literal["marker", "absence", "artifact", "none"] = "marker"
    style: Literal["mixed", "bright", "faint", "rotated"] = "mixed"
    placement: Literal["class", "shared"] = Field("class", description="corners of its class, or the same for all")
    difficulty: float = Field(1.0, ge=0, description="0 easy, 1 an honest classifier reaches about 85 to 92 percent")


class PrepareConfig(Section):
    format: str | None = Field(None, description="dataset format; null: the one that recognises the folder")
    train_labels: str | None = Field(None, description="label file inside the dataset, where several would fit")
    test_labels: str | None = None
    val_fraction: float = Field(0.15, gt=0, lt=0.5)
    near_duplicate_agreement: float = Field(
        0.8, gt=0, le=1, description="correlation of two aligned outlines from which images are the same picture"
    )
    extra_tests: dict[str, str] = Field(
        default_factory=dict, description="name -> folder with test/ inside the dataset"
    )


class ViewConfig(Section):
    """What the model sees of an image: fractions cut away, then a square of `size` pixels."""

    size: int = Field(224, ge=16)
    crop_top: float = Field(0.0, ge=0, lt=0.5)
    crop_bottom: float = Field(0.0, ge=0, lt=0.5)
    crop_left: float = Field(0.0, ge=0, lt=0.5)
    crop_right: float = Field(0.0, ge=0, lt=0.5)


class AugmentConfig(Section):
    rotate: float = Field(5.0, ge=0, description="degrees")
    translate: float = Field(0.05, ge=0, le=0.5, description="fraction of the side")
    scale: float = Field(0.05, ge=0, le=0.5)
    brightness: float = Field(0.1, ge=0, le=1)
    contrast: float = Field(0.1, ge=0, le=1)
    flip: bool = Field(False, description="off by default: it mirrors the R and L markers")


class TrainConfig(Section):
    model: str = Field("covidnet", description="covidnet, covidnext50 or a torchvision classifier's name")
    model_options: dict[str, float | int | str | bool] = Field(default_factory=dict)
    pretrained: bool = Field(False, description="ImageNet weights through torchvision; downloads, so only when asked")
    view: ViewConfig = Field(default_factory=ViewConfig)
    epochs: int = Field(30, ge=1)
    batch_size: int = Field(32, ge=1, description="images a step, over all devices together")
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    balance: Literal["loss", "sampler", "none"] = "loss"
    patience: int = Field(4, ge=1, description="epochs without a better val macro-F1 before the rate is halved")
    stop_after: int = Field(12, ge=1, description="epochs without a better val macro-F1 before training stops")
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    devices: int | Literal["auto"] = free(1, description="GPUs (or processes on CPUs) that share one training")
    nodes: int = free(1, ge=1, description="machines that share one training; more than one inside a SLURM allocation")
    accelerator: str = free("auto")
    average: float = Field(0.98, ge=0, lt=1, description="decay per step of the averaged weights; 0 for none")
    precision: str = Field("auto", description="auto: what the machine does fast; 32-true, bf16-mixed, 16-mixed")
    workers: int = free(0, ge=0, description="trainings side by side on CPUs; 0: what is done soonest")


class ExplainConfig(Section):
    method: str = "igos_pp"
    select: str = Field("predicted:COVID-19", description="predicted:CLASS, label:CLASS, wrong, or all (test images)")
    max_cases: int | None = Field(None, ge=1)
    mask_size: int = Field(28, ge=2)
    options: dict[str, float | int | str | bool | None] = Field(
        default_factory=dict, description="passed to the method"
    )
    batch_size: int = free(8, ge=1)


class DetectConfig(Section):
    detector: str = Field("craft-lite", description="craft-lite, craft, ppocr, or one of another package")
    second: str | None = Field("ppocr", description="independent reader of the cleaned images; null for none")
    second_images: int | None = Field(None, ge=1, description="how many cleaned images it reads, spread; null for all")
    weights: str | None = Field(None, description="a weight file of the detector; null: its own")
    options: dict[str, float | int | str | bool | None] = Field(default_factory=dict)
    batch_size: int = free(8, ge=1)


class AuditConfig(Section):
    max_cases: int | None = Field(None, ge=1, description="test images audited, stratified; null for all")
    controls: int = Field(4, ge=1, description="matched control placements per case")
    shares: list[float] = Field(default_factory=lambda: [0.01, 0.02, 0.04, 0.06, 0.12, 0.25])
    swaps: int = Field(2, ge=0, description="markers of other images pasted into each case")
    regions: str | None = Field(None, description="folder of masks or table of boxes: further regions to test")
    min_effect: float = Field(0.1, ge=0, le=1, description="smallest change of probability worth a flag")
    level: float = Field(0.95, gt=0.5, lt=1)
    permutations: int = Field(500, ge=50)
    batch_size: int = free(64, ge=1)


class CleanConfig(Section):
    method: Literal["telea", "ns"] = "telea"
    radius: int = Field(10, ge=1)
    dilation: float = Field(0.1, ge=0, description="growth of each box, fraction of its shorter side; docs/cleaning.md")
    min_dilation: int = Field(2, ge=0, description="pixels")
    shape: Literal["box", "letters"] = "box"
    lossy: Literal["png", "jpeg"] = Field("png", description="what a changed lossy image becomes")
    control: bool = Field(True, description="also write the control cleaning: same boxes moved to text-free places")


class RetrainConfig(Section):
    leave_sources_out: bool = Field(
        False, description="also train without each source that holds several classes, and test on that source"
    )


class ReportConfig(Section):
    max_flagged: int = Field(24, ge=1, description="flagged cases shown with pictures")
    bootstrap: int = Field(2000, ge=100, description="resamples behind the intervals of scores, in metrics.json too")


class PipelineConfig(Section):
    name: str = "run"
    seed: int = 0
    seeds: list[int] | None = Field(None, description="seeds of train and retrain; null: [seed]")
    data: str | None = Field(None, description="COVIDx folder; null with a phantom section: the synthetic one")
    device: str = free("auto", "auto, cpu, cuda, ...")
    engine: EngineConfig = Field(default_factory=EngineConfig)
    phantom: PhantomConfig | None = None
    prepare: PrepareConfig = Field(default_factory=PrepareConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    explain: ExplainConfig = Field(default_factory=ExplainConfig)
    detect: DetectConfig = Field(default_factory=DetectConfig)
    audit: AuditConfig = Field(default_factory=AuditConfig)
    clean: CleanConfig = Field(default_factory=CleanConfig)
    retrain: RetrainConfig = Field(default_factory=RetrainConfig)
    report: ReportConfig = Field(default_factory=ReportConfig)

    @property
    def all_seeds(self) -> list[int]:
        return self.seeds or [self.seed]


def _sentence(error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    option = ".".join(str(part) for part in first["loc"]) or "the file"
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown option {option}"
    return f"{where}: {option}: {first['msg']}, got {first['input']!r}"


def parse_config(values: dict, where: str = "pipeline") -> PipelineConfig:
    """A checked configuration, or a ConfigError naming the option, what was expected and what came."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected a mapping of options, got {type(values).__name__}")
    try:
        return PipelineConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_sentence(error, where)) from error


def override(values: dict, assignments: list[str]) -> dict:
    """`values` with each `a.b=value` applied; the value is read as YAML."""
    result = yaml.safe_load(yaml.safe_dump(values)) or {}
    for text in assignments:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise ConfigError(f"--set {text}: expected a.b=value")
        *parents, last = key.strip().split(".")
        node = result
        for parent in parents:
            node = node.setdefault(parent, {}) if isinstance(node.get(parent, {}), dict) else None
            if node is None:
                raise ConfigError(f"--set {text}: {parent} is not a section")
        try:
            node[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {text}: the value is not YAML") from error
    return result


def load_config(path: str | Path, assignments: list[str] = ()) -> PipelineConfig:
    """The pipeline in `path` with `--set` assignments applied."""
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such pipeline file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a YAML file: {str(error).splitlines()[0]}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of options, got {type(values).__name__}")
    return parse_config(override(values, list(assignments)), str(path))


def save_config(config: PipelineConfig, path: str | Path) -> None:
    partial = Path(path).with_name(Path(path).name + ".partial")
    partial.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    partial.replace(path)
