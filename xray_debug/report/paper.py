"""Paper of a bounded number of pages: headings, paragraphs, tables and pictures, in any language.

The same bytes each time: no clock, no random ids. What finds no room is left out and named at the end. Letters that the
font (DejaVu Sans, which comes with matplotlib) lacks are written as their code; words written from right to left are
put in order, Arabic letters stay unjoined.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import matplotlib
from fontTools.ttLib import TTFont
from fpdf import FPDF
from fpdf.bidi import BidiParagraph
from fpdf.enums import MethodReturnValue, XPos, YPos
from PIL import Image

MARGIN, LINE = 12, 0.42  # mm; height of a line of text, mm for each point of its size
BODY, SMALL, HEAD = 8.5, 7, 11  # points
LAST = 9  # mm kept for the last line
INK, SOFT, RULE, BLUE, TINT = (31, 41, 51), (77, 91, 104), (213, 222, 230), (0, 104, 163), (243, 246, 249)
WHEN = datetime(2000, 1, 1, tzinfo=UTC)  # a date that is the same each time
FONTS = {"": "DejaVuSans.ttf", "B": "DejaVuSans-Bold.ttf"}


def font_file(style: str) -> Path:
    return Path(matplotlib.get_data_path(), "fonts", "ttf", FONTS[style])


@cache
def _known() -> frozenset[int]:
    """The characters that both fonts have."""
    found = []
    for style in FONTS:
        with TTFont(font_file(style)) as font:
            found.append(frozenset(font.getBestCmap()))
    return frozenset.intersection(*found)


def written(value, most: int = 400) -> str:
    """Any text on one line as the fonts can show it, in the order in which it is seen; the middle of a long one left
    out."""
    text = " ".join(str(value).split())
    if len(text) > most:
        text = f"{text[: most * 2 // 3]} … {text[-(most // 4) :]}"
    if any(unicodedata.bidirectional(letter) in ("R", "AL", "AN") for letter in text):
        text = BidiParagraph(text).get_reordered_string()
    return "".join(c if ord(c) in _known() and c.isprintable() else f"\\u{ord(c):04x}" for c in text)


class Paper(FPDF):
    """A4, at most `pages` of it. `left_out` holds the sections of which something found no room."""

    def __init__(self, title: str, pages: int):
        super().__init__(format="A4", unit="mm")
        self.most, self.section, self.left_out = pages, "", []
        self.set_creation_date(WHEN)
        self.set_title(written(title))
        self.set_lang("en")
        self.set_margin(MARGIN)
        self.set_auto_page_break(False)
        for style in FONTS:
            self.add_font("DejaVu", style, font_file(style))
        self.add_page()

    def room(self, height: float) -> bool:
        """Goes to the next page where `height` mm do not fit on this one; False where there is no further page."""
        if self.get_y() + height <= self.h - MARGIN - (LAST if self.page == self.most else 0):
            return True
        if self.page < self.most and height <= self.h - 2 * MARGIN - LAST:
            self.add_page()
            return True
        if self.section not in self.left_out:
            self.left_out.append(self.section)
        return False

    def _font(self, size: float, bold: bool = False, colour: tuple = INK) -> float:
        """Sets the font; the height of a line, mm."""
        self.set_font("DejaVu", "B" if bold else "", size)
        self.set_text_color(*colour)
        return LINE * size

    def _lines(self, width: float, text: str) -> list[str]:
        return self.multi_cell(width, 1, text, dry_run=True, output=MethodReturnValue.LINES)

    def heading(self, text: str, follows: float = 14) -> None:
        """A section's title, on the page of the `follows` mm after it."""
        self.section = text
        height = self._font(HEAD, bold=True)
        if self.room(height + 3 + follows):
            self.ln(3)
            self._font(HEAD, bold=True)
            self.cell(0, height, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def paragraph(self, text, size: float = BODY, bold: bool = False, colour: tuple = INK, link: str = "",
                  fill: bool = False) -> None:  # fmt: skip
        height, text = self._font(size, bold, colour), written(text)
        if text and self.room(height * len(self._lines(0, text)) + 1):
            self._font(size, bold, colour)
            self.set_fill_color(*TINT)
            self.multi_cell(0, height, text, align="L", link=link, fill=fill, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
            self.ln(0.8)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], size: float = SMALL) -> None:
        """Columns as wide as their texts ask for; the head again on each page; rows without room are counted."""
        texts = [[written(value, 90) for value in row] for row in [head, *rows]]
        widths = self._widths(texts, size)
        before = self.page
        for number, row in enumerate(texts):
            height = self._row_height(row, widths, size, bold=number == 0)
            following = self._row_height(texts[1], widths, size) if number == 0 and rows else 0
            if not self.room(height + following):
                self.paragraph(f"{len(texts) - number} more rows in report.json", size, colour=SOFT)
                break
            if self.page != before and number:
                self._row(texts[0], widths, size, bold=True)
            before = self.page
            self._row(row, widths, size, bold=number == 0)
        self.ln(1.5)

    def _widths(self, texts: list[list[str]], size: float) -> list[float]:
        """As wide as the longest text, or the longest word of the head; together no wider than the page."""
        self._font(size, bold=True)
        heads = [max(map(self.get_string_width, text.split() or [""])) for text in texts[0]]
        self._font(size)
        asked = [min(max([head, *map(self.get_string_width, column[1:])]) + 3, 70)
                 for head, column in zip(heads, zip(*texts, strict=True), strict=True)]
        scale = min(1.0, self.epw / sum(asked))
        return [width * scale for width in asked]

    def _row_height(self, row: list[str], widths: list[float], size: float, bold: bool = False) -> float:
        height = self._font(size, bold)
        return 1 + height * max(len(self._lines(w, text)) for w, text in zip(widths, row, strict=True))

    def _row(self, row: list[str], widths: list[float], size: float, bold: bool) -> None:
        x, y, tall = self.l_margin, self.get_y(), self._row_height(row, widths, size, bold)
        height = self._font(size, bold, SOFT if bold else INK)
        for width, text in zip(widths, row, strict=True):
            self.set_xy(x, y + 0.3)
            self.multi_cell(width, height, text, align="L")
            x += width
        self.set_draw_color(*RULE)
        self.line(self.l_margin, y + tall, self.l_margin + sum(widths), y + tall)
        self.set_xy(self.l_margin, y + tall)

    def picture(self, file: Path, widest: float, tallest: float = 120, lossy: bool = False) -> None:
        """A picture, at most so wide and tall (mm), at its own shape."""
        with Image.open(file) as opened:
            image = opened.convert("RGB")
        scale = min(widest / image.width, tallest / image.height)
        width, height = scale * image.width, scale * image.height
        if self.room(height + 1):
            self.set_image_filter("DCTDecode" if lossy else "FlateDecode")
            self.image(image, x=self.l_margin, y=self.get_y(), w=width, h=height)
            self.set_y(self.get_y() + height + 1.5)

    def write(self) -> bytes:
        """The finished document, with its last line."""
        if self.left_out:
            self.set_y(self.h - MARGIN - LAST + 2)
            height = self._font(SMALL, colour=SOFT)
            text = written(f"No room for all of: {', '.join(self.left_out)}. The whole report: report.html.", 300)
            self.multi_cell(0, height, text, align="L")
        return bytes(self.output())
