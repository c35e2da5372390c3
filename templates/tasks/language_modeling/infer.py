"""Continue a text with a trained checkpoint.

    python infer.py --prompt "The import statement"
    python infer.py --prompt "Once" --temperature 0.7 --top-k 50 --max-new-tokens 400

Prints the prompt and its continuation on stdout, token by token.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from data import Config as DataConfig
from layers.quantized import Int8Store, quantize
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import find_checkpoint, load_model
from runtime.device import choose_device
from runtime.errors import fail, run
from runtime.options import positive, shared_options, sized
from runtime.settings import load_config
from runtime.tokenizer import load_tokenizer

CHUNK = 512  # tokens of a prompt that pass through the model at once


@dataclass(frozen=True)
class Config:
    """How a continuation is drawn, and from what numbers."""

    max_new_tokens: int = 200
    """Tokens to add, at most."""
    temperature: float = 0.8
    """Divides the logits; 0 takes the likeliest token."""
    top_k: int = 0
    """Draw among this many likeliest tokens; 0 for all."""
    top_p: float = 0.95
    """Draw among the fewest tokens whose probabilities reach this sum."""
    seed: int = 42
    """Of the draws."""
    weight_bits: int = 16
    """Bits of a weight in the blocks: 16 for bf16; 8 or 4 quantized, the rest in bf16."""
    cache_bits: int = 16
    """Bits of a number in the KV cache: 16 as the weights are; 8 quantized."""


def draw(logits: Tensor, config: Config, generator: torch.Generator) -> int:
    """Return a token drawn from logits (V,); top-p is Holtzman et al., 2020, arXiv:1904.09751."""
    if config.temperature == 0:
        return int(logits.argmax())
    ranked, tokens = logits.sort(descending=True)
    if config.top_k:
        ranked = ranked[: config.top_k]
    # From the largest down and in float64, so that no temperature is too low.
    probabilities = torch.softmax((ranked - ranked[0]).double() / config.temperature, dim=-1)
    # A token stays when those before it have not yet reached top_p, so the first always does.
    probabilities[probabilities.cumsum(0) - probabilities >= config.top_p] = 0
    return int(tokens[torch.multinomial(probabilities, 1, generator=generator)])


@torch.inference_mode()
def generate(
    model: Model, prompt: list[int], config: Config, device: torch.device
) -> Iterator[int]:
    """Yield the tokens that follow a prompt; each pass sees only the newest, through the cache."""
    generator = torch.Generator().manual_seed(config.seed)
    cache = model.new_cache(1, len(prompt) + config.max_new_tokens)
    if config.cache_bits == 8:
        for layer in cache:
            layer.store = Int8Store(layer.store)
    *earlier, tokens = (prompt[i : i + CHUNK] for i in range(0, len(prompt), CHUNK))
    for chunk in earlier:
        model(torch.tensor([chunk], device=device), cache=cache)
    for _ in range(config.max_new_tokens):
        logits = model(torch.tensor([tokens], device=device), cache=cache)[0, -1]  # (V,)
        token = draw(logits.float().cpu(), config, generator)
        yield token
        tokens = [token]


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "infer", "proxy"), Config()
    parser = shared_options(__doc__, seed=f"of the draws {sized(proxy, full, 'seed')}")
    group = parser.add_argument_group("options of infer.py")
    group.add_argument("--prompt", required=True, metavar="TEXT", help="the text to continue")
    for name, kind, text in (
        ("max_new_tokens", positive, "tokens to add, at most"),
        ("temperature", float, "0 takes the likeliest token; higher is more varied"),
        ("top_k", int, "draw among this many likeliest tokens; 0 for all"),
        ("top_p", float, "draw among the likeliest tokens that make up this probability"),
    ):
        option, note = f"--{name.replace('_', '-')}", sized(proxy, full, name)
        group.add_argument(option, type=kind, metavar="X", help=f"{text} {note}")
    for name, choices, text in (
        ("weight_bits", (16, 8, 4), "of the weights in the blocks; below 16 they are quantized"),
        ("cache_bits", (16, 8), "of the KV cache; 8 is quantized"),
    ):
        option, note = f"--{name.replace('_', '-')}", sized(proxy, full, name)
        group.add_argument(option, type=int, choices=choices, help=f"bits {text} {note}")
    return parser.parse_args()


def main() -> None:
    """Print a continuation."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "infer", args.size)
    given = {k: v for k, v in vars(args).items() if v is not None and hasattr(config, k)}
    config = replace(config, **given)
    if not 0 <= config.temperature < math.inf or config.top_k < 0 or not 0 < config.top_p <= 1:
        fail("--temperature and --top-k must not be negative, and --top-p lies in (0, 1].")
    if any("\ud800" <= c <= "\udfff" for c in args.prompt):  # how Python keeps other bytes
        fail("--prompt is not UTF-8 text.")
    data_config = load_config(DataConfig, "data", args.size)
    model_config = load_config(ModelConfig, "model", args.size)
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    tokenizer = load_tokenizer(data_config.tokenizer, folder)
    if tokenizer.vocab_size > model_config.vocab_size:
        fail(
            f"the tokenizer of {folder} has {tokenizer.vocab_size:,} entries, and the model "
            f"{model_config.vocab_size:,}: it belongs to another model."
        )
    prompt = tokenizer.encode(args.prompt)
    longest = len(prompt) + config.max_new_tokens
    if not prompt or longest > model_config.max_seq_len:
        fail(
            f"the prompt has {len(prompt)} tokens: it must have one at least, and with "
            f"--max-new-tokens at most {model_config.max_seq_len}."
        )
    model = load_model(lambda: Model(model_config), folder)
    quantize(model, config.weight_bits)
    model.to(device)

    tokens, shown = list(prompt), ""
    print(args.prompt, end="", flush=True)
    for token in generate(model, prompt, config, device):
        if token == tokenizer.end_of_text:
            break
        tokens.append(token)
        text = tokenizer.decode(tokens[len(prompt) :])
        # A character of several bytes is shown when its last byte has come.
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            print(text[len(shown) :], end="", flush=True)
            shown = text
    print()


if __name__ == "__main__":
    run(main)
