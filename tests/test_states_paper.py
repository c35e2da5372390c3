"""The paper in every state of a package's training: no sentence of it is false in any."""

from __future__ import annotations

import re
from functools import cache

import pytest
from helpers import trained_states as made
from helpers.docs_strangers import untraced
from test_paper import FORMS, MARKUP, PAGES, _without_facts

from metagen.docs import render

BOUND = [name for name, (model, *_) in made.STATES.items() if model is not None]
UNBOUND = [name for name in made.STATES if name not in BOUND]
ABSENCE = re.compile(
    r"no training run|not been trained|was not trained|not carried out|before any weights|"
    r"neither collected|not available to it|without a checkpoint",
    re.IGNORECASE,
)
PRESENCE = re.compile(
    r"trained on|the trained model\.|its training|the model was trained|released code trained|"
    r"the model comes from|this checkpoint|it was trained with|the model is the checkpoint|"
    r"model beats|figures/trained",
    re.IGNORECASE,
)
# What only the proxy has, and a sentence about it is no sentence about the model.
_OF_THE_PROXY = re.compile(r"the proxy was not trained[^.]*\.|has not been trained for this report")


@cache
def page(path: str, state: str) -> render.Page:
    return render.latex(made.state(state), f"paper/{path}")


@cache
def paper(state: str) -> str:
    """Return the text of the paper in a state, on one line a paragraph."""
    return "\n\n".join(page(path, state).text for path in PAGES)


@pytest.mark.parametrize("state", BOUND)
def test_with_a_model_no_sentence_says_that_there_is_none(state: str) -> None:
    assert not ABSENCE.search(_OF_THE_PROXY.sub("", paper(state)))
    assert PRESENCE.search(paper(state))


@pytest.mark.parametrize("state", UNBOUND)
def test_without_a_model_no_sentence_claims_one(state: str) -> None:
    assert not PRESENCE.search(paper(state))
    assert ABSENCE.search(paper(state))


@pytest.mark.parametrize("state", BOUND)
def test_a_trained_model_is_spoken_of_first_and_the_proxy_is_a_paragraph(state: str) -> None:
    abstract = page("sections/abstract.tex", state).text
    assert "proxy" not in abstract
    evaluation = page("sections/evaluation.tex", state).text
    proxy = made.STATES[state][2]
    assert (r"\paragraph{The proxy.}" in evaluation) == proxy
    assert "figures/outcome.pdf" not in evaluation
    assert "tab:results" not in evaluation


@pytest.mark.parametrize("state", made.STATES)
def test_no_table_holds_scores_of_both_models(state: str) -> None:
    full, proxy = {"0.7713", "0.651", "0.6512"}, {"2.87", "0.410"}
    tables = re.findall(r"\\begin\{table\}.*?\\end\{table\}", paper(state), re.DOTALL)
    for table in tables:
        cells = {cell.strip() for line in table.splitlines() for cell in line.split("&")}
        assert not (cells & full and cells & proxy), table


@pytest.mark.parametrize("state", made.STATES)
def test_each_numeral_is_a_fact_in_every_state(state: str) -> None:
    for path in PAGES:
        text = MARKUP.sub(_without_facts, page(path, state).text)
        assert untraced(text, page(path, state).printed, FORMS) == []


@pytest.mark.parametrize("state", made.STATES)
def test_every_reference_has_its_label_and_every_sentence_is_whole(state: str) -> None:
    text = paper(state)
    assert set(re.findall(r"\\ref\{(.*?)\}", text)) <= set(re.findall(r"\\label\{(.*?)\}", text))
    assert not re.search(r"None(?! of)|\(\s*\)|\bnan\b|[^\\.]\.\.|[ ,:;]\.(?!\w)| ,", text)
    assert not re.search(r"\\midrule\s*\\bottomrule|:\n+\\(?:section|paragraph)", text)


SAYS: dict[str, tuple[list[str], list[str]]] = {
    "nothing trained": (
        [
            "}{architecture and constraints}",
            "No training run of the full model belongs to this release.",
            "has not been trained for this report either",
            "so neither has results",
        ],
        ["tab:plan", "tab:full", "measured proxy", "whether the released code learns"],
    ),
    "proxy only": (
        [
            "architecture, constraints and a measured proxy",
            "We trained a",
            "whether the released code learns",
            "No such training was carried out here.",
        ],
        ["tab:full", "without a checkpoint"],
    ),
    "full only": (
        [
            "its architecture, its training and its results",
            "477,000 steps",
            "measured by eval.py on this checkpoint",
            "measured by lm-eval 0.4.9 on this checkpoint",
            "0.7702 to 0.7724 (95\\% interval)",
            "0.004 (standard error)",
            "Memory of a device & 35.1~GB & 33.4~GB",
            "Energy & 51,600~kWh & not measured",
            "measured with NVML",
            "The released code trained the model.",
            "On bits per byte, the model beats {\\textquotedblleft}unigram{",
            "figures/trained_curve.pdf",
            "It was trained with these versions: python 3.11.7",
            "significance?}{In part}{Table~\\ref{tab:full} gives the uncertainty",
            "and the results of Table~\\ref{tab:full}",
            "Without other data, the released code learns from",
        ],
        [
            "paragraph{The proxy.}",
            "stated, not bound",
            "unfinished",
            "A scaled-down copy of the model learns",
            "The proxy was not measured",
        ],
    ),
    "both": (
        [
            "paragraph{The proxy.}",
            "These scores say nothing of the model",
            "A scaled-down copy of the model learns",
        ],
        ["Training of the proxy took"],
    ),
    "results without checkpoint": (
        ["stated without a checkpoint", "typed by a person; stated, not bound to a checkpoint"],
        ["tab:plan"],
    ),
    "imported results without checkpoint": (
        ["measured by lm-eval 0.4.9; stated, not bound to a checkpoint"],
        ["paragraph{The proxy.}"],
    ),
    "not scored": (
        ["No score of it belongs to this release.", "its architecture and its training"],
        ["tab:full", "which results it has", "Beyond the results", "significance?}{In part}"],
    ),
    "partial": (
        ["which has not ended", "planned for 477,000 steps and has reached 1,200", "unfinished"],
        ["The model comes from one training", "Its training took"],
    ),
    "edited code": (
        ["differs from the released code in model.py, train.py", "does not show exactly"],
        ["The released code trained the model."],
    ),
    "not recorded": (
        [
            "data that its record does not name",
            "The losses of the training were not recorded.",
            "Which code trained it was not recorded.",
            "The devices were not recorded.",
            "The energy was not measured.",
        ],
        ["trained_curve.pdf", "last validation loss is", "with seed 42;"],
    ),
    "several machines": (
        [
            "The devices differ between the starts",
            "} was 0.0002 and not 0.0003.",
        ],
        ["Devices: ", "The devices were not recorded"],
    ),
    "stated beside bound": (
        [
            "measured by eval.py on this checkpoint",
            "Nothing shows that this checkpoint has this score.",
        ],
        [],
    ),
}


@pytest.mark.parametrize("state", SAYS)
def test_a_state_says_what_is_so_and_nothing_else(state: str) -> None:
    said, unsaid = SAYS[state]
    text = paper(state)
    assert [sentence for sentence in said if sentence not in text] == []
    assert [sentence for sentence in unsaid if sentence in text] == []


def test_every_state_has_its_sentences() -> None:
    assert SAYS.keys() == made.STATES.keys()
