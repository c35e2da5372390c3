"""Packages of the encoder families at tiny sizes, and their modules, for tests that run them."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from helpers.generated import TINY, forget
from metagen import families, paths
from metagen.package.bundle import bundle
from metagen.package.code import runtime_files

DIMS: dict[str, Any] = {
    "d_model": 16,
    "n_layers": 2,
    "n_heads": 4,
    "d_ff": 24,
    "vocab_size": 300,
    "max_seq_len": 32,
    "n_segments": 2,
    "norm_eps": 1e-12,
    "dropout": 0.0,
}
DATA = {"max_len": 24, "val_fraction": 0.2, "test_fraction": 0.2}
OWN: dict[str, dict[str, dict[str, Any]]] = {
    "text_classifier": {
        "model": {"num_classes": 3},
        "data": {"token_split": 0.5},
        "train": {"token_drop": 0.0},
        "eval": {"batch_size": 8, "baseline_texts": 100},
        "infer": {"batch_size": 8, "most_labels": 3, "dtype": "float32"},
    },
    "text_regressor": {
        "model": {},
        "data": {"token_split": 0.5},
        "train": {"token_drop": 0.0},
        "eval": {"batch_size": 8, "baseline_texts": 100},
        "infer": {"batch_size": 8, "digits": 6, "dtype": "float32"},
    },
    "sentence_embedder": {
        "model": {},
        "train": {"token_drop": 0.0, "temperature": 0.05},
        "eval": {"batch_size": 8, "baseline_texts": 100},
        "infer": {"batch_size": 8, "nearest": 2, "dtype": "float32"},
    },
    "document_ranker": {
        "model": {},
        "data": {"crop_share": 0.5, "word_drop": 0.2},
        "train": {"group_size": 3},
        "eval": {"batch_size": 8, "candidates": 5},
        "infer": {"batch_size": 8, "best": 2, "dtype": "float32"},
    },
}
FAMILIES = tuple(OWN)
WORDS = ("red", "green", "blue", "round", "square", "small", "large", "old", "new", "open")


def sizes(family: str) -> dict[str, dict[str, Any]]:
    """Return the sections of architecture.yaml for a tiny model."""
    tables = ("table_rate", "table_scale", "write_scale")  # Only language models have them.
    train = {name: value for name, value in TINY["train"].items() if name not in tables}
    shared = {"model": DIMS, "data": DATA, "train": train, "eval": {}, "infer": {}}
    return {name: {**values, **OWN[family].get(name, {})} for name, values in shared.items()}


def write_package(
    folder: Path, family: str, chosen: Mapping[str, Mapping[str, Any]] | None = None
) -> Path:
    """Write code/ of a family with these settings at both sizes and return the folder."""
    module = families.named(family)
    values = dict(chosen or sizes(family))
    for name, section in values.items():
        script = module.task.source(f"{name}.py")
        template = module.model_template(section) if name == "model" else script
        text = bundle(template, lambda path: paths.source(path).read_bytes(), section)
        (folder / f"{name}.py").write_bytes(text)
    (folder / "runtime").mkdir()
    for path in runtime_files(module):
        data = paths.source(paths.template(path)).read_bytes()
        (folder / "runtime" / Path(path).name).write_bytes(data)
    (folder / "config.json").write_text(json.dumps({"proxy": values}))
    return folder


@contextmanager
def modules(folder: Path) -> Iterator[dict[str, ModuleType]]:
    """Import the package's files by their own names, and forget them afterwards."""
    before = forget()
    sys.path.insert(0, str(folder))
    try:
        names = [path.stem for path in folder.glob("*.py")]
        names += [f"runtime.{path.stem}" for path in (folder / "runtime").glob("[a-z]*.py")]
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(folder))
        forget()
        sys.modules.update(before)


def modules_of(family: str) -> Any:
    """Return a fixture of the modules of a family's tiny package."""

    @pytest.fixture(scope="module")
    def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
        with modules(write_package(tmp_path_factory.mktemp(family), family)) as found:
            yield found

    return code


def records(name: str, count: int = 60) -> list[dict[str, str]]:
    """Return rows of a family's own data, in which there is something to learn."""
    texts = [f"{a} {b}" for a in WORDS for b in WORDS][:count]
    if name == "text_classifier":
        return [{"text": t, "label": "ab"[n % 2]} for n, t in enumerate(texts)]
    if name == "text_regressor":
        return [{"text": t, "target": f"{1000.5 + len(t)}"} for t in texts]
    if name == "sentence_embedder":
        return [{"text_a": t, "text_b": t.upper() + " thing"} for t in texts]
    return [
        {
            "query": t,
            "passage": f"the {word} thing of {t if hit else 'none'}",
            "relevance": str(hit),
        }
        for t in texts
        for hit, word in ((2, "one"), (0, "other"))
    ]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def output(name: str, model: Any, tokens: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
    mask = (tokens != 0).long()
    given = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": segments}
    if name == "sentence_embedder":
        vectors = model(**given).last_hidden_state
        return (vectors * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
    logits = model(**given).logits
    return logits.squeeze(1) if name in ("document_ranker", "text_regressor") else logits
