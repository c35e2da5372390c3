"""Weights and caches of few bits: as many bytes as the closed form, and almost the same logits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.family_code import Held
from helpers.generated import LOCAL_MODEL, TINY, modules, write_package
from torch import Tensor

from metagen.families import transformer

CPU = torch.device("cpu")

# Odd on purpose: neither 16 nor 128 divides a side of a matrix.
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
    """Return the bytes of one quantized matrix, filled up to what the kernels read at once."""
    if bits == 8:
        return outputs * (16 * math.ceil(inputs / 16) + 2)
    return 16 * math.ceil(outputs / 16) * math.ceil(inputs / 128) * (64 + 4)


def new_cache(code: dict[str, ModuleType], model: Any, batch: int, size: int, bits: int) -> Any:
    cache = model.new_cache(batch, size)
    return [code["infer"].Int8KVCache(layer.store) for layer in cache] if bits == 8 else cache


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
    code["infer"].quantize(model, bits, CPU)
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
    tensors = [
        t for each in cache for t in ([each.store] if bits == 16 else [each.numbers, each.scales])
    ]
    assert held(iter(tensors)) == 3 * positions * 2 * c.n_kv_heads * one


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("shape", [(7, 150), (90, 100), (16, 128), (1, 1), (33, 260)])
def test_a_weight_moves_by_half_a_step_at_most(
    code: dict[str, ModuleType], bits: int, shape: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    weight = torch.randn(shape)
    weight[-1, :128] = 0
    layer = (code["infer"].Int8Linear if bits == 8 else code["infer"].Int4Linear)(weight)
    restored = layer(torch.eye(shape[1]).bfloat16()).float().T
    for group, back in zip(weight.split(128, 1), restored.split(128, 1), strict=True):
        # A row of 8 bits has one scale; a group of 4 bits is filled up with zeros.
        limits = weight if bits == 8 else torch.nn.functional.pad(group, (0, 1))
        low, high = limits.aminmax(dim=1, keepdim=True)
        step = torch.maximum(high, -low) / 127 if bits == 8 else (high - low) / 15
        assert ((group - back).abs() <= step * 0.52 + group.abs() * 2**-7 + 1e-9).all()
    assert torch.equal(restored[-1, :128], torch.zeros(min(128, shape[1])))


@pytest.mark.parametrize("bits", [8, 4])
def test_a_pass_of_whole_numbers_unpacks_no_matrix(
    code: dict[str, ModuleType], model: Any, bits: int
) -> None:
    c = model.config
    code["infer"].quantize(model, bits, CPU)
    with torch.no_grad(), Held([*model.parameters(), *model.buffers()]) as kept:
        model.layers[0].mlp(torch.ones(1, 1, c.d_model, dtype=torch.bfloat16))
    assert kept.most < c.d_model * c.d_ff


def test_weights_packed_for_a_gpu_take_as_many_bytes(code: dict[str, ModuleType]) -> None:
    for outputs, inputs in ((7, 150), (16, 128), (33, 260)):
        # The operators of a GPU run on `meta`, as they check shapes and types only.
        layer = code["infer"].Int4Linear(torch.zeros(outputs, inputs, device="meta"))
        assert layer.numbers.dim() == 4
        assert sum(each.nbytes for each in layer.buffers()) == linear_bytes(outputs, inputs, 4)


@pytest.mark.parametrize("queries", [1, 3, 7])
@pytest.mark.parametrize(("block", "pairs"), [(4, 1000), (1000, 6), (1000, 1000)])
def test_attention_in_blocks_equals_attention_to_the_unpacked_cache(
    code: dict[str, ModuleType],
    model: Any,
    monkeypatch: pytest.MonkeyPatch,
    queries: int,
    block: int,
    pairs: int,
) -> None:
    monkeypatch.setattr(code["infer"], "BLOCK", block)
    monkeypatch.setattr(code["infer"], "PAIRS", pairs)
    c, layer = model.config, model.layers[0].self_attn
    sees = c.window if hasattr(c, "window") else 40
    past, new = (torch.randn(3, 2, c.n_heads, n, c.head_dim) for n in (13, queries))
    cache = code["infer"].Int8KVCache(model.new_cache(2, 40)[0].store)
    q, k, v = (x if i == 0 else x[:, : c.n_kv_heads] for i, x in enumerate(past))
    cache.attend(q, k, v, layer.attend)
    unpacked = cache.numbers.float() * cache.scales
    kept = min(13, cache.size)
    old = unpacked[:, :, :, torch.arange(13 - kept, 13) % cache.size]
    q, k, v = (x if i == 0 else x[:, : c.n_kv_heads] for i, x in enumerate(new))
    attend = code["model"].causal_attention
    whole = attend(q, *(torch.cat(pair, 2) for pair in zip(old, (k, v), strict=True)), sees)
    assert (cache.attend(q, k, v, layer.attend) - whole).abs().max() < 1e-5


@pytest.mark.parametrize("queries", [1, 512])
def test_an_8_bit_cache_is_unpacked_in_blocks(code: dict[str, ModuleType], queries: int) -> None:
    heads, groups, width, size = 8, 2, 32, 20_000
    cache = code["infer"].Int8KVCache(torch.zeros(2, 1, groups, size, width).bfloat16())
    cache.length = size - queries
    q = torch.zeros(1, heads, queries, width).bfloat16()
    with Held([cache.numbers, cache.scales, q]) as kept:
        cache.attend(q, q[:, :groups], q[:, :groups], lambda *_: q)
    dims = {"n_heads": heads, "n_kv_heads": groups, "head_dim": width}
    # Queries, their sums and the new tokens in float32 are as small as the passes' own tensors.
    own = 4 * queries * width * (4 * heads + 4 * groups)
    planned = transformer._block_bytes(dims, size, queries)
    assert 0.98 * planned <= kept.most <= 1.02 * planned + own


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
        code["infer"].quantize(model, weight_bits, CPU)
        cache = new_cache(code, model, 2, 30, cache_bits)
        parts = [model(part, cache=cache) for part in tokens.split([9, 1, 12, 8], dim=1)]
    cosine = torch.cosine_similarity(torch.cat(parts, 1).float(), exact, dim=-1)
    assert cosine.mean() > least
    assert cosine.mean() < 1 - 1e-6, "nothing was quantized"


def test_other_bits_are_refused_in_words(code: dict[str, ModuleType], model: Any) -> None:
    with pytest.raises(AssertionError, match="takes 16, 8 or 4 bits, not 2"):
        code["infer"].quantize(model, 2, CPU)


@pytest.mark.parametrize("size", [1, 4, 11])
def test_a_prompt_that_is_read_in_passes_continues_alike(
    code: dict[str, ModuleType], model: Any, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    infer, prompt = code["infer"], random_tokens(1, 11)[0].tolist()
    config = infer.Config(max_new_tokens=8, temperature=0)
    whole = list(infer.generate(model, prompt, config, torch.device("cpu")))
    monkeypatch.setattr(infer, "CHUNK", size)
    assert list(infer.generate(model, prompt, config, torch.device("cpu"))) == whole
