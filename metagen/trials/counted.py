"""A training that first counts its model; it is copied into `code/` of a trial and run there.

It writes `counts.json`, the parameters of the model and the operations of an update on one sample,
and then is `train.py`. Tensors of the count are on the meta device: they take no memory, and
torch's counter knows attention there, of which its CPU kernels tell nothing.
"""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from pathlib import Path

COUNTS = "counts.json"
ALONE = "--count-alone"  # The argument with which no training follows.


def count() -> dict[str, int]:
    """Return the counts of the scaled-down model in this folder."""
    import torch

    data, model, train, flops, settings = map(
        importlib.import_module, ("data", "model", "train", "runtime.flops", "runtime.settings")
    )
    config = settings.load_config(model.Config, "model", "proxy")
    read = settings.load_config(data.Config, "data", "proxy")
    with torch.device("meta"):
        network = model.Model(config)
        operations = flops.sample_flops(lambda count: train.example_loss(network, count, read))
    return {"parameters": network.num_params(), "flops": operations}


if __name__ == "__main__":
    Path(COUNTS).write_text(json.dumps(count()))
    if sys.argv[1:] != [ALONE]:
        sys.argv[0] = str(Path(__file__).with_name("train.py"))
        runpy.run_path(sys.argv[0], run_name="__main__")
