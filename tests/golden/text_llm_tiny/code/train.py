"""Train the language model on your text, or on a small corpus that comes with Python.

    python train.py                                       the proxy, on the bundled corpus
    python train.py --data my_texts --steps 2000          the proxy, on your text
    python train.py --size full --data tokens             the full model, on prepared tokens
    python train.py --resume                              go on from the last checkpoint
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
`AutoModelForCausalLM.from_pretrained("out/checkpoint")`.
"""

import argparse
import contextlib
import functools
import inspect
import itertools
import json
import math
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from data import Config as DataConfig
from data import Corpus, Tokens, batch_at, load_corpus, tokenizer_files, windows
from model import Config as ModelConfig
from model import Model


@dataclass(frozen=True)
class Config:
    """How the model is trained."""

    steps: int = 380
    """Updates; the learning rate's schedule spans them."""
    batch_size: int = 1024
    """Samples in an update."""
    grad_accum: int = 32
    """Parts in which one process passes an update's samples through the model."""
    learning_rate: float = 0.0006
    """Peak learning rate."""
    warmup_steps: int = 38
    """Updates in which the rate rises to its peak."""
    final_lr_share: float = 0.1
    """Share of the peak at which the cosine ends."""
    weight_decay: float = 0.1
    """Decay of matrices; gains are not decayed."""
    beta1: float = 0.9
    """AdamW's memory of the gradient."""
    beta2: float = 0.95
    """AdamW's memory of its square."""
    grad_clip: float = 1.0
    """Greatest norm of the gradient."""
    eval_every: int = 63
    """Updates between two looks at the validation split."""
    eval_batches: int = 16
    """Batches of the validation split in such a look, at most."""
    save_every: int = 380
    """Updates between two checkpoints."""
    dtype: str = "auto"
    """auto, float32, or bfloat16 (autocast; weights stay float32)."""
    seed: int = 42
    """Draws the first weights and the order of samples."""


ConfigT = TypeVar("ConfigT")


def fail(sentence: str) -> NoReturn:
    """Say in one sentence what is wrong and what to do, and exit with status 2."""
    rank = os.environ.get("RANK", "0")
    who = "" if rank == "0" else f" (process {rank})"
    print(f"{Path(sys.argv[0]).name}{who}: {sentence}", file=sys.stderr)
    raise SystemExit(2)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file, or stop."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fail(f"{path} does not exist.")
    except (OSError, ValueError, RecursionError) as error:
        fail(f"{path} cannot be read as JSON: {error}.")
    if not isinstance(values, dict):
        fail(f"{path} must hold a JSON object, and it holds another value.")
    return values


def load_config(kind: type[ConfigT], section: str, size: str) -> ConfigT:
    """Return a file's Config: `full` is its defaults, `proxy` stands in config.json beside it."""
    if size == "full":
        return kind()
    path = Path(__file__).with_name("config.json")
    values = read_json(path).get(size, {}).get(section, {})
    wrong = set(values) ^ set(inspect.signature(kind).parameters)
    if wrong:
        fail(f"{path}: {size}.{section} has unknown or missing fields: {', '.join(sorted(wrong))}.")
    return kind(**values)


def positive(text: str) -> int:
    """Return a whole number above zero."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def shared_options(
    description: str | None,
    *,
    data: str = "not used here",
    steps: str = "not used here",
    batch_size: str = "not used here",
    seed: str = "not used here",
    resume: str = "not used here",
) -> argparse.ArgumentParser:
    """Return a parser of the shared options; the arguments say what this script does with some."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    group = parser.add_argument_group("options shared by train.py, eval.py and infer.py")
    group.add_argument(
        "--size",
        choices=("proxy", "full"),
        default="proxy",
        help="proxy: the reduced model of config.json; full: the Config defaults (default: proxy)",
    )
    group.add_argument("--data", type=Path, metavar="PATH", help=data)
    group.add_argument(
        "--out",
        type=Path,
        default=Path("out"),
        metavar="DIR",
        help="folder of the run (default: out)",
    )
    group.add_argument(
        "--checkpoint", type=Path, metavar="DIR", help="checkpoint folder (default: OUT/checkpoint)"
    )
    group.add_argument("--steps", type=positive, metavar="N", help=steps)
    group.add_argument("--batch-size", type=positive, metavar="N", help=batch_size)
    group.add_argument("--seed", type=int, metavar="N", help=seed)
    group.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto: CUDA when there is a GPU (default: auto)",
    )
    group.add_argument("--resume", action="store_true", help=resume)
    group.add_argument(
        "--threads",
        type=positive,
        default=torch.get_num_threads(),
        metavar="N",
        help="CPU threads; results repeat to the bit at the same number (default: %(default)s)",
    )
    return parser


def sized(proxy: object, full: object, name: str) -> str:
    """Return the note on a default that depends on the size."""
    return f"(default: {getattr(proxy, name)} for proxy, {getattr(full, name)} for full)"


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "train", "proxy"), Config()
    parser = shared_options(
        __doc__,
        data="text, a folder of texts, or what `data.py prepare` made (default: bundled corpus)",
        steps=f"stop after this many updates in all {sized(proxy, full, 'steps')}",
        batch_size=f"samples in an update {sized(proxy, full, 'batch_size')}",
        seed=f"of the weights and of the order of samples {sized(proxy, full, 'seed')}",
        resume="go on from the checkpoint",
    )
    group = parser.add_argument_group("options of train.py")
    group.add_argument(
        "--schedule-steps",
        type=positive,
        metavar="N",
        help="updates over which the learning rate warms up and decays "
        "(default: the size's steps, or --steps if that is more)",
    )
    for name, kind, help_text in (
        ("learning_rate", float, "peak learning rate"),
        ("warmup_steps", int, "updates in which the rate rises"),
        ("grad_accum", positive, "parts of an update in one process; several share them"),
        ("eval_every", positive, "updates between two validations"),
        ("save_every", positive, "updates between two checkpoints"),
    ):
        option, note = f"--{name.replace('_', '-')}", sized(proxy, full, name)
        group.add_argument(option, type=kind, metavar="X", help=f"{help_text} {note}")
    group.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        help=f"auto: bfloat16 on a GPU that has it {sized(proxy, full, 'dtype')}",
    )
    group.add_argument(
        "--parallel",
        choices=("ddp", "fsdp"),
        default="ddp",
        help="under torchrun: ddp keeps a whole model on each device, fsdp a share (default: ddp)",
    )
    group.add_argument(
        "--grad-checkpoint",
        action="store_true",
        help="compute activations again in the backward pass: less memory, the same result",
    )
    group.add_argument(
        "--compile", action="store_true", help="compile the model: a slow first step, faster later"
    )
    group.add_argument(
        "--tensorboard", action="store_true", help="write events to OUT/tensorboard too"
    )
    group.add_argument(
        "--dry-run", action="store_true", help="take one step and one validation, write nothing"
    )
    return parser.parse_args()


def world_size() -> int:
    """Return the number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def settings(args: argparse.Namespace) -> tuple[Config, int]:
    """Return the size's Config with the options that were given, and the step to stop at."""
    config = load_config(Config, "train", args.size)
    given = {k: v for k, v in vars(args).items() if v is not None and hasattr(config, k)}
    stop = given.pop("steps", config.steps)
    config = replace(config, **given, steps=args.schedule_steps or max(config.steps, stop))
    for parts in (config.grad_accum, world_size()):
        if config.batch_size % parts:
            fail(f"{config.batch_size} samples cannot be cut in {parts} equal parts.")
    return config, stop


def samples_at_once(config: Config, devices: int) -> int:
    """Return how many samples a device passes through the model at once."""
    return min(config.batch_size // devices, config.batch_size // config.grad_accum)


def rank() -> int:
    """Return the number of this process among all, from 0."""
    return int(os.environ.get("RANK", "0"))


def in_bfloat16(device: torch.device, dtype: str) -> bool:
    """Return whether matrix products run in bfloat16; `auto` takes it where the GPU has it."""
    if dtype == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return dtype == "bfloat16"


def autocast(device: torch.device, dtype: str) -> contextlib.AbstractContextManager[object]:
    """Return the context in which matrix products run in bfloat16, or one that does nothing."""
    if not in_bfloat16(device, dtype):
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def update_parts(
    module: nn.Module, tokens: Tokens, step: int, seq_len: int, config: Config, device: torch.device
) -> list[Callable[[], tuple[Tensor, int]]]:
    """Return the parts of this process's share of an update, for `update`."""
    share = config.batch_size // world_size()
    start = step * config.batch_size + rank() * share
    size = samples_at_once(config, world_size())

    def part(position: int, count: int) -> tuple[Tensor, int]:
        inputs, targets = batch_at(tokens, position, count, seq_len, config.seed)
        with autocast(device, config.dtype):
            loss = module(inputs.to(device), targets.to(device))
        return loss, targets.numel()

    cuts = range(0, share, size)
    return [functools.partial(part, start + at, min(size, share - at)) for at in cuts]


def total(values: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


@torch.no_grad()
def validation_loss(
    module: nn.Module, tokens: Tokens, seq_len: int, config: Config, device: torch.device
) -> float:
    """Return the mean loss in nats per token on the first batches of the validation split.

    Processes take turns. Each passes as many batches as any, since shards are gathered together;
    a batch too many does not count.
    """
    size, count = config.batch_size // config.grad_accum, config.eval_batches * config.grad_accum
    batches = list(itertools.islice(windows(tokens, seq_len, seq_len, size), count))
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    for turn in range(math.ceil(len(batches) / world_size())):
        index = turn * world_size() + rank()
        inputs, targets = batches[min(index, len(batches) - 1)]
        scored = int((targets >= 0).sum()) if index < len(batches) else 0
        with autocast(device, config.dtype):
            loss = module(inputs.to(device), targets.to(device)).double()
        sums += torch.stack((loss * scored, torch.full_like(loss, scored)))
    nats, targets_scored = total(sums).tolist()
    return float(nats / targets_scored)


def identity(
    config: Config, data: DataConfig, model: ModelConfig, corpus: Corpus
) -> dict[str, Any]:
    """Return everything that a resumed run must have in common with its first part."""
    free = ("grad_accum", "eval_every", "eval_batches", "save_every", "dtype")
    sections = {"train": asdict(config), "data": asdict(data), "model": asdict(model)}
    values = {f"{s}.{k}": v for s, section in sections.items() for k, v in section.items()}
    return {"sha256": corpus.sha256} | {
        key: value for key, value in values.items() if key.partition(".")[2] not in free
    }


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of some samples without a meaning, to count what it takes."""
    tokens = torch.zeros(samples, data.seq_len, dtype=torch.int64)
    loss: Tensor = model(tokens, tokens)
    return loss


@dataclass(frozen=True)
class Work:
    """What a step does, to tell how fast it was.

    Attributes:
        unit: What is counted, such as `tokens`.
        amount: How many of them are in a step, over all processes.
        flops: Operations of a step as a share of a second's peak of all devices; None where the
            peak is not known.
    """

    unit: str
    amount: int
    flops: float | None = None

    def speed(self, seconds: float | None) -> dict[str, float | None]:
        """Return the speed of a step that took so long."""
        found = {f"{self.unit}_per_second": seconds and self.amount / seconds}
        if self.flops is not None:
            found["mfu"] = seconds and self.flops / seconds
        return found


# Dense bfloat16 operations a second, from the data sheets; those with sparsity are twice that.
PEAKS = {
    r"\bA100\b": 312e12,
    r"\bH100 PCIe\b": 756e12,
    r"\bH100 NVL\b": 835e12,
    r"\bH100\b": 989.4e12,
    r"\bH200$": 989e12,
    r"\bB200\b": 2250e12,
    r"\bL4$": 121e12,
    r"\bL40S$": 362e12,
    r"\bRTX 4090$": 165.2e12,
    r"\bRTX 3090$": 71e12,
}


def peak_flops(device: torch.device) -> float | None:
    """Return the operations a second that a device can do in bfloat16, None where unknown."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    if "MIG" in name:
        return None
    return next((peak for known, peak in PEAKS.items() if re.search(known, name)), None)


def training_flops(loss: Callable[[], Tensor]) -> int:
    """Return the operations of a forward and a backward pass; a multiply-add counts as two.

    What is computed again to save memory is no progress and is not counted. The model may be on
    `meta`, where this takes no memory.
    """
    with FlopCounterMode(display=False) as counter:
        loss().backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def work(config: Config, data: DataConfig, model: ModelConfig, device: torch.device) -> Work:
    """Return what a step does; its operations only where the device's peak is known."""
    tokens = config.batch_size * data.seq_len
    peak = peak_flops(device) if in_bfloat16(device, config.dtype) else None
    if peak is None:
        return Work("tokens", tokens)
    with torch.device("meta"):
        module = Model(model)
        flops = training_flops(lambda: example_loss(module, 1, data))
    return Work("tokens", tokens, config.batch_size * flops / (peak * world_size()))


def check_free(folder: Path) -> None:
    """Stop unless a checkpoint may be written to a folder: it is new, empty, or holds one."""
    if folder.exists() and not folder.is_dir():
        fail(f"{folder} is a file, not a folder for a checkpoint.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "model.safetensors").is_file():
        fail(f"{folder} holds other files, which a checkpoint would replace: name a new folder.")


def say(line: str) -> None:
    """Tell the user something, once for all processes."""
    if rank() == 0:
        tqdm.write(line, file=sys.stderr)


def device_memory(device: torch.device) -> int:
    """Return the bytes of memory that a device has."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_table(parameters: int, shards: int, device: torch.device) -> str:
    """Return what training keeps on a device at least, or stop where it cannot fit.

    AdamW in float32 holds four numbers of four bytes a parameter: the weight, its gradient, and
    the two moments.

    Args:
        parameters: Number of weights.
        shards: Processes among which they, their gradients and the optimizer's state are cut.
        device: Where this process computes.
    """
    sizes = {"weights": 4, "gradients": 4, "optimizer": 8}
    rows = {name: parameters * size // shards for name, size in sizes.items()}
    need, have = sum(rows.values()), device_memory(device)
    if need > have:
        fail(
            f"training {parameters:,} parameters needs {need / 1e9:.1f} GB and activations, and "
            f"the {device.type} has {have / 1e9:.1f} GB: use --size proxy, a larger device, or "
            "more of them with --parallel fsdp."
        )
    lines = [
        f"  {name:<10} {size / 1e6:12,.1f} MB" for name, size in (rows | {"total": need}).items()
    ]
    head = f"{parameters:,} parameters in float32, before activations:"
    return "\n".join([head, *lines])


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f"{folder.name}.{suffix}")


def find_checkpoint(folder: Path) -> Path:
    """Return a folder that holds a checkpoint, or stop.

    When a kill came between the two renames of `save_checkpoint`, the last one is put back.
    """
    old = _beside(folder, "old")
    if not folder.exists() and old.is_dir():
        with contextlib.suppress(FileNotFoundError):  # another process was first
            old.rename(folder)
    if not (folder / "model.safetensors").is_file():
        fail(f"{folder} holds no checkpoint: make one with train.py, or name one by --checkpoint.")
    return folder


def check_same(folder: Path, saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Stop unless what a checkpoint was made with is what this run asks for."""
    for name, value in wanted.items():
        if saved.get(name) != value:
            fail(
                f"{folder} was made with {name} = {saved.get(name)}, and this run has {value}: "
                "give the --size and the options that it was made with."
            )


def be_deterministic(seed: int) -> None:
    """Make runs with this seed, machine and number of threads the same: on a CPU, to the bit."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.use_deterministic_algorithms(True, warn_only=True)  # some GPU kernels have no such form
    torch.manual_seed(seed)


def load_weights(model: nn.Module, path: Path, file_name: Callable[[str], str]) -> None:
    """Put a file's tensors in place of a model's parameters; the model may be on `meta`."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        fail(f"{path} cannot be read: {error}.")
    wanted = {file_name(name): tensor.shape for name, tensor in model.state_dict().items()}
    if {name: tensor.shape for name, tensor in tensors.items()} != wanted:
        fail(f"{path} holds other tensors than this model: it belongs to another model.py.")
    state = {name: tensors[file_name(name)] for name in model.state_dict()}
    model.load_state_dict(state, assign=next(model.parameters()).is_meta)


def checkpoint_gradients(blocks: Iterable[nn.Module]) -> None:
    """Let blocks keep their inputs only, and compute the rest again in the backward pass.

    Chen et al., 2016, arXiv:1604.06174. The blocks stay what they are: no name changes.
    """
    for block in blocks:
        forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
        block.forward = forward


def compile_modules(modules: Iterable[nn.Module]) -> None:
    """Compile modules in place, or stop where this machine cannot.

    In place, so that the names of their parameters do not change.
    """
    try:
        torch.compile(torch.sin)(torch.zeros(1))
    except Exception as error:  # whatever the compiler lacks, of many kinds
        reason = str(error).strip().splitlines()[0]
        fail(f"torch.compile does not work here ({reason}): train without --compile.")
    for module in modules:
        module.compile()


def shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor cut and placed as another one is; the first process's values count."""
    if world_size() == 1:
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    tensor = tensor.to(like.device)
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements)


def parallelize(
    model: nn.Module, blocks: Iterable[nn.Module], mode: str, device: torch.device, low: bool
) -> nn.Module:
    """Put a model on its device and return the module to call, which gives its gradients around.

    Args:
        model: The model, on the CPU; `fsdp` needs the weights in the first process only, and the
            other processes may hold it on `meta`.
        blocks: Its parts that `fsdp` gathers one after the other.
        mode: `ddp`: a whole model in each process (Li et al., 2020, arXiv:2006.15704); `fsdp`: a
            share of each tensor in each process (Zhao et al., 2023, arXiv:2304.11277).
        device: Where this process computes.
        low: Whether `fsdp` gathers weights in bfloat16; gradients are always added in float32.
    """
    if world_size() == 1:
        return model.to(device)
    if mode == "ddp":
        where = [device] if device.type == "cuda" else None
        return DistributedDataParallel(model.to(device), device_ids=where)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(device.type, (world_size(),))
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if low else None,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,  # what a model computes in float32 stays so
    )
    weights = model.state_dict()
    model.to("meta")
    for part in (*blocks, model):
        fully_shard(part, mesh=mesh, mp_policy=policy)
    model.to_empty(device=device)
    for name, target in model.state_dict().items():
        source = weights[name] if rank() == 0 else torch.empty(target.shape, dtype=target.dtype)
        target.copy_(shard_like(source, target))
    return model


def adamw(
    model: nn.Module, weight_decay: float, betas: tuple[float, float]
) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov & Hutter, 2019, arXiv:1711.05101) that decays matrices only."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=betas, fused=True)


def load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Put the tensors of `optimizer_tensors` back from a file, sharded as the parameters are."""
    parameters = dict(model.named_parameters())
    states: dict[str, dict[str, Tensor]] = {name: {} for name in parameters}
    try:
        with safe_open(path, "pt") as file:
            for entry in file.keys():  # noqa: SIM118 - a file, not a dictionary
                name, _, key = entry.rpartition("/")
                tensor, like = file.get_tensor(entry), parameters[name]
                same = tensor.shape == like.shape
                states[name][key] = shard_like(tensor, like) if same else tensor
    except (OSError, SafetensorError) as error:
        fail(f"{path} cannot be read: {error}.")
    except KeyError:
        fail(f"{path} belongs to another model: train without --resume.")
    names = {parameter: name for name, parameter in parameters.items()}
    ordered = [p for group in optimizer.param_groups for p in group["params"]]
    groups = optimizer.state_dict()["param_groups"]
    numbered = {index: states[names[p]] for index, p in enumerate(ordered)}
    optimizer.load_state_dict({"state": numbered, "param_groups": groups})


def learning_rate_at(
    step: int, peak: float, warmup_steps: int, total_steps: int, final_share: float
) -> float:
    """Return the rate of the update after `step` others: linear warm-up, then a cosine.

    The cosine falls from `peak` to `final_share * peak` at `total_steps`, and stays there.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return peak * (final_share + (1 - final_share) * cosine)


@contextlib.contextmanager
def gradients_shared(module: nn.Module, last: bool) -> Iterator[None]:
    """Let replicas add up their gradients in the last part of an update only.

    Shards add them up in every part: a whole gradient would not fit beside the shards.
    """
    if isinstance(module, DistributedDataParallel) and not last:
        with module.no_sync():
            yield
    else:
        yield


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor as it is without shards; every process must take part."""
    if world_size() == 1:
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def update(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    parts: Sequence[Callable[[], tuple[Tensor, int]]],
    learning_rate: float,
    grad_clip: float,
) -> tuple[float, float]:
    """Take one step down the mean loss over everything in the update, in all processes.

    Args:
        module: What `parallelize` returned.
        optimizer: The optimizer of its parameters.
        parts: Each passes a part of the update through the module, and returns its mean loss and
            over how many targets that is.
        learning_rate: The rate of this step.
        grad_clip: Greatest norm of the gradient.

    Returns:
        The mean loss over all targets of all parts, and the gradient's norm before it is cut.
    """
    sums: list[Tensor] = []
    for index, part in enumerate(parts):
        with gradients_shared(module, last=index == len(parts) - 1):
            loss, targets = part()
            # Sums add up to the same gradient however the batch is cut; the division comes last.
            (loss * targets).backward()  # type: ignore[no-untyped-call]
        mean = loss.detach().double()
        sums.append(torch.stack((mean * targets, torch.full_like(mean, targets))))
    # Read once an update: until here, a GPU computes while the CPU prepares the next part.
    loss_sum, count = total(torch.stack(sums).sum(0)).tolist()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    scale = world_size() / count  # processes add up to a mean over them
    norm = scale * whole(nn.utils.get_total_norm(gradients)).item()
    factor = scale * min(1.0, grad_clip / (norm + 1e-6))
    for gradient in gradients:
        gradient.mul_(factor)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    optimizer.zero_grad()
    return loss_sum / count, norm


def to_json(value: object) -> str:
    """Return indented JSON with a final newline."""
    return json.dumps(value, indent=2) + "\n"


Tensors = Mapping[str, Tensor]


DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
}


def write_tensors(path: Path | None, tensors: Tensors) -> None:
    """Write a .safetensors file one tensor after the other, so that only one is ever gathered.

    The format is the length of a JSON header in eight bytes, the header, and the tensors' bytes.

    Args:
        path: The file; None in a process that only takes part in the gathering.
        tensors: The tensors, in the same order in every process.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        dtype, shape = DTYPES[tensor.dtype], list(tensor.shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") if path else contextlib.nullcontext() as file:
        if file:
            file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            values = whole(tensor.detach())
            if file:
                file.write(values.cpu().contiguous().flatten().view(torch.uint8).numpy().data)


def save_checkpoint(
    folder: Path, weights: Tensors, optimizer: Tensors, texts: Mapping[str, str]
) -> None:
    """Write a checkpoint beside the last one, then put it in its place; or stop.

    A kill leaves the last checkpoint or the new one: see `find_checkpoint`. All processes take
    part, since each may hold a share of a tensor; the first one writes.

    Args:
        folder: Where it will stand.
        weights: The tensors of model.safetensors.
        optimizer: The tensors of optimizer.safetensors.
        texts: The text of every other file.
    """
    new, old = _beside(folder, "new"), _beside(folder, "old")
    files = {"model.safetensors": weights, "optimizer.safetensors": optimizer}
    if rank() != 0:
        for tensors in files.values():
            write_tensors(None, tensors)
        return
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for name, tensors in files.items():
            write_tensors(new / name, tensors)
        for name, text in texts.items():
            (new / name).write_text(text, encoding="utf-8")
        for path in new.iterdir():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        fail(f"{folder} cannot be written: {error.strerror}; the last checkpoint is as it was.")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimizer's state as tensors called `parameter/key`."""
    return {
        f"{name}/{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


class Metrics:
    """A line of JSON for each step; the first process writes it, the others do nothing."""

    def __init__(self, folder: Path | None, first_step: int, tensorboard: bool) -> None:
        """Open the record of a run.

        Args:
            folder: Where it is kept; None keeps nothing.
            first_step: Steps that were taken before; what the record says of later ones goes, as
                a resumed run takes them again.
            tensorboard: Whether to write events for TensorBoard too.
        """
        self._file = self._board = None
        if folder is None or rank() != 0:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        path.touch()
        with path.open("rb+") as file:
            file.truncate(sum(map(len, itertools.islice(file, first_step))))
        self._file = path.open("a", encoding="utf-8")
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                fail("--tensorboard needs a library: pip install tensorboard.")
            self._board = SummaryWriter(folder / "tensorboard", purge_step=first_step)

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        """Record what was measured after a number of steps; None was not measured."""
        if self._file is not None:
            print(json.dumps({"step": step, **values}), file=self._file, flush=True)
        if self._board is not None:
            for name, value in values.items():
                if value is not None:
                    self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        for file in (self._file, self._board):
            if file is not None:
                file.close()


@contextlib.contextmanager
def interrupts() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM in a list, so that a step is never cut in two.

    A second Ctrl-C does cut, except under torchrun, which passes on the one that came before.
    """
    signals: list[int] = []

    def collect(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        if world_size() == 1:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    kinds = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(kind, collect) for kind in kinds]
    try:
        yield signals
    finally:
        for kind, handler in zip(kinds, previous, strict=True):
            signal.signal(kind, handler)


def anywhere(flag: bool, device: torch.device) -> bool:
    """Return whether a flag is set in any process."""
    return bool(total(torch.tensor(float(flag), device=device)) > 0)


def fit(
    steps: range,
    take_step: Callable[[int], dict[str, float]],
    validate: Callable[[], float],
    save: Callable[[int], None],
    metrics: Metrics,
    work: Work,
    device: torch.device,
    eval_every: int,
    save_every: int,
) -> None:
    """Train; Ctrl-C or SIGTERM ends the current step, saves, and exits with status 130 or 143.

    Args:
        steps: The steps to take, counted from 0.
        take_step: Takes a step; returns what was measured, with `train_loss` and `grad_norm`.
        validate: Returns the loss on the validation split.
        save: Saves a checkpoint after a number of steps.
        metrics: Where to record what was measured after each step.
        work: What a step does.
        device: Where this process computes.
        eval_every: Steps from one validation to the next; the last step always has one.
        save_every: Steps from one checkpoint to the next; the last step always has one.
    """
    quiet = rank() != 0 or not sys.stderr.isatty()
    bar = tqdm(steps, initial=steps.start, total=steps.stop, disable=quiet)
    with interrupts() as signals:
        for done in (step + 1 for step in bar):
            began = time.perf_counter()
            values = take_step(done - 1)
            # The first step also allocates and compiles.
            seconds = time.perf_counter() - began if done > steps.start + 1 else None
            loss, norm = values["train_loss"], values["grad_norm"]
            if not math.isfinite(loss + norm):
                fail(
                    f"the loss is {loss} and the gradient's norm {norm} at step {done}: lower "
                    "--learning-rate; the last checkpoint is as it was."
                )
            last = done == steps.stop
            val_loss = validate() if last or done % eval_every == 0 else None
            metrics.write(done, values | {"val_loss": val_loss} | work.speed(seconds))
            bar.set_postfix(loss=f"{loss:.3f}")
            if val_loss is not None:
                say(f"step {done}/{steps.stop}: train loss {loss:.3f}, validation {val_loss:.3f}")
            stopped = anywhere(bool(signals), device)
            if last or stopped or done % save_every == 0:
                save(done)
            if stopped and not last:
                say(f"stopped at step {done}, saved: --resume goes on.")
                raise SystemExit(128 + max(signals, default=signal.SIGTERM))


def train(args: argparse.Namespace, config: Config, stop: int, device: torch.device) -> None:
    """Train, from the start or from a checkpoint."""
    data_config = load_config(DataConfig, "data", args.size)
    model_config = load_config(ModelConfig, "model", args.size)
    folder = args.checkpoint or args.out / "checkpoint"
    check_free(folder)
    corpus = load_corpus(data_config, args.data, model_config.vocab_size)
    sharded = args.parallel == "fsdp" and world_size() > 1

    # On `meta` a model has shapes and no memory: refuse what cannot fit before it is allocated.
    with torch.device("meta"):
        parameters = Model(model_config).num_params()
    say(memory_table(parameters, world_size() if sharded else 1, device))

    start = 0
    if args.resume:
        state = read_json(find_checkpoint(folder) / "state.json")
        if args.schedule_steps is None:
            config = replace(config, steps=state["train.steps"])
        check_same(folder, state, identity(config, data_config, model_config, corpus))
        start = state["step"]
    if start >= stop:
        fail(f"{folder} is at step {start} already: ask for more with --steps.")

    be_deterministic(config.seed)
    with torch.device("meta" if sharded and rank() != 0 else "cpu"):
        model = Model(model_config)
    if args.resume and not (sharded and rank() != 0):
        load_weights(model, folder / "model.safetensors", model.checkpoint_name)
    if args.grad_checkpoint:
        checkpoint_gradients(model.layers)
    if args.compile:
        compile_modules(model.layers if sharded else [model])
    low = in_bfloat16(device, config.dtype)
    module = parallelize(model, model.layers, args.parallel, device, low)
    optimizer = adamw(model, config.weight_decay, (config.beta1, config.beta2))
    if args.resume:
        load_optimizer(model, optimizer, folder / "optimizer.safetensors")

    def take_step(step: int) -> dict[str, float]:
        rate = learning_rate_at(
            step, config.learning_rate, config.warmup_steps, config.steps, config.final_lr_share
        )
        tokens = corpus.splits["train"]
        parts = update_parts(module, tokens, step, data_config.seq_len, config, device)
        loss, norm = update(module, optimizer, parts, rate, config.grad_clip)
        return {"train_loss": loss, "learning_rate": rate, "grad_norm": norm}

    def validate() -> float:
        return validation_loss(module, corpus.splits["val"], data_config.seq_len, config, device)

    def save(step: int) -> None:
        weights = {model.checkpoint_name(n): t for n, t in model.state_dict().items()}
        tokens = {"bos_token_id": None, "eos_token_id": corpus.end_of_text}
        state = {"step": step} | identity(config, data_config, model_config, corpus)
        texts = {
            "config.json": to_json(asdict(model_config) | model.checkpoint_config() | tokens),
            "state.json": to_json(state),
        }
        texts |= tokenizer_files(corpus)
        save_checkpoint(folder, weights, optimizer_tensors(model, optimizer), texts)

    steps = range(start, start + 1 if args.dry_run else stop)
    metrics = Metrics(None if args.dry_run else args.out, start, args.tensorboard)
    fit(
        steps,
        take_step,
        validate,
        (lambda step: None) if args.dry_run else save,
        metrics,
        work(config, data_config, model_config, device),
        device,
        config.eval_every,
        config.save_every,
    )
    metrics.close()
    say("dry run done, nothing written." if args.dry_run else f"{stop} steps done: {folder}")


def choose_device(name: str, threads: int) -> torch.device:
    """Return the device of an option; on the CPU, compute with that many threads.

    Under torchrun each process of a machine takes a GPU of its own.
    """
    torch.set_num_threads(threads)
    if name == "cuda" and not torch.cuda.is_available():
        fail("there is no CUDA device here: use --device cpu.")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    local, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= count:
        fail(f"this machine has {count} GPUs: give torchrun --nproc-per-node {count}.")
    return torch.device("cuda", local)


@contextlib.contextmanager
def processes(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started; when one of them dies, stop with a sentence."""
    if world_size() == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    except RuntimeError as error:
        # A closed connection is all that the others see of a process that is gone.
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        fail("another process of this job has ended: its own message says why. Use --resume.")
    dist.destroy_process_group()


def main() -> None:
    """Train on the device of this process, together with the others."""
    args = command_line()
    config, stop = settings(args)
    device = choose_device(args.device, args.threads)
    with processes(device):
        train(args, config, stop, device)


def run(main: Callable[[], None]) -> None:
    """Run a script; Ctrl-C, a full memory and a full disk end it without a traceback."""
    full = "memory is full: use --device cpu, a smaller --batch-size, or in train.py --grad-accum."
    try:
        main()
    except KeyboardInterrupt:
        print("stopped; the last checkpoint, if there is one, is whole.", file=sys.stderr)
        raise SystemExit(130) from None
    except (torch.OutOfMemoryError, MemoryError):
        fail(full)
    except OSError as error:
        fail(f"{error.filename or 'a file'}: {error.strerror}.")
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # how torch says it of a CPU
            raise
        fail(full)


if __name__ == "__main__":
    run(main)
