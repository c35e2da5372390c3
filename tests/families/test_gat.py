"""Graph attention: published counts, PyTorch Geometric's outputs and gradients, unions."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.family_code import modules_of, published, write_code
from helpers.graph_settings import MODEL, TINY
from helpers.graph_twins import Twin, assert_equal_gradients, with_statistics
from torch import Tensor
from torch_geometric.nn import global_add_pool, global_mean_pool

from metagen.families.gat import FAMILY as gat
from metagen.families.trend import rows

BENCHMARKS = 6  # models of the table that have the family's form with static attention


def published_dims(row: dict[str, str]) -> dict[str, Any]:
    names = ("d_model", "n_layers", "n_heads", "node_features")
    shape = {name: int(row[name]) for name in names}
    own = {"d_ff": int(row["ffn"]), "num_classes": int(row["classes"])}
    return {**MODEL, **shape, **own, "edge_features": 0, "dynamic": False}


def test_published_dimensions_give_published_counts(code: dict[str, ModuleType]) -> None:
    table = [row for row in rows(published(gat)) if row["ffn"]]
    assert len(table) == BENCHMARKS
    for row in table:
        dims = published_dims(row)
        # Where nodes have a type, the released model looks it up, which takes no bias.
        bias = dims["d_model"] if "table" in row["dims_source"] else 0
        assert gat.count(dims) - bias == int(row["params_exact"]), row["model"]
        with torch.device("meta"):
            network = code["model"].Model(code["model"].Config(**dims))
        assert network.num_params() == gat.count(dims)
    assert {"110400", "526990"} <= {row["params_exact"] for row in table}


def test_depth_does_not_grow_with_the_budget() -> None:
    one, two = (gat.fit(published(gat), budget) for budget in (10**5, 10**9))
    assert one.lines["n_layers"].at(10**5) == pytest.approx(two.lines["n_layers"].at(10**9))
    assert one.lines["d_model"].at(10**5) < two.lines["d_model"].at(10**9)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with modules_of(write_code(tmp_path_factory.mktemp("code"), gat, TINY)) as modules:
        yield modules


def network(code: dict[str, ModuleType], **changed: Any) -> Any:
    torch.manual_seed(0)
    return with_statistics(code["model"].Model(code["model"].Config(**{**MODEL, **changed})))


def union(edge_features: int = 3) -> tuple[Tensor, ...]:
    """Return three graphs as one; a node has no edge, and one an edge to itself."""
    torch.manual_seed(1)
    index = torch.tensor([[0, 1, 1, 2, 4, 5, 6, 7, 7, 4], [1, 0, 2, 1, 5, 6, 5, 4, 7, 6]])
    graph = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2])
    edges = torch.randn(index.size(1), edge_features)
    return torch.randn(9, 5), edges, index, graph, torch.tensor([4, 4, 1])


class Reference(Twin):
    """The network of PyTorch Geometric's layers, with the weights of another."""

    def forward(
        self, nodes: Tensor, edges: Tensor, index: Tensor, graph: Tensor, sizes: Tensor
    ) -> Tensor:
        c = self.other.config
        pool = global_add_pool if c.sum_readout else global_mean_pool
        x = self.encode(nodes, edges, index)
        return self.readout(pool(x, graph, len(sizes)) / (c.num_nodes if c.sum_readout else 1))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"dynamic": False},
        {"edge_features": 0},
        {"edge_features": 0, "dynamic": False},
        {"sum_readout": False, "n_heads": 4, "negative_slope": 0.1},
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_logits_and_gradients_equal_those_of_pytorch_geometric(
    code: dict[str, ModuleType], changed: dict[str, Any], training: bool
) -> None:
    model = network(code, **changed).train(training)
    inputs = union(changed.get("edge_features", 3))
    twin = Reference(network(code, **changed)).train(training)
    logits, expected = model(*inputs), twin(*inputs)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
    for each in (logits, expected):
        each.square().sum().backward()
    assert_equal_gradients(model, twin)


def test_a_graph_has_the_same_logits_alone_and_among_others(code: dict[str, ModuleType]) -> None:
    model = network(code).eval()
    nodes, edges, index, graph, sizes = union()
    together = model(nodes, edges, index, graph, sizes)
    start = 0
    for number, size in enumerate(sizes.tolist()):
        own = graph[index[0]] == number
        part = nodes[start : start + size], edges[own], index[:, own] - start
        alone = model(*part, torch.zeros(size, dtype=torch.int64), torch.tensor([size]))
        torch.testing.assert_close(alone[0], together[number])
        start += size


def test_graphs_without_an_edge_are_labelled_by_their_nodes(code: dict[str, ModuleType]) -> None:
    for dynamic in (True, False):
        nodes, edges, index, graph, sizes = union()
        logits = network(code, dynamic=dynamic)(nodes, edges[:0], index[:, :0], graph, sizes)
        assert logits.isfinite().all()


def test_the_order_of_nodes_and_edges_changes_nothing(code: dict[str, ModuleType]) -> None:
    model = network(code).eval()
    nodes, edges, index, graph, sizes = union()
    order, links = torch.tensor([2, 0, 3, 1, 7, 5, 4, 6, 8]), torch.randperm(index.size(1))
    places = order.argsort()
    moved = model(nodes[order], edges[links], places[index[:, links]], graph, sizes)
    torch.testing.assert_close(moved, model(nodes, edges, index, graph, sizes))


def test_dynamic_attention_can_prefer_another_neighbour_for_each_node(
    code: dict[str, ModuleType],
) -> None:
    """Each of two nodes attends to two others; static attention ranks these alike for both."""
    index = torch.tensor([[2, 3, 2, 3], [0, 0, 1, 1]])
    preferred = {}
    for dynamic in (True, False):
        attention = network(code, dynamic=dynamic, n_heads=1, edge_features=0).layers[0].attention
        differs = False
        for seed in range(50):
            x = torch.randn(4, 8, generator=torch.Generator().manual_seed(seed))
            # The sums are shares of the two messages, so the larger share is solved for.
            with torch.no_grad():
                sums, messages = attention(x, x[:0], index), attention.source(x)
            apart = messages[2] - messages[3]
            shares = (sums[:2] - messages[3]) @ apart / apart.square().sum()
            differs |= bool((shares[0] > 0.5) != (shares[1] > 0.5))
        preferred[dynamic] = differs
    assert preferred == {True: True, False: False}
