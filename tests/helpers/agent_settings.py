"""Agents at a tiny size, and an environment of frames that tests register."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from helpers.family_code import TRAIN

NO_FRAMES = dict.fromkeys(("frame_height", "frame_width", "n_frames"), 0)
NUMBERS = {"obs_dim": 5, **NO_FRAMES, "n_actions": 3}
FRAMES = {"obs_dim": 0, "frame_height": 40, "frame_width": 36, "n_frames": 3, "n_actions": 4}
DATA = {"val_episodes": 2, "test_episodes": 12}
INFER = {"seed": 0, "most_steps": 60, "dtype": "float32"}
PPO = {
    "n_envs": 4,
    "rollout_steps": 16,
    "n_epochs": 2,
    "discount": 0.9,
    "gae_lambda": 0.8,
    "clip": 0.2,
    "value_weight": 0.5,
    "entropy_weight": 0.01,
}
DQN = {
    "n_envs": 4,
    "replay_size": 400,
    "first_random": 40,
    "replay_ratio": 2,
    "target_every": 3,
    "discount": 0.9,
    "first_exploration": 1.0,
    "last_exploration": 0.1,
    "exploration_share": 0.5,
}
SAC = {
    "n_envs": 4,
    "replay_size": 400,
    "first_random": 40,
    "replay_ratio": 8,
    "discount": 0.9,
    "target_share": 0.1,
}
MBPO = {
    **SAC,
    "dynamics_rate": 2.0,
    "rollout_from": 4,
    "rollout_every": 2,
    "rollout_starts": 8,
    "rollout_length": 2,
    "rollouts_kept": 2,
    "real_share": 0.25,
    "least_entropy": -0.5,
}
PPO_SIZES: dict[str, dict[str, Any]] = {
    "model": {**NUMBERS, "continuous": True, "d_conv": 0, "n_layers": 2, "d_hidden": 8},
    "data": DATA,
    "train": {**TRAIN, "batch_size": 8, **PPO},
    "eval": {"seed": 0},
    "infer": INFER,
}
DQN_SIZES: dict[str, dict[str, Any]] = {
    "model": {**NUMBERS, "d_conv": 0, "n_layers": 1, "d_hidden": 8, "dueling": True},
    "data": DATA,
    "train": {**TRAIN, "batch_size": 8, **DQN},
    "eval": {"seed": 0, "discount": 0.9, "batch_size": 50},
    "infer": INFER,
}


SAC_SIZES: dict[str, dict[str, Any]] = {
    "model": {"obs_dim": 5, "n_actions": 3, "n_layers": 2, "d_hidden": 8},
    "data": DATA,
    "train": {**TRAIN, "batch_size": 8, **SAC},
    "eval": {"seed": 0, "discount": 0.9, "batch_size": 50},
    "infer": INFER,
}

ENSEMBLE = {"n_networks": 3, "n_elites": 2, "dynamics_layers": 2, "d_dynamics": 6, "ends": True}
MBPO_SIZES: dict[str, dict[str, Any]] = {
    **SAC_SIZES,
    "model": {**SAC_SIZES["model"], **ENSEMBLE},
    "train": {**TRAIN, "batch_size": 8, **MBPO},
}


class Screen(gymnasium.Env[Any, Any]):
    """A light that moves over a screen; the reward is 1 where the choice is its quarter."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}

    def __init__(self, render_mode: str | None = None) -> None:
        self.observation_space = spaces.Box(0, 255, (80, 72, 3), np.uint8)
        self.action_space = spaces.Discrete(4)
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(80))
        return self.render(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = float(action == self.place // 20)
        self.place = (self.place + 1 + int(self.np_random.integers(3))) % 80
        return self.render(), reward, self.place % 13 == 0, False, {}

    def render(self) -> Any:
        frame = np.zeros((80, 72, 3), dtype=np.uint8)
        frame[self.place] = 255
        return frame


class Restless(Screen):
    """An environment that does not repeat an episode from its seed."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return super().reset(seed=None)


SCREEN, RESTLESS = "Screen-v0", "Restless-v0"


def register() -> None:
    """Register both environments, once."""
    for name, kind in ((SCREEN, Screen), (RESTLESS, Restless)):
        if name not in gymnasium.registry:
            gymnasium.register(name, kind, max_episode_steps=9)
