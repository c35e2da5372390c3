"""Measure how fast a checkpoint is on this device, and how much memory it takes.

    python bench.py                              the checkpoint that train.py wrote to `out`
    python bench.py --size full --random         the full model, before it is trained
    python bench.py --size full > bench.json     the full model, into a file

A pass labels series, one and many at once. Prints JSON on stdout.
"""

import torch
from torch import Tensor

from data import Config as DataConfig
from data import fitted, read_channels
from infer import Config
from model import Config as ModelConfig
from model import Model
from runtime.bench import Cases, measuring, network_of, passes
from runtime.errors import run
from runtime.labels import read_labels
from runtime.scripts import Trained


def cases(trained: Trained[Config, DataConfig, ModelConfig]) -> Cases:
    """Return the network, and passes over series."""
    c = trained.model
    if not trained.args.random:
        # A checkpoint of the proxy has the channels and classes of its data.
        labels, channels = read_labels(trained.folder), read_channels(trained.folder)
        c = fitted(c, channels, labels, trained.args.size)
    network = network_of(trained, lambda: Model(c))

    def inputs(samples: int) -> tuple[Tensor, ...]:
        return (torch.randn(samples, c.n_channels, c.lookback),)

    return network, [*passes(network, trained, "series", inputs)]


main = measuring(__doc__, (Config, DataConfig, ModelConfig), cases)

if __name__ == "__main__":
    run(main)
