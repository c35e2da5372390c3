"""Graph attention on nodes: published counts, PyTorch Geometric's outputs and gradients."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.family_code import modules_of, published, write_code
from helpers.graph_twins import Twin, assert_equal_gradients, with_statistics
from helpers.network_settings import NODES, SHARED
from torch import Tensor

from metagen.families.node_classifier import FAMILY as classifier
from metagen.families.trend import rows

LABELLING = ("PATTERN", "CLUSTER")  # the published models of the table's form that label nodes


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with modules_of(write_code(tmp_path_factory.mktemp("code"), classifier, NODES)) as modules:
        yield modules


def test_published_classifiers_of_nodes_have_their_published_counts(
    code: dict[str, ModuleType],
) -> None:
    table = [
        row for row in rows(published(classifier)) if any(n in row["model"] for n in LABELLING)
    ]
    assert len(table) == 3
    for row in table:
        names = ("d_model", "n_layers", "n_heads", "node_features")
        own = {"d_ff": int(row["ffn"]), "num_classes": int(row["classes"])}
        dims = {**SHARED, **{name: int(row[name]) for name in names}, **own}
        dims |= {"edge_features": 0, "dynamic": False}
        # The released models look a node's type up, which takes no bias.
        assert classifier.count(dims) - dims["d_model"] == int(row["params_exact"]), row["model"]
        with torch.device("meta"):
            network = code["model"].Model(code["model"].Config(**dims))
        assert network.num_params() == classifier.count(dims)


def network(code: dict[str, ModuleType], **changed: Any) -> Any:
    torch.manual_seed(0)
    return with_statistics(code["model"].Model(code["model"].Config(**{**SHARED, **changed})))


def graph(edge_features: int = 3) -> tuple[Tensor, ...]:
    """Return a graph with a node that no edge leads to."""
    torch.manual_seed(1)
    index = torch.tensor([[0, 1, 1, 2, 3, 4, 0, 2], [1, 0, 2, 1, 2, 3, 4, 3]])
    return torch.randn(6, 5), torch.randn(index.size(1), edge_features), index


class Reference(Twin):
    def forward(self, nodes: Tensor, edges: Tensor, index: Tensor) -> Tensor:
        return self.readout(self.encode(nodes, edges, index))


@pytest.mark.parametrize("changed", [{}, {"dynamic": False}, {"edge_features": 0}])
@pytest.mark.parametrize("training", [False, True])
def test_logits_and_gradients_equal_those_of_pytorch_geometric(
    code: dict[str, ModuleType], changed: dict[str, Any], training: bool
) -> None:
    model = network(code, **changed).train(training)
    twin = Reference(network(code, **changed)).train(training)
    inputs = graph(changed.get("edge_features", 3))
    logits, expected = model(*inputs), twin(*inputs)
    assert logits.shape == (6, 2)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
    for each in (logits, expected):
        each.square().sum().backward()
    assert_equal_gradients(model, twin)


def test_training_drops_features_and_evaluation_does_not(code: dict[str, ModuleType]) -> None:
    model = network(code, dropout=0.5)
    inputs = graph()
    one, two = model.train()(*inputs), model(*inputs)
    assert not torch.equal(one, two)
    torch.testing.assert_close(model.eval()(*inputs), model(*inputs), rtol=0, atol=0)
