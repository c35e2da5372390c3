"""Policies that learn by the gradient of their return: proximal policy optimization."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metagen.tasks.control import ACTIONS, NUMBERS, UNITS, ScreenControl
from metagen.tasks.schedule import Habits
from metagen.tasks.task import Benchmark, Dims, Lookup, Section, Value

ROLLOUT = 2048  # transitions between two changes of the policy, at least
OF_NUMBERS = Habits(
    batch=64,
    rate=3e-4,
    decay=0.0,
    source="as in the paper's table of MuJoCo, arXiv:1707.06347, appendix A",
    units=UNITS,
    data=1_000_000,
    epochs=10,
    samples_at_once=4096,
    at_once="4,096 samples",
    final_lr_share=0.0,
)
OF_FRAMES = replace(
    OF_NUMBERS,
    batch=256,
    rate=2.5e-4,
    source="as in the paper's table of Atari, arXiv:1707.06347, appendix A",
    data=10_000_000,
    epochs=3,
)


class PolicyGradient(ScreenControl):
    """A policy over actions, and the value of what is observed."""

    name = "policy_gradient"
    continuous = True
    metrics = ("episode_return", "entropy")
    switches = (
        ("one pass over a rollout", "train.n_epochs", 1),
        ("advantages from whole returns", "train.gae_lambda", 1.0),
    )
    benchmark = Benchmark(
        "swinging up a pendulum",
        {"quick": 2400, "full": 8000},
        ("gymnasium",),
        sheets=("pendulum",),
    )
    words = {**ScreenControl.words, "loss_unit": "loss of the policy and the critic"}
    defaults = {**NUMBERS, "n_actions": ACTIONS, "continuous": True}
    default_reasons = {
        **ScreenControl.default_reasons,
        "continuous": "no task.action_space is declared: quantities",
    }

    def acts(self, key: Lookup, frames: bool) -> dict[str, Value]:
        """Return whether actions are quantities: as declared, or as their number is named."""
        space = key("task.action_space")
        if space:
            return {"continuous": space == "continuous"}
        choices = key("task.num_actions") or (frames and not key("task.action_dim"))
        return {"continuous": False} if choices else {}

    def dim_reasons(self, fixed: Dims) -> dict[str, str]:
        reasons = super().dim_reasons(fixed)
        if "continuous" in fixed:
            reasons["continuous"] = "task.action_space, or the number of actions that is declared"
        if "n_actions" in fixed and fixed.get("continuous", True):
            reasons["n_actions"] = "task.action_dim"
        return reasons

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return OF_NUMBERS if m.get("obs_dim", 1) else OF_FRAMES

    def proxy_habits(self, m: Dims) -> Habits:
        return replace(OF_NUMBERS, batch=256, rate=1e-3, final_lr_share=0.2)

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        samples, envs, epochs = self.updates(m, key, reduced=reduced)
        frames = not m["obs_dim"] and not reduced
        share = samples // envs
        often = {"eval_every": 200, "save_every": 1000} if reduced else {}
        return {
            "grad_clip": 0.5,
            **often,
            "n_envs": 32 if reduced else envs,
            "rollout_steps": 32 if reduced else share * -(-ROLLOUT // samples),
            "n_epochs": epochs,
            "discount": 0.9 if reduced and m["continuous"] else 0.99,
            "gae_lambda": 0.95,
            "clip": 0.1 if frames else 0.2,
            "value_weight": 0.5,
            "entropy_weight": 0.01 if frames else 0.0,
        }

    def more_reasons(self, full: Any, key: Lookup) -> dict[str, str]:
        source = self.habits(full["model"], 1, key).source
        names = ("clip", "gae_lambda", "discount", "entropy_weight")
        epochs = "training.config.epochs" if key("training.config.epochs") else source
        return {
            **{f"train.{name}": source for name in names},
            "train.n_epochs": epochs,
            "train.n_envs": "processes share them, and each gives as many samples of an update",
            "train.rollout_steps": f"{ROLLOUT:,} transitions in all environments, at least",
        }
