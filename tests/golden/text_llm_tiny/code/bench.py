"""Measure how fast a checkpoint is on this device, and how much memory it takes.

    python bench.py                              the checkpoint that train.py wrote to `out`
    python bench.py --size full --random         the full model, before it is trained
    python bench.py --size full > bench.json     the full model, into a file

`prefill` is a prompt up to the first new token, and `decoding` the tokens after it, one by one, by
the code of infer.py. Prints JSON on stdout.
"""

from dataclasses import replace

import torch

from data import Config as DataConfig
from infer import Config, generate, quantize
from model import Config as ModelConfig
from model import Model
from runtime.bench import Case, Cases, Work, dtype_of, measuring, network_of
from runtime.errors import fail, run
from runtime.options import Group, positive
from runtime.scripts import Trained


def cases(trained: Trained[Config, DataConfig, ModelConfig]) -> Cases:
    """Return the network, the prefill of a prompt, and the decoding of the tokens after it."""
    args, c = trained.args, trained.model
    most = c.max_seq_len
    prompt_tokens = args.prompt_tokens or min(512, most // 2)
    new_tokens = args.new_tokens or min(64, most - prompt_tokens)
    if prompt_tokens + new_tokens > most or new_tokens < 2:
        fail(f"--prompt-tokens and --new-tokens, at least 2, have room for {most} tokens together.")
    network = network_of(trained, lambda: Model(c))
    quantize(network, trained.config.weight_bits, trained.device, dtype_of(trained))
    prompt = torch.randint(c.vocab_size, (prompt_tokens,)).tolist()
    config = replace(trained.config, max_new_tokens=new_tokens)

    def prefill() -> Work:
        tokens = generate(network, prompt, config, trained.device)
        return lambda: next(tokens)

    def decoding() -> Work:
        tokens = generate(network, prompt, config, trained.device)
        next(tokens)
        return lambda: list(tokens)

    return network, [
        Case("prefill", 1, "tokens", prompt_tokens, prefill),
        Case("decoding", 1, "tokens", new_tokens - 1, decoding),
    ]


def options(group: Group) -> None:
    for option, text in (
        ("--prompt-tokens", "tokens of the prompt (default: up to 512)"),
        ("--new-tokens", "tokens to add (default: up to 64)"),
    ):
        group.add_argument(option, type=positive, metavar="N", help=text)
    for option, choices in (("--weight-bits", (16, 8, 4)), ("--cache-bits", (16, 8))):
        text = "as in infer.py (default: as there)"
        group.add_argument(option, type=int, choices=choices, help=text)


main = measuring(__doc__, (Config, DataConfig, ModelConfig), cases, options=options)

if __name__ == "__main__":
    run(main)
