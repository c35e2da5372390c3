"""Agents that learn what return follows each choice: deep Q-learning from a replay memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metagen.errors import Problem, SpecError
from metagen.tasks.control import NUMBERS, TARGETS, UNITS, ScreenControl
from metagen.tasks.schedule import Habits
from metagen.tasks.task import Benchmark, Dims, Lookup, Section, Value

CHOICES = 18  # what an Atari console's joystick and its button can do
HABITS = Habits(
    batch=32,
    rate=1e-4,
    decay=0.0,
    source="as in cleanrl's dqn_atari.py, which follows Mnih et al., 2015",
    units=UNITS,
    data=10_000_000,
    epochs=8,
    samples_at_once=4096,
    at_once="4,096 samples",
    final_lr_share=1.0,
)


class ValueBased(ScreenControl):
    """The expected return of each choice, by what is observed."""

    name = "value_based"
    continuous = False
    more_passes = TARGETS
    metrics = ("episode_return", "td_error")
    switches = (("a target network of the last update", "train.target_every", 1),)
    benchmark = Benchmark(
        "balancing a pole", {"quick": 2400, "full": 8000}, ("gymnasium",), sheets=("cartpole",)
    )
    words = {**ScreenControl.words, "loss_unit": "error of the return, in reward"}
    defaults = {**NUMBERS, "n_actions": CHOICES}
    default_reasons = {
        **ScreenControl.default_reasons,
        "n_actions": f"no task.num_actions is declared: {CHOICES}, and an environment may have "
        "fewer",
    }

    def acts(self, key: Lookup, frames: bool) -> dict[str, Value]:
        """Return nothing: all actions are choices.

        Raises:
            SpecError: The spec declares quantities.
        """
        if key("task.action_space") == "continuous" or key("task.action_dim"):
            sentence = (
                "a deep Q-network has a value for each choice, and quantities have no choices"
            )
            hint = "declare task.type: policy_gradient, or task.action_space: discrete"
            raise SpecError([Problem(sentence, "task.action_space", hint)])
        return {}

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return HABITS

    def proxy_habits(self, m: Dims) -> Habits:
        return replace(HABITS, batch=64, rate=1e-3, final_lr_share=0.0)

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        _, envs, epochs = self.updates(m, key, reduced=reduced)
        return {
            "grad_clip": 10.0,
            **({"eval_every": 200, "save_every": 1000} if reduced else {}),
            "n_envs": envs,
            "replay_size": 50_000 if reduced else 1_000_000,
            "first_random": 1_000 if reduced else 80_000,
            "replay_ratio": epochs,
            "discount": 0.99,
            "target_every": 100 if reduced else 250,
            "first_exploration": 1.0,
            "last_exploration": 0.05 if reduced else 0.01,
            "exploration_share": 0.3 if reduced else 0.1,
        }

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {**super().eval(m, key, reduced=reduced), "discount": 0.99, "batch_size": 1024}

    def more_reasons(self, full: Any, key: Lookup) -> dict[str, str]:
        names = (
            *("replay_size", "first_random", "target_every", "discount"),
            *("first_exploration", "last_exploration", "exploration_share"),
        )
        epochs = "training.config.epochs" if key("training.config.epochs") else HABITS.source
        return {
            **{f"train.{name}": HABITS.source for name in names},
            "train.replay_ratio": epochs,
            "train.n_envs": "processes share them, and each gives as many samples of an update",
        }
