"""Every document in every state of a package's training: no sentence of it is false in any."""

from __future__ import annotations

import json
import re
from functools import cache

import pytest
import yaml
from helpers import docs_fixtures as sample
from helpers import trained_states as made
from helpers.docs_strangers import untraced

from metagen.docs import cards, render, summary
from metagen.release import hub

CARDS = ("model_card", "data_card", "eval_report", "limitations")
BOUND = [name for name, (model, *_) in made.STATES.items() if model is not None]
UNBOUND = [name for name in made.STATES if name not in BOUND]
SCORED = [name for name in BOUND if made.STATES[name][1]]


@cache
def page(card: str, state: str) -> render.Page:
    return render.markdown(made.state(state), f"cards/{card}.md")


def body(card: str, state: str) -> str:
    """Return a card in a state."""
    return page(card, state).text


def header(state: str) -> dict[str, object]:
    text = cards.model_card(made.state(state))["README.md"].decode()
    return yaml.safe_load(text.split("---\n")[1])


# Rules for all documents

ABSENCE = re.compile(
    r"no trained weights|no training run|untrained|has not been trained|"
    r"was not trained for this package\.\*\*|not even the|before the full model is trained|"
    r"once the full model is trained|train the full model, evaluate|not carried out here",
    re.IGNORECASE,
)
PRESENCE = re.compile(
    r"the trained model of|with these weights|released weights|complete: |in part: |"
    r"on this checkpoint|the model was trained|the model comes from|trained on my_corpus",
    re.IGNORECASE,
)


@pytest.mark.parametrize("state", BOUND)
@pytest.mark.parametrize("card", CARDS)
def test_with_a_model_no_sentence_says_that_there_is_none(card: str, state: str) -> None:
    assert not ABSENCE.search(body(card, state))
    assert card == "limitations" or PRESENCE.search(body(card, state))


@pytest.mark.parametrize("state", UNBOUND)
@pytest.mark.parametrize("card", CARDS)
def test_without_a_model_no_sentence_claims_one(card: str, state: str) -> None:
    assert not PRESENCE.search(body(card, state))


@pytest.mark.parametrize("state", UNBOUND)
@pytest.mark.parametrize("card", ["model_card", "eval_report", "limitations"])
def test_without_a_model_a_card_says_so(card: str, state: str) -> None:
    assert ABSENCE.search(body(card, state))


@pytest.mark.parametrize("state", made.STATES)
@pytest.mark.parametrize("card", CARDS)
def test_no_table_holds_scores_of_both_models(card: str, state: str) -> None:
    full, proxy = ("0.7713", "0.651"), ("2.87", "0.410")
    for table in re.findall(r"(?:^\|.*\n)+", body(card, state), re.MULTILINE):
        cells = {cell.strip(" *") for cell in table.split("|")}
        assert not (cells & set(full) and cells & set(proxy)), table


@pytest.mark.parametrize("state", made.STATES)
@pytest.mark.parametrize("card", CARDS)
def test_each_numeral_is_a_fact_in_every_state(card: str, state: str) -> None:
    assert untraced(body(card, state), page(card, state).printed) == []


@pytest.mark.parametrize("state", made.STATES)
@pytest.mark.parametrize("card", CARDS)
def test_a_card_reads_well_in_every_state(card: str, state: str) -> None:
    text = body(card, state)
    assert not re.search(r"None(?! *:)|\(\)|\[\]|\bnan\b", text)
    assert not re.search(r"\n{4,}|  \n| ,| \.(?=\s)|[a-z]\.[A-Z`]", text)
    assert not re.search(r"(?<!\n)\n#{2,} ", text), "a heading follows a line"
    assert not re.search(r"(?m)^[^|\n-].*\n[|-] ", text), "a list or a table follows a line"


# What each state says, and what it must not say

SAYS: dict[str, dict[str, tuple[list[str], list[str]]]] = {
    "model_card": {
        "nothing trained": (
            ["It holds no trained weights", "was not trained for this package"],
            ["below are stated", "In `code/`", "Environmental Impact", "Samples of output"],
        ),
        "proxy only": (["What was trained is a *proxy*", "| Full model | Proxy |"], []),
        "full only": (
            [
                "complete: 477,000 steps",
                "measured by eval.py on this checkpoint",
                "measured by lm-eval 0.4.9 on this checkpoint",
                "examples in the prompt: 5",
                "measured with NVML",
                "--checkpoint ..",
                "The code of this package trained it.",
                "On bits per byte, the model beats “unigram” and “bigram”",
                "| Memory of a device | 35.1 GB | 33.4 GB |",
            ],
            ["proxy", "Proxy", "trains the proxy", "stated, not bound"],
        ),
        "both": (["### The proxy", "they say nothing of this model"], ["| Full model | Proxy |"]),
        "results without checkpoint": (
            ["stated without a checkpoint", "typed by a person; stated, not bound to a checkpoint"],
            ["complete:"],
        ),
        "imported results without checkpoint": (
            ["measured by lm-eval 0.4.9; stated, not bound to a checkpoint"],
            ["on this checkpoint"],
        ),
        "not scored": (["No score of the model belongs to this package"], ["| Score |"]),
        "partial": (
            ["**trained in part**", "in part: 1,200 of 477,000 steps", "expect less of it"],
            ["complete:"],
        ),
        "edited code": (
            ["differs from the code of this package", "model.py, train.py"],
            ["The code of this package trained it."],
        ),
        "not recorded": (
            [
                "on data that is not recorded",
                "What the model was trained on is not recorded, but for its SHA-256",
                "The training had them all.",
                "Whether the code of this package trained it is not recorded.",
                "Energy was not measured, and too little is recorded to estimate it.",
                "**Devices:** not recorded",
            ],
            ["Last validation loss", "Read in training", "Samples of output"],
        ),
        "several machines": (
            [
                "they differ between starts",
                "| `train.learning_rate` | 0.0003 | 0.0002 |",
                "Energy",
            ],
            ["The training had them all."],
        ),
        "stated beside bound": (
            [
                "measured by eval.py on this checkpoint",
                "typed by a person; stated, not bound to a checkpoint",
            ],
            [],
        ),
    },
    "eval_report": {
        "nothing trained": (
            ["Nothing was measured, not even the *proxy*"],
            ["Results of the model"],
        ),
        "proxy only": (["All measurements of this build are for the *proxy*"], []),
        "full only": (
            [
                "## Results of the model",
                "0.7702 to 0.7724 (95% interval)",
                "0.004 (standard error)",
            ],
            ["## Results of the proxy", "of the proxy do not show", "of the proxy were measured"],
        ),
        "both": (["## Results of the proxy", "no table holds both"], ["Nothing was measured"]),
        "results without checkpoint": (
            ["## Results of the full model", "so none of these results can be tied to one"],
            [],
        ),
        "not scored": (["No score of the model belongs to this package"], []),
        "partial": (["after 1,200 of 477,000 steps"], []),
        "not recorded": (
            ["The losses of the training are not recorded."],
            ["figures/trained_curve.svg"],
        ),
    },
    "data_card": {
        "nothing trained": (["No proxy was trained"], ["Data of the training"]),
        "full only": (
            [
                "**my_corpus**",
                "1,960,000,000,000 tokens",
                "cdcdcd",
                "the data that the scripts read without `--data`",
            ],
            ["so no other data", "was trained and scored", "the proxy compares"],
        ),
        "both": (["was trained and scored", "how the proxy compares with baselines"], []),
        "not recorded": (["is not recorded"], ["my_corpus", "as its training recorded it"]),
        "partial": (["5,000,000,000 tokens"], []),
    },
    "limitations": {
        "proxy only": (["## The proxy is not the model"], ["## The training"]),
        "both": (["## The training", "with seed 42"], ["The proxy is not the model"]),
        "partial": (["reached 1,200: every figure"], ["The model comes from one training"]),
        "edited code": (["- `model.py`\n- `train.py`"], []),
        "not recorded": (
            ["Which code trained the model is not recorded.", "- The energy of the training."],
            [],
        ),
        "not scored": (["no score of it belongs to this package"], []),
        "stated beside bound": (["Nothing shows that this checkpoint has this score."], []),
        "full only": ([], ["Nothing shows that", "whether the code learns", "The energy of"]),
    },
}
CASES = [(card, state) for card, states in SAYS.items() for state in states]


@pytest.mark.parametrize(("card", "state"), CASES)
def test_a_state_says_what_is_so_and_nothing_else(card: str, state: str) -> None:
    said, unsaid = SAYS[card][state]
    text = body(card, state)
    assert [sentence for sentence in said if sentence not in text] == []
    assert [sentence for sentence in unsaid if sentence in text] == []


# The header and the summary


@pytest.mark.parametrize("state", made.STATES)
def test_the_header_gives_the_model_its_own_results_only(state: str) -> None:
    index = header(state).get("model-index", [])
    values = {each["name"]: _values(each) for each in index}  # type: ignore[attr-defined]
    assert not {2.87, 0.41} & values.get("text_llm_8b", set())
    assert not {0.7713, 0.651, 0.6512} & values.get("text_llm_8b (proxy)", set())
    assert "text_llm_8b (proxy)" not in values or state in UNBOUND
    assert ("text_llm_8b" in values) == bool(made.STATES[state][1])


def _values(model: dict[str, object]) -> set[float]:
    results: list[dict[str, list[dict[str, float]]]] = model["results"]  # type: ignore[assignment]
    return {metric["value"] for result in results for metric in result["metrics"]}


GRID = {
    "training__compute__carbon_intensity": "380 g/kWh",
    "training__compute__region": "Germany",
}


def test_the_header_states_the_co2_of_measured_energy_on_a_declared_grid() -> None:
    page = cards.model_card_page(made.desk(made.RECORDED, [], **GRID))
    told = yaml.safe_load(page.text.split("---\n")[1])["co2_eq_emissions"]
    assert told == {
        "emissions": 12_700_000.0,  # 1.2e11 J are 33,333 kWh
        "source": "energy of the devices by NVML, times 380 g/kWh as the spec declares it",
        "training_type": "pre-training",
        "geographical_location": "Germany",
        "hardware_used": "256 x NVIDIA A100-SXM4-40GB",
    }
    assert hub.problems(page.text) == []
    printed = {each.text for each in page.printed}
    assert {"12700000.0", "380 g/kWh", "256", "NVIDIA A100-SXM4-40GB"} <= printed
    assert "the intensity that the spec declares" in page.text
    assert "average" not in page.text.partition("## Environmental Impact")[2].partition("\n## ")[0]


@pytest.mark.parametrize(
    ("model", "grid"),
    [
        (made.RECORDED, {}),
        (made.UNRECORDED, GRID),
        (None, GRID),
        (made.RECORDED, {"training__compute__region": "Germany"}),
    ],
    ids=["no grid", "energy not measured", "nothing trained", "a region alone"],
)
def test_the_header_states_no_co2_without_a_measurement_and_a_grid(model, grid) -> None:
    page = cards.model_card_page(made.desk(model, [], **grid))
    assert "co2_eq_emissions" not in page.text


def test_weights_that_training_began_with_make_it_fine_tuning() -> None:
    page = cards.model_card_page(made.desk({**made.RECORDED, "init_from": "ab" * 32}, [], **GRID))
    assert "training_type: fine-tuning" in page.text


def test_the_header_marks_what_is_not_bound() -> None:
    text = str(header("stated beside bound")["model-index"])
    assert text.count("stated, not bound") == 1
    assert "by lm-eval 0.4.9" in str(header("both")["model-index"])


def test_the_header_tells_the_metrics_of_one_benchmark_apart() -> None:
    rows = [made.scored(), made.scored(metric="perplexity", title="perplexity", value=5.1)]
    page = cards.model_card_page(made.desk(made.RECORDED, rows))
    (index,) = yaml.safe_load(page.text.split("---\n")[1])["model-index"]
    names = [metric["name"] for result in index["results"] for metric in result["metrics"]]
    assert [name.partition(" (")[0] for name in names] == [
        f"{rows[0]['benchmark']}, bits per byte", f"{rows[0]['benchmark']}, perplexity"
    ]  # fmt: skip
    assert "perplexity" in {each.text for each in page.printed}


def test_the_glossary_has_the_words_of_the_card_alone() -> None:
    every = json.loads(sample.package()["blueprint/constraints.json"])

    def glossary(verdict: str) -> str:
        rows = [{**row, "verdict": verdict} for row in every]
        made_of = made.state("full only")
        made_of.files["blueprint/constraints.json"] = sample.encode("a.json", rows)
        text = render.markdown(made_of, "cards/model_card.md").text
        return text.partition("## Glossary")[2]

    assert "**Open:**" in glossary("open")
    assert "**Bounded:**" in glossary("bounded")
    assert glossary("met") == ""


def test_a_summary_with_a_result_leaves_out_what_was_not_measured() -> None:
    told = [
        json.loads(summary.summary(made.state(name))["docs/summary.json"])["benchmarks"]
        for name in ("full only", "nothing trained")
    ]
    statuses = [{row["status"] for row in rows} for rows in told]
    assert "not measured" not in statuses[0]
    assert "measured" in statuses[0]
    assert "measured" not in statuses[1]


def test_metrics_of_one_run_name_its_command_once() -> None:
    rows = [made.scored(), made.scored(metric="perplexity", title="perplexity", value=5.1)]
    rows += [made.scored(metric="top1", command="python eval.py --size full --data other")]
    text = cards.model_card_page(made.desk(made.RECORDED, rows)).text
    part = text.partition("### Testing Data")[2].partition("\n## ")[0]
    assert part.count(", command: `python eval.py --size full --data tokens`") == 1
    assert part.count(", command: `python eval.py --size full --data other`") == 1
    assert part.count(": scored after") == 2


def test_a_sample_cannot_leave_its_fence() -> None:
    text = page("model_card", "both").text
    assert "````text\nThe cat\n```\n# sat 7 | times\n````" in text


@pytest.mark.parametrize("state", made.STATES)
def test_the_summary_tells_the_state(state: str) -> None:
    line = summary.summary(made.state(state))["docs/summary.json"].decode()
    assert ('"trained": null' in line) == (state in UNBOUND)
