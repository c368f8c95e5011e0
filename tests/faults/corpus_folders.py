"""Review files and model folders: (fault in words, what is done to a sound one, what the refusal holds)."""

import json
import pickle
import sqlite3
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


class Payload:
    """Makes a file where it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def written(content: bytes):
    return lambda path: path.write_bytes(content)


def cut(share: float):
    return lambda path: path.write_bytes(path.read_bytes()[:int(path.stat().st_size * share)])


def garbled(start: int, stop: int):
    def change(path):
        content = bytearray(path.read_bytes())
        content[start:stop] = b"\xa5" * len(content[start:stop])
        path.write_bytes(content)

    return change


# ---------------------------------------------------------------------------------------------------- review


def said(*statements: str):
    """SQL past the program, as another one could have written it."""

    def change(path):
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    return change


def another(*statements: str):
    def change(path):
        path.unlink()
        said(*statements)(path)

    return change


def row(boxes: str) -> str:
    return ("INSERT INTO events (image_id, decision, boxes, reviewer, note, decided_at) "
            f"VALUES ('b.png', 'edit', '{boxes}', '', '', '2026-01-01')")  # fmt: skip


def folder(path):
    path.unlink()
    path.mkdir()


REVIEWS_REFUSED = [
    ("review file of text", written(b"image_id,decision\n" * 40), "file is not a database"),
    ("review file that is an image", written(b"\x89PNG\r\n\x1a\n" + bytes(2000)), "file is not a database"),
    ("review file that is a zip", written(b"PK\3\4" + bytes(2000)), "file is not a database"),
    ("review file cut at a tenth", cut(.1), "cannot be used"),
    ("review file cut at a half", cut(.5), "cannot be used"),
    ("review file with a garbled header", garbled(0, 16), "file is not a database"),
    ("review file with garbled tables", garbled(100, 4096), "cannot be used"),
    ("review file with garbled decisions", garbled(4096, 1 << 20), "cannot be used"),
    ("review file that is a folder", folder, "cannot be used"),
    ("another program's database", another("CREATE TABLE notes (a)"), "found another program's tables"),
    ("review file of a later version", said("PRAGMA user_version = 99"), "found version 99"),
    ("review file without its table", another("PRAGMA user_version = 1"), "found another program's tables"),
    ("review file whose table has other columns",
     another("CREATE TABLE decisions (id, image_id, decision)", "PRAGMA user_version = 1",
             "INSERT INTO decisions VALUES (1, 'b.png', 'approve')"), "found another program's tables"),
    ("boxes in a review file that are no JSON", said(row("nonsense")), "decision 2 cannot be used"),
    ("boxes in a review file that are a number", said(row("7")), "decision 2 cannot be used"),
    ("boxes in a review file of three numbers", said(row("[[1,2,3]]")), "decision 2 cannot be used"),
    ("boxes in a review file of NaN", said(row("[[1,2,NaN,4]]")), "decision 2 cannot be used"),
    ("boxes in a review file of 1e30", said(row("[[1,2,1e30,4]]")), "decision 2 cannot be used"),
    ("boxes in a review file from right to left", said(row("[[9,2,3,4]]")), "decision 2 cannot be used"),
    ("boxes in a review file that are nested deeply", said(row("[" * 100_000)), "decision 2 cannot be used"),
]  # fmt: skip

DECISIONS_REFUSED = [
    ("decision that is none", ("a.png", "maybe"), "expected one of approve, reject, edit, exclude, got 'maybe'"),
    ("decision of nothing", ("a.png", ""), "expected one of approve, reject, edit"),
    ("edit without boxes", ("a.png", "edit"), "needs boxes"),
    ("boxes with an approval", ("a.png", "approve", [[1, 2, 3, 4]]), "takes no boxes with 'approve'"),
    ("decision on no image", ("", "approve"), "expected a file name"),
    ("decision on a number", (7, "approve"), "expected a file name, got 7"),
    ("reviewed box from right to left", ("a.png", "edit", [[9, 2, 3, 4]]), "expected 0 <= x0 < x1"),
    ("reviewed box left of the film", ("a.png", "edit", [[-1, 2, 3, 4]]), "expected 0 <= x0 < x1"),
    ("reviewed box of no area", ("a.png", "edit", [[1, 2, 1, 4]]), "expected 0 <= x0 < x1"),
    ("reviewed box of three numbers", ("a.png", "edit", [[1, 2, 3]]), "a box has four numbers"),
    ("reviewed box of NaN", ("a.png", "edit", [[1, 2, float("nan"), 4]]), "finite numbers"),
    ("reviewed box of infinity", ("a.png", "edit", [[1, 2, float("inf"), 4]]), "finite numbers"),
    ("reviewed box of 1e30", ("a.png", "edit", [[1, 2, 1e30, 4]]), " within 21474836"),
    ("reviewed box of words", ("a.png", "edit", [["a", "b", "c", "d"]]), "boxes of a.png: "),
    ("reviewed boxes that are a number", ("a.png", "edit", 7), "boxes of a.png: "),
]  # fmt: skip

# ---------------------------------------------------------------------------------------------------- models


def weights(change):
    """The weights changed, and no digest that would tell."""

    def act(place):
        described(weights_sha256="")(place)
        change(place / "model.safetensors")

    return act


def tensors(change):
    def act(path):
        state = load_file(path)
        change(state)
        save_file(state, path)

    return weights(act)


def described(**values):
    def act(place):
        file = place / "model.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return act


def description(content: bytes):
    return lambda place: (place / "model.json").write_bytes(content)


def gone(name: str):
    return lambda place: (place / name).unlink()


def first(state: dict) -> str:
    return next(key for key in state if state[key].is_floating_point() and state[key].ndim > 1)


def other_shape(state):
    state[first(state)] = torch.zeros(3, 3)


def other_kind(state):
    state[first(state)] = torch.zeros_like(state[first(state)], dtype=torch.int64)


def not_finite(state):
    state[first(state)].view(-1)[0] = float("nan")


def another_name(state):
    state["strange"] = state.pop(first(state))


def pickled(place):
    described(weights_sha256="")(place)
    (place / "model.safetensors").write_bytes(pickle.dumps(Payload(place / "ran")))


def torch_pickled(place):
    described(weights_sha256="")(place)
    torch.save({"a": Payload(place / "ran")}, place / "model.safetensors")


MODELS_REFUSED = [
    ("pickle as weights", pickled, "model.safetensors: not a readable weights file"),
    ("torch file with code as weights", torch_pickled, "model.safetensors: not a readable weights file"),
    ("0 bytes of weights", weights(written(b"")), "model.safetensors: not a readable"),
    ("text as weights", weights(written(b"404: Not Found")), "model.safetensors: not a readable"),
    ("weights of a header that says 2^60 bytes", weights(written(b"\0\0\0\0\0\0\0\x10{}")), "not a readable"),
    ("weights cut at a tenth", weights(cut(.1)), "model.safetensors: not a readable"),
    ("weights cut at a half", weights(cut(.5)), "model.safetensors: not a readable"),
    ("weights without their last byte", weights(lambda p: p.write_bytes(p.read_bytes()[:-1])), "not a readable"),
    ("weights with a byte too many", weights(lambda p: p.write_bytes(p.read_bytes() + b"\0")), "not a readable"),
    ("weights with a garbled header", weights(garbled(8, 40)), "model.safetensors: not a readable"),
    ("weights with another byte in their middle", lambda place: garbled(-9, -8)(place / "model.safetensors"),
     "expected sha256"),
    ("weights of another shape", tensors(other_shape), "expected shape"),
    ("weights of another kind", tensors(other_kind), "expected values like torch.float32"),
    ("weights with one NaN", tensors(not_finite), "holds NaN"),
    ("weights under another name", tensors(another_name), "names do not fit this model"),
    ("weights without one tensor", tensors(lambda state: state.pop(first(state))), "names do not fit this model"),
    ("weights with one tensor too many", tensors(lambda state: state.update(strange=torch.zeros(2))),
     "unknown strange"),
    ("no tensors", tensors(dict.clear), "model.safetensors: "),
    ("model without weights", gone("model.safetensors"), "no such weights file"),
    ("model without a description", gone("model.json"), "found no model.json"),
    ("0 bytes of description", description(b""), "model.json: not a model description"),
    ("description that is no JSON", description(b"name: covidnet"), "model.json: not a model description"),
    ("description cut short", description(b'{"name": "covid'), "model.json: not a model description"),
    ("description that is a list", description(b"[]"), "expected an object, got list"),
    ("description that is not UTF-8", description(b"\xff\xfe{}"), "model.json: not a model description"),
    ("description of 100,000 levels", description(b"[" * 100_000), "model.json: not a model description"),
    ("description without a name", description(b'{"format": 1}'), "name is missing"),
    ("description of a later format", described(format=99), "expected format 1, got 99"),
    ("network that does not exist", described(name="covidnett"), "model: expected covidnet"),
    ("number as a network's name", described(name=7), "name: expected str, got int"),
    ("classes that are a word", described(classes="normal"), "classes: expected list, got str"),
    ("one class alone", described(classes=["normal"]), "classes: expected 2 to"),
    ("same class twice", described(classes=["a", "a", "b"]), "classes: expected different names"),
    ("four classes for three outputs", described(classes=list("abcd")), "expected shape"),
    ("view of no size", described(view={}), "view: size: expected 1 to"),
    ("view of a million pixels", described(view={"size": 1_000_000}), "view: size: expected 1 to"),
    ("view of words", described(view={"size": "big"}), "view: size: expected a number"),
    ("view of an option that does not exist", described(view={"size": 32, "zoom": 2}), "model.json: not a model"),
    ("model that asks for a download", described(options={"pretrained": True}), "nothing is fetched or opened"),
    ("model that opens a path", described(options={"weights": "/etc/passwd"}), "nothing is fetched or opened"),
    ("model of an option that does not exist", described(options={"wings": 2}), "does not take these options"),
    ("model of a width beyond bounds", described(options={"width": 1e12}), "options: width: expected at most"),
    ("options that are a list", described(options=[1]), "options: expected dict, got list"),
]  # fmt: skip
