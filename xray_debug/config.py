"""The pipelines' YAML as typed models. Every option has a default; an unknown one is an error."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

LARGEST = 2**53  # of any number: beyond it a float no longer tells whole numbers apart
MOST_BYTES, DEEPEST = 1 << 20, 20  # of a pipeline file, and of sections within sections
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
    near_duplicate_agreement: float = Field(
        0.8, gt=0, le=1, description="correlation of two aligned outlines from which images are the same picture"
    )
    extra_tests: dict[str, str] = Field(
        default_factory=dict, description="name -> folder with test/ inside the dataset"
    )


class ViewConfig(Section):
    """What the model sees of an image: fractions cut away, then a square of `size` pixels."""

    size: int = Field(224, ge=16, le=4096)
    crop_top: float = Field(0.0, ge=0, lt=0.5)
    crop_bottom: float = Field(0.0, ge=0, lt=0.5)
    crop_left: float = Field(0.0, ge=0, lt=0.5)
    crop_right: float = Field(0.0, ge=0, lt=0.5)


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
    second: str | None = Field("ppocr", description="independent reader of the cleaned images; null for none")
    second_images: int | None = Field(None, ge=1, description="how many cleaned images it reads, spread; null for all")
    weights: str | None = Field(None, description="a weight file of the detector; null: its own")
    options: dict[str, float | int | str | bool | None] = Field(default_factory=dict)
    batch_size: int = free(8, ge=1)


class AuditConfig(Section):
    max_cases: int | None = Field(None, ge=1, description="test images audited, stratified; null for all")
    controls: int = Field(4, ge=1, le=1000, description="matched control placements per case")
    shares: list[Share] = Field(default_factory=lambda: [0.01, 0.02, 0.04, 0.06, 0.12, 0.25])
    swaps: int = Field(2, ge=0, le=1000, description="markers of other images pasted into each case")
    regions: str | None = Field(None, description="folder of masks or table of boxes: further regions to test")
    min_effect: float = Field(0.1, ge=0, le=1, description="smallest change of probability worth a flag")
    level: float = Field(0.95, gt=0.5, lt=1)
    permutations: int = Field(500, ge=50, le=1_000_000)
    batch_size: int = free(64, ge=1)


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
    control: bool = Field(True, description="also write the control cleaning: same boxes moved to text-free places")


class RetrainConfig(Section):
    leave_sources_out: bool = Field(
        False, description="also train without each source that holds several classes, and test on that source"
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


# ---------------------------------------------------------------------------------------------------- YAML


class Loader(yaml.SafeLoader):
    """YAML of options: no key twice, no aliases, numbers as YAML 1.2 has them (1e-3 is one, 1:30 and 010 are not)."""

    depth = 0

    def compose_node(self, parent, index):
        mark = self.peek_event().start_mark
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not taken here", mark)
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"more than {DEEPEST} levels deep", mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node, deep=False):
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "<< is not taken here", key.start_mark)
            if isinstance(key.value, str) and key.value in seen:
                said = f"{key.value!r} is given twice, in line {seen[key.value]} and here"
                raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
            seen[str(key.value)] = line
        return super().construct_mapping(node, deep)


class Dumper(yaml.SafeDumper):
    """Writes what Loader reads back as the same; never an alias."""

    def ignore_aliases(self, data) -> bool:
        return True


def _plain_number(loader: Loader, node: yaml.ScalarNode) -> int | str:
    text = node.value
    return int(text) if len(text) < 400 else text  # a longer one is told of as the text it is


def _text(dumper: Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


Dumper.add_representer(str, _text)


def _number_rules() -> None:
    numbers = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp"}
    rules = {first: [(tag, pattern) for tag, pattern in found if tag not in numbers]
             for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()}  # fmt: skip
    for cls in (Loader, Dumper):
        cls.yaml_implicit_resolvers = {first: list(found) for first, found in rules.items()}
        cls.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9]*)\Z"), list("-+0123456789"))
        cls.add_implicit_resolver(
            "tag:yaml.org,2002:float",
            re.compile(r"(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?"
                       r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"),
            list("-+0123456789."),
        )  # fmt: skip
    Loader.add_constructor("tag:yaml.org,2002:int", _plain_number)


_number_rules()


def read_yaml(text: str, where: str) -> Any:
    """The value in a YAML text. ConfigError says what is wrong, and in which line."""
    try:
        return yaml.load(text, Loader)  # noqa: S506  a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{where}: not a YAML file of options{line}: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not a YAML file of options: {str(error).splitlines()[0]}") from error


# ---------------------------------------------------------------------------------------------------- options


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


UNION = ("int", "constrained-int", "float", "str", "bool", "literal['auto']")  # its members, as pydantic calls them


def _faults(error: ValidationError, where: str) -> list[str]:
    """One sentence for each option; the choices of a union are told together."""
    told: dict[str, tuple[str, Any]] = {}
    for found in error.errors():
        loc = [str(part) for part in found["loc"]]
        if found["type"] != "extra_forbidden" and loc and loc[-1] in UNION:
            loc = loc[:-1]
        option = ".".join(loc) or "the file"
        message = found["msg"].removeprefix("Value error, ")
        if found["type"] == "extra_forbidden":
            message = "unknown option"
        elif option in told:
            message = f"{told[option][0]} or {message.removeprefix('Input should be ')}"
        told[option] = message, found["input"]
    return [f"{where}: {message} {option}" if message == "unknown option" else
            f"{where}: {option}: {message}, got {_short(value)}" for option, (message, value) in told.items()]


def _walk(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not isinstance(value, (dict, list)):
        yield place, value
    for key, child in children:
        yield from _walk(child, f"{place}.{key}" if place else str(key))


def _odd_values(values: dict, where: str) -> list[str]:
    """Values that no option can have, whatever its type."""
    odd = []
    for place, value in _walk(values):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and (isinstance(value, int) or math.isfinite(value)) and abs(value) > LARGEST:
            odd.append(f"{where}: {place}: expected a number of at most {LARGEST}, got {_short(value)}")
        if isinstance(value, float) and not math.isfinite(value):
            odd.append(f"{where}: {place}: expected a finite number, got {value}")
        if isinstance(value, str) and "\0" in value:
            odd.append(f"{where}: {place}: expected text without NUL characters, got {_short(value)}")
    return odd


def parse_config(values: dict, where: str = "pipeline") -> PipelineConfig:
    """The configuration, or a ConfigError: a line for each fault with its option, what was expected, what came."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected a mapping of options, got {type(values).__name__}")
    faults = _odd_values(values, where)
    try:
        config = PipelineConfig.model_validate(values)
    except ValidationError as error:
        told = {fault.split(": ")[1] for fault in faults}
        faults += [fault for fault in _faults(error, where) if fault.split(": ")[1] not in told]
    if faults:
        raise ConfigError("\n".join(faults))
    return config


def override(values: dict, assignments: list[str]) -> dict:
    """`values` with each `a.b=value` applied; the value is read as YAML."""
    result = _copied(values)
    for text in assignments:
        key, sign, value = text.partition("=")
        names = [name.strip() for name in key.split(".")]
        if not sign or not all(names):
            raise ConfigError(f"--set {text}: expected a.b=value")
        *parents, last = names
        node = result
        for parent in parents:
            if node.get(parent) is None:  # absent, or an empty section
                node[parent] = {}
            node = node[parent]
            if not isinstance(node, dict):
                raise ConfigError(f"--set {text}: {parent} is not a section")
        node[last] = read_yaml(value, f"--set {text}")
    return result


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(child) for key, child in value.items()}
    return [_copied(child) for child in value] if isinstance(value, list) else value


def load_config(path: str | Path, assignments: list[str] = ()) -> PipelineConfig:
    """The pipeline in `path` with `--set` assignments applied."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            found = file.read(MOST_BYTES + 1)
        text = found.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such pipeline file") from error
    except (OSError, ValueError) as error:  # no text, a folder, a name too long, a NUL in it
        why = "expected UTF-8" if isinstance(error, UnicodeError) else getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: not a YAML file of options: {why}") from error
    if len(found) > MOST_BYTES:
        raise ConfigError(f"{path}: expected a pipeline of at most {MOST_BYTES} bytes")
    values = read_yaml(text, str(path))
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of options, got {type(values).__name__}")
    return parse_config(override(values, list(assignments)), str(path))


def dump_config(config: PipelineConfig) -> str:
    """The configuration as YAML that `load_config` reads back as the same."""
    return yaml.dump(config.model_dump(mode="json"), Dumper=Dumper, sort_keys=False, allow_unicode=True)
