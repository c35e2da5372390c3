"""The encoder families: published counts, a trend that knows BERT, and BERT's own outputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers
from helpers.encoders import DIMS, FAMILIES, modules, output, sizes, write_package

from metagen import families, paths
from metagen.families import parts, trend

PUBLISHED = paths.source("families/encoder.csv").read_bytes()


def family(name: str) -> Any:
    return families.named(name)


@pytest.fixture(scope="module", params=FAMILIES)
def package(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, dict[str, ModuleType]]]:
    folder = write_package(tmp_path_factory.mktemp(request.param), request.param)
    with modules(folder) as code:
        yield request.param, folder, code


# Published shapes


def test_published_encoders_give_published_counts() -> None:
    for row in trend.rows(PUBLISHED):
        dims = {
            "d_model": int(row["d_model"]),
            "n_layers": int(row["n_layers"]),
            "d_ff": int(row["ffn"]),
            "vocab_size": int(row["vocab"]),
            "max_seq_len": int(row["context"]),
            "n_segments": 2,
        }
        pooler = parts.linear(dims["d_model"], dims["d_model"])
        count = family("sentence_embedder").count(dims) + parts.count([pooler])
        assert count == int(row["params_exact"]), row["model"]


def test_the_trend_gives_back_bert_base() -> None:
    lines = family("text_classifier").fit(PUBLISHED, 109_482_240).lines
    assert lines["d_model"].at(85_646_592) == pytest.approx(768, rel=0.15)
    assert lines["n_layers"].at(85_646_592) == pytest.approx(12, rel=0.2)


# The network is BERT


def reference(name: str, model: Any) -> Any:
    """Return transformers' model with the same weights."""
    config = transformers.BertConfig(
        **model.checkpoint_config() | {"vocab_size": DIMS["vocab_size"]}
    )
    if name == "sentence_embedder":
        found = transformers.BertModel(config, add_pooling_layer=False)
    else:
        found = transformers.BertForSequenceClassification(config)
    state = {model.checkpoint_name(n): t for n, t in model.state_dict().items()}
    left = found.double().load_state_dict(state, strict=False)
    assert not left.unexpected_keys
    assert not left.missing_keys
    return found


def test_outputs_and_gradients_are_those_of_transformers(
    package: tuple[str, Path, dict[str, ModuleType]],
) -> None:
    name, _, code = package
    torch.manual_seed(1)
    config = code["model"].Config(**sizes(name)["model"])
    if name == "text_classifier":
        config = code["model"].Config(**sizes(name)["model"] | {"num_classes": 2})
    model = code["model"].Model(config).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs = reference(name, model)
    tokens = torch.randint(3, 300, (4, 11))
    tokens[0, 7:] = 0
    segments = torch.zeros_like(tokens)
    if name == "document_ranker":
        segments[:, 5:] = (tokens[:, 5:] != 0).long()
        mine = model(tokens, segments)
    else:
        mine = model(tokens)
    other = output(name, theirs, tokens, segments)
    torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-10)
    weights = torch.randn_like(mine)
    (mine * weights).sum().backward()
    (other * weights).sum().backward()
    gradients = {n: p.grad for n, p in theirs.named_parameters()}
    for n, parameter in model.named_parameters():
        expected = gradients[model.checkpoint_name(n)]
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-8, atol=1e-9)
