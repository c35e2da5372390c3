"""Measure how fast a checkpoint is on this device, and how much memory it takes.

    python bench.py                              the checkpoint that train.py wrote to `out`
    python bench.py --size full --random         the full model, before it is trained
    python bench.py --size full > bench.json     the full model, into a file

A pass predicts the velocity of clips at one time, of one and of many at once; a sample passes
through all of infer.py's steps. Prints JSON on stdout.
"""

from dataclasses import replace

import torch
from torch import Tensor

from data import Config as DataConfig
from infer import Config, continued
from model import Config as ModelConfig
from model import Model
from runtime.bench import Case, Cases, measuring, network_of, passes
from runtime.errors import run
from runtime.scripts import Trained


def cases(trained: Trained[Config, DataConfig, ModelConfig]) -> Cases:
    """Return the network, passes over clips, and the generation of one continuation."""
    c, data = trained.model, trained.data
    network = network_of(trained, lambda: Model(c))
    made = c.num_frames - c.given_frames
    config = replace(trained.config, frames=made)

    def frames(samples: int, count: int) -> Tensor:
        return torch.zeros(samples, c.image_channels, count, c.image_height, c.image_width)

    def inputs(samples: int) -> tuple[Tensor, ...]:
        return frames(samples, c.given_frames), frames(samples, made), torch.zeros(samples)

    given = frames(1, c.given_frames).to(trained.device)
    sample = Case("sample", 1, "clips", 1, lambda: lambda: continued(network, given, data, config))
    return network, [*passes(network, trained, "clips", inputs), sample]


main = measuring(__doc__, (Config, DataConfig, ModelConfig), cases)

if __name__ == "__main__":
    run(main)
