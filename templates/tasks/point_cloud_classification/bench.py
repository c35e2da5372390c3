"""Measure how fast a checkpoint is on this device, and how much memory it takes.

    python bench.py                              the checkpoint that train.py wrote to `out`
    python bench.py --size full --random         the full model, before it is trained
    python bench.py --size full > bench.json     the full model, into a file

A pass labels clouds, one and many at once. Prints JSON on stdout.
"""

import torch
from torch import Tensor

from data import Config as DataConfig
from data import fitted
from infer import Config
from model import Config as ModelConfig
from model import Model
from runtime.bench import Cases, measuring, network_of, passes
from runtime.errors import run
from runtime.labels import read_labels
from runtime.scripts import Trained


def cases(trained: Trained[Config, DataConfig, ModelConfig]) -> Cases:
    """Return the network, and passes over clouds."""
    c = trained.model
    if not trained.args.random:
        # A checkpoint of the proxy has the classes of its data.
        c = fitted(c, read_labels(trained.folder), trained.args.size)
    network = network_of(trained, lambda: Model(c))

    def inputs(samples: int) -> tuple[Tensor, ...]:
        return (torch.randn(samples, c.n_points, 3),)

    return network, [*passes(network, trained, "clouds", inputs)]


main = measuring(__doc__, (Config, DataConfig, ModelConfig), cases)

if __name__ == "__main__":
    run(main)
