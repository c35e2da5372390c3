"""What documents say under a condition: both states of each condition read as whole sentences.

A condition is a fact that a template asks for. Each document is rendered without that fact, and
with no other; the sample package is that of the documents' tests, trained and not trained.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Set
from typing import Any
from unittest import mock

from metagen.docs import paper, render
from metagen.docs.fact import Ref
from metagen.docs.facts import Facts
from metagen.measure.results import RESULTS
from tests.helpers import docs_fixtures as sample
from tests.helpers.fake_desk import FakeDesk

from .lab import Lab
from .tally import Tally

_NO_CURVE = "step,train_loss,val_loss,learning_rate\n"
_TYPED = {
    "metric": "accuracy", "title": "accuracy", "unit": "share", "higher_is_better": True,
    "dataset": "cais/mmlu", "value": 0.6512, "size": "full", "status": "measured",
    "origin": "typed",
}  # fmt: skip
_PROXY, *_MORE = json.loads(sample.package()[RESULTS])
STATES: dict[str, dict[str, Any]] = {
    "trained": {},
    "typed": {"results": [_PROXY | {"origin": "typed"}, *_MORE, _MORE[-1] | _TYPED]},
    "not trained": {"results": [], "curve": _NO_CURVE},
}
_REAL = Facts.has
# What an omitted passage leaves behind where its template is wrong.
FLAWS = {
    "a sentence that is cut off": re.compile(
        r"[\w)}\"'] ?[,;:] ?\.(?!\w)|\.\.(?![./])| \.(?![\w.])"
    ),
    "a sentence about a missing fact": re.compile(
        r"\b(?:is|are|of|for|from|with|domain|duration|declares) (?:not declared|not measured)"
    ),
    "a sentence without a capital": re.compile(r"(?<!e\.g)(?<!i\.e)(?<!cf)[a-z)]\. [a-z]"),
    "an announcement of nothing": re.compile(r":\n+(?:#|\\(?:section|paragraph|end\{document))"),
    "a table without rows": re.compile(r"\n\|[ :|-]+\|\n(?!\|)|\\midrule\s*\\bottomrule"),
    "empty brackets": re.compile(r"\(\s*\)"),
    "a missing value": re.compile(r"(?<![\w-])None(?![\w-]| of )"),
}


def measure(lab: Lab) -> Tally:
    """Render every document in every state of every condition, and read it."""
    tally = Tally("statements")
    tally.must_not(*FLAWS)
    for state, changed in STATES.items():
        asked = {name: _asked(document, changed) for name, document in DOCUMENTS.items()}
        cases = [(name, fact) for name in sorted(asked) for fact in sorted(asked[name])]
        for name, fact in lab.progress("statements", lab.some(cases, f"statements {state}"), str):
            for how, known in (("without", asked[name] - {fact}), ("only", {fact})):
                text = _rendered(DOCUMENTS[name], changed, known)
                tally.count("documents")
                read(text, f"{name}, {state}, {how} {fact}", tally)
        tally.count("conditions", len(cases))
    return tally


def read(text: str, case: str, tally: Tally) -> None:
    """Note what does not read as whole sentences."""
    for kind, flaw in FLAWS.items():
        found = flaw.search(text)
        near = text[max(0, found.start() - 60) : found.end() + 40] if found else ""
        tally.check(not found, kind, f"{case}: {near!r}")


def _desk(changed: dict[str, Any]) -> FakeDesk:
    return sample.desk(dict.fromkeys(_ABSENT, "this value"), **changed)


# Texts of the spec that the sample package does not declare.
_ABSENT = [name for name, value in sample.KEYS.items() if value is None and "min" not in name]


def _asked(document: Document, changed: dict[str, Any]) -> Set[str]:
    """Return the facts whose presence a document asks for, where all are present."""
    asked: set[str] = set()

    def has(facts: Facts, name: str | Ref) -> bool:
        there = _REAL(facts, name)
        asked.update([str(name)] if there and not _inside_a_row(str(name)) else [])
        return there

    with mock.patch.object(Facts, "has", has):
        document(_desk(changed))
    return asked


def _rendered(document: Document, changed: dict[str, Any], known: Set[str]) -> str:
    def has(facts: Facts, name: str | Ref) -> bool:
        return _REAL(facts, name) and (str(name) in known or _inside_a_row(str(name)))

    with mock.patch.object(Facts, "has", has):
        return document(_desk(changed))


def _inside_a_row(name: str) -> bool:
    return any(part.isdigit() for part in name.split("."))


Document = Callable[[Any], str]


def _documents() -> Iterator[tuple[str, Document]]:
    for card in ("model_card", "data_card", "eval_report", "limitations", "launch"):
        yield card, lambda desk, card=card: render.markdown(desk, f"cards/{card}.md").text  # type: ignore[misc]
    for section in paper.SECTIONS:
        path = f"paper/sections/{section}.tex"
        yield section, lambda desk, path=path: render.latex(desk, path).text  # type: ignore[misc]


DOCUMENTS = dict(_documents())
