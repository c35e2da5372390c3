"""MBPO's training: the ensemble's loss, what it makes up, what it learns from, and whole runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import agents
from helpers.agent_settings import MBPO_SIZES
from helpers.agents import Code, Run, pendulum
from helpers.family_code import beats_its_baselines
from torch.distributions import Bernoulli, Normal

from metagen import paths
from metagen.families.mbpo import FAMILY as mbpo

SPEC = paths.specs() / "control" / "rl_agent_mbpo.yaml"


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Code]:
    with agents.code_of(mbpo, MBPO_SIZES, tmp_path_factory) as modules:
        yield modules


@pytest.fixture
def run(
    code: Code, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    return agents.runner(code, monkeypatch, capsys, tmp_path, "--threads", 1)


def test_the_loss_is_the_weighted_likelihood_of_torchs_distributions(code: Code) -> None:
    torch.manual_seed(0)
    mean, log_variance = torch.randn(3, 7, 6), torch.randn(3, 7, 6)
    ends, bounds = torch.randn(3, 7, 1), torch.zeros(2, 6)
    targets, over = torch.randn(3, 7, 4), (torch.rand(3, 7) < 0.5).float()
    ahead = sys.modules["model"].Ahead(mean, log_variance, ends, bounds)
    losses = code["train"].prediction_losses(ahead, targets, over)
    gaussian: Any = Normal(mean[..., :4], (log_variance[..., :4] / 2).exp())
    expected = -2 * gaussian.log_prob(targets) - torch.tensor(2 * torch.pi).log()
    expected = expected * gaussian.stddev  # the weight of beta = 0.5
    ended: Any = Bernoulli(logits=ends[..., 0])
    expected = expected.mean(2) - ended.log_prob(over)
    torch.testing.assert_close(losses, expected)


def test_what_is_made_up_is_that_of_a_loop(code: Code) -> None:
    agent, network = pendulum(code)
    network.dynamics.errors.copy_(torch.tensor([3.0, 1.0, 2.0]))
    network.rewards.copy_(torch.tensor([-6.0, 2.5]))
    seen = agent.replay.everything()[:6]
    noise, chosen = torch.randn(6, 1 + 1 + 3), torch.tensor([0.0, 0.49, 0.5, 0.99, 0.2, 0.7])
    made = agent.imagine(seen, noise, chosen)
    for row in range(6):
        now = seen[row : row + 1]
        mean, raw = network(now).policy[0, [0, 3]]
        action = (mean + (-5 + 3.5 * (raw.tanh() + 1)).exp() * noise[row, 0]).tanh()
        member = 1 if chosen[row] < 0.5 else 2  # the two with the lowest errors
        ahead = network(now, action.view(1, 1), ahead=True)
        deviations = (ahead.log_variance[member, 0] / 2).exp()[:4]
        drawn = ahead.mean[member, 0, :4] + deviations * noise[row, 1:]
        later = now[0].clone()
        later[:3] += drawn[1:] * (network.features.variance[:3] + 1e-8).sqrt()
        over = float(ahead.ends[member, 0, 0] > 0)
        expected = (now[0], action.view(1), 2.5 * drawn[0] - 6, later, torch.tensor(over))
        for mine, theirs in zip(made, expected, strict=True):
            torch.testing.assert_close(mine[row], theirs)


def test_steps_follow_each_other_and_begin_anew_where_an_episode_ends(code: Code) -> None:
    agent, network = pendulum(code)
    for logit, ended in ((-50.0, False), (50.0, True)):
        last = network.dynamics.linear[-1]
        last.weight.data[..., -1], last.bias.data[..., -1] = 0.0, logit
        agent._imagine()
        block = (agent.imagined.count - 1) % agent.imagined.blocks * agent.imagined.block
        seen, _, _, later, over = (
            row[:, block : block + agent.imagined.block] for row in agent.imagined.rows
        )
        first, second = seen.unflatten(1, (agent.starts, 2)).unbind(2)
        follows = later.unflatten(1, (agent.starts, 2))[:, :, 0]
        assert (over == float(ended)).all()
        assert second.equal(first if ended else follows)
        assert not follows.equal(first)


def test_made_up_blocks_replace_the_oldest(code: Code) -> None:
    agent, _ = pendulum(code)
    made = sys.modules["runtime.imagined"].Imagined(agent.world, 1, 2, 2)
    for number in range(3):
        made.add(tuple(torch.full_like(row[:, :2], float(number)) for row in made.rows))
        kept = made.sample(np.zeros(40, dtype=np.int64), np.linspace(0, 0.999, 40))[2]
        assert kept.unique().tolist() == [[0.0], [0.0, 1.0], [1.0, 2.0]][number]


def transitions(agent: Any) -> list[tuple[float, ...]]:
    """Return all that the memory holds of one environment, in the order of time."""
    count = int(agent.replay.count[0])
    return [tuple(row) for row in agent.replay.seen[0, :count].tolist()]


def test_the_ensemble_learns_from_nothing_that_will_judge_it(code: Code) -> None:
    agent, network = pendulum(code)
    known = int(agent.learned[0])
    while agent.steps < 40:  # further steps, which no renewal has released
        agent._act(0)
    order = transitions(agent)
    members = agent.batch(0, 8)[6]  # what each network's transitions begin with
    places = [order.index(tuple(row)) for row in members[:2].flatten(0, 1).tolist()]
    assert max(places) < known
    envs = np.zeros(200, dtype=np.int64)
    draws = np.linspace(0, 0.9999, 200)
    newest = agent.replay.sample(envs, draws, since=agent.learned)[0]
    judged = {order.index(tuple(row)) for row in newest.tolist()}
    assert judged == set(range(known, len(order) - 1))
    before = network.dynamics.errors.clone()
    agent._judge()
    assert (network.dynamics.errors != before).all()


def test_networks_are_judged_by_their_error_on_the_newest_transitions(code: Code) -> None:
    agent, network = pendulum(code)
    while agent.steps < 40:
        agent._act(0)
    bad = network.dynamics.linear[-1].bias
    bad.data[1] += 5.0
    agent._judge()
    assert network.dynamics.best(2).tolist() in ([0, 2], [2, 0])


def test_each_network_has_samples_of_its_own_that_follow_from_their_place(code: Code) -> None:
    agent, _ = pendulum(code)
    agent._imagine()
    whole = agent.batch(8, 8)
    for at in (0, 4):
        for mine, theirs in zip(agent.batch(8 + at, 4), whole, strict=True):
            assert mine.equal(theirs[at : at + 4])
    assert not whole[6][:, 0].equal(whole[6][:, 1])


def test_rewards_are_foreseen_in_units_of_those_of_the_random_actions(code: Code) -> None:
    agent, network = pendulum(code)
    known = agent.replay.rewards[:, : agent.replay.count[0]]
    expected = torch.tensor([known.mean(), known.std()])
    torch.testing.assert_close(network.rewards, expected)
    seen = agent.replay.everything()[:2]
    targets = agent._targets(seen, torch.from_numpy(known[0, :2]), seen)
    assert targets[:, 0].tolist() == pytest.approx((known[0, :2] - known.mean()) / known.std())
    assert (targets[:, 1:] == 0).all()


def test_nothing_is_made_up_before_the_ensemble_has_learned(code: Code) -> None:
    agent, network = pendulum(code)
    counts = []
    for step in range(8):
        agent.collect(network, step)
        counts.append(agent.imagined.count)
    assert counts == [0, 0, 0, 0, 1, 1, 2, 2]  # from the fourth update, at every second one


def test_a_share_of_the_samples_is_real(code: Code) -> None:
    agent, _ = pendulum(code)
    agent._imagine()
    for row in agent.imagined.rows:
        row.fill_(777.0)
    rewards = torch.cat([agent.batch(8 * number, 8)[2] for number in range(100)])
    share = float((rewards != 777.0).float().mean())
    assert abs(share - agent.config.real_share) < 0.06


def test_the_ensemble_gets_the_gradient_of_its_loss_alone(code: Code) -> None:
    agent, network = pendulum(code)
    batch = agent.batch(0, 8)
    agent.losses(network, batch).mean().backward()
    mine = [p.grad.clone() for p in network.dynamics.parameters()]
    network.zero_grad()
    seen, actions, rewards, later, over = batch[6:]
    mean, deviation = network.rewards
    loss = torch.tensor(0.0)
    for member in range(3):
        rows = (seen[:, member], actions[:, member])
        ahead = network(*rows, ahead=True)
        changes = network.features(later[:, member]) - network.features(seen[:, member])
        units = (rewards[:, member, None] - mean) / deviation
        targets = torch.cat((units, changes[:, :3]), 1)
        log_variance = ahead.log_variance[member, :, :4]
        squares = (ahead.mean[member, :, :4] - targets) ** 2 / log_variance.exp()
        ends = torch.nn.functional.softplus(ahead.ends[member, :, 0])  # no episode ended
        weights = log_variance.detach().exp().sqrt()
        loss = loss + (weights * (squares + log_variance)).mean() + ends.mean()
    assert not over.any()
    bounds = network.dynamics.bounds
    (loss + 0.01 * (bounds[0, :4] - bounds[1, :4]).sum()).backward()
    for own, parameter in zip(mine, network.dynamics.parameters(), strict=True):
        torch.testing.assert_close(own, parameter.grad, rtol=1e-3, atol=1e-5)


def test_a_linear_world_is_foreseen_by_the_linear_model(code: Code) -> None:
    foresight, played = sys.modules["runtime.foresight"], sys.modules["runtime.episodes"].Played
    draw = np.random.default_rng(0)

    def walked(steps: int) -> Any:
        seen, actions = [draw.normal(size=2)], draw.normal(size=(steps, 1))
        for action in actions:
            seen.append(seen[-1] @ np.array([[0.9, 0.1], [-0.2, 0.8]]) + action)
        whole = np.array(seen)
        return played(
            returns=np.zeros(1),
            lengths=np.array([steps]),
            seen=whole[:-1],
            actions=actions,
            rewards=np.zeros(steps),
            ends=whole[-1:],
            over=np.zeros(1, dtype=bool),
        )

    test = walked(50)
    changes = np.concatenate((test.seen[1:], test.ends)) - test.seen
    row = foresight.model_error(test, walked(60), lambda s, a: changes + 0.25, lambda seen: seen)
    assert row["value"] == pytest.approx(0.25)
    assert row["baselines"]["no change"] == pytest.approx(np.abs(changes).mean())
    assert row["baselines"]["linear model"] == pytest.approx(0, abs=1e-9)


def test_starts_that_environments_cannot_share_are_refused(
    code: Code, capsys: pytest.CaptureFixture[str]
) -> None:
    opened, model = sys.modules["runtime.environments"].opened, code["model"].Config()
    config = code["train"].Config(rollout_starts=7)
    with pytest.raises(SystemExit):
        code["train"].Agent(config, opened("Pendulum-v1", model), model, [])
    assert "rollout_starts must be a multiple of n_envs" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.ci
def test_it_trains_resumes_scores_and_plays(run: Run, tmp_path: Path) -> None:
    agents.trains_and_resumes(run, tmp_path, 12, 4)
    report = json.loads(run("eval", out="one"))
    names = [row["metric"] for row in report["metrics"]]
    assert names == ["episode_return", "td_error", "model_error"]
    assert {*report["metrics"][2]["baselines"]} == {"no change", "linear model"}
    line = json.loads(run("infer", out="one"))
    assert line["steps"] == 60  # The settings of infer.py stop it there.


@pytest.mark.slow
@pytest.mark.ci
def test_the_proxy_beats_what_acts_without_looking_and_a_linear_model(tmp_path: Path) -> None:
    for name in ("random actions", "the same action", "no change", "linear model"):
        beats_its_baselines(SPEC, tmp_path, "evaluation.seeds=1", only=name)
