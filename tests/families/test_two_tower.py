"""Two towers: published counts, PyTorch's own Transformer, histories of any length and order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.family_code import modules_of, published, write_code
from helpers.recommendation_settings import MODEL, TINY
from torch import Tensor, nn

from metagen.families.demand import Need
from metagen.families.trend import rows
from metagen.families.two_tower import FAMILY as two_tower
from metagen.sizing import search

PLAIN = {"node_features": 0, "edge_features": 0, "d_tower": 0}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with modules_of(write_code(tmp_path_factory.mktemp("code"), two_tower, TINY)) as modules:
        yield modules


def network(code: dict[str, ModuleType], **changed: Any) -> Any:
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config(**{**MODEL, **changed}))
    for weight in model.parameters():
        # Zero biases and gains of 1 would hide where they are used.
        nn.init.normal_(weight, std=0.3)
    return model


def inputs(model: Any) -> tuple[Tensor, ...]:
    """Return three users, whose histories have five items, two and none, and four items."""
    torch.manual_seed(1)
    c = model.config
    history = torch.tensor([[3, 1, 4, 12, 5], [9, 2, 0, 0, 0], [0, 0, 0, 0, 0]])
    edges = torch.randn(3, 5, c.edge_features) * (history != 0)[:, :, None]
    users, features = torch.randn(3, c.node_features), torch.randn(4, c.node_features)
    return history, edges, users, torch.tensor([1, 5, 7, 12]), features


def test_published_dimensions_give_published_counts_and_those_of_pytorch(
    code: dict[str, ModuleType],
) -> None:
    for row in rows(published(two_tower)):
        d, depth, heads, inner = (int(row[k]) for k in ("d_model", "n_layers", "n_heads", "ffn"))
        items, history = int(row["items"]), int(row["history"])
        shape = {"d_model": d, "user_layers": depth, "n_heads": heads, "d_ff": inner}
        dims = {**MODEL, **PLAIN, **shape, "num_items": items, "history_length": history}
        with torch.device("meta"):
            layer = nn.TransformerEncoderLayer(d, heads, inner, batch_first=True)
            blocks = nn.TransformerEncoder(layer, depth, nn.LayerNorm(d))
            own = code["model"].Model(code["model"].Config(**dims))
        theirs = sum(p.numel() for p in blocks.parameters()) + (items + 1 + history) * d
        assert two_tower.count(dims) == own.num_params() == theirs == int(row["params_exact"])


class Reference(nn.Module):
    """The user tower with PyTorch's Transformer and the weights of another, one user at a time."""

    def __init__(self, other: Any) -> None:
        super().__init__()
        c = other.config
        self.other = other
        options = {"dropout": 0.0, "activation": "relu", "batch_first": True, "norm_first": True}
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                c.d_model, c.n_heads, c.d_ff, layer_norm_eps=c.norm_eps, **options
            )
            for _ in range(c.user_layers)
        )
        for mine, theirs in zip(self.blocks, other.layers, strict=True):
            mine.self_attn.in_proj_weight.data = torch.cat(
                [theirs.q_proj.weight, theirs.k_proj.weight, theirs.v_proj.weight]
            ).data
            mine.self_attn.in_proj_bias.data = torch.cat(
                [theirs.q_proj.bias, theirs.k_proj.bias, theirs.v_proj.bias]
            ).data
            for own, name in (
                (mine.self_attn.out_proj, "out_proj"),
                (mine.linear1, "up_proj"),
                (mine.linear2, "down_proj"),
                (mine.norm1, "attention_norm"),
                (mine.norm2, "mlp_norm"),
            ):
                own.weight.data = getattr(theirs, name).weight.data
                own.bias.data = getattr(theirs, name).bias.data

    def forward(self, history: Tensor, edges: Tensor, users: Tensor) -> Tensor:
        own, c, out = self.other, self.other.config, []
        for items, features, user in zip(history, edges, users, strict=True):
            kept = items[items != 0] if (items != 0).any() else items[:1]
            x = math.sqrt(c.d_model) * own.items.weight[kept]
            if c.ordered:
                x = x + own.positions.weight[: len(kept)].flip(0)
            if c.edge_features:
                x = x + features[: len(kept)] @ own.interaction.weight.T
            x = x[None]
            for block in self.blocks:
                mask = nn.Transformer.generate_square_subsequent_mask(len(kept))
                x = block(x, src_mask=mask if c.ordered else None)
            read = x[0, -1] if c.ordered else x[0].mean(0)
            if c.node_features:
                read = read + own.user_features.weight @ user
            out.append(own.norm(read))
        stacked = torch.stack(out)
        if c.d_tower:
            first, _, last = own.user_tower
            stacked = (stacked @ first.weight.T + first.bias).relu() @ last.weight.T + last.bias
        return stacked


@pytest.mark.parametrize(
    "changed",
    [{}, PLAIN, {"ordered": False}, {"ordered": False, "user_layers": 0}, {"d_tower": 5}],
)
def test_vectors_and_gradients_equal_those_of_pytorchs_transformer(
    code: dict[str, ModuleType], changed: dict[str, Any]
) -> None:
    model = network(code, **changed)
    twin = Reference(network(code, **changed))
    history, edges, users, *_ = inputs(model)
    vectors, expected = model.encode_users(history, edges, users), twin(history, edges, users)
    torch.testing.assert_close(vectors, expected, rtol=1e-4, atol=1e-5)
    for each in (vectors, expected):
        each.square().sum().backward()
    for name in ("items", "positions", "interaction", "user_features"):
        if hasattr(model, name):
            mine, theirs = (getattr(each, name).weight.grad for each in (model, twin.other))
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
    for own, block in zip(model.layers, twin.blocks, strict=True):
        grads = torch.cat([p.weight.grad for p in (own.q_proj, own.k_proj, own.v_proj)])
        theirs = block.self_attn.in_proj_weight.grad
        torch.testing.assert_close(grads, theirs, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(
            own.down_proj.weight.grad, block.linear2.weight.grad, rtol=1e-3, atol=1e-4
        )


def test_an_item_is_its_row_and_a_map_of_its_features(code: dict[str, ModuleType]) -> None:
    model = network(code)
    *_, items, features = inputs(model)
    expected = model.items.weight[items] + features @ model.item_features.weight.T
    torch.testing.assert_close(model.encode_items(items, features), expected)


@pytest.mark.parametrize("ordered", [True, False])
def test_what_fills_a_history_changes_nothing(code: dict[str, ModuleType], ordered: bool) -> None:
    model = network(code, ordered=ordered)
    history, edges, users, *_ = inputs(model)
    whole = model.encode_users(history, edges, users)
    alone = model.encode_users(history[1:2, :2], edges[1:2, :2], users[1:2])
    torch.testing.assert_close(alone[0], whole[1])


def test_a_set_has_no_order_and_a_history_has(code: dict[str, ModuleType]) -> None:
    for ordered in (True, False):
        model = network(code, ordered=ordered)
        history, edges, users, *_ = inputs(model)
        turned = model.encode_users(history[:1].flip(1), edges[:1].flip(1), users[:1])
        same = torch.allclose(turned, model.encode_users(history[:1], edges[:1], users[:1]))
        assert same is not ordered


def test_a_pinned_catalogue_leaves_the_budget_to_the_blocks() -> None:
    budget = 10**7
    trend = two_tower.fit(published(two_tower), budget)
    pins = {"num_items": 20_000}
    free, pinned = (
        search.search(two_tower, Need(budget, budget * 97 // 100, (), None, each, each), trend)
        for each in ({}, pins)
    )
    assert free.parameters > 0.99 * budget
    assert pinned.parameters > 0.99 * budget
    assert pinned.dims["num_items"] == pins["num_items"] < free.dims["num_items"]
    assert pinned.dims["d_ff"] > free.dims["d_ff"]
