"""Train the actor and its critics in an environment of yours, or in one of gymnasium's.

    python train.py                                       the proxy, in the bundled environment
    python train.py --data package:id --steps 20000       the proxy, in another one
    python train.py --size full --data HalfCheetah-v5     the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

The soft actor-critic with a temperature that is learned too (Haarnoja et al., 2019,
arXiv:1812.05905), from a replay memory. A step of this script is an update of the weights, not a
step of an environment. Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint, whose weights are
those of the validation with the highest return.
"""

import argparse
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from data import Config as DataConfig
from data import load_world, splits_of
from model import Config as ModelConfig
from model import Model, Policy
from runtime.acting import job_of_agent
from runtime.environments import World, blank, taken
from runtime.errors import run
from runtime.job import Batch, Job
from runtime.soft_actor_critic import SoftAgent, SoftTraining, example_losses
from runtime.training import script


@dataclass(frozen=True)
class Config(SoftTraining):
    """How the actor and the critics are trained."""


class Agent(SoftAgent):
    """What acts with this network, and learns."""

    def __init__(self, config: Config, world: World, model: ModelConfig, seeds: range) -> None:
        super().__init__(config, world, seeds, Model(model), Policy)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    actions = torch.zeros(samples, model.config.n_actions)
    return example_losses(model, Policy, blank(model.config, samples), actions).mean()


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    world, seeds = load_world(args.data, model), splits_of(data)
    agent = Agent(config, world, model, seeds["val"])

    def loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        each = agent.losses(module, batch)
        return each.mean(), len(each)

    build = partial(Model, model)
    return job_of_agent(agent, data, seeds, build=build, loss=loss, example=example_loss)


main = script(__doc__, (Config, DataConfig, ModelConfig), job_of, data=taken("that of the proxy"))

if __name__ == "__main__":
    run(main)
