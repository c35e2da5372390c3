"""Measure how fast a checkpoint is on this device, and how much memory it takes.

    python bench.py                              the checkpoint that train.py wrote to `out`
    python bench.py --size full --random         the full model, before it is trained
    python bench.py --size full > bench.json     the full model, into a file

A pass reads clips with their longest texts, one and many at once; `transcription` writes the text
of one clip by the search of infer.py. Prints JSON on stdout.
"""

import torch
from torch import Tensor

from data import Config as DataConfig
from infer import Config
from model import Config as ModelConfig
from model import Model, transcribe
from runtime.bench import Case, Cases, dtype_of, measuring, network_of, passes
from runtime.errors import run
from runtime.scripts import Trained


def cases(trained: Trained[Config, DataConfig, ModelConfig]) -> Cases:
    """Return the network, passes over clips, and the writing of a text."""
    c = trained.model
    network = network_of(trained, lambda: Model(c))

    def inputs(clips: int) -> tuple[Tensor, ...]:
        audio = torch.zeros(clips, c.n_mels, c.frames())
        tokens = torch.zeros(clips, c.text_length, dtype=torch.int64)
        return (audio, tokens) if c.text_length else (audio,)

    silence = inputs(1)[0].to(trained.device, dtype_of(trained))

    def transcription() -> object:
        return transcribe(network, silence, trained.config.beams)

    sample = Case("transcription", 1, "clips", 1, lambda: transcription)
    return network, [*passes(network, trained, "clips", inputs), sample]


main = measuring(__doc__, (Config, DataConfig, ModelConfig), cases)

if __name__ == "__main__":
    run(main)
