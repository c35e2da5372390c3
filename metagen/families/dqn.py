"""The deep Q-network (Mnih et al., 2015, Nature 518:529) with a dueling head (arXiv:1511.06581)."""

from __future__ import annotations

from collections.abc import Iterable

from metagen.families import parts
from metagen.families.agents import ScreenAgent
from metagen.families.family import Dims, Value
from metagen.families.parts import Part
from metagen.tasks.value_based import ValueBased


class DQN(ScreenAgent):
    """A stream for the advantages of all choices, and one for the value of what is observed."""

    name = "dqn"
    kind = "deep Q-network for reinforcement learning"
    task = ValueBased()
    components = (
        "cnn convolutional_backbone backbone encoder q_network dueling dueling_head q_head "
        "value_stream advantage_stream value_head mlp replay_buffer target_network"
    )
    constants = {"dueling": (True, "as in arXiv:1511.06581, section 3")}
    proxy_dims = {"d_conv": 0, "n_layers": 2, "d_hidden": 64}

    def networks(self, m: Dims) -> int:
        return 2 if m["dueling"] else 1

    def heads(self, m: Dims) -> list[Part]:
        """Return the layer of the advantages, and that of the value where it has a stream."""
        value = [parts.linear(m["d_hidden"], 1)] if m["dueling"] else []
        return [parts.linear(m["d_hidden"], m["n_actions"]), *value]

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (
            ("no stream for the value", "dueling", False),
            ("half the hidden units", "d_hidden", max(1, m["d_hidden"] // 2)),
            ("one hidden layer more", "n_layers", m["n_layers"] + 1),
        )


FAMILY = DQN()
