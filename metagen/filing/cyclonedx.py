"""The bill of materials: the model with its model card, its data and its libraries.

CycloneDX 1.7, https://cyclonedx.org/docs/1.7/json/. The properties bear the names of SPDX's AI
profile, by which AIBOM checkers know fields that CycloneDX has no place for, and those of
https://github.com/GenAI-Security-Project/cyclonedx-property-taxonomy.
"""

from __future__ import annotations

from typing import Any

from metagen import __version__
from metagen.docs import scores
from metagen.docs.fact import Ref
from metagen.filing.subject import MODEL, Subject, identifier, known, moment, recipe, written
from metagen.work import Desk

PATH = "docs/bom.cdx.json"
_MODEL = "model"
_TAXONOMY = "genai:aibom:modelcard:"
_DIMENSIONS = {
    "vocabSize": "arch.model.vocab_size",
    "tokenizerClass": "arch.data.tokenizer",
    "contextLength": "arch.model.max_seq_len",
    "embeddingLength": "arch.model.d_model",
    "blockCount": "arch.model.n_layers",
    "attentionHeadCount": "arch.model.n_heads",
    "attentionHeadCountKV": "arch.model.n_kv_heads",
    "feedForwardLength": "arch.model.d_ff",
    "ropeDimensionCount": "arch.model.head_dim",
}
_LEARNING = {
    **dict.fromkeys(("autoregressive", "masked", "contrastive"), "self-supervised"),
    **dict.fromkeys(("diffusion", "reconstruction"), "unsupervised"),
    **dict.fromkeys(("classification", "regression", "forecasting"), "supervised"),
    **dict.fromkeys(("ranking", "object_detection", "segmentation"), "supervised"),
    **dict.fromkeys(("policy_gradient", "value_based"), "reinforcement-learning"),
    **dict.fromkeys(("actor_critic", "model_based"), "reinforcement-learning"),
}


def bom(desk: Desk) -> dict[str, bytes]:
    """Return `docs/bom.cdx.json`."""
    subject = Subject(desk)
    return written(PATH, subject, content(subject))


def content(subject: Subject) -> dict[str, Any]:
    """Return the bill of materials; its serial number follows from the rest of it."""
    data, libraries = _data(subject), _libraries(subject)
    body = {
        "version": 1,
        "metadata": _metadata(subject),
        "components": [_model(subject, data), *data, *libraries],
        "dependencies": [{"ref": _MODEL, "dependsOn": [each["bom-ref"] for each in libraries]}],
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": f"urn:uuid:{identifier(body)}",
        **body,
    }


def _metadata(subject: Subject) -> dict[str, Any]:
    package = {
        "type": "application",
        "bom-ref": "package",
        "name": f"{subject.name} package",
        "version": subject.value("spec.version"),
        "externalReferences": _documents(),
    }
    tool = {"type": "application", "name": "metagen", "version": __version__}
    return known(
        {
            "timestamp": moment(subject.value("spec.release.date")),
            "tools": {"components": [tool]},
            "authors": [{"name": name} for name in subject.value("spec.authors") or ()],
            "component": known(package),
            "supplier": _supplier(subject),
            "properties": _properties(_fields(subject)),
        }
    )


def _supplier(subject: Subject) -> dict[str, Any]:
    contact, place = (subject.value(f"spec.release.{key}") for key in ("contact", "location"))
    web = contact if contact and contact.startswith(("https://", "http://")) else None
    return known(
        {
            "name": subject.value("spec.release.supplier"),
            "address": known({"country": place}),
            "url": [web] if web else [],
            "contact": [{"email": contact}] if contact and "@" in contact and not web else [],
        }
    )


def _fields(subject: Subject) -> dict[str, Any]:
    """Return the fields of SPDX's AI profile, as text."""
    energy, metrics = subject.energy(), subject.scores()
    autonomous = subject.value("spec.release.autonomous")
    return {
        "primaryPurpose": subject.value("derived.pipeline_tag") or subject.kind,
        "suppliedBy": subject.value("spec.release.supplier"),
        "domain": subject.value("spec.task.domain"),
        "autonomyType": None if autonomous is None else "yes" if autonomous else "no",
        "standardCompliance": ", ".join(subject.value("spec.release.standards") or ()),
        "typeOfModel": subject.kind,
        "hyperparameter": _pairs(subject.hyperparameters()),
        "intendedUse": subject.value("spec.release.intended_use"),
        "informationAboutTraining": subject.training(),
        "informationAboutApplication": subject.value("derived.usage"),
        "modelDataPreprocessing": subject.value("spec.training.data.governance.filtering"),
        "useSensitivePersonalInformation": subject.value("spec.training.data.governance.pii"),
        "safetyRiskAssessment": subject.value("spec.release.risk"),
        "energyConsumption": energy and f"training, {energy.method}: {energy.kwh:g} kWh",
        "energyQuantity": energy and f"{energy.kwh:g}",
        "energyUnit": energy and "kWh",
        "metric": "; ".join(_metric(subject, ref, row) for ref, row in metrics),
    }


def _metric(subject: Subject, ref: Ref, row: dict[str, Any]) -> str:
    return f"{row['metric']} {subject.score(ref / 'value')} ({_slice(row)})"


def _pairs(values: dict[str, str]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items())


def _properties(values: dict[str, Any]) -> list[dict[str, str]]:
    return [{"name": name, "value": str(value)} for name, value in known(values).items()]


def _model(subject: Subject, data: list[dict[str, Any]]) -> dict[str, Any]:
    digest = subject.digest
    return known(
        {
            "type": "machine-learning-model",
            "bom-ref": _MODEL,
            "supplier": _supplier(subject),
            "authors": [{"name": name} for name in subject.value("spec.authors") or ()],
            "name": subject.name,
            "version": subject.value("spec.version"),
            "description": subject.value("spec.description"),
            "hashes": [{"alg": "SHA-256", "content": digest}] if digest else [],
            "licenses": licenses(subject),
            "purl": subject.purl,
            "externalReferences": [*_addresses(subject), *_documents()],
            "modelCard": _card(subject, data),
            "tags": [tag for tag in (subject.value("derived.pipeline_tag"),) if tag],
        }
    )


def licenses(subject: Subject) -> list[dict[str, Any]]:
    """Return the licence as CycloneDX writes it: by its SPDX identifier, or by name."""
    spelled = subject.license
    if spelled is None:
        return []
    listed = not spelled.startswith("LicenseRef-")
    return [{"license": {"id": spelled} if listed else {"name": subject.value("spec.license")}}]


def _addresses(subject: Subject) -> list[dict[str, str]]:
    """Return the repository as the place to load the model from; a Hub's is under git."""
    address = subject.value("spec.release.repository")
    kinds = ("distribution", "website", "vcs") if address else ()
    return [{"type": kind, "url": address} for kind in kinds]


def _documents() -> list[dict[str, str]]:
    return [
        {"type": "model-card", "url": "README.md"},
        {"type": "documentation", "url": "paper/main.tex"},
        {"type": "build-meta", "url": "manifest.json"},
    ]


def _card(subject: Subject, data: list[dict[str, Any]]) -> dict[str, Any]:
    dimensions = {name: subject.value(address) for name, address in _DIMENSIONS.items()}
    named = {"hyperparameter": _pairs(subject.hyperparameters()), **known(dimensions)}
    return known(
        {
            "modelParameters": _parameters(subject, data),
            "quantitativeAnalysis": known({"performanceMetrics": _performance(subject)}),
            "considerations": _considerations(subject),
            "properties": [
                {"name": "parameters", "value": str(subject.value("params.total"))},
                *_properties(_distribution(subject)),
                *_properties({f"{_TAXONOMY}{name}": value for name, value in named.items()}),
            ],
        }
    )


def _distribution(subject: Subject) -> dict[str, Any]:
    """Return what the weights need, by the names of the AIBOM generator's registry."""
    start = "owasp:aibom:distribution:"
    size = subject.value("trained.checkpoint.bytes")
    return {f"{start}modelFileSize": size, f"{start}runtimeRequirement": "python"}


def _parameters(subject: Subject, data: list[dict[str, Any]]) -> dict[str, Any]:
    learning = {_LEARNING.get(each) for each in subject.value("spec.training.objective") or ()}
    approach = learning.pop() if len(learning) == 1 else None
    return known(
        {
            "approach": {"type": approach} if approach else {},
            "task": subject.value("derived.pipeline_tag") or subject.value("spec.task.type"),
            "architectureFamily": subject.value("arch.family"),
            "modelArchitecture": subject.kind,
            "datasets": [{"ref": each["bom-ref"]} for each in data],
            "inputs": [{"format": name} for name in subject.value("spec.modality.inputs") or ()],
            "outputs": [{"format": name} for name in subject.value("spec.modality.outputs") or ()],
        }
    )


def _performance(subject: Subject) -> list[dict[str, Any]]:
    """Return the scores; a slice says whose they are and on what."""
    return [
        known(
            {
                "type": row["metric"],
                "value": subject.score(ref / "value"),
                "slice": _slice(row),
                "confidenceInterval": _interval(row),
            }
        )
        for ref, row in subject.scores()
    ]


def _slice(row: dict[str, Any]) -> str:
    whose = "full model" if row["size"] == "full" else "scaled-down proxy, not the released model"
    parts = (whose, row["dataset"], row["split"], row["origin"])
    return ", ".join(part for part in parts if part)


def _interval(row: dict[str, Any]) -> dict[str, str]:
    ends = row["interval"] or ()
    return dict(
        zip(("lowerBound", "upperBound"), (scores.write(end, row) for end in ends), strict=False)
    )


def _considerations(subject: Subject) -> dict[str, Any]:
    use, barred = (subject.value(f"spec.release.{k}") for k in ("intended_use", "out_of_scope"))
    risks = [
        {"name": f"Not measured: {subject.value('derived.risks')}."},
        *([{"name": f"Out of scope: {barred}"}] if barred else []),
    ]
    return known(
        {
            "useCases": [use or subject.value("uses.direct")],
            "technicalLimitations": subject.limitations(),
            "ethicalConsiderations": risks,
            "environmentalConsiderations": _environment(subject),
        }
    )


def _environment(subject: Subject) -> dict[str, Any]:
    energy = subject.energy()
    if energy is None:
        return {}
    spent = {"value": energy.kwh, "unit": "kWh"}
    provider = {
        "organization": {"name": "not declared"},
        "energySource": subject.value("spec.training.compute.energy_source") or "unknown",
        "energyProvided": spent,
    }
    consumption = {
        "activity": "training",
        "energyProviders": [provider],
        "activityEnergyCost": spent,
        "co2CostEquivalent": _carbon(energy.carbon),
        "properties": [{"name": "method", "value": energy.method}],
    }
    return {"energyConsumptions": [known(consumption)]}


def _carbon(kilograms: float | None) -> dict[str, Any]:
    return {} if kilograms is None else {"value": kilograms / 1000, "unit": "tCO2eq"}


def _data(subject: Subject) -> list[dict[str, Any]]:
    """Return a component for each declared source, and for each data set that was read."""
    declared = [
        {
            "type": "data",
            "bom-ref": f"source-{place}",
            "name": each["name"],
            "version": each.get("date"),
            "description": each.get("description"),
            "licenses": [{"license": {"name": each["license"]}}] if each.get("license") else [],
            "externalReferences": _link(each.get("url")),
            "data": [{"type": "dataset", "name": each["name"]}],
            "properties": _properties({"obtained": each.get("kind"), "role": "training"}),
        }
        for place, each in enumerate(subject.sources(), 1)
    ]
    read = [
        {
            "type": "data",
            "bom-ref": f"benchmark-{place}",
            "name": each["dataset"],
            "description": " ".join(f"{sheet['instance']} {sheet['origin']}" for sheet in sheets),
            "licenses": [{"license": {"name": s["license"]}} for s in sheets if "license" in s],
            "hashes": [{"alg": "SHA-256", "content": each["sha256"]}] if "sha256" in each else [],
            "data": [{"type": "dataset", "name": each["dataset"]}],
            "properties": _properties(
                {"role": f"scores of the {each['size']} model", "split": each.get("split")}
            ),
        }
        for place, each in enumerate(subject.datasets(), 1)
        for sheets in (subject.sheets(each),)
    ]
    return [known(each) for each in (*declared, *read)]


def _link(address: str | None) -> list[dict[str, str]]:
    return [{"type": "distribution", "url": address}] if address else []


def _libraries(subject: Subject) -> list[dict[str, Any]]:
    return [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
        }
        for name, version in subject.libraries().items()
    ]


_READS = (*MODEL, "params", "sheets")
RECIPES = (recipe(bom, PATH, "write the bill of materials (CycloneDX)", _READS),)
