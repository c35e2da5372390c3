"""Actor and critic of proximal policy optimization (Schulman et al., 2017, arXiv:1707.06347)."""

from __future__ import annotations

from collections.abc import Iterable

from metagen.families import parts
from metagen.families.agents import ScreenAgent
from metagen.families.family import Dims, Value
from metagen.families.parts import Part
from metagen.tasks.policy_gradient import PolicyGradient


class PPO(ScreenAgent):
    """A policy and a value: of numbers two MLPs, of frames one network with two heads."""

    name = "ppo"
    kind = "actor and critic for reinforcement learning"
    task = PolicyGradient()
    components = (
        "mlp actor critic actor_critic policy value policy_network value_network policy_head "
        "value_head cnn convolutional_backbone backbone encoder"
    )
    proxy_dims = {"d_conv": 0, "n_layers": 2, "d_hidden": 64}

    def networks(self, m: Dims) -> int:
        return 2 if m["obs_dim"] else 1

    def heads(self, m: Dims) -> list[Part]:
        """Return the layers of the policy and of the value, and the deviations of quantities."""
        width, actions = int(m["d_hidden"]), int(m["n_actions"])
        deviations = Part(others=actions if m["continuous"] else 0)
        return [parts.linear(width, actions), parts.linear(width, 1), deviations]

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (
            ("half the hidden units", "d_hidden", max(1, m["d_hidden"] // 2)),
            ("twice the hidden units", "d_hidden", 2 * m["d_hidden"]),
            ("one hidden layer less", "n_layers", max(1, m["n_layers"] - 1)),
            ("one hidden layer more", "n_layers", m["n_layers"] + 1),
        )


FAMILY = PPO()
