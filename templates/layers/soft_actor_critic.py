"""The networks of the soft actor-critic: a policy over quantities, and two critics of what it does.

Those of Haarnoja et al. (2019, arXiv:1812.05905): an MLP gives the mean and the deviation of a
Gaussian, which tanh squashes into the range of actions; two more MLPs give the return that they
expect after an action, less what the policy's lack of entropy costs. The lower one counts.

Shapes in comments: B observations, A quantities of an action.
"""

import itertools
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers.observations import Normalizer

LEAST = -5.0  # logarithm of the least deviation of a policy, and of the most
MOST = 2.0


class Network(nn.Module):
    """Hidden layers with rectifiers, and a linear layer behind them."""

    def __init__(self, inputs: int, width: int, depth: int, outputs: int) -> None:
        super().__init__()
        sizes = (inputs, *[width] * depth, outputs)
        self.linear = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))

    def forward(self, x: Tensor, frozen: bool = False) -> Tensor:
        """Map (B, inputs) to (B, outputs); if `frozen`, no weight gets a gradient."""
        for layer in self.linear:
            x = x if layer is self.linear[0] else F.relu(x)
            x = F.linear(x, *(p.detach() for p in layer.parameters())) if frozen else layer(x)
        return x


class Output(NamedTuple):
    """What the network gives for observations.

    Attributes:
        policy: Means and raw deviations of the Gaussian, (B, 2A).
        values: What each critic expects of the actions, (B, 2).
        log_temperature: Logarithm of what a unit of entropy is worth in reward, (1,).
    """

    policy: Tensor
    values: Tensor
    log_temperature: Tensor


class SoftActorCritic(nn.Module):
    """The policy, its two critics, and the temperature, behind a normalizer."""

    def __init__(self, obs_dim: int, n_actions: int, width: int, depth: int) -> None:
        super().__init__()
        self.n_actions = n_actions
        self.features = Normalizer(obs_dim)
        # The first network is the policy's; two critics follow.
        self.layers = nn.ModuleList(
            [
                Network(obs_dim, width, depth, 2 * n_actions),
                *(Network(obs_dim + n_actions, width, depth, 1) for _ in range(2)),
            ]
        )
        self.log_temperature = nn.Parameter(torch.zeros(1))

    def beside(self, x: Tensor, actions: Tensor) -> Tensor:
        """Return features (..., obs_dim) with the actions behind them, (..., obs_dim + A)."""
        missing = self.n_actions - actions.size(-1)
        return torch.cat((x, F.pad(actions, (0, missing)).to(x.dtype)), -1)

    def forward(
        self, observations: Tensor, actions: Tensor | None = None, frozen: bool = False
    ) -> Output:
        """Return the policy, and what the critics expect of actions.

        Args:
            observations: (B, obs_dim).
            actions: From -1 to 1, (B, A) or fewer, whose rest is 0; None: the policy's best.
            frozen: Whether the critics' weights get no gradient, so that only actions do.
        """
        x = self.features(observations)
        policy = self.layers[0](x)
        if actions is None:
            actions = Policy(policy, self.n_actions).best()
        judged = self.beside(x, actions)
        values = torch.cat([critic(judged, frozen) for critic in self.layers[1:]], 1)
        return Output(policy, values, self.log_temperature)

    def num_params(self) -> int:
        """Return the number of weights and biases, and the temperature."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a tensor in a checkpoint: its own."""
        return name


class Policy:
    """How likely each action is, by the network's output.

    Attributes:
        mean: Of the Gaussian before it is squashed, (B, A).
        log_std: Logarithm of its deviations, (B, A).
    """

    def __init__(self, output: Tensor, actions: int) -> None:
        """Take the policy (B, 2A) of the network, and how many quantities an environment has."""
        self.mean, raw = output.float().view(len(output), 2, -1)[..., :actions].unbind(1)
        self.log_std = LEAST + (MOST - LEAST) * (raw.tanh() + 1) / 2

    def best(self) -> Tensor:
        """Return the actions without noise."""
        return self.mean.tanh()

    def sample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return actions (B, A) that are drawn with normal noise (B, A), and log pi(a | s), (B,).

        Squashing divides a likelihood by its slope 1 - tanh(u)^2 (appendix C of the paper), whose
        logarithm is 2 (log 2 - u - softplus(-2u)): in this form it is finite for any u.
        """
        u = self.mean + self.log_std.exp() * noise
        likely = -0.5 * (noise**2 + math.log(2 * math.pi)) - self.log_std
        slope = 2 * (math.log(2) - u - F.softplus(-2 * u))
        return u.tanh(), (likely - slope).sum(1)
