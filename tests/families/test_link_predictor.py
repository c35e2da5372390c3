"""Graph attention on pairs of nodes: PyTorch Geometric's outputs and gradients, symmetry."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.family_code import modules_of, published, write_code
from helpers.graph_twins import Twin, assert_equal_gradients, with_statistics
from helpers.network_settings import LINKS
from torch import Tensor

from metagen.families.gat import FAMILY as gat
from metagen.families.link_predictor import FAMILY as predictor
from metagen.families.trend import rows

MODEL = LINKS["model"]


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with modules_of(write_code(tmp_path_factory.mktemp("code"), predictor, LINKS)) as modules:
        yield modules


def test_a_published_encoder_has_its_published_count_with_one_output(
    code: dict[str, ModuleType],
) -> None:
    row = next(row for row in rows(published(predictor)) if row["model"] == "GAT, ZINC")
    names = ("d_model", "n_layers", "n_heads", "node_features")
    dims = {**MODEL, **{name: int(row[name]) for name in names}, "d_ff": int(row["ffn"])}
    dims |= {"edge_features": 0, "dynamic": False}
    # ZINC's model has one output too, and looks an atom up, which takes no bias.
    assert predictor.count(dims) - dims["d_model"] == int(row["params_exact"])
    assert gat.count({**dims, "num_classes": 1, "sum_readout": True}) == predictor.count(dims)


def network(code: dict[str, ModuleType], **changed: Any) -> Any:
    torch.manual_seed(0)
    return with_statistics(code["model"].Model(code["model"].Config(**{**MODEL, **changed})))


def inputs() -> tuple[Tensor, ...]:
    torch.manual_seed(1)
    index = torch.tensor([[0, 1, 1, 2, 3, 4, 0, 2], [1, 0, 2, 1, 2, 3, 4, 3]])
    pairs = torch.tensor([[0, 1, 5, 3], [2, 4, 0, 3]])
    return torch.randn(6, 5), torch.randn(index.size(1), 3), index, pairs


class Reference(Twin):
    def forward(self, nodes: Tensor, edges: Tensor, index: Tensor, pairs: Tensor) -> Tensor:
        x = self.encode(nodes, edges, index)
        return self.readout(x[pairs[0]] * x[pairs[1]]).flatten()


@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize("training", [False, True])
def test_logits_and_gradients_equal_those_of_pytorch_geometric(
    code: dict[str, ModuleType], dynamic: bool, training: bool
) -> None:
    model = network(code, dynamic=dynamic).train(training)
    twin = Reference(network(code, dynamic=dynamic)).train(training)
    logits, expected = model(*inputs()), twin(*inputs())
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
    for each in (logits, expected):
        each.square().sum().backward()
    assert_equal_gradients(model, twin)


def test_both_orders_of_a_pair_have_the_same_score(code: dict[str, ModuleType]) -> None:
    model = network(code).eval()
    *graph, pairs = inputs()
    torch.testing.assert_close(model(*graph, pairs), model(*graph, pairs.flip(0)), rtol=0, atol=0)
