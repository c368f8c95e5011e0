"""Which cases are explained where a dataset has classes of its own."""

import pandas as pd
import pytest

from xray_debug.config import parse_config
from xray_debug.run.folder import RunError
from xray_debug.stages.selection import DEFAULT, check_class, selected_cases, selection_of


def predictions(*pairs: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame([{"image_id": f"{i}.png", "label": label, "predicted": predicted, "seed": 0}
                         for i, (label, predicted) in enumerate(pairs)])  # fmt: skip


TABLE = predictions(("Edema", "no Edema"), ("no Edema", "Edema"), ("no Edema", "no Edema"), ("no Edema", "Edema"))


def test_without_covid_the_default_is_the_rarest_class():
    assert selection_of(DEFAULT, TABLE) == "predicted:Edema"
    assert selected_cases(parse_config({}), TABLE)["image_id"].tolist() == ["1.png", "3.png"]
    check_class(DEFAULT, {"Edema", "no Edema"})  # no error: it is chosen for the user


def test_with_covid_or_where_it_was_asked_for_the_choice_stays():
    covid = predictions(("COVID-19", "normal"), ("normal", "COVID-19"), ("normal", "normal"))
    assert selection_of(DEFAULT, covid) == DEFAULT
    assert selected_cases(parse_config({}), covid)["image_id"].tolist() == ["1.png"]
    assert selection_of("label:no Edema", TABLE) == "label:no Edema"
    with pytest.raises(RunError, match=r"expected one of the classes \['Edema', 'no Edema'\], got 'Oedema'"):
        selected_cases(parse_config({"explain": {"select": "predicted:Oedema"}}), TABLE)


@pytest.mark.parametrize(("classes", "chosen"), [
    (["Edema", "Edema", "no Edema"], "Edema"), (["normal", "b", "b", "c", "c", "c"], "b"),
    (["normal", "Negative"], None),
])  # fmt: skip
def test_what_was_found_goes_before_nothing_found(classes, chosen):
    table = predictions(*((name, name) for name in classes))
    assert selection_of(DEFAULT, table).partition(":")[2] == chosen or chosen is None and len(selected_cases(
        parse_config({}), table)) == 1  # fmt: skip


def test_of_classes_that_are_equally_rare_one_is_chosen_and_always_the_same():
    table = predictions(("normal", "normal"), ("x", "x"), ("normal", "x"), ("x", "normal"))
    assert selection_of(DEFAULT, table) == selection_of(DEFAULT, table.iloc[::-1]) == "predicted:x"
