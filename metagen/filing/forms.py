"""The forms of the EU's AI Act for providers of general-purpose models, as Markdown.

The fields are those of the Model Documentation Form of the General-Purpose AI Code of Practice,
chapter on transparency (10 July 2025), and of the template for the public summary of training
content, C(2025) 8311 (first published on 24 July 2025). A field that neither the package nor the
spec answers names the key to add.
"""

from __future__ import annotations

from metagen.docs import provenance, render
from metagen.filing.subject import TRAINED, recipe
from metagen.work import Desk

DOCUMENTATION, SUMMARY = "docs/eu_documentation.md", "docs/eu_training_summary.md"


def documentation(desk: Desk) -> dict[str, bytes]:
    """Return `docs/eu_documentation.md`, the Model Documentation Form."""
    page = render.markdown(desk, "cards/eu_documentation.md")
    return provenance.written(DOCUMENTATION, page.data, page.printed)


def training_summary(desk: Desk) -> dict[str, bytes]:
    """Return `docs/eu_training_summary.md`, the public summary of training content."""
    page = render.markdown(desk, "cards/eu_training_summary.md")
    return provenance.written(SUMMARY, page.data, page.printed)


RECIPES = (
    recipe(
        documentation,
        DOCUMENTATION,
        "write the EU's Model Documentation Form",
        ("arch", "params", "flops", "constraints", "lock", *TRAINED),
    ),
    recipe(
        training_summary,
        SUMMARY,
        "write the EU's summary of training content",
        TRAINED,
    ),
)
