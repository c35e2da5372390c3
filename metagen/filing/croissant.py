"""The data of the model as dataset search reads it: Croissant 1.0 with its RAI vocabulary.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html. The package holds no data, so
the record describes what the training declares, or what the training or the benchmark has read; it
lists a file only where the spec gives an address, and a digest only where a run computed it.
"""

from __future__ import annotations

from typing import Any

from metagen.filing.subject import Subject, known, recipe, written
from metagen.work import Desk

PATH = "docs/croissant.json"
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "citeAs": "cr:citeAs",
    "conformsTo": "dct:conformsTo",
    "isLiveDataset": "cr:isLiveDataset",
    "recordSet": "cr:recordSet",
    "field": "cr:field",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "source": "cr:source",
    "extract": "cr:extract",
    "fileObject": "cr:fileObject",
    "column": "cr:column",
}
_GOVERNANCE = {
    "rai:personalSensitiveInformation": "pii",
    "rai:dataPreprocessingProtocol": "filtering",
    "rai:dataCollection": "provenance",
    "rai:dataReleaseMaintenancePlan": "retention",
}


def dataset(desk: Desk) -> dict[str, bytes]:
    """Return `docs/croissant.json`."""
    subject = Subject(desk)
    return written(PATH, subject, content(subject))


def content(subject: Subject) -> dict[str, Any]:
    """Return the record: the declared sources, and as parts the data sets that were read."""
    sources, read = subject.sources(), subject.datasets()
    return known(
        {
            "@context": _CONTEXT,
            "@type": "sc:Dataset",
            "conformsTo": [
                "http://mlcommons.org/croissant/1.0",
                "http://mlcommons.org/croissant/RAI/1.0",
            ],
            "name": f"Data of {subject.name}",
            "description": _description(subject, sources, read),
            "version": subject.value("spec.version"),
            "license": sorted({each["license"] for each in sources if "license" in each}),
            "url": subject.value("spec.release.repository"),
            "datePublished": subject.value("spec.release.date"),
            "creator": _creator(subject),
            "inLanguage": list(subject.value("spec.release.language") or ()),
            "size": subject.value("spec.training.data.size"),
            "rai:dataAnnotationProtocol": [
                each["annotation"] for each in sources if "annotation" in each
            ],
            "isBasedOn": [_source(each) for each in sources],
            "hasPart": [_part(each, subject.sheets(each)) for each in read],
            **{
                key: subject.value(f"spec.training.data.governance.{name}")
                for key, name in _GOVERNANCE.items()
            },
        }
    )


def _description(subject: Subject, sources: list[Any], read: list[Any]) -> str:
    declared = ", ".join(each["name"] for each in sources)
    used = ", ".join(each["dataset"] for each in read)
    sentences = [
        f"Data of the model {subject.name}.",
        f"Declared for its training: {declared}." if declared else "No source is declared.",
        f"Read for measured scores: {used}." if used else "",
        "The package holds none of it.",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _creator(subject: Subject) -> dict[str, str]:
    name, contact = (subject.value(f"spec.release.{key}") for key in ("supplier", "contact"))
    mail = contact if contact and "@" in contact else None
    return known({"@type": "sc:Organization", "name": name, "email": mail}) if name else {}


def _source(each: dict[str, Any]) -> dict[str, Any]:
    return known(
        {
            "@type": "sc:CreativeWork",
            "name": each["name"],
            "url": each.get("url"),
            "license": each.get("license"),
            "datePublished": each.get("date"),
            "description": each.get("description"),
            "inLanguage": list(each.get("language", ())),
        }
    )


def _part(each: dict[str, Any], sheets: list[dict[str, Any]]) -> dict[str, Any]:
    digest = {"@type": "sc:PropertyValue", "propertyID": "sha256", "value": each.get("sha256")}
    split = f"{each['n']} {each.get('n_unit') or 'samples'} of the split {each['split']}"
    return known(
        {
            "@type": "sc:CreativeWork",
            "name": each["dataset"],
            "description": " ".join(f"{sheet['instance']} {sheet['origin']}" for sheet in sheets),
            "creator": [{"@type": "sc:Organization", "name": s["authors"]} for s in sheets],
            "license": [s.get("license") or s["license_note"] for s in sheets],
            "url": [sheet["url"] for sheet in sheets if "url" in sheet],
            "inLanguage": sorted({code for s in sheets for code in s.get("language", ())}),
            "identifier": digest if "sha256" in each else {},
            "size": split if "n" in each and "split" in each else None,
        }
    )


RECIPES = (recipe(dataset, PATH, "describe the data (Croissant)", ("results", "sheets")),)
