"""The mutations of mutations.py (which is no part of the suite) fit the sources, so that it can be run at any time."""

import shlex

import pytest
from mutations import MUTATIONS, ROOT


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_fits_the_sources(mutation):
    text = (ROOT / "xray_debug" / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1 and mutation.new != mutation.old
    named = [word.partition("::")[0] for word in shlex.split(mutation.tests) if word.startswith("tests/")]
    assert named and all((ROOT / name).exists() for name in named)
