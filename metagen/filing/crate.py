"""The files of a package as a research object: RO-Crate 1.2.

https://www.researchobject.org/ro-crate/specification/1.2/. The metadata file lies in the folder
that it describes. It lists names, and not digests: those are in manifest.json, which it lists too,
so only a file that comes or goes changes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from metagen import __version__, files
from metagen.docs.sources import FILES
from metagen.filing.subject import Subject, known, moment
from metagen.work import Desk, Output, Recipe

PATH = "ro-crate-metadata.json"
# `mimetypes` would read the files of the machine, and then the crate would depend on it.
_TYPES = {
    ".json": "application/json",
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".sh": "application/x-sh",
    ".pdf": "application/pdf",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".html": "text/html",
    ".md": "text/markdown",
    ".yaml": "application/yaml",
    ".tex": "text/x-tex",
    ".bib": "text/x-bibtex",
    ".lock": "text/plain",
    ".py": "text/x-python",
    ".safetensors": "application/octet-stream",
}


def recipe(made: Sequence[str], later: Sequence[str], folder: str = "") -> Recipe:
    """Return the recipe of the metadata of a package, or of a folder of it.

    Args:
        made: The files that other tasks make. They are inputs, though only their names are used:
            so a file that comes or goes runs the task again.
        later: Files that are made from this one.
        folder: The folder of all these files, with a slash at its end; "" is the package.
    """
    listed = tuple(path.removeprefix(folder) for path in sorted((*made, *later)))
    target = f"{folder}{PATH}"

    def work(desk: Desk) -> dict[str, Output]:
        return {target: files.json_bytes(content(Subject(desk), listed))}

    inputs = tuple(dict.fromkeys((FILES["arch"], *made)))
    name = "release:crate" if folder else "docs:crate"
    return Recipe(name, work, inputs, (target,), "list the files (RO-Crate)")


def content(subject: Subject, paths: Iterable[str]) -> dict[str, Any]:
    """Return the metadata of a folder of files."""
    names = sorted(paths)
    people = [
        {"@id": f"#author-{i}", "@type": "Person", "name": name}
        for i, name in enumerate(subject.value("spec.authors") or (), 1)
    ]
    graph = [
        _descriptor(),
        _root(subject, names, people),
        *[_file(name) for name in names],
        *people,
        *_supplier(subject),
        {"@id": "#metagen", "@type": "SoftwareApplication", "name": "metagen",
         "version": __version__},
        {"@id": "#build", "@type": "CreateAction", "name": "Build of the package",
         "instrument": {"@id": "#metagen"}, "result": {"@id": "./"}},
    ]  # fmt: skip
    return {"@context": "https://w3id.org/ro/crate/1.2/context", "@graph": graph}


def _descriptor() -> dict[str, Any]:
    return {
        "@id": PATH,
        "@type": "CreativeWork",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.2"},
        "about": {"@id": "./"},
    }


def _root(subject: Subject, names: list[str], people: list[dict[str, Any]]) -> dict[str, Any]:
    supplier = _supplier(subject)
    spelled = subject.license
    return known(
        {
            "@id": "./",
            "@type": "Dataset",
            "name": subject.name,
            "description": subject.value("spec.description") or f"A {subject.kind}.",
            "version": subject.value("spec.version"),
            "datePublished": moment(subject.value("spec.release.date")),
            "license": spelled or "not declared",
            "url": subject.value("spec.release.repository"),
            "author": [{"@id": each["@id"]} for each in people],
            "publisher": {"@id": supplier[0]["@id"]} if supplier else {},
            "hasPart": [{"@id": name} for name in names],
        }
    )


def _file(name: str) -> dict[str, Any]:
    suffix = "." + name.rpartition(".")[2]
    kind = _TYPES.get(suffix)
    return known({"@id": name, "@type": "File", "name": name, "encodingFormat": kind})


def _supplier(subject: Subject) -> list[dict[str, Any]]:
    name = subject.value("spec.release.supplier")
    contact = subject.value("spec.release.contact")
    described = {"@id": "#supplier", "@type": "Organization", "name": name, "email": contact}
    return [known(described)] if name else []
