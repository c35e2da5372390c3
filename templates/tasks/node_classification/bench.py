"""Measure how fast a checkpoint is on this device, and how much memory it takes.

    python bench.py                              the checkpoint that train.py wrote to `out`
    python bench.py --size full --random         the full model, before it is trained
    python bench.py --size full > bench.json     the full model, into a file

A pass labels all nodes of a graph of the usual size, and of many such graphs at once. Prints JSON
on stdout.
"""

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
from runtime.unions import read_columns, usual


def cases(trained: Trained[Config, DataConfig, ModelConfig]) -> Cases:
    """Return the network, and passes over graphs."""
    c = trained.model
    if not trained.args.random:
        # A checkpoint of the proxy has the features and classes of its data.
        columns, labels = read_columns(trained.folder), read_labels(trained.folder)
        c = fitted(c, columns, labels, trained.args.size)
    network = network_of(trained, lambda: Model(c))

    def inputs(samples: int) -> tuple[Tensor, ...]:
        return usual(c, samples)[:3]

    return network, [*passes(network, trained, "graphs", inputs)]


main = measuring(__doc__, (Config, DataConfig, ModelConfig), cases)

if __name__ == "__main__":
    run(main)
