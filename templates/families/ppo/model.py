"""An actor and a critic: a policy over actions, and the value of what is observed.

The networks of proximal policy optimization (Schulman et al., 2017, arXiv:1707.06347). Numbers go
through an MLP for the policy and another for the value; frames of a screen go through convolutions
and a hidden layer that both share. Quantities have a Gaussian policy, whose deviations do not
depend on the observation; choices have logits.

Shapes in comments: B observations, A actions (choices, or quantities).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layers.observations import (
    Convolutions,
    Normalizer,
    convolved,
    hidden_layers,
    orthogonal,
)


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    obs_dim: int = 17  # numbers of an observation, at most; 0 for frames
    frame_height: int = 0  # pixels of a frame; 0 for numbers
    frame_width: int = 0  # pixels of a frame; 0 for numbers
    n_frames: int = 0  # frames that are observed at once; 0 for numbers
    n_actions: int = 6  # choices, or quantities, at most
    continuous: bool = True  # whether actions are quantities
    d_conv: int = 0  # channels of the first convolution, half of the others'; 0 for numbers
    n_layers: int = 2  # hidden layers
    d_hidden: int = 64  # units of a hidden layer


class Model(nn.Module):
    """The network; its tensors keep their own names, since transformers has no counterpart."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, actions = config.d_hidden, config.n_actions
        if config.obs_dim:
            self.features: nn.Module = Normalizer(config.obs_dim)
            inputs, networks = config.obs_dim, 2
        else:
            self.features = Convolutions(config.n_frames, config.d_conv)
            places = convolved(config.frame_height) * convolved(config.frame_width)
            inputs, networks = 2 * config.d_conv * places, 1
        activation = nn.Tanh if config.obs_dim else nn.ReLU
        # The first network is the policy's, and the last one the value's.
        self.layers = nn.ModuleList(
            hidden_layers(inputs, width, config.n_layers, activation) for _ in range(networks)
        )
        # All actions begin almost equal, so that all are tried.
        self.policy = orthogonal(nn.Linear(width, actions), gain=0.01)
        self.value = orthogonal(nn.Linear(width, 1), gain=1.0)
        if config.continuous:
            self.log_std = nn.Parameter(torch.zeros(actions))

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return the policy (B, A), or (B, 2A) of quantities, and the values (B,).

        Args:
            observations: (B, obs_dim), or frames (B, n_frames, height, width) of 0 to 255.
        """
        x = self.features(observations)
        hidden = [layer(x) for layer in self.layers]  # (B, d_hidden) each
        policy = self.policy(hidden[0])
        if self.config.continuous:
            policy = torch.cat((policy, self.log_std.expand_as(policy)), dim=1)
        return policy, self.value(hidden[-1]).squeeze(1)

    def num_params(self) -> int:
        """Return the number of weights and biases."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a tensor in a checkpoint: its own."""
        return name

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json."""
        return {"model_type": "ppo"}


class Policy:
    """How likely each action is, by the network's output.

    Attributes:
        continuous: Whether actions are quantities (B, A), or else choices (B,).
        logits: Of the choices, (B, A).
        mean: Of the quantities, (B, A).
        log_std: Logarithm of the quantities' deviations, (B, A).
    """

    def __init__(self, output: Tensor, continuous: bool, actions: int) -> None:
        """Take the policy (B, ...) of the network, and how many actions an environment has."""
        self.continuous = continuous
        parts = output.float().view(len(output), 1 + continuous, -1)[..., :actions].unbind(1)
        self.logits = parts[0].log_softmax(1)
        self.mean, self.log_std = parts[0], parts[-1]

    def best(self) -> Tensor:
        """Return the likeliest actions."""
        return self.mean if self.continuous else self.logits.argmax(1)

    def sample(self, noise: Tensor) -> Tensor:
        """Return actions that are drawn with noise (B, A): normal, or of choices uniform."""
        if self.continuous:
            return self.mean + self.log_std.exp() * noise
        # The largest of logits with Gumbel noise is a sample of their softmax (Gumbel, 1954).
        return (self.logits - (-noise.clamp(1e-9, 1 - 1e-7).log()).log()).argmax(1)

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return the logarithm of the actions' likelihood, (B,)."""
        if not self.continuous:
            return self.logits.gather(1, actions.unsqueeze(1)).squeeze(1)
        apart = (actions - self.mean) * (-self.log_std).exp()
        return (-0.5 * (apart**2 + math.log(2 * math.pi)) - self.log_std).sum(1)

    def entropy(self) -> Tensor:
        """Return how undecided the policy is, (B,), in nats."""
        if not self.continuous:
            return -(self.logits.exp() * self.logits).sum(1)
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(1)


def best_actions(output: tuple[Tensor, Tensor], config: Config, actions: int) -> Tensor:
    """Return the actions that the network takes after training, by its output."""
    return Policy(output[0], config.continuous, actions).best()
