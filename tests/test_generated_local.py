"""The decoder with a sliding window: its mask, and a cache that holds the window only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.generated import LOCAL_MODEL, TINY, modules, write_package
from torch import Tensor


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    folder = write_package(tmp_path_factory.mktemp("code"), TINY | {"model": LOCAL_MODEL})
    with modules(folder) as found:
        yield found


@pytest.fixture(scope="module")
def model(code: dict[str, ModuleType]) -> Any:
    torch.manual_seed(0)
    return code["model"].Model(code["model"].Config())


def random_tokens(*shape: int) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0))


def test_the_model_has_the_plain_decoders_weights(model: Any, tmp_path: Path) -> None:
    sizes = TINY | {"model": TINY["model"] | {"n_layers": LOCAL_MODEL["n_layers"]}}
    with modules(write_package(tmp_path, sizes)) as plain:
        other = plain["model"].Model(plain["model"].Config())
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in other.state_dict().items()}


@pytest.mark.parametrize("length", [1, 4, 5, 6, 11, 23])
def test_a_local_layer_sees_its_window_and_no_more(
    code: dict[str, ModuleType], length: int
) -> None:
    """Held against softmax(q k^T / sqrt(D)) v written out token by token."""
    torch.manual_seed(1)
    q, k, v = (
        torch.randn(2, 4, length, 8),
        torch.randn(2, 2, length, 8),
        torch.randn(2, 2, length, 8),
    )
    out = code["model"].local_attention(q, k, v, window=5)
    for t in range(length):
        seen = slice(max(0, t - 4), t + 1)
        for head in range(4):
            keys, values = k[:, head // 2, seen], v[:, head // 2, seen]
            weights = (keys @ q[:, head, t, :, None] / 8**0.5).softmax(dim=1)  # (B, S, 1)
            torch.testing.assert_close(out[:, head, t], (weights * values).sum(1))


def test_a_change_reaches_as_far_as_windows_add_up(code: dict[str, ModuleType]) -> None:
    torch.manual_seed(0)
    config = code["model"].Config(**LOCAL_MODEL | {"n_layers": 2, "global_every": 3})
    model, tokens = code["model"].Model(config), random_tokens(1, 30)
    changed = tokens.clone()
    changed[:, 7] = (changed[:, 7] + 1) % 256
    moved = (model(tokens) != model(changed)).any(-1)[0]
    reach = 2 * (LOCAL_MODEL["window"] - 1)  # two layers
    assert moved.nonzero().flatten().tolist() == list(range(7, 7 + reach + 1))


@pytest.mark.parametrize(
    "chunks", [(1,) * 40, (40,), (3, 20, 1, 1, 15), (12, 7, 21), (5, 5, 5, 25), (4, 2, 34)]
)
@pytest.mark.parametrize("max_len", [40, 64])
def test_decoding_with_the_cache_equals_the_full_pass(
    model: Any, chunks: tuple[int, ...], max_len: int
) -> None:
    tokens = random_tokens(3, 40)
    cache = model.new_cache(3, max_len)
    with torch.no_grad():
        parts = [model(part, cache=cache) for part in tokens.split(list(chunks), dim=1)]
    assert [each.length for each in cache] == [40] * 5
    torch.testing.assert_close(torch.cat(parts, 1), model(tokens), atol=1e-5, rtol=1e-5)


def test_a_window_longer_than_the_text_changes_nothing(code: dict[str, ModuleType]) -> None:
    torch.manual_seed(0)
    module = code["model"]
    model = module.Model(module.Config(**LOCAL_MODEL | {"window": 50}))
    everywhere = module.Model(module.Config(**LOCAL_MODEL | {"global_every": 1}))
    everywhere.load_state_dict(model.state_dict())
    tokens = random_tokens(2, 33)
    torch.testing.assert_close(model(tokens), everywhere(tokens))
    cache = model.new_cache(2, 33)
    with torch.no_grad():
        steps = [model(part, cache=cache) for part in tokens.split(1, dim=1)]
    torch.testing.assert_close(torch.cat(steps, 1), model(tokens), atol=1e-5, rtol=1e-5)


def test_local_layers_keep_the_window_only(model: Any) -> None:
    assert [each.store.size(3) for each in model.new_cache(1, 64)] == [5, 5, 64, 5, 5]
    assert [each.store.size(3) for each in model.new_cache(1, 3)] == [3] * 5


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_a_longer_text_costs_a_local_layer_no_more_a_token(code: dict[str, ModuleType]) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    from metagen.measure import probe_worker

    config = code["model"].Config(**LOCAL_MODEL | {"global_every": 9, "max_seq_len": 4096})
    costs = []
    with torch.device("meta"):
        model = code["model"].Model(config)
        for length in (40, 4000):
            tokens = torch.zeros(1, length, dtype=torch.long)
            with FlopCounterMode(display=False) as counter:
                model(tokens)
            costs.append(counter.get_total_flops() / length)
            traced = sum(probe_worker._flops(model, (tokens,)).values())
            assert traced == counter.get_total_flops()
    assert costs[0] == costs[1]


def test_a_mask_is_never_beside_shared_heads(
    code: dict[str, ModuleType], model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU has no fused kernel for both, and its other one keeps all scores."""
    asked: list[tuple[bool, bool]] = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def watched(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
        asked.append((options.get("attn_mask") is not None, q.size(1) != k.size(1)))
        return attention(q, k, v, **options)

    monkeypatch.setattr("torch.nn.functional.scaled_dot_product_attention", watched)
    tokens = random_tokens(2, 23)
    model(tokens, tokens).backward()
    cache = model.new_cache(2, 40)
    for part in tokens.split([7, 1, 4, 11], dim=1):
        model(part, cache=cache)
    assert (True, False) in asked
    assert (True, True) not in asked


def test_gradients_of_a_window_equal_those_of_a_masked_sum(code: dict[str, ModuleType]) -> None:
    torch.manual_seed(3)
    q, k, v = (torch.randn(2, h, 17, 8, requires_grad=True) for h in (4, 2, 2))
    weights = torch.randn(2, 4, 17, 8)
    (code["model"].local_attention(q, k, v, window=5) * weights).sum().backward()
    found = [x.grad.clone() for x in (q, k, v)]
    for x in (q, k, v):
        x.grad = None
    keys, values = (x.repeat_interleave(2, dim=1) for x in (k, v))
    seen = torch.ones(17, 17, dtype=torch.bool).tril().triu(-4)
    scores = (q @ keys.transpose(2, 3) / 8**0.5).masked_fill(~seen, -torch.inf)
    ((scores.softmax(-1) @ values) * weights).sum().backward()
    for gradient, x in zip(found, (q, k, v), strict=True):
        torch.testing.assert_close(gradient, x.grad)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_a_later_part_of_a_prompt_scores_its_own_pairs_only(code: dict[str, ModuleType]) -> None:
    """512 queries after a past of 4,095 score 512 x 4,607 pairs, not two blocks of 4,096."""
    from torch.utils.flop_counter import FlopCounterMode

    q, k = torch.zeros(1, 4, 512, 8, device="meta"), torch.zeros(1, 2, 4607, 8, device="meta")
    with FlopCounterMode(display=False) as counter:
        code["model"].local_attention(q, k, k, window=4096)
    assert counter.get_total_flops() == 4 * 8 * 4 * 512 * 4607
