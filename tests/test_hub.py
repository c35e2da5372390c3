"""Cards that the Hub would refuse, or would pass over in part, are refused offline."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
import yaml
from helpers import docs_fixtures as sample
from huggingface_hub import EvalResultEntry, ModelCard, eval_result_entries_to_yaml

from metagen import families, paths
from metagen.docs import cards
from metagen.release import hub
from metagen.spec import load
from metagen.spec.words import hub_list

CARD = """---
language:
- en
- gsw
- code
license: other
license_name: my-license-1.0
license_link: LICENSE
library_name: transformers
pipeline_tag: text-generation
tags:
- metagen
- decoder
datasets:
- HuggingFaceFW/fineweb
base_model: google/gemma-3-1b-pt
base_model_relation: finetune
new_version: org/next
co2_eq_emissions:
  emissions: 12.5
  source: computed from power and time
  training_type: pre-training
size_categories: 1K<n<10K
task_categories:
- text-generation
task_ids:
- language-modeling
model-index:
- name: small
  results:
  - task:
      type: text-generation
    dataset:
      name: WikiText
      type: wikitext
      split: test
    metrics:
    - name: bits per byte
      type: bits_per_byte
      value: 0.91
    source:
      name: the evaluation report
      url: https://example.org/report
---

# small
"""


def told(text: str) -> str:
    return "\n".join(map(str, hub.problems(text)))


def test_a_right_card_is_accepted_and_loads_in_huggingface_hub() -> None:
    assert told(CARD) == ""
    data = ModelCard(CARD).data
    assert data.license_name == "my-license-1.0"
    assert data.eval_results[0].metric_value == 0.91


@pytest.mark.parametrize("path", sorted(paths.specs().rglob("*.yaml")), ids=lambda p: p.stem)
def test_the_card_of_each_spec_is_accepted(path: Path) -> None:
    spec = load(path)
    family = families.route(spec.key)
    blueprint = yaml.safe_load(sample.package()["blueprint/architecture.yaml"]) | {"family": family}
    keys = {name: spec.key(name) for name in sample.KEYS}
    header = yaml.safe_dump(cards.metadata(sample.desk(keys, architecture=blueprint)))
    text = f"---\n{header}---\n\n# card\n"
    assert told(text) == ""
    assert ModelCard(text).data.eval_results is None  # no score of the proxy is the model's


def test_each_licence_of_the_hub_has_a_row_with_its_name() -> None:
    table = paths.source("data/licenses.csv").read_text()
    rows = {row["license"]: row["name"] for row in csv.DictReader(table.splitlines())}
    assert set(hub_list("licenses")) == {*rows, "other", "unknown"}
    assert all(rows.values())


# A piece of the card, what replaces it, and what is said of it.
SPOILED = [
    ("license: other", "license: apache2", "license is 'apache2', which the Hub does not list"),
    ("license: other", "license: Apache-2.0", "write apache-2.0"),
    ("license: other", "license: not-a-license", "repositories-licenses"),
    ("license: other", "license: 3", "license must be text, not 3"),
    ("license: other", "license:", "license has no value"),
    ("license: other", "license: [mit, mit]", "license has 'mit' twice"),
    ("license: other", "license: {id: mit}", "license must be text, not a mapping"),
    ("license_name: my-license-1.0\n", "", 'license "other" needs license_name'),
    ("license_link: LICENSE\n", "", 'license "other" needs license_link'),
    ("my-license-1.0", "My License", "license_name must be a name such as"),
    ("license_link: LICENSE", "license_link: see below", "license_link must be LICENSE"),
    ("license: other", "license: mit\nlicense: other", "'license' is defined twice"),
    ("license: other", "licence: other", "licence is an entry that the Hub passes over"),
    ("- gsw", "- english", "language[1] is 'english'"),
    ("- gsw", "- es-ES", "write es"),
    ("- gsw", "- EN", "write en"),
    ("- gsw", "- en", "language has 'en' twice"),
    ("- gsw", "- qqq1", "ISO 639-1 or ISO 639-3"),
    ("- gsw", "- no", "no is read as False by huggingface_hub"),
    ("- gsw", "- 5", "language[1] must be text, not 5"),
    ("- gsw\n", "-\n", "language[1] must be text, not nothing"),
    ("language:\n- en\n- gsw\n- code", "language: []", "language is an empty list"),
    ("pipeline_tag: text-generation", "pipeline_tag: nonsense", "pipeline_tag is 'nonsense'"),
    ("pipeline_tag: text-generation", "pipeline_tag: text-generatoin", "write text-generation"),
    ("pipeline_tag: text-generation", "pipeline_tag: [text-generation]", "not a list"),
    ("pipeline_tag", "pipeline-tag", "write pipeline_tag"),
    ("library_name: transformers", "library_name: transfomers", "write transformers"),
    ("library_name: transformers", "library_name: our-code", "models-libraries"),
    ("library_name", "library", "write library_name"),
    ("tags:\n- metagen\n- decoder", "tags: metagen", "tags must be a list"),
    ("- decoder", "- metagen", "tags has 'metagen' twice"),
    ("- decoder", "- 2024", "tags[1] must be text, not 2024"),
    ("- decoder", "- ''", "tags[1] must be text"),
    ("- HuggingFaceFW/fineweb", "- librispeech 960h", "datasets[0] must be an identifier"),
    ("- HuggingFaceFW/fineweb", "- https://huggingface.co/datasets/a/b", "write owner/name"),
    ("- HuggingFaceFW/fineweb", "- a/b/c", "datasets[0] must be an identifier"),
    ("- HuggingFaceFW/fineweb", "- null", "identifier of the Hub, not nothing"),
    ("google/gemma-3-1b-pt", "../checkpoint", "base_model must be an identifier"),
    ("google/gemma-3-1b-pt", "google/gemma--3", "base_model must be an identifier"),
    ("google/gemma-3-1b-pt", "google/gemma.git", "base_model must be an identifier"),
    ("base_model: google/gemma-3-1b-pt\n", "", "base_model_relation needs base_model"),
    ("finetune", "finetuned", "write finetune"),
    ("org/next", "42", "new_version must be an identifier"),
    ("  emissions: 12.5\n", "", "co2_eq_emissions has no entry emissions"),
    ("emissions: 12.5", "emissions: 12 kg", "co2_eq_emissions.emissions must be a finite number"),
    ("emissions: 12.5", "emissions: -1", "must be grams of CO2, 0 or more"),
    ("emissions: 12.5", "emissions: .nan", "emissions must be a finite number"),
    ("emissions: 12.5", "emissions: 1e3", "1e3 is read as '1e3' by huggingface_hub"),
    ("training_type: pre-training", "training_type: 1", "training_type must be text"),
    ("1K<n<10K", "1000", "size_categories must be text, not 1000"),
    ("1K<n<10K", "1k-10k", "size_categories is '1k-10k'"),
    ("task_categories:\n- text-generation", "task_categories:\n- llm", "is 'llm'"),
    ("- language-modeling", "- language-modelling", "write language-modeling"),
    ("- name: small", "- model: small", "model-index[0] has no entry name"),
    ("  - task:\n      type: text-generation\n", "  - x: 1\n", "has no entry task"),
    ("      name: WikiText\n", "", "results[0].dataset has no entry name"),
    ("      type: wikitext\n", "", "results[0].dataset has no entry type"),
    ("      type: bits_per_byte\n", "", "metrics[0] has no entry type"),
    ("      value: 0.91\n", "", "metrics[0] has no entry value"),
    ("value: 0.91", "value: high", "metrics[0].value must be a finite number, not 'high'"),
    ("value: 0.91", "value: .inf", "metrics[0].value must be a finite number"),
    ("value: 0.91", "value: true", "metrics[0].value must be a finite number, not True"),
    ("value: 0.91", "value:", "metrics[0].value has no value"),
    ("value: 0.91", "value: [0.91]", "metrics[0].value must be a finite number, not a list"),
    ("      url: https://example.org/report\n", "", "results[0].source has no entry url"),
    ("https://example.org/report", "report.html", "source.url must be an address"),
    ("    metrics:\n", "    metrics: []\n    more:\n", "metrics is an empty list"),
    ("split: test", "revision: main", "dataset.revision must be a commit"),
    (
        "    - name: bits per byte",
        "    - {name: bits per byte, type: bits_per_byte, value: 0.5}\n    - name: bits per byte",
        "model-index states 'bits per byte' twice",
    ),
    ("---\nlanguage", "language", "the card has no metadata"),
    ("\n---\n\n# small", "\n\n# small", "the card has no metadata"),
    ("- decoder", "- [decoder", "this is not valid YAML"),
    ("- decoder", "\t- decoder", "this is not valid YAML"),
    ("- decoder", "- !!python/object:os.system x", "is not read; leave it out"),
    ("- decoder", "- *nothing", "refers to no anchor"),
    ("- decoder", "- \x07", "control character"),
    ("org/next", "2025-01-31", "is read as datetime.date"),
    (
        "tags:",
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
        "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ntags:",
        "more than 5,000 values",
    ),
    ("- decoder", "- " + "[" * 5000, "nested deeper"),
]  # fmt: skip


@pytest.mark.parametrize(("piece", "instead", "said"), SPOILED)
def test_a_spoiled_card_is_refused(piece: str, instead: str, said: str) -> None:
    assert piece in CARD
    spoiled = CARD.replace(piece, instead, 1)
    assert said in told(spoiled)
    for problem in hub.problems(spoiled):
        assert re.fullmatch(r"README\.md:\d+:\d+", problem.place)


RESULT = """- dataset:
    id: cais/hle
    task_id: default
    revision: 5503434ddd753f426f4b38109466949a1217c2bb
  value: 20.9
  date: "2025-01-15T10:30:00Z"
  source:
    url: https://huggingface.co/datasets/cais/hle
    name: logs
    user: someone
  notes: no-tools
"""
SPOILED_RESULTS = [
    ("id: cais/hle", "id: Humanity's Last Exam", "dataset.id must be an identifier of the Hub"),
    ("    task_id: default\n", "", "dataset has no entry task_id"),
    ("  value: 20.9\n", "", "the file[0] has no entry value"),
    ("value: 20.9", 'value: "20.9"', "value must be a finite number, not '20.9'"),
    ("5503434ddd753f426f4b38109466949a1217c2bb", "main", "revision must be a commit"),
    ('"2025-01-15T10:30:00Z"', "2025-01-15", "is read as datetime.date"),
    ('"2025-01-15T10:30:00Z"', "January", "date must be a date such as 2026-01-31"),
    ("    url: https://huggingface.co/datasets/cais/hle\n", "", "source has no entry url"),
    ("notes", "note", "write notes"),
    ("- dataset", "dataset", "this is not valid YAML"),
    (RESULT, RESULT + RESULT, "the file states one result twice"),
    (RESULT, "", "the file must be a list, not nothing"),
]


def test_what_huggingface_hub_writes_of_a_result_is_accepted() -> None:
    assert hub.result_problems(RESULT, "hle.yaml") == []
    entry = EvalResultEntry(
        "Idavidrein/gpqa", "gpqa_diamond", 0.412, date="2026-01-31", source_url="https://x.org/y"
    )
    text = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)
    assert hub.result_problems(text, "gpqa.yaml") == []


@pytest.mark.parametrize(("piece", "instead", "said"), SPOILED_RESULTS)
def test_a_spoiled_result_is_refused(piece: str, instead: str, said: str) -> None:
    assert piece in RESULT
    found = hub.result_problems(RESULT.replace(piece, instead, 1), ".eval_results/hle.yaml")
    assert said in "\n".join(map(str, found))
    assert all(problem.place.startswith(".eval_results/hle.yaml:") for problem in found)
