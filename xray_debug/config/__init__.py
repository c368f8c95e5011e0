"""The options of a pipeline: sections.py has them as types, reading.py makes them of YAML."""

from xray_debug.config.reading import (
    dump_config,
    load_config,
    made_config,
    override,
    parse_config,
    read_yaml,
)
from xray_debug.config.sections import (
    AuditConfig,
    AugmentConfig,
    CleanConfig,
    ConfigError,
    EngineConfig,
    ExplainConfig,
    ModelConfig,
    PhantomConfig,
    PipelineConfig,
    PrepareConfig,
    Section,
    TrainConfig,
    ViewConfig,
)

__all__ = [
    "AuditConfig",
    "AugmentConfig",
    "CleanConfig",
    "ConfigError",
    "EngineConfig",
    "ExplainConfig",
    "ModelConfig",
    "PhantomConfig",
    "PipelineConfig",
    "PrepareConfig",
    "Section",
    "TrainConfig",
    "ViewConfig",
    "dump_config",
    "load_config",
    "made_config",
    "override",
    "parse_config",
    "read_yaml",
]
