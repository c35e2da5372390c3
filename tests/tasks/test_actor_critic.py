"""The soft actor-critic's training: targets, losses, the copy, the memory, and whole runs."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import agents
from helpers.agent_settings import SAC_SIZES, SCREEN
from helpers.agents import Code, Run, pendulum
from helpers.family_code import beats_its_baselines
from PIL import Image
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from metagen import paths
from metagen.families.sac import FAMILY as sac

SPEC = paths.specs() / "control" / "rl_agent_sac.yaml"


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Code]:
    with agents.code_of(sac, SAC_SIZES, tmp_path_factory) as modules:
        yield modules


@pytest.fixture
def run(
    code: Code, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    return agents.runner(code, monkeypatch, capsys, tmp_path, "--threads", 1)


def test_the_lower_value_and_the_entropy_give_the_targets(code: Code) -> None:
    torch.manual_seed(0)
    rewards, over = torch.randn(20), (torch.rand(20) < 0.4).float()
    values, entropies = torch.randn(20, 2), torch.randn(20)
    learning = sys.modules["runtime.soft_actor_critic"]
    ours = learning.soft_targets(rewards, over, values, entropies, 0.9)
    for i in range(20):
        later = min(float(values[i, 0]), float(values[i, 1])) + float(entropies[i])
        expected = float(rewards[i]) + (0.0 if over[i] else 0.9 * later)
        assert float(ours[i]) == pytest.approx(expected, abs=1e-6)


def test_the_operations_of_an_update_are_those_of_its_passes(code: Code) -> None:
    with torch.device("meta"):
        model = code["model"].Model(code["model"].Config())
        data = code["data"].Config()
        counted = sys.modules["runtime.flops"].training_flops(
            lambda: code["train"].example_loss(model, 3, data)
        )
    policy, *critics = (
        [2 * p.numel() for p in each.parameters() if p.dim() == 2] for each in model.layers
    )
    # Four passes forward, and one backward, in which nothing needs a gradient of the inputs.
    expected = 6 * sum(policy) - policy[0]
    # The gradient of the policy's own actions passes through the critics once more.
    expected += sum(7 * sum(each) - each[0] for each in critics)
    assert counted == 3 * expected


def drawn_by(model: Any, x: torch.Tensor, noise: torch.Tensor) -> tuple[Any, Any]:
    """Return actions of the one quantity of the pendulum, and log pi, by torch's distributions."""
    mean, raw = model.layers[0](model.features(x))[:, [0, 3]].split(1, dim=1)
    gaussian = Normal(mean, (-5 + 3.5 * (raw.tanh() + 1)).exp())
    actions = (gaussian.mean + gaussian.stddev * noise).tanh()
    squashed = TransformedDistribution(gaussian, TanhTransform(cache_size=1))
    return actions, squashed.log_prob(actions).sum(1)


def test_one_loss_has_the_gradients_of_three_that_are_taken_apart(code: Code) -> None:
    agent, model = pendulum(code)
    with torch.no_grad():
        model.log_temperature.fill_(-0.7)
        for tensor in agent.copy.network.parameters():
            tensor.add_(0.05 * torch.randn_like(tensor))
    batch = agent.batch(0, 8)
    agent.losses(model, batch).mean().backward()
    other = copy.deepcopy(model)
    other.zero_grad()
    seen, actions, rewards, later, over, noise = batch
    alpha = other.log_temperature.exp()
    with torch.no_grad():
        then, log_then = drawn_by(other, later, noise[:, 1])
        low = agent.copy.network(later, then).values.min(1).values
        targets = rewards + agent.config.discount * (1 - over) * (low - alpha * log_then)
    errors = [other(seen, actions).values[:, i] - targets for i in range(2)]
    critics = sum((each**2).mean() / 2 for each in errors)
    own, log_own = drawn_by(other, seen, noise[:, 0])
    policy = (alpha.detach() * log_own - other(seen, own).values.min(1).values).mean()
    temperature = -(alpha * (log_own.detach() - 1)).mean()  # one quantity is moved
    for loss, part in (
        (critics, other.layers[1:].parameters()),
        (policy, other.layers[0].parameters()),
        (temperature, [other.log_temperature]),
    ):
        weights = [*part]
        for weight, gradient in zip(
            weights, torch.autograd.grad(loss, weights, retain_graph=True), strict=True
        ):
            weight.grad = gradient
    named = dict(other.named_parameters())
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, named[name].grad, rtol=1e-3, atol=1e-5, msg=name)


def test_the_copy_takes_the_weights_and_then_a_share_of_them(code: Code) -> None:
    follower = sys.modules["runtime.off_policy"].Copy(torch.nn.Linear(2, 1))
    network = torch.nn.Linear(2, 1)
    follower.follow(network, 0, 0.25)
    torch.testing.assert_close(follower.network.weight, network.weight)
    before = network.weight.detach().clone()
    network.weight.data.add_(1)
    for _ in range(2):  # the same number again changes nothing
        follower.follow(network, 1, 0.25)
    torch.testing.assert_close(follower.network.weight, before + 0.25)
    other = sys.modules["runtime.off_policy"].Copy(torch.nn.Linear(2, 1))
    other.restore(follower.tensors())
    assert other.renewed == 1
    assert other.network.weight.equal(follower.network.weight)


def test_the_memory_keeps_quantities_as_they_were_done(code: Code) -> None:
    agent, model = pendulum(code)
    taken = agent.replay.sample(np.array([0, 1, 2, 3]), np.full(4, 0.5))
    assert taken[1].shape == (4, 1)
    assert taken[1].dtype == torch.float32
    assert (taken[1].abs() <= 1).all()
    assert taken[1].unique().numel() == 4
    assert model.features.count == agent.config.first_random


def test_noise_of_a_batch_follows_from_its_place(code: Code) -> None:
    agent, _ = pendulum(code)
    whole = agent.batch(8, 8)
    for at in (0, 4):
        for mine, theirs in zip(agent.batch(8 + at, 4), whole, strict=True):
            assert mine.equal(theirs[at : at + 4])
    assert not agent.batch(16, 8)[-1].equal(whole[-1])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("CartPole-v1", "takes actions of the kind Discrete, and this network gives quantities"),
        (SCREEN, "shows frames of (80, 72, 3), and this network reads numbers"),
    ],
)
def test_an_environment_that_does_not_fit_ends_in_a_sentence(
    name: str, sentence: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("train", "--data", name)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.ci
def test_it_trains_resumes_scores_and_plays(run: Run, tmp_path: Path) -> None:
    agents.trains_and_resumes(run, tmp_path, 12, 4)
    report = json.loads(run("eval", out="one"))
    assert [row["metric"] for row in report["metrics"]] == ["episode_return", "td_error"]
    returned = report["metrics"][0]
    assert {*returned["baselines"]} == {"random actions", "the same action", "energy rule"}
    line = json.loads(run("infer", "--output", tmp_path / "episode.png", out="one"))
    assert line["steps"] == 60  # The settings of infer.py stop it there.
    assert Image.open(line["output"]).size[0] == 900


@pytest.mark.slow
@pytest.mark.ci
def test_the_proxy_beats_what_acts_without_looking(tmp_path: Path) -> None:
    for name in ("random actions", "the same action"):
        beats_its_baselines(SPEC, tmp_path, "evaluation.seeds=1", only=name)
