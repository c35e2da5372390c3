"""The paper of each family as pages: no line sticks out, no reference is open, no page is bare."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from helpers.building import fake_measurements
from helpers.family_code import spec_paths
from helpers.pages import filled
from helpers.plain_desk import PlainDesk

from metagen import families
from metagen.docs import latex, paper
from metagen.engine import graph
from metagen.measure import sandbox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ci,
    pytest.mark.skipif(not all(map(shutil.which, paper.PROGRAMS)), reason="TeX is not installed"),
    pytest.mark.skipif(not shutil.which("pdftoppm"), reason="poppler is not installed"),
]
# Each column ends below this share of its height; on the last page only the first one has to.
LEAST, LEAST_OF_THE_LAST = 0.67, 0.6


class Desk(PlainDesk):
    """A desk that knows no version of TeX: the paper's text does not hold it."""

    def version(self, name: str) -> str:
        return "" if name == "tex" else super().version(name)


@pytest.mark.parametrize("name", families.FAMILIES)
def test_a_familys_paper_has_no_flaw_and_no_page_a_third_empty(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "run", fake_measurements)
    desk = Desk.of(spec_paths()[name])
    tasks = graph.of_spec(desk.spec, None)
    (last,) = (recipe for recipe in tasks.recipes if recipe.targets == (latex.TARGET,))
    for recipe in tasks.in_order([last]):
        if recipe is not last:
            desk.package |= recipe.work(desk)
    made = latex.compiled(desk, last.inputs)
    assert latex.flaws(made.log) == []
    *pages, (first, _) = filled(made.pdf, tmp_path)
    assert len(pages) >= 3
    assert [page for page, ends in enumerate(pages, 1) if min(ends) < LEAST] == []
    assert first > LEAST_OF_THE_LAST
