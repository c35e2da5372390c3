"""MBPO: published counts, its ensemble against networks of their own, and its routes."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.agent_settings import MBPO_SIZES
from helpers.family_code import modules_of, published, write_code
from torch import nn

from metagen import families
from metagen.errors import SpecError
from metagen.families.mbpo import FAMILY as mbpo
from metagen.families.sac import FAMILY as sac
from metagen.families.trend import rows

Code = dict[str, ModuleType]


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Code]:
    folder = tmp_path_factory.mktemp("code")
    with modules_of(write_code(folder, mbpo, MBPO_SIZES)) as modules:
        yield modules


def network(inputs: int, width: int, depth: int, outputs: int) -> nn.Sequential:
    """Return a network of an ensemble, by itself."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), nn.SiLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def test_published_dimensions_give_the_counts_of_published_networks() -> None:
    table = rows(published(mbpo))
    assert len(table) >= 6
    names = ("n_layers", "dynamics_layers", "d_dynamics", "n_networks", "obs_dim", "n_actions")
    for row in table:
        dims = {**{name: int(row[name]) for name in names}, "d_hidden": int(row["d_model"])}
        seen, acts, numbers = dims["obs_dim"], dims["n_actions"], 1 + dims["obs_dim"]
        shape = (dims["d_dynamics"], dims["dynamics_layers"], 2 * numbers)
        with torch.device("meta"):
            one = network(seen + acts, *shape)
        ensemble = dims["n_networks"] * sum(p.numel() for p in one.parameters())
        # The bounds of the variances are shared by all networks.
        total = sac.count(dims) + ensemble + 2 * numbers
        dims["ends"] = bool(int(row["ends"]))
        assert mbpo.count(dims) == int(row["params_exact"]) == total, row["model"]


def apart(model: Any) -> list[nn.Sequential]:
    """Return the networks of a model's ensemble, each by itself."""
    c = model.config
    inputs, outputs = c.obs_dim + c.n_actions, 2 * (1 + c.obs_dim) + c.ends
    each = [network(inputs, c.d_dynamics, c.dynamics_layers, outputs) for _ in range(c.n_networks)]
    for number, one in enumerate(each):
        for place, theirs in enumerate(model.dynamics.linear):
            mine: Any = one[2 * place]
            mine.weight.data.copy_(theirs.weight[number].T)
            mine.bias.data.copy_(theirs.bias[number, 0])
    return each


def filled(code: Code) -> Any:
    """Return a model whose biases are not all zero."""
    model = code["model"].Model(code["model"].Config())
    for layer in model.dynamics.linear:
        nn.init.normal_(layer.bias)
    return model


def test_the_ensemble_is_as_many_networks_of_their_own(code: Code) -> None:
    model = filled(code)
    seen, actions = torch.randn(7, 5), torch.rand(7, 3) * 2 - 1
    ahead = model(seen, actions, ahead=True)
    every = torch.stack([one(torch.cat((seen, actions), 1)) for one in apart(model)])
    mean, raw, ends = every[..., :6], every[..., 6:12], every[..., 12:]
    torch.testing.assert_close(ahead.mean, mean)
    torch.testing.assert_close(ahead.ends, ends)
    # Chua et al. (2018): first the upper bound, then the lower one, each with a softplus.
    highest, lowest = torch.full((6,), 0.5), torch.full((6,), -10.0)
    capped = highest - (1 + (highest - raw).exp()).log()
    torch.testing.assert_close(ahead.log_variance, lowest + (1 + (capped - lowest).exp()).log())
    assert (ahead.log_variance < 0.5 + 1e-4).all()
    assert (ahead.log_variance > -10).all()


def test_each_network_reads_rows_of_its_own(code: Code) -> None:
    model = filled(code)
    seen, actions = torch.randn(4, 3, 5), torch.rand(4, 3, 2)
    ahead = model(seen, actions, ahead=True)
    for number in range(3):
        alone = model(seen[:, number], actions[:, number], ahead=True)
        torch.testing.assert_close(ahead.mean[number], alone.mean[number])


def test_changes_are_of_standardized_numbers(code: Code) -> None:
    model = code["model"].Model(code["model"].Config())
    mean, variance = torch.randn(5), torch.rand(5) + 0.5
    model.features.update(mean, variance, 100.0)
    seen, changes = torch.randn(6, 5), torch.randn(6, 5)
    later = model.follow(seen, changes)
    torch.testing.assert_close(model.features(later) - model.features(seen), changes)


def test_the_networks_with_the_lowest_losses_are_the_best(code: Code) -> None:
    ensemble = code["model"].Model(code["model"].Config()).dynamics
    assert ensemble.best(2).tolist() == [0, 1]
    ensemble.errors.copy_(torch.tensor([0.3, -2.0, 0.1]))
    assert ensemble.best(2).tolist() == [1, 2]


def test_where_ends_are_not_predicted_there_is_no_output_for_them(code: Code) -> None:
    with_ends = code["model"].Config()
    without = code["model"].Config(ends=False)
    counts = [code["model"].Model(each).num_params() for each in (with_ends, without)]
    assert counts[0] - counts[1] == with_ends.n_networks * (with_ends.d_dynamics + 1)
    ahead = code["model"].Model(without)(torch.randn(4, 5), torch.rand(4, 3), ahead=True)
    assert ahead.ends.shape == (3, 4, 0)
    assert ahead.mean.shape == (3, 4, 6)


def test_acting_reads_all_weights_but_the_ensembles(code: Code) -> None:
    model = code["model"].Model(code["model"].Config())
    output = model(torch.randn(2, 5))
    (output.policy.sum() + output.values.sum() + output.log_temperature.sum()).backward()
    read = sum(p.numel() for p in model.parameters() if p.grad is not None)
    assert mbpo.bytes_read(MBPO_SIZES["model"]) == 2 * read


def test_the_model_of_an_environment_leads_here_and_choices_do_not() -> None:
    keys: dict[str, Any] = {
        "modality.inputs": ("tabular",),
        "modality.outputs": ("action",),
        "task.type": "model_based",
        "task.action_dim": 3,
    }
    assert families.route(keys.get) == "mbpo"
    assert mbpo.fixed(keys.get) == {"n_actions": 3}
    with pytest.raises(SpecError, match="model-based policy optimization moves quantities"):
        mbpo.fixed({**keys, "task.action_space": "discrete"}.get)


def test_more_elites_than_networks_break_a_rule() -> None:
    (rule,) = mbpo.rules
    assert rule.broken({"n_networks": 2, "n_elites": 3})
    assert not rule.broken({"n_networks": 3, "n_elites": 3})
