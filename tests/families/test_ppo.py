"""PPO: published counts, the policy against torch's distributions, its loss, and its routes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.agent_settings import FRAMES, PPO_SIZES
from helpers.family_code import modules_of, published, write_code
from torch import nn
from torch.distributions import Categorical, Normal

from metagen import families
from metagen.errors import SpecError
from metagen.families.ppo import FAMILY as ppo
from metagen.families.trend import rows

Code = dict[str, ModuleType]
SIDES = {"frame_height": 84, "frame_width": 84, "n_frames": 4}
NONE = dict.fromkeys(SIDES, 0)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Code]:
    folder = tmp_path_factory.mktemp("code")
    with modules_of(write_code(folder, ppo, PPO_SIZES)) as modules:
        yield modules


def equal_widths(table: list[Any]) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the dimensions of published agents whose hidden layers are equal, and their counts."""
    for row in table:
        widths = row["widths"].split("-")
        if len(set(widths)) == 1:
            named = {"obs_dim": int(row["obs_dim"]), "n_actions": int(row["n_actions"])}
            shape = {"n_layers": len(widths), "d_hidden": int(widths[0])}
            conv = {**(SIDES if row["d_conv"] else NONE), "d_conv": int(row["d_conv"] or 0)}
            kind = {"continuous": bool(int(row["continuous"]))}
            yield {**named, **shape, **conv, **kind}, int(row["params_exact"])


def test_published_dimensions_give_published_counts() -> None:
    equal = [*equal_widths(rows(published(ppo)))]
    assert len(equal) >= 6
    for dims, count in equal:
        assert ppo.count(dims) == count, dims
    atari = {"obs_dim": 0, **SIDES, "n_actions": 4, "continuous": False}
    assert ppo.count({**atari, "d_conv": 32, "n_layers": 1, "d_hidden": 512}) == 1_686_693


def test_widths_that_differ_give_the_count_of_their_closed_form() -> None:
    (row,) = (row for row in rows(published(ppo)) if row["widths"] == "512-256-128")
    sizes = [int(row["obs_dim"]), *map(int, row["widths"].split("-"))]
    body = sum((a + 1) * b for a, b in itertools.pairwise(sizes))
    actions = int(row["n_actions"])
    heads = (sizes[-1] + 1) * (actions + 1) + actions
    assert int(row["params_exact"]) == 2 * body + heads


def reference(model: Any) -> tuple[nn.Sequential, nn.Sequential]:
    """Return cleanrl's networks of an actor and of a critic, with a model's weights."""
    built = []
    for stack, head in ((model.layers[0], model.policy), (model.layers[1], model.value)):
        linear = [layer for layer in stack if isinstance(layer, nn.Linear)]
        layers = [nn.Linear(x.in_features, x.out_features) for x in (*linear, head)]
        for mine, theirs in zip(layers, (*linear, head), strict=True):
            mine.load_state_dict(theirs.state_dict())
        parts = [part for layer in layers for part in (layer, nn.Tanh())]
        built.append(nn.Sequential(*parts[:-1]))
    return built[0], built[1]


def test_outputs_and_gradients_are_those_of_two_plain_mlps(code: Code) -> None:
    model = code["model"].Model(code["model"].Config())
    x, mean, deviation = torch.randn(7, 5), torch.randn(5), torch.rand(5) + 0.5
    model.features.update(mean, deviation**2, 10.0)
    actor, critic = reference(model)
    policy, values = model(x)
    scaled = (x - mean) / deviation
    torch.testing.assert_close(policy[:, :3], actor(scaled))
    torch.testing.assert_close(values, critic(scaled).squeeze(1))
    (policy[:, :3].square().sum() + values.sum()).backward()
    (actor(scaled).square().sum() + critic(scaled).sum()).backward()
    theirs = [p.grad for part in (actor, critic) for p in part.parameters()]
    mine = [*model.layers[0].parameters(), *model.policy.parameters()]
    mine += [*model.layers[1].parameters(), *model.value.parameters()]
    for own, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(own.grad, other)


def test_frames_pass_the_convolutions_of_the_nature_network(code: Code) -> None:
    config = code["model"].Config(**FRAMES, continuous=False, d_conv=2, n_layers=1, d_hidden=6)
    model = code["model"].Model(config)
    frames = torch.randint(0, 256, (2, 3, 40, 36), dtype=torch.uint8)
    convolutions = (model.features.conv1, model.features.conv2, model.features.conv3)
    network = nn.Sequential(
        *(part for conv in convolutions for part in (conv, nn.ReLU())),
        *(nn.Flatten(), model.layers[0], model.policy),
    )
    torch.testing.assert_close(model(frames)[0], network(frames / 255))
    assert model.num_params() == ppo.count({**vars(config)})


def test_the_statistics_are_those_of_all_observations(code: Code) -> None:
    normalizer = code["model"].Normalizer(4)
    parts = [torch.randn(n, 4) * 3 + 1 for n in (5, 1, 40)]
    for part in parts:
        normalizer.update(part.mean(0), part.var(0, correction=0), float(len(part)))
    every = torch.cat(parts)
    torch.testing.assert_close(normalizer.mean, every.mean(0))
    torch.testing.assert_close(normalizer.variance, every.var(0, correction=0))


def test_the_policy_is_that_of_torchs_distributions(code: Code) -> None:
    policy, output = code["model"].Policy, torch.randn(6, 8)
    gaussian = policy(output, True, 3)  # three of four quantities
    theirs = Normal(output[:, :3], output[:, 4:7].exp())
    actions = torch.randn(6, 3)
    torch.testing.assert_close(gaussian.log_prob(actions), theirs.log_prob(actions).sum(1))
    torch.testing.assert_close(gaussian.entropy(), theirs.entropy().sum(1))
    torch.testing.assert_close(gaussian.best(), theirs.mean)
    choices, theirs = policy(output, False, 5), Categorical(logits=output[:, :5])
    taken = torch.arange(6) % 5
    torch.testing.assert_close(choices.log_prob(taken), theirs.log_prob(taken))
    torch.testing.assert_close(choices.entropy(), theirs.entropy())
    many = policy(output[:1].expand(20_000, -1), False, 5)
    drawn = many.sample(torch.rand(20_000, 5, generator=torch.Generator().manual_seed(0)))
    shares = torch.bincount(drawn, minlength=5) / 20_000
    torch.testing.assert_close(shares, theirs.probs[0], atol=0.02, rtol=0)


def keys(**declared: Any) -> dict[str, Any]:
    return {"modality.inputs": ("tabular",), "modality.outputs": ("action",), **declared}


def test_numbers_and_frames_lead_here_and_no_other_architecture() -> None:
    of_numbers = keys(**{"task.type": "policy_gradient", "task.action_dim": 3})
    assert families.route(of_numbers.get) == "ppo"
    assert ppo.fixed(of_numbers.get)["n_actions"] == 3
    frames = keys(**{"modality.inputs": ("image",), "task.num_actions": 9})
    assert ppo.fixed(frames.get) == {
        **{"obs_dim": 0, "frame_height": 84, "frame_width": 84, "n_frames": 4},
        **{"n_actions": 9, "continuous": False},
    }
    with pytest.raises(SpecError, match="no model family makes action from tabular"):
        families.route(keys(**{"architecture.family": "cnn"}).get)
