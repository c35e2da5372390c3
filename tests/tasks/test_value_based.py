"""Deep Q-learning: targets, the replay memory, agents of frames, resumed runs, and a whole run."""

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
from helpers.agent_settings import DQN_SIZES, FRAMES, RESTLESS, SCREEN
from helpers.agents import Code, Run
from helpers.family_code import beats_its_baselines
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from metagen import paths
from metagen.families.dqn import FAMILY as dqn

SPEC = paths.specs() / "control" / "rl_agent_dqn.yaml"
OF_FRAMES = {**FRAMES, "d_conv": 2, "n_layers": 1, "d_hidden": 8, "dueling": True}


@pytest.fixture(scope="module", params=["numbers", "frames"])
def code(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Code]:
    sizes = {**DQN_SIZES, **({"model": OF_FRAMES} if request.param == "frames" else {})}
    with agents.code_of(dqn, sizes, tmp_path_factory) as modules:
        yield modules


@pytest.fixture
def environment(code: Code) -> str:
    return "CartPole-v1" if code["model"].Config().obs_dim else SCREEN


@pytest.fixture
def run(
    code: Code,
    environment: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Run:
    started = agents.runner(code, monkeypatch, capsys, tmp_path, "--threads", 1)

    def there(name: str, *options: object, out: str = "out", data: str = environment) -> str:
        return started(name, "--data", data, *options, out=out)

    return there


def test_the_operations_of_an_update_are_those_of_three_passes_and_of_one_back(code: Code) -> None:
    flops, config = sys.modules["runtime.flops"], code["model"].Config()
    with torch.device("meta"):
        model, data = code["model"].Model(config), code["data"].Config()
        observed = sys.modules["runtime.environments"].blank(config, 3)
        trained = flops.training_flops(lambda: model(observed).sum())
        with FlopCounterMode(display=False) as passed:
            model(observed)
        counted = flops.training_flops(lambda: code["train"].example_loss(model, 3, data))
    assert counted == trained + 2 * passed.get_total_flops()


def test_the_network_chooses_what_its_copy_values(code: Code) -> None:
    torch.manual_seed(0)
    rewards, over = torch.randn(20), (torch.rand(20) < 0.4).float()
    online, target = torch.randn(20, 3), torch.randn(20, 3)
    ours = code["train"].double_targets(rewards, over, online, target, 0.9)
    for i in range(20):
        best = max(range(3), key=lambda a: float(online[i, a]))
        later = 0.0 if over[i] else 0.9 * float(target[i, best])
        assert float(ours[i]) == pytest.approx(float(rewards[i]) + later, abs=1e-6)


def test_the_memory_gives_what_happened_and_nothing_across_episodes(
    code: Code, environment: str
) -> None:
    names = ("environments", "episodes", "replay")
    environments, episodes, replay = (sys.modules[f"runtime.{name}"] for name in names)
    world = environments.opened(environment, code["model"].Config())
    worlds = episodes.Worlds(world, 2, 0)
    memory = replay.Replay(world, 2, 23)
    draw, happened = np.random.default_rng(0), [set(), set()]
    for step in range(60):
        before, actions = worlds.now.copy(), draw.integers(0, world.actions, 2)
        seen = worlds.step(actions)
        memory.add(before, actions, seen)
        for env in range(2):
            row = (before[env], actions[env], seen.rewards[env], seen.last[env])
            over = float(seen.over[env])
            happened[env].add((*(np.asarray(each).tobytes() for each in row), over))
        envs = draw.integers(0, 2, 40) if step else np.array([0])
        if step:
            columns = memory.sample(envs, draw.random(40))
            for i, env in enumerate(envs):
                observed, action, reward, later, over = (each[i].numpy() for each in columns)
                kept = (each.tobytes() for each in (observed, action, reward, later))
                assert (*kept, float(over)) in happened[env], step


def test_an_episode_that_is_cut_off_is_not_over(code: Code) -> None:
    played = sys.modules["runtime.episodes"].Played(
        returns=np.zeros(2),
        lengths=np.array([2, 3]),
        seen=np.arange(5.0)[:, None],
        actions=np.zeros(5, dtype=np.int64),
        rewards=np.ones(5, dtype=np.float32),
        ends=np.array([[10.0], [20.0]]),
        over=np.array([True, False]),
    )
    *_, later, over = sys.modules["runtime.off_policy"].transitions_of(played)
    assert later[:, 0].tolist() == [1, 10, 3, 4, 20]
    assert over.tolist() == [0, 1, 0, 0, 0]


@pytest.mark.slow
@pytest.mark.ci
def test_it_trains_resumes_scores_and_plays(run: Run, environment: str, tmp_path: Path) -> None:
    agents.trains_and_resumes(run, tmp_path, 12, 4)
    report = json.loads(run("eval", out="one"))
    assert [row["metric"] for row in report["metrics"]] == ["episode_return", "td_error"]
    assert ("lean rule" in report["metrics"][0]["baselines"]) == (environment == "CartPole-v1")
    line = json.loads(run("infer", "--output", tmp_path / "episode.png", out="one"))
    assert line["environment"] == environment
    wide, _ = Image.open(line["output"]).size
    assert wide == (900 if environment == "CartPole-v1" else 36 * min(12, line["steps"]))


def test_a_checkpoint_of_another_environment_is_not_resumed(
    run: Run, environment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if environment == SCREEN:
        return
    run("train", "--steps", 1, "--schedule-steps", 4)
    with pytest.raises(SystemExit):
        run("train", "--steps", 2, "--schedule-steps", 4, "--resume", data="CartPole-v0")
    assert "sha256" in capsys.readouterr().err


def test_an_environment_that_does_not_repeat_itself_is_not_resumed(
    run: Run, environment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if environment != SCREEN:
        return
    run("train", "--steps", 3, "--schedule-steps", 9, data=RESTLESS)
    with pytest.raises(SystemExit):
        run("train", "--steps", 9, "--resume", data=RESTLESS)
    assert "does not repeat an episode from its seed and actions" in capsys.readouterr().err


def test_what_draws_itself_becomes_an_animation(run: Run, environment: str, tmp_path: Path) -> None:
    if environment != SCREEN:
        return  # CartPole needs pygame to draw itself
    run("train", "--steps", 1)
    line = json.loads(run("infer", "--output", tmp_path / "episode.gif"))
    picture: Any = Image.open(line["output"])
    assert (picture.size, picture.n_frames) == ((72, 80), line["steps"])


@pytest.mark.slow
@pytest.mark.ci
def test_the_proxy_beats_what_acts_without_looking(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path, "evaluation.seeds=1", only="random actions")
