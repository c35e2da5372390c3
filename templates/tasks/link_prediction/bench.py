"""Measure how fast a checkpoint is on this device, and how much memory it takes.

    python bench.py                              the checkpoint that train.py wrote to `out`
    python bench.py --size full --random         the full model, before it is trained
    python bench.py --size full > bench.json     the full model, into a file

A pass reads a graph of the usual size, or many at once, and scores pairs of its nodes. Prints JSON
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
from runtime.scripts import Trained
from runtime.unions import read_columns, usual, usual_pairs


def cases(trained: Trained[Config, DataConfig, ModelConfig]) -> Cases:
    """Return the network, and passes over graphs."""
    c = trained.model
    if not trained.args.random:
        # A checkpoint of the proxy has the features of its data.
        c = fitted(c, read_columns(trained.folder), trained.args.size)
    network = network_of(trained, lambda: Model(c))

    def inputs(samples: int) -> tuple[Tensor, ...]:
        return *usual(c, samples)[:3], usual_pairs(c, samples)

    return network, [*passes(network, trained, "graphs", inputs)]


main = measuring(__doc__, (Config, DataConfig, ModelConfig), cases)

if __name__ == "__main__":
    run(main)
