"""The letters that the fonts of the paper's TeX lack, as a style of TeX with their outlines.

Chinese, Arabic, Cyrillic, Greek and mathematics need packages of TeX that are larger than all that
the paper requires. So the outlines come from the fonts of matplotlib, or of this machine, and the
style makes a font of them in the PDF (Type 3; PDF 1.7, 9.6.5). `pdflatex` needs nothing else.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from metagen import fonts
from metagen.docs import escape
from metagen.work import Desk

if TYPE_CHECKING:
    from fontTools.ttLib import TTFont

    from metagen.docs.outlines import Outline

TARGET = "paper/letters.sty"
_CODES = 100  # letters of a font; a table of their Unicode may have no more
# STIX General has the shapes of Times, in which the paper is set.
_OWN = ("STIXGeneral", "DejaVuSerif", "DejaVuSans")
_HEAD = (
    "% The letters of this report that the fonts of TeX lack: code point, place in a font,\n"
    "% UTF-16, width, box, whether a line may end before, outline. report.sty has the commands.\n"
    "\\ProvidesPackage{letters}\n"
)


def style(desk: Desk, pages: tuple[str, ...]) -> bytes:
    """Return `paper/letters.sty` for the letters of the pages."""
    text = "".join(desk.read(page).decode() for page in pages)
    needed = sorted({char for char in text if char != "\n" and not escape.TYPESET.match(char)})
    return (_HEAD + "".join(f"{line}\n" for line in _declared(desk, needed))).encode()


def _declared(desk: Desk, needed: list[str]) -> Iterator[str]:
    """Yield the declarations of letters, and of a font after its last letter."""
    outlines = dict(_outlines(desk, needed)) if needed else {}
    missing = [char for char in needed if char not in outlines]
    if missing:
        yield f"% Debian's {fonts.PACKAGE} has Chinese, Japanese and Korean."
    yield from (rf"\missingletter{{{ord(char):04X}}} % {char}" for char in missing)
    drawn = list(outlines)
    for start in range(0, len(drawn), _CODES):
        for code, char in enumerate(drawn[start : start + _CODES]):
            yield rf"{_letter(char, code, outlines[char])} % {char}"
        yield r"\letterfont"


def _letter(char: str, code: int, drawn: Outline) -> str:
    utf16 = char.encode("utf-16-be").hex().upper()
    box = " ".join(map(str, drawn.box))
    breaks = "1" if _breaks(char) else "0"
    values = (f"{ord(char):04X}", f"{code:02X}", utf16, drawn.width, box, breaks, drawn.operators)
    return r"\letter" + "".join(f"{{{value}}}" for value in values)


def _breaks(char: str) -> bool:
    """Tell whether a line may end before a letter, which needs no space in Chinese or Japanese."""
    wide = unicodedata.east_asian_width(char) in "WF"
    return wide and unicodedata.category(char) not in ("Pe", "Pf", "Po")


def _outlines(desk: Desk, needed: list[str]) -> Iterator[tuple[str, Outline]]:
    """Yield each letter that a font has, with its outline."""
    from metagen.docs.outlines import outline

    left = list(needed)
    for font in _opened(desk, left):
        known = font.getBestCmap()
        yield from [(char, outline(font, char)) for char in left if ord(char) in known]
        left[:] = [char for char in left if ord(char) not in known]


def _opened(desk: Desk, left: list[str]) -> Iterator[TTFont]:
    """Yield the fonts of matplotlib, then those of this machine while letters are left."""
    import matplotlib
    from fontTools.ttLib import TTFont

    desk.version("matplotlib")
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    for name in _OWN:
        yield TTFont(folder / f"{name}.ttf", lazy=True)
    if left:
        desk.version("fonts")
        for file in fonts.installed():
            yield TTFont(file, fontNumber=0, lazy=True)
