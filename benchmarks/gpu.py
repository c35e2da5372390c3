"""What only a GPU can tell of the generated decoder, on one H100 or H200, within six minutes.

    python benchmarks/gpu.py            the tables of docs/benchmarks.md
    python benchmarks/gpu.py --toy      the same work at a small size, on a CPU

- A training step of a decoder of about 1B parameters with bf16 products, as it is and compiled,
  beside transformers' Llama with the same weights. Its share of the peak counts operations as
  torchtitan does: 6 for each parameter outside the input table, and 12 L h s T for attention.
- Local attention: its time by the fused kernels, which raise an error if they cannot compute it.
- Decoding with weights of 16, 8 and 4 bits: the bytes that a token reads, by its time, as a share
  of the bandwidth in metagen/data/devices.csv.

Each measurement stops after some seconds or some rounds, whichever comes first; its result is
the median.
"""

import argparse
import csv
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from decoding import bundled, counterpart, generated
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from metagen import paths

FULL = {
    "d_model": 2048, "n_layers": 16, "n_heads": 32, "n_kv_heads": 8, "head_dim": 64, "d_ff": 8192,
    "vocab_size": 32768,
}  # fmt: skip
TOY = {
    "d_model": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "head_dim": 16, "d_ff": 128,
    "vocab_size": 256,
}  # fmt: skip
FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]
Row = tuple[object, ...]


class Clock:
    """Measures work on a device, each for some seconds at most."""

    def __init__(self, device: torch.device, seconds: float, rounds: int) -> None:
        self.device, self.limit, self.rounds = device, seconds, rounds

    def median(self, work: Callable[[], object]) -> float:
        """Return the median seconds of a piece of work, after two rounds that warm up."""
        times: list[float] = []
        end = 0.0
        while len(times) < self.rounds + 2 and (len(times) < 3 or time.perf_counter() < end):
            if len(times) == 2:  # Compilation is not within the limit.
                end = time.perf_counter() + self.limit
            times.append(self._once(work))
        return statistics.median(times[2:])

    def _once(self, work: Callable[[], object]) -> float:
        self._wait()
        begun = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - begun

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def hardware(device: torch.device) -> tuple[str, float | None, float | None]:
    """Return a device's name, peak in bf16 and bandwidth; None where devices.csv has no figure."""
    if device.type == "cpu":
        return platform.processor() or platform.machine(), None, None
    name = torch.cuda.get_device_name(device)
    for row in csv.DictReader(paths.source("metagen/data/devices.csv").read_text().splitlines()):
        model = row["device"].partition("-")[0]
        if model in name and row["peak_dense_bf16_tflops"] and row["mem_bandwidth_gb_s"]:
            return (
                name,
                float(row["peak_dense_bf16_tflops"]) * 1e12,
                float(row["mem_bandwidth_gb_s"]) * 1e9,
            )
    return name, None, None


def share(value: float, peak: float | None) -> str:
    """Return a value as a share of a peak, or that the peak is not known."""
    return f"{value / peak:.1%}" if peak else "peak not known"


def training(
    shape: dict[str, Any], batch: int, length: int, clock: Clock, peak: float | None
) -> Iterator[Row]:
    """Yield tokens a second, share of the peak and memory of a training step, by code."""
    device, module = clock.device, generated(shape, length)
    tokens = torch.randint(shape["vocab_size"], (batch, length), device=device)

    def ours(model: nn.Module) -> Tensor:
        loss: Tensor = model(tokens, tokens)
        return loss

    def theirs(model: nn.Module) -> Tensor:
        loss: Tensor = model(input_ids=tokens, labels=tokens).loss
        return loss

    for name in ("generated", "generated, compiled", "transformers Llama"):
        torch.manual_seed(0)
        model = module.Model(module.Config())
        if name.startswith("transformers"):
            model = counterpart(model, shape)
        model = model.train().to(device)
        if name.endswith("compiled"):
            model.compile()
        loss = theirs if name.startswith("transformers") else ours
        seconds, memory = _steps(model, loss, clock)
        count = sum(p.numel() for p in model.parameters())
        attention = 12 * shape["n_layers"] * shape["n_heads"] * shape["head_dim"] * length
        # A tied table is the output layer too, whose operations count.
        flops = 6 * count + attention
        speed = batch * length / seconds
        held = f"{memory / 1e9:.1f} GB" if memory else "not measured"
        yield name, f"{speed:,.0f}", share(speed * flops, peak), held
        del model


def _steps(
    model: nn.Module, loss: Callable[[nn.Module], Tensor], clock: Clock
) -> tuple[float, float]:
    """Return the seconds of a step and the most memory that was allocated, in bytes."""
    fused = clock.device.type == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=fused)

    def step() -> None:
        with torch.autocast(clock.device.type, dtype=torch.bfloat16):
            value = loss(model)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    if fused:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    seconds = clock.median(step)
    return seconds, torch.cuda.max_memory_allocated() if fused else 0


def local(shape: dict[str, Any], length: int, window: int, clock: Clock) -> Iterator[Row]:
    """Yield the time of local attention, forward and backward, by the kernels allowed."""
    attention = bundled("templates/layers/attention.py")
    size, dtype = (1, shape["n_heads"], length, shape["head_dim"]), torch.bfloat16
    q = torch.randn(size, device=clock.device, dtype=dtype, requires_grad=True)
    k = q[:, : shape["n_kv_heads"]].detach().clone().requires_grad_()

    def work() -> None:
        attention.local_attention(q, k, k, window).sum().backward()

    for name, kernels in (("fused", FUSED), ("unfused", [SDPBackend.MATH])):
        with sdpa_kernel(kernels):
            yield name, f"{1e3 * clock.median(work):,.2f} ms"


def decoding(
    shape: dict[str, Any], prompt: int, count: int, clock: Clock, bandwidth: float | None
) -> Iterator[Row]:
    """Yield tokens a second and the share of the bandwidth, by format, as it is and compiled."""
    device = clock.device
    module, layers = generated(shape, 4 * count + prompt), bundled("templates/layers/quantized.py")
    tokens = torch.randint(256, (1, prompt), device=device)
    for bits in (16, 8, 4):
        torch.manual_seed(0)
        model = module.Model(module.Config()).eval()
        layers.quantize(model, bits, device)
        held = sum(each.nbytes for each in (*model.parameters(), *model.buffers()))
        for name in ("", ", compiled"):
            for layer in model.layers if name else ():
                layer.compile(options={"coordinate_descent_tuning": True})
            seconds = _token(model, tokens, count, clock)
            speed = f"{1 / seconds:,.1f}"
            yield f"{bits} bits{name}", speed, share(held / seconds, bandwidth)
        del model


@torch.inference_mode()
def _token(model: Any, prompt: Tensor, count: int, clock: Clock) -> float:
    """Return the seconds of a token after a prompt."""

    def work() -> None:
        for cached in cache:
            cached.length = prompt.size(1)
        token = first
        for _ in range(count):
            token = model(token, cache=cache)[:, -1:].argmax(-1)

    cache = model.new_cache(1, prompt.size(1) + count)
    first = model(prompt, cache=cache)[:, -1:].argmax(-1)
    return clock.median(work) / count


def table(head: Row, rows: Iterator[Row]) -> None:
    """Print a table of Markdown, row by row."""
    print("\n| " + " | ".join(map(str, head)) + " |\n|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--toy", action="store_true", help="a small size, on a CPU")
    toy = parser.parse_args().toy
    device = torch.device("cpu" if toy else "cuda")
    name, peak, bandwidth = hardware(device)
    clock = Clock(device, 1 if toy else 12, 2 if toy else 10)
    shape, length, window = (TOY, 64, 16) if toy else (FULL, 4096, 1024)
    print(f"{name}; torch {torch.__version__}; {shape}")
    head = ("training", "tokens/s", "share of the peak", "peak memory")
    table(head, training(shape, 2 if toy else 4, length, clock, peak))
    table(("local attention", "forward and backward"), local(shape, 4 * length, window, clock))
    head = ("decoding", "tokens/s", "share of the bandwidth")
    table(head, decoding(shape, length // 8, 4 if toy else 32, clock, bandwidth))


if __name__ == "__main__":
    main()
