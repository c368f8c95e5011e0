"""The house: imports point down only, and there is no circle."""

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from xray_debug.run.fingerprint import PACKAGE, _imported, _module_file

# from the top floor down; config holds plain types and lies below all rooms that have options
FLOORS = (
    ("__main__",), ("cli",), ("commands",), ("stages",),
    ("report", "review"), ("run",), ("audit",), ("cleaning",), ("text",), ("models",), ("saliency",), ("phantom",),
    ("data",), ("config",), ("stats",),
)  # fmt: skip
FLOOR = {room: len(FLOORS) - index for index, rooms in enumerate(FLOORS) for room in rooms}
NOT_ALLOWED = {("saliency", "config"), ("stats", "config"), ("cleaning", "text"), ("config", "stats")}


def modules() -> dict[str, Path]:
    return {".".join((PACKAGE.name, *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): file
            for file in PACKAGE.rglob("*.py")}  # fmt: skip


def imports_of(name: str, file: Path) -> set[str]:
    """Modules of the package that a module imports; a name taken from a module counts as that module."""
    found = set()
    for imported in _imported(file, name):
        if imported == PACKAGE.name or not imported.startswith(f"{PACKAGE.name}."):
            continue
        while _module_file(imported, PACKAGE) is None:
            imported = imported.rpartition(".")[0]
        found.add(imported)
    return found - {name, PACKAGE.name}


def room(name: str) -> str:
    return name.split(".")[1]


def test_every_module_lies_in_a_room():
    assert {room(name) for name in modules() if name != PACKAGE.name} == set(FLOOR)


def test_imports_point_down():
    wrong = [
        f"{name} imports {other}"
        for name, file in modules().items() if name != PACKAGE.name
        for other in imports_of(name, file)
        if room(other) != room(name) and (
            FLOOR[room(other)] >= FLOOR[room(name)] or (room(name), room(other)) in NOT_ALLOWED)
    ]  # fmt: skip
    assert not wrong


def test_there_is_no_circle():
    """A package's `__init__` may take up names of its own modules; these import its other modules, not itself."""
    graph = {name: imports_of(name, file) for name, file in modules().items()}
    for name, file in modules().items():
        if file.name == "__init__.py":
            graph[name] = {other for other in graph[name] if room(other) == room(name)}
    for name, others in graph.items():  # importing a.b runs a/__init__ first, which is no dependency on what it offers
        graph[name] = {other for other in others if not name.startswith(f"{other}.")}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_files_of_a_run_are_known_to_the_store_alone():
    """No module but run/store.py spells the name of a run's file."""
    from xray_debug.run.store import OUTPUTS

    names = {output.place for output in OUTPUTS.values() if output.kind in ("table", "json")} - {"cleaning.json"}
    wrong = [
        f"{name}: {place}"
        for name, file in modules().items() if name != "xray_debug.run.store"
        for place in names if f'"{place}"' in file.read_text(encoding="utf-8")
    ]  # fmt: skip
    assert not wrong


@pytest.mark.parametrize("line", ["os.link(", "hardlink_to", "import resource", "/proc/", "bf16-mixed\"\n"])
def test_nothing_is_bound_to_one_kind_of_machine(line):
    found = {name for name, file in modules().items() if line in file.read_text(encoding="utf-8")}
    assert found == ({"xray_debug.data.files"} if line == "os.link(" else set())  # take_over copies where there is none
