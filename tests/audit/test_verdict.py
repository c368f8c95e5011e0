import itertools

import numpy as np
import pandas as pd
import pytest

from xray_debug.audit.hypotheses import Hypothesis, class_hypothesis, judge
from xray_debug.audit.verdict import set_verdict
from xray_debug.config import AuditConfig
from xray_debug.stats.randomisation import label_permutation_p, own_over_others, separation, sign_flip_p

CLASSES = ["a", "b", "c"]
CONFIG = AuditConfig(min_effect=0.1)


def cases(n=20, seed=0):
    """Images with text on which nothing has an effect but noise."""
    rng, rows = np.random.default_rng(seed), []
    for label in CLASSES:
        for index in range(n):
            row = {"image_id": f"{label}{index}", "label": label, "predicted": label, "text_visible": 1,
                   "decision_centre_blacked": "a", "text_place": "top left", "swap_followed": 0.0,
                   "swap_control_followed": 0.0, "kind": "", "region_border_p_inpainted": 0.5}
            for c in CLASSES:
                for name in ("effect", "control_effect", "paste_effect", "paste_control_effect",
                             "region_border_effect", "region_border_control_effect"):
                    row[f"{name}_{c}"] = rng.normal(0, 0.02)
            rows.append(row)
    return pd.DataFrame(rows)


def textless(frame, rows):
    frame.loc[rows, "text_visible"] = 0
    frame.loc[rows, [c for c in frame if c.startswith(("effect_", "control_effect_"))]] = np.nan
    return frame


def test_noise_is_not_shown():
    for seed in range(5):
        found = set_verdict(cases(seed=seed), CLASSES, CONFIG)
        assert found["verdict"] == "not shown"
        assert found["shown"] == {"text": False, "absence": False, "regions": [], "look": [], "laterality": []}
        assert len(found["sentences"]) == 3


def test_text_that_carries_one_class_is_named_with_its_numbers():
    frame = cases()
    frame.loc[frame["label"] == "b", "effect_b"] += 0.4
    found = set_verdict(frame, CLASSES, CONFIG)
    assert found["verdict"] == "b relies on text"
    entry = found["classes"]["b"]["text"]
    assert entry["n"] == 20 and entry["difference"]["value"] == pytest.approx(0.4, abs=0.03)
    assert entry["difference"]["low"] < entry["difference"]["value"] < entry["difference"]["high"]
    assert entry["separation"]["value"] == pytest.approx(0.4, abs=0.03)
    assert "removing it lowers the probability of b by 0.4" in found["sentences"][0]
    assert "over 20 images" in found["sentences"][0] and "top left" in found["sentences"][0]


def test_a_model_that_answers_all_text_alike_is_not_accused():
    frame = cases()
    frame["effect_b"] += 0.4  # on the images of every class
    assert set_verdict(frame, CLASSES, CONFIG)["verdict"] == "not shown"


def test_presence_of_text_in_one_class_alone_is_named():
    frame = cases()
    frame["effect_b"] += 0.4
    frame = textless(frame, frame.index[(frame["label"] != "b") & (np.arange(len(frame)) % 10 > 0)])
    assert set_verdict(frame, CLASSES, CONFIG)["verdict"] == "b relies on text"


def test_an_effect_too_small_for_each_class_is_shown_over_all():
    rng, frame = np.random.default_rng(2), cases(n=12)
    for c in CLASSES:  # a third of each class's images lose a lot, which 12 images cannot show after correction
        rows = frame.index[frame["label"] == c][:4]
        frame.loc[rows, f"effect_{c}"] += 0.3
        frame.loc[frame["label"] == c, f"effect_{c}"] += rng.normal(0, 0.05, 12)
    found = set_verdict(frame, CLASSES, CONFIG)
    assert not any(found["classes"][c]["text"]["shown"] for c in CLASSES)
    assert found["verdict"] == "the classes together rely on text" and found["shown"]["text"]
    assert found["overall"]["n"] == 36 and found["overall"]["effect"]["value"] == pytest.approx(0.1, abs=0.03)
    assert "over 36 images" in found["sentences"][0]


def test_over_all_classes_too_the_label_must_matter():
    frame = cases()
    frame["effect_b"] += 0.4  # on the images of every class
    assert not set_verdict(frame, CLASSES, CONFIG)["overall"]["shown"]


def test_own_over_others_by_hand_and_its_p_against_all_orders():
    beyond = np.array([[0.4, 0.1, 0.0], [0.0, 0.3, -0.1], [0.1, 0.1, 0.2], [0.2, 0.0, 0.1]])
    codes = np.array([0, 1, 2, 0])
    assert own_over_others(beyond, codes).tolist() == pytest.approx([0.35, 0.35, 0.1, 0.15])
    means = [own_over_others(beyond, np.array(order)).mean() for order in itertools.permutations(codes)]
    exact = np.mean(np.array(means) >= own_over_others(beyond, codes).mean() - 1e-12)
    assert label_permutation_p(beyond, codes, 20000, 0) == pytest.approx(exact, abs=0.01)


def test_an_effect_that_controls_share_is_not_shown():
    frame = cases()
    rows = frame["label"] == "b"
    frame.loc[rows, "effect_b"] += 0.4
    frame.loc[rows, "control_effect_b"] += 0.4
    assert set_verdict(frame, CLASSES, CONFIG)["verdict"] == "not shown"


def test_a_sure_but_small_effect_is_not_shown():
    frame = cases(n=60)
    frame.loc[frame["label"] == "b", "effect_b"] += 0.03
    found = set_verdict(frame, CLASSES, CONFIG)
    assert found["classes"]["b"]["text"]["p_adjusted"] < 0.05 and found["verdict"] == "not shown"


def test_absence_is_named_where_the_class_has_less_text_and_pasting_hurts_it():
    frame = cases()
    rows = frame.index[frame["label"] == "c"][:18]
    frame.loc[rows, "paste_effect_c"] += 0.3
    found = set_verdict(textless(frame, rows), CLASSES, CONFIG)
    assert found["verdict"] == "c relies on its absence"
    entry = found["classes"]["c"]["absence"]
    assert entry["n"] == 18 and entry["textless_here"]["value"] == 0.9 and entry["textless_elsewhere"]["value"] == 0
    assert entry["removal_elsewhere"]["n"] == 40


def test_absence_is_not_named_where_all_classes_lack_text_alike():
    frame = cases()
    frame.loc[frame["label"] == "c", "paste_effect_c"] += 0.3
    found = set_verdict(textless(frame, frame.index[np.arange(len(frame)) % 2 == 0]), CLASSES, CONFIG)
    assert found["classes"]["c"]["absence"]["p_adjusted"] < 0.05
    assert found["verdict"] == "not shown"


def test_region_is_named():
    frame = cases()
    frame.loc[frame["label"] == "a", "region_border_effect_a"] += 0.3
    found = set_verdict(frame, CLASSES, CONFIG)
    assert found["verdict"] == "a relies on region border" and found["shown"]["regions"] == ["border"]
    assert list(found["classes"]["a"]["regions"]) == ["border"]


@pytest.mark.parametrize("region, told", [("border", True), ("outside centre", True), ("devices", False)])
def test_a_region_all_round_the_film_beside_a_look_is_said_to_be_maybe_no_more(region, told):
    """Of a class that relies on both; a region somewhere, a look alone and a region alone bring no such sentence."""
    def hints(look, own):
        frame, mine = cases(), cases()["label"] == "a"
        rng = np.random.default_rng(2)
        for c in CLASSES:
            frame[f"region_{region}_effect_{c}"] = rng.normal(0, 0.02, len(frame))
            frame[f"region_{region}_control_effect_{c}"] = rng.normal(0, 0.02, len(frame))
        frame[f"region_{region}_p_inpainted"] = 0.5
        frame.loc[mine, f"region_{region}_effect_a"] += 0.3 * own
        moved = pd.Series(np.where(mine, 0.3 * look, np.nan), frame.index)
        gained = pd.Series(np.where(mine, np.nan, 0.3 * look), frame.index)
        for kind, values in (("", moved), ("gain_", gained)):
            frame[f"look_brightness_{kind}effect_a"] = values + rng.normal(0, 0.02, len(frame))
            frame[f"look_brightness_{kind}control_effect_a"] = 0 * values + rng.normal(0, 0.02, len(frame))
        found = set_verdict(frame, CLASSES, CONFIG)
        assert ("brightness" in found["verdict"], region in found["verdict"]) == (look, own)
        return found["classes"]["a"]["hints"], found["sentences"][-1]

    (beside, last), (alone, _), (only, _) = hints(True, True), hints(True, False), hints(False, True)
    assert not alone and not only and (len(beside) == 1 and last == beside[0] if told else not beside)
    if told:
        assert last == (f"a: {region} may be no more than where brightness is seen, which what is filled "
                        "in loses too: train on films of one brightness to tell.")


@pytest.mark.parametrize("alone, verdict", [(0.2, "a relies on region border"), (0.0, "not shown")])
def test_a_large_region_must_tell_the_class_alone(alone, verdict):
    frame = cases().assign(region_border_area=0.3)
    rng, own = np.random.default_rng(1), frame["label"] == "a"
    for c in CLASSES:
        frame[f"region_border_alone_{c}"] = rng.normal(0, 0.02, len(frame))
    frame.loc[own, "region_border_effect_a"] += 0.3
    frame.loc[own, "region_border_alone_a"] += alone
    assert set_verdict(frame, CLASSES, CONFIG)["verdict"] == verdict


def test_few_cases_give_no_verdict():
    frame = cases(n=5)
    frame.loc[frame["label"] == "b", "effect_b"] += 0.9
    found = set_verdict(frame, CLASSES, CONFIG)
    assert found["verdict"] == "not shown" and found["hypotheses"] == 0
    assert "too few" in found["sentences"][0]


def test_images_of_one_patient_count_once():
    frame = cases(n=24)
    frame.loc[frame["label"] == "b", "effect_b"] += 0.4
    patients = frame.assign(patient_id=[f"{row.label}{i % 24 // 3}" for i, row in enumerate(frame.itertuples())])
    found = set_verdict(patients, CLASSES, CONFIG)
    entry = found["classes"]["b"]["text"]
    assert (entry["n"], entry["unit"], found["cases"], found["units"]) == (8, "patients", 72, 24)
    assert entry["effect"]["value"] == pytest.approx(frame.loc[frame["label"] == "b", "effect_b"].mean())
    assert "over 8 patients" in found["sentences"][0]
    alone = set_verdict(frame.assign(patient_id=frame["image_id"]), CLASSES, CONFIG)
    assert alone["classes"] == set_verdict(frame, CLASSES, CONFIG)["classes"] and alone["unit"] == "images"


def test_rows_with_a_problem_do_not_count():
    frame = cases().assign(problem="")
    frame.loc[:4, "problem"] = "broken"
    assert set_verdict(frame, CLASSES, CONFIG)["cases"] == 55


@pytest.mark.parametrize("values", [[1, 2, 3, 4], [1, -2, 3, 0.5, 2], [-1, -1, -1]])
def test_sign_flip_p_against_all_sign_patterns(values):
    values = np.array(values, float)
    sums = [np.dot(signs, values) for signs in itertools.product([-1, 1], repeat=len(values))]
    exact = np.mean(np.array(sums) >= values.sum() - 1e-12)
    assert sign_flip_p(values, 20000, 1) == pytest.approx(exact, abs=0.01)


def test_sign_flip_p_of_nothing():
    assert sign_flip_p(np.zeros(0), 100, 0) == 1.0


def test_separation_by_hand():
    own = np.array([True, True, False, False])
    assert separation(np.array([0.4, 0.2, 0.1, -0.1]), own) == pytest.approx(0.3)
    assert np.isnan(separation(np.ones(2), np.array([True, True])))


def test_blackout_recall_by_hand():
    found = set_verdict(cases(), CLASSES, CONFIG)["centre_blacked_out"]
    assert found["blacked_out"]["value"] == pytest.approx(1 / 3) and found["image"]["value"] == 1
    assert found["chance"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(("others", "shown"), [(0.0, True), (0.3, False)])
def test_what_lowers_all_images_alike_is_not_shown_whatever_its_p(others, shown):
    """judge by itself: the interval of the separation has a say of its own."""
    effect = np.linspace(0.2, 0.4, 30)
    own = np.arange(60) < 30
    beyond = np.concatenate([effect, np.linspace(others - 0.1, others + 0.1, 30)])
    h = Hypothesis("normal", "text", effect, np.zeros(30), beyond=beyond, own=own, p=0.001, p_adjusted=0.001)
    entry = judge(h, AuditConfig(), 0, "images")
    assert (entry["separation"]["low"] > 0) == shown and entry["shown"] is shown


def one_film_with_text_and_one_without(patients=12):
    """Two films of each patient: removing text and border each take 0.4 from class b, pasting nothing from any."""
    frame = cases(n=2 * patients)
    frame["patient_id"] = [f"{row.label}{i % (2 * patients) // 2}" for i, row in enumerate(frame.itertuples())]
    frame.loc[frame["label"] == "b", ["effect_b", "region_border_effect_b"]] += 0.4
    return textless(frame, frame.index[::2])


def test_patients_with_a_film_with_text_and_one_without_are_counted_once_to_every_question():
    found = set_verdict(one_film_with_text_and_one_without(), CLASSES, CONFIG)
    entry = found["classes"]["b"]
    told = [entry["text"], entry["absence"], entry["regions"]["border"]]
    assert [(one["n"], one["unit"]) for one in told] == [(12, "patients")] * 3
    assert (found["unit"], found["units"], found["cases"]) == ("patients", 36, 72)
    assert found["verdict"] == "b relies on text; relies on region border"
    assert all("over 12 patients" in sentence for sentence in found["sentences"])


def test_too_few_patients_are_called_patients():
    found = set_verdict(one_film_with_text_and_one_without(4), CLASSES, CONFIG)
    assert found["sentences"][0].startswith("a: not shown; too few patients, 4 with text and 4 without it")


def test_a_question_to_a_class_takes_the_mean_of_a_patients_rows_that_have_both():
    frame = pd.DataFrame({
        "patient_id": ["p", "p", "q", "q", "r"], "label": ["a", "a", "a", "a", "b"],
        "x_effect_a": [0.4, 0.2, 0.3, 0.9, 0.1], "x_control_effect_a": [0.1, 0.1, 0.2, np.nan, 0.0],
        "x_alone_a": [0.5, 0.1, 0.2, np.nan, 0.3],
    })  # fmt: skip
    h = class_hypothesis(frame, "a", "region:x", "x", "relies on x", "relies on x: said", large=True)
    assert h.effect.tolist() == pytest.approx([0.3, 0.3]) and h.control.tolist() == pytest.approx([0.1, 0.2])
    assert h.beyond.tolist() == pytest.approx([0.2, 0.05, 0.1]) and h.own.tolist() == [True, True, False]
    assert h.alone.tolist() == pytest.approx([0.3, 0.1, 0.3])
    rows = class_hypothesis(frame.drop(columns="patient_id"), "a", "region:x", "x", "", "")
    assert rows.effect.tolist() == [0.4, 0.2, 0.3] and len(rows.beyond) == 5 and rows.alone is None
    assert len(class_hypothesis(frame, "a", "region:y", "y", "", "").effect) == 0  # no such columns


def test_what_is_not_shown_says_which_way_and_knows_no_negative_zero():
    """An effect is what removing takes away: below 0 it has raised the probability."""
    frame = cases()
    for c in CLASSES:
        frame[[f"effect_{c}", f"control_effect_{c}"]] = [-0.2, -0.001]
    said = set_verdict(frame, CLASSES, CONFIG)["sentences"][0]
    assert said.startswith("a: not shown; removing text lowers its probability by -0.20 (-0.20 to -0.20) on average "
                           "over 20 images, the controls by 0.00 (0.00 to 0.00)")  # fmt: skip
