"""Names, built in and foreign."""

import sys
from importlib import metadata

import pytest

from xray_debug.data import registry as module
from xray_debug.data.registry import Registry


@pytest.fixture
def things(monkeypatch):
    """Built in: two; foreign: a good one, one of a built-in name, one that cannot be loaded."""
    points = [metadata.EntryPoint(name, value, "group.of.things") for name, value in (
        ("upper", "string:capwords"), ("one", "string:digits"), ("broken", "no_such_module_at_all:x"))]
    monkeypatch.setattr(module.metadata, "entry_points", lambda group: points if group == "group.of.things" else [])
    registry = Registry("thing", "group.of.things")

    @registry.register("two", help="the second")
    def two():
        return 2

    @registry.register("one")
    def one():
        """The first.

        And more."""
        return 1

    return registry


def test_names_come_in_order_and_built_in_ones_win(things):
    assert list(things) == things.names() == ["two", "one", "broken", "upper"]
    assert len(things) == 4 and "upper" in things and "three" not in things
    assert things["one"]() == 1 and things["upper"]("a b") == "A B"
    assert things.help == {"two": "the second", "one": "The first."}


def test_unknown_and_broken_names_are_one_sentence(things):
    with pytest.raises(ValueError, match="^unknown thing 'three': expected one of two, one, broken, upper$"):
        things["three"]
    with pytest.raises(ValueError, match="^a.b: unknown thing 'three'"):
        things.check("three", "a.b")
    things.check("broken")  # known, and not loaded for that
    with pytest.raises(ImportError, match=r"thing 'broken' \(no_such_module_at_all:x\) cannot be loaded"):
        things["broken"]
    with pytest.raises(ValueError, match="thing 'one' is registered twice"):
        things.register("one")(print)


def test_origins_are_known_without_loading(things):
    assert things.origin("one") == __name__ and things.origin("broken") == "no_such_module_at_all"
    assert "no_such_module_at_all" not in sys.modules
