import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_debug.data.shown import shown


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"), ("\x9b2J", r"\x9b2J"), ("a\u202egnp.exe", r"a\u202egnp.exe"),
        ("a\u2066b\u2069", r"a\u2066b\u2069"), ("a\rb\nc\td", r"a\x0db\x0ac\x09d"), ("\x00\x7f", r"\x00\x7f"),
        ("\udcff.png", r"\udcff.png"), ("a\u2028b", r"a\u2028b"), ("\U000e0041", r"\U000e0041"),
        ("Röntgen 胸部 [/x] é\u00a0ü", "Röntgen 胸部 [/x] é\u00a0ü"),
    ],
    ids=["escape", "C1", "right to left", "isolates", "line ends", "NUL and DEL", "surrogate", "line separator", "tag",
         "letters stay"],
)  # fmt: skip
def test_what_a_terminal_would_obey_is_made_visible(text, seen):
    assert shown(text) == seen


def test_line_ends_stay_where_they_are_wanted():
    assert shown("a\nb\x1b", keep="\n") == "a\nb\\x1b"


@given(st.text())
def test_it_can_always_be_printed_and_is_shown_once(text):
    once = shown(text)
    once.encode()
    assert shown(once) == once
