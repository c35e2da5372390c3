"""Cards say what the files say, and nothing that a stranger writes becomes markup."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from helpers import docs_fixtures as sample
from helpers import documents, sample_files, trained_states
from helpers.docs_strangers import EMPTY, HOSTILE, infected, untraced
from helpers.fake_desk import FakeDesk
from helpers.turns import in_turn
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from markdown_it.token import Token

from metagen import docs, paths
from metagen.docs import cards, escape, render, summary
from metagen.families.effects import UNUSED
from metagen.measure import trial
from metagen.measure.evidence import EVIDENCE

CARDS = ("model_card", "data_card", "eval_report", "limitations")


def page(name: str, desk: FakeDesk) -> render.Page:
    return render.markdown(desk, f"cards/{name}.md")


def body(text: str) -> str:
    """Return a card without its header."""
    return text.partition("\n---\n")[2] if text.startswith("---") else text


@pytest.mark.parametrize("name", CARDS)
def test_each_numeral_of_a_card_is_a_printed_fact(name):
    made = page(name, sample.desk())
    assert len(made.printed) > 10
    assert untraced(body(made.text), made.printed) == []


def test_the_numeral_check_finds_a_typed_numeral():
    made = page("limitations", sample.desk())
    typed = body(made.text).replace("trained briefly", "trained 3 times")
    assert untraced(typed, made.printed) == ["3"]


TEMPLATES = [
    path
    for pattern in ("cards/**/*.md", "families/*/card.md", "tasks/*/baselines.md")
    for path in sorted(paths.templates().glob(pattern))
]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: str(p.relative_to(paths.templates())))
def test_no_numeral_is_typed_into_a_card_template(path):
    text = path.read_text().replace('row / "sha256"', "the name of an entry")
    # Whether there is something, or more than one: a comparison prints nothing.
    text = re.sub(r'equals\((?:"[\w.]+"|"derived\." ~ name|row / "\w+"), [01]\)', "", text)
    text = re.sub(r"[A-Za-z]\w*\d", "", text)  # names, such as bf16
    assert re.findall(r".*\d.*", text) == []


# The others compile what these make; the paper's tests run them.
FIRST = [r for r in docs.RECIPES if not any(path.startswith("paper/") for path in r.inputs)]
# A form of the task's own is looked up by the family; tests/test_outcome.py draws one.
SOMETIMES = {
    name: {"blueprint/architecture.yaml"} for name in ("paper:outcome", "docs:figure_outcome")
}


@pytest.mark.parametrize("recipe", FIRST, ids=lambda recipe: recipe.name)
def test_a_recipe_reads_exactly_what_it_declares(recipe):
    desk, trained = sample.desk(), trained_states.state("both")
    made = recipe.work(desk)
    recipe.work(trained)
    read = desk.reads | trained.reads | SOMETIMES.get(recipe.name, set())
    # The check of the results is waited for, not read.
    assert read == set(recipe.inputs) - {EVIDENCE}
    assert set(made) == set(recipe.targets)


@pytest.mark.parametrize("name", ["model_card", "limitations"])
def test_a_card_names_the_files_that_a_person_edited(name):
    desk = sample.desk()
    path = "README.md" if name == "model_card" else f"docs/{name}.md"
    assert "code/eval.py" not in getattr(cards, name)(desk)[path].decode()
    desk.changed = {"code/eval.py"}
    assert "code/eval.py" in getattr(cards, name)(desk)[path].decode()


@pytest.mark.parametrize("name", ["model_card", "limitations"])
def test_a_card_says_which_declared_keys_are_not_followed(name):
    files = sample.package()
    architecture = yaml.safe_load(files["blueprint/architecture.yaml"])
    reason = {"name": "training.objective", "value": "tuning", "reason": f"{UNUSED}no such code"}
    architecture["decisions"].append(reason)
    said = "training.objective: no such code"
    assert said not in page(name, sample.desk()).text
    assert said in page(name, sample.desk(architecture=architecture)).text


def test_a_spec_key_is_read_only_by_what_prints_it():
    readers = set()
    for recipe in FIRST:
        desk = sample.desk()
        recipe.work(desk)
        if "description" in desk.asked:
            readers.add(recipe.name)
    assert readers == {"docs:model_card", "docs:citation", "paper:introduction"}


def test_no_card_says_that_information_is_needed():
    for name in CARDS:
        assert "needed]" not in page(name, sample.desk()).text.lower()


def test_result_tables_show_spread_interval_outcome_and_the_best_in_bold():
    text = body(page("eval_report", sample.desk()).text)
    assert "n = 41,234 bytes" in text
    assert "bits per byte (bit/byte, lower is better)" in text
    for row in (
        "| text_llm_8b, proxy | 2.87 | 0.03 | 2.83 to 2.91 | |",
        "| bigram | 3.44 | | | beats |",
        "| 5-gram | **2.04** | | | loses |",
        "| text_llm_8b, proxy | 0.410 | one seed | 0.403 to 0.418 | |",
        "| bigram | 0.408 | | | cannot tell |",
    ):
        assert row in text
    assert "**2.87**" not in text


@pytest.mark.parametrize("name", ["model_card", "eval_report"])
def test_one_sentence_judges_the_proxy(name):
    sentence = "On bits per byte, the proxy beats “unigram” and “bigram”, and loses to “5-gram”; "
    assert sentence in page(name, sample.desk()).text
    assert "the proxy beats" not in page(name, sample.desk(results=[])).text


def test_the_report_names_machine_threads_versions_and_seconds():
    text = page("eval_report", sample.desk()).text
    assert "Some CPU, 8 logical cores, Linux x86_64; threads: 1." in text
    assert "took 11.5 seconds of CPU time there, and its scoring 4 seconds" in text
    assert "**Versions:**" in text


@pytest.mark.parametrize("name", ["model_card", "eval_report"])
def test_examples_show_the_answers_of_a_query_and_mark_the_right_ones(name):
    text = MarkdownIt().render(page(name, sample.desk()).text)
    shown = text[text.index("Who * reads 3 lines?") : text.index("Nothing &amp; nobody.")]
    assert "the first right one has rank 2" in shown
    assert "<li>Nobody_ | does.</li>" in shown
    assert "<li><strong>All 7 do.</strong></li>" in shown
    assert "none of those that were ranked is right" in shown


def test_hugging_face_reads_the_model_card():
    text = cards.model_card(sample.desk())["README.md"].decode()
    card = ModelCard(text)
    data = card.data.to_dict()
    assert data["pipeline_tag"] == "text-generation"
    assert "license" not in data
    # Without a trained model, no score in the header could be the model's.
    assert card.data.eval_results is None
    assert "\n# text_llm_8b\n" in card.text


def test_the_model_card_keeps_the_order_of_hugging_face():
    text = cards.model_card(sample.desk())["README.md"].decode()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == [
        "Model Details",
        "Uses",
        "Bias, Risks, and Limitations",
        "How to Get Started with the Model",
        "Training Details",
        "Evaluation",
        "Technical Specifications",
        "Reproducibility",
        "Citation",
        "Glossary",
    ]


def test_a_declared_license_is_in_the_header():
    desk = sample.desk({"license": "apache-2.0"})
    assert cards.metadata(desk)["license"] == "apache-2.0"


def test_only_identifiers_of_the_hub_are_named_as_its_datasets():
    desk = sample.desk({"training.data.sources": ("allenai/c4", "web crawl", "a/b/c")})
    assert cards.metadata(desk)["datasets"] == ["allenai/c4"]


def test_limitations_do_not_call_a_constraint_met_that_nobody_declared():
    every = json.loads(sample.package()["blueprint/constraints.json"])
    said = {
        verdict: page(
            "limitations", sample.desk(constraints=[{**row, "verdict": verdict} for row in every])
        ).text
        for verdict in ("not declared", "met", "violated")
    }
    assert "The spec declares no constraint." in said["not declared"]
    assert "Every declared constraint is met." in said["met"]
    assert "is met." not in said["violated"] + said["not declared"]


def test_the_spread_over_seeds_is_a_limitation_of_a_single_seed():
    results = json.loads(sample.package()["benchmarks/results.json"])
    sentence = "The spread over seeds: the proxy was trained once."
    one = [{**row, "spread": None} for row in results]
    many = [{**row, "spread": 0.1} for row in results]
    assert sentence in page("limitations", sample.desk(results=one)).text
    assert sentence not in page("limitations", sample.desk(results=many)).text


@pytest.mark.parametrize("name", CARDS)
def test_a_card_of_the_barest_spec_still_reads_well(name):
    text = page(name, sample.desk(EMPTY, results=[], curve="step,train_loss,val_loss\n")).text
    assert not re.search(r"None(?! *:)", text)
    assert "()" not in text
    assert not re.search(r"\n{4,}", text)
    assert documents.empty_phrases(text) == []
    assert documents.empty_sections(text) == []


TRAINED = re.compile(
    r"was trained (on|once|with|and)|trained briefly|measured (is|was|results)"
    r"|The intervals cover|benchmark \*[a-z -]*\* scores"
)


@pytest.mark.parametrize("name", CARDS)
def test_a_card_of_a_package_without_a_trained_proxy_tells_of_no_training(name):
    untrained = page(name, sample.desk(results=[], curve="step,train_loss,val_loss\n")).text
    assert not TRAINED.search(untrained)
    assert TRAINED.search(page(name, sample.desk()).text)
    assert re.search(r"[Nn]o proxy was|not trained|not even the|Nor was", untrained)


def inlines(text: str) -> list[str]:
    """Return the shape of a document: its blocks, and what its lines hold besides text."""
    return [
        f"{token.type}:{token.tag}"
        for token in _flat(MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text))
        if token.type not in ("text", "text_special")
    ]


def _flat(tokens: list[Token]) -> list[Token]:
    return [each for token in tokens for each in (token, *_flat(token.children or []))]


def words(text: str) -> str:
    parsed = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    return "".join(token.content for token in _flat(parsed) if not token.children)


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("text", in_turn(HOSTILE))
def test_a_hostile_string_is_only_text_in_a_card(name, text):
    clean, dirty = (page(name, infected(each)).text for each in ("word", text))
    assert inlines(dirty) == inlines(clean)
    assert escape.plain(text).replace("\xa0", " ") in words(dirty)
    own = re.sub(
        r"\]\(https://(arxiv|doi)\.org/[^)]*\)|<https://docs\.python\.org/[^>]*>", "", dirty
    )
    # A fenced block, as that of the BibTeX entry, has no links.
    own = re.sub(r"^(`{3,})[^\n]*\n.*?^\1$", "", own, flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"(?<!\\):(?=//)|(?<!`)\bwww\.", own)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_string_cannot_leave_the_header(text):
    card = cards.model_card(infected(text))["README.md"].decode()
    header = yaml.safe_load(card.removeprefix("---\n").split("\n---\n")[0])
    assert set(header) <= {"language", "license", "pipeline_tag", "tags", "datasets"}
    assert ModelCard(card).data.pipeline_tag == "text-generation"


def test_the_summary_holds_what_the_table_shows():
    made = json.loads(summary.summary(sample.desk())["docs/summary.json"])
    assert made["parameters"]["total"] == 7979929600
    assert made["memory"]["verdict"] == "violated"
    assert [row["constraint"] for row in made["constraints"]["violated"]] == [
        "memory_budget",
        "throughput",
    ]
    assert made["benchmarks"][0]["beats"] == ["unigram", "bigram"]
    assert made["benchmarks"][-1]["status"] == "not run"


def test_the_report_gives_the_command_of_the_benchmarks_that_lm_eval_has():
    names = ("HellaSwag", "ARC-Challenge", "An Own Test")
    rows = [trial.entry(name, "not run") for name in names]
    text = page("eval_report", sample.desk({"evaluation.benchmarks": names}, results=rows)).text
    assert "--tasks hellaswag,arc_challenge`" in text
    assert "that MetaGen knows: An Own Test." in text


def planned(**changed):
    keys = {"training.compute.hardware": "8192xH100", "training.data.size": "400k characters"}
    return sample.desk(keys, plan={**sample_files.plan(), **changed})


def test_devices_without_a_share_of_an_update_are_named():
    idle = planned(declared=8192, devices=2048, idle=6144, batch_size=2048)
    for name in ("limitations", "launch"):
        assert re.search("6,144.* declared", page(name, idle).text)
        assert "idle" not in body(page(name, planned()).text).lower()


def test_passes_over_the_declared_data_are_said():
    made = body(page("data_card", planned(passes=498.2, passes_are="at least")).text)
    assert re.search(r"over it:\*\* at least \S*498\S*\n", made)
    assert "over it" not in body(page("data_card", planned()).text)


def test_the_parts_of_an_update_are_those_of_the_launched_devices():
    card = body(page("model_card", planned(devices=2048, grad_accum=4)).text)
    assert "is for one device; on the 2,048 devices of the launch plan it is 4." in card
    whole = body(page("model_card", planned(devices=2048, grad_accum=1)).text)
    assert "is for one device" not in whole


def test_operations_of_training_are_for_a_unit_and_not_for_a_step():
    card = body(page("model_card", sample.desk()).text)
    assert "for each token" in card
    assert "a training step" not in card
