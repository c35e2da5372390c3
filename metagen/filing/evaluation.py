"""Each benchmark with its scores, as Evaluation Cards and Every Eval Ever name their fields.

The completeness signal of Evaluation Cards counts 28 fields: those of a benchmark's card, of the
source of its results, and two of its life cycle (github.com/evaleval/eval_cards_backend_pipeline,
`registry/completeness_fields.json`). What is said of the data is what the spec declares of the
source that has its name, or else the data sheet of a data set that MetaGen brings along. A field
that no file of the package answers is absent, and `missing` names it.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from metagen.docs.fact import Ref
from metagen.filing.subject import Subject, known, recipe, written
from metagen.measure.results import FULL
from metagen.work import Desk

PATH = "docs/evaluation_card.json"
Row = dict[str, Any]
Scored = list[tuple[Ref, Row]]
FIELDS = {
    "benchmark_details": (
        *("name", "overview", "data_type", "domains", "languages"),
        *("similar_benchmarks", "resources"),
    ),
    "purpose_and_intended_users": (
        *("goal", "audience", "tasks", "limitations", "out_of_scope_uses"),
    ),
    "methodology": (
        *("methods", "metrics", "calculation", "interpretation"),
        *("baseline_results", "validation"),
    ),
    "ethical_and_legal_considerations": (
        *("privacy_and_anonymity", "data_licensing", "consent_procedures"),
        *("compliance_with_regulations",),
    ),
    "data": ("source", "size", "format", "annotation"),
}
SOURCE = ("source_type", "source_organization_name", "evaluator_relationship")
LIFE = {"lifecycle_status": "lifecycle", "preregistration_url": "preregistration"}


def cards(desk: Desk) -> dict[str, bytes]:
    """Return `docs/evaluation_card.json`."""
    subject = Subject(desk)
    return written(PATH, subject, content(subject))


def content(subject: Subject) -> list[dict[str, Any]]:
    """Return a record for each benchmark that was run, of the full model before the proxy."""
    grouped = groupby(subject.scores(), lambda pair: (pair[1]["benchmark"], pair[1]["size"]))
    return [_record(subject, list(scored)) for _, scored in grouped]


def _record(subject: Subject, scored: Scored) -> dict[str, Any]:
    card = {section: known(part) for section, part in _card(subject, scored).items()}
    source = _source(subject, scored[0][1])
    life = known({name: subject.value(f"spec.evaluation.{LIFE[name]}") for name in LIFE})
    names = [f"{section}.{name}" for section in FIELDS for name in FIELDS[section]]
    lacks = [name for name in names if not _at(card, name)]
    return {
        "autobenchmarkcard": card,
        "eee_eval": {
            "source_metadata": source,
            "model_info": _model(subject, scored[0][1]),
            "evaluation_results": [_result(subject, *pair) for pair in scored],
        },
        "evalcards": life,
        "missing": [
            *lacks,
            *(name for name in SOURCE if name not in source),
            *(name for name in LIFE if name not in life),
        ],
    }


def _at(card: dict[str, Any], name: str) -> Any:
    section, _, field = name.partition(".")
    return card[section].get(field)


def _card(subject: Subject, scored: Scored) -> dict[str, dict[str, Any]]:
    return {
        "benchmark_details": _details(subject, scored[0][0]),
        "purpose_and_intended_users": _purpose(subject, scored[0][1]),
        "methodology": _methodology(subject, scored),
        "ethical_and_legal_considerations": _ethics(subject, scored[0][1]),
        "data": _data(subject, scored[0][0]),
    }


def _details(subject: Subject, ref: Ref) -> dict[str, Any]:
    row = subject.entry(ref)
    tag = subject.value("derived.pipeline_tag")
    place = f"the split {row['split']} of {row['dataset']}" if row["split"] else row["dataset"]
    return {
        "name": subject.value(ref / "benchmark"),
        "overview": f"{row['benchmark']}, on {place}.",
        "data_type": ", ".join(subject.value("spec.modality.inputs") or ()),
        "domains": [tag] if tag else [],
        "languages": _languages(subject, row),
        "resources": ["code/eval.py", "docs/eval_report.md", "docs/data_card.md"],
    }


_OF_PROXY = {
    "goal": "To show whether the architecture and the code learn, with a scaled-down proxy.",
    "audience": ["people who decide whether to train the full model"],
    "limitations": "The data is small and narrow, and the proxy is not the released model.",
    "out_of_scope_uses": ["comparison with released models"],
}
_OF_MODEL = {
    "goal": "To score the full model.",
    "audience": ["people who decide whether to use the model"],
    "limitations": "One data set and one kind of score; nothing else was measured by it.",
    "out_of_scope_uses": ["statements about tasks and data that it does not cover"],
}


def _purpose(subject: Subject, row: Row) -> dict[str, Any]:
    task = subject.value("spec.task.type") or subject.value("derived.pipeline_tag")
    return {**(_OF_MODEL if row["size"] == FULL else _OF_PROXY), "tasks": [task] if task else []}


def _methodology(subject: Subject, scored: Scored) -> dict[str, Any]:
    rows = [row for _, row in scored]
    return {
        "methods": [row["command"] for row in rows[:1] if row["command"]],
        "metrics": [row["metric"] for row in rows],
        "calculation": "; ".join(f"{row['title']} in {row['unit']}" for row in rows),
        "interpretation": "; ".join(_direction(row) for row in rows),
        "baseline_results": "; ".join(_baselines(subject, *pair) for pair in scored),
        "validation": _validation(rows[0]),
    }


def _direction(row: Row) -> str:
    return f"{row['title']}: {'higher' if row['higher_is_better'] else 'lower'} is better"


def _baselines(subject: Subject, ref: Ref, row: Row) -> str:
    names = [f"{name} {subject.score(ref / 'baselines' / name)}" for name in row["baselines"]]
    return f"{row['metric']}: {', '.join(names)}" if names else ""


def _validation(row: Row) -> str:
    method, seeds = row["interval_method"], row["seeds"]
    parts = [f"interval by {method}" if method else "", f"{len(seeds)} seeds" if seeds else ""]
    return ", ".join(part for part in parts if part)


def _ethics(subject: Subject, row: Row) -> dict[str, Any]:
    """Return what is declared of the data set, where it is a source of the training.

    Of a data set that MetaGen brings along, it is what its data sheet says.
    """
    source = _declared(subject, row)
    if not source:
        sheets = subject.sheets(row)
        terms = [each.get("license") or each.get("license_note") for each in sheets]
        return {
            "privacy_and_anonymity": " ".join(each["people"] for each in sheets),
            "data_licensing": "; ".join(term for term in terms if term),
        }
    governed = "spec.training.data.governance."
    return {
        "privacy_and_anonymity": subject.value(f"{governed}pii"),
        "data_licensing": source.get("license"),
        "consent_procedures": subject.value(f"{governed}consent"),
        "compliance_with_regulations": subject.value(f"{governed}copyright"),
    }


def _languages(subject: Subject, row: Row) -> list[str]:
    described = [_declared(subject, row), *subject.sheets(row)]
    return sorted({code for each in described for code in each.get("language", ())})


def _declared(subject: Subject, row: Row) -> dict[str, Any]:
    """Return the source of training data that is the data set of a row; empty for none."""
    return next((each for each in subject.sources() if each["name"] == row["dataset"]), {})


def _data(subject: Subject, ref: Ref) -> dict[str, Any]:
    row = subject.entry(ref)
    digest = subject.value(ref / "sha256")
    size = subject.value(ref / "n")
    return {
        "source": f"{row['dataset']}, sha256 {digest}" if digest else row["dataset"],
        "size": f"{size} {row['n_unit'] or 'samples'}" if size else None,
        "format": ", ".join(subject.value("spec.modality.inputs") or ()),
        "annotation": _declared(subject, row).get("annotation"),
    }


def _source(subject: Subject, row: Row) -> dict[str, Any]:
    """Return who ran the benchmark; a result that this build did not measure has no relation."""
    here = row["origin"] == "measured"
    return known(
        {
            "source_type": "evaluation_run" if here else "documentation",
            "source_organization_name": subject.value("spec.release.supplier") if here else None,
            "evaluator_relationship": "first_party" if here else "other",
        }
    )


def _model(subject: Subject, row: Row) -> dict[str, Any]:
    name = subject.name
    own = "params.total" if row["size"] == FULL else "params.proxy_total"
    return known(
        {
            "name": name if row["size"] == FULL else f"{name} (scaled-down proxy)",
            "developer": subject.value("spec.release.supplier"),
            "model_version": subject.value("spec.version"),
            "architecture": subject.kind,
            "parameter_count": subject.value(own),
            "release_date": subject.value("spec.release.date"),
            "model_url": subject.value("spec.release.repository"),
        }
    )


def _result(subject: Subject, ref: Ref, row: Row) -> dict[str, Any]:
    interval = row["interval"] or (None, None)
    details = {
        "score": subject.value(ref / "value"),
        "sample_size": subject.value(ref / "n"),
        "confidence_interval": known({"lower": interval[0], "upper": interval[1]}),
        "standard_error": row.get("standard_error"),
    }
    return {
        "evaluation_name": row["metric"],
        "metric_config": known(
            {"lower_is_better": not row["higher_is_better"], "unit": row["unit"]}
        ),
        "score_details": known(details),
        "harness": row.get("harness") or {"name": "code/eval.py", "command": row["command"]},
    }


_READS = ("arch", "params", "results", "sheets")
RECIPES = (recipe(cards, PATH, "describe the benchmarks (Evaluation Cards)", _READS),)
