"""Measure how fast a checkpoint is on this device, and how much memory it takes.

    python bench.py                              the checkpoint that train.py wrote to `out`
    python bench.py --size full --random         the full model, before it is trained
    python bench.py --size full > bench.json     the full model, into a file

A pass predicts the velocity of shapes, one and many at once; a sample takes all of infer.py's
steps. The mesh around a cloud is not timed. Prints JSON on stdout.
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
    """Return the network, passes over shapes, and the drawing of a sample."""
    c, device = trained.model, trained.device
    network = network_of(trained, lambda: Model(c))

    def inputs(samples: int) -> tuple[Tensor, ...]:
        captions = conditions(c, [""] * samples)
        return torch.zeros(samples, c.n_points, 3), torch.zeros(samples), captions

    def drawn() -> Tensor:
        return draw(network, [""], trained.config, device, 1)

    sample = Case("sample", 1, "shapes", 1, lambda: drawn)
    return network, [*passes(network, trained, "shapes", inputs), sample]


main = measuring(__doc__, (Config, DataConfig, ModelConfig), cases)

if __name__ == "__main__":
    run(main)
