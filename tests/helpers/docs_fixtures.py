"""A sample package to make documents from: its files and its spec keys, and a desk over them."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import yaml

from metagen.spec import words
from metagen.spec.schema import keys

from . import sample_files
from .fake_desk import FakeDesk

KEYS: dict[str, Any] = {
    **dict.fromkeys(keys()),
    "name": "text_llm_8b",
    "description": "General-purpose text LLM.",
    "version": "1.0.0",
    "license": None,
    "authors": (),
    "modality.inputs": ("text",),
    "modality.outputs": ("text",),
    "task.type": "generation",
    "task.domain": "text",
    "constraints.parameter_budget.min": None,
    "constraints.parameter_budget.max": 8_000_000_000,
    "constraints.memory_budget": 16_000_000_000,
    "constraints.context_window": 262144,
    "constraints.latency": "near-real-time",
    "constraints.throughput": "120 tok/s",
    "constraints.device": "consumer_gpu",
    "constraints.batch": 1,
    "constraints.prompt_length": None,
    "training.objective": ("autoregressive",),
    "training.data.sources": ("licensed",),
    "training.data.size": "2T tokens",
    "training.data.governance.pii": "filtered",
    "training.data.governance.copyright": "licensed",
    **{
        f"training.data.governance.{name}": None
        for name in ("consent", "retention", "filtering", "provenance")
    },
    "architecture.components": (),
    "training.compute.hardware": "256xA100",
    "training.compute.duration": "21 days",
    "training.alignment.method": ("rlhf",),
    "training.alignment.policy": None,
    "outputs.artifacts": words.ARTIFACTS,
    "evaluation.benchmarks": ("MMLU", "HellaSwag"),
    "evaluation.baselines": (),
    "evaluation.metrics": (),
    "evaluation.ablations": (),
    "reproducibility.seed": 42,
    "reproducibility.determinism": None,
}


def encode(path: str, value: Any) -> bytes:
    if path.endswith(".json"):
        return json.dumps(value).encode()
    return (yaml.safe_dump(value, sort_keys=False) if path.endswith(".yaml") else value).encode()


def package(**changed: Any) -> dict[str, bytes]:
    """Return the sample package's files; `changed` replaces one by the stem of its name."""
    files = dict(_encoded())
    for stem, value in changed.items():
        path = next(path for path in files if path.rsplit("/", 1)[1].startswith(f"{stem}."))
        files[path] = encode(path, value)
    return files


@cache
def _encoded() -> dict[str, bytes]:
    return {path: encode(path, value) for path, value in sample_files.files().items()}


def desk(keys: dict[str, Any] | None = None, **changed: Any) -> FakeDesk:
    """Return a desk over the sample package with some keys and files replaced."""
    return FakeDesk(package(**changed), {**KEYS, **(keys or {})})
