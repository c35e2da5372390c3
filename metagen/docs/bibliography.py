"""References: the paper's bibliography holds what its text cites, and nothing else."""

from __future__ import annotations

import re

from metagen.errors import Problem, TaskError

_CITATION = re.compile(r"\\cite[tp]?\{([^}]*)\}")
_ENTRY = re.compile(r"^@\w+\{([^,\s]+),.*?^\}\n", re.MULTILINE | re.DOTALL)


def cited(sections: dict[str, str]) -> dict[str, str]:
    """Return the keys that LaTeX sources cite, each with the first path that cites it.

    A string of a spec cannot be read as a citation, since its backslashes and braces are escaped.
    """
    found: dict[str, str] = {}
    for path, text in sections.items():
        for match in _CITATION.finditer(text):
            for key in match[1].split(","):
                found.setdefault(key.strip(), path)
    return found


def select(library: str, sections: dict[str, str]) -> str:
    """Return the entries of a BibTeX library that the sections cite, in the library's order.

    Raises:
        TaskError: A section cites a key that the library does not have.
    """
    entries = {match[1]: match[0] for match in _ENTRY.finditer(library)}
    wanted = cited(sections)
    missing = [key for key in wanted if key not in entries]
    if missing:
        raise TaskError(
            Problem(f"There is no reference `{key}`.", wanted[key], "Add it to the bibliography.")
            for key in missing
        )
    return "\n".join(entry for key, entry in entries.items() if key in wanted)
