"""Texts ask for a truth value by the word that a fact of it is written with."""

from __future__ import annotations

import re

from metagen import paths
from metagen.docs import wording

ASKED = re.compile(r'fact\("[\w.]+", "bare"\) == "(\w+)"')


def test_a_text_that_depends_on_a_truth_value_names_it_as_facts_do() -> None:
    texts = paths.source("templates/families/video_dit/card.md").parent.parent
    asked = [
        (path, word)
        for path in texts.rglob("*")
        if path.suffix in (".md", ".tex")
        for word in ASKED.findall(path.read_text("utf-8"))
    ]
    assert len(asked) >= 6
    written = {wording.write(value, "", "bare") for value in (True, False)}
    assert not [each for each in asked if each[1] not in written]
