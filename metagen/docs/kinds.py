"""What documents call each family, and what the Hugging Face Hub calls its task.

The Hub's tags are the keys of `PIPELINE_DATA` in huggingface.js.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A family in the words of its documents.

    Attributes:
        name: What one such model is, with no article.
        pipeline_tag: The Hub's name for its task.
    """

    name: str
    pipeline_tag: str


KINDS = {"decoder": Kind("decoder-only Transformer language model", "text-generation")}
