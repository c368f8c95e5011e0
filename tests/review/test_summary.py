"""What the page at the end counts and advises, and the states of stages that this is made of."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from xray_debug.data.files import write_json
from xray_debug.review.decisions import Agreement
from xray_debug.review.queue import Decided, Queue
from xray_debug.review.stages import in_a_shell, runs_in, stage_states
from xray_debug.review.summary import Counts, agreement_rows, counted, next_steps
from xray_debug.run.store import Store
from xray_debug.stages.registry import STAGES
from xray_debug.stats.intervals import Interval

ALL = tuple(STAGES.values())
NONE = {"approve": 0, "reject": 0, "edit": 0, "exclude": 0}
QUIET = Counts((2, 2), (0, 0), NONE, {}, [])


def finish(store: Store, **hours: int) -> Store:
    for stage, hour in hours.items():
        (store.folder / stage).mkdir(parents=True, exist_ok=True)
        write_json(store.folder / stage / "stage.json", {"finished": f"2026-01-01T{hour:02}:00:00+0000"})
    return store


def whole(folder, **hours: int) -> Store:
    return finish(Store(folder), **{name: at for at, name in enumerate(STAGES)} | hours)


def states(store: Store) -> dict[str, str]:
    return {one.name: one.state for one in stage_states(store, ALL)}


def commands(store: Store, counts: Counts = QUIET, late: int = 0) -> list[str]:
    return [step.arguments[0] for step in next_steps(store, stage_states(store, ALL), counts, late) if step.arguments]


def test_counts_of_flagged_of_others_and_by_person():
    names = np.array(["a", "b", "c"], object)
    queue = Queue(names, {"show": pd.Categorical(["flagged", "flagged", "others"])})
    rows = [{"image_id": "a", "decision": "approve", "reviewer": "ada"},
            {"image_id": "c", "decision": "exclude", "reviewer": ""},
            {"image_id": "gone", "decision": "reject", "reviewer": "bob"}]  # fmt: skip
    own = {"ada": {"a": SimpleNamespace(decision="approve")}, "": {"c": SimpleNamespace(decision="exclude")},
           "bob": {"gone": SimpleNamespace(decision="reject")}}  # fmt: skip
    found = counted(Decided(queue, 3, rows, {"c", "gone"}), own)
    assert (found.flagged, found.others, found.disagreements) == ((1, 2), (1, 1), ["c"])
    assert found.by_decision == NONE | {"approve": 1, "exclude": 1}
    assert found.by_reviewer == {"ada": NONE | {"approve": 1}, "without a name": NONE | {"exclude": 1}}
    unaudited = Queue(names, {})
    assert counted(Decided(unaudited, 0), {}).others == (0, 3)


@pytest.mark.parametrize(("kappa", "words"), [
    (1, "almost perfect"), (0.7, "good"), (0.3, "fair"), (0.1, "slight"), (-0.2, "less than by chance"),
    (float("nan"), "nothing to be compared"),
])  # fmt: skip
def test_agreement_in_words(kappa, words):
    (row,) = agreement_rows([Agreement(("ada", ""), 7, kappa, Interval(kappa, kappa - 0.1, kappa + 0.1))])
    assert words in row["in words"] and row["reviewers"] == "ada and without a name"
    assert row["Cohen's kappa"] == ("–" if kappa != kappa else f"{kappa:.2f}")


def test_a_finished_run_has_nothing_next(tmp_path):
    store = whole(tmp_path / "run")
    assert set(states(store).values()) == {"complete"}
    assert next_steps(store, stage_states(store, ALL), QUIET, 0) == []


def test_newer_decisions_ask_for_the_dataset_and_what_is_made_of_it(tmp_path):
    store = whole(tmp_path / "run")
    assert commands(store, late=2) == ["clean", "retrain", "report"]
    finish(store, clean=20)
    assert commands(store) == ["retrain", "report"]
    assert states(store)["retrain"] == states(store)["report"] == "older than what it reads"
    finish(store, retrain=21, report=22)
    assert commands(store) == []


def test_what_is_undecided_is_said_first(tmp_path):
    counts = Counts((1, 3), (0, 0), NONE, {}, ["a"])
    first, second, *rest = next_steps(whole(tmp_path / "run"), [], counts, 0)
    assert first.why.startswith("2 flagged cases are not decided")
    assert second.why.startswith("reviewers disagree on 1 image;")
    assert not rest and not first.arguments


def test_states_of_stages(tmp_path):
    store = finish(Store(tmp_path / "run"), prepare=1, train=2, detect=1)
    (store.folder / ".work" / "explain").mkdir(parents=True)
    (store.folder / "audit").mkdir()
    (store.folder / "audit" / "stage.json").write_text("{")
    found = states(store)
    assert found == {"prepare": "complete", "train": "complete", "explain": "begun", "detect": "complete",
                     "audit": "damaged", "clean": "not yet run", "retrain": "not yet run", "report": "not yet run"}
    finish(store, prepare=3)
    assert states(store)["train"] == "older than what it reads"


def test_times_of_other_places_and_none_are_compared(tmp_path):
    store = finish(Store(tmp_path / "run"), prepare=10)
    older = "older than what it reads"
    for finished, state in (("2026-01-01T13:00:00+0200", "complete"), ("2026-01-01T11:00:00+0200", older),
                            ("yesterday", older)):  # fmt: skip
        (store.folder / "train").mkdir(exist_ok=True)
        write_json(store.folder / "train" / "stage.json", {"finished": finished})
        assert states(store)["train"] == state


def test_a_command_can_be_typed():
    assert in_a_shell(["clean", "--run", "runs/a b"]) in ("xray-debug clean --run 'runs/a b'",
                                                          'xray-debug clean --run "runs/a b"')  # fmt: skip


def test_of_runs_the_last_changed_comes_first_and_what_is_none_is_left_out(tmp_path):
    import os

    for at, name in enumerate(("old", "new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pipeline.yaml").write_text("")
        os.utime(tmp_path / name / "pipeline.yaml", (at, at))
        os.utime(tmp_path / name, (at, at))
    (tmp_path / "none").mkdir()
    (tmp_path / "file").write_text("")
    assert [path.name for path in runs_in(tmp_path)] == ["new", "old"]
    assert runs_in(tmp_path / "nowhere") == []
