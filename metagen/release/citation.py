"""CITATION.cff: how to cite a release, in the Citation File Format 1.2.0."""

from __future__ import annotations

from typing import Any

from metagen.docs import escape
from metagen.files import yaml_bytes
from metagen.release import licenses
from metagen.work import Desk, Output

PATH = "release/CITATION.cff"


def citation(desk: Desk) -> dict[str, Output]:
    """Return the file CITATION.cff.

    Authors are entities: whether a declared name is that of a person is not known.
    """
    name, license = escape.plain(desk.key("name")), licenses.declared(desk)
    authors = desk.key("authors") or (f"The authors of {name}",)
    entries: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use this model, please cite it as below.",
        "type": "software",
        "title": name,
        "authors": [{"name": escape.plain(each)} for each in authors],
        "abstract": escape.plain(desk.key("description") or ""),
        "version": escape.plain(desk.key("version") or ""),
        "license": license.spdx,
        "license-url": "" if license.spdx else license.link,
    }
    return {PATH: yaml_bytes({key: value for key, value in entries.items() if value})}
