"""Templates to documents: Jinja with loops but no decisions, escaping everything it prints.

A template sees nothing but the facts' door: `fact(name, style)`, `each(name)`, `has(name)` and
`label(ref)`. What it prints is escaped for Markdown or for LaTeX unless it went through `code`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from metagen.docs import escape
from metagen.docs.derived import DERIVED
from metagen.docs.facts import Facts, MissingFact, Printed, proxy
from metagen.errors import Problem, TaskError
from metagen.work import Desk

_FOLDER = "templates/"
_SOURCES = "cards/parts/sources.md"
# TeX gives braces and percent signs a meaning, so its templates mark expressions as macros.
_LATEX = {
    "block_start_string": r"\BLOCK{",
    "block_end_string": "}",
    "variable_start_string": r"\VAR{",
    "variable_end_string": "}",
    "comment_start_string": r"\NOTE{",
    "comment_end_string": "}",
}


@dataclass(frozen=True)
class Page:
    """A rendered document.

    Attributes:
        text: The document.
        printed: Each fact it shows, in order.
    """

    text: str
    printed: tuple[Printed, ...]

    @property
    def data(self) -> bytes:
        """The document as bytes of a file."""
        return self.text.encode()


def markdown(desk: Desk, template: str, metadata: dict[str, Any] | None = None) -> Page:
    """Render a Markdown template, below its YAML header if it has one.

    Args:
        desk: Where the template and its facts are read.
        template: Its path below `templates/`, such as `cards/model_card.md`.
        metadata: The header's entries; None for a document without a header.

    Raises:
        TaskError: The template asks for a fact that does not exist, or is no valid template.
    """
    filters = {"code": escape.markdown_code}
    facts = Facts(desk, DERIVED)
    body = _render(desk, facts, template, escape.markdown, filters, {})
    page = Page(_header(metadata) + body, tuple(facts.printed))
    return Page(page.text + _sources(desk, page, filters), page.printed)


def latex(desk: Desk, template: str) -> Page:
    """Render a LaTeX template; arguments and errors are those of `markdown`."""
    filters = {"code": escape.latex_code, "pdf_string": escape.pdf_string}
    facts = Facts(desk, DERIVED)
    body = _render(desk, facts, template, escape.latex, filters, _LATEX)
    return Page(body, tuple(facts.printed))


def plain(desk: Desk, template: str, **values: Any) -> str:
    """Render a template of neither language from values of our own, as they are."""
    return _render(desk, Facts(desk, DERIVED), template, Markup, {}, _LATEX, **values)


def by_source(printed: tuple[Printed, ...]) -> dict[str, list[str]]:
    """Return the entries that a document printed, by the file that they stand in."""
    found: dict[str, list[str]] = {}
    for source in dict.fromkeys(item.fact.source for item in printed if item.fact.source):
        file, _, entry = source.partition(": ")
        found.setdefault(file, []).append(entry)
    return dict(sorted(found.items()))


def _sources(desk: Desk, page: Page, filters: dict[str, Callable[[str], Markup]]) -> str:
    facts = Facts(desk, DERIVED)
    files = by_source(page.printed)
    return _render(desk, facts, _SOURCES, escape.markdown, filters, {}, sources=files.items())


def _header(metadata: dict[str, Any] | None) -> str:
    if metadata is None:
        return ""
    text = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{text}---\n\n"


def _render(
    desk: Desk,
    facts: Facts,
    template: str,
    escaped: Callable[[str], Markup],
    filters: dict[str, Callable[[str], Markup]],
    syntax: dict[str, str],
    **values: Any,
) -> str:
    environment = _environment(desk, escaped, syntax)
    environment.filters.update(filters)
    door = {
        "fact": facts.text,
        "each": facts.each,
        "has": facts.has,
        "label": facts.label,
        "proxy": proxy,
        "family": lambda: facts.get("arch.family").value,
    }
    try:
        return environment.get_template(template).render(door, **values)
    except jinja2.TemplateSyntaxError as error:
        raise TaskError(Problem(str(error.message), f"{error.name}:{error.lineno}")) from error
    except (jinja2.UndefinedError, MissingFact) as error:
        raise TaskError(Problem(str(error), _place(error))) from error


def _environment(
    desk: Desk, escaped: Callable[[str], Markup], syntax: dict[str, str]
) -> jinja2.Environment:
    def load(name: str) -> tuple[str, str, None]:
        return desk.source(_FOLDER + name).decode(), _FOLDER + name, None

    def finalize(value: Any) -> Any:
        return value if isinstance(value, Markup) else escaped(str(value))

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **syntax,
    )


def _place(error: Exception) -> str:
    """Return the line of the innermost template that an error came from."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{f.filename}:{f.lineno}" for f in frames if f.filename.startswith(_FOLDER)]
    return places[-1] if places else ""
