"""The outcome figure: ready forms that any task may use, and a form that a task brings itself."""

from __future__ import annotations

import ast
import itertools
import re
from typing import Any

import pytest
from helpers import docs_fixtures as sample
from helpers.fake_desk import FakeDesk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from metagen import paths
from metagen.docs import drawing, outcome
from metagen.docs.facts import Facts
from metagen.errors import TaskError
from metagen.measure.evidence import EVIDENCE

OWN = "templates/tasks/language_modeling/outcome.py"
BOXES = b"""
from matplotlib.patches import Rectangle

def draw(figure, content):
    figure.set_size_inches(3, 2)
    axes = figure.add_subplot()
    axes.imshow(content["image"])
    for x, y, width, height, label in content["boxes"]:
        axes.add_patch(Rectangle((x, y), width, height, fill=False))
        axes.text(x, y, label)
"""
CONTENT = {
    "kind": "boxes",
    "image": [[0.1, 0.9], [0.5, 0.2]],
    "boxes": [[0, 0, 1, 1, "cat"]],
}


class TaskDesk(FakeDesk):
    """A desk over the sample package, with sources that lie in no folder."""

    def __init__(self, content: dict[str, Any] | None, **sources: bytes) -> None:
        super().__init__(sample.package(report={"report": {"figure": content}}), sample.KEYS)
        self.sources, self.sourced = {OWN: sources["own"]} if sources else {}, []

    def source(self, name: str) -> bytes:
        self.sourced.append(name)
        if name not in self.sources:
            raise TaskError(f"{name} does not exist.")
        return self.sources[name]


def drawn(desk: FakeDesk) -> bytes:
    pdf = drawing.saved(desk, outcome.outcome(desk), "pdf")
    assert pdf.startswith(b"%PDF")
    return pdf


def test_a_task_draws_a_form_of_its_own():
    desk = TaskDesk(CONTENT, own=BOXES)
    first = drawn(desk)
    assert b"/MediaBox [ 0 0 216 144 ]" in first  # 3 x 2 inches, as the task's draw says
    assert desk.sourced == [OWN]
    for recipe in outcome.RECIPES:
        assert desk.reads == set(recipe.inputs) - {EVIDENCE}
    other = CONTENT | {"boxes": [[0, 0, 1, 1, "dog"]]}
    assert drawn(TaskDesk(other, own=BOXES)) != first
    assert drawn(TaskDesk(CONTENT, own=BOXES.replace(b"fill=False", b"fill=True"))) != first


def test_a_form_that_nothing_draws_names_those_that_are_there():
    with pytest.raises(TaskError) as error:
        drawn(TaskDesk(CONTENT))
    text = str(error.value)
    assert "'boxes'" in text
    assert "matrix, images, lines, texts" in text
    assert OWN in text


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "matrix", "labels": ["a", "b"], "values": [[3, 0], [1, 2]], "x": "p", "y": "t"},
        {"kind": "images", "columns": ["one"], "rows": [[[[0.0, 1.0]]], [[[1.0, 0.0]]]]},
        {"kind": "lines", "x": "k", "y": "share", "series": [
            {"name": str(n), "x": [0, 1], "y": [0, n]} for n in range(9)]},
    ],
    ids=lambda content: content["kind"],
)  # fmt: skip
def test_a_ready_form_needs_no_source_of_the_task(content):
    desk = TaskDesk(content)
    assert drawn(desk) == drawn(TaskDesk(content))
    assert desk.sourced == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"kind": "matrix", "labels": ["a", "b"], "values": [[3, 0], [1, 1200]], "x": "p",
          "y": "t"},
         "Matrix of counts, p against t, of a, b: 1,203 of 1,204 lie on the diagonal."),
        ({"kind": "images", "columns": ["seen", "made"], "rows": [[[[0.0]], [[1.0]]]]},
         "Grid of images in 1 row, in columns: seen, made."),
        ({"kind": "lines", "x": "k", "y": "share", "series": [
            {"name": str(n), "x": [0], "y": [0]} for n in range(14)]},
         "Lines of share over k: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, and 2 more."),
        ({"kind": "texts", "columns": ["begins", "goes on"], "rows": [["a", "b"], ["c", "d"]]},
         "Texts. begins: a, goes on: b; begins: c, goes on: d."),
        (CONTENT, "Boxes around cats."),
    ],
    ids=lambda case: case["kind"] if isinstance(case, dict) else "",
)  # fmt: skip
def test_a_figure_is_said_in_words(content, said):
    own = b'"""Boxes\naround cats.\n\nNot this."""\n' + BOXES
    assert Facts(TaskDesk(content, own=own)).text("derived.alt_outcome") == said


def test_short_names_of_columns_stand_upright():
    for labels, turned in ((["8", "9"], 0), (["disc", "torus"], 90)):
        figure = Figure()
        content = {"labels": labels, "values": [[3, 0], [1, 2]], "x": "p", "y": "t"}
        outcome.FORMS["matrix"](figure, content)
        assert {name.get_rotation() for name in figure.axes[0].get_xticklabels()} == {turned}


def test_an_axis_of_counts_has_no_half_a_count():
    for last, whole in ((3, True), (3.0, False)):
        figure = Figure()
        series = [{"name": "recall", "x": [1, last], "y": [0, 1]}]
        outcome.FORMS["lines"](figure, {"x": "k", "y": "share", "series": series})
        FigureCanvasAgg(figure).draw()
        ticks = figure.axes[0].get_xticks()
        assert (ticks == ticks.round()).all() == whole


def test_a_legend_of_long_names_has_one_column():
    for name, columns in (("seasonal naive", 2), ("1-NN and TF-IDF, image to text", 1)):
        figure = Figure()
        series = [{"name": name, "x": [0, 1], "y": [0, 1]}] * 3
        outcome.FORMS["lines"](figure, {"x": "k", "y": "share", "series": series})
        places = [text.get_window_extent().x0 for text in drawn_names(figure)]
        assert len({round(place) for place in places}) == columns


def drawn_names(figure):
    FigureCanvasAgg(figure).draw()
    return figure.legends[0].get_texts()


def test_texts_are_drawn_in_full_and_none_over_another():
    rows = [["one $ beginning", "word " * 60], ["two", "end"]]
    figure = Figure()
    outcome.FORMS["texts"](figure, {"kind": "texts", "columns": ["reads", "writes"], "rows": rows})
    shown = figure.axes[0].texts
    assert sum(text.get_text().count("word") for text in shown) == 60
    canvas = FigureCanvasAgg(figure)
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in shown]
    assert all(figure.bbox.x1 > box.x1 and box.y0 > 0 for box in boxes)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_passages_of_a_language_model_take_a_third_of_a_page_at_most():
    letters = {"beginning": 64, "there": 96, "proxy": 96}  # tokens, of 3.3 letters each in English
    words = "the value of a name is bound to this function and returned from it as an object "
    row = [(words * 9)[: int(3.3 * count)] for count in letters.values()]
    content = {"kind": "texts", "columns": list(letters), "rows": [row] * 3}
    pdf = drawing.saved(
        sample.desk(), drawing.Picture(lambda f: outcome.FORMS["texts"](f, content), 1.0), "pdf"
    )
    (height,) = re.findall(rb"/MediaBox \[ 0 0 432 ([\d.]+) \]", pdf)
    assert float(height) < 253 / 25.4 * 72 / 3  # points; 253 mm is the height of the text


def test_without_a_figure_in_the_report_the_scores_are_said():
    said = Facts(TaskDesk(None)).text("derived.alt_outcome")
    assert said.startswith("Bars of scores of the proxy: bits per byte (bit/byte): proxy 2.")


def test_each_form_of_a_task_says_what_it_shows():
    for path in sorted(paths.templates().glob("tasks/*/outcome.py")):
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_a_dollar_in_a_name_is_no_mathematics():
    series = [{"name": r"price in $ and \frac{$", "x": [0, 1], "y": [0, 1]}]
    drawn(TaskDesk({"kind": "lines", "x": "$^$", "y": "$_$", "series": series}))
