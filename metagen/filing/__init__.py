"""What a release must file: records of the model for programs, and forms for authorities.

==========  ====================================================================
subject     the facts that all of them state, as values for files of data
cyclonedx   a bill of materials with a model card, CycloneDX 1.7
spdx        the model as an AI package, SPDX 3.0.1
croissant   the data that was read or declared, Croissant 1.0
crate       the files of a folder, RO-Crate 1.2
forms       the forms of the EU's AI Act, as Markdown
evaluation  each benchmark with its scores, as Evaluation Cards name their fields
statement   the digests of a release, for a signature by OpenSSF Model Signing
==========  ====================================================================
"""

from metagen.filing import croissant, cyclonedx, evaluation, forms, spdx

RECIPES = (
    *cyclonedx.RECIPES,
    *spdx.RECIPES,
    *croissant.RECIPES,
    *forms.RECIPES,
    *evaluation.RECIPES,
)

__all__ = ["RECIPES"]
