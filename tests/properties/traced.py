"""Each number of a document has a source: what `docs/provenance.json` says, held against the files.

`judge` reads a package as it lies on the disk, so `python -m tests.properties.traced FOLDER...`
measures packages that somebody else built, with their real results.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from metagen import entries, files
from metagen.docs import escape, provenance, scores, wording
from metagen.docs.fact import MissingFact, Ref
from metagen.docs.facts import Facts
from metagen.docs.sources import TERMS
from metagen.measure.results import ABLATED, RESULTS
from metagen.spec import load
from metagen.work import Desk
from tests.helpers.plain_desk import PlainDesk

from .counted import counted
from .lab import Lab
from .tally import Tally

Row = Mapping[str, Any]
KINDS = ("numerals without a source", "entries without their value", "other texts")
_STYLES = ("full", "bare", "short", "percent", "words")
_MARKDOWN = (str, escape.markdown, escape.markdown_code)
_LATEX = (escape.latex, escape.latex_code, escape.pdf_string)
# What holds numerals and states nothing: blocks of commands, markup, equations.
_COMMANDS = re.compile(r"(?ms)^(`{3,}).*?^\1$")
_TEX = re.compile(
    r"\\begin\{(equation|align|gather|pmatrix)\}.*?\\end\{\1\}|\\ref\{[^}]*\}|\\label\{[^}]*\}"
    r"|\\multicolumn\{\d\}|\\cite[tp]?\{[^}]*\}|\d[\d.]*(?:em|cm|pt|\\linewidth)|^\\pdf\w+=-?1$"
    r"|^\\documentclass\[[^\]]*\]"
    # Indices and names in formulas.
    r"|(?<=\$)[012](?= )|[_^]\{?\d|\\mathbf\{0\}",
    re.DOTALL | re.MULTILINE,
)
_NAME = re.compile(r"\b[A-Za-z]\w*\d\w*")  # such as bf16
_ORPHAN = re.compile(r"\S*\d\S*")


def measure(lab: Lab) -> Tally:
    """Build packages, and trace each number of their documents; counts stand in for trainings."""
    tally = Tally("traced")
    tally.must_not(*KINDS)
    for spec in lab.progress("traced", lab.some(lab.specs, "traced"), lambda s: s.stem):
        with lab.folder() as folder:
            built = counted(folder, spec)
            if tally.check(not built.status, "builds that fail", built.output[-300:]):
                judge(folder / f"run-{spec.stem}", tally)
    return tally


def judge(package: Path, tally: Tally) -> Tally:
    """Trace each number of the documents of a package."""
    tally.count("packages")
    desk = PlainDesk.of_spec(load(package / "spec_resolved.yaml"))
    desk.package = {p: (package / p).read_bytes() for p in _paths(package)}
    return hold(desk, desk.package, tally)


def _paths(package: Path) -> list[str]:
    return [p.relative_to(package).as_posix() for p in package.rglob("*") if p.is_file()]


def hold(desk: Desk, package: Mapping[str, bytes], tally: Tally) -> Tally:
    """Hold `docs/provenance.json` against the documents and the sources of a package."""
    rows = json.loads(package[provenance.TARGET])
    tally.count("entries", len(rows))
    for document, text in documents(package):
        printed = [row["printed"] for row in rows if row["document"] == document]
        tally.count("documents")
        for numeral in orphans(document, text, printed):
            tally.violated(KINDS[0], f"{document}: {numeral}")
    facts = Facts(desk)
    for row in rows:
        case = f"{row['document']}: {row['printed']!r} of {row['fact']}"
        tally.check(_holds(row, facts, package), KINDS[1], case)
        tally.check(row["printed"] in set(_texts(row, facts, package)), KINDS[2], case)
    return tally


def documents(package: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    """Yield each document that has facts, with its text."""
    for path in package:
        if path.startswith(provenance.FOLDER):
            document = path.removeprefix(provenance.FOLDER).removesuffix(".json")
            if document.endswith((".md", ".tex")):
                yield document, package[document].decode()


def orphans(document: str, text: str, printed: Sequence[str]) -> list[str]:
    """Return the numerals of a document that are in none of the texts that it printed."""
    tex = document.endswith(".tex")
    text = text if tex else _COMMANDS.sub("", text)
    forms = {str(form(each)) for each in printed for form in (_LATEX if tex else _MARKDOWN)}
    for form in sorted((f for f in forms if re.search(r"\d", f)), key=len, reverse=True):
        text = re.sub(rf"(?<![\w.,]){re.escape(form)}(?![\w])", "\0", text)
    return _ORPHAN.findall(_NAME.sub("", _TEX.sub("", text) if tex else text))


def _holds(row: Row, facts: Facts, package: Mapping[str, bytes]) -> bool:
    """Return whether the source has the value, or a derived fact follows once more."""
    room, _, name = row["fact"].partition(".")
    if room == "term":
        return bool(row["value"] == TERMS[name])
    if row["formula"] is not None:
        try:
            return bool(_plain(facts.get(row["fact"]).value) == row["value"])
        except MissingFact:
            return False
    _, way = entries.split(f"#{row['pointer']}")
    content = entries.parse(row["source"], package[row["source"]])
    try:
        value = entries.at(content, way)
    except LookupError:
        return False
    return bool(_plain(value) == row["value"] or way[-1] == row["value"])


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    return json.loads(files.json_bytes(value))


def _texts(row: Row, facts: Facts, package: Mapping[str, bytes]) -> Iterator[str]:
    """Yield each text that a value may have in a document."""
    # Records in JSON have a value in this form.
    yield json.dumps(row["value"])
    for style in _STYLES:
        text = wording.write(row["value"], row["unit"], style)
        yield from (text, wording.arithmetic(text), text[:1].upper() + text[1:])
    if row["source"] in (RESULTS, ABLATED) and row["formula"] is None:
        if row["fact"].endswith(".origin"):
            yield facts.origin(Ref(row["fact"].removesuffix(".origin")))
        elif not isinstance(row["value"], (str, bool)):
            yield from _scores(row, package)


def _scores(row: Row, package: Mapping[str, bytes]) -> Iterator[str]:
    """Yield a score with the digits of the row that it belongs to."""
    _, way = entries.split(f"#{row['pointer']}")
    # A baseline has the digits of the proxy's score.
    of = way[:1] if row["source"] == RESULTS else way[:-1]
    text = scores.write(row["value"], entries.at(json.loads(package[row["source"]]), of))
    number = text.replace(",", "").replace(wording.MINUS, "-")
    yield from (text, str(float(number)) if " to " not in text else text)


if __name__ == "__main__":
    found = Tally("traced")
    for place in sys.argv[1:]:
        judge(Path(place), found)
    print(found.text())
    sys.exit(bool(found.violations))
