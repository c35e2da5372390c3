"""Actor and critics of the soft actor-critic (Haarnoja et al., 2019, arXiv:1812.05905)."""

from __future__ import annotations

from collections.abc import Iterable

from metagen.families.agents import Agent, normalizer, perceptron
from metagen.families.family import Dims, Peak, Value
from metagen.families.parts import Part
from metagen.tasks.actor_critic import ActorCritic


class SAC(Agent):
    """A policy with a deviation for each observation, and two critics of its actions."""

    name = "sac"
    kind = "soft actor-critic for reinforcement learning"
    task = ActorCritic()
    components = (
        "mlp actor critic critics twin_critics actor_critic policy policy_network gaussian_policy "
        "q_network value_network replay_buffer target_network temperature"
    )
    proxy_dims = {"n_layers": 2, "d_hidden": 64}

    def parts(self, m: Dims) -> list[Part]:
        """Return the policy's network, the two critics', and the temperature."""
        seen, actions = int(m["obs_dim"]), int(m["n_actions"])
        policy = perceptron(seen, m, 2 * actions)
        critics = [part * 2 for part in perceptron(seen + actions, m, 1)]
        return [normalizer(m), *policy, *critics, Part(others=1)]

    def peaks(self, m: Dims) -> list[Peak]:
        """Return a hidden layer of a critic, beside what it reads and the policy."""
        seen, actions, width = (int(m[n]) for n in ("obs_dim", "n_actions", "d_hidden"))
        read = 2 * seen + 4 * actions
        words = f"{read:,} numbers that are read, and 2 x {width:,} hidden units"
        return [Peak(read + 2 * width, words)]

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (
            ("half the hidden units", "d_hidden", max(1, m["d_hidden"] // 2)),
            ("twice the hidden units", "d_hidden", 2 * m["d_hidden"]),
            ("one hidden layer more", "n_layers", m["n_layers"] + 1),
        )


FAMILY = SAC()
