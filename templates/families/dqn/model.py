"""A deep Q-network: the return that follows each choice, by what is observed.

The network of Mnih et al. (2015, Nature 518:529) for frames of a screen, and an MLP for numbers.
A dueling head (Wang et al., 2016, arXiv:1511.06581) has a stream for the value of what is observed,
and another for the advantage of each choice over their mean.

Shapes in comments: B observations, A choices.
"""

from dataclasses import dataclass
from typing import Any

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

    obs_dim: int = 0  # numbers of an observation, at most; 0 for frames
    frame_height: int = 84  # pixels of a frame; 0 for numbers
    frame_width: int = 84  # pixels of a frame; 0 for numbers
    n_frames: int = 4  # frames that are observed at once; 0 for numbers
    n_actions: int = 18  # choices, at most
    d_conv: int = 32  # channels of the first convolution, half of the others'; 0 for numbers
    n_layers: int = 1  # hidden layers
    d_hidden: int = 512  # units of a hidden layer
    dueling: bool = True  # whether the value has a stream of its own

    @property
    def continuous(self) -> bool:
        """Whether actions are quantities: never, since each choice has a value of its own."""
        return False


class Model(nn.Module):
    """The network; its tensors keep their own names, since transformers has no counterpart."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        if config.obs_dim:
            self.features: nn.Module = Normalizer(config.obs_dim)
            inputs = config.obs_dim
        else:
            self.features = Convolutions(config.n_frames, config.d_conv)
            places = convolved(config.frame_height) * convolved(config.frame_width)
            inputs = 2 * config.d_conv * places
        # The first stream is the choices', and the last one the value's.
        self.layers = nn.ModuleList(
            hidden_layers(inputs, config.d_hidden, config.n_layers, nn.ReLU)
            for _ in range(1 + config.dueling)
        )
        self.advantage = orthogonal(nn.Linear(config.d_hidden, config.n_actions), gain=0.01)
        if config.dueling:
            self.value = orthogonal(nn.Linear(config.d_hidden, 1), gain=1.0)

    def forward(self, observations: Tensor) -> Tensor:
        """Return the expected return of each choice, (B, A).

        Args:
            observations: (B, obs_dim), or frames (B, n_frames, height, width) of 0 to 255.
        """
        x = self.features(observations)
        hidden = [layer(x) for layer in self.layers]  # (B, d_hidden) each
        advantage: Tensor = self.advantage(hidden[0])  # (B, A)
        if not self.config.dueling:
            return advantage
        # Equation 9 of the dueling paper: of a sum alone, neither part could be known.
        value: Tensor = self.value(hidden[1])  # (B, 1)
        return value + advantage - advantage.mean(1, keepdim=True)

    def num_params(self) -> int:
        """Return the number of weights and biases."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a tensor in a checkpoint: its own."""
        return name

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json."""
        return {"model_type": "dqn"}


def best_actions(output: Tensor, config: Config, actions: int) -> Tensor:
    """Return the choices that the network takes after training, by its output."""
    return output[:, :actions].argmax(1)
