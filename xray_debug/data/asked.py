"""The classes that a given model is asked for, and the labels of a dataset beside them."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence

from xray_debug.config import ConfigError, ModelConfig

SEVERAL = "|"  # between the labels of an image that has several
MOST = 12  # labels that a warning names


def without(finding: str) -> str:
    """The class of the images that do not have a finding."""
    return f"no {finding}"


def run_classes(config: ModelConfig) -> list[str]:
    """The classes of the run: the model's, or those of one finding, without first.

    ConfigError where the outputs and the classes do not go together.
    """
    classes, finding = config.classes, config.finding
    if finding is not None:
        if finding not in classes:
            raise ConfigError(f"model.findings: expected some of the classes {', '.join(classes)}, got {finding!r}")
        return [without(finding), finding]
    if not classes:
        raise ConfigError("model.classes: expected the names of the model's classes, in the order of its outputs")
    if config.output == "logit" and len(classes) > 2:
        raise ConfigError(f"model.classes: one logit tells one finding, or two classes, apart; got {len(classes)} "
                          "(several findings: --output sigmoid)")  # fmt: skip
    if len(classes) == 1:
        return [without(classes[0]), classes[0]]
    if config.output == "sigmoid":
        raise ConfigError("model.findings: a sigmoid model has an answer for each finding, say which to audit, "
                          f"--finding NAME: some of {', '.join(classes)}")  # fmt: skip
    return list(classes)


def check_labels(labels: Sequence[str], classes: Sequence[str]) -> None:
    """ConfigError naming the labels that are none of the classes."""
    unknown = sorted({label for label in labels if label not in classes})
    if unknown:
        alike = {_plain(name): name for name in classes}
        given = ",".join(f"{label}={alike.get(_plain(label), 'CLASS')}" for label in unknown[:3])
        raise ConfigError(f"labels of the dataset are not among the model's classes: {_named(unknown)}; the classes are"
                          f" {_named(classes)}; say which class each is, or leave its images out: --labels {given}, or "
                          "NAME= for none")  # fmt: skip


def _plain(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalnum())


def _named(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def negatives(rows: list[dict], config: ModelConfig) -> dict[str, int]:
    """Labels that say nothing of the finding asked for, by how many images have them: those count as without it.

    Of `rows` of a dataset, before `relabelled`. Empty unless one finding is asked for. Labels that are classes of the
    model, "no CLASS", or in `labels` are known and left out.
    """
    finding = _finding(config)
    if finding is None:
        return {}
    known = {*config.classes, *map(without, config.classes), *config.labels}
    found = Counter(part for row in rows if row["label"] and not row["problem"] and row["label"] not in known
                    for part in dict.fromkeys(row["label"].split(SEVERAL)) if part not in known)  # fmt: skip
    return dict(sorted(found.items()))


def negatives_said(rows: list[dict], config: ModelConfig) -> str:
    """A sentence that names them, "" for none."""
    found = negatives(rows, config)
    if not found:
        return ""
    told = [f"{_named([label])} ({count} images)" for label, count in list(found.items())[:MOST]]
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    return (f"labels that the model has no class for count as {without(_finding(config))!r}: {', '.join(told)}{more}; "
            "where that is wrong, say which class each is, or leave its images out: --labels LABEL=CLASS, or LABEL=")


def _finding(config: ModelConfig) -> str | None:
    """The one finding that the run asks for."""
    classes = run_classes(config)
    return classes[1] if classes[0] == without(classes[1]) else None


def _check_alike(labels: Iterable[str], config: ModelConfig) -> None:
    """ConfigError for labels that are spelled almost as a class: they would count as without it."""
    names = [*config.classes, *map(without, config.classes)]
    alike = {_plain(name): name for name in reversed(names) if _plain(name)}
    for label in labels:
        meant = alike.get(_plain(label))
        if meant is not None and label not in names:
            raise ConfigError(f"the label {label!r} of the dataset is not the model's class {meant!r} to the letter, "
                              f"and would count as without it; say what it is: --labels {shlex.quote(label)}="
                              f"{shlex.quote(meant)}, or {shlex.quote(label)}= for none")  # fmt: skip


def relabelled(rows: list[dict], config: ModelConfig) -> list[dict]:
    """`rows` of a dataset with the run's classes for labels: mapped by `labels`, or as has or has not the finding.

    A label can name several classes, with SEVERAL between. ConfigError names labels that are none of the classes.
    """
    classes, names = run_classes(config), config.labels
    good = [row for row in rows if row["label"] and not row["problem"]]
    labels = sorted({row["label"] for row in good})
    unknown = set(names) - {part for label in labels for part in (label, *label.split(SEVERAL))}
    if unknown and good:
        raise ConfigError(f"model.labels: the dataset has no label {sorted(unknown)[0]!r}; it has {_named(labels)}")
    finding = _finding(config)
    if finding is not None:
        _check_alike(negatives(rows, config), config)
    for row in good:
        label = row["label"]
        parts = [names.get(part, part) for part in ([label] if label in names else label.split(SEVERAL))]
        if parts == [None]:
            row["problem"] = f"label: {label} is left out, as model.labels says"
        elif finding is not None:
            row["label"] = finding if finding in parts else classes[0]
        else:
            row["label"] = names.get(label, label)
    left = sorted({row["label"] for row in good if not row["problem"]})
    if finding is not None and left and finding not in left:
        raise ConfigError(f"no image of the dataset has the label {finding!r}; its labels are {_named(labels)}; say "
                          f"which it is: --labels LABEL={finding}")  # fmt: skip
    check_labels(left, classes)
    return rows
