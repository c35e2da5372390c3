"""The generated model computes what its papers say."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.generated import TINY, modules, write_package
from torch import Tensor


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with modules(write_package(tmp_path_factory.mktemp("code"))) as found:
        yield found


@pytest.fixture(scope="module")
def model(code: dict[str, ModuleType]) -> Any:
    torch.manual_seed(0)
    return code["model"].Model(code["model"].Config())


def random_tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed))


def test_the_defaults_are_the_values_of_the_blueprint(code: dict[str, ModuleType]) -> None:
    for name, values in TINY.items():
        assert vars(code[name].Config()) == values


def test_changing_a_later_token_moves_no_earlier_logit(model: Any) -> None:
    tokens = random_tokens(2, 20)
    changed = tokens.clone()
    changed[:, 12] = (changed[:, 12] + 1) % 256
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.allclose(before[:, 12:], after[:, 12:])


@pytest.mark.parametrize("chunks", [(1,) * 20, (7, 1, 1, 1, 10), (20,)])
def test_decoding_with_the_cache_equals_the_full_pass(model: Any, chunks: tuple[int, ...]) -> None:
    tokens = random_tokens(3, 20)
    cache = model.new_cache(3, 20)
    with torch.no_grad():
        parts = [model(part, cache=cache) for part in tokens.split(list(chunks), dim=1)]
    assert cache[0].length == 20
    torch.testing.assert_close(torch.cat(parts, 1), model(tokens), atol=1e-5, rtol=1e-5)


def test_positions_matter_only_by_their_distance(code: dict[str, ModuleType]) -> None:
    turn, table = code["model"].rotate, code["model"].rotary_table
    q, k = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0))

    def product(m: int, n: int) -> float:
        return float((turn(q, table(m, 1, 8, 1e4, q)) * turn(k, table(n, 1, 8, 1e4, k))).sum())

    assert product(3, 1) == pytest.approx(product(40, 38), abs=1e-4)
    assert product(3, 1) != pytest.approx(product(3, 2), abs=1e-4)


def test_grouped_heads_equal_full_attention_with_repeated_weights(
    code: dict[str, ModuleType],
) -> None:
    module = code["model"]
    torch.manual_seed(1)
    grouped, full = module.Attention(32, 4, 2, 8), module.Attention(32, 4, 4, 8)
    weights = grouped.state_dict()
    for name in ("k_proj.weight", "v_proj.weight"):
        heads = weights[name].view(2, 8, 32)
        weights[name] = heads.repeat_interleave(2, dim=0).reshape(32, 32)
    full.load_state_dict(weights)
    x = torch.randn(2, 5, 32)
    table = module.rotary_table(0, 5, 8, 1e4, x)
    assert grouped.k_proj.weight.shape == (16, 32)
    torch.testing.assert_close(grouped(x, table), full(x, table))


@pytest.mark.parametrize("tied", [True, False])
def test_the_count_is_the_closed_form(code: dict[str, ModuleType], tied: bool) -> None:
    c = TINY["model"] | {"tie_embeddings": tied}
    model = code["model"].Model(code["model"].Config(**c))
    d, heads = c["d_model"], c["n_heads"] + c["n_kv_heads"]
    layer = 2 * d * heads * c["head_dim"] + 3 * d * c["d_ff"] + 2 * d
    expected = c["vocab_size"] * d * (1 if tied else 2) + c["n_layers"] * layer + d
    assert model.num_params() == expected == sum(p.numel() for p in model.parameters())


def test_the_tensors_have_llamas_names(code: dict[str, ModuleType]) -> None:
    config = code["model"].Config(**TINY["model"] | {"tie_embeddings": False, "n_layers": 1})
    model = code["model"].Model(config)
    layer = "model.layers.0."
    assert {model.checkpoint_name(name) for name in model.state_dict()} == {
        "model.embed_tokens.weight",
        "model.norm.weight",
        "lm_head.weight",
        f"{layer}input_layernorm.weight",
        f"{layer}post_attention_layernorm.weight",
        *(f"{layer}self_attn.{p}_proj.weight" for p in "qkvo"),
        *(f"{layer}mlp.{p}_proj.weight" for p in ("gate", "up", "down")),
    }


def test_a_huge_model_is_built_on_meta_without_memory(code: dict[str, ModuleType]) -> None:
    huge = {"d_model": 4096, "d_ff": 14336, "vocab_size": 128256, "max_seq_len": 262144}
    with torch.device("meta"):
        model = code["model"].Model(code["model"].Config(**TINY["model"] | huge))
        logits = model(torch.zeros(1, 1000, dtype=torch.long))
    assert logits.shape == (1, 1000, 128256)
    assert not list(model.buffers())


def test_the_loss_is_the_mean_cross_entropy_of_the_targets_that_count(model: Any) -> None:
    tokens, targets = random_tokens(2, 9), random_tokens(2, 9, seed=1)
    targets[0, 4:] = -1
    log_p = model(tokens).log_softmax(-1)
    wanted = [-log_p[b, t, targets[b, t]] for b in range(2) for t in range(9) if targets[b, t] >= 0]
    assert len(wanted) == 13
    torch.testing.assert_close(model(tokens, targets), torch.stack(wanted).mean())


def test_impossible_dimensions_are_refused_in_words(code: dict[str, ModuleType]) -> None:
    module = code["model"]
    with pytest.raises(AssertionError, match="4 heads cannot share 3 KV heads"):
        module.Model(module.Config(**TINY["model"] | {"n_kv_heads": 3}))
    with pytest.raises(AssertionError, match="odd"):
        module.Model(module.Config(**TINY["model"] | {"head_dim": 7}))


def test_a_context_that_is_too_long_is_refused_in_words(model: Any) -> None:
    with pytest.raises(AssertionError, match="65 tokens exceed the context of 64"):
        model(random_tokens(1, 65))
    with pytest.raises(AssertionError, match="has room for 4 positions, not 5"):
        model(random_tokens(1, 5), cache=model.new_cache(1, 4))


def test_random_targets_cannot_be_learned_through_a_leak(code: dict[str, ModuleType]) -> None:
    """Each target of uniform text is the next input, so a model that looks ahead would know it."""
    torch.manual_seed(2)
    torch.set_num_threads(1)
    vocabulary = 16
    model = code["model"].Model(code["model"].Config(**TINY["model"] | {"vocab_size": vocabulary}))
    training = code["runtime.settings"].Training(weight_decay=0.1)
    optimizers = code["runtime.optimization"].optimizers(model, training)
    generator = torch.Generator().manual_seed(3)

    def batch() -> tuple[Tensor, Tensor]:
        text = torch.randint(vocabulary, (8, 17), generator=generator)
        return text[:, :-1], text[:, 1:]

    for _ in range(60):
        tokens, targets = batch()
        part = functools.partial(lambda x, y: (model(x, y), y.numel()), tokens, targets)
        code["runtime.optimization"].update(model, optimizers, [part], 3e-3, 1.0)
    with torch.no_grad():
        held_out = sum(float(model(*batch())) for _ in range(20)) / 20
    assert held_out > math.log(vocabulary) - 0.01
