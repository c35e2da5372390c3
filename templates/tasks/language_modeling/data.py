"""Read text as tokens, a bundled corpus or your own, and cut it into train, val and test splits.

    python data.py --data PATH                        shows what training will read
    python data.py prepare --data PATH --out tokens   trains a tokenizer and writes token shards

PATH is a file of text (.txt, .md, .rst, .py), a file with rows that have a text (.jsonl, .json,
.csv, .parquet, .arrow), or a folder of them; gzip may have packed it. A row is a document: its
`text`, its `content`, the turns of its `messages`, or its `prompt` and `completion`. Files named
train, val and test, as on the Hugging Face Hub, are these splits; other text is cut in its order.

Training reads PATH, or the folder that `prepare` wrote: without that, it trains the tokenizer of
the train split itself, as `prepare` does, and holds the whole text in memory.
"""

import argparse
import contextlib
import hashlib
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from model import Config as ModelConfig
from runtime.errors import fail, run
from runtime.folders import whole_folder
from runtime.order import samples_at
from runtime.preparation import preparing
from runtime.pydocs import bundled_text
from runtime.settings import read_json
from runtime.shards import Array, Shards, open_shards
from runtime.splits import SPLITS, in_order, require_samples, shares_left
from runtime.texts import documents, list_texts, text_files
from runtime.tokenizer import (
    END_OF_TEXT,
    BPETokenizer,
    ByteTokenizer,
    Tokenizer,
    open_bpe,
    train_bpe,
)

BUNDLED = "pydoc_topics"
CORPUS_KEYS = {"name", "sha256", "dtype", "num_bytes", "num_documents", "end_of_text"}
BREAK = b"\xff"  # stands between documents in a digest; UTF-8 never contains this byte
IN_MEMORY = 2**26  # bytes of text; tokenizing more at the start of each run would take long


@dataclass(frozen=True)
class Config:
    """How text becomes samples."""

    seq_len: int = 1024
    """Tokens in a training sample; longer ones show more context and need more memory."""
    tokenizer: str = "byte"
    """byte: the 256 byte values; bpe: byte-pair encoding, trained on the train split."""
    val_fraction: float = 0.05
    """Share of the text, just before the test split, for validation during training."""
    test_fraction: float = 0.1
    """Share of the text, at its end, that only eval.py reads."""


Tokens = Array | Shards
Piece = tuple[str, str, bool]  # split, text, and whether a document ends there


@dataclass(frozen=True)
class Corpus:
    """A tokenized text in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of the whole text; it does not depend on the tokens.
        splits: Token ids by split, one-dimensional, in text order.
        num_bytes: UTF-8 bytes of each split.
        num_documents: Documents that begin in each split.
        tokenizer: Turns text into these tokens, and back.
    """

    name: str
    sha256: str
    splits: dict[str, Tokens]
    num_bytes: dict[str, int]
    num_documents: dict[str, int]
    tokenizer: Tokenizer

    def text(self, split: str) -> bytes:
        """Return the text of a split; a token between documents has none."""
        tokens = self.splits[split][:]
        # A split of bytes may begin inside a character, which no decoder would return.
        if isinstance(self.tokenizer, ByteTokenizer):
            return tokens.tobytes()
        return self.tokenizer.decode(tokens.tolist()).encode()


def load_corpus(
    config: Config, path: Path | None, vocab_size: int, checkpoint: Path | None = None
) -> Corpus:
    """Return the corpus of a path, or the bundled one, or stop if it does not fit the model.

    Args:
        config: How the text is cut.
        path: A text, or a folder of `prepare`; None for the bundled corpus.
        vocab_size: Entries of the model.
        checkpoint: The folder of a trained model, whose tokenizer is used; None trains one.
    """
    if config.tokenizer == "byte":
        corpus = _bytes_corpus(config, path)
    elif path is not None and (path / "corpus.json").is_file():
        corpus = _prepared_corpus(path, checkpoint)
    else:
        corpus = _tokenized_corpus(config, path, vocab_size, checkpoint)
    # An id beyond the embedding table would fail on the device, without a readable message.
    if corpus.tokenizer.vocab_size > vocab_size:
        fail(
            f"{corpus.name} has a vocabulary of {corpus.tokenizer.vocab_size:,} tokens, and the "
            f"model one of {vocab_size:,}: give `data.py prepare` the same --size as this script, "
            "such as `--size proxy`."
        )
    sizes = {split: len(tokens) for split, tokens in corpus.splits.items()}
    # Training needs two windows: an epoch's offset moves all samples by up to one. Val and test
    # need a token to score, and one before it as context.
    require_samples(
        corpus.name, "tokens", sizes, {"train": 2 * config.seq_len, "val": 2, "test": 2}
    )
    return corpus


def batch_at(
    tokens: Tokens, position: int, count: int, seq_len: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the samples at some positions of the training order: inputs and targets (B, T).

    Samples are adjacent windows, so that an epoch shows each token once as a target. Each epoch
    shifts all windows by an offset of its own.
    """
    # The last window is left out: the offset of an epoch moves windows by up to seq_len - 1.
    samples = (len(tokens) - seq_len) // seq_len
    rows = []
    for epoch, index in samples_at(position, count, samples, seed):
        # Offsets let each epoch cut the text at other places, which is a mild augmentation. 7919 is
        # a prime, so an offset repeats only after all others.
        start = (seed + 7919 * epoch) % seq_len + index * seq_len
        # Shards are memory maps: this slice is all that is read from the disk.
        rows.append(tokens[start : start + seq_len + 1].astype(np.int64))
    windows = torch.from_numpy(np.stack(rows))  # (B, T + 1)
    # The target of each token is the token after it, so a window of T + 1 tokens gives T of both.
    return windows[:, :-1], windows[:, 1:]


def windows(
    tokens: Tokens, seq_len: int, stride: int, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches (B, T) of inputs and targets that score each token but the first once.

    Windows start every `stride` tokens. Tokens that an earlier window scored are context only:
    their targets are -1, like those of the padding in the last window. A smaller stride gives each
    token more context, and takes more passes.
    """
    # The last window starts where fewer than a stride of new tokens remain.
    starts = range(0, max(1, len(tokens) - 1 - (seq_len - stride)), stride)
    for first in range(0, len(starts), batch_size):
        batch = starts[first : first + batch_size]
        inputs = torch.zeros(len(batch), seq_len, dtype=torch.int64)
        targets = torch.full_like(inputs, -1)  # the loss ignores targets of -1
        for row, start in enumerate(batch):
            chunk = torch.from_numpy(tokens[start : start + seq_len + 1].astype(np.int64))
            inputs[row, : len(chunk) - 1], targets[row, : len(chunk) - 1] = chunk[:-1], chunk[1:]
            # The first window scores all its tokens, because no earlier one has.
            if start:
                targets[row, : seq_len - stride] = -1
        yield inputs, targets


def _bytes_corpus(config: Config, path: Path | None) -> Corpus:
    """Return a corpus whose tokens are the bytes of the text."""
    texts = [each.encode() for each in _documents(path)]
    # Byte 0 tells the model where texts end, as <|endoftext|> does among larger tokens.
    text = bytes([ByteTokenizer.end_of_text]).join(texts)
    # A view of the bytes needs no copy; a token is one byte, so the vocabulary is 256.
    array = np.frombuffer(text, dtype=np.uint8)
    parts = _cut(path, config, lambda text: len(text.encode()), 1)
    splits: dict[str, Tokens] = {split: array[parts[split]] for split in SPLITS}
    sizes = {split: len(tokens) for split, tokens in splits.items()}
    starts = [0, *itertools.accumulate(len(each) + 1 for each in texts)][: len(texts)]
    begun = {s: sum(part.start <= at < part.stop for at in starts) for s, part in parts.items()}
    digest = hashlib.sha256(BREAK.join(texts)).hexdigest()
    return Corpus(_name(path), digest, splits, sizes, begun, ByteTokenizer())


def _tokenized_corpus(
    config: Config, path: Path | None, vocab_size: int, checkpoint: Path | None
) -> Corpus:
    """Return a corpus whose tokens are made now, by the tokenizer of a checkpoint or a new one."""
    read = itertools.accumulate(len(each.encode()) for each in _documents(path))
    if any(size > IN_MEMORY for size in read):
        fail(f"{path} is large: run `data.py prepare --data {path} --out DIR`, then --data DIR.")
    parts = _parts(path, config)
    if checkpoint:
        tokenizer = open_bpe(checkpoint / "tokenizer.json")
    else:
        tokenizer = _trained(path, parts, vocab_size)
    shards = {split: io.BytesIO() for split in SPLITS}
    facts = _write_shards(shards, _pieces(path, parts), tokenizer)
    splits: dict[str, Tokens] = {
        split: np.frombuffer(shard.getvalue(), facts["dtype"]) for split, shard in shards.items()
    }
    counts = facts["num_bytes"], facts["num_documents"]
    return Corpus(_name(path), facts["sha256"], splits, *counts, tokenizer)


def _prepared_corpus(path: Path, checkpoint: Path | None) -> Corpus:
    """Return a corpus from the folder that `prepare` wrote; its tokens stay on the disk."""
    tokenizer = open_bpe(path / "tokenizer.json")
    known = checkpoint / "tokenizer.json" if checkpoint else None
    # A model has learned the numbers of its own tokenizer; those of another mean other texts.
    if known and known.is_file() and open_bpe(known).entries() != tokenizer.entries():
        fail(
            f"{path} has the tokens of another tokenizer than {checkpoint}: give the text itself "
            "with --data."
        )
    facts = read_json(path / "corpus.json")
    if not set(facts) >= CORPUS_KEYS:
        fail(f"{path / 'corpus.json'} was not written by `data.py prepare`: run that again.")
    return Corpus(
        name=facts["name"],
        sha256=facts["sha256"],
        splits={split: open_shards(path, split, facts["dtype"]) for split in SPLITS},
        num_bytes=facts["num_bytes"],
        num_documents=facts["num_documents"],
        tokenizer=tokenizer,
    )


def prepare(path: Path | None, out: Path, vocab_size: int, config: Config) -> None:
    """Train a tokenizer on the train split; write tokenizer.json and the tokens of each split.

    The text is read three times, a document at a time, so it may be larger than the memory.

    Args:
        path: The text; None for the bundled corpus.
        out: The folder to write.
        vocab_size: Largest number of entries of the tokenizer.
        config: Sizes of the splits.
    """
    parts = _parts(path, config)
    tokenizer = _trained(path, parts, vocab_size)
    with whole_folder(out, "corpus.json") as folder, contextlib.ExitStack() as files:
        (folder / "tokenizer.json").write_text(str(tokenizer.json), encoding="utf-8")
        shards = {s: files.enter_context((folder / f"{s}.bin").open("wb")) for s in SPLITS}
        facts = {"name": _name(path), **_write_shards(shards, _pieces(path, parts), tokenizer)}
        (folder / "corpus.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _parts(path: Path | None, config: Config) -> dict[str, slice]:
    """Return the characters of each split, or stop if there are none."""
    parts = _cut(path, config, len)
    if max(part.stop for part in parts.values()) == 0:
        fail(f"{path} has no text: use another file or folder.")
    return parts


def _cut(
    path: Path | None, config: Config, size: Callable[[str], int], between: int = 0
) -> dict[str, slice]:
    """Return the range of each split in the text, in the order of their places.

    Args:
        path: The text; None for the bundled corpus.
        config: Sizes of the splits.
        size: Counts the units of a document.
        between: Units between two documents.
    """
    # The bounds of the splits depend on the whole length, so a pass counts it.
    files: Mapping[str, Sequence[Path] | None] = (
        {"train": None} if path is None else text_files(path)
    )
    lengths = {
        split: sum(size(document) + between for document in _read(each))
        for split, each in files.items()
    }
    # No break follows the last document.
    last = list(lengths)[-1]
    lengths[last] = max(0, lengths[last] - between)
    # The text is cut in its order: windows of a random split would share sentences across splits.
    # Files of val and test follow those of train, and a split without files is the end of train.
    shares = shares_left(lengths, config.val_fraction, config.test_fraction)
    parts = in_order(lengths["train"], *shares)
    for split in ("val", "test"):
        if split in lengths:
            del parts[split]
            end = max(part.stop for part in parts.values())
            parts[split] = slice(end, end + lengths[split])
    return parts


def _trained(path: Path | None, parts: Mapping[str, slice], vocab_size: int) -> BPETokenizer:
    """Return a tokenizer of the train split alone: merges from test text would lower its score."""
    if vocab_size <= 256:
        fail(f"{vocab_size} entries cannot hold 256 bytes and {END_OF_TEXT}: use byte tokens.")
    texts = (piece for split, piece, _ in _pieces(path, parts) if split == "train")
    return BPETokenizer(train_bpe(texts, vocab_size))


def _write_shards(
    shards: Mapping[str, BinaryIO], pieces: Iterator[Piece], tokenizer: BPETokenizer
) -> dict[str, Any]:
    """Write the tokens of each split, and return what corpus.json records of them."""
    end_of_text = tokenizer.end_of_text
    # uint16 halves the size of shards and the time to read them; larger vocabularies need uint32.
    dtype = "uint16" if tokenizer.vocab_size <= 2**16 else "uint32"
    digest, num_bytes, between = hashlib.sha256(), dict.fromkeys(SPLITS, 0), b""
    num_documents, begins = dict.fromkeys(SPLITS, 0), True
    while batch := list(itertools.islice(pieces, 1024)):  # keeps all cores busy
        rows = tokenizer.encode_batch([piece for _, piece, _ in batch])
        for (split, piece, last), row in zip(batch, rows, strict=True):
            # The model learns from this token where texts end, and so when to stop.
            tokens = row + [end_of_text] * last
            shards[split].write(np.array(tokens, dtype=dtype).tobytes())
            digest.update(between + piece.encode())
            between = BREAK * last
            num_bytes[split] += len(piece.encode())
            num_documents[split] += begins
            begins = last
    return {
        "sha256": digest.hexdigest(),
        "dtype": dtype,
        "num_bytes": num_bytes,
        "num_documents": num_documents,
        "end_of_text": end_of_text,
    }


def _pieces(path: Path | None, parts: Mapping[str, slice], size: int = 2**16) -> Iterator[Piece]:
    """Yield the pieces of all documents, in order.

    A piece ends at the bound of a split, or at the end of a word. The tokenizer never merges across
    words, so pieces can be encoded in parallel, and their tokens are those of the whole text.
    """
    position = 0  # counts characters
    for document in _documents(path):
        start = 0
        while start < len(document):
            at = position + start
            split, part = next((s, p) for s, p in parts.items() if p.stop is None or at < p.stop)
            bound = len(document) if part.stop is None else part.stop - position
            # A piece that crossed a bound would put training text into the next split.
            stop = min(start + size, bound, len(document))
            # The search goes backwards from the largest size, where text without a space is cut.
            if stop < min(bound, len(document)):
                spaces = (i for i in range(stop, start, -1) if document[i].isspace())
                stop = next((i for i in spaces if not document[i - 1].isspace()), stop)
            yield split, document[start:stop], stop == len(document)
            start = stop
        position += len(document)


def _documents(path: Path | None) -> Iterable[str]:
    """Return the documents of a path, or the bundled one; empty ones are left out."""
    return _read(None if path is None else [*itertools.chain(*text_files(path).values())])


def _read(files: Sequence[Path] | None) -> Iterable[str]:
    """Return the documents of files, or the bundled one without any; empty ones are left out."""
    return filter(None, [bundled_text().decode()] if files is None else documents(files))


def _name(path: Path | None) -> str:
    return BUNDLED if path is None else path.name


def show(args: argparse.Namespace, config: Config, model: ModelConfig) -> None:
    """Print the splits of a corpus."""
    corpus = load_corpus(config, args.data, model.vocab_size)
    print(f"{corpus.name}, sha256 {corpus.sha256}")
    if args.data and args.data.is_dir():
        for line in list_texts(args.data).left_out():
            print(line)
    for split, tokens in corpus.splits.items():
        print(f"{split:>5}: {len(tokens):,} tokens, {corpus.num_bytes[split]:,} bytes")


main = preparing(
    __doc__,
    (Config, ModelConfig),
    show,
    lambda args, config, model: prepare(args.data, args.out, model.vocab_size, config),
    data="text (default: bundled corpus)",
    out="tokens",
)

if __name__ == "__main__":
    run(main)
