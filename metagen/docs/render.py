"""Rendering documents from templates: Jinja without arithmetic and without numerals.

A template can call only the functions of `_door`, such as `fact(name, style)`, `each(name)`,
`has(name)`, `equals(name, value)`, `label(ref)` and `score(ref)`. It may loop and omit passages;
every number comes from a fact, and everything it prints is escaped for the language of the
document.
"""

from __future__ import annotations

import posixpath
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import yaml
from markupsafe import Markup

from metagen.docs import escape, numbered, wording
from metagen.docs.fact import MissingFact, Printed, Ref, proxy
from metagen.docs.facts import Facts
from metagen.docs.sources import FILES
from metagen.errors import Problem, TaskError
from metagen.measure.results import FULL, MEASURED, PARTIAL, PROXY
from metagen.work import Desk

if TYPE_CHECKING:
    import jinja2

    from metagen.docs.compiled import Codes

_FOLDER = "templates/"
_HEADLINES = 3  # scores of an abstract, and limits that it states in full
_FENCED_OR_EMPTY = re.compile(r"^(`{3,})[^\n]*\n.*?^\1$|\n{3,}", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Page:
    """A rendered document.

    Attributes:
        text: The document.
        printed: Each fact in it, in order.
    """

    text: str
    printed: tuple[Printed, ...]

    @property
    def data(self) -> bytes:
        """The document as bytes of a file."""
        return self.text.encode()


@dataclass(frozen=True)
class _Language:
    """The syntax of a template, the escaping of its output, and what was compiled so far."""

    escaped: Callable[[str], Markup]
    filters: Mapping[str, Callable[..., Markup]] = field(default_factory=dict)
    syntax: Mapping[str, Any] = field(default_factory=dict)
    compiled: Codes = field(default_factory=dict)


# Braces and percent signs have a meaning in TeX, so its templates mark expressions as macros.
_MACROS = {
    "block_start_string": r"\BLOCK{",
    "block_end_string": "}",
    "variable_start_string": r"\VAR{",
    "variable_end_string": "}",
    "comment_start_string": r"\NOTE{",
    "comment_end_string": "}",
}
_MARKDOWN = _Language(
    escape.markdown, {"code": escape.markdown_code, "block": escape.markdown_block}
)
_LATEX = _Language(
    escape.latex,
    {"code": escape.latex_code, "pdf_string": escape.pdf_string, "keys": escape.citation_keys},
    _MACROS,
)
_HTML = _Language(escape.html)
_PLAIN = _Language(Markup, syntax=_MACROS)


def markdown(
    desk: Desk, template: str, metadata: dict[str, Any] | None = None, place: str = "docs/"
) -> Page:
    """Render a Markdown template, with its YAML header if it has one.

    Args:
        desk: Reads the template and its facts.
        template: Its path in `templates/`, such as `cards/model_card.md`.
        metadata: The header's entries; None for a document without a header.
        place: The document's folder in the package, from where its links start; "" is the package.

    Raises:
        TaskError: The template is invalid, or requests a fact that does not exist.
    """
    page = body(desk, template, place)
    return Page(_header(metadata) + page.text, page.printed)


def body(desk: Desk, template: str, place: str) -> Page:
    """Render a Markdown template alone; arguments and errors are those of `markdown`."""
    links = {"link": partial(_link, place), "image": partial(_image, place)}
    page = _page(desk, template, _MARKDOWN, **links)
    return Page(_tidy(page.text), page.printed)


def html(desk: Desk, template: str, **values: Any) -> str:
    """Render an HTML template; its values are escaped, but for `Markup`."""
    return _render(desk, Facts(desk), template, _HTML, **values)


def latex(desk: Desk, template: str) -> Page:
    """Render a LaTeX template; arguments and errors are those of `markdown`."""
    return _page(desk, template, _LATEX)


def plain(desk: Desk, template: str, **values: Any) -> str:
    """Render a template of another language; its values are metagen's own and not escaped."""
    return _render(desk, Facts(desk), template, _PLAIN, **values)


def _link(place: str, text: str, path: str) -> Markup:
    """Return a link to a file of the package."""
    # From a root, so that the current folder plays no part.
    return escape.markdown_link(text, posixpath.relpath(f"/{path}", f"/{place}"))


def _image(place: str, text: str, path: str) -> Markup:
    """Return a figure of the package, with a text for those who do not see it."""
    return Markup("!") + _link(place, text, path)


def _tidy(text: str) -> str:
    """Return a document without the empty lines that omitted passages leave in a row."""
    kept = _FENCED_OR_EMPTY.sub(lambda found: found[0] if found[1] else "\n\n", text)
    return kept.strip("\n") + "\n"


def _header(metadata: dict[str, Any] | None) -> str:
    if metadata is None:
        return ""
    text = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{text}---\n\n"


def _page(desk: Desk, template: str, language: _Language, **values: Any) -> Page:
    facts = Facts(desk)
    text = _render(desk, facts, template, language, **values)
    return Page(text, tuple(facts.printed))


def _render(desk: Desk, facts: Facts, template: str, language: _Language, **values: Any) -> str:
    import jinja2

    try:
        page = _environment(desk, language).get_template(template)
        return wording.agreeing(page.render(_door(facts), **values))
    except jinja2.TemplateSyntaxError as error:
        raise TaskError(Problem(str(error.message), f"{error.name}:{error.lineno}")) from error
    except (jinja2.UndefinedError, MissingFact) as error:
        raise TaskError(Problem(str(error), _place(error))) from error


def _door(facts: Facts) -> dict[str, Callable[..., Any]]:
    """Return the functions that a template may call."""
    return {
        "fact": facts.text,
        "answer": lambda name: _answer(facts, Ref(name)),
        "sources": lambda: _sources(facts),
        "named": lambda source: named(facts, source),
        "works": lambda ref: _works(facts, ref),
        "address": lambda name: _address(facts, name),
        "requested": lambda *names: (
            not set(names).isdisjoint(facts.get("spec.outputs.artifacts").value)
        ),
        "each": facts.each,
        # The results of the proxy and of the full model have places of their own.
        "measured": lambda: facts.each("results", status=MEASURED, size=PROXY),
        "headlines": lambda: facts.each("results", status=MEASURED, size=PROXY)[:_HEADLINES],
        # An abstract gives the figures of the first rows, and the names of the others.
        "first": lambda rows: rows[:_HEADLINES],
        "others": lambda rows: rows[_HEADLINES:],
        "full": lambda: facts.each("results", status=MEASURED, size=FULL),
        "full_runs": lambda: _runs(facts, FULL),
        "origin": facts.origin,
        "bound": facts.is_bound,
        # A training run of the full model is bound to the package, complete or in part.
        "trained": facts.is_trained,
        "partial": lambda: facts.get("trained.status").value == PARTIAL,
        "edited_code": lambda: (
            facts.has("trained.code.same") and not facts.get("trained.code.same").value
        ),
        "edited": lambda name: facts.edited(FILES[name]),
        "distinct": facts.distinct,
        "has": facts.has,
        "equals": lambda name, value: facts.get(name).value == value,
        "same": lambda one, other: facts.get(one).value == facts.get(other).value,
        "label": facts.label,
        "score": facts.score,
        "outcome": lambda baseline: Ref((*baseline[:2], "outcomes", baseline[-1])),
        "best": facts.is_best,
        "judged": lambda row, part="sentence", style="full": facts.text(
            f"derived.{part}.{row[1]}", style
        ),
        "marks": lambda row: numbered.numbers(facts, row),
        "proxy": proxy,
        "family": lambda: facts.family().texts.rpartition("/")[2],
        "of_task": lambda file: facts.family().task.source(file).removeprefix("templates/"),
        "taken": lambda: facts.family().task.taken,
        "pipeline_tag": lambda: facts.family().words.pipeline_tag,
    }


def _runs(facts: Facts, size: str) -> list[Ref]:
    """Return the rows of results, one for each run: of several metrics of a run, the first."""
    first: dict[tuple[Any, ...], Ref] = {}
    for ref in facts.each("results", status=MEASURED, size=size):
        row = facts.entry(ref)
        key = tuple(row.get(name) for name in ("benchmark", "steps", "command", "sha256"))
        first.setdefault(key, ref)
    return list(first.values())


def _works(facts: Facts, of: Ref) -> Markup:
    """Return the works that show a statement, in brackets and with their addresses."""
    works = facts.each(of / "references")
    links = [_linked(facts, work / "label", work / "url") for work in works]
    return Markup(f" ({'; '.join(links)})") if links else Markup("")


def _linked(facts: Facts, name: Ref, address: Ref) -> Markup:
    text = facts.text(name)
    return escape.markdown_link(text, facts.text(address) if facts.has(address) else "")


def _address(facts: Facts, name: str | Ref) -> Markup:
    """Return an address of the web as a link to itself."""
    text = facts.text(name)
    return escape.markdown_link(text, text)


def _answer(facts: Facts, key: Ref) -> str:
    """Return a key of the spec as text; one that is not declared is named, to be added."""
    absent = f"not declared: add {'.'.join(key[1:])} to the spec"
    return facts.text(key) if facts.has(key) else absent


def _sources(facts: Facts) -> str:
    """Return the names of the declared sources of training data."""
    sources = facts.each("spec.training.data.sources")
    names = [facts.text(named(facts, source)) for source in sources]
    return ", ".join(names) or facts.text("spec.training.data.sources")


def named(facts: Facts, source: Ref) -> Ref:
    """Return the address of the name of a source of data, which may be its name alone."""
    return source / "name" if isinstance(facts.entry(source), dict) else source


def _environment(desk: Desk, language: _Language) -> jinja2.Environment:
    import jinja2

    from metagen.docs.compiled import Compiled

    def load(name: str) -> tuple[str, str, None]:
        return desk.source(_FOLDER + name).decode(), _FOLDER + name, None

    def finalize(value: Any) -> Markup:
        return value if isinstance(value, Markup) else language.escaped(str(value))

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        bytecode_cache=Compiled(language.compiled),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **language.syntax,
    )
    environment.filters.update(language.filters)
    return environment


def _place(error: Exception) -> str:
    """Return the line of the innermost template that an error came from."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{f.filename}:{f.lineno}" for f in frames if f.filename.startswith(_FOLDER)]
    return places[-1] if places else ""
