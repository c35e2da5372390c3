"""Measurements of the generated decoder that need a GPU: one H100 or H200 for six minutes.

    python benchmarks/gpu.py            the tables for docs/benchmarks.md
    python benchmarks/gpu.py --toy      a tiny model on one CPU thread, to test this script

- A training step of a decoder of about 1B parameters with bf16 products, with and without
  compilation, and of transformers' Llama with the same weights. The share of the peak counts
  6 (N - N_embedding) + 12 L h q T operations a token, as torchtitan does. The peak memory stands
  beside what `code/launch/plan.json` says of such a step.
- Local attention beside full attention: the kernel that torch chooses, its time and its memory.
- Decoding with weights of 16, 8 and 4 bits: the bytes that a token reads, divided by its time, as a
  share of the bandwidth. The range beside it is the one that verdicts on speed are based on.

Peaks and bandwidths are those of metagen/data/devices.csv; times are medians. Each row has a time
limit, and all together have one. A row that fails says why, and the next one follows.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast

import torch
from decoding import bundled, counterpart, generated
from timed import Cells, Limit, NotRun, Row, table
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from metagen import paths
from metagen.families.decoder import FAMILY
from metagen.measure import memory, memory_worker
from metagen.sizing import devices
from metagen.sizing.devices import Device, Roofline
from metagen.sizing.explain import SpecDesk
from metagen.spec import load
from metagen.work import Desk

SECONDS = 345  # Measuring stops then; starting Python and torch takes the rest of six minutes.
FULL = {
    "d_model": 2048, "n_layers": 16, "n_heads": 32, "n_kv_heads": 8, "head_dim": 64, "d_ff": 8192,
    "vocab_size": 32768, "tie_embeddings": False,
}  # fmt: skip
TOY = {
    "d_model": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "head_dim": 16, "d_ff": 128,
    "vocab_size": 256, "tie_embeddings": False,
}  # fmt: skip
# Names of torch's device and of devices.csv. Other models have the same chip and other peaks.
MODELS = {"H100 80GB HBM3": "H100-80GB-SXM", "H200": "H200-141GB-SXM"}
UNKNOWN = "not known"


@dataclass(frozen=True)
class Clock:
    """Measures work on a device, for some seconds and some rounds at most."""

    device: torch.device
    seconds: float
    rounds: int

    def measured(self, work: Callable[[], object]) -> tuple[float, int | None]:
        """Return the median seconds after two rounds of warm-up, and the peak memory on a GPU."""
        gpu = self.device.type == "cuda"
        if gpu:
            torch.cuda.reset_peak_memory_stats()
        # Compilation is part of the warm-up.
        self._once(work), self._once(work)
        times, end = [self._once(work)], time.monotonic() + self.seconds
        while len(times) < self.rounds and time.monotonic() < end:
            times.append(self._once(work))
        return statistics.median(times), torch.cuda.max_memory_allocated() if gpu else None

    def _once(self, work: Callable[[], object]) -> float:
        self._wait()
        begun = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - begun

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


@dataclass(frozen=True)
class Bench:
    """The shape and the machine that all rows share.

    Attributes:
        shape: Dimensions of the decoder.
        clock: What measures, with its device.
        known: The device's peaks; None if devices.csv lacks it.
        roofline: The shares of these peaks that verdicts assume; None without `known`.
        length: Tokens of a training sample.
        batch: Samples of a training step.
        window: Positions that local attention attends to.
        prompt: Tokens before those that are decoded.
        count: Tokens that are decoded in a round.
        toy: Whether rows with compilation are left out.
    """

    shape: dict[str, Any]
    clock: Clock
    known: Device | None
    roofline: Roofline | None
    length: int
    batch: int
    window: int
    prompt: int
    count: int
    toy: bool

    @property
    def device(self) -> torch.device:
        return self.clock.device

    def model(self, length: int) -> Any:
        """Return a generated decoder with a context of some tokens, on the device."""
        module = generated(self.shape, length)
        torch.manual_seed(0)
        with self.device:  # The first weights are drawn there, which is faster than on the CPU.
            return module.Model(module.Config())

    def compiled(self, compile_it: Callable[[], object]) -> None:
        """Compile; leave the row out of a toy run."""
        if self.toy:
            raise NotRun("not run (toy)")
        compile_it()


def bench(toy: bool) -> Bench:
    """Return the set-up of a run."""
    device = torch.device("cpu" if toy else "cuda")
    desk = cast(Desk, SpecDesk(load(paths.specs() / "text" / "text_llm_tiny.yaml")))
    # A toy run takes the peaks of some CPU, so that it computes all that a full run does.
    name = devices.CLASSES["cpu"] if toy else _model(torch.cuda.get_device_name(device))
    known = devices.table(desk).get(name)
    roofline = devices.roofline(desk, known, FAMILY) if known else None
    clock = Clock(device, 1 if toy else 8, 2 if toy else 10)
    shape, sizes = (TOY, (64, 2, 16, 8, 4)) if toy else (FULL, (4096, 2, 1024, 512, 32))
    return Bench(shape, clock, known, roofline, *sizes, toy)


def _model(name: str) -> str:
    """Return the name in devices.csv of torch's name of a GPU; "" if it has none."""
    return next((ours for theirs, ours in MODELS.items() if name.endswith(theirs)), "")


def share(value: float, peak: float | None) -> str:
    """Return a value as a share of a peak."""
    return f"{value / peak:.3%}" if peak else UNKNOWN


def gigabytes(size: float | None) -> str:
    return "not measured" if size is None else f"{size / 1e9:.4g} GB"


def training(run: Bench) -> Iterator[Row]:
    """Yield tokens a second, share of the peak, peak memory and its estimate, by code."""
    for name, seconds in (("generated", 40), ("generated, compiled", 120), ("transformers", 40)):
        yield name, seconds, lambda name=name: _training(run, name)


def _training(run: Bench, name: str) -> Cells:
    model = run.model(run.length).train()
    computed = sum(p.numel() for p in model.parameters()) - model.embed_tokens.weight.numel()
    estimate = "-"
    tokens = torch.randint(run.shape["vocab_size"], (run.batch, run.length), device=run.device)
    if name == "transformers":
        with run.device:
            model = counterpart(model, run.shape).train()
        step = _step(model, lambda: model(input_ids=tokens, labels=tokens, use_cache=False).loss)
    else:
        estimate = planned(run)
        step = _step(model, lambda: model(tokens, tokens))
    if name.endswith("compiled"):
        run.compiled(model.compile)
    seconds, held = run.clock.measured(step)
    speed = run.batch * run.length / seconds
    reached = share(speed * operations(run, computed), run.known and run.known.flops)
    return f"{speed:,.0f}", reached, gigabytes(held), estimate


def operations(run: Bench, computed: int) -> int:
    """Return the operations of training on a token: 6 a parameter, and those of attention.

    torchtitan's convention: 6 (N - N_embedding) + 12 L h q T, where q is the size of a head.
    """
    shape = run.shape
    attention = shape["n_layers"] * shape["n_heads"] * shape["head_dim"] * run.length
    return 6 * computed + 12 * attention


def _step(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """Return a training step: forward and backward pass, clipping and AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    device = next(model.parameters()).device.type

    def step() -> None:
        with torch.autocast(device, dtype=torch.bfloat16):
            value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def planned(run: Bench) -> str:
    """Return the memory of such a step as code/launch/plan.json has it: `total` and `most`."""
    module = generated(run.shape, run.length)

    def loss(model: Any) -> Tensor:
        tokens = torch.zeros(run.batch, run.length, dtype=torch.int64)
        return cast(Tensor, model(tokens, tokens))

    counted = memory_worker.measure(
        lambda: module.Model(module.Config()),
        loss,
        lambda model: list(model.get_submodule("layers").children()),
        lambda: SimpleNamespace(keeps=lambda operator: True),  # Nothing is recomputed.
        "ddp",
        1,
    )
    row = counted["ddp"]
    passing = row["activations"]["none"] + row["temporary"] + row["gathered"]
    states = sum(row[name] for name in memory.STATES)
    most = states + memory.UNCOUNTED * passing
    return f"{gigabytes(states + passing)} to {gigabytes(most)}"


class Kernels(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the kernels of scaled_dot_product_attention; `names` has none if it is unfused."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: dict[str, None] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        prefix, name = "_scaled_dot_product_", func._overloadpacket.__name__
        if name.startswith(prefix) and not name.endswith("backward"):
            self.names[name.removeprefix(prefix)] = None
        return func(*args, **(kwargs or {}))


def attention(run: Bench) -> Iterator[Row]:
    """Yield the kernel, time and memory of attention forward and backward, full and local."""
    for window in (None, run.window):
        name = f"window of {window:,}" if window else f"all {4 * run.length:,} positions"
        yield name, 20, lambda window=window: _attention(run, window)


def _attention(run: Bench, window: int | None) -> Cells:
    module, shape, dtype = bundled("templates/layers/attention.py"), run.shape, torch.bfloat16
    size = (1, shape["n_heads"], 4 * run.length, shape["head_dim"])
    q = torch.randn(size, device=run.device, dtype=dtype, requires_grad=True)
    k, v = (q[:, : shape["n_kv_heads"]].detach().clone().requires_grad_() for _ in range(2))

    def forward() -> Tensor:
        if window:
            return cast(Tensor, module.local_attention(q, k, v, window))
        return cast(Tensor, module.causal_attention(q, k, v))

    with Kernels() as kernels:
        forward()
    seconds, held = run.clock.measured(lambda: forward().sum().backward())
    return ", ".join(kernels.names) or "math", f"{1e3 * seconds:,.2f} ms", gigabytes(held)


def decoding(run: Bench) -> Iterator[Row]:
    """Yield tokens a second and the share of the bandwidth, by format, as it is and compiled."""
    for bits in (16, 8, 4):
        for compiled in (False, True):
            name = f"{bits} bits{', compiled' if compiled else ''}"
            yield name, 60 if compiled else 15, lambda b=bits, c=compiled: _decoding(run, b, c)


@torch.inference_mode()
def _decoding(run: Bench, bits: int, compiled: bool) -> Cells:
    size = run.prompt + run.count
    model = run.model(size).eval()
    bundled("templates/layers/quantized.py").quantize(model, bits, run.device)
    cache = model.new_cache(1, size)
    prompt = torch.randint(run.shape["vocab_size"], (1, run.prompt), device=run.device)
    first = model(prompt, cache=cache)[:, -1:].argmax(-1)
    if compiled:
        run.compiled(lambda: _compile_layers(model))

    def work() -> None:
        token = first
        for each in cache:
            each.length = run.prompt
        for _ in range(run.count):
            token = model(token, cache=cache)[:, -1:].argmax(-1)

    seconds = run.clock.measured(work)[0] / run.count
    used = Fraction(2 * run.prompt + run.count + 1, 2 * size)  # mean share of the cache
    read = weights_read(model) + float(used) * sum(each.store.nbytes for each in cache)
    reached = share(read / seconds, run.known and run.known.bandwidth)
    return f"{1 / seconds:,.1f}", reached, expected(run, bits)


def _compile_layers(model: Any) -> None:
    # `infer.py --compile` compiles the same parts with the same option.
    for layer in model.layers:
        layer.compile(options={"coordinate_descent_tuning": True})


def weights_read(model: Any) -> int:
    """Return the bytes of weights that a token reads: all but the input table."""
    held = sum(each.nbytes for each in (*model.parameters(), *model.buffers()))
    return int(held - model.embed_tokens.weight.nbytes)


def expected(run: Bench, bits: int) -> str:
    """Return the share of the bandwidth that verdicts on speed assume, with its range."""
    if run.roofline is None:
        return UNKNOWN
    assumed = run.roofline.shares[bits]
    return f"{assumed.value:.1%} ({assumed.low:.1%} to {assumed.high:.1%})"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--toy", action="store_true", help="a tiny model on one CPU thread")
    toy = parser.parse_args().toy
    if not toy and not torch.cuda.is_available():
        parser.error("torch sees no GPU: add --toy to test the script on the CPU")
    limit = Limit(SECONDS)
    if toy:
        torch.set_num_threads(1)
    run = bench(toy)
    print(f"{_name(run)}; torch {torch.__version__}; {run.shape}")
    print(f"Peaks: {run.known.model if run.known else UNKNOWN}, metagen/data/devices.csv")
    head = ("training step", "tokens/s", "share of the peak", "peak memory", "launch table")
    table(head, training(run), limit)
    table(("attention", "kernel", "forward and backward", "peak memory"), attention(run), limit)
    head = ("decoding", "tokens/s", "share of the bandwidth", "verdicts assume")
    table(head, decoding(run), limit)


def _name(run: Bench) -> str:
    if run.device.type == "cuda":
        return torch.cuda.get_device_name(run.device)
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
