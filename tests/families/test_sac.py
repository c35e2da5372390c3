"""The soft actor-critic: published counts, its policy against torch's distributions, its routes."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.agent_settings import SAC_SIZES
from helpers.family_code import modules_of, published, write_code
from torch import nn
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from metagen import families
from metagen.errors import SpecError
from metagen.families.sac import FAMILY as sac
from metagen.families.trend import rows

Code = dict[str, ModuleType]


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Code]:
    folder = tmp_path_factory.mktemp("code")
    with modules_of(write_code(folder, sac, SAC_SIZES)) as modules:
        yield modules


def perceptron(inputs: int, width: int, depth: int) -> nn.Sequential:
    """Return hidden layers with rectifiers, as cleanrl writes them."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers)


def published_networks(seen: int, actions: int, width: int, depth: int) -> nn.ModuleList:
    """Return cleanrl's actor, with two heads, and its two critics."""
    body = perceptron(seen, width, depth)
    heads = [nn.Linear(width, actions) for _ in range(2)]
    critics = [
        nn.Sequential(*perceptron(seen + actions, width, depth), nn.Linear(width, 1))
        for _ in range(2)
    ]
    return nn.ModuleList([body, *heads, *critics])


def test_published_dimensions_give_the_counts_of_published_networks() -> None:
    table = rows(published(sac))
    assert len(table) >= 6
    for row in table:
        named = {name: int(row[name]) for name in ("obs_dim", "n_actions", "n_layers")}
        dims = {**named, "d_hidden": int(row["d_model"])}
        with torch.device("meta"):
            networks = published_networks(
                dims["obs_dim"], dims["n_actions"], dims["d_hidden"], dims["n_layers"]
            )
        numbers = sum(p.numel() for p in networks.parameters()) + 1  # and the temperature
        assert sac.count(dims) == int(row["params_exact"]) == numbers, row["model"]


def reference(model: Any) -> nn.ModuleList:
    """Return cleanrl's networks with a model's weights."""
    c = model.config
    networks = published_networks(c.obs_dim, c.n_actions, c.d_hidden, c.n_layers)
    body, mean, deviation, *critics = networks
    actor = [*model.layers[0].linear]
    for mine, theirs in zip(body[::2], actor[:-1], strict=True):
        mine.load_state_dict(theirs.state_dict())
    for head, part in zip((mean, deviation), (0, 1), strict=True):
        rows_of = slice(part * c.n_actions, (part + 1) * c.n_actions)
        head.weight.data.copy_(actor[-1].weight[rows_of])
        head.bias.data.copy_(actor[-1].bias[rows_of])
    for critic, network in zip(critics, model.layers[1:], strict=True):
        for mine, theirs in zip(critic[::2], network.linear, strict=True):
            mine.load_state_dict(theirs.state_dict())
    return networks


def test_outputs_and_gradients_are_those_of_the_published_networks(code: Code) -> None:
    model = code["model"].Model(code["model"].Config())
    body, mean, deviation, *critics = reference(model)
    x, actions = torch.randn(7, 5), torch.rand(7, 3) * 2 - 1
    output = model(x, actions)
    theirs = torch.cat((mean(body(x)), deviation(body(x))), 1)
    values = torch.cat([critic(torch.cat((x, actions), 1)) for critic in critics], 1)
    torch.testing.assert_close(output.policy, theirs)
    torch.testing.assert_close(output.values, values)
    (output.policy.square().sum() + output.values.square().sum()).backward()
    (theirs.square().sum() + values.square().sum()).backward()
    for critic, network in zip(critics, model.layers[1:], strict=True):
        for own, other in zip(network.parameters(), critic.parameters(), strict=True):
            torch.testing.assert_close(own.grad, other.grad)
    last = model.layers[0].linear[-1].weight.grad
    torch.testing.assert_close(last, torch.cat((mean.weight.grad, deviation.weight.grad)))
    first = model.layers[0].linear[0].weight.grad
    torch.testing.assert_close(first, body[0].weight.grad)


def test_the_policy_is_a_gaussian_that_torch_squashes(code: Code) -> None:
    output = (torch.randn(6, 8) * 2).requires_grad_()
    policy = code["model"].Policy(output, 3)  # three of four quantities
    raw = output[:, 4:7].tanh()
    deviations = (-5 + 3.5 * (raw + 1)).exp()
    gaussian = Normal(output[:, :3], deviations)
    squashed = TransformedDistribution(gaussian, TanhTransform(cache_size=1))
    noise = torch.randn(6, 3)
    drawn = squashed.transforms[0](output[:, :3] + deviations * noise)
    actions, log_probs = policy.sample(noise)
    torch.testing.assert_close(actions, drawn)
    torch.testing.assert_close(policy.best(), output[:, :3].tanh())
    expected = squashed.log_prob(drawn).sum(1)
    torch.testing.assert_close(log_probs, expected, rtol=1e-4, atol=1e-4)
    mine, theirs = (
        torch.autograd.grad((p + a.sum(1)).sum(), output, retain_graph=True)[0]
        for p, a in ((log_probs, actions), (expected, drawn))
    )
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_an_action_at_its_bound_has_a_finite_likelihood(code: Code) -> None:
    output = torch.tensor([[40.0, -40.0, 0.0, 0.0]], requires_grad=True)
    _, log_prob = code["model"].Policy(output, 2).sample(torch.ones(1, 2))
    log_prob.sum().backward()
    assert torch.isfinite(log_prob).all()
    assert output.grad is not None
    assert torch.isfinite(output.grad).all()


def test_actions_that_an_environment_lacks_count_as_zero(code: Code) -> None:
    model = code["model"].Model(code["model"].Config())
    x, actions = torch.randn(4, 5), torch.rand(4, 2)
    padded = torch.cat((actions, torch.zeros(4, 1)), 1)
    torch.testing.assert_close(model(x, actions).values, model(x, padded).values)
    best = code["model"].best_actions(model(x), model.config, 2)
    assert best.shape == (4, 2)


def test_frozen_critics_pass_gradients_to_actions_only(code: Code) -> None:
    model = code["model"].Model(code["model"].Config())
    x, actions = torch.randn(4, 5), torch.rand(4, 3).requires_grad_()
    frozen, free = (model(x, actions, frozen=frozen).values for frozen in (True, False))
    torch.testing.assert_close(frozen, free)
    weights = [*model.layers[1:].parameters()]
    (slope,) = torch.autograd.grad(free.sum(), actions, retain_graph=True)
    assert torch.autograd.grad(frozen.sum(), weights, retain_graph=True, allow_unused=True) == (
        *[None] * len(weights),
    )
    torch.testing.assert_close(torch.autograd.grad(frozen.sum(), actions)[0], slope)


def test_quantities_lead_here_and_choices_or_frames_do_not() -> None:
    keys: dict[str, Any] = {
        "modality.inputs": ("tabular",),
        "modality.outputs": ("action",),
        "task.type": "actor_critic",
        "task.action_dim": 3,
    }
    assert families.route(keys.get) == "sac"
    assert sac.fixed(keys.get) == {"n_actions": 3}
    for choices in ({"task.action_space": "discrete"}, {"task.num_actions": 4}):
        with pytest.raises(SpecError, match="moves quantities"):
            sac.fixed({**keys, **choices}.get)
    with pytest.raises(SpecError, match="no model family makes action from image"):
        families.route({**keys, "modality.inputs": ("image",)}.get)
