"""Which sources can be left out of training."""

import pandas as pd

from xray_debug.stages.training import sources_to_leave_out


def frame(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["source", "label", "split"])


ELSEWHERE = [("other", label, split) for label in ("normal", "COVID-19") for split in ("train", "val")]


def test_a_source_with_several_classes_can_be_left_out_where_each_is_learnt_elsewhere():
    mixed = [("mixed", "normal", "test"), ("mixed", "COVID-19", "test"), ("mixed", "normal", "train")]
    assert sources_to_leave_out(frame(*ELSEWHERE, *mixed)) == ["mixed"]


def test_a_source_of_one_class_or_without_test_images_is_kept():
    one = [("one", "normal", "test"), ("one", "normal", "train")]
    untested = [("untested", "normal", "train"), ("untested", "COVID-19", "train")]
    assert sources_to_leave_out(frame(*ELSEWHERE, *one, *untested)) == []


def test_the_only_source_of_a_class_is_kept():
    mixed = [("mixed", label, split) for label in ("normal", "pneumonia") for split in ("train", "val", "test")]
    assert sources_to_leave_out(frame(*ELSEWHERE, *mixed)) == []


def test_a_source_without_a_name_is_kept():
    mixed = [("", "normal", "test"), ("", "COVID-19", "test")]
    assert sources_to_leave_out(frame(*ELSEWHERE, *mixed)) == []
