"""The order of classes."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from xray_debug.data.classes import CLASS_SETS, class_order

KNOWN = [name for names in CLASS_SETS for name in names]


def test_known_classes_come_in_the_order_of_the_field_and_others_follow():
    assert class_order(["COVID-19", "normal", "pneumonia", "normal"]) == ["normal", "pneumonia", "COVID-19"]
    assert class_order(pd.Series(["positive", "negative"])) == ["negative", "positive"]
    assert class_order(["zebra", "level2", "ape"]) == ["level2", "ape", "zebra"]
    assert class_order([]) == []


@given(st.lists(st.sampled_from(KNOWN) | st.text(max_size=4)), st.randoms())
def test_the_order_depends_on_the_set_alone(labels, random):
    shuffled = [*labels, *labels]
    random.shuffle(shuffled)
    found = class_order(shuffled)
    assert found == class_order(labels)
    assert found == [name for name in KNOWN if name in labels] + sorted(set(labels) - set(KNOWN))
