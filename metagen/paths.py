"""Where templates, specs and data lie, and folder names that are safe to create."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
_SLUG_LENGTH, _DIGEST_LENGTH = 64, 8


def _shipped(name: str) -> Path:
    """Return what a wheel carries inside the package and a checkout beside it."""
    inside = PACKAGE / name
    return inside if inside.exists() else PACKAGE.parent / name


def templates() -> Path:
    """Return the folder of the code and document templates."""
    return _shipped("templates")


def specs() -> Path:
    """Return the folder of the example specs."""
    return _shipped("specs")


def source(name: str) -> Path:
    """Return a file that metagen ships, such as `templates/...`, or its `pyproject.toml`."""
    top, _, rest = name.partition("/")
    return _shipped(top) / rest


def template(path: str) -> str:
    """Return the source of a file of code/ that a package copies: `templates/runtime/loop.py`."""
    return path.replace("code/", "templates/", 1)


def slug(name: str) -> str:
    """Return a name made of a-z, 0-9, `_`, `-` and inner dots only, never empty.

    Names that differ have slugs that differ: one that had to be changed ends with a digest of the
    name. What is a slug already stays as it is.
    """
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^a-z0-9_.-]+", "_", ascii_name.lower()).strip("._-")
    if safe == name and len(safe) <= _SLUG_LENGTH:
        return safe
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    short = safe[: _SLUG_LENGTH - _DIGEST_LENGTH - 1].rstrip("._-") or "model"
    return f"{short}-{digest}"
