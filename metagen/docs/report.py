"""`report.html`: the package as one page that needs no other file and no network.

Its words are a Markdown template like those of the cards, so its numbers are facts; the other
documents and the figures are parts of the page.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from markupsafe import Markup

from metagen.docs import drawing, markup, provenance, render
from metagen.docs.drawing import BLUE, GREEN, GREY, ORANGE
from metagen.docs.sources import inputs
from metagen.work import Desk, Recipe, Work

TARGET = "report.html"
STYLE = "templates/page/report.css"
DOCUMENTS = {
    "README.md": "Model card",
    "docs/data_card.md": "Data card",
    "docs/eval_report.md": "Evaluation report",
    "docs/limitations.md": "Limitations",
    "code/launch/README.md": "Training on many devices",
}
_FIGURES = (
    "diagram",
    "parameters",
    "sensitivity",
    "cost",
    "learning_curve",
    "outcome",
)
# Figures that only some packages have.
_OF_SOME = ("trained_curve", "ablations")
_READ = (
    *("arch", "graph", "params", "shape", "flops", "constraints", "sensitivity"),
    *("results", "report", "ablations"),
    *("curve", "launch", "trained", "trained_curve", "plan", "samples", "bench"),
)
# The colours of the figures on a dark page, by those on a white one.
_DARK = {
    "#000000": "#e6e9ed",
    "#ffffff": "#14171a",
    BLUE.lower(): "#56b4e9",
    ORANGE.lower(): "#f08a4b",
    GREEN.lower(): "#3ecfa4",
    GREY.lower(): "#a6aeb8",
}


def recipe(made: Sequence[Recipe]) -> tuple[Recipe, ...]:
    """Return the task of the page; none for a package that lacks what it states.

    Args:
        made: The other tasks of the package.
    """
    targets = {target for each in made for target in each.targets}
    read = (*inputs(*_READ), *map(drawing.svg, _FIGURES))
    if not targets.issuperset(read):
        return ()
    others = (path for path in (*DOCUMENTS, *map(drawing.svg, _OF_SOME)) if path in targets)
    read = tuple(dict.fromkeys((*read, *others)))
    parts = provenance.targets(TARGET)
    return (Recipe("docs:report", page(read), read, parts, "write the package as one page"),)


def page(paths: tuple[str, ...]) -> Work:
    """Return the work that writes the page from some files of the package."""

    def work(desk: Desk) -> dict[str, bytes]:
        body = render.body(desk, "cards/report.md", place="")
        text = framed(desk, body.text, paths)
        return provenance.written(TARGET, text.encode(), body.printed)

    return work


def framed(desk: Desk, text: str, paths: Sequence[str]) -> str:
    """Return the page around its words."""
    style = desk.source(STYLE).decode()
    documents = [
        {
            "path": path,
            "title": title,
            "body": Markup(_document(desk, path)),
        }
        for path, title in DOCUMENTS.items()
        if path in paths
    ]
    body = markup.html(text, lambda address: _shown(desk, address, paths))
    sections = markup.sections(text)
    if documents:
        sections.append(markup.Section("documents", "Documents"))
    return render.html(
        desk,
        "page/frame.html",
        policy=policy(style),
        title=desk.key("name"),
        style=Markup(style),
        sections=sections,
        body=Markup(body),
        documents=documents,
    )


def policy(style: str, *more: str) -> str:
    """Return what a browser may load for the page: its own style, and pictures that lie in it."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = ("default-src 'none'", f"style-src 'sha256-{digest}'", "img-src data:", *more)
    return "; ".join((*rules, "base-uri 'none'", "form-action 'none'"))


def _document(desk: Desk, path: str) -> str:
    folder = path[: path.rfind("/") + 1]
    return markup.html(desk.read(path).decode(), lambda _: None, 2, folder)


def _shown(desk: Desk, address: str, paths: Sequence[str]) -> str | None:
    if address not in paths or not address.endswith(".svg"):
        return None
    return f"data:image/svg+xml;base64,{base64.b64encode(for_both(desk.read(address))).decode()}"


def for_both(svg: bytes) -> bytes:
    """Return a figure that a dark page shows in light colours.

    A figure with pictures in it keeps its white ground: text lies on them.
    """
    if b"<image" in svg:
        return svg
    rules = "".join(
        f'[style*="{name}: {light}"] {{ {name}: {dark} !important }}'
        for name in ("fill", "stroke")
        for light, dark in _DARK.items()
    )
    style = f"svg {{ fill: {_DARK['#000000']} }} {rules}"
    head, end, rest = svg.partition(b"</metadata>")
    if not end:
        return svg
    shown = f"\n<style>@media (prefers-color-scheme: dark) {{ {style} }}</style>"
    return head + end + shown.encode() + rest
