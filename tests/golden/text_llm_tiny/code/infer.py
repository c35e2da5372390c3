"""Continue a text with a trained checkpoint.

    python infer.py --prompt "The import statement"
    python infer.py --prompt "Once" --temperature 0.7 --top-k 50 --max-new-tokens 400

Prints the prompt and its continuation on stdout, token by token.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import load_model
from runtime.errors import fail, run
from runtime.options import Group
from runtime.scripts import Setting, Trained, serving
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
    weight_bits: int = 16
    """Bits per weight in the blocks: 16 for bf16, 8 or 4 quantized; other weights stay in bf16."""
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


def rounded(x: Tensor, scales: Tensor, largest: int) -> Tensor:
    """Return x / scales as whole numbers from -largest to largest, int8; 0 where a scale is 0."""
    numbers = (x.float() / scales.float()).nan_to_num(0).round()
    return numbers.clamp(-largest, largest).to(torch.int8)


class Int8Store:
    """Replaces the tensor of a KV cache: int8 numbers, and a bf16 scale for each head.

    The scale is the head's largest magnitude / 127, so D numbers take D + 2 bytes.
    """

    def __init__(self, store: Tensor) -> None:
        self.dtype = store.dtype
        self.numbers = store.new_zeros(store.shape, dtype=torch.int8)  # (2, B, K, size, D)
        self.scales = store.new_zeros(*store.shape[:-1], 1, dtype=torch.bfloat16)

    def __setitem__(self, places: tuple[int | slice | Tensor, ...], heads: Tensor) -> None:
        scales = (heads.abs().amax(-1, keepdim=True) / 127).bfloat16()
        self.scales[places] = scales
        self.numbers[places] = rounded(heads, scales, 127)

    def __getitem__(self, places: tuple[int | slice | Tensor, ...]) -> Tensor:
        return self.numbers[places].to(self.dtype) * self.scales[places].to(self.dtype)


@torch.inference_mode()
def generate(
    model: Model, prompt: list[int], config: Config, device: torch.device
) -> Iterator[int]:
    """Yield the tokens that follow a prompt."""
    # Random numbers come from the CPU, so that a seed gives the same ones on every device.
    generator = torch.Generator().manual_seed(config.seed)
    # The cache has room for the whole text, so it never grows or moves.
    cache = model.new_cache(1, len(prompt) + config.max_new_tokens)
    if config.cache_bits == 8:
        for layer in cache:
            # A cache of 8 bits holds about twice as many tokens in the same memory.
            layer.store = Int8Store(layer.store)
    # The cache holds keys and values of all earlier tokens, so each pass computes only new ones.
    *earlier, tokens = (prompt[i : i + CHUNK] for i in range(0, len(prompt), CHUNK))
    # Earlier chunks fill the cache; only the logits of the last one are needed.
    for chunk in earlier:
        model(torch.tensor([chunk], device=device), cache=cache)
    for _ in range(config.max_new_tokens):
        logits = model(torch.tensor([tokens], device=device), cache=cache)[0, -1]  # (V,)
        token = draw(logits.float().cpu(), config, generator)
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


GROUP = 64  # inputs of a row that share a scale


def pack(numbers: Tensor) -> Tensor:
    """Pack pairs of 4-bit numbers from -7 to 7: (out, in) int8 to (out, ceil(in / 2)) uint8."""
    shifted = F.pad(numbers + 8, (0, numbers.size(1) % 2)).to(torch.uint8)
    return shifted[:, ::2] | shifted[:, 1::2] << 4


def unpack(packed: Tensor) -> Tensor:
    """Return the numbers that `pack` packed: (out, n) uint8 -> (out, 2n) int8."""
    pairs = torch.stack((packed & 15, packed >> 4), dim=-1)
    return pairs.flatten(1).to(torch.int8) - 8


class QuantizedLinear(nn.Module):
    """A linear layer without bias whose weights are whole numbers of 8 or 4 bits times a scale.

    Symmetric round-to-nearest in groups (Dettmers & Zettlemoyer, 2023, arXiv:2212.09720, section
    2): w is about scale * n, with scale = max |w| of the group / 127, or / 7 at 4 bits.
    """

    numbers: Tensor  # (out, in) int8, or (out, ceil(in / 2)) uint8, two to a byte
    scales: Tensor  # (out, ceil(in / GROUP)) bf16

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        assert bits in (4, 8), f"a quantized weight takes 4 or 8 bits, not {bits}"
        self.bits, self.inputs = bits, weight.size(1)
        largest = 2 ** (bits - 1) - 1
        groups = [group.abs().amax(1) for group in torch.split(weight, GROUP, dim=1)]
        scales = (torch.stack(groups, dim=1) / largest).bfloat16()
        numbers = rounded(weight, self._spread(scales), largest)
        self.register_buffer("scales", scales)
        self.register_buffer("numbers", numbers if bits == 8 else pack(numbers))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        numbers = self.numbers if self.bits == 8 else unpack(self.numbers)[:, : self.inputs]
        return F.linear(x, numbers.to(x.dtype) * self._spread(self.scales.to(x.dtype)))

    def _spread(self, scales: Tensor) -> Tensor:
        """Repeat the scale of each group for its inputs: (out, groups) -> (out, in)."""
        return scales.repeat_interleave(GROUP, dim=1)[:, : self.inputs]


def quantize(model: nn.Module, bits: int) -> None:
    """Convert a model in place to its deployment format: bf16, and linear layers in fewer bits.

    Only the linear layers of its blocks, `model.layers`, become whole numbers; embeddings, the
    output layer and norms stay bf16, since they are small or sensitive.

    Args:
        model: A model with its blocks in `layers`.
        bits: 16 keeps bf16; 8 and 4 make each linear layer of a block a `QuantizedLinear`.
    """
    blocks = [] if bits == 16 else list(model.get_submodule("layers").modules())
    for block in blocks:
        for name, layer in list(block.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(block, name, QuantizedLinear(layer.weight.detach(), bits))
    model.bfloat16()


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print the prompt and its continuation."""
    config, prompt = trained.config, trained.args.prompt
    if not 0 <= config.temperature < math.inf or config.top_k < 0 or not 0 < config.top_p <= 1:
        fail("--temperature and --top-k must be at least 0, and --top-p must lie in (0, 1].")
    if any("\ud800" <= c <= "\udfff" for c in prompt):  # Python's form of bytes that are not UTF-8
        fail("--prompt is not UTF-8 text: check the encoding of the terminal.")
    tokenizer = load_tokenizer(trained.data.tokenizer, trained.folder)
    tokens = encoded(trained, tokenizer)
    # Weights are quantized before they move, so the device never needs memory for 32 bits.
    model = load_model(lambda: Model(trained.model), trained.folder)
    quantize(model, config.weight_bits)
    model.to(trained.device)
    print(prompt, end="", flush=True)
    for piece in pieces(generate(model, tokens, config, trained.device), tokenizer):
        print(piece, end="", flush=True)
    print()


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
        "weight_bits": Setting(
            "bits per weight in the blocks; 8 and 4 are quantized", int, (16, 8, 4)
        ),
        "cache_bits": Setting("bits of the KV cache; 8 is quantized", int, (16, 8)),
    },
)

if __name__ == "__main__":
    run(main)
