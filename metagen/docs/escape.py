"""Escaping the text of a spec for the language of the document.

A spec may come from a stranger, so its text must never act as markup in Markdown, LaTeX or HTML.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import starmap
from typing import TYPE_CHECKING
from urllib.parse import quote

import markupsafe
from markupsafe import Markup

from metagen.docs import directions

if TYPE_CHECKING:
    from pylatexenc.latexencode import UnicodeToLatexEncoder

_LONGEST = 600
_LONGEST_BLOCK = 2000
_LONGEST_PROPERTY = 200
_BREAK = "\ue000"  # private-use marks; `plain` leaves none of them in a text
_APART = "\ue001"
_LONG_WORD = 18
_AMOUNT = re.compile(r"[\d,.]{1,24}\u00a0\S{1,12}")
_GAP = re.compile(r"(?:[^\S\u00a0]|[\x00-\x1f\x7f-\x9f])+")
# The characters of the paper's fonts; `letters` draws the others.
TYPESET = re.compile(
    "[\u0020-\u007e\u00a0-\u00ac\u00ae-\u00b7\u00b9-\u0131\u0139-\u0148\u014a-\u017e"
    "\u2013\u2014\u2018-\u201a\u201c-\u201e\u2020-\u2022\u2026\u20ac\u2122"
    "\u2192\u2212\u221e\u2248\u2264\u2265\u00d7\u2070\u2074-\u2079\u207b]"
)
_DRAWN = re.compile(f"(?!{TYPESET.pattern}).", re.DOTALL)
_MARKDOWN = re.compile(
    r"""[\\`*\[\]<>|~$]               # markup in any position
      | &(?=\#|\w+;)                 # an entity
      | (?<![^\W_])_|_(?![^\W_])     # an underscore that is not inside a word
      | (?<=\w):(?=//)|(?<=\w)@(?=\w)|(?<=\bwww)\.   # text that renderers turn into links
      | ^(?:[-+](?=[\s-]|$)|=|\#)    # lists, rules and headings at the start
    """,
    re.VERBOSE | re.IGNORECASE,
)
_ORDERED = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
_POWER = re.compile(r"(\d+(?:\.\d+)?)e(-?\d{1,2})([.,;:)]?)")
_RAISED = re.compile("[\u207b\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+")
# The macros of the paper for text that breaks anywhere take these characters as they are.
_SIMPLE = re.compile(r"[A-Za-z0-9_./:=@,;()+*!?-]{1,600}")
# TeX joins these pairs into one dash, quotation mark, guillemet or turned mark.
_DIGITS = r"\\lefttoright{\g<0>}"  # digits of Arabic run from left to right
_WIDE = re.compile("[\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
_LIGATURE = re.compile(r"([-<>,'`])(?=\1)|([!?])(?=`)")


def plain(text: str) -> str:
    """Return text on one line, with no control characters, shortened to fit on a page."""
    line = " ".join(_GAP.split(unicodedata.normalize("NFC", text)))
    visible = "".join(_visible(char) for char in line.strip())
    return visible if len(visible) <= _LONGEST else visible[:_LONGEST] + "…"


def markdown(text: str) -> Markup:
    """Return text for a paragraph, a heading, a list or a table cell of Markdown."""
    line = plain(text).replace("\u00a0", " ")
    escaped = _MARKDOWN.sub(lambda match: "\\" + match[0], line)
    return Markup(_ORDERED.sub(r"\1\\\2", escaped))


def markdown_code(text: str) -> Markup:
    """Return text as a code span, fenced by more backticks than it contains."""
    line = plain(text).replace("\u00a0", " ").replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return Markup(f"{fence}{pad}{line}{pad}{fence}")


def markdown_link(text: str, address: str) -> Markup:
    """Return a link to a path or to an address of the web; text where there is none.

    An address of the web that is its own text stands in angle brackets.
    """
    if not address or (":" in address and not address.startswith(("https://", "http://"))):
        return markdown(text)
    target = quote(plain(address), safe="/:?#@!$&'*+,;=%~.-_")
    alone = text == address and ":" in address
    return Markup(f"<{target}>" if alone else f"[{markdown(text)}]({target})")


def markdown_block(text: str, language: str = "text") -> Markup:
    """Return text of several lines as a fenced block, shortened to fit on a page."""
    lines = text[:_LONGEST_BLOCK].split("\n")
    lines += ["…"] if len(text) > _LONGEST_BLOCK else []
    shown = "\n".join("".join(map(_visible, line.replace("\t", "    "))) for line in lines)
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}{language}\n{shown.rstrip()}\n{fence}")


def html(text: str) -> Markup:
    """Return text for an element or an attribute of HTML."""
    return markupsafe.escape(plain(text))


def latex(text: str) -> Markup:
    """Return text for a paragraph or a table cell of LaTeX; a long word may break anywhere."""
    return Markup("".join(starmap(_latex_run, directions.runs(plain(text)))))


def _latex_run(text: str, turned: bool) -> str:
    """Return text of one direction."""
    line = directions.joined(text) if turned else text
    written = " ".join(map(_latex_word, line.split(" ")))
    if not turned:
        return written
    return rf"\righttoleft{{{directions.DIGITS.sub(_DIGITS, written)}}}"


def _latex_word(word: str) -> str:
    if power := _POWER.fullmatch(word):
        figure = "" if power[1] == "1" else rf"{power[1]}\times "
        return rf"\ensuremath{{{figure}10^{{{power[2]}}}}}{power[3]}"
    if _is_long(word) and _SIMPLE.fullmatch(word):
        return rf"\word{{{word}}}"
    marked = _breakable(word) if _is_long(word) else word
    return str(_encoder().unicode_to_latex(_LIGATURE.sub(rf"\g<0>{_APART}", marked)))


def latex_code(text: str) -> Markup:
    """Return text in the typewriter face."""
    if _SIMPLE.fullmatch(text):
        return Markup(rf"\code{{{text}}}")
    return Markup(rf"\texttt{{{latex(text)}}}")


def bibtex(text: str) -> str:
    """Return text for a field of BibTeX, without the macros of the paper."""
    return str(_encoder().unicode_to_latex(_LIGATURE.sub(rf"\g<0>{_APART}", plain(text))))


def citation_keys(text: str) -> Markup:
    """Return keys of the bibliography for a citation: their letters and digits, and commas."""
    return Markup(re.sub("[^a-z0-9,]", "", text))


def pdf_string(text: str) -> Markup:
    """Return text for the properties of a PDF: as it is, or as the digits of its UTF-16."""
    line = plain(text)[:_LONGEST_PROPERTY]
    if re.fullmatch(r"[A-Za-z0-9 .,:;/()+'=@_-]*", line):
        return Markup(line.replace("_", r"\_"))
    return Markup(rf"\unicode{{FEFF{line.encode('utf-16-be').hex().upper()}}}")


def _visible(char: str) -> str:
    """Return a character, or its code point if it is invisible or reverses the text."""
    hidden = unicodedata.category(char) in ("Cf", "Cc", "Co", "Cs", "Cn")
    return f"[U+{ord(char):04X}]" if hidden else char


def _is_long(word: str) -> bool:
    """Return whether a word may break in a line; an amount may not, and Chinese does anyway."""
    longest = max(map(len, _WIDE.split(word)))
    return longest > _LONG_WORD and not _AMOUNT.fullmatch(word)


def _breakable(word: str) -> str:
    return _BREAK.join(re.findall(r"[^\W_]{1,8}|.", word))


@cache
def _encoder() -> UnicodeToLatexEncoder:
    from pylatexenc.latexencode import (
        RULE_DICT,
        RULE_REGEX,
        UnicodeToLatexConversionRule,
        UnicodeToLatexEncoder,
    )

    marks = {ord(_BREAK): r"\allowbreak{}", ord(_APART): "{}", ord('"'): r"\textquotedbl{}"}
    rule = UnicodeToLatexConversionRule(RULE_DICT, marks)
    raised = UnicodeToLatexConversionRule(RULE_REGEX, [(_RAISED, _superscript)])
    drawn = UnicodeToLatexConversionRule(RULE_REGEX, [(_DRAWN, lambda match: match[0])])
    rules = [rule, raised, drawn, "defaults"]
    return UnicodeToLatexEncoder(conversion_rules=rules, unknown_char_policy="fail")


def _superscript(match: re.Match[str]) -> str:
    text = unicodedata.normalize("NFKC", match[0]).replace("\u2212", "-")
    return rf"\ensuremath{{^{{{text}}}}}"
