"""The model as an AI package with its data, code and libraries: SPDX 3.0.1 as JSON-LD.

https://spdx.github.io/spdx-spec/v3.0.1/model/AI/Classes/AIPackage/. The AI profile requires the
supplier, the day of release, the address, the version and the purpose: the document claims to
conform to it only where the spec declares them all.
"""

from __future__ import annotations

from typing import Any

from metagen import __version__, files
from metagen.filing.subject import MODEL, Subject, identifier, known, moment, recipe, written
from metagen.paths import slug
from metagen.work import Desk

PATH = "docs/spdx.json"
CODE = tuple(f"code/{name}.py" for name in ("model", "data", "train", "eval", "infer"))
REQUIRED = ("supplier", "date", "repository")
_EPOCH = "1970-01-01T00:00:00Z"
_INFO = "_:creation"
Element = dict[str, Any]


def document(desk: Desk) -> dict[str, bytes]:
    """Return `docs/spdx.json`."""
    digests = {path: files.sha256(desk.read(path)) for path in CODE}
    subject = Subject(desk)
    return written(PATH, subject, content(subject, digests))


def content(subject: Subject, code: dict[str, str]) -> dict[str, Any]:
    """Return the document; `code` has the sha256 of each file of the model's code."""
    elements = [
        *_agents(subject),
        _package(subject),
        *_files(code),
        *_datasets(subject),
        *_libraries(subject),
        *_license(subject),
    ]
    every = [*elements, *_relations(elements)]
    graph = [_info(subject), _document(subject, every), *every]
    base = f"https://spdx.org/spdxdocs/{slug(subject.name)}-{identifier(graph)}/"
    return {
        "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld",
        "@graph": [_absolute(each, base) for each in graph],
    }


def _absolute(value: Any, base: str) -> Any:
    """Return an element with each of the document's own identifiers below its address."""
    if isinstance(value, dict):
        return {key: _absolute(part, base) for key, part in value.items()}
    if isinstance(value, list):
        return [_absolute(part, base) for part in value]
    own = isinstance(value, str) and value.startswith("#")
    return base + value[1:] if own else value


def _element(kind: str, own: str, /, **more: Any) -> Element:
    return known({"type": kind, "spdxId": f"#{own}", "creationInfo": _INFO, **more})


def _info(subject: Subject) -> Element:
    day = moment(subject.value("spec.release.date"))
    absent = "The spec declares no release.date, so the time of creation is a placeholder."
    return known(
        {
            "type": "CreationInfo",
            "@id": _INFO,
            "specVersion": "3.0.1",
            "created": day or _EPOCH,
            "createdBy": ["#supplier"],
            "createdUsing": ["#metagen"],
            "comment": "" if day else absent,
        }
    )


def _agents(subject: Subject) -> list[Element]:
    supplier = subject.value("spec.release.supplier")
    kind = "Organization" if supplier else "Agent"
    contact = subject.value("spec.release.contact")
    mail = {"type": "ExternalIdentifier", "externalIdentifierType": "email", "identifier": contact}
    return [
        _element(
            kind,
            "supplier",
            name=supplier or "not declared",
            externalIdentifier=[mail] if contact and "@" in contact else [],
        ),
        _element("Tool", "metagen", name=f"metagen {__version__}"),
    ]


def _document(subject: Subject, elements: list[Element]) -> Element:
    missing = [key for key in REQUIRED if subject.value(f"spec.release.{key}") is None]
    keys = [f"release.{key}" for key in missing]
    if subject.value("spec.version") is None:
        keys.append("version")
    profiles = ["core", "software", "dataset", "simpleLicensing", *([] if keys else ["ai"])]
    absent = f"The AI profile also needs these keys of the spec: {', '.join(keys)}."
    return _element(
        "SpdxDocument",
        "document",
        name=subject.name,
        comment=absent if keys else "",
        profileConformance=profiles,
        rootElement=["#model"],
        element=[each["spdxId"] for each in elements],
    )


def _package(subject: Subject) -> Element:
    autonomous, risk = (subject.value(f"spec.release.{k}") for k in ("autonomous", "risk"))
    energy, digest = subject.energy(), subject.digest
    return _element(
        "ai_AIPackage",
        "model",
        name=subject.name,
        summary=subject.value("spec.description"),
        suppliedBy="#supplier",
        releaseTime=moment(subject.value("spec.release.date")),
        verifiedUsing=_hash(digest) if digest else [],
        software_primaryPurpose="model",
        software_packageVersion=subject.value("spec.version"),
        software_downloadLocation=subject.value("spec.release.repository"),
        software_packageUrl=subject.purl,
        ai_domain=[name for name in (subject.value("spec.task.domain"),) if name],
        ai_typeOfModel=[subject.kind],
        ai_hyperparameter=_entries(subject.hyperparameters()),
        ai_metric=_metrics(subject),
        ai_limitation=" ".join(subject.limitations()),
        ai_informationAboutTraining=subject.training(),
        ai_informationAboutApplication=subject.value("spec.release.intended_use"),
        ai_modelDataPreprocessing=_listed(subject, "spec.training.data.governance.filtering"),
        ai_standardCompliance=list(subject.value("spec.release.standards") or ()),
        ai_autonomyType=None if autonomous is None else "yes" if autonomous else "no",
        ai_safetyRiskAssessment=risk,
        ai_energyConsumption=_energy(energy.kwh, energy.method) if energy else {},
    )


def _listed(subject: Subject, name: str) -> list[str]:
    value = subject.value(name)
    return [value] if value else []


def _hash(digest: str) -> list[Element]:
    return [{"type": "Hash", "algorithm": "sha256", "hashValue": digest}]


def _entries(values: dict[str, str]) -> list[Element]:
    return [{"type": "DictionaryEntry", "key": name, "value": values[name]} for name in values]


def _metrics(subject: Subject) -> list[Element]:
    names = {
        f"{row['metric']} of the {row['size']} model on {row['dataset']}": ref
        for ref, row in subject.scores()
    }
    return _entries({name: subject.score(ref / "value") for name, ref in names.items()})


def _energy(kwh: float, method: str) -> Element:
    described = {
        "type": "ai_EnergyConsumptionDescription",
        "ai_energyQuantity": kwh,
        "ai_energyUnit": "kilowattHour",
    }
    return {"type": "ai_EnergyConsumption", "ai_trainingEnergyConsumption": [described]}


def _files(code: dict[str, str]) -> list[Element]:
    return [
        _element(
            "software_File",
            f"file-{place}",
            name=path,
            software_primaryPurpose="source",
            verifiedUsing=_hash(digest),
        )
        for place, (path, digest) in enumerate(code.items(), 1)
    ]


def _datasets(subject: Subject) -> list[Element]:
    """Return the declared sources of training data, and the data sets of the results."""
    kind = list(subject.value("spec.modality.inputs") or ())
    types = [_TYPES.get(name, "other") for name in kind]
    sensitive = subject.value("spec.training.data.governance.pii")
    declared = [
        _element(
            "dataset_DatasetPackage",
            f"source-{place}",
            name=each["name"],
            description=each.get("description"),
            software_primaryPurpose="data",
            software_downloadLocation=each.get("url"),
            software_packageVersion=each.get("date"),
            software_copyrightText=each.get("license"),
            dataset_datasetType=types,
            dataset_dataCollectionProcess=each.get("kind"),
            comment=f"Handling of personal data: {sensitive}" if sensitive else "",
        )
        for place, each in enumerate(subject.sources(), 1)
    ]
    read = [
        _element(
            "dataset_DatasetPackage",
            f"benchmark-{place}",
            name=each["dataset"],
            software_primaryPurpose="data",
            verifiedUsing=_hash(each["sha256"]) if "sha256" in each else [],
            dataset_datasetType=types,
            comment=f"Read for the scores of the {each['size']} model.",
        )
        for place, each in enumerate(subject.datasets(), 1)
    ]
    return [*declared, *read]


_TYPES = {
    **{name: name for name in ("text", "image", "audio", "video", "graph")},
    "time_series": "timeseries",
    "tabular": "structured",
}


def _libraries(subject: Subject) -> list[Element]:
    return [
        _element(
            "software_Package",
            f"library-{place}",
            name=name,
            software_primaryPurpose="library",
            software_packageVersion=version,
            software_packageUrl=f"pkg:pypi/{name}@{version}",
        )
        for place, (name, version) in enumerate(subject.libraries().items(), 1)
    ]


def _license(subject: Subject) -> list[Element]:
    spelled = subject.license
    expression = {"simplelicensing_licenseExpression": spelled}
    kind = "simplelicensing_LicenseExpression"
    return [_element(kind, "license", **expression)] if spelled else []


def _relations(elements: list[Element]) -> list[Element]:
    """Return how the model relates to the other elements, by the kinds of their names."""
    kinds = {
        "contains": "#file-",
        "trainedOn": "#source-",
        "testedOn": "#benchmark-",
        "dependsOn": "#library-",
        "hasDeclaredLicense": "#license",
    }
    names = [each["spdxId"] for each in elements]
    ends = {kind: [n for n in names if n.startswith(start)] for kind, start in kinds.items()}
    return [
        _element("Relationship", kind, **{"from": "#model"}, to=to, relationshipType=kind)
        for kind, to in ends.items()
        if to
    ]


RECIPES = (recipe(document, PATH, "write the SPDX document of the model", MODEL, *CODE),)
