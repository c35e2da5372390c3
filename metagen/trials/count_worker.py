"""The part of a count that imports torch and the code of a package.

`python -P -m metagen.trials.count_worker` in a folder that holds `code/` with the settings of a
trial writes `counts.json`: the parameters of its model, and the operations of an update on one
sample. Tensors are on the meta device: they take no memory, and torch's counter knows attention
there, of which its CPU kernels tell nothing.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path


def main() -> None:
    """Count the model of a trial in the current folder and write `counts.json`."""
    sys.path.insert(0, "code")
    import torch

    data, model, train, flops, settings = map(
        importlib.import_module, ("data", "model", "train", "runtime.flops", "runtime.settings")
    )
    config = settings.load_config(model.Config, "model", "proxy")
    read = settings.load_config(data.Config, "data", "proxy")
    with torch.device("meta"):
        network = model.Model(config)
        operations = flops.training_flops(lambda: train.example_loss(network, 1, read))
    counts = {"parameters": network.num_params(), "flops": operations}
    Path("counts.json").write_text(json.dumps(counts))


if __name__ == "__main__":
    main()
