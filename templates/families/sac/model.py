"""A soft actor-critic: a policy over quantities, and two critics of what it does.

The networks of Haarnoja et al. (2019, arXiv:1812.05905): an MLP gives the mean and the deviation of
a Gaussian, which tanh squashes into the range of actions; two more MLPs give the return that they
expect after an action, less what the policy's lack of entropy costs. The lower one counts.

Shapes in comments: B observations, A quantities of an action.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from layers.soft_actor_critic import Output, Policy, SoftActorCritic


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    obs_dim: int = 17  # numbers of an observation, at most
    n_actions: int = 6  # quantities, at most
    n_layers: int = 2  # hidden layers
    d_hidden: int = 256  # units of a hidden layer

    @property
    def continuous(self) -> bool:
        """Whether actions are quantities: always, since the policy is a Gaussian."""
        return True


class Model(SoftActorCritic):
    """The network; its tensors keep their own names, since transformers has no counterpart."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.obs_dim, config.n_actions, config.d_hidden, config.n_layers)
        self.config = config

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json."""
        return {"model_type": "sac"}


def best_actions(output: Output, config: Config, actions: int) -> Tensor:
    """Return the actions that the network takes after training, by its output."""
    return Policy(output.policy, actions).best()
