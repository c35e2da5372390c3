"""The main function of bench.py: how fast the code of infer.py is on this device, and its memory.

Every time is that of the clock, from before a piece of work to after the device has done it, and
each piece is done some times before any is measured. Inputs are made up, since neither a speed nor
a size depends on what they say.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from runtime.checkpoint import saved_step
from runtime.device import choose_device, in_bfloat16
from runtime.distributed import world_size
from runtime.errors import fail
from runtime.journal import to_text
from runtime.limits import check_options
from runtime.options import Group, positive, shared_options
from runtime.origin import code_digests, command, config_digest, devices, now, versions
from runtime.scripts import Kinds, Trained
from runtime.settings import load_config
from runtime.usage import peak_resident
from runtime.weights import weights_digest

ConfigT = TypeVar("ConfigT")
DataT = TypeVar("DataT")
ModelT = TypeVar("ModelT")
NetworkT = TypeVar("NetworkT", bound=nn.Module)
BATCH = 32
Work = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """A piece of work to measure.

    Attributes:
        name: What it is, such as `prefill`.
        batch: Samples at once.
        unit: What its speed is counted in, such as `tokens`.
        units: How many of them it does.
        prepare: Returns the work to do once; what this itself does is not measured.
    """

    name: str
    batch: int
    unit: str
    units: int
    prepare: Callable[[], Work]


Cases = tuple[nn.Module, Sequence[Case]]


def measuring(
    doc: str | None,
    kinds: Kinds[ConfigT, DataT, ModelT],
    cases: Callable[[Trained[ConfigT, DataT, ModelT]], Cases],
    *,
    options: Callable[[Group], None] = lambda group: None,
) -> Callable[[], None]:
    """Return the main function of a bench.py, which prints JSON.

    Args:
        doc: The script's docstring, printed by --help.
        kinds: The Configs of infer.py, data.py and model.py.
        cases: Returns the network and the work to measure.
        options: Adds the options that only this script has.
    """

    def main() -> None:
        args = _parser(doc, options).parse_args()
        if world_size() > 1:
            fail("bench.py measures one device: start it with python, without torchrun.")
        device = choose_device(args.device, args.threads)
        trained = _trained(args, kinds, device)
        with torch.inference_mode():
            network, work = cases(trained)
            measured = [_measured(case, args, device) for case in work]
        print(to_text(_about(trained, network) | _most(measured, device) | {"cases": measured}))

    return main


def _parser(doc: str | None, options: Callable[[Group], None]) -> argparse.ArgumentParser:
    parser = shared_options(doc, batch_size=f"samples at once, beside 1 (default: {BATCH})")
    group = parser.add_argument_group("options of bench.py")
    text = "random weights in the place of a checkpoint: they are as fast, and as large"
    group.add_argument("--random", action="store_true", help=text)
    for option, default, text in (
        ("--warmup", 3, "times that a piece of work is done before it is measured"),
        ("--repeats", 20, "times that it is measured"),
    ):
        note = f"{text} (default: {default})"
        group.add_argument(option, type=positive, default=default, metavar="N", help=note)
    note = "format of weights and arithmetic (default: that of infer.py)"
    group.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), help=note)
    options(group)
    return parser


def _trained(
    args: argparse.Namespace, kinds: Kinds[ConfigT, DataT, ModelT], device: torch.device
) -> Trained[ConfigT, DataT, ModelT]:
    own, of_data, of_model = kinds
    config: Any = load_config(own, "infer", args.size)
    given = {k: v for k, v in vars(args).items() if v is not None and hasattr(config, k)}
    # "auto" is no format of some tasks' infer.py, and bench.py takes it for all.
    check_options(own, "infer", {k: v for k, v in given.items() if k != "dtype"})
    data = load_config(of_data, "data", args.size)
    model = load_config(of_model, "model", args.size)
    return Trained(args, replace(config, **given), data, model, device)


def dtype_of(trained: Trained[Any, Any, Any]) -> torch.dtype:
    """Return the format of weights: that of --dtype, or that in which infer.py has them."""
    # Where infer.py has no such option, weights of 16 bits are bfloat16.
    bits = "bfloat16" if getattr(trained.config, "weight_bits", 32) == 16 else "float32"
    name = trained.args.dtype or getattr(trained.config, "dtype", bits)
    return torch.bfloat16 if in_bfloat16(trained.device, name) else torch.float32


def network_of(trained: Trained[Any, Any, Any], build: Callable[[], NetworkT]) -> NetworkT:
    """Return the network of the checkpoint on the device, or one of random weights."""
    if not trained.args.random:
        return trained.load(build, dtype_of(trained))
    torch.manual_seed(0)
    return build().to(trained.device, dtype_of(trained)).eval()


def passes(
    network: nn.Module,
    trained: Trained[Any, Any, Any],
    unit: str,
    inputs: Callable[[int], Sequence[Tensor]],
) -> Iterator[Case]:
    """Yield passes through a network of one sample, and of a batch.

    Args:
        network: What `network_of` returned.
        trained: Has the size of the batch and the device.
        unit: What a sample is, in the plural.
        inputs: Returns made-up inputs of a number of samples.
    """
    for batch in dict.fromkeys((1, trained.args.batch_size or BATCH)):
        made = [each.to(trained.device) for each in inputs(batch)]
        # Numbers have the format of the weights, as in infer.py; tokens stay whole numbers.
        ready = [each.to(dtype_of(trained)) if each.is_floating_point() else each for each in made]
        yield Case("forward", batch, unit, batch, lambda ready=ready: lambda: network(*ready))  # type: ignore[misc]


def _measured(case: Case, args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Return the times of a piece of work in seconds, its speed, and its peak memory on a GPU."""
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for _ in range(args.warmup + args.repeats):
        work = case.prepare()
        _wait(device)
        began = time.perf_counter()
        work()
        _wait(device)
        seconds.append(time.perf_counter() - began)
    kept = seconds[args.warmup :]
    median = statistics.median(kept)
    return {
        "name": case.name,
        "batch": case.batch,
        "unit": case.unit,
        "units": case.units,
        "latency": {"median": median, "lowest": min(kept), "highest": max(kept)},
        "throughput": case.units / median,
        "memory_peak": torch.cuda.max_memory_allocated(device) if on_gpu else None,
    }


def _wait(device: torch.device) -> None:
    """Wait until a GPU has done its work; a CPU has when a call returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _most(measured: Sequence[dict[str, Any]], device: torch.device) -> dict[str, Any]:
    """Return the peak memory of all work in bytes, the weights included, and what measured it."""
    if device.type == "cuda":
        peak = max(each["memory_peak"] for each in measured)
        return {"memory_peak": peak, "memory_source": "torch.cuda.max_memory_allocated"}
    # A process of a CPU has Python and its libraries in this number too.
    return {"memory_peak": peak_resident(), "memory_source": "peak resident set of the process"}


def _about(trained: Trained[Any, Any, Any], network: nn.Module) -> dict[str, Any]:
    """Return what was measured, with what, and on what."""
    args, dtype = trained.args, dtype_of(trained)
    held = {id(each): each for each in (*network.parameters(), *network.buffers())}.values()
    bits = {k: getattr(trained.config, k, 16) for k in ("weight_bits", "cache_bits")}
    return {
        "version": 1,
        "command": command(),
        "ran": now(),
        "size": args.size,
        "checkpoint": None
        if args.random
        else {"sha256": weights_digest(trained.folder), "step": saved_step(trained.folder)},
        "code": code_digests(),
        "config": config_digest(),
        "devices": devices(trained.device),
        "threads": args.threads,
        "versions": versions(),
        "precision": str(dtype).removeprefix("torch."),
        **{name: value for name, value in bits.items() if value != 16},
        "bytes": sum(each.numel() * each.element_size() for each in held),
        "warmup": args.warmup,
        "repeats": args.repeats,
    }
