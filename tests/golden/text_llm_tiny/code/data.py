"""Text as tokens: a bundled corpus, or your own text, cut into train, val and test splits.

    python data.py --data PATH                        shows what training would read
    python data.py prepare --data PATH --out tokens   trains a tokenizer and writes token shards

PATH is a .txt, .md or .jsonl file (one {"text": ...} a line), or a folder of them. At byte level
(`tokenizer="byte"`) text is read as it is; otherwise training reads the folder that `prepare` made.
"""

import argparse
import bisect
import functools
import hashlib
import inspect
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import Config as ModelConfig

SPLITS = ("train", "val", "test")
END_OF_TEXT = "<|endoftext|>"
Array = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Config:
    """How text becomes samples."""

    seq_len: int = 512
    """Tokens of a training sample."""
    tokenizer: str = "bpe"
    """byte: the 256 byte values; bpe: byte-pair encoding, made by `data.py prepare`."""
    val_fraction: float = 0.01
    """Share of the text, before the test split, on which training is watched."""
    test_fraction: float = 0.01
    """Share of the text, at its end, that only eval.py reads."""


class Tokenizer(Protocol):
    """What the scripts need of a tokenizer."""

    end_of_text: int | None

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        ...


class ByteTokenizer:
    """UTF-8 bytes as tokens."""

    end_of_text: int | None = None

    def encode(self, text: str) -> list[int]:
        """Return the bytes of a text."""
        return list(text.encode())

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of bytes; bytes that are not UTF-8 become U+FFFD."""
        return bytes(tokens).decode(errors="replace")


def fail(sentence: str) -> NoReturn:
    """Say in one sentence what is wrong and what to do, and exit with status 2."""
    rank = os.environ.get("RANK", "0")
    who = "" if rank == "0" else f" (process {rank})"
    print(f"{Path(sys.argv[0]).name}{who}: {sentence}", file=sys.stderr)
    raise SystemExit(2)


class BPETokenizer:
    """Byte-level byte-pair encoding (Sennrich et al., 2016), from a tokenizer.json."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer as Library

        if not path.is_file():
            fail(f"{path} does not exist: make it with `python data.py prepare`.")
        self._library = Library.from_file(str(path))
        self.end_of_text: int | None = self._library.token_to_id(END_OF_TEXT)
        self.vocab_size = int(self._library.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        return list(self._library.encode(text).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return str(self._library.decode(list(tokens)))


class Shards:
    """Tokens in files one after the other, read as one array; they stay on the disk."""

    def __init__(self, paths: Sequence[Path], dtype: str) -> None:
        filled = [path for path in paths if path.stat().st_size]
        self._files = [np.memmap(path, dtype=dtype, mode="r") for path in filled]
        self._starts = [0]
        for file in self._files:
            self._starts.append(self._starts[-1] + len(file))

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, part: slice) -> Array:
        """Return a copy of some tokens in a row, which may lie in several files."""
        start, stop, _ = part.indices(len(self))
        first = max(0, bisect.bisect_right(self._starts, start) - 1)
        files = zip(self._files[first:], self._starts[first:], strict=False)
        pieces = [file[max(0, start - at) : max(0, stop - at)] for file, at in files if at < stop]
        return np.concatenate(pieces) if pieces else np.empty(0, np.uint16)


Tokens = Array | Shards


@dataclass(frozen=True)
class Corpus:
    """A tokenized text in three splits.

    Attributes:
        name: What it is called in reports.
        sha256: Digest of the whole text.
        splits: Token ids by split, one-dimensional, in text order.
        num_bytes: UTF-8 bytes of each split.
        vocab_size: Every token is below it.
        tokenizer_json: Text of the tokenizer, None at byte level.
        end_of_text: Token between documents, None at byte level.
    """

    name: str
    sha256: str
    splits: dict[str, Tokens]
    num_bytes: dict[str, int]
    vocab_size: int
    tokenizer_json: str | None = None
    end_of_text: int | None = None


def load_corpus(config: Config, path: Path | None, vocab_size: int) -> Corpus:
    """Return the corpus of a path, or the bundled one, or stop where it does not fit the model."""
    corpus = _bytes_corpus(config, path) if config.tokenizer == "byte" else _token_corpus(path)
    if corpus.vocab_size > vocab_size:
        fail(
            f"{corpus.name} is of {corpus.vocab_size:,} tokens, and the model has {vocab_size:,} "
            "entries: run `data.py prepare` for this size."
        )
    need = {"train": 2 * config.seq_len, "val": 2, "test": 2}
    for split, least in need.items():
        have = len(corpus.splits[split])
        if have < least:
            fail(
                f"{corpus.name} is too little text: its {split} split has {have:,} tokens, and "
                f"samples of {config.seq_len:,} need at least {least:,}."
            )
    return corpus


def bundled_text() -> bytes:
    """Return the help topics of the Python language, each paragraph once (PSF licence).

    Paragraphs recur across topics; unless they are dropped, the test split leaks into training.
    """
    from pydoc_data.topics import topics

    paragraphs: dict[str, str] = {}
    for topic in topics.values():
        for paragraph in topic.split("\n\n"):
            paragraphs.setdefault(paragraph.strip(), paragraph.rstrip())
    return "\n\n".join(paragraphs.values()).encode()


@functools.lru_cache(maxsize=2)
def epoch_order(samples: int, seed: int, epoch: int) -> torch.Tensor:
    """Return the shuffled indices of one epoch, shape (samples,)."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(samples, generator=generator)


def samples_at(position: int, count: int, samples: int, seed: int) -> list[tuple[int, int]]:
    """Return (epoch, index) of the next samples in an endless shuffled stream.

    The stream is a function of the position alone, so a resumed run repeats and drops nothing;
    each epoch holds every sample once.
    """
    places = (divmod(p, samples) for p in range(position, position + count))
    return [(epoch, int(epoch_order(samples, seed, epoch)[i])) for epoch, i in places]


def batch_at(
    tokens: Tokens, position: int, count: int, seq_len: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the samples at some positions of the training order: inputs and targets (B, T).

    Samples are windows side by side, so an epoch shows each token once as a target; each epoch
    shifts them all by an offset of its own.
    """
    samples = (len(tokens) - seq_len) // seq_len
    rows = []
    for epoch, index in samples_at(position, count, samples, seed):
        start = (seed + 7919 * epoch) % seq_len + index * seq_len
        rows.append(tokens[start : start + seq_len + 1].astype(np.int64))
    windows = torch.from_numpy(np.stack(rows))
    return windows[:, :-1], windows[:, 1:]


def windows(
    tokens: Tokens, seq_len: int, stride: int, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches (B, T) of inputs and targets in which each token but the first is scored once.

    Windows start every `stride` tokens. What an earlier window has scored is -1 among the targets
    of a later one, which sees it as context; so is the padding of the last window.
    """
    starts = range(0, max(1, len(tokens) - 1 - (seq_len - stride)), stride)
    for first in range(0, len(starts), batch_size):
        batch = starts[first : first + batch_size]
        inputs = torch.zeros(len(batch), seq_len, dtype=torch.int64)
        targets = torch.full_like(inputs, -1)
        for row, start in enumerate(batch):
            chunk = torch.from_numpy(tokens[start : start + seq_len + 1].astype(np.int64))
            inputs[row, : len(chunk) - 1], targets[row, : len(chunk) - 1] = chunk[:-1], chunk[1:]
            if start:
                targets[row, : seq_len - stride] = -1
        yield inputs, targets


def load_tokenizer(kind: str, folder: Path) -> Tokenizer:
    """Return the tokenizer of a configuration; `bpe` is read from the folder's tokenizer.json."""
    return ByteTokenizer() if kind == "byte" else BPETokenizer(folder / "tokenizer.json")


def _bytes_corpus(config: Config, path: Path | None) -> Corpus:
    """Return a corpus whose tokens are the bytes of the text."""
    text = bundled_text() if path is None else "\n\n".join(_documents(path)).encode()
    name = "pydoc_topics" if path is None else path.name
    array = np.frombuffer(text, dtype=np.uint8)
    parts = _parts(len(text), config)
    splits: dict[str, Tokens] = {split: array[part] for split, part in parts.items()}
    sizes = {split: len(tokens) for split, tokens in splits.items()}
    return Corpus(name, hashlib.sha256(text).hexdigest(), splits, sizes, vocab_size=256)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, or stop."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fail(f"{path} does not exist.")
    except (OSError, ValueError) as error:
        fail(f"{path} cannot be read as JSON: {error}.")


def _token_corpus(path: Path | None) -> Corpus:
    """Return a corpus from the folder that `prepare` made; its tokens stay on the disk."""
    if path is None or not (path / "corpus.json").is_file():
        fail(
            "this size reads tokens: run `data.py prepare --data TEXT --out DIR`, then --data DIR."
        )
    facts = read_json(path / "corpus.json")
    return Corpus(
        name=facts["name"],
        sha256=facts["sha256"],
        splits={split: _shards(path, split, facts["dtype"]) for split in SPLITS},
        num_bytes=facts["num_bytes"],
        vocab_size=BPETokenizer(path / "tokenizer.json").vocab_size,
        tokenizer_json=(path / "tokenizer.json").read_text(encoding="utf-8"),
        end_of_text=facts["end_of_text"],
    )


def _shards(folder: Path, split: str, dtype: str) -> Shards:
    """Return the tokens of a split: SPLIT.bin, or SPLIT-00000.bin and so on, in that order."""
    paths = sorted([*folder.glob(f"{split}.bin"), *folder.glob(f"{split}-*.bin")])
    if not paths:
        fail(f"{folder} has no {split}.bin: make it with `data.py prepare`.")
    try:
        return Shards(paths, dtype)
    except (OSError, ValueError, TypeError) as error:
        fail(f"the {split} shards of {folder} cannot be read as {dtype}: {error}.")


def _parts(length: int, config: Config) -> dict[str, slice]:
    """Return the place of each split in a text of some length: train, then val, then test."""
    test = length - int(length * config.test_fraction)
    val = test - int(length * config.val_fraction)
    return {"train": slice(0, val), "val": slice(val, test), "test": slice(test, length)}


def _documents(path: Path) -> Iterator[str]:
    """Yield the documents of a file or of a folder, in the order of their names."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    found = [f for f in files if f.suffix in (".txt", ".md", ".jsonl") or f == path]
    if not found or not all(f.is_file() for f in found):
        fail(f"{path} is neither a text file nor a folder of .txt, .md or .jsonl files.")
    for file in found:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            fail(f"{file} cannot be read as UTF-8 text: {error}.")
        if file.suffix != ".jsonl":
            yield text
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                yield str(json.loads(line)["text"])
            except (ValueError, KeyError, TypeError):
                fail(f'{file}:{number} is not a JSON object with a "text".')


def prepare(path: Path | None, out: Path, vocab_size: int, config: Config) -> None:
    """Train a tokenizer on the train split and write tokenizer.json and a shard of each split.

    Args:
        path: The text; None is the bundled corpus.
        out: The folder to make.
        vocab_size: Entries of the tokenizer, at most.
        config: Says where the splits lie.
    """
    from tokenizers import Tokenizer as Library
    from tokenizers import decoders, models, pre_tokenizers, trainers

    documents = [bundled_text().decode()] if path is None else _documents(path)
    text = END_OF_TEXT.join(documents)
    texts = {split: text[part] for split, part in _parts(len(text), config).items()}
    library = Library(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[END_OF_TEXT], initial_alphabet=alphabet
    )
    library.train_from_iterator(_pieces(texts["train"]), trainer)
    out.mkdir(parents=True, exist_ok=True)
    library.save(str(out / "tokenizer.json"))
    dtype = "uint16" if vocab_size <= 2**16 else "uint32"
    for split, part in texts.items():
        with (out / f"{split}.bin").open("wb") as shard:
            for encoding in library.encode_batch(list(_pieces(part))):
                shard.write(np.array(encoding.ids, dtype=dtype).tobytes())
    facts = {
        "name": "pydoc_topics" if path is None else path.name,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "dtype": dtype,
        "num_bytes": {s: len(t.replace(END_OF_TEXT, "").encode()) for s, t in texts.items()},
        "end_of_text": library.token_to_id(END_OF_TEXT),
    }
    (out / "corpus.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _pieces(text: str, size: int = 2**16) -> Iterator[str]:
    """Yield a text in pieces, so that the tokenizer can work on them side by side."""
    for start in range(0, len(text), size):
        yield text[start : start + size]


ConfigT = TypeVar("ConfigT")


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


def main() -> None:
    """Show a corpus, or prepare one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=("show", "prepare"), default="show")
    parser.add_argument("--data", type=Path, metavar="PATH", help="text (default: bundled corpus)")
    parser.add_argument("--out", type=Path, default=Path("tokens"), help="(default: tokens)")
    parser.add_argument("--size", choices=("proxy", "full"), help="(default: full to prepare)")
    args = parser.parse_args()
    size = args.size or ("full" if args.command == "prepare" else "proxy")
    config = load_config(Config, "data", size)
    vocab_size = load_config(ModelConfig, "model", size).vocab_size
    if args.command == "prepare":
        prepare(args.data, args.out, vocab_size, config)
        print(f"wrote {args.out}: train with `python train.py --size {size} --data {args.out}`")
        return
    corpus = load_corpus(config, args.data, vocab_size)
    print(f"{corpus.name}, sha256 {corpus.sha256}")
    for split, tokens in corpus.splits.items():
        print(f"{split:>5}: {len(tokens):,} tokens, {corpus.num_bytes[split]:,} bytes")


if __name__ == "__main__":
    main()
