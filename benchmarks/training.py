"""A training step of the generated decoder beside transformers' Llama and nanoGPT-style code.

    python benchmarks/training.py [--rounds N] [--threads N]

All have the shape of `specs/text/text_llm_tiny.yaml`, the same batches, float32, on the CPU.
Each round times each of them in turn, so what else the machine does hits all alike; a ratio is the
median over the rounds of their time divided by ours, so above one, the generated code is faster.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metagen import paths
from metagen.package.bundle import bundle

SHAPE: dict[str, Any] = {
    "d_model": 256,
    "n_layers": 8,
    "n_heads": 4,
    "n_kv_heads": 2,
    "head_dim": 64,
    "d_ff": 1024,
    "vocab_size": 8192,
    "max_seq_len": 512,
    "rope_theta": 10000.0,
    "norm_eps": 1e-5,
    "tie_embeddings": True,
}
BATCH = 2
RATE = 1e-4
Step = Callable[[Tensor, Tensor], float]


def generated(compiled: bool) -> Step:
    """Return the step of the generated `train.py`, with or without its `--compile`."""
    model_file, train_file, optimization, speedup = _import_generated()
    model = model_file.Model(model_file.Config(**SHAPE))
    if compiled:
        speedup.compile_modules([model])
    optimizers = optimization.optimizers(model, train_file.Config())

    def part(x: Tensor, y: Tensor) -> tuple[Tensor, int]:
        return model(x, y), y.numel()

    def step(x: Tensor, y: Tensor) -> float:
        parts = [functools.partial(part, x, y)]
        return float(optimization.update(model, optimizers, parts, RATE, 1.0)[0])

    return step


def _import_generated() -> list[ModuleType]:
    """Import model.py, train.py and two modules of runtime/ as a package has them."""
    tasks = "templates/tasks/language_modeling"
    templates = {
        "model": "templates/families/decoder/model.py",
        "data": f"{tasks}/data.py",
        "train": f"{tasks}/train.py",
    }
    folder = Path(tempfile.mkdtemp())
    for name, template in templates.items():
        text = bundle(template, lambda source: paths.source(source).read_bytes())
        (folder / f"{name}.py").write_bytes(text)
    shutil.copytree(paths.templates() / "runtime", folder / "runtime")
    sys.path.insert(0, str(folder))
    names = ("model", "train", "runtime.optimization", "runtime.speedup")
    return [importlib.import_module(name) for name in names]


def transformers_llama() -> Step:
    """Return a step of `LlamaForCausalLM`, with the optimizer that its Trainer takes by default."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=SHAPE["d_model"],
        num_hidden_layers=SHAPE["n_layers"],
        num_attention_heads=SHAPE["n_heads"],
        num_key_value_heads=SHAPE["n_kv_heads"],
        head_dim=SHAPE["head_dim"],
        intermediate_size=SHAPE["d_ff"],
        vocab_size=SHAPE["vocab_size"],
        max_position_embeddings=SHAPE["max_seq_len"],
        rms_norm_eps=SHAPE["norm_eps"],
        tie_word_embeddings=SHAPE["tie_embeddings"],
        attn_implementation="sdpa",
        use_cache=False,
    )
    model = LlamaForCausalLM(config).float().train()
    optimizer = torch.optim.AdamW(model.parameters(), RATE, (0.9, 0.95), fused=True)

    def step(x: Tensor, y: Tensor) -> float:
        loss = model(input_ids=x, labels=y, shift_labels=y).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.item())

    return step


class RMSNorm(nn.Module):
    """Root mean square normalization, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(SHAPE["d_model"]))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, d_model) to (B, T, d_model)."""
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + SHAPE["norm_eps"])
        return x * scale * self.weight


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs of dimensions of (B, T, N, D) by tables of (T, 1, D / 2)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class NanoBlock(nn.Module):
    """A block in the way of nanoGPT: one product for q, k and v.

    `llama` computes what the generated block does; otherwise it is nanoGPT's own, that of GPT-2: no
    rotation, LayerNorm, and GELU in a layer half as wide again, for as many weights without a gate.
    """

    def __init__(self, llama: bool) -> None:
        super().__init__()
        width, size = SHAPE["d_model"], SHAPE["head_dim"]
        hidden = SHAPE["d_ff"] if llama else SHAPE["d_ff"] * 3 // 2
        norm = RMSNorm if llama else functools.partial(nn.LayerNorm, width, bias=False)
        self.ln_1, self.ln_2 = norm(), norm()
        self.cut = [SHAPE["n_heads"] * size, *[SHAPE["n_kv_heads"] * size] * 2]
        self.c_attn = nn.Linear(width, sum(self.cut), bias=False)
        self.c_proj = nn.Linear(self.cut[0], width, bias=False)
        self.c_fc = nn.Linear(width, hidden, bias=False)
        self.c_gate = nn.Linear(width, hidden, bias=False) if llama else None
        self.mlp_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Map (B, T, d_model) to (B, T, d_model)."""
        parts = self.c_attn(self.ln_1(x)).split(self.cut, dim=2)
        q, k, v = (part.unflatten(2, (-1, SHAPE["head_dim"])) for part in parts)
        if self.c_gate is not None:
            q, k = turned(q, cos, sin), turned(k, cos, sin)
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.c_proj(y.transpose(1, 2).flatten(2))
        h = self.ln_2(x)
        if self.c_gate is None:
            return x + self.mlp_proj(F.gelu(self.c_fc(h)))
        return x + self.mlp_proj(F.silu(self.c_gate(h)) * self.c_fc(h))


class Nano(nn.Module):
    """A language model in the way of nanoGPT, with tied tables."""

    def __init__(self, llama: bool) -> None:
        super().__init__()
        length, size = SHAPE["max_seq_len"], SHAPE["head_dim"]
        self.wte = nn.Embedding(SHAPE["vocab_size"], SHAPE["d_model"])
        self.wpe = None if llama else nn.Embedding(length, SHAPE["d_model"])
        self.h = nn.ModuleList(NanoBlock(llama) for _ in range(SHAPE["n_layers"]))
        self.ln_f = RMSNorm() if llama else nn.LayerNorm(SHAPE["d_model"], bias=False)
        rates = SHAPE["rope_theta"] ** (-torch.arange(0, size, 2) / size)
        angles = torch.outer(torch.arange(length), rates)[:, None]  # (T, 1, D / 2)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss."""
        x = self.wte(tokens)
        if self.wpe is not None:
            x = x + self.wpe(torch.arange(tokens.size(1)))
        for block in self.h:
            x = block(x, self.cos, self.sin)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1))


def nanogpt_style(llama: bool) -> Step:
    """Return a step as nanoGPT's train.py takes it on a CPU, where its AdamW is not fused."""
    model = Nano(llama)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, RATE, (0.9, 0.95))

    def step(x: Tensor, y: Tensor) -> float:
        loss = model(x, y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.item())

    return step


def measure(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of a step in each round, after two that are not counted."""
    generator = torch.Generator().manual_seed(0)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 2):
        shape = (BATCH, SHAPE["max_seq_len"] + 1)
        text = torch.randint(SHAPE["vocab_size"], shape, generator=generator)
        # Who begins changes from round to round.
        names = list(steps)[number % len(steps) :] + list(steps)[: number % len(steps)]
        for name in names:
            began = time.perf_counter()
            steps[name](text[:, :-1].contiguous(), text[:, 1:].contiguous())
            if number >= 2:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def main() -> None:
    """Print the table of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=30, help="(default: 30)")
    parser.add_argument("--threads", type=int, default=1, help="(default: 1)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    steps = {
        "generated": generated(compiled=False),
        "generated, `--compile`": generated(compiled=True),
        "transformers Llama": transformers_llama(),
        "nanoGPT style, the same model": nanogpt_style(llama=True),
        "nanoGPT style, GPT-2's block": nanogpt_style(llama=False),
    }
    seconds = measure(steps, args.rounds)
    ours, tokens = seconds["generated"], BATCH * SHAPE["max_seq_len"]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    print(f"{_processor()}, {os.cpu_count()} cores, {args.threads} thread(s); {libraries},")
    print(f"Python {platform.python_version()}; medians of {args.rounds} rounds.\n")
    print("| Code | Seconds per step | Tokens per second | Time relative to the generated code |")
    print("| --- | --- | --- | --- |")
    for name, times in seconds.items():
        middle = statistics.median(times)
        ratio = statistics.median(b / a for a, b in zip(ours, times, strict=True))
        print(f"| {name} | {middle:.3f} | {tokens / middle:,.0f} | {ratio:.2f} |")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.split(": ")[1] for line in lines if line.startswith("model name"))


if __name__ == "__main__":
    main()
