"""Continue a text with a trained checkpoint.

    python infer.py --prompt "The import statement"
    python infer.py --prompt "Once" --temperature 0.7 --top-k 50 --max-new-tokens 400
    torchrun --nproc-per-node 8 infer.py --size full --prompt "Once"     one model on 8 devices

Prints the prompt and its continuation on stdout, token by token.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from data import Config as DataConfig
from layers.quantized import quantize
from layers.quantized_cache import Int8KVCache
from model import Config as ModelConfig
from model import Model
from runtime.device import capability, in_bfloat16
from runtime.distributed import rank, world_size
from runtime.errors import fail, run
from runtime.options import Group
from runtime.scripts import Setting, Trained, serving
from runtime.shares import agreed, load_share
from runtime.speedup import compile_modules
from runtime.tokenizer import Tokenizer, load_tokenizer

CHUNK = 512  # tokens of the prompt per pass; more take more memory and change nothing else


@dataclass(frozen=True)
class Config:
    """How a continuation is drawn, and in which number formats."""

    max_new_tokens: int = 200
    """Largest number of tokens to add; an end-of-text token ends the text earlier."""
    temperature: float = 0.8
    """Divisor of the logits: lower values favour likely tokens; 0 always takes the likeliest."""
    top_k: int = 0
    """Number of likeliest tokens to draw from; 0 for all."""
    top_p: float = 0.95
    """Probability that the drawn-from tokens cover; lower values exclude more unlikely tokens."""
    seed: int = 42
    """Seed of the draws."""
    dtype: str = "bfloat16"
    """Format of weights and arithmetic; auto is float32, as trained, on a CPU."""
    weight_bits: int = 16
    """Bits per weight in the blocks: 16 for `dtype`, 8 or 4 quantized, with the rest in bf16."""
    cache_bits: int = 16
    """Bits per number in the KV cache: 16 for the format of the weights, 8 quantized."""


def draw(logits: Tensor, config: Config, generator: torch.Generator) -> int:
    """Return a token drawn from logits (V,); top-p is Holtzman et al., 2020, arXiv:1904.09751."""
    # Dividing by 0 is undefined; its limit is the likeliest token.
    if config.temperature == 0:
        return int(logits.argmax())
    ranked, tokens = logits.sort(descending=True)
    if config.top_k:
        # top_k removes unlikely tokens even where the distribution is flat; top_p adapts to it.
        ranked = ranked[: config.top_k]
    # The largest logit is subtracted in float64, so that even a very low temperature cannot
    # overflow.
    probabilities = torch.softmax((ranked - ranked[0]).double() / config.temperature, dim=-1)
    # A token is dropped if those before it reach top_p, so the likeliest one always stays.
    probabilities[probabilities.cumsum(0) - probabilities >= config.top_p] = 0
    return int(tokens[torch.multinomial(probabilities, 1, generator=generator)])


@torch.inference_mode()
def generate(
    model: Model, prompt: list[int], config: Config, device: torch.device
) -> Iterator[int]:
    """Yield the tokens that follow a prompt."""
    # Random numbers come from the CPU, so that a seed gives the same ones on every device.
    generator = torch.Generator().manual_seed(config.seed)
    # The cache has room for the whole text, so it never grows or moves.
    cache: list[Any] = model.new_cache(1, len(prompt) + config.max_new_tokens, world_size())
    if config.cache_bits == 8:
        # A cache of 8 bits holds about twice as many tokens in the same memory.
        cache = [Int8KVCache(layer.store) for layer in cache]
    # The cache holds keys and values of all earlier tokens, so each pass computes only new ones.
    *earlier, tokens = (prompt[i : i + CHUNK] for i in range(0, len(prompt), CHUNK))
    # Earlier chunks fill the cache; only the logits of the last one are needed.
    for chunk in earlier:
        model(torch.tensor([chunk], device=device), cache=cache)
    for _ in range(config.max_new_tokens):
        logits = model(torch.tensor([tokens], device=device), cache=cache)[0, -1]  # (V,)
        # Processes that share the model must go on with the same token.
        token = agreed(draw(logits.float().cpu(), config, generator), device)
        yield token
        tokens = [token]


def encoded(trained: Trained[Config, DataConfig, ModelConfig], tokenizer: Tokenizer) -> list[int]:
    """Return the tokens of --prompt, or stop if the model cannot continue them."""
    config, model = trained.config, trained.model
    if tokenizer.vocab_size > model.vocab_size:
        fail(
            f"the tokenizer of {trained.folder} has {tokenizer.vocab_size:,} entries, and the "
            f"model {model.vocab_size:,}: choose its own checkpoint."
        )
    # A prompt that does not fit is refused: dropping tokens silently would change its meaning.
    prompt = tokenizer.encode(trained.args.prompt)
    if not prompt or len(prompt) + config.max_new_tokens > model.max_seq_len:
        fail(
            f"the prompt has {len(prompt)} tokens: it must have at least one, and together "
            f"with --max-new-tokens at most {model.max_seq_len}."
        )
    return prompt


def pieces(tokens: Iterator[int], tokenizer: Tokenizer) -> Iterator[str]:
    """Yield the text of tokens as it becomes readable, up to the end-of-text token."""
    seen: list[int] = []
    shown = ""
    for token in tokens:
        if token == tokenizer.end_of_text:
            return
        seen.append(token)
        # All tokens are decoded again, because a token alone may not be valid text.
        text = tokenizer.decode(seen)
        # A token may end inside a character of several bytes, which is printed with its last byte.
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            yield text[len(shown) :]
            shown = text


def options(group: Group) -> None:
    group.add_argument("--prompt", required=True, metavar="TEXT", help="the text to continue")
    text = "compile the model: slow first tokens, faster later; a GPU needs it for 8 bits"
    group.add_argument("--compile", action="store_true", help=text)


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print the prompt and its continuation."""
    config, prompt = trained.config, trained.args.prompt
    if any("\ud800" <= c <= "\udfff" for c in prompt):  # Python's form of bytes that are not UTF-8
        fail("--prompt is not UTF-8 text: check the encoding of the terminal.")
    tokenizer = load_tokenizer(trained.data.tokenizer, trained.folder)
    tokens = encoded(trained, tokenizer)
    if config.weight_bits == 4 and capability(trained.device) < (8, 0):
        fail("this GPU has no product of 4 bits: use --weight-bits 8.")
    if config.weight_bits < 16 and config.dtype == "float32":
        fail(f"weights of {config.weight_bits} bits multiply bfloat16: leave out --dtype.")
    low = config.weight_bits < 16 or in_bfloat16(trained.device, config.dtype)
    model = load_share(lambda: Model(trained.model), trained.folder, trained.device)
    quantize(model, config.weight_bits, trained.device, torch.bfloat16 if low else torch.float32)
    if trained.args.compile:
        # A product of one row then reads weights of 8 bits as they are, on a GPU too.
        compile_modules(model.layers, {"coordinate_descent_tuning": True})
    continuation = pieces(generate(model, tokens, config, trained.device), tokenizer)
    for piece in itertools.chain([prompt], continuation, ["\n"]):
        if rank() == 0:
            print(piece, end="", flush=True)


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "seed": Setting("seed of the draws"),
        "max_new_tokens": Setting("largest number of tokens to add"),
        "temperature": Setting("0 takes the likeliest token; higher values vary more", float),
        "top_k": Setting("number of likeliest tokens to draw from; 0 for all", int),
        "top_p": Setting("probability that the drawn-from tokens cover", float),
        "dtype": Setting("auto: float32 on a CPU", str, ("auto", "float32", "bfloat16")),
        "weight_bits": Setting("bits per weight in the blocks", int, (16, 8, 4)),
        "cache_bits": Setting("bits of the KV cache; 8 is quantized", int, (16, 8)),
    },
)

if __name__ == "__main__":
    run(main)
