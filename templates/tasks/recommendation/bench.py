"""Measure how fast a checkpoint is on this device, and how much memory it takes.

    python bench.py                              the checkpoint that train.py wrote to `out`
    python bench.py --size full --random         the full model, before it is trained
    python bench.py --size full > bench.json     the full model, into a file

A pass encodes users with full histories and an item for each, one pair and many at once;
`catalogue` scores every item for as many users, from vectors of items that are computed before.
Prints JSON on stdout.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from data import Config as DataConfig
from data import fitted
from infer import Config
from model import Config as ModelConfig
from model import Model
from runtime.bench import Case, Cases, dtype_of, measuring, network_of, passes
from runtime.catalogue import read_catalogue
from runtime.errors import run
from runtime.scripts import Trained


def made_up(c: ModelConfig, samples: int) -> tuple[Tensor, ...]:
    """Return users with full histories and an item for each."""
    nodes = torch.zeros(samples, c.node_features)
    return (
        torch.ones(samples, c.history_length, dtype=torch.int64),
        torch.zeros(samples, c.history_length, c.edge_features),
        nodes,
        torch.ones(samples, dtype=torch.int64),
        nodes,
    )


def catalogue(trained: Trained[Config, DataConfig, ModelConfig], c: ModelConfig) -> list[Case]:
    """Return the work of scoring all items for one user, and for a batch."""
    items = torch.zeros(c.num_items, c.d_model, device=trained.device, dtype=dtype_of(trained))

    def product(users: int) -> Callable[[], Callable[[], object]]:
        vectors = items.new_zeros(users, c.d_model)
        return lambda: lambda: vectors @ items.T

    batches = dict.fromkeys((1, trained.args.batch_size or 32))
    return [Case("catalogue", n, "item scores", n * c.num_items, product(n)) for n in batches]


def cases(trained: Trained[Config, DataConfig, ModelConfig]) -> Cases:
    """Return the network, passes over pairs, and the scoring of the catalogue."""
    c = trained.model
    if not trained.args.random:
        # A checkpoint of the proxy has the items and features of its data.
        c = fitted(c, read_catalogue(trained.folder), trained.args.size)
    network = network_of(trained, lambda: Model(c))
    forward = passes(network, trained, "pairs", lambda samples: made_up(c, samples))
    return network, [*forward, *catalogue(trained, c)]


main = measuring(__doc__, (Config, DataConfig, ModelConfig), cases)

if __name__ == "__main__":
    run(main)
