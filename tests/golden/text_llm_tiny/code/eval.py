"""Score a checkpoint on the test split, beside n-gram models of the same training text.

    python eval.py                                the checkpoint that train.py left in `out`
    python eval.py --size full --data tokens      the full model, on prepared tokens

Prints JSON on stdout. No other script reads the test split.
"""

import argparse
import contextlib
import inspect
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from data import Config as DataConfig
from data import Corpus, Tokens, load_corpus, windows
from model import Config as ModelConfig
from model import Model


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 32
    """Windows scored at once."""
    stride: int = 256
    """Tokens from one window to the next; the rest of a window is context, scored before."""
    baseline_bytes: int = 16000000
    """Largest training split, in bytes, on which n-gram baselines are fitted."""


@torch.no_grad()
def score(
    model: Model, tokens: Tokens, seq_len: int, config: Config, device: torch.device
) -> tuple[float, int]:
    """Return the bits that all tokens but the first take, and how many are ranked first."""
    nats, hits = 0.0, 0
    for inputs, targets in windows(tokens, seq_len, config.stride, config.batch_size):
        logits = model(inputs.to(device)).float().flatten(0, 1).cpu()  # (B * T, V)
        flat = targets.flatten()
        nats += F.cross_entropy(logits, flat, ignore_index=-1, reduction="sum").item()
        hits += int((logits.argmax(-1) == flat).sum())
    return nats / math.log(2), hits


class NGram:
    """A byte n-gram model with Witten-Bell smoothing (Bell, Cleary & Witten, 1990).

    p(c | h) = (count(hc) + types(h) * p(c | h')) / (count(h) + types(h)), where h' is h without
    its oldest byte and types(h) is how many different bytes followed h; below is the uniform model.
    """

    def __init__(self, order: int, text: bytes) -> None:
        self.order = order
        self.counts: Counter[bytes] = Counter()
        for n in range(1, order + 1):
            self.counts.update(text[i : i + n] for i in range(len(text) - n + 1))
        self.followers: Counter[bytes] = Counter()
        self.types: Counter[bytes] = Counter()
        for gram, count in self.counts.items():
            self.followers[gram[:-1]] += count
            self.types[gram[:-1]] += 1

    def probability(self, history: bytes, byte: bytes) -> float:
        """Return p(byte | history)."""
        p = 1 / 256
        for n in range(self.order):
            h = history[len(history) - n :]
            if h in self.types:
                p = (self.counts[h + byte] + self.types[h] * p) / (
                    self.followers[h] + self.types[h]
                )
        return p

    def bits_per_byte(self, text: bytes, start: int) -> float:
        """Return the mean bits of the bytes from `start` on."""
        bits = 0.0
        for i in range(start, len(text)):
            history = text[max(0, i - self.order + 1) : i]
            bits -= math.log2(self.probability(history, text[i : i + 1]))
        return bits / (len(text) - start)

    def accuracy(self, text: bytes, start: int) -> float:
        """Return the share of bytes that are the likeliest after the longest known history."""
        best: dict[bytes, bytes] = {}
        for gram, _ in self.counts.most_common():
            best.setdefault(gram[:-1], gram[-1:])
        hits = 0
        for i in range(start, len(text)):
            history = text[max(0, i - self.order + 1) : i]
            while history not in best:
                history = history[1:]
            hits += best[history] == text[i : i + 1]
        return hits / (len(text) - start)


def metrics(
    model: Model, corpus: Corpus, seq_len: int, config: Config, device: torch.device
) -> list[dict[str, Any]]:
    """Return bits per byte and next-token accuracy on the test split, beside their baselines."""
    # The token before the split is context, so that every token of the split is scored.
    tokens = np.concatenate([corpus.splits["val"][-1:], corpus.splits["test"][:]])
    bits, hits = score(model, tokens, seq_len, config, device)
    bits_baselines, accuracy_baselines = {}, {}
    at_byte_level = corpus.tokenizer_json is None
    if at_byte_level and corpus.num_bytes["train"] <= config.baseline_bytes:
        train, text = corpus.splits["train"][:].tobytes(), tokens.tobytes()
        for name, order in (("unigram", 1), ("bigram", 2), ("5-gram", 5)):
            baseline = NGram(order, train)
            bits_baselines[name] = baseline.bits_per_byte(text, start=1)
            accuracy_baselines[name] = baseline.accuracy(text, start=1)
    return [
        {
            "metric": "bits_per_byte",
            "unit": "bit/byte",
            "higher_is_better": False,
            "value": bits / corpus.num_bytes["test"],
            "baselines": bits_baselines,
        },
        {
            "metric": "next_byte_accuracy" if at_byte_level else "next_token_accuracy",
            "unit": "share",
            "higher_is_better": True,
            "value": hits / len(corpus.splits["test"]),
            "baselines": accuracy_baselines,
        },
    ]


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
    proxy, full = load_config(Config, "eval", "proxy"), Config()
    return shared_options(
        __doc__,
        data="what train.py was given (default: bundled corpus)",
        batch_size=f"windows scored at once {sized(proxy, full, 'batch_size')}",
    ).parse_args()


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


def main() -> None:
    """Print the scores of a checkpoint."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "eval", args.size)
    data_config = load_config(DataConfig, "data", args.size)
    model_config = load_config(ModelConfig, "model", args.size)
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    check_same(folder, read_json(folder / "config.json"), asdict(model_config))
    state = read_json(folder / "state.json")
    corpus = load_corpus(data_config, args.data, model_config.vocab_size)
    with torch.device("meta"):
        model = Model(model_config)
    load_weights(model, folder / "model.safetensors", model.checkpoint_name)
    model.to(device)
    report = {
        "dataset": corpus.name,
        "sha256": corpus.sha256,
        "split": "test",
        "n": len(corpus.splits["test"]),
        "metrics": metrics(model, corpus, data_config.seq_len, config, device),
        "checkpoint_step": state.get("step"),
    }
    print(json.dumps(report, indent=2))


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
