"""Tokens a second of the generated decoder, beside others of the same shape, on this machine.

    python benchmarks/decoding.py                      the table of docs/benchmarks.md
    python benchmarks/decoding.py --rounds 3 --shape small
    python benchmarks/decoding.py --formats            the generated code in its number formats

Each round lets every contender continue the same prompt with the same number of tokens, one after
the other; a ratio is taken within a round, and the table shows medians over rounds. The time is
that of the CPU with one thread, which other processes hardly change, and the clock's with more.
What is timed is forward passes and taking the likeliest token, without sampling or text, on random
weights in float32. The prompt's own pass is not in the time. The slowest takes part in a fifth of
the rounds.

- transformers: LlamaForCausalLM with its DynamicCache and its default attention (SDPA), called
  directly: the overhead of `generate` is not counted against it. It has our weights.
- nanoGPT-style, no cache: a GPT-2 block with as many weights, generating as nanoGPT's sample.py
  does: each token passes the whole text through the model, and only the last position is scored.
- nanoGPT-style, cache: the same model with keys and values kept in a buffer, which nanoGPT has not.
"""

import argparse
import importlib.util
import math
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from metagen import paths
from metagen.package.bundle import bundle

SHAPES: dict[str, dict[str, Any]] = {
    "proxy": {
        "d_model": 96, "n_layers": 4, "n_heads": 4, "n_kv_heads": 2, "head_dim": 24, "d_ff": 256,
        "vocab_size": 256,
    },
    "small": {
        "d_model": 512, "n_layers": 8, "n_heads": 8, "n_kv_heads": 2, "head_dim": 64, "d_ff": 1408,
        "vocab_size": 8192,
    },
    "base": {
        "d_model": 1024, "n_layers": 12, "n_heads": 16, "n_kv_heads": 4, "head_dim": 64,
        "d_ff": 2816, "vocab_size": 16384,
    },
}  # fmt: skip
OURS, SLOW = "generated decoder", "nanoGPT-style, no cache"
SLOW_EVERY = 5  # rounds, of which the one that passes the whole text each time takes part in one
Step = Callable[[Tensor], Tensor]


class NanoBlock(nn.Module):
    """A GPT-2 block in nanoGPT's form: fused query, key and value, and a GELU layer of two."""

    def __init__(self, width: int, n_heads: int, hidden: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.c_attn = nn.Linear(width, 3 * width, bias=False)
        self.c_proj = nn.Linear(width, width, bias=False)
        self.c_fc = nn.Linear(width, hidden, bias=False)
        self.c_out = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, kept: Tensor | None, start: int) -> Tensor:
        """Map (B, T, width) to the same; `kept` is (2, B, H, longest, D)."""
        batch, length, width = x.shape
        q, k, v = self.c_attn(self.ln_1(x)).split(width, dim=2)
        q, k, v = (
            each.view(batch, length, self.n_heads, width // self.n_heads).transpose(1, 2)
            for each in (q, k, v)
        )
        if kept is not None:
            kept[0, :, :, start : start + length], kept[1, :, :, start : start + length] = k, v
            k, v = kept[0, :, :, : start + length], kept[1, :, :, : start + length]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=length > 1)
        x = x + self.c_proj(y.transpose(1, 2).contiguous().view(batch, length, width))
        return x + self.c_out(F.gelu(self.c_fc(self.ln_2(x))))


class Nano(nn.Module):
    """A GPT-2 in nanoGPT's form, with about as many weights in a block as a decoder of a shape."""

    def __init__(self, shape: dict[str, Any], max_len: int) -> None:
        super().__init__()
        width = shape["d_model"]
        self.wte, self.wpe = nn.Embedding(shape["vocab_size"], width), nn.Embedding(max_len, width)
        kv = 2 * width * shape["n_kv_heads"] * shape["head_dim"]
        ours = 2 * width * shape["n_heads"] * shape["head_dim"] + kv + 3 * width * shape["d_ff"]
        hidden = (ours - 4 * width**2) // (2 * width)
        blocks = (NanoBlock(width, shape["n_heads"], hidden) for _ in range(shape["n_layers"]))
        self.h, self.ln_f = nn.ModuleList(blocks), nn.LayerNorm(width, bias=False)

    def forward(self, tokens: Tensor, cache: list[Tensor] | None = None, start: int = 0) -> Tensor:
        """Return the logits of the last position, (B, 1, V)."""
        positions = torch.arange(start, start + tokens.size(1))
        x = self.wte(tokens) + self.wpe(positions)
        for index, block in enumerate(self.h):
            x = block(x, None if cache is None else cache[index], start)
        return F.linear(self.ln_f(x[:, [-1]]), self.wte.weight)  # the last position only


def generated(shape: dict[str, Any], max_len: int) -> ModuleType:
    """Return the module `model.py` of a package, set to a shape."""
    rest = {"max_seq_len": max_len, "rope_theta": 1e4, "norm_eps": 1e-5, "tie_embeddings": True}
    return bundled("templates/families/decoder/model.py", rest | shape)


def bundled(template: str, config: dict[str, Any] | None = None) -> ModuleType:
    """Return a template as the module that a package would have."""
    text = bundle(template, lambda name: paths.source(name).read_bytes(), config)
    path = Path(tempfile.mkdtemp()) / "module.py"
    path.write_bytes(text)
    name = f"generated_{Path(template).stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def counterpart(model: Any, shape: dict[str, Any]) -> Any:
    """Return transformers' model with a generated model's weights."""
    known = model.checkpoint_config() | {n: shape[n] for n in ("vocab_size", "head_dim")}
    theirs = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(known.pop("model_type"), **known)
    )
    weights = {model.checkpoint_name(name): p for name, p in model.named_parameters()}
    theirs.load_state_dict(weights, strict=False)
    theirs.tie_weights()
    return theirs.eval()


def contenders(shape: dict[str, Any], max_len: int) -> dict[str, Callable[[], Step]]:
    """Return, for each contender, what starts a new text: a step from new tokens to logits."""
    module = generated(shape, max_len)
    torch.manual_seed(0)
    ours = module.Model(module.Config()).eval()
    theirs, nano = counterpart(ours, shape), Nano(shape, max_len).eval()

    def start_ours() -> Step:
        cache = ours.new_cache(1, max_len)
        return lambda tokens: ours(tokens, cache=cache)

    def start_theirs() -> Step:
        cache = DynamicCache(config=theirs.config)
        return lambda tokens: theirs(tokens, past_key_values=cache).logits

    def start_nano() -> Step:
        text = torch.zeros(1, 0, dtype=torch.long)

        def step(tokens: Tensor) -> Tensor:
            nonlocal text
            text = torch.cat((text, tokens), dim=1)
            return nano(text)

        return step

    def start_nano_cache() -> Step:
        heads = shape["n_heads"]
        size = (2, 1, heads, max_len, shape["d_model"] // heads)
        cache, position = [torch.zeros(size) for _ in nano.h], 0

        def step(tokens: Tensor) -> Tensor:
            nonlocal position
            position += tokens.size(1)
            return nano(tokens, cache, position - tokens.size(1))

        return step

    return {
        OURS: start_ours,
        "transformers Llama": start_theirs,
        "nanoGPT-style, cache": start_nano_cache,
        SLOW: start_nano,
    }


def formats(shape: dict[str, Any], max_len: int) -> dict[str, Callable[[], Step]]:
    """Return the same for one network in each format that infer.py has."""
    module, layers = generated(shape, max_len), bundled("templates/layers/quantized.py")
    small = bundled("templates/layers/quantized_cache.py")

    def start(model: Any, cache_bits: int) -> Callable[[], Step]:
        def begin() -> Step:
            cache = model.new_cache(1, max_len)
            if cache_bits == 8:
                cache = [small.Int8KVCache(layer.store) for layer in cache]
            return lambda tokens: model(tokens, cache=cache)

        return begin

    def made(bits: int) -> Any:
        torch.manual_seed(0)
        model = module.Model(module.Config()).eval()
        if bits < 32:
            layers.quantize(model, bits, torch.device("cpu"))
        return model

    half = made(16)
    return {
        OURS: start(made(32), 16),
        "generated, bf16": start(half, 16),
        "generated, 8 bits": start(made(8), 16),
        "generated, 4 bits": start(made(4), 16),
        "generated, bf16, cache of 8 bits": start(half, 8),
    }


@torch.inference_mode()
def seconds_a_token(start: Callable[[], Step], prompt: Tensor, count: int) -> float:
    """Return the mean seconds of `count` single tokens after a prompt."""
    now = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    step = start()
    token = step(prompt)[:, -1:].argmax(-1)
    begun = now()
    for _ in range(count):
        token = step(token)[:, -1:].argmax(-1)
    return (now() - begun) / count


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, action="append", help="(default: all)")
    parser.add_argument("--prompt", type=int, action="append", help="(default: 16 and 512)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=32, help="timed in each round")
    parser.add_argument("--formats", action="store_true", help="compare number formats instead")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")  # arguments that newer versions of transformers rename
    print(f"{platform.processor() or platform.machine()}, {args.threads} threads; "
          f"torch {torch.__version__}, transformers {transformers.__version__}; "
          f"medians of {args.rounds} rounds of {args.tokens} tokens\n")  # fmt: skip
    print("| shape | prompt | contender | tokens/s | generated decoder is faster by |")
    print("| --- | ---: | --- | ---: | ---: |")
    for name in args.shape or SHAPES:
        for length in args.prompt or (16, 512):
            found = (formats if args.formats else contenders)(
                SHAPES[name], length + args.tokens + 1
            )
            prompt = torch.randint(256, (1, length))
            times: dict[str, list[float]] = {contender: [] for contender in found}
            for number in range(args.rounds + 1):
                for contender, start in found.items():
                    if contender != SLOW or number % SLOW_EVERY == 1:
                        times[contender].append(seconds_a_token(start, prompt, args.tokens))
                    else:
                        times[contender].append(math.nan)
            for contender, each in times.items():
                pairs = list(zip(each, times[OURS], strict=True))[1:]  # the first round warms up
                ratios = [theirs / ours for theirs, ours in pairs if not math.isnan(theirs)]
                speed = 1 / statistics.median(t for t, _ in pairs if not math.isnan(t))
                ratio = "" if contender == OURS else f"{statistics.median(ratios):.2f}x"
                print(f"| {name} | {length} | {contender} | {speed:,.1f} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
