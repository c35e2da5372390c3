"""PPO's training: advantages, the clipped loss, shares of an update, and whole runs of agents."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import agents
from helpers.agent_settings import PPO_SIZES, SCREEN
from helpers.agents import Code, Run
from helpers.family_code import beats_its_baselines
from PIL import Image

from metagen import paths
from metagen.families.ppo import FAMILY as ppo

SPEC = paths.specs() / "control" / "rl_agent_ppo.yaml"


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Code]:
    with agents.code_of(ppo, PPO_SIZES, tmp_path_factory) as modules:
        yield modules


@pytest.fixture
def run(
    code: Code, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    return agents.runner(code, monkeypatch, capsys, tmp_path, "--threads", 1)


def test_advantages_are_sums_of_discounted_errors(code: Code) -> None:
    draw = np.random.default_rng(0)
    rewards, values = draw.normal(size=(9, 2)), draw.normal(size=(10, 2))
    ends = (draw.random((9, 2)) < 0.3).astype(float)
    discount, share = 0.9, 0.7
    expected = np.zeros_like(rewards)
    for t in range(9):
        for n in range(2):
            weight = 1.0
            for k in range(t, 9):  # the definition, term by term, until the episode ends
                later = 0.0 if ends[k, n] else values[k + 1, n]
                expected[t, n] += weight * (rewards[k, n] + discount * later - values[k, n])
                weight *= discount * share
                if ends[k, n]:
                    break
    tensors = (torch.from_numpy(each) for each in (rewards, values, ends))
    ours = code["train"].advantages_of(*tensors, discount, share)
    torch.testing.assert_close(ours, torch.from_numpy(expected))


def test_the_loss_is_that_of_the_paper_sample_by_sample(code: Code) -> None:
    config = code["train"].Config(clip=0.2, value_weight=0.5, entropy_weight=0.01)
    torch.manual_seed(0)
    output, values, actions = torch.randn(50, 6), torch.randn(50), torch.randn(50, 3)
    policy = code["model"].Policy(output, True, 3)
    old, old_values, advantages, returns = (torch.randn(50) for _ in range(4))
    old = policy.log_prob(actions) + old / 3
    batch = (torch.zeros(50), actions, old, old_values, advantages, returns)
    ours = code["train"].clipped_loss(config, policy, values, batch)
    for i in range(50):
        ratio = float((policy.log_prob(actions)[i] - old[i]).exp())
        within = min(max(ratio, 0.8), 1.2)
        gain = min(ratio * float(advantages[i]), within * float(advantages[i]))
        step = min(max(float(values[i] - old_values[i]), -0.2), 0.2)
        near = float(old_values[i]) + step
        error = max(float(values[i] - returns[i]) ** 2, (near - float(returns[i])) ** 2)
        expected = -gain + 0.25 * error - 0.01 * float(policy.entropy()[i])
        assert float(ours[i]) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("samples", "envs"), [(8, 4), (4, 4), (2, 8), (12, 4)])
def test_an_epoch_takes_each_step_once_and_each_process_its_own(
    code: Code, samples: int, envs: int
) -> None:
    share, steps = sys.modules["runtime.acting"].share_of(samples, envs), 12
    taken = []
    for part in range(steps * envs // samples):
        numbers, turns = share.places(part, torch.arange(samples))
        taken += [*zip(numbers.tolist(), turns.tolist(), strict=True)]
        # Of two processes, the first has the first half of the samples and of the environments.
        assert (numbers[: samples // 2] < envs // 2).all()
        assert (numbers[samples // 2 :] >= envs // 2).all()
    assert sorted(taken) == [(env, step) for env in range(envs) for step in range(steps)]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Pendulam-v1", "cannot make Pendulam-v1"),
        ("CartPole-v1", "takes actions of the kind Discrete, and this network gives quantities"),
        ("LunarLander-v3", "needs a package that is not installed"),
        ("no_such_package:X-v0", "needs a package that is not installed"),
        (SCREEN, "shows frames of (80, 72, 3), and this network reads numbers"),
        ("Blackjack-v1", "has observations of the kind Tuple, and not Box"),
    ],
)
def test_an_environment_that_does_not_fit_ends_in_a_sentence(
    name: str, sentence: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("train", "--data", name)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_what_is_no_id_is_refused_before_anything_is_imported(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("../x", "a b", "os;x:Y-v0", ""):
        with pytest.raises(SystemExit):
            run("train", "--data", text)
        assert "is no id, as CartPole-v1 is one" in capsys.readouterr().err


def test_data_py_says_what_it_understood(
    code: Code, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["data.py", "--data", "MountainCarContinuous-v0"])
    code["data"].main()
    out = capsys.readouterr().out
    assert "observations (2,), read as (5,), with zeros behind" in out
    assert "actions: 1 quantities, of 3 that the network gives" in out
    assert "cut off after 999 steps" in out
    seeds = code["data"].splits_of(code["data"].Config())
    assert not set(seeds["val"]) & {*seeds["train"], *seeds["test"]}


@pytest.mark.slow
@pytest.mark.ci
def test_it_trains_resumes_scores_and_plays(run: Run, tmp_path: Path) -> None:
    agents.trains_and_resumes(run, tmp_path, 20, 10)
    kept = [json.loads(line) for line in (tmp_path / "one" / "metrics.jsonl").open()]
    assert [row["step"] for row in kept if "val_return" in row] == [10, 20]
    state = json.loads((tmp_path / "one" / "checkpoint" / "state.json").read_text())
    assert len(state["validations"]) == 2
    report = json.loads(run("eval", out="one"))
    returned = report["metrics"][0]
    assert {*returned["baselines"]} == {"random actions", "the same action", "energy rule"}
    assert returned["interval"][0] <= returned["value"] <= returned["interval"][1]
    assert report["figure"]["series"][0]["x"] == [pair[0] for pair in state["validations"]]
    line = json.loads(run("infer", "--output", tmp_path / "episode.png", out="one"))
    assert line["steps"] == 60  # The settings of infer.py stop it there.
    assert Image.open(line["output"]).size[0] == 900


def test_validations_that_a_stranger_wrote_are_refused(
    code: Code, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = sys.modules["runtime.returns"].picture
    assert picture(tmp_path, {"baselines": {}}) is None
    for wrong in ({"a": 1}, [[1, "x"]], [[1]], 3, [[1, True]], "[[1, 2]]"):
        (tmp_path / "state.json").write_text(json.dumps({"validations": wrong}))
        with pytest.raises(SystemExit):
            picture(tmp_path, {"baselines": {}})
        assert "validations are no pairs of numbers" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.ci
def test_the_proxy_beats_what_acts_without_looking(tmp_path: Path) -> None:
    for name in ("random actions", "the same action"):
        beats_its_baselines(SPEC, tmp_path, "evaluation.seeds=1", only=name)
