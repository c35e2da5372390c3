"""Markdown to HTML that stands in a page of its own: no script, no style, no request.

The text of documents is escaped when it becomes Markdown (`escape`), and raw HTML in Markdown is
text here, so what a stranger wrote reaches no page as markup.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

VERDICTS = ("met", "violated", "open", "bounded")
_HEADER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_LOWEST = 6  # HTML has six levels of headings.
Picture = Callable[[str], str | None]


@dataclass(frozen=True)
class Section:
    """A section of the second level: the address of its heading, and its title."""

    id: str
    title: str


def html(text: str, picture: Picture, level: int = 0, folder: str = "") -> str:
    """Return a document as HTML.

    Args:
        text: Markdown, with or without a YAML header.
        picture: From the address of an image to what an `img` shows instead; None leaves the
            image's alternative text.
        level: How much deeper each heading is than in the text; only headings of the text's own
            levels have addresses.
        folder: Where the links of the text begin, with a slash at the end.
    """
    tokens = _parsed(text)
    for at, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):
            _place(token, tokens[at + 1 : at + 2], level)
        elif token.type in ("fence", "code_block"):
            token.attrSet("tabindex", "0")  # A wide block scrolls, by keys too.
        for child in token.children or ():
            _finish(child, picture, folder)
    return str(_markdown().renderer.render(list(_tables(tokens)), _markdown().options, {}))


def sections(text: str) -> list[Section]:
    """Return the sections of the second level that `html` gives an address."""
    tokens = _parsed(text)
    titles = (tokens[at + 1] for at, token in enumerate(tokens) if _is_section(token))
    return [Section(_address(title.content), _plain(title)) for title in titles]


def _is_section(token: Token) -> bool:
    return token.type == "heading_open" and token.tag == "h2"


@cache
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False, "xhtmlOut": False}).enable("table")


def _parsed(text: str) -> list[Token]:
    return _markdown().parse(_HEADER.sub("", text))


def _place(token: Token, title: list[Token], level: int) -> None:
    """Move a heading down by some levels, and give the address of a section."""
    if _is_section(token) and not level:
        token.attrSet("id", _address(title[0].content))
    token.tag = f"h{min(_LOWEST, int(token.tag[1]) + level)}"


def _address(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"


def _plain(token: Token) -> str:
    return "".join(_plain(child) or child.content for child in token.children or ())


def _finish(token: Token, picture: Picture, folder: str) -> None:
    """Replace an image by what the page shows, and complete the address of a link."""
    if token.type == "image":
        shown = picture(str(token.attrGet("src")))
        if shown is None:
            token.type, token.content = "text", f"[Figure: {_plain(token)}]"
        else:
            token.attrSet("src", shown)
    elif token.type == "link_open" and ":" not in (address := str(token.attrGet("href"))):
        token.attrSet("href", folder + address)


def _tables(tokens: list[Token]) -> Iterator[Token]:
    """Yield the tokens; a table gets a frame that scrolls, and headers that say what they head."""
    start = None
    for at, token in enumerate(tokens):
        if token.type == "table_open":
            start = at
        if start is None:
            yield token
        elif token.type == "table_close":
            yield from _table(tokens[start : at + 1])
            start = None


def _table(tokens: list[Token]) -> Iterator[Token]:
    cells = [_plain(t) for t in tokens[: _end(tokens, "thead_close")] if t.type == "inline"]
    if not any(cells):  # Such a table has a name in each row's first cell instead.
        tokens = [tokens[0], *tokens[_end(tokens, "thead_close") + 1 :]]
    yield _tag("div", 1, {"class": "table", "tabindex": "0", "role": "group"} | _label(cells))
    yield from _cells(tokens, names_rows=not (cells and cells[0]))
    yield _tag("div", -1, {})


def _label(cells: list[str]) -> dict[str, str]:
    return {"aria-label": f"Table: {', '.join(filter(None, cells)) or 'names and values'}"}


def _end(tokens: list[Token], kind: str) -> int:
    return next(at for at, token in enumerate(tokens) if token.type == kind)


def _cells(tokens: list[Token], *, names_rows: bool) -> Iterator[Token]:
    """Yield the tokens of a table, with its styles as classes and its headers with their scope."""
    column, head = 0, False
    for at, token in enumerate(tokens):
        if token.type in ("thead_open", "thead_close"):
            head = token.type == "thead_open"
        elif token.type == "tr_open":
            column = 0
        elif token.type in ("th_open", "td_open"):
            text = _plain(tokens[at + 1])
            heads = bool(text) and (head or (names_rows and not column))
            _cell(token, tokens[at + 2], text, "" if not heads else "col" if head else "row")
            column += 1
        yield token


def _cell(opens: Token, closes: Token, text: str, scope: str) -> None:
    opens.tag = closes.tag = "th" if scope else "td"
    aligned = str(opens.attrs.pop("style", "")).removeprefix("text-align:")
    classes = [aligned] if aligned in ("right", "center") else []
    classes += [text] if text in VERDICTS and not scope else []
    if classes:
        opens.attrSet("class", " ".join(classes))
    if scope:
        opens.attrSet("scope", scope)


def _tag(name: str, nesting: int, attributes: dict[str, str]) -> Token:
    from markdown_it.token import Token

    kind = f"{name}_{'open' if nesting == 1 else 'close'}"
    made = Token(kind, name, nesting, block=True)  # type: ignore[arg-type]
    made.attrs = dict(attributes)
    return made
