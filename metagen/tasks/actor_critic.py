"""Policies that learn from critics and from all that was seen: the soft actor-critic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metagen.tasks.control import TARGETS, UNITS, QuantityControl
from metagen.tasks.schedule import Habits
from metagen.tasks.task import Benchmark, Dims, Lookup, Section

SOURCE = "as in the paper's table, arXiv:1812.05905, appendix D"
UNCLIPPED = 1e9  # a norm that no gradient reaches
HABITS = Habits(
    batch=256,
    rate=3e-4,
    decay=0.0,
    source=SOURCE,
    units=UNITS,
    data=1_000_000,
    epochs=256,
    samples_at_once=4096,
    at_once="4,096 samples",
    final_lr_share=1.0,
)


class ActorCritic(QuantityControl):
    """A policy over quantities, and what two critics expect of each action."""

    name = "actor_critic"
    metrics: tuple[str, ...] = ("episode_return", "td_error")
    method = "the soft actor-critic"
    more_passes = TARGETS
    benchmark = Benchmark(
        "swinging up a pendulum",
        {"quick": 4000, "full": 12_000},
        ("gymnasium",),
        sheets=("pendulum",),
    )
    words = {
        **QuantityControl.words,
        "loss_unit": "loss of the critics, the policy and the temperature",
    }

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return HABITS

    def proxy_habits(self, m: Dims) -> Habits:
        return replace(HABITS, batch=128, epochs=128, rate=1e-3)

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        _, envs, epochs = self.updates(m, key, reduced=reduced)
        return {
            "grad_clip": UNCLIPPED,
            **({"eval_every": 500, "save_every": 2000} if reduced else {}),
            "n_envs": envs,
            "replay_size": 50_000 if reduced else 1_000_000,
            "first_random": 500 if reduced else 10_000,
            "replay_ratio": epochs,
            "discount": 0.99,
            "target_share": 0.01 if reduced else 0.005,
        }

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {**super().eval(m, key, reduced=reduced), "discount": 0.99, "batch_size": 1024}

    def more_reasons(self, full: Any, key: Lookup) -> dict[str, str]:
        epochs = "training.config.epochs" if key("training.config.epochs") else ""
        names = ("replay_size", "discount", "target_share")
        return {
            **{f"train.{name}": SOURCE for name in names},
            "train.first_random": "as for most environments of stable-baselines3's zoo",
            "train.grad_clip": "no gradient is clipped, as in the paper",
            "train.replay_ratio": epochs or "one update for each transition, as in the paper",
            "train.n_envs": "processes share them, and each gives as many samples of an update",
        }
