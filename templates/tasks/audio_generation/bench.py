"""Measure how fast a checkpoint is on this device, and how much memory it takes.

    python bench.py                              the checkpoint that train.py wrote to `out`
    python bench.py --size full --random         the full model, before it is trained
    python bench.py --size full > bench.json     the full model, into a file

A pass reads the tokens of clips, one and many at once; `decoding` draws frames one by one and turns
them into sound, by the code of infer.py. Prints JSON on stdout.
"""

import torch
from torch import Tensor

from data import Config as DataConfig
from infer import Config, sound
from model import Config as ModelConfig
from model import Model, conditions, generate
from runtime.bench import Case, Cases, measuring, network_of, passes
from runtime.errors import run
from runtime.scripts import Trained

FRAMES = 64  # frames to draw; fewer make the codec's margins a larger part


def cases(trained: Trained[Config, DataConfig, ModelConfig]) -> Cases:
    """Return the network, passes over the tokens of clips, and the drawing of frames."""
    c = trained.model
    network = network_of(trained, lambda: Model(c))

    def inputs(clips: int) -> tuple[Tensor, ...]:
        codes = torch.zeros(clips, c.n_codebooks, trained.data.seq_len, dtype=torch.int64)
        return codes, *conditions(c, [""] * clips)

    frames = min(FRAMES, c.max_seq_len)
    temperature, top_k = trained.config.temperature, trained.config.top_k
    start, *text = (each.to(trained.device) for each in inputs(1))

    def decoding() -> object:
        captions = text[0] if text else None
        codes = generate(network, start[..., :0], captions, frames, temperature, top_k)
        return sound(network, codes[0])

    sample = Case("decoding", 1, "frames", frames, lambda: decoding)
    return network, [*passes(network, trained, "clips", inputs), sample]


main = measuring(__doc__, (Config, DataConfig, ModelConfig), cases)

if __name__ == "__main__":
    run(main)
