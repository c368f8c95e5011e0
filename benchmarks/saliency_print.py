"""A table of benchmarks/saliency.py as Markdown: ours +- standard error (images) | the paper's."""

from __future__ import annotations

from saliency_store import planned
from saliency_tables import Cell, Table, table_named

from xray_debug.saliency.measure import mean_error

DIGITS = {"seconds": 2, "forward": 0, "backward": 0}


def _values(found: dict) -> tuple[Table, dict[int, dict[str, float]], dict[int, str]]:
    """The table, and for each measured cell, by its id, the figures of the chosen images; and its measurement's key."""
    table = table_named(found["table"], found["mask_size"])
    plans, keys = planned(table.cells(), found["network"], found["weights"], found["preset"], found["changes"],
                      found["steps"], found["seed"])  # fmt: skip
    known = {item["key"]: item["images"] for item in found["measurements"]}
    # what a default of today has not measured is shown as it was measured with the default of then
    asked = {(item["method"], item["mask_size"], str(item["asked"])): item["key"] for item in found["measurements"]}
    for cell, key in list(keys.items()):
        own = plans[key]
        if not known.get(key):
            keys[cell] = asked.get((own.method, own.mask_size, str(own.options)), key)
    values = {}
    for cell in table.cells():
        images = known.get(keys[id(cell)], {})
        names = found["order"][: found["limits"][1] if cell.mask_size >= 224 else found["limits"][0]]
        values[id(cell)] = {name: images[name][cell.field] for name in names
                            if name in images and cell.field in images[name]}  # fmt: skip
    return table, values, keys


def _ours(cell: Cell | None, values: dict[int, dict[str, float]]) -> str:
    own = list(values.get(id(cell), {}).values()) if cell else []
    if not own:
        return "-"
    mean, error = mean_error(own)
    digits = DIGITS.get(cell.field, 3)
    return f"{mean:.{digits}f}" + (f" +- {error:.{max(digits, 1)}f}" if len(own) > 1 else "") + f" ({len(own)})"


def _paper(cell: Cell | None) -> str:
    if cell is None or cell.paper is None:
        return "-"
    return cell.paper if isinstance(cell.paper, str) else f"{cell.paper:g}"


def printed(found: dict) -> str:
    """The table with its machine and settings; the number of images in brackets."""
    table, values, keys = _values(found)
    of_paper = any(cell and cell.paper is not None for _, cells in table.rows for cell in cells)
    rows = [["", *(head for column in table.columns for head in ((column, "paper") if of_paper else (column,)))]]
    for name, cells in table.rows:
        row = [name]
        for cell in cells:
            row += [_ours(cell, values), _paper(cell)] if of_paper else [_ours(cell, values)]
        rows.append(row)
    return "\n".join([f"{table.title}; {_about(found, table, of_paper)}", "", *_markdown(rows), "",
                      *_notes(table, keys), *_older(found, table, keys)]).rstrip()  # fmt: skip


def _markdown(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
             for row in rows]  # fmt: skip
    return [lines[0], "| " + " | ".join("-" * width for width in widths) + " |", *lines[1:]]


def _about(found: dict, table: Table, of_paper: bool) -> str:
    own = found["machine"]
    ours = (f"ours: {found['network']}, preset {found['preset']}, mean +- standard error (images), "
            f"{found['steps']} steps a curve, {own['device']}, {own['threads']} thread(s), {found['date']}")
    if found["changes"]:
        ours += ", " + ", ".join(f"{method}.{name}={value}" for method, options in found["changes"].items()
                                 for name, value in options.items())  # fmt: skip
    return ours + (f"; the paper: {table.network}, {table.images:,} images of ImageNet" if of_paper else "")


def _older(found: dict, table: Table, keys: dict[int, str]) -> list[str]:
    """What was measured with other defaults than today's: the row, and the options as they were."""
    plans, _ = planned(table.cells(), found["network"], found["weights"], found["preset"], found["changes"],
                       found["steps"], found["seed"])  # fmt: skip
    known = {item["key"]: item for item in found["measurements"]}
    notes: dict[str, None] = {}
    for name, cells in table.rows:
        for cell in cells:
            item = known.get(keys.get(id(cell), "")) if cell is not None else None
            if item is None or item["key"] in plans:
                continue
            today = next(own.settings["options"] for own in plans.values()
                         if (own.method, own.options) == (item["method"], item["asked"]))  # fmt: skip
            then = ", ".join(f"{option} {value}" for option, value in item["options"].items()
                             if today.get(option) != value)  # fmt: skip
            notes[f"{name}: measured before a default changed, with {then}."] = None
    return list(notes)


def _notes(table: Table, keys: dict[int, str]) -> list[str]:
    """The table's own note, and which rows come to the same settings under this preset."""
    notes = [table.note] if table.note else []
    first: dict[tuple, str] = {}
    for name, cells in table.rows:
        own = tuple((keys[id(cell)], cell.field) for cell in cells if cell is not None and cell.method)
        if own and own in first:
            notes.append(f"{name}: the same settings as {first[own]} under this preset.")
        first.setdefault(own, name)
    return notes


def differences(found: dict, against: str) -> str:
    """Row less the row `against`, image by image, in every column that both have."""
    table, values, _ = _values(found)
    rows = dict(table.rows)
    if against not in rows:
        raise ValueError(f"--against {against}: expected one of {', '.join(rows)}")
    lines = []
    for name, cells in table.rows:
        for column, cell, other in zip(table.columns, cells, rows[against], strict=True):
            if name == against or cell is None or other is None:
                continue
            mine, theirs = values.get(id(cell), {}), values.get(id(other), {})
            pairs = [mine[image] - theirs[image] for image in mine if image in theirs]
            if pairs:
                mean, error = mean_error(pairs)
                lines.append(f"{name} less {against}, {column}: {mean:+.3f} +- {error:.3f} ({len(pairs)})")
    return "\n".join(lines)
