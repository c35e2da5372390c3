"""The libraries that open a released model, by the class that its config.json names.

`tests/test_weights_of_transformers.py` and `tests/test_clients.py` hold that they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TRANSFORMERS, SENTENCES = "transformers", "sentence-transformers"
# The Hub has no library of plain PyTorch models; the code of these is in the release.
OWN = ""
CLASSES = {
    "LlamaForCausalLM": TRANSFORMERS,
    "MistralForCausalLM": TRANSFORMERS,
    "MinistralForCausalLM": TRANSFORMERS,
    "BertForSequenceClassification": TRANSFORMERS,
    "BertModel": TRANSFORMERS,
    "CLIPModel": TRANSFORMERS,
    "ViTForImageClassification": TRANSFORMERS,
    "ResNetForImageClassification": TRANSFORMERS,
    "PatchTSTForPrediction": TRANSFORMERS,
    "PatchTSTForClassification": TRANSFORMERS,
    "WhisperForConditionalGeneration": TRANSFORMERS,
    "PaliGemmaForConditionalGeneration": TRANSFORMERS,
}
"""The classes of transformers that our networks are, each with the library that has it."""
_MODULES = "modules.json"
_PAIRS = "text-ranking"


def class_of(config: Mapping[str, Any]) -> str:
    """Return the class of transformers that a config.json names; "" if it names none of ours."""
    architectures = config.get("architectures")
    names = architectures if isinstance(architectures, list) else []
    return next((name for name in names if isinstance(name, str) and name in CLASSES), "")


def library(opened: str, pipeline_tag: str, names: tuple[str, ...]) -> str:
    """Return the Hub's name of the library that opens a release as its task needs it.

    Args:
        opened: What `class_of` returned.
        pipeline_tag: The Hub's name of the task.
        names: The files of the checkpoint.
    """
    if opened and (_MODULES in names or pipeline_tag == _PAIRS):
        return SENTENCES
    return CLASSES.get(opened, OWN)
