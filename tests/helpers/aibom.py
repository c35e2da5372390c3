"""The fields that the OWASP AIBOM generator scores, and its score of a bill of materials.

Field names, categories, weights and rules: github.com/GenAI-Security-Project/aibom-generator,
`src/models/field_registry.json` and `src/models/scoring.py`, the 48 fields of commit c5a3f2f. Later
commits add two fields of the weights' files and seven of African regulations.
"""

from __future__ import annotations

from typing import Any

WEIGHTS = {"required": 20, "metadata": 20, "basic": 20, "model card": 30, "references": 10}
_TAXONOMY = (
    *("vocabSize", "tokenizerClass", "contextLength", "embeddingLength", "blockCount"),
    *("attentionHeadCount", "attentionHeadCountKV", "feedForwardLength", "ropeDimensionCount"),
    *("quantizationVersion", "quantizationFileType"),
)
_IN_PROPERTIES = (
    *("energyConsumption", "hyperparameter", "safetyRiskAssessment", "intendedUse", "typeOfModel"),
    *("modelExplainability", "energyQuantity", "energyUnit", "informationAboutTraining"),
    *("informationAboutApplication", "metric", "metricDecisionThreshold"),
    *("modelDataPreprocessing", "useSensitivePersonalInformation"),
)
FIELDS = {
    **dict.fromkeys(("bomFormat", "specVersion", "serialNumber", "version"), "required"),
    **dict.fromkeys(("primaryPurpose", "suppliedBy", "standardCompliance"), "metadata"),
    **dict.fromkeys(("domain", "autonomyType"), "metadata"),
    **dict.fromkeys(("name", "type", "component_version", "purl", "description"), "basic"),
    **dict.fromkeys(("licenses", "externalReferences"), "basic"),
    **dict.fromkeys(("datasets", "ethicalConsiderations", "technicalLimitations"), "model card"),
    **dict.fromkeys((*_IN_PROPERTIES, *_TAXONOMY), "model card"),
    **dict.fromkeys(("paper", "vcs", "website", "downloadLocation"), "references"),
}
CRITICAL = (
    *("bomFormat", "specVersion", "serialNumber", "version", "primaryPurpose", "suppliedBy"),
    *("name", "type", "component_version"),
)
ADVANCED = (
    *("bomFormat", "specVersion", "serialNumber", "version", "name", "downloadLocation"),
    *("primaryPurpose", "suppliedBy", "type", "purl", "description", "licenses", "hyperparameter"),
    *("technicalLimitations", "energyConsumption", "safetyRiskAssessment", "typeOfModel"),
)
_REFERENCES = {
    "paper": {"documentation"},
    "vcs": {"vcs"},
    "website": {"website"},
    "downloadLocation": {"distribution", "website"},
}


def has(bom: dict[str, Any], field: str) -> bool:
    """Tell whether a bill of materials has a field, where the generator looks for it."""
    model = bom["components"][0]
    card = model.get("modelCard", {})
    if field in _REFERENCES:
        return any(each["type"] in _REFERENCES[field] for each in model["externalReferences"])
    if FIELDS[field] == "required":
        return field in bom
    places = (model, card.get("modelParameters", {}), card.get("considerations", {}))
    named = {"component_version": "version"}.get(field, field)
    properties = (bom["metadata"].get("properties", []), card.get("properties", []))
    names = {each["name"].rpartition(":")[2] for list_ in properties for each in list_}
    return field in names or any(place.get(named) for place in places)


def missing(bom: dict[str, Any]) -> set[str]:
    """Return the fields that a bill of materials lacks."""
    return {field for field in FIELDS if not has(bom, field)}


def score(bom: dict[str, Any]) -> float:
    """Return the score of 100: each category's share of its fields, less for critical ones."""
    total = 0.0
    for category, weight in WEIGHTS.items():
        fields = [field for field, own in FIELDS.items() if own == category]
        total += round(weight * sum(has(bom, field) for field in fields) / len(fields), 1)
    lacks = sum(not has(bom, field) for field in CRITICAL)
    return round(total * (0.8 if lacks > 3 else 0.9 if lacks >= 2 else 1.0), 1)
