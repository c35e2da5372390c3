"""What a stranger may write in a spec, the barest of specs, and the figures that nobody traced."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

from helpers import docs_fixtures as sample
from helpers.fake_desk import FakeDesk
from metagen.docs import escape
from metagen.docs.fact import Printed

HOSTILE = (
    '"""; import os; os.system("id") #',
    r"\input{/etc/passwd}",
    r"\write18{touch pwned}",
    "---\nlicense: mit\n---\n",
    "# heading",
    "## a\n\n- b",
    "<script>alert(1)</script>",
    "![x](http://y/z.png)",
    "[text](http://example.org) www.example.org a@b.org",
    "a | b | c\n|---|---|",
    "$x$ 100% A&B &lt; {{ fact }} {% if %} \\VAR{x}",
    "```python\nprint()\n```",
    "`tick` ``two``",
    "*em* **strong** _em_ __strong__ ~~gone~~",
    "1. one\n2. two",
    "> quote",
    "é ß ž Ж λ 中文 \U0001f600 \u202eright to left",
    "null \x00 bell \x07 escape \x1b[31m",
    "wide" * 120,
    "=====",
    "- - -",
)

EMPTY = {
    **{name: None for name, value in sample.KEYS.items() if not isinstance(value, tuple)},
    **{name: () for name, value in sample.KEYS.items() if isinstance(value, tuple)},
    "name": "m",
    "task.type": "generation",
    "reproducibility.seed": 0,
}

STRINGS = sorted(name for name, value in sample.KEYS.items() if isinstance(value, (str, tuple)))
RESULT_FILES = ("benchmarks/results.json", "blueprint/constraints.json")


def infected(text: str) -> FakeDesk:
    """Return a desk on which each string of the spec, wherever it travelled, is `text`."""
    keys = {
        name: (text,) if isinstance(sample.KEYS[name], tuple) else text
        for name in STRINGS
        if name != "architecture.components"
    }
    keys |= {"architecture.components": ({"name": text, "type": text},)}
    keys |= dict.fromkeys((f"training.data.governance.{n}" for n in ("consent", "retention")), text)
    files = sample.package()
    results, rows = (json.loads(files[f]) for f in RESULT_FILES)
    results[-1]["benchmark"] = text
    rows[4]["required"] = rows[5]["required"] = text
    return sample.desk(keys, results=results, constraints=rows)


# A card prints a fact as text, as code, as a block of code, or as the address of a link.
FORMS = (
    *(escape.markdown, escape.markdown_code, escape.markdown_block, escape.plain),
    *(partial(escape.markdown_block, language=each) for each in ("bash", "bibtex")),
)


def untraced(text: str, printed: tuple[Printed, ...], forms: tuple[Any, ...] = FORMS) -> list[str]:
    """Return the numerals of a document that stand between the facts that it printed."""
    gaps, at = [], 0
    for item in printed:
        found = [(text.find(form(item.text), at), form(item.text)) for form in forms]
        start, shown = min((pair for pair in found if pair[0] >= 0), default=(-1, ""))
        assert start >= 0, f"{item} was not printed"
        gaps.append(text[at:start])
        at = start + len(shown)
    return re.findall(r"\S*\d\S*", "\0".join([*gaps, text[at:]]))
