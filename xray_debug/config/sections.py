"""The pipelines' YAML as typed models. Every option has a default; an unknown one is an error."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # file names that Windows keeps


class ConfigError(ValueError):
    """Pipeline files or options that cannot be used; one sentence a line, for the user."""

    fatal = True  # no single image's matter: the engine stops


Positive, Share = Annotated[int, Field(ge=1)], Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """Types are taken as they are: neither `yes` nor "1" is a number, and no number is infinite."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, strict=True, allow_inf_nan=False)


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
    train: int = Field(480, ge=12, le=1_000_000)
    test: int = Field(150, ge=6, le=1_000_000)
    size: int = Field(256, ge=96, le=8192, description="pixels, square")
    correlation: float = Field(0.95, ge=0, le=1, description="how often a marker's style follows the class")
    plant: Literal["marker", "absence", "artifact", "none"] = "marker"
    style: Literal["mixed", "bright", "faint", "rotated"] = "mixed"
    placement: Literal["class", "shared"] = Field("class", description="corners of its class, or the same for all")
    difficulty: float = Field(1.0, ge=0, le=100, description="0 easy; at 1 an honest classifier reaches 85 to 92 %")


class PrepareConfig(Section):
    format: str | None = Field(None, description="dataset format; null: the one that recognises the folder")
    train_labels: str | None = Field(None, description="label file inside the dataset, where several would fit")
    test_labels: str | None = None
    images: str | None = Field(None, description="folder that a table's paths start from; null: the table's own")
    columns: dict[str, str] = Field(
        default_factory=dict, description="of a table: path, label (or labels=A+B), patient, source, split -> its name"
    )
    finding: str | None = Field(None, description="of several findings the one that is asked for: FINDING, no FINDING")
    label_tag: str | None = Field(None, description="DICOM keyword that holds the label, for example ImageComments")
    val_fraction: float = Field(0.15, gt=0, lt=0.5)
    test_fraction: float = Field(0.2, gt=0, lt=0.8, description="cut by patient where the dataset has no test")
    only_test: bool = Field(False, description="a dataset without training images will do; so it is with a model:")
    near_duplicate_agreement: float = Field(
        0.8, gt=0, le=1, description="correlation of two aligned outlines from which images are the same picture"
    )
    extra_tests: dict[str, str] = Field(
        default_factory=dict, description="name -> folder with test/ inside the dataset"
    )


Resize = Literal["squash", "shorter+crop", "pad"]


class ViewConfig(Section):
    """What the model sees of an image: fractions cut away, then a square of `size` pixels."""

    size: int = Field(224, ge=16, le=4096)
    crop_top: float = Field(0.0, ge=0, lt=0.5)
    crop_bottom: float = Field(0.0, ge=0, lt=0.5)
    crop_left: float = Field(0.0, ge=0, lt=0.5)
    crop_right: float = Field(0.0, ge=0, lt=0.5)
    resize: Resize = Field("squash", description="how what is left becomes square; pad: black margins")
    resize_to: int = Field(0, ge=0, le=8192, description="of shorter+crop: pixels of the shorter side; 0: size")


class AugmentConfig(Section):
    rotate: float = Field(5.0, ge=0, le=180, description="degrees")
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
    learning_rate: float = Field(1e-3, gt=0, le=1000)
    weight_decay: float = Field(1e-4, ge=0, le=1000)
    balance: Literal["loss", "sampler", "none"] = "loss"
    patience: int = Field(4, ge=1, description="epochs without a better val macro-F1 before the rate is halved")
    stop_after: int = Field(12, ge=1, description="epochs without a better val macro-F1 before training stops")
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    devices: Positive | Literal["auto"] = free(1, description="GPUs (or processes on CPUs) that share one training")
    nodes: int = free(1, ge=1, description="machines that share one training; more than one inside a SLURM allocation")
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = free("auto")
    average: float = Field(0.98, ge=0, lt=1, description="decay per step of the averaged weights; 0 for none")
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = Field("auto", description="auto: the fast one")
    workers: int = free(0, ge=0, description="trainings side by side on CPUs; 0: what is done soonest")


class ModelConfig(Section):
    """A trained classifier of the user's, in place of stage train's; docs/how-to/your-model.md."""

    file: str | None = Field(None, description="state dict, safetensors, TorchScript, torch.export (.pt2) or ONNX")
    factory: str | None = Field(
        None, description="module:function or FILE.py:function giving a model or (model, preprocess); it is run"
    )
    arch: str | None = Field(None, description="of a state dict: covidnet, covidnext50 or a torchvision classifier")
    classes: list[str] = Field(description="names in the order of the outputs; for one logit: negative, positive")
    size: int = Field(224, ge=16, le=4096, description="pixels of the square that the model takes")
    resize: Resize = "squash"
    resize_to: int = Field(0, ge=0, le=8192, description="of shorter+crop: pixels of the shorter side; 0: size")
    normalise: Literal["imagenet", "unit", "symmetric", "gray", "torchxrayvision", "none"] = Field(
        "imagenet",
        description="unit: [0, 1]; symmetric: [-1, 1]; torchxrayvision: [-1024, 1024]; none: [0, 255]; imagenet and "
        "gray: less a mean, by a deviation",
    )
    mean: list[float] | None = Field(None, description="of your own, of values in [0, 1], one for each channel")
    std: list[float] | None = None
    channels: Literal[1, 3] = 3
    output: Literal["softmax", "sigmoid", "logit", "probabilities"] = Field(
        "softmax", description="softmax: a logit for each class; sigmoid: one for each finding; logit: a single one"
    )
    findings: list[str] = Field(
        default_factory=list, description="audited one by one, each as has it or has not; several: a run for each"
    )
    labels: dict[str, str | None] = Field(
        default_factory=dict, description="label of the dataset -> the model's class; null leaves its images out"
    )
    held: str | None = Field(None, description="of a model given in Python")
    anyway: bool = free(False, "go on with a model that does no better than chance")

    @model_validator(mode="after")
    def _whole(self) -> ModelConfig:
        if len(set(self.classes)) != len(self.classes) or not all(self.classes):
            raise ValueError(f"expected different names in classes, got {self.classes}")
        if (self.mean is None) != (self.std is None):
            raise ValueError("expected mean and std together")
        for values in (self.mean, self.std):
            if values is not None and len(values) != self.channels:
                raise ValueError(f"expected {self.channels} numbers in mean and std, one for each channel")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("expected positive numbers in std")
        if self.resize_to and (self.resize != "shorter+crop" or self.resize_to < self.size):
            raise ValueError("expected resize_to of at least size, and with resize: shorter+crop alone")
        return self

    @property
    def finding(self) -> str | None:
        """The one finding of this run."""
        return self.findings[0] if self.findings else None


class ExplainConfig(Section):
    method: str = "igos_pp"
    select: str = Field("predicted:COVID-19", description="predicted:CLASS, label:CLASS, wrong, or all (test images)")
    max_cases: int | None = Field(None, ge=1)
    mask_size: int = Field(28, ge=2, le=4096)
    options: dict[str, float | int | str | bool | None] = Field(default_factory=dict, description="of the method")
    sanity_cases: int = Field(8, ge=0, description="cases, spread, whose explanations are put to the sanity checks")
    batch_size: int = free(8, ge=1)


class DetectConfig(Section):
    detector: str = Field("craft-lite", description="craft-lite, craft, ppocr, or one of another package")
    second: str | None = Field("auto", description="independent reader of cleaned images; auto: craft where its "
                               "weights are, else ppocr; null for none")
    second_images: int | None = Field(None, ge=1, description="how many cleaned images it reads, spread; null for all")
    recall_images: int = Field(60, ge=0, description="originals that it reads, spread, to tell what it sees of text")
    weights: str | None = Field(None, description="a weight file of the detector; null: its own")
    options: dict[str, float | int | str | bool | None] = Field(default_factory=dict)
    batch_size: int = free(8, ge=1)


class AuditConfig(Section):
    max_cases: int | None = Field(None, ge=1, description="test images audited, stratified; null for all")
    controls: int = Field(4, ge=1, le=1000, description="matched control placements per case")
    shares: list[Share] = Field(default_factory=lambda: [0.01, 0.02, 0.04, 0.06, 0.12, 0.25])
    swaps: int = Field(2, ge=0, le=1000, description="markers of other images pasted into each case")
    regions: str | None = Field(None, description="folder of masks or table of boxes: further regions to test")
    look: Literal["screened", "all", "off"] = Field(
        "screened", description="brightness, sharpness, noise ... moved to what is typical of other classes: the three "
        "that tell classes apart best, all seven, or none"
    )
    laterality: bool = Field(True, description="mirror the film, and move its marker to the other side")
    features: bool = Field(True, description="also what the model's features tell of the source, the attributes and "
                           "the look of the film: a suspicion, a part of no verdict")
    clusters: bool = Field(
        True, description="look for kinds of saliency maps, and for groups of images with many errors: suspicions"
    )
    min_effect: float = Field(0.1, ge=0, le=1, description="smallest change of probability worth a flag")
    level: float = Field(0.95, gt=0.5, lt=1)
    permutations: int = Field(500, ge=50, le=1_000_000)
    batch_size: int = free(64, ge=1)

    @field_validator("look", mode="before")
    @classmethod
    def _off(cls, look: object) -> object:
        """YAML reads the word off, without quotes, as false."""
        return "off" if look is False else look


class CleanConfig(Section):
    method: Literal["telea", "ns"] = "telea"
    radius: int = Field(10, ge=1, le=1000)
    dilation: float = Field(
        0.1, ge=0, le=10, description="growth of each box, fraction of its shorter side; docs/cleaning.md"
    )
    min_dilation: int = Field(2, ge=0, le=1000, description="pixels")
    shape: Literal["box", "letters"] = "box"
    lossy: Literal["png", "jpeg"] = Field(
        "png", description="what lossy images become, changed or not: PNG, or JPEG at the source's quality"
    )
    kinds: list[str] = Field(["text"], min_length=1, description="of the boxes that are erased: text, device")
    keep: Literal["laterality"] | None = Field(
        None, description="laterality: a lone R or L stays, as rapidocr (extra ppocr) reads it; null: all text goes"
    )
    control: bool = Field(True, description="also write the control cleaning: same boxes moved to text-free places")


class RetrainConfig(Section):
    command: list[str] | str | None = Field(
        None, description="trains a given model anew: {data} a dataset's folder, {out} the file to write, {seed}"
    )
    leave_sources_out: bool = Field(
        False, description="also train without each source that holds several classes, and test on that source"
    )
    repairs: list[str] = Field(
        default_factory=list,
        description="further rows of the 2x2, audited again: dfr, reweight, group_dro, paste, clean+dfr, ...; "
        "docs/repairs.md",
    )
    groups: str = Field(
        "marker", pattern="^(marker|source|attr_.+)$",
        description="what repairs balance in each class: marker (what the text says to the model), source, attr_NAME",
    )  # fmt: skip
    audit_cases: int | None = Field(
        150, ge=1, description="audited cases on which each repaired model is audited again; null for all"
    )


class ReportConfig(Section):
    max_flagged: int = Field(24, ge=1, description="flagged cases shown with pictures")
    bootstrap: int = Field(2000, ge=100, le=1_000_000, description="resamples behind intervals of scores")


class PipelineConfig(Section):
    name: str = Field("run", description="of the run's folder below runs/")
    seed: int = 0
    seeds: list[int] | None = Field(None, description="seeds of train and retrain; null: [seed]")
    data: str | None = Field(None, description="COVIDx folder; null with a phantom section: the synthetic one")
    device: str = free("auto", "auto, cpu, cuda, ...")
    engine: EngineConfig = Field(default_factory=EngineConfig)
    phantom: PhantomConfig | None = None
    model: ModelConfig | None = Field(None, description="your own trained model: stage train then only scores it")
    prepare: PrepareConfig = Field(default_factory=PrepareConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    explain: ExplainConfig = Field(default_factory=ExplainConfig)
    detect: DetectConfig = Field(default_factory=DetectConfig)
    audit: AuditConfig = Field(default_factory=AuditConfig)
    clean: CleanConfig = Field(default_factory=CleanConfig)
    retrain: RetrainConfig = Field(default_factory=RetrainConfig)
    report: ReportConfig = Field(default_factory=ReportConfig)

    @field_validator("name")
    @classmethod
    def _one_folder(cls, name: str) -> str:
        """A folder's name on any system, and no path."""
        odd = not name.isprintable() or any(c in '/\\:*?"<>|' for c in name) or name[:1] in (".", "~", "-", " ", "")
        if odd or name[-1] in ". " or len(name.encode()) > 100 or RESERVED.fullmatch(name):
            raise ValueError("expected one plain folder name, of at most 100 bytes")
        return name

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: list[int] | None) -> list[int] | None:
        if seeds is not None and len(set(seeds)) < len(seeds):
            raise ValueError("expected different seeds")
        return seeds

    @property
    def all_seeds(self) -> list[int]:
        return self.seeds or [self.seed]

    @property
    def view(self) -> ViewConfig:
        """What the model of this run sees of an image."""
        if self.model is None:
            return self.train.view
        crops = {name: getattr(self.train.view, name) for name in ViewConfig.model_fields if name.startswith("crop_")}
        return ViewConfig(size=self.model.size, resize=self.model.resize, resize_to=self.model.resize_to, **crops)
