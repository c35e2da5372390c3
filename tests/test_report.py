"""`report.html`: one page that needs nothing else, says only facts, and anybody can read."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from helpers import docs_fixtures as sample
from helpers.docs_strangers import HOSTILE, infected, untraced
from helpers.fake_desk import FakeDesk
from helpers.turns import in_turn

from metagen.docs import RECIPES, escape, markup, provenance, render, report
from metagen.measure.evidence import EVIDENCE
from metagen.work import Recipe

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
VOID = {"meta", "img", "br", "hr", "link", "input"}
# The parts that recipes of other rooms make, and the task of the documents does not read.
FOREIGN = Recipe("other:files", lambda desk: {}, (), (*sample.package(), EVIDENCE), "")


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def recipe() -> Recipe:
    (made,) = report.recipe((*RECIPES, FOREIGN))
    return made


def made(desk: FakeDesk) -> str:
    """Return the page of a package, with all of its documents in it."""
    for each in RECIPES:
        if each.targets[0] in report.DOCUMENTS:
            desk.files.update(each.work(desk))  # type: ignore[arg-type]
    for each in RECIPES:
        if each.targets[0] in recipe().inputs and each.targets[0] not in desk.files:
            desk.files[each.targets[0]] = b"<svg/>"
    desk.reads.clear()
    return recipe().work(desk)["report.html"].decode()  # type: ignore[arg-type, union-attr]


@pytest.fixture(scope="module")
def text() -> str:
    return made(sample.desk())


def test_the_page_reads_what_it_declares() -> None:
    desk = sample.desk()
    made(desk)
    inputs = set(recipe().inputs) - {EVIDENCE, "docs/figures/trained_curve.svg"}
    assert desk.reads <= inputs
    trained = {"trained/plan.json", "trained/samples.json", "trained/bench.json",
               "trained/curve.csv", "code/launch/plan.json"}  # fmt: skip
    assert inputs - desk.reads <= trained


def test_a_package_without_results_has_no_page() -> None:
    assert report.recipe(RECIPES) == ()


def test_the_page_requests_nothing(text: str) -> None:
    page = Page(text)
    assert not page.all("script", "link", "iframe", "object", "embed", "form", "base")
    for picture in page.all("img"):
        assert str(picture["src"]).startswith("data:image/svg+xml;base64,")
    assert not [e for e in page.elements if {"style", "onclick", "onload"} & set(e[1])]
    assert "url(" not in text
    assert "@import" not in text


def test_the_policy_allows_the_style_of_the_page_alone(text: str) -> None:
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]  # type: ignore[index]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = (m["content"] for m in Page(text).all("meta") if "http-equiv" in m)
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def test_the_page_can_be_read_without_seeing_it(text: str) -> None:
    page = Page(text)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = Counter(a["id"] for _, a in page.elements if "id" in a)
    assert set(ids.values()) == {1}
    local = [str(a["href"])[1:] for a in page.all("a") if str(a["href"]).startswith("#")]
    assert local
    assert set(local) <= ids.keys()
    assert all(str(picture.get("alt") or "").endswith(".") for picture in page.all("img"))
    assert page.all("html") == [{"lang": "en"}]
    assert {"col", "row"} == {str(head.get("scope")) for head in page.all("th")}


def test_each_numeral_of_the_page_is_a_fact() -> None:
    body = render.body(sample.desk(), "cards/report.md", place="")
    words = re.sub(r"\|[ :|-]+\|", "", body.text)
    forms = (escape.markdown, escape.markdown_code)
    assert not [n for n in untraced(words, body.printed, forms) if re.search(r"\d", n)]


def test_the_numbers_of_the_page_are_in_the_provenance() -> None:
    desk = sample.desk()
    made(desk)
    path = provenance.part("report.html")
    rows = recipe().work(desk)[path]
    assert b'"fact": "params.total"' in rows  # type: ignore[operator]


def test_a_document_is_a_part_of_the_page(text: str) -> None:
    titles = re.findall(r"<summary>(.*?)</summary>", text)
    assert titles == list(report.DOCUMENTS.values())
    assert "license:" not in text, "the header of the model card is for the Hub"


@pytest.mark.parametrize("stranger", in_turn(HOSTILE))
def test_what_a_stranger_wrote_is_text(stranger: str) -> None:
    page = Page(made(infected(stranger)))
    plain = Page(made(sample.desk()))
    tags = {tag for tag, _ in plain.elements}
    assert {tag for tag, _ in page.elements} - tags <= {"br"}
    known = {a["href"] for a in plain.all("a")}
    assert {a["href"] for a in page.all("a")} <= known
    assert len(page.all("img")) == len(plain.all("img"))


MARKDOWN = """---
license: mit
---
# Title

## A & B

| | one |
| --- | ---: |
| name | <b>met</b> |
| | met |

| | |
| --- | --- |
| k | v |

![seen](a.svg) ![not *seen*](b.svg) [far](https://example.org) [near](c.md)

<script>alert(1)</script> [x](javascript:alert(1))

```text
<i>
```
"""


def shown(address: str) -> str | None:
    return {"a.svg": "data:a"}.get(address)


def test_markdown_becomes_html_of_the_page() -> None:
    html = markup.html(MARKDOWN, shown, 1, "docs/")
    assert html.startswith("<h2>Title</h2>\n<h3>A &amp; B</h3>")
    assert '<th class="right" scope="col">one</th>' in html
    assert '<th scope="row">name</th>' in html
    assert '<td class="right">&lt;b&gt;met&lt;/b&gt;</td>' in html
    assert '<td class="right met">met</td>' in html
    assert 'aria-label="Table: names and values"' in html
    assert html.count("<thead>") == 1
    assert '<img src="data:a" alt="seen"' in html
    assert "[Figure: not seen]" in html
    assert '<a href="https://example.org">far</a> <a href="docs/c.md">near</a>' in html
    assert "<script" not in html
    assert 'href="javascript' not in html
    assert '<pre><code tabindex="0" class="language-text">&lt;i&gt;' in html


def test_sections_have_the_addresses_of_their_headings() -> None:
    assert markup.sections(MARKDOWN) == [markup.Section("a-b", "A & B")]
    assert '<h2 id="a-b">A &amp; B</h2>' in markup.html(MARKDOWN, shown)


def test_a_figure_has_light_colours_on_a_dark_page_unless_it_holds_pictures() -> None:
    plain = b"<svg><metadata></metadata><path style='fill: #000000'/></svg>"
    assert b"@media (prefers-color-scheme: dark)" in report.for_both(plain)
    pictures = plain.replace(b"<path", b"<image/><path")
    assert report.for_both(pictures) == pictures


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_axe_finds_nothing_in_a_browser(tmp_path: Path, scheme: Any, width: int) -> None:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("Chromium is not installed: `apt-get install chromium`.")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="The extra `browser` is not installed."
    )
    from axe_playwright_python.sync_playwright import Axe

    desk = sample.desk()
    for each in RECIPES:
        if each.targets[0].startswith("docs/figures/"):
            desk.files.update(each.work(desk))  # type: ignore[arg-type]
    place = tmp_path / "report.html"
    place.write_text(made(desk))
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        seen = {"width": width, "height": 800}
        page = browser.new_page(color_scheme=scheme, viewport=seen, bypass_csp=True)
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(place.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        violations = Axe().run(page).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert not [each for each in requests if not each.startswith(("data:", "file:"))]
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        browser.close()
