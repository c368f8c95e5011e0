"""The check of docs/how-to/your-check.md as its reader makes it: a package with an entry point, in every command."""

import importlib
import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from xray_debug.cli import app
from xray_debug.data.images import write_image
from xray_debug.run import plugins
from xray_debug.run.store import Store

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "your-check.md"
MODEL = '''
import torch


class Corners(torch.nn.Module):
    """Sees nothing but how bright the upper left corner is."""

    def __init__(self):
        super().__init__()
        self.last = torch.nn.Linear(1, 2)
        self.last.weight.data, self.last.bias.data = torch.tensor([[-4.0], [4.0]]), torch.tensor([2.0, -2.0])

    def forward(self, images):
        return self.last(images[:, :1, :4, :4].mean((2, 3)))


def make():
    return Corners()
'''
OPTIONS = {
    "explain.method": "gradient", "explain.max_cases": 2, "explain.sanity_cases": 0, "detect.second": None,
    "audit.controls": 1, "audit.swaps": 0, "audit.shares": [0.06], "audit.permutations": 50, "audit.look": "off",
    "audit.laterality": False, "report.bootstrap": 100, "report.max_flagged": 1, "engine.workers": 1,
    "clean.control": False,
}  # fmt: skip
SHOWN = "COVID-19 relies on bright corners"


def blocks() -> dict[str, str]:
    """The page's files by name."""
    return dict(re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', PAGE.read_text(encoding="utf-8"), re.DOTALL))


def installed(folder: Path, entry: str = "corner_check:Corners") -> None:
    """As pip leaves a package, with the page's check; the entry point of pyproject.toml as it stands there."""
    (folder / "corner_check-1.dist-info").mkdir(parents=True)
    assert f'[project.entry-points."xray_debug.checks"]\ncorners = "{entry}"' in blocks()["pyproject.toml"]
    for name, text in (("METADATA", "Metadata-Version: 2.1\nName: corner-check\nVersion: 1\n"),
                       ("entry_points.txt", f"[xray_debug.checks]\ncorners = {entry}\n")):  # fmt: skip
        (folder / "corner_check-1.dist-info" / name).write_text(text)
    (folder / "corner_check.py").write_text(blocks()["corner_check.py"])
    (folder / "corner_model.py").write_text(MODEL)


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    installed(folder)
    monkeypatch.syspath_prepend(str(folder))
    forget()
    yield folder
    forget()


def forget() -> None:
    """What was imported and looked up of the package, as a new process would not know it."""
    for name in ("corner_check", "corner_model"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    plugins._points.cache_clear()


@pytest.fixture
def films(tmp_path) -> Path:
    """Twenty test films of grey noise, whose upper left corner is bright in one class and dark in the other."""
    root, rows = tmp_path / "data", []
    (root / "test").mkdir(parents=True)
    for index in range(20):
        image = np.random.default_rng(index).integers(110, 130, (64, 64)).astype(np.uint8)
        label = ("normal", "COVID-19")[index % 2]
        image[:16, :16] = {"normal": 40, "COVID-19": 220}[label]
        write_image(root / "test" / f"f{index}.png", image)
        rows.append(f"p{index} f{index}.png {label} here")
    (root / "test_COVIDx.txt").write_text("\n".join(rows) + "\n")
    return root


def call(monkeypatch, *arguments: object) -> list[str]:
    """What a command says."""
    said: list[str] = []
    for place in ("xray_debug.cli.say", "xray_debug.cli.say_aside", "xray_debug.commands.model.say"):
        monkeypatch.setattr(place, said.append)
    app([*map(str, arguments)], standalone_mode=False)
    return said


def test_the_pages_check_takes_part_in_every_command(site, films, tmp_path, monkeypatch):
    run = tmp_path / "run"
    said = call(monkeypatch, "audit-model", "--model", "corner_model:make", "--classes", "normal,COVID-19",
                "--size", 48, "--channels", 1, "--normalise", "unit", "--data", films, "--out", run,
                *[part for name, value in OPTIONS.items() for part in ("--set", f"{name}={json.dumps(value)}")])
    assert "checks of other packages take part: corners (corner_check:Corners)" in said
    assert any(SHOWN in line for line in said)
    store = Store(run)
    verdict, cases, checks = store.json("verdict"), store.table("cases"), store.table("checks")
    entry = verdict["classes"]["COVID-19"]["regions"]["corners"]
    assert entry["shown"] and entry["n"] == 10 and SHOWN in verdict["verdict"]
    mine = cases["label"] == "COVID-19"
    assert (cases.loc[mine, "corners_effect_COVID-19"] > 0.5).all()
    assert (cases["corners_control_effect_COVID-19"] == 0).all()  # the model sees nothing of it
    rows = checks[checks["check"] == "corners"].set_index("label")
    assert rows["shown"].to_dict() == {"normal": False, "COVID-19": True}
    told = json.loads((run / "report" / "report.json").read_text())
    assert any(SHOWN in line["text"] for line in told["headline"])
    assert "features" in verdict and "features" in set(checks["check"])
    page = (run / "report" / "report.html").read_text(encoding="utf-8")
    assert "region corners" in page and "darkening them (text already gone) lowers the probability of COVID-19" in page

    # a line of the package changes: run makes the audit anew, with the check as it is now
    file = site / "corner_check.py"
    file.write_text(file.read_text().replace("LEFT = 0.2", "LEFT = 1.0"))
    forget()
    said = call(monkeypatch, "run", run / "pipeline.yaml", "--out", run, "--set", "audit.features=false")
    assert any(line.startswith("audit: ") and "code (plugin corner_check.py)" in line for line in said)
    assert "detect: up to date" in said
    assert (store.table("cases")["corners_effect_COVID-19"] == 0).all()
    assert not store.json("verdict")["classes"]["COVID-19"]["regions"]["corners"]["shown"]
    assert "features" not in store.json("verdict") and "features" not in set(store.table("checks")["check"])
    told = json.loads((run / "report" / "report.json").read_text())
    assert {"what": "what the model's features tell", "why": "audit.features is off"} in told["not_shown"]

    # and one that is broken ends the command before anything, the stage's own command as well
    file.write_text("class Corners(:\n")
    for command in (["run", run / "pipeline.yaml", "--out", run], ["audit", "--run", run]):
        forget()
        with pytest.raises(ValueError) as caught:
            call(monkeypatch, *command)
        assert re.fullmatch(r"check 'corners' \(corner_check:Corners\) cannot be loaded: SyntaxError: .*; mend its "
                            r"package corner-check, or uninstall it", str(caught.value))  # fmt: skip


def test_the_page_tries_it_on_one_film(site, monkeypatch, capsys):
    (site / "try_it.py").write_text(blocks()["try_it.py"])
    runpy.run_path(str(site / "try_it.py"))
    printed = capsys.readouterr().out
    assert printed.splitlines() and all(f"    {line}\n" in PAGE.read_text() for line in printed.splitlines())
    forget()
