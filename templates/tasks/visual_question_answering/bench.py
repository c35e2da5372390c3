"""Measure how fast a checkpoint is on this device, and how much memory it takes.

    python bench.py                              the checkpoint that train.py wrote to `out`
    python bench.py --size full --random         the full model, before it is trained
    python bench.py --size full > bench.json     the full model, into a file

A pass reads images and prompts, one and many at once; `decoding` writes an answer token by token,
after an image and a prompt, by the code of infer.py. Prints JSON on stdout.
"""

import torch
from torch import Tensor

from data import Config as DataConfig
from infer import Config
from model import Config as ModelConfig
from model import Model, generate
from runtime.bench import Case, Cases, dtype_of, measuring, network_of, passes
from runtime.errors import run
from runtime.scripts import Trained

NO_TOKEN = -1  # An answer that no token ends has the same length each time.


def cases(trained: Trained[Config, DataConfig, ModelConfig]) -> Cases:
    """Return the network, passes over images and prompts, and the decoding of an answer."""
    c, most = trained.model, trained.config.max_new_tokens
    network = network_of(trained, lambda: Model(c))
    length = max(1, min(trained.data.text(c), c.max_seq_len - c.image_tokens() - most))

    def inputs(questions: int) -> tuple[Tensor, ...]:
        images = torch.zeros(questions, c.num_channels, c.image_size, c.image_size)
        return images, torch.zeros(questions, length, dtype=torch.int64)

    images, prompts = (each.to(trained.device) for each in inputs(1))
    images = images.to(dtype_of(trained))

    def decoding() -> object:
        return generate(network, images, prompts, most, NO_TOKEN)

    sample = Case("decoding", 1, "tokens", most, lambda: decoding)
    return network, [*passes(network, trained, "questions", inputs), sample]


main = measuring(__doc__, (Config, DataConfig, ModelConfig), cases)

if __name__ == "__main__":
    run(main)
