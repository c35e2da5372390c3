"""Measure how fast a checkpoint is on this device, and how much memory it takes.

    python bench.py                              the checkpoint that train.py wrote to `out`
    python bench.py --size full --random         the full model, before it is trained
    python bench.py --size full > bench.json     the full model, into a file

A pass predicts the velocity of chunks at one time, of one and of many at once; a sample passes
through all of infer.py's steps for one chunk. Prints JSON on stdout.
"""

import torch
from torch import Tensor

from data import Config as DataConfig
from data import empty_chunks
from infer import Config, Request, spoken
from model import Config as ModelConfig
from model import Model
from runtime.bench import Case, Cases, measuring, network_of, passes
from runtime.errors import run
from runtime.scripts import Trained


def cases(trained: Trained[Config, DataConfig, ModelConfig]) -> Cases:
    """Return the network, passes over chunks, and the generation of one chunk."""
    c, shift = trained.model, trained.data.shift
    network = network_of(trained, lambda: Model(c))

    def inputs(samples: int) -> tuple[Tensor, ...]:
        portrait, given, following, sound, caption = empty_chunks(c, samples)
        return portrait, given, following, torch.zeros(samples), sound, caption

    portrait, *_, sound, _ = inputs(1)
    heard = sound[0, : c.made_frames]
    request = Request(portrait[0], torch.zeros(0), heard, "")
    sample = Case(
        "sample", 1, "chunks", 1, lambda: lambda: spoken(network, request, shift, trained.config)
    )
    return network, [*passes(network, trained, "chunks", inputs), sample]


main = measuring(__doc__, (Config, DataConfig, ModelConfig), cases)

if __name__ == "__main__":
    run(main)
