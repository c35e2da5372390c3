"""Continue a text with a trained checkpoint.

    python infer.py --prompt "The import statement"
    python infer.py --prompt "Once" --temperature 0.7 --top-k 50 --max-new-tokens 400
    torchrun --nproc-per-node 8 infer.py --size full --prompt "Once"     one model on 8 devices

Prints the prompt and its continuation on stdout, token by token.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
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


def blockwise_attention(
    q: Tensor, positions: Tensor, blocks: Iterable[tuple[Tensor, Tensor, Tensor]], window: int
) -> Tensor:
    """Return causal attention to the newest `window` positions, over keys that come in blocks.

    The sums of the softmax are corrected where a block has a larger score than those before
    (Milakov & Gimelshein, 2018, arXiv:1805.02867, algorithm 3), so one block is held at a time.

    Args:
        q: (B, H, T, D).
        positions: (T) where the queries stand.
        blocks: Keys and values, (B, K, S, D) in float32, and where they stand, (S). Each query
            sees a key in the last of them, its own.
        window: How many positions a query sees, its own included.
    """
    top = q.new_full((*q.shape[:3], 1), -math.inf, dtype=torch.float32)  # the largest score
    weight = torch.zeros_like(top)  # the sum of exp(score - top)
    total = torch.zeros_like(q, dtype=torch.float32)  # the same sum, times values
    for k, v, places in blocks:
        back = positions[:, None] - places  # (T, S)
        unseen = (back < 0) | (back >= window)
        # The heads of a group are rows, so keys need no copy for each of them.
        rows = q.float().reshape(q.size(0), k.size(1), -1, q.size(3))  # (B, K, H / K * T, D)
        scores = (rows @ k.transpose(2, 3)).mul_(q.size(3) ** -0.5)
        scores = scores.view(*q.shape[:3], -1).masked_fill_(unseen, -math.inf)  # (B, H, T, S)
        new = torch.maximum(top, scores.amax(-1, keepdim=True)).clamp(min=torch.finfo().min)
        scores, kept = scores.sub_(new).exp_(), (top - new).exp()
        weight = weight * kept + scores.sum(-1, keepdim=True)
        values = scores.view(*rows.shape[:3], -1) @ v  # (B, K, H / K * T, D)
        total, top = total * kept + values.view_as(total), new
        del k, v, scores, values  # They would be held beside those of the next block.
    return (total / weight).to(q.dtype)


BLOCK = 8192  # most positions that are unpacked at once


PAIRS = 512 * 512  # most pairs of a query and a key that a head scores at once


class Int8KVCache:
    """Keys and values of the newest positions in 8 bits, in the place of a `KVCache`.

    The numbers of a head share a scale, their largest magnitude / 127, so D take D + 2 bytes.
    Position p is stored at p modulo the size.
    """

    def __init__(self, store: Tensor) -> None:
        # The replaced store is (keys and values, B, K, size, D).
        self.numbers = torch.zeros_like(store, dtype=torch.int8)
        self.scales = store.new_zeros(*store.shape[:-1], 1, dtype=torch.bfloat16)
        self.size, self.length = store.size(3), 0

    def attend(self, q: Tensor, k: Tensor, v: Tensor, _: Callable[..., Tensor]) -> Tensor:
        """Return causal attention to the newest `size` positions, and keep T new ones.

        q is (B, H, T, D), k and v are (B, K, T, D).
        """
        positions = torch.arange(self.length, self.length + q.size(2), device=q.device)
        new = (k.float(), v.float(), positions)
        blocks = itertools.chain(self._past(q.size(2)), [new])
        y = blockwise_attention(q, positions, blocks, self.size)
        self._write(torch.stack((k, v)), positions)
        return y

    def _past(self, queries: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield keys, values and positions so far, as many at once as so many queries allow."""
        end, step = min(self.length, self.size), max(1, min(BLOCK, PAIRS // queries))
        for start in range(0, end, step):
            yield self._block(start, min(start + step, end))

    def _block(self, start: int, end: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return keys, values and positions of some places, in float32."""
        both = self.numbers[:, :, :, start:end].float().mul_(self.scales[:, :, :, start:end])
        places, last = torch.arange(start, end, device=both.device), self.length - 1
        return both[0], both[1], last - (last - places) % self.size

    def _write(self, both: Tensor, positions: Tensor) -> None:
        """Store keys and values, (2, B, K, T, D); of more than `size` positions, the newest."""
        self.length += both.size(3)
        both, slots = both[:, :, :, -self.size :].float(), positions[-self.size :] % self.size
        scales = (both.abs().amax(-1, keepdim=True) / 127).bfloat16()
        numbers = both.div_(scales).nan_to_num_(0).round_().clamp_(-127, 127)
        self.scales[:, :, :, slots] = scales
        self.numbers[:, :, :, slots] = numbers.to(torch.int8)


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


def rounded(x: Tensor, scales: Tensor, largest: int) -> Tensor:
    """Return x / scales as whole numbers from -largest to largest, int8; 0 where a scale is 0."""
    numbers = (x.float() / scales.float()).nan_to_num(0).round()
    return numbers.clamp(-largest, largest).to(torch.int8)


LOADED = 16  # inputs of a row that the CPU's product of 8 bits loads at once


def widened(x: Tensor, width: int) -> Tensor:
    """Fill rows with zeros up to a width, as the weights are: (N, in) to (N, width)."""
    return x if x.size(1) == width else F.pad(x, (0, width - x.size(1)))


class Int8Linear(nn.Module):
    """A linear layer without bias whose weights are whole numbers of 8 bits times a scale a row.

    Symmetric round-to-nearest (Dettmers et al., 2022, arXiv:2208.07339, section 2.1): w is about
    scale * n, with scale = max |w| of the row / 127.
    """

    numbers: Tensor  # (out, in rounded up to a multiple of 16) int8
    scales: Tensor  # (out) bf16

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        scales = (weight.abs().amax(1) / 127).bfloat16()
        numbers = rounded(weight, scales[:, None], 127)
        self.register_buffer("numbers", F.pad(numbers, (0, -weight.size(1) % LOADED)))
        self.register_buffer("scales", scales)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out), in bf16."""
        rows = widened(x.flatten(0, -2), self.numbers.size(1))
        if x.device.type == "cpu":
            y: Tensor = torch.ops.aten._weight_int8pack_mm(rows, self.numbers, self.scales)
        else:  # torch.compile makes this one kernel; its own GPU kernel has a thread an output.
            y = F.linear(rows, self.numbers.to(x.dtype)) * self.scales
        return y.view(*x.shape[:-1], -1)


GROUP = 128  # inputs of a row that share a step and a zero at 4 bits


TILE = 16  # rows that the CPU's product of 4 bits computes at once


def packed(numbers: Tensor) -> Tensor:
    """Pack numbers from 0 to 15, (out, in) int8, as their device's product of 4 bits reads them."""
    if numbers.device.type == "cpu":
        tiles: Tensor = torch.ops.aten._convert_weight_to_int4pack_for_cpu(numbers.int(), 1)
        return tiles
    pairs = (numbers[:, ::2] << 4 | numbers[:, 1::2]).to(torch.uint8)
    tiles = torch.ops.aten._convert_weight_to_int4pack(pairs, 8)  # tiles of 16 inputs to a thread
    return tiles


class Int4Linear(nn.Module):
    """A linear layer without bias whose weights are whole numbers of 4 bits in groups.

    Asymmetric round-to-nearest in groups (Dettmers & Zettlemoyer, 2023, arXiv:2212.09720, section
    2): w is about step * (n - 8) + zero, with step = (largest - smallest w of the group) / 15.
    """

    numbers: Tensor  # two numbers to a byte, in the order of the device's product
    scales: Tensor  # (groups, out rounded up to a multiple of 16, 2) bf16: step and zero

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.outputs = weight.size(0)
        whole = F.pad(weight, (0, -weight.size(1) % GROUP, 0, -self.outputs % TILE))
        groups = whole.float().view(whole.size(0), -1, GROUP)  # (out, groups, GROUP)
        low, high = groups.aminmax(dim=-1)
        steps = ((high - low) / 15).bfloat16()
        zeros = (low + 8 * steps).bfloat16()
        numbers = 8 + rounded(groups - zeros[..., None], steps[..., None], 8).clamp(max=7)
        self.register_buffer("numbers", packed(numbers.flatten(1)))
        self.register_buffer("scales", torch.stack((steps, zeros), -1).transpose(0, 1).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out), in bf16."""
        rows = widened(x.flatten(0, -2), self.scales.size(0) * GROUP)
        ops = torch.ops.aten
        product = (
            ops._weight_int4pack_mm_for_cpu if x.device.type == "cpu" else ops._weight_int4pack_mm
        )
        y: Tensor = product(rows, self.numbers, GROUP, self.scales)[:, : self.outputs]
        return y.reshape(*x.shape[:-1], -1)


def share(weight: Tensor) -> tuple[Tensor, bool]:
    """Return a process's share of a weight, and whether it has a share of each row's inputs."""
    from torch.distributed.tensor import DTensor

    if not isinstance(weight, DTensor):
        return weight, False
    return weight.to_local(), weight.placements[0].is_shard(1)


def added(layer: nn.Module, inputs: object, part: Tensor) -> Tensor:
    """Return the sum of all processes' parts of a layer's output, as a hook of the layer."""
    part = part.contiguous()
    torch.distributed.all_reduce(part)
    return part


def quantize(
    model: nn.Module, bits: int, device: torch.device, dtype: torch.dtype = torch.bfloat16
) -> None:
    """Convert a model in place to its deployment format, with its linear layers in fewer bits.

    Only the linear layers of its blocks, `model.layers`, become whole numbers; embeddings, the
    output layer and norms keep `dtype`, since they are small or sensitive.

    Args:
        model: A model with its blocks in `layers`.
        bits: 16 keeps `dtype`; 8 and 4 make each linear layer of a block one of whole numbers.
        device: Where the model will compute; it moves there layer by layer.
        dtype: Format of the other weights; products of whole numbers need bf16.
    """
    assert bits in (16, 8, 4), f"a weight takes 16, 8 or 4 bits, not {bits}"
    kind = Int8Linear if bits == 8 else Int4Linear
    blocks = [] if bits == 16 else list(model.get_submodule("layers").modules())
    for block in blocks:
        for name, layer in list(block.named_children()):
            if isinstance(layer, nn.Linear):
                weight, adds = share(layer.weight.detach())
                setattr(block, name, kind(weight.to(device)))
                if adds:
                    getattr(block, name).register_forward_hook(added)
    model.to(dtype).to(device)


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
