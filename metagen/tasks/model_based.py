"""Agents that learn what their environment does, and act by what they make up: MBPO."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metagen.tasks import actor_critic
from metagen.tasks.actor_critic import ActorCritic
from metagen.tasks.control import TARGETS
from metagen.tasks.schedule import Habits
from metagen.tasks.task import Benchmark, Dims, Lookup, Section

SOURCE = "as in the code of the paper's authors, jannerm/mbpo"
HABITS = replace(
    actor_critic.HABITS,
    source=SOURCE,
    data=125_000,  # steps of Hopper in figure 2 of the paper
    epochs=20 * 256,  # updates for each step, and samples of an update
)


class ModelBased(ActorCritic):
    """A policy over quantities, what critics expect of each action, and what follows it."""

    name = "model_based"
    metrics = ("episode_return", "td_error", "model_error")
    method = "model-based policy optimization"
    more_passes = f"{TARGETS} and those of the ensemble"
    switches = (("only steps that were taken", "train.real_share", 1.0),)
    benchmark = Benchmark(
        "swinging up a pendulum",
        {"quick": 5000, "full": 12_000},
        ("gymnasium",),
        sheets=("pendulum",),
    )
    words = {
        **ActorCritic.words,
        "loss_unit": "loss of the critics, the policy, the temperature and the ensemble",
    }

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return HABITS

    def proxy_habits(self, m: Dims) -> Habits:
        return replace(HABITS, batch=128, epochs=256, rate=1e-3)

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            **super().train(m, key, reduced=reduced),
            "first_random": 500 if reduced else 5_000,
            "target_share": 0.04 if reduced else 0.005,
            "dynamics_rate": 1.0 if reduced else 3.33,
            "rollout_from": 500 if reduced else 5_000,
            "rollout_every": 100 if reduced else 5_000,
            "rollout_starts": 1_000 if reduced else 100_000,
            "rollout_length": 1,
            "rollouts_kept": 2 if reduced else 4,
            "real_share": 0.5 if reduced else 0.05,
            "least_entropy": -1.0 if reduced else -0.5,
        }

    def more_reasons(self, full: Any, key: Lookup) -> dict[str, str]:
        names = ("first_random", "real_share", "rollout_starts", "rollouts_kept", "target_share")
        return {
            **super().more_reasons(full, key),
            **{f"train.{name}": SOURCE for name in names},
            "train.dynamics_rate": f"{SOURCE}, where it is 0.001 beside 0.0003",
            "train.least_entropy": f"{SOURCE}, for HalfCheetah, Walker2d and Ant",
            "train.rollout_from": "250 steps of 20 updates, the first of the renewals",
            "train.rollout_every": "250 steps of 20 updates, as for most environments of the paper",
            "train.rollout_length": "as the paper has for HalfCheetah and Walker2d",
            "train.replay_ratio": "training.config.epochs"
            if key("training.config.epochs")
            else "20 updates for each step, as for most environments of the paper",
        }
