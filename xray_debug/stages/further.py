"""Maps of single cases of a run, as stage explain would make them: what `xray-debug explain-case` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xray_debug.config import ConfigError, PipelineConfig
from xray_debug.run.further import case_map, how_explained, write_further_map
from xray_debug.run.store import Store
from xray_debug.stages.base import check_device, device_of

Progress = Callable[[str, int, int], None]


def explain_cases(store: Store, config: PipelineConfig, names: Sequence[str], progress: Progress) -> list[str]:
    """Makes the map of each image named that has none yet; gives a sentence for each.

    With the run's model, method, options and seed. The class explained is the one that the model predicts. Nothing that
    a stage has made is touched. ConfigError for a name that the manifest lacks or has set aside.
    """
    from xray_debug.models.explain_images import predicted_class
    from xray_debug.models.explainer import ExplainWorker

    check_device(config)
    manifest, views, how = store.manifest(), store.views(), how_explained(store)
    row_of = {name: row for row, name in enumerate(manifest["image_id"])}
    for name in names:
        if name not in row_of:
            raise ConfigError(f"{name}: is no usable image of this run")
    progress("load the model", 0, 1)
    worker = ExplainWorker(str(store.path("model")), how["method"], how["options"], how["mask_size"], how["seed"],
                           device_of(config), trusted=config.model is not None)  # fmt: skip
    worker.open()
    worker.progress = progress
    said = []
    for name in names:
        if case_map(store, name).saliency is not None:
            said.append(f"{name}: has a map already")
            continue
        view = views[row_of[name]]
        row = worker([{"image_id": name, "view": view, "target": predicted_class(worker.model, view)}])[0]
        write_further_map(store, row)
        said.append(f"{name}: {row['target']} {row['probability']:.3f}, deletion {row['deletion']:.3f}, insertion "
                    f"{row['insertion']:.3f}")  # fmt: skip
    return said
