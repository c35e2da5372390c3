"""Weights and caches of few bits: as many bytes as the closed form, and almost the same logits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.generated import LOCAL_MODEL, TINY, modules, write_package
from torch import Tensor

# Odd on purpose: rows of 100 are a group of 64 and one of 36.
SHAPE = {"d_model": 100, "d_ff": 90, "n_heads": 6, "n_kv_heads": 2, "head_dim": 14}
BITS_OF_A_CACHED_HEAD = {16: lambda d: 16 * d, 8: lambda d: 8 * d + 16}


@pytest.fixture(scope="module", params=["decoder", "decoder_local"])
def code(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, ModuleType]]:
    base = LOCAL_MODEL if request.param == "decoder_local" else TINY["model"]
    sizes = TINY | {"model": base | SHAPE | {"tie_embeddings": False}}
    with modules(write_package(tmp_path_factory.mktemp("code"), sizes)) as found:
        yield found


@pytest.fixture
def model(code: dict[str, ModuleType]) -> Any:
    torch.manual_seed(0)
    return code["model"].Model(code["model"].Config())


def random_tokens(*shape: int) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0))


def linear_bytes(outputs: int, inputs: int, bits: int) -> int:
    """Return the bytes of one quantized matrix: numbers, then a bf16 scale a group of 64."""
    return outputs * (math.ceil(inputs * bits / 8) + 2 * math.ceil(inputs / 64))


def new_cache(code: dict[str, ModuleType], model: Any, batch: int, size: int, bits: int) -> Any:
    cache = model.new_cache(batch, size)
    if bits == 8:
        for layer in cache:
            layer.store = code["infer"].Int8Store(layer.store)
    return cache


def held(tensors: Iterator[Tensor]) -> int:
    return sum(t.untyped_storage().nbytes() for t in tensors)


@pytest.mark.parametrize("bits", [16, 8, 4])
def test_a_quantized_model_takes_the_bytes_of_the_closed_form(
    code: dict[str, ModuleType], model: Any, bits: int
) -> None:
    c = vars(model.config)
    wide, narrow = c["n_heads"] * c["head_dim"], c["n_kv_heads"] * c["head_dim"]
    d, f = c["d_model"], c["d_ff"]
    matrices = [(wide, d), (narrow, d), (narrow, d), (d, wide), (f, d), (f, d), (d, f)]
    layer = sum(2 * o * i if bits == 16 else linear_bytes(o, i, bits) for o, i in matrices)
    norms, tables = 2 * d * (2 * c["n_layers"] + 1), 2 * 2 * c["vocab_size"] * d
    code["infer"].quantize(model, bits)
    state = model.state_dict().values()
    assert held(iter(state)) == c["n_layers"] * layer + norms + tables
    assert {t.dtype for t in state if t.is_floating_point()} == {torch.bfloat16}


@pytest.mark.parametrize("bits", [16, 8])
def test_a_cache_takes_the_bytes_of_the_closed_form(
    code: dict[str, ModuleType], model: Any, bits: int
) -> None:
    c = model.config
    cache = new_cache(code, model.bfloat16(), 3, 40, bits)
    positions = 40 * c.n_layers
    if hasattr(c, "window"):
        positions = sum(min(40, c.sees(i)) for i in range(c.n_layers))
    one = BITS_OF_A_CACHED_HEAD[bits](c.head_dim) // 8
    stores = [each.store for each in cache]
    tensors = [t for s in stores for t in ([s] if bits == 16 else [s.numbers, s.scales])]
    assert held(iter(tensors)) == 3 * positions * 2 * c.n_kv_heads * one


@pytest.mark.parametrize(("bits", "largest"), [(8, 127), (4, 7)])
def test_a_weight_moves_by_half_a_step_of_its_group_at_most(
    code: dict[str, ModuleType], bits: int, largest: int
) -> None:
    infer = code["infer"]
    torch.manual_seed(0)
    weight = torch.randn(7, 150)  # groups of 64, 64 and 22
    weight[3, :64] = 0
    layer = infer.QuantizedLinear(weight, bits)
    restored = layer(torch.eye(150)).T
    for group, back in zip(weight.split(64, 1), restored.split(64, 1), strict=True):
        step = group.abs().amax(1, keepdim=True) / largest
        assert ((group - back).abs() <= step * 0.5 + group.abs() * 2**-8 + 1e-9).all()
    assert torch.equal(restored[3, :64], torch.zeros(64))


def test_packing_keeps_every_number(code: dict[str, ModuleType]) -> None:
    infer = code["infer"]
    numbers = torch.arange(-7, 8, dtype=torch.int8).repeat(3, 1)  # 15 a row: the last byte is half
    packed = infer.pack(numbers)
    assert packed.shape == (3, 8)
    assert torch.equal(infer.unpack(packed)[:, :15], numbers)


@pytest.mark.parametrize(
    ("weight_bits", "cache_bits", "least"),
    [(16, 16, 0.999), (16, 8, 0.999), (8, 16, 0.999), (8, 8, 0.999), (4, 16, 0.9), (4, 8, 0.9)],
)
def test_the_logits_hardly_turn(
    code: dict[str, ModuleType], model: Any, weight_bits: int, cache_bits: int, least: float
) -> None:
    tokens = random_tokens(2, 30)
    with torch.no_grad():
        exact = model(tokens)
        code["infer"].quantize(model, weight_bits)
        cache = new_cache(code, model, 2, 30, cache_bits)
        parts = [model(part, cache=cache) for part in tokens.split([9, 1, 12, 8], dim=1)]
    cosine = torch.cosine_similarity(torch.cat(parts, 1).float(), exact, dim=-1)
    assert cosine.mean() > least
    assert cosine.mean() < 1 - 1e-6, "nothing was quantized"


def test_other_bits_are_refused_in_words(code: dict[str, ModuleType], model: Any) -> None:
    with pytest.raises(AssertionError, match="takes 4 or 8 bits, not 2"):
        code["infer"].quantize(model, 2)


@pytest.mark.parametrize("size", [1, 4, 11])
def test_a_prompt_that_is_read_in_passes_continues_alike(
    code: dict[str, ModuleType], model: Any, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    infer, prompt = code["infer"], random_tokens(1, 11)[0].tolist()
    config = infer.Config(max_new_tokens=8, temperature=0)
    whole = list(infer.generate(model, prompt, config, torch.device("cpu")))
    monkeypatch.setattr(infer, "CHUNK", size)
    assert list(infer.generate(model, prompt, config, torch.device("cpu"))) == whole
