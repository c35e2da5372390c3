"""Measure how fast a checkpoint is on this device, and how much memory it takes.

    python bench.py                              the checkpoint that train.py wrote to `out`
    python bench.py --size full --random         the full model, before it is trained
    python bench.py --size full > bench.json     the full model, into a file

A pass reads images, one and many at once. Prints JSON on stdout.
"""

import torch
from torch import Tensor

from data import Config as DataConfig
from infer import Config
from model import Config as ModelConfig
from model import Model
from runtime.bench import Cases, measuring, network_of, passes
from runtime.errors import run
from runtime.scripts import Trained


def cases(trained: Trained[Config, DataConfig, ModelConfig]) -> Cases:
    """Return the network, and passes over images."""
    c = trained.model
    network = network_of(trained, lambda: Model(c))

    def inputs(samples: int) -> tuple[Tensor, ...]:
        return (torch.zeros(samples, c.num_channels, c.image_height, c.image_width),)

    return network, [*passes(network, trained, "images", inputs)]


main = measuring(__doc__, (Config, DataConfig, ModelConfig), cases)

if __name__ == "__main__":
    run(main)
