"""A soft actor-critic with an ensemble of networks that say what its environment does next.

Model-based policy optimization (Janner et al., 2019, arXiv:1906.08253): the actor and its critics
(Haarnoja et al., 2019, arXiv:1812.05905) learn from steps that the ensemble makes up. After
training the policy acts alone.

Shapes in comments: B observations, A quantities of an action, N networks of the ensemble.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from layers.dynamics import Ahead, Ensemble
from layers.soft_actor_critic import Output, Policy, SoftActorCritic


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    obs_dim: int = 17  # numbers of an observation, at most
    n_actions: int = 6  # quantities, at most
    n_layers: int = 2  # hidden layers of the policy and of each critic
    d_hidden: int = 256  # units of a hidden layer
    n_networks: int = 7  # networks of the ensemble
    n_elites: int = 5  # those of them that make steps up: the best on transitions held out
    dynamics_layers: int = 4  # hidden layers of a network of the ensemble
    d_dynamics: int = 200  # units of a hidden layer of the ensemble
    ends: bool = True  # whether the ensemble also predicts where an episode ends

    @property
    def continuous(self) -> bool:
        """Whether actions are quantities: always, since the policy is a Gaussian."""
        return True


class Model(SoftActorCritic):
    """The network; its tensors keep their own names, since transformers has no counterpart.

    Attributes:
        rewards: Mean and deviation of those of the random actions, in which rewards are foreseen.
    """

    rewards: Tensor

    def __init__(self, config: Config) -> None:
        c = config
        super().__init__(c.obs_dim, c.n_actions, c.d_hidden, c.n_layers)
        self.config = c
        inputs, predicted = c.obs_dim + c.n_actions, 1 + c.obs_dim
        self.dynamics = Ensemble(
            c.n_networks, inputs, c.d_dynamics, c.dynamics_layers, predicted, int(c.ends)
        )

        self.register_buffer("rewards", torch.arange(2.0))  # 0, and 1

    def forward(  # type: ignore[override]
        self,
        observations: Tensor,
        actions: Tensor | None = None,
        frozen: bool = False,
        ahead: bool = False,
    ) -> Output | Ahead:
        """Return the policy and the values of actions, or what the ensemble expects of them.

        Args:
            observations: (B, obs_dim); for `ahead` also one for each network, (B, N, obs_dim).
            actions: From -1 to 1, (B, A) or fewer, whose rest is 0; None: the policy's best. For
                `ahead` they have the shape of the observations.
            frozen: Whether the critics' weights get no gradient, so that only actions do.
            ahead: Whether the ensemble answers, which acting does not need.
        """
        if not ahead:
            return super().forward(observations, actions, frozen)
        assert actions is not None
        expected: Ahead = self.dynamics(self.beside(self.features(observations), actions))
        return expected

    def follow(self, observations: Tensor, changes: Tensor) -> Tensor:
        """Return what is observed after changes of the standardized numbers, (..., obs_dim)."""
        deviations = torch.sqrt(self.features.variance.float() + 1e-8)
        return observations + changes * deviations

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json."""
        return {"model_type": "mbpo"}


def best_actions(output: Output, config: Config, actions: int) -> Tensor:
    """Return the actions that the network takes after training, by its output."""
    return Policy(output.policy, actions).best()
