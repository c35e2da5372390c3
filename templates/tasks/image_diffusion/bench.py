"""Measure how fast a checkpoint is on this device, and how much memory it takes.

    python bench.py                              the checkpoint that train.py wrote to `out`
    python bench.py --size full --random         the full model, before it is trained
    python bench.py --size full > bench.json     the full model, into a file

A pass takes noise off images at one noise level, one and many at once; a sample passes through all
of infer.py's levels. Prints JSON on stdout.
"""

import torch
from torch import Tensor

from data import Config as DataConfig
from infer import Config, draw
from model import Config as ModelConfig
from model import Model, conditions
from runtime.bench import Case, Cases, measuring, network_of, passes
from runtime.errors import run
from runtime.scripts import Trained


def cases(trained: Trained[Config, DataConfig, ModelConfig]) -> Cases:
    """Return the network, passes over images, and the drawing of a sample."""
    c, data, config = trained.model, trained.data, trained.config
    network = network_of(trained, lambda: Model(c))
    nothing = conditions(c, [""], [])

    def inputs(samples: int) -> tuple[Tensor, ...]:
        images = torch.zeros(samples, c.image_channels, c.image_height, c.image_width)
        return images, torch.zeros(samples), nothing.expand(samples, *nothing.shape[1:])

    caption = nothing.to(trained.device)
    sample = Case(
        "sample", 1, "images", 1, lambda: lambda: draw(network, caption, caption, data, config)
    )
    return network, [*passes(network, trained, "images", inputs), sample]


main = measuring(__doc__, (Config, DataConfig, ModelConfig), cases)

if __name__ == "__main__":
    run(main)
