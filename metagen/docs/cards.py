"""The cards: model card, data card, evaluation report, limitations and launch guide, in Markdown.

The model card's header and sections follow the Hugging Face Hub's model card; a section without
facts is omitted.
"""

from __future__ import annotations

import re
from typing import Any

from metagen.docs import escape, licenses, provenance, render, scores, wording
from metagen.docs.fact import Printed, Ref
from metagen.docs.facts import Facts
from metagen.docs.render import Page
from metagen.docs.sources import FILES, ORIGINS, SOURCES, inputs
from metagen.measure.results import FULL, MEASURED
from metagen.sizing.training import INTENSITY
from metagen.work import Desk, Recipe

MODEL_CARD = "README.md"
LAUNCH = "code/launch/README.md"
# What the entry of the CO2 states beside its grams.
_SPENT = (
    *("trained.energy.source", f"spec.{INTENSITY}", "spec.training.compute.region"),
    *("trained.devices.count", "derived.emitted"),
)
_NAMES = "trained.devices.names"
_NAMED = ("benchmark", "title", "dataset", "metric", "split")  # texts of a result in the header
_HUB_DATASET = re.compile(r"[\w-]+/[\w.-]+", re.ASCII)


def model_card(desk: Desk) -> dict[str, bytes]:
    """Return `README.md`, the model card."""
    return _written(MODEL_CARD, model_card_page(desk))


def model_card_page(desk: Desk) -> Page:
    """Return the model card with the record of the facts that it prints."""
    page = render.markdown(desk, "cards/model_card.md", metadata(desk), place="")
    return Page(page.text, (*_in_header(desk), *page.printed))


def data_card(desk: Desk) -> dict[str, bytes]:
    """Return `docs/data_card.md`: the declared data, and the data that was used."""
    return _written("docs/data_card.md", render.markdown(desk, "cards/data_card.md"))


def eval_report(desk: Desk) -> dict[str, bytes]:
    """Return `docs/eval_report.md`: results with their baselines, and how they were measured."""
    return _written("docs/eval_report.md", render.markdown(desk, "cards/eval_report.md"))


def limitations(desk: Desk) -> dict[str, bytes]:
    """Return `docs/limitations.md`: violated constraints, and what was not measured."""
    return _written("docs/limitations.md", render.markdown(desk, "cards/limitations.md"))


def launch(desk: Desk) -> dict[str, bytes]:
    """Return `code/launch/README.md`: how to train on many devices, and the memory of each."""
    return _written(LAUNCH, render.markdown(desk, "cards/launch.md", place="code/launch/"))


def _written(path: str, page: Page) -> dict[str, bytes]:
    return provenance.written(path, page.data, page.printed)


def metadata(desk: Desk) -> dict[str, Any]:
    """Return the entries of the model card's YAML header, without undeclared ones."""
    facts, license = Facts(desk), licenses.declared(desk)
    # A score in the header reads as that of the model, so those of the proxy stay in the text.
    words, full = facts.family().words, facts.results(FULL)
    sources = [facts.entry(ref / "name") for ref in facts.each("spec.training.data.sources")]
    named = license.id == licenses.OTHER
    entries: dict[str, Any] = {
        "language": list(facts.get("spec.release.language").value or ()),
        "license": license.id,
        "license_name": _slug(license.name) if named else "",
        "license_link": (license.link or licenses.PATH) if named else "",
        "base_model": _base(facts),
        "pipeline_tag": words.pipeline_tag,
        "tags": ["metagen", facts.get("arch.family").value],
        "datasets": [name for name in sources if _HUB_DATASET.fullmatch(name)],
        "metrics": sorted({row["metric"] for row in full}),
        "co2_eq_emissions": _emissions(facts),
        "model-index": _model_index(
            escape.plain(facts.get("spec.name").value), words.pipeline_tag, full
        ),
    }
    return {key: value for key, value in entries.items() if value}


def _emissions(facts: Facts) -> dict[str, Any]:
    """Return the CO2 of the training as the Hub takes it.

    {} unless the energy was measured and the spec declares the intensity of its grid.
    """
    if not facts.has("derived.emitted"):
        return {}
    meter, declared, region, count, grams = (facts.get(name).value for name in _SPENT)
    names = [facts.get(ref).value for ref in _devices(facts)]
    devices = f"{count} x {', '.join(names)}" if names else None
    known = {
        "source": f"energy of the devices by {meter}, times {declared} as the spec declares it",
        "training_type": "fine-tuning" if facts.has("trained.init_from") else "pre-training",
        "geographical_location": region,
        "hardware_used": devices,
    }
    texts = {key: escape.plain(text) for key, text in known.items() if text}
    return {"emissions": grams, **texts}


def _devices(facts: Facts) -> list[Ref]:
    """Return the addresses of the names of the devices; none where they are not recorded."""
    return facts.each(_NAMES) if facts.has(_NAMES) else []


def _slug(name: str) -> str:
    """Return the name of a licence in the form that the Hub takes: `my-license-1.0`."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")


def _base(facts: Facts) -> str:
    """Return the Hub's name of the model that training begins with; "" if none is declared."""
    started = facts.has("spec.training.init_from")
    return str(facts.get("spec.release.base_model").value or "") if started else ""


def _model_index(name: str, task: str, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entry of a model of some name; none without results."""
    return [{"name": name, "results": [_result(task, row) for row in results]}] if results else []


def _result(task: str, row: dict[str, Any]) -> dict[str, Any]:
    split = {"split": row["split"]} if row["split"] else {}
    dataset = {"name": row["dataset"], "type": row["dataset"], **split}
    # A page of the Hub shows the name of the metric, and not that of the model.
    notes = [
        *([_came(row)] if row["origin"] != MEASURED else []),
        *([] if row.get("bound") else ["stated, not bound"]),
    ]
    name = f"{row['benchmark']}, {row['title']}" + (f" ({', '.join(notes)})" if notes else "")
    metric = {"name": name, "type": row["metric"], "value": _number(row)}
    return {"task": {"type": task}, "dataset": dataset, "metrics": [metric]}


def _came(row: dict[str, Any]) -> str:
    """Return how a result came: by which program, or as the origin says."""
    harness = row.get("harness") or {}
    named = " ".join(str(harness[key]) for key in ("name", "version") if harness.get(key))
    return f"by {escape.plain(named)}" if named else ORIGINS[row["origin"]]


def _number(row: dict[str, Any]) -> float:
    """Return the value of a row with the digits that it supports."""
    text = scores.write(row["value"], row)
    return float(text.replace(",", "").replace(wording.MINUS, "-"))


def _in_header(desk: Desk) -> list[Printed]:
    """Return the scores that the header states, and its names from the spec and from results."""
    facts = Facts(desk)
    rows = facts.each("results", status=MEASURED, size=FULL)
    spent: tuple[str | Ref, ...] = ()
    if facts.has("derived.emitted"):
        spent = (*_SPENT, *_devices(facts))
    names: list[str | Ref] = [
        *("spec.name", "spec.license"),
        *(source / "name" for source in facts.each("spec.training.data.sources")),
        *(row / each for row in rows for each in _NAMED),
        *spent,
    ]
    texts = [Printed(fact, str(fact.value)) for fact in (facts.get(name) for name in names)]
    values = ((facts.get(row / "value"), _number(facts.get(row).value)) for row in rows)
    return [*texts, *(Printed(fact, str(number)) for fact, number in values)]


def _recipe(
    work: Any, title: str, *files: str, path: str = "", sources: tuple[str, ...] = ()
) -> Recipe:
    name = work.__name__
    read = tuple(dict.fromkeys((*inputs(*files), *sources)))
    return Recipe(f"docs:{name}", work, read, provenance.targets(path or f"docs/{name}.md"), title)


_TRAINED = ("trained", "plan", "samples", "bench")
_CARD = (
    *("arch", "params", "shape", "flops", "constraints", "results", "machine"),
    *("curve", "report"),
    *("lock", "launch", "sheets", "uses", *_TRAINED),
)
_REPORT = (
    *("arch", "params", "results", "report", "ablations", "curve", "machine", "lock"),
    *("trained_curve", *_TRAINED[:3]),
)
_LIMITS = ("arch", "params", "constraints", "results", "launch", "trained", "bench")
RECIPES = (
    _recipe(model_card, "write the model card", *_CARD, path=MODEL_CARD, sources=SOURCES),
    _recipe(
        data_card, "write the data card", "arch", "results", "launch", "data", "sheets", "trained"
    ),
    _recipe(eval_report, "write the evaluation report", *_REPORT),
    _recipe(limitations, "write the limitations", *_LIMITS, sources=SOURCES),
    Recipe(
        "docs:launch",
        launch,
        (FILES["launch"],),
        provenance.targets(LAUNCH),
        "explain how to train on many devices",
    ),
)
