"""Train the language model on your text, or on a small corpus that comes with Python.

    python train.py                                       the proxy, on the bundled corpus
    python train.py --data my_texts --steps 2000          the proxy, on your text
    python train.py --size full --data tokens             the full model, on prepared tokens
    python train.py --resume                              go on from the last checkpoint

Writes OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
`AutoModelForCausalLM.from_pretrained("out/checkpoint")`.
"""

import argparse
import contextlib
import inspect
import itertools
import json
import math
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
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
    """Parts in which an update's samples pass through the model."""
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
    print(f"{Path(sys.argv[0]).name}: {sentence}", file=sys.stderr)
    raise SystemExit(2)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, or stop."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fail(f"{path} does not exist.")
    except (OSError, ValueError) as error:
        fail(f"{path} cannot be read as JSON: {error}.")


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
        ("grad_accum", positive, "parts of an update"),
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
    return parser.parse_args()


def settings(args: argparse.Namespace) -> tuple[Config, int]:
    """Return the size's Config with the options that were given, and the step to stop at."""
    config = load_config(Config, "train", args.size)
    given = {k: v for k, v in vars(args).items() if v is not None and hasattr(config, k)}
    stop = given.pop("steps", config.steps)
    config = replace(config, **given, steps=args.schedule_steps or max(config.steps, stop))
    if config.batch_size % config.grad_accum:
        fail(f"{config.batch_size} samples cannot be cut in {config.grad_accum} equal parts.")
    return config, stop


def autocast(device: torch.device, dtype: str) -> contextlib.AbstractContextManager[object]:
    """Return the context in which matrix products run in bfloat16, or one that does nothing.

    `auto` takes bfloat16 where the GPU has it; a CPU computes in float32.
    """
    if dtype == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
        dtype = "bfloat16" if fast else "float32"
    if dtype == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def micro_losses(
    model: Model, tokens: Tokens, step: int, seq_len: int, config: Config, device: torch.device
) -> Iterator[tuple[Tensor, int]]:
    """Yield the mean loss and the number of targets of each part of an update."""
    size = config.batch_size // config.grad_accum
    for part in range(config.grad_accum):
        position = step * config.batch_size + part * size
        inputs, targets = batch_at(tokens, position, size, seq_len, config.seed)
        with autocast(device, config.dtype):
            loss = model(inputs.to(device), targets.to(device))
        yield loss, targets.numel()


@torch.no_grad()
def validation_loss(
    model: Model, tokens: Tokens, seq_len: int, config: Config, device: torch.device
) -> float:
    """Return the mean loss in nats per token on the first batches of the validation split."""
    total, count = 0.0, 0
    batches = windows(tokens, seq_len, seq_len, config.batch_size // config.grad_accum)
    for inputs, targets in itertools.islice(batches, config.eval_batches):
        scored = int((targets >= 0).sum())
        with autocast(device, config.dtype):
            total += model(inputs.to(device), targets.to(device)).item() * scored
        count += scored
    return total / count


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


def choose_device(name: str, threads: int) -> torch.device:
    """Return the device of an option; on the CPU, compute with that many threads."""
    torch.set_num_threads(threads)
    if name == "cuda" and not torch.cuda.is_available():
        fail("there is no CUDA device here: use --device cpu.")
    use_cuda = name != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if use_cuda else "cpu")


def check_free(folder: Path) -> None:
    """Stop unless a checkpoint may be written to a folder: it is new, empty, or holds one."""
    if folder.exists() and not folder.is_dir():
        fail(f"{folder} is a file, not a folder for a checkpoint.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "model.safetensors").is_file():
        fail(f"{folder} holds other files, which a checkpoint would replace: name a new folder.")


def device_memory(device: torch.device) -> int:
    """Return the bytes of memory that a device has."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_table(parameters: int, device: torch.device) -> str:
    """Return what training keeps in memory at least, or stop where it cannot fit.

    AdamW in float32 holds four numbers of four bytes a parameter: the weight, its gradient, and
    the two moments.
    """
    rows = {"weights": 4, "gradients": 4, "optimizer": 8, "total": 16}
    lines = [f"  {name:<10} {parameters * size / 1e9:9.3f} GB" for name, size in rows.items()]
    have, need = device_memory(device), parameters * rows["total"]
    if need > have:
        fail(
            f"training {parameters:,} parameters needs {need / 1e9:.1f} GB and activations, and "
            f"the {device.type} has {have / 1e9:.1f} GB: use --size proxy or a larger device."
        )
    head = f"{parameters:,} parameters in float32, before activations:"
    return "\n".join([head, *lines])


def be_deterministic(seed: int) -> None:
    """Make runs with this seed, machine and number of threads the same: on a CPU, to the bit."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.use_deterministic_algorithms(True, warn_only=True)  # some GPU kernels have no such form
    torch.manual_seed(seed)


def adamw(
    model: nn.Module, weight_decay: float, betas: tuple[float, float]
) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov & Hutter, 2019, arXiv:1711.05101) that decays matrices only."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=betas)


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f"{folder.name}.{suffix}")


def find_checkpoint(folder: Path) -> Path:
    """Return a folder that holds a checkpoint, or stop.

    When a kill came between the two renames of `save_checkpoint`, the last one is put back.
    """
    old = _beside(folder, "old")
    if not folder.exists() and old.is_dir():
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


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file, or stop."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        fail(f"{path} cannot be read: {error}.")


def load_weights(model: nn.Module, path: Path, file_name: Callable[[str], str]) -> None:
    """Put a file's tensors in place of a model's parameters; the model may be on `meta`."""
    tensors = read_tensors(path)
    wanted = {file_name(name): p.shape for name, p in model.named_parameters()}
    if {name: tensor.shape for name, tensor in tensors.items()} != wanted:
        fail(f"{path} holds other tensors than this model: it belongs to another model.py.")
    state = {name: tensors[file_name(name)] for name, _ in model.named_parameters()}
    model.load_state_dict(state, assign=next(model.parameters()).is_meta)


Tensors = Mapping[str, Tensor]


def load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Put the tensors of `optimizer_tensors` back."""
    states: dict[str, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        name, _, key = path.rpartition("/")
        states.setdefault(name, {})[key] = tensor
    names = {parameter: name for name, parameter in model.named_parameters()}
    ordered = [p for group in optimizer.param_groups for p in group["params"]]
    if set(states) != set(names.values()):
        fail("the checkpoint's optimizer state belongs to another model: train without --resume.")
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


def update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: Iterable[tuple[Tensor, int]],
    learning_rate: float,
    grad_clip: float,
) -> float:
    """Take one step down the mean loss over everything in the update.

    Args:
        model: The model to change.
        optimizer: Its optimizer.
        losses: Yields the mean loss of each micro-batch, and over how many targets it is.
        learning_rate: The rate of this step.
        grad_clip: Greatest norm of the gradient.

    Returns:
        The mean loss over all targets of all micro-batches.
    """
    total, count = 0.0, 0
    for loss, targets in losses:
        # Sums add up to the same gradient however the batch is cut; the division comes last.
        (loss * targets).backward()  # type: ignore[no-untyped-call]
        total += loss.item() * targets
        count += targets
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad /= count
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    optimizer.zero_grad()
    return total / count


def to_json(value: object) -> str:
    """Return indented JSON with a final newline."""
    return json.dumps(value, indent=2) + "\n"


def save_checkpoint(
    folder: Path, weights: Tensors, optimizer: Tensors, texts: Mapping[str, str]
) -> None:
    """Write a checkpoint beside the last one, then put it in its place.

    A kill leaves the last checkpoint or the new one: see `find_checkpoint`.

    Args:
        folder: Where it will stand.
        weights: The tensors of model.safetensors.
        optimizer: The tensors of optimizer.safetensors.
        texts: The text of every other file.
    """
    new, old = _beside(folder, "new"), _beside(folder, "old")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for name, tensors in (("model", weights), ("optimizer", optimizer)):
        detached = {key: tensor.detach().contiguous() for key, tensor in tensors.items()}
        save_file(detached, new / f"{name}.safetensors", metadata={"format": "pt"})
    for name, text in texts.items():
        (new / name).write_text(text, encoding="utf-8")
    for path in new.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
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


def _keep_lines(metrics: Path, count: int) -> None:
    """Drop the lines of steps after a checkpoint: a resumed run takes those steps again."""
    text = metrics.read_text(encoding="utf-8") if metrics.exists() else ""
    metrics.write_text("".join(text.splitlines(keepends=True)[:count]), encoding="utf-8")


@contextlib.contextmanager
def interrupts() -> Iterator[list[int]]:
    """Collect Ctrl-C in a list, so that a step is never cut in two; a second one does cut."""
    signals: list[int] = []

    def collect(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = signal.signal(signal.SIGINT, collect)
    try:
        yield signals
    finally:
        signal.signal(signal.SIGINT, previous)


def fit(
    steps: range,
    take_step: Callable[[int], tuple[float, float]],
    validate: Callable[[], float],
    save: Callable[[int], None],
    metrics: Path,
    eval_every: int,
    save_every: int,
) -> None:
    """Train; Ctrl-C ends the current step, saves, and exits with status 130.

    Args:
        steps: The steps to take, counted from 0.
        take_step: Takes a step; returns its training loss and learning rate.
        validate: Returns the loss on the validation split.
        save: Saves a checkpoint after a number of steps.
        metrics: JSON lines of what was measured after each step.
        eval_every: Steps from one validation to the next; the last step always has one.
        save_every: Steps from one checkpoint to the next; the last step always has one.
    """
    _keep_lines(metrics, steps.start)
    bar = tqdm(steps, initial=steps.start, total=steps.stop, disable=not sys.stderr.isatty())
    with interrupts() as signals, metrics.open("a", encoding="utf-8") as log:
        for done in (step + 1 for step in bar):
            loss, learning_rate = take_step(done - 1)
            if not math.isfinite(loss):
                fail(f"the loss is {loss} at step {done}: lower --learning-rate.")
            last = done == steps.stop
            val_loss = validate() if last or done % eval_every == 0 else None
            row = {"step": done, "train_loss": loss, "val_loss": val_loss}
            print(json.dumps(row | {"learning_rate": learning_rate}), file=log, flush=True)
            bar.set_postfix(loss=f"{loss:.3f}")
            if val_loss is not None:
                line = f"step {done}/{steps.stop}: train loss {loss:.3f}, validation {val_loss:.3f}"
                tqdm.write(line, file=sys.stderr)
            if last or signals or done % save_every == 0:
                save(done)
            if signals and not last:
                tqdm.write(f"stopped at step {done}, saved: --resume goes on.", file=sys.stderr)
                raise SystemExit(130)


def main() -> None:
    """Train, from the start or from a checkpoint."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config, stop = settings(args)
    data_config = load_config(DataConfig, "data", args.size)
    model_config = load_config(ModelConfig, "model", args.size)
    folder = args.checkpoint or args.out / "checkpoint"
    check_free(folder)
    corpus = load_corpus(data_config, args.data, model_config.vocab_size)

    # On `meta` a model has shapes and no memory: refuse what cannot fit before it is allocated.
    with torch.device("meta"):
        parameters = Model(model_config).num_params()
    print(memory_table(parameters, device), file=sys.stderr)
    be_deterministic(config.seed)
    model = Model(model_config).to(device)
    optimizer = adamw(model, config.weight_decay, (config.beta1, config.beta2))

    start = 0
    if args.resume:
        state = read_json(find_checkpoint(folder) / "state.json")
        if args.schedule_steps is None:
            config = replace(config, steps=state["train.steps"])
        check_same(folder, state, identity(config, data_config, model_config, corpus))
        load_weights(model, folder / "model.safetensors", model.checkpoint_name)
        load_optimizer(model, optimizer, read_tensors(folder / "optimizer.safetensors"))
        start = state["step"]
    if start >= stop:
        fail(f"{folder} is at step {start} already: ask for more with --steps.")

    def take_step(step: int) -> tuple[float, float]:
        rate = learning_rate_at(
            step, config.learning_rate, config.warmup_steps, config.steps, config.final_lr_share
        )
        tokens = corpus.splits["train"]
        losses = micro_losses(model, tokens, step, data_config.seq_len, config, device)
        return update(model, optimizer, losses, rate, config.grad_clip), rate

    def validate() -> float:
        return validation_loss(model, corpus.splits["val"], data_config.seq_len, config, device)

    def save(step: int) -> None:
        weights = {model.checkpoint_name(n): p for n, p in model.named_parameters()}
        tokens = {"bos_token_id": None, "eos_token_id": corpus.end_of_text}
        state = {"step": step} | identity(config, data_config, model_config, corpus)
        texts = {
            "config.json": to_json(asdict(model_config) | model.checkpoint_config() | tokens),
            "state.json": to_json(state),
        }
        texts |= tokenizer_files(corpus)
        save_checkpoint(folder, weights, optimizer_tensors(model, optimizer), texts)

    args.out.mkdir(parents=True, exist_ok=True)
    metrics = args.out / "metrics.jsonl"
    fit(
        range(start, stop), take_step, validate, save, metrics, config.eval_every, config.save_every
    )
    print(f"{stop} steps done: {folder}", file=sys.stderr)


def run(main: Callable[[], None]) -> None:
    """Run a script; Ctrl-C and a full GPU end it without a traceback."""
    try:
        main()
    except KeyboardInterrupt:
        print("stopped; the last checkpoint, if there is one, is whole.", file=sys.stderr)
        raise SystemExit(130) from None
    except torch.OutOfMemoryError:
        fail("the GPU's memory is full: use more --grad-accum, a smaller --batch-size, or the CPU.")


if __name__ == "__main__":
    run(main)
