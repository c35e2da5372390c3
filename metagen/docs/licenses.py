"""LICENSE: the text of the licence where metagen has it, else its name and its address.

The texts and names are those of the SPDX License List, from the npm package spdx-license-list
6.12.0; names of licences without an SPDX identifier are those of the Hub
(huggingface/hub-docs, docs/hub/repositories-licenses.md, commit 008d54d).
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass

from metagen.docs import escape
from metagen.families.family import Lookup
from metagen.work import Desk, Output, Recipe

PATH = "LICENSE"
OTHER, UNKNOWN = "other", "unknown"
TEXTS = frozenset(
    (
        *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "unlicense"),
        *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
        *("cc-by-nd-4.0", "cc-by-nc-nd-4.0", "cdla-permissive-2.0", "odc-by", "odbl"),
        *("agpl-3.0", "gpl-3.0", "lgpl-3.0", "mpl-2.0", "epl-2.0"),
    )
)
"""The licences of which metagen has the text, in `data/licenses/`."""
# The first line of short licences names the holder; the long ones show it for other programs only.
_HOLDER = re.compile(r"Copyright \(c\) <year> <(?:owner|copyright holders)>\.?")


@dataclass(frozen=True)
class License:
    """What is known of a licence.

    Attributes:
        id: Its identifier on the Hub; "" if none is declared.
        name: Its full name; "" if none is known.
        link: The address of its text; "" if none is known.
        spdx: Its SPDX identifier; "" without one.
    """

    id: str
    name: str
    link: str
    spdx: str = ""


def declared(desk: Desk) -> License:
    """Return the licence that the spec declares."""
    name = desk.key("license") or ""
    own = License(
        name, desk.key("release.license_name") or "", desk.key("release.license_link") or ""
    )
    if name in ("", OTHER, UNKNOWN):
        return own
    text = desk.source("data/licenses.csv").decode()
    rows = {row["license"]: row for row in csv.DictReader(io.StringIO(text))}
    row = rows.get(name, {"name": "", "link": "", "spdx": ""})
    return License(name, row["name"], own.link or row["link"], row["spdx"])


def has_text(license: License) -> bool:
    """Return whether a package has the text of a licence."""
    return license.id in TEXTS


def license_file(desk: Desk) -> dict[str, Output]:
    """Return the file LICENSE, for a spec that declares a licence."""
    license = declared(desk)
    return {PATH: (_text(desk, license) if has_text(license) else _instead(license)).encode()}


def holders(desk: Desk) -> str:
    """Return who holds the rights: the authors that the spec declares."""
    authors = desk.key("authors") or ()
    name = escape.plain(desk.key("name"))
    return ", ".join(map(escape.plain, authors)) or f"the authors of {name}"


def _text(desk: Desk, license: License) -> str:
    text = desk.source(f"data/licenses/{license.id}.txt").decode()
    # A function, because the name of a holder may contain a backslash.
    return _HOLDER.sub(lambda _: f"Copyright (c) {holders(desk)}", text, count=1)


def _instead(license: License) -> str:
    """Return what stands in place of a text."""
    name = escape.plain(license.name) or f"a licence that the Hub lists as `{license.id}`"
    link = f"Its text is at {escape.plain(license.link)}\n" if license.link else ""
    told = "" if link else "No address of its text is declared.\n"
    return (
        f"This model is released under {name}.\n\n{link}{told}This file does not hold the text.\n"
    )


def recipes(key: Lookup) -> tuple[Recipe, ...]:
    """Return the recipe of LICENSE; none for a spec that declares no licence."""
    made = Recipe("docs:license", license_file, (), (PATH,), "write the licence")
    return (made,) if key("license") else ()
