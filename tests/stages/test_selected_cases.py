"""Which cases are explained, and that there must be a model whose predictions choose them."""

import pandas as pd
import pytest

from xray_debug.config import ConfigError, parse_config
from xray_debug.data.files import write_json
from xray_debug.run.folder import RunError
from xray_debug.run.store import OUTPUTS, Store
from xray_debug.stages.registry import check_options
from xray_debug.stages.selection import selected_cases

COLUMNS = OUTPUTS["predictions"].columns


def predictions(seeds=(0, 3)) -> pd.DataFrame:
    rows = [dict.fromkeys(COLUMNS, "") | {"seed": seed, "image_id": f"{name}.png", "label": label, "predicted": said}
            for seed in seeds for name, label, said in (("a", "normal", "normal"), ("b", "pneumonia", "normal"))]
    return pd.DataFrame(rows, columns=COLUMNS)  # fmt: skip


def config(**given):
    return parse_config({"phantom": {}, **given})


def test_the_first_seeds_predictions_choose():
    found = selected_cases(config(explain={"select": "wrong"}, seeds=[3]), predictions())
    assert found[["seed", "image_id"]].to_numpy().tolist() == [[3, "b.png"]]
    assert len(selected_cases(config(explain={"select": "label:normal"}), predictions())) == 1


@pytest.mark.parametrize("select", ["wrong", "all", "label:normal", "predicted:normal"])
@pytest.mark.parametrize(("seeds", "known"), [((0, 3), [0, 3]), ((), [])])
def test_a_seed_that_was_not_trained_is_told_before_the_finished_stage_is_replaced(tmp_path, select, seeds, known):
    asked = config(explain={"select": select}, seeds=[5])
    words = f"seeds: the model of seed 5 has no predictions; stage train has those of {known}"
    with pytest.raises(RunError) as caught:
        selected_cases(asked, predictions(seeds))
    assert str(caught.value) == words
    store = Store(tmp_path)
    store.path("predictions").parent.mkdir()
    write_json(tmp_path / "train" / "stage.json", {})
    store.write_table("predictions", predictions(seeds))
    with pytest.raises(ConfigError) as caught:
        check_options(asked, "explain", store)
    assert str(caught.value) == words


def test_nothing_to_choose_is_an_empty_table():
    asked = config(explain={"select": "predicted:pneumonia"})
    assert len(selected_cases(asked, predictions())) == 0
