"""Validation cut by patient, and patients on both sides."""

import numpy as np
import pandas as pd
from covidx_fixture import CLASSES
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.data.splits import cut_validation, linked_patients, shared_patients

lines = st.tuples(st.integers(0, 25), st.sampled_from(CLASSES), st.integers(0, 400))
tables = st.lists(lines, min_size=1, max_size=120)


@settings(max_examples=60, deadline=None)
@given(tables, st.floats(0.05, 0.45), st.integers(0, 5), st.randoms())
def test_validation_is_cut_by_patient_and_stratified(table, fraction, seed, random):
    frame = pd.DataFrame(table, columns=["patient_id", "label", "sha256"]).astype(str)
    val = cut_validation(frame, fraction, seed)
    for column in ("patient_id", "sha256"):  # neither a patient nor a file is on both sides
        assert not set(frame[column][val]) & set(frame[column][~val])
    order = list(range(len(frame)))
    random.shuffle(order)  # the order of the rows does not matter
    np.testing.assert_array_equal(cut_validation(frame.iloc[order], fraction, seed), val[order])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=120), st.floats(0.05, 0.45))
def test_every_class_with_two_patients_is_on_both_sides(patients, fraction):
    frame = pd.DataFrame({"patient_id": patients, "label": [CLASSES[patient % 3] for patient in patients],
                          "sha256": range(len(patients))}).astype(str)
    val = cut_validation(frame, fraction, 0)
    for _, rows in frame.groupby("label"):
        sizes, taken = rows["patient_id"].value_counts(), int(val[rows.index].sum())
        assert taken <= max(fraction * len(rows) + 0.5, sizes.min())
        assert (0 < taken < len(rows)) == (len(sizes) > 1)


def test_validation_has_its_share_of_every_class():
    frame = pd.DataFrame({"patient_id": [f"p{i}" for i in range(900)], "label": [CLASSES[i % 3] for i in range(900)],
                          "sha256": [str(i) for i in range(900)]})
    val = cut_validation(frame, 0.15, 0)
    assert frame["label"][val].value_counts().to_dict() == dict.fromkeys(CLASSES, 45)
    assert (cut_validation(frame, 0.15, 1) != val).any()
    lone = cut_validation(frame.iloc[:3], 0.15, 0)  # one patient per class: all stay in train
    assert not lone.any()
    assert cut_validation(frame.iloc[:6], 0.15, 0).sum() == 3  # two per class: one each


def test_the_cut_is_the_same_in_every_version():
    """A published run can be repeated only while the same patients go to val."""
    frame = pd.DataFrame({"patient_id": [f"p{i // 2}" for i in range(60)], "label": CLASSES[0],
                          "sha256": [str(i) for i in range(60)]})
    assert sorted(set(frame["patient_id"][cut_validation(frame, 0.15, 0)])) == ["p10", "p11", "p13", "p20"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 12)), max_size=20))
def test_linked_patients_are_the_parts_of_the_graph_of_shared_files(pairs):
    groups = {patient: {patient} for patient, _ in pairs}  # slow: join sets until nothing changes
    for _ in pairs:
        for one, file in pairs:
            for other, same in pairs:
                if file == same:
                    groups[one] = groups[other] = groups[one] | groups[other]
    found = linked_patients([patient for patient, _ in pairs], [str(file) for _, file in pairs])
    assert found == {patient: min(members) for patient, members in groups.items()}


def test_shared_patients_count_usable_rows_only():
    frame = pd.DataFrame([("a", "train", ""), ("a", "test", ""), ("b", "val", ""), ("b", "test", ""),
                          ("c", "train", ""), ("c", "val", ""), ("d", "train", "blank: x"), ("d", "test", ""),
                          ("a", "test", "blank: x")], columns=["patient_id", "split", "problem"])
    assert shared_patients(frame).tolist() == [True, True, True, True, False, False, False, False, False]
