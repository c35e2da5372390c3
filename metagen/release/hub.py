"""The Hugging Face Hub's rules for the metadata of a card, checked offline.

The Hub checks metadata when a repository is pushed, and huggingface_hub asks the Hub. Both refuse
some of it, and pass over the rest in silence. This check knows the lists of identifiers, which are
in `data/hub.json` with source and date, and the form of each entry:

- modelcard.md, datasetcard.md, eval_results.yaml, docs/hub/model-cards.md, model-cards-co2.md and
  eval-results.md of github.com/huggingface/hub-docs;
- repocard_data.py, _eval_results.py and utils/_validators.py of huggingface_hub 2.4.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from metagen.errors import Problem, SpecError
from metagen.release import forms
from metagen.spec import reader
from metagen.spec.findings import Findings, shown
from metagen.spec.reader import Node

_BLOCK = re.compile(r"(\s*---(?:\r\n|\r|\n))([\S\s]*?)(?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|$)")
_URL = re.compile(r"https?://[^\s/?#]+\S*")
_LICENSE_LINK = re.compile(rf"LICENSE(?:\.md)?|{_URL.pattern}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?")
_REVISION = re.compile(r"[0-9a-f]{40}")
_LICENSE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")

SOURCE = "data/hub.json"
"""The file of the lists, which a task that checks a card names among its sources."""


def problems(text: str, name: str = "README.md") -> list[Problem]:
    """Return what the Hub would refuse or pass over in the metadata of a card.

    Args:
        text: The card, in Markdown with a YAML header between lines of `---`.
        name: The name of the file, for places.
    """
    block = _BLOCK.match(text)
    if block is None:
        hint = "begin the card with ---, its metadata in YAML, and --- again"
        return [Problem("the card has no metadata", f"{name}:1:1", hint)]
    return _read(block[1], block[2], name, _card)


def result_problems(text: str, name: str) -> list[Problem]:
    """Return what the Hub would refuse in a file of `.eval_results/`."""
    return _read("", text, name, _results)


def _read(before: str, block: str, name: str, check: forms.Check) -> list[Problem]:
    """Check a block of YAML; lines before it count for places."""
    findings = Findings()
    try:
        root = reader.parse("\n" * before.count("\n") + block, name, findings)
        findings.settle()
    except SpecError as error:
        return list(error.problems)
    found = [*_two_readings(root, block), *check(root, "")]
    return sorted(found, key=lambda each: _line_and_column(each.place))


def _line_and_column(place: str) -> list[int]:
    return [int(part) for part in place.rsplit(":", 2)[1:]]


# YAML 1.1 and 1.2 -------------------------------------------------------------------------------


def _two_readings(root: Node, block: str) -> Iterator[Problem]:
    """Yield values that huggingface_hub, which reads YAML 1.1, takes for others than the Hub."""
    try:
        yield from _differences(root, yaml.load(block, Loader=yaml.CSafeLoader))
    except (yaml.YAMLError, ValueError) as error:
        reason = getattr(error, "problem", None) or str(error)
        yield Problem(f"huggingface_hub cannot read the metadata: {reason}", root.place)


def _differences(node: Node, other: Any) -> Iterator[Problem]:
    if isinstance(node.value, list) and isinstance(other, list):
        for item, value in zip(node.value, other, strict=True):
            yield from _differences(item, value)
    elif isinstance(node.value, dict) and isinstance(other, dict):
        if list(node.value) != list(map(str, other)):
            yield Problem("a key is read in two ways", node.place, "quote the keys")
            return
        for item, value in zip(node.value.values(), other.values(), strict=True):
            yield from _differences(item, value)
    elif type(node.value) is not type(other) or node.value != other:
        sentence = f"{node.text} is read as {shown(other)} by huggingface_hub, not by the Hub"
        yield Problem(sentence, node.place, "quote it if it is text, or write it plainly")


# Entries of a card ------------------------------------------------------------------------------

_SOURCE = forms.fields({"url": forms.matching(_URL, "an address")}, {"name": forms.text})
_METRIC = forms.fields(
    {"type": forms.text, "value": forms.number},
    {
        "name": forms.text,
        "config": forms.text,
        "args": forms.anything,
        "verified": forms.truth,
        "verifyToken": forms.text,
    },
)
_DATASET = forms.fields(
    {"type": forms.text, "name": forms.text},
    {
        "config": forms.text,
        "split": forms.text,
        "revision": forms.matching(_REVISION, "a commit"),
        "args": forms.anything,
    },
)
_RESULT = forms.fields(
    {
        "task": forms.fields({"type": forms.text}, {"name": forms.text}),
        "dataset": _DATASET,
        "metrics": forms.many(_METRIC, single=False),
    },
    {"source": _SOURCE},
)
_MODEL_INDEX = forms.many(
    forms.fields({"name": forms.text, "results": forms.many(_RESULT, single=False)}, {}),
    single=False,
)
_EMISSIONS = forms.fields(
    {"emissions": forms.grams},
    dict.fromkeys(
        ("source", "training_type", "geographical_location", "hardware_used"), forms.text
    ),
)


def _emissions(node: Node, field: str) -> Iterable[Problem]:
    return (_EMISSIONS if isinstance(node.value, dict) else forms.grams)(node, field)


# Entries that the Hub reads, or that tools write beside those, whose form is not checked here.
_UNCHECKED = (
    *("widget", "inference", "configs", "config_names", "dataset_info", "viewer", "arxiv", "doi"),
    *("extra_gated_prompt", "extra_gated_fields", "extra_gated_heading", "train-eval-index"),
    *("language_bcp47", "language_details", "license_details", "paperswithcode_id", "model_type"),
    *("base_model_sources", "dataset_sources", "model_id", "quantized_by", "instance_prompt"),
)
_ENTRIES: dict[str, forms.Check] = {
    "language": forms.many(forms.listed("languages")),
    "license": forms.many(forms.listed("licenses")),
    "license_name": forms.matching(_LICENSE_NAME, "a name such as my-license-1.0"),
    "license_link": forms.matching(_LICENSE_LINK, "LICENSE, LICENSE.md or an address"),
    "library_name": forms.listed("libraries", "frameworks"),
    "pipeline_tag": forms.listed("pipeline_tags"),
    "tags": forms.many(forms.text, single=False),
    "datasets": forms.many(forms.repository),
    "metrics": forms.many(forms.text),
    "base_model": forms.many(forms.repository),
    "base_model_relation": forms.listed("relations"),
    "new_version": forms.repository,
    "model_name": forms.text,
    "thumbnail": forms.matching(_URL, "an address"),
    "co2_eq_emissions": _emissions,
    "model-index": _MODEL_INDEX,
    "pretty_name": forms.text,
    "size_categories": forms.many(forms.listed("size_categories")),
    "task_categories": forms.many(forms.listed("pipeline_tags")),
    "task_ids": forms.many(forms.listed("task_ids")),
    "annotations_creators": forms.many(forms.listed("annotations_creators")),
    "language_creators": forms.many(forms.listed("language_creators")),
    "multilinguality": forms.many(forms.listed("multilinguality")),
    "source_datasets": forms.many(forms.text),
    **dict.fromkeys(_UNCHECKED, forms.anything),
}
_FORMS = forms.fields({}, _ENTRIES)


def _card(root: Node, field: str) -> Iterator[Problem]:
    if root.value is None or root.value == {}:
        yield Problem("the card has no metadata", root.place, "add license and pipeline_tag")
        return
    yield from _FORMS(root, field)
    if isinstance(root.value, dict):
        yield from _together(root.value)
        yield from _repeated(root.value.get("model-index"))


def _together(entries: dict[str, Node]) -> Iterator[Problem]:
    """Yield what only several entries together show to be wrong."""
    if "license" in entries and entries["license"].value == "other":
        for name in ("license_name", "license_link"):
            if name not in entries:
                hint = f"add {name}, or write the identifier of a license"
                yield Problem(f'license "other" needs {name}', entries["license"].place, hint)
    if "base_model_relation" in entries and "base_model" not in entries:
        place = entries["base_model_relation"].place
        yield Problem("base_model_relation needs base_model", place, "add base_model")


def _inside(node: Node | None, *names: str) -> Any:
    """Return the value under names, where it is in the form that it should have."""
    for name in names:
        node = node.value.get(name) if node and isinstance(node.value, dict) else None
    return node.value if node else None


def _rows(node: Node | None, *names: str) -> list[Node]:
    rows = _inside(node, *names)
    return rows if isinstance(rows, list) else []


_IDENTITY = (("task", "type"), *(("dataset", n) for n in ("type", "config", "split", "revision")))


def _repeated(index: Node | None) -> Iterator[Problem]:
    """Yield results that state the value of one metric on one data set again."""
    seen: dict[str, Node] = {}
    for model in _rows(index):
        for result in _rows(model, "results"):
            for metric in _rows(result, "metrics"):
                on = [_inside(result, *path) for path in _IDENTITY]
                kind = [_inside(metric, name) for name in ("type", "name", "config")]
                key = repr((_inside(model, "name"), on, kind))
                if key in seen:
                    sentence = f"model-index states {shown(kind[1] or kind[0])} twice"
                    hint = f"leave one out; the first is at {seen[key].place}"
                    yield Problem(sentence, metric.place, hint)
                seen.setdefault(key, metric)


# Entries of .eval_results -----------------------------------------------------------------------

_RESULTS = forms.many(
    forms.fields(
        {
            "dataset": forms.fields(
                {"id": forms.repository, "task_id": forms.text},
                {"revision": forms.matching(_REVISION, "a commit")},
            ),
            "value": forms.number,
        },
        {
            "verifyToken": forms.text,
            "date": forms.matching(_DATE, "a date such as 2026-01-31"),
            "source": forms.fields(
                {"url": forms.matching(_URL, "an address")},
                {"name": forms.text, "user": forms.text, "org": forms.text},
            ),
            "notes": forms.text,
        },
    ),
    single=False,
)


def _results(root: Node, field: str) -> Iterator[Problem]:
    yield from _RESULTS(root, "the file")
    seen: dict[str, Node] = {}
    for row in _rows(root):
        key = repr([_inside(row, "dataset", name) for name in ("id", "task_id", "revision")])
        key += repr(_inside(row, "notes"))
        if key in seen:
            hint = f"leave one out; the first is at {seen[key].place}"
            yield Problem("the file states one result twice", row.place, hint)
        seen.setdefault(key, row)
