"""Texts and pairs of texts as tokens of an encoder: [CLS] a [SEP] or [CLS] a [SEP] b [SEP]."""

import argparse
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from runtime.errors import fail
from runtime.files import open_text
from runtime.folders import whole_folder
from runtime.lowercase import open_lowercase, train_lowercase
from runtime.options import Group, existing
from runtime.records import Record, write_splits
from runtime.tokenizer import tokenizer_config

SPECIAL = ("[PAD]", "[CLS]", "[SEP]")  # tokens 0, 1 and 2; the model treats 0 as padding


class TextTokenizer:
    """Tokenizer of texts, with the rows of a batch in one tensor."""

    def __init__(self, text: str, place: str) -> None:
        """Read the text of a tokenizer.json; errors name the place."""
        self.json = text
        self._library = open_lowercase(text, place, SPECIAL)
        self.vocab_size = int(self._library.get_vocab_size())
        self._parts = _parts(json.loads(self._library.to_str())["model"])

    def rows(self, texts: Sequence[Any], max_len: int) -> tuple[Tensor, Tensor]:
        """Return token ids and segments, (B, T) each, of texts or of pairs of texts.

        A row has at most max_len tokens: a longer text loses its end; in a pair, the longer text
        does. T is the length of the longest row.
        """
        self._library.enable_truncation(max_len)
        self._library.enable_padding(pad_id=0, pad_token=SPECIAL[0])
        rows = self._library.encode_batch(list(texts))
        return torch.tensor([row.ids for row in rows]), torch.tensor([row.type_ids for row in rows])

    def varied(
        self, texts: Sequence[str], max_len: int, split: float, draws: Sequence[random.Random]
    ) -> Tensor:
        """Return token ids (B, T) of texts, varied at random for training.

        A share `split` of tokens is split into the two tokens that they were merged from, and these
        again, so that a rare word shares tokens with others. BPE-dropout has the same effect by
        skipping merges (Provilkov et al., 2020, arXiv:1910.13267). A text that is then longer than
        max_len is cut to a random run of tokens. Each text has its own source of random numbers.
        """
        self._library.no_truncation()
        self._library.no_padding()
        varied = []
        for row, draw in zip(self._library.encode_batch(list(texts)), draws, strict=True):
            first, *tokens, last = row.ids
            tokens = self._apart(tokens, split, draw)
            start = draw.randint(0, max(0, len(tokens) + 2 - max_len))
            varied.append(torch.tensor([first, *tokens[start : start + max_len - 2], last]))
        return nn.utils.rnn.pad_sequence(varied, batch_first=True)

    def _apart(self, tokens: Iterable[int], split: float, draw: random.Random) -> list[int]:
        """Return tokens, with a share of them replaced by the two that each was merged from."""
        pieces: list[int] = []
        for token in tokens:
            parts = self._parts.get(token) if draw.random() < split else None
            pieces += self._apart(parts, split, draw) if parts else [token]
        return pieces

    def files(self, max_len: int) -> dict[str, str]:
        """Return the files that transformers' AutoTokenizer needs to open a checkpoint.

        `max_len` is the number of tokens to which clients cut a text, as `rows` does.
        """
        names = dict(zip(("pad_token", "cls_token", "sep_token"), SPECIAL, strict=True))
        return {
            "tokenizer.json": self.json,
            "tokenizer_config.json": tokenizer_config(max_len, names, segments=True),
        }


def _parts(model: Mapping[str, Any]) -> dict[int, tuple[int, int]]:
    """Return the two parts of each merged token."""
    numbers = model["vocab"]
    return {numbers[a + b]: (numbers[a], numbers[b]) for a, b in model.get("merges", ())}


@torch.no_grad()
def outputs(
    model: nn.Module,
    texts: Sequence[Any],
    tokenizer: TextTokenizer,
    max_len: int,
    size: int,
    device: torch.device,
) -> Tensor:
    """Return a model's outputs (N, ...) for texts or pairs of texts, `size` of them at a time."""
    batches = []
    for start in range(0, len(texts), size):
        chosen = texts[start : start + size]
        tokens, segments = (part.to(device) for part in tokenizer.rows(chosen, max_len))
        made = model(tokens, segments) if isinstance(chosen[0], tuple) else model(tokens)
        batches.append(made.float().cpu())
    return torch.cat(batches)


def partly_hidden(tokens: Tensor, share: float) -> Tensor:
    """Return tokens (B, T) with a random share replaced by padding.

    Word dropout (Iyyer et al., 2015, aclanthology.org/P15-1162): nothing attends to padding, so
    the model cannot rely on a single word. [CLS] and [SEP] stay.
    """
    drawn = torch.rand(tokens.shape, device=tokens.device) < share
    return tokens.masked_fill(drawn & (tokens >= len(SPECIAL)), 0)


def read_tokenizer(folder: Path) -> TextTokenizer:
    """Return the tokenizer of a folder, or stop."""
    path = folder / "tokenizer.json"
    with open_text(path) as stream:
        return TextTokenizer(stream.read(), str(path))


def read_lines(path: Path) -> list[str]:
    """Return the non-empty lines of a file, or stop if there are none."""
    with open_text(path) as stream:
        lines = [line.strip() for line in stream.read().splitlines() if line.strip()]
    return lines or fail(f"{path} has no text: write one text per line.")


def text_options(group: Group, prompt: str) -> None:
    """Add --prompt, with this help, and --input, of which `texts_of` needs one."""
    source = group.add_mutually_exclusive_group(required=True)
    source.add_argument("--prompt", metavar="TEXT", help=prompt)
    source.add_argument(
        "--input", type=existing, metavar="FILE", help="a file with one text per line"
    )


def texts_of(args: argparse.Namespace) -> list[str]:
    """Return the text of --prompt, or the lines of --input; stop if it is empty."""
    texts = read_lines(args.input) if args.input else [args.prompt]
    # A network has an output for an empty text too, and it would mean nothing.
    if not all(text.strip() for text in texts):
        fail("a text is empty: give one with --prompt, or one per line with --input.")
    return texts


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> TextTokenizer:
    """Return a tokenizer of lower-cased texts and pairs of texts, trained on texts."""
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
    json = train_lowercase(texts, vocab_size, SPECIAL, single="[CLS] $A [SEP]", pair=pair)
    return TextTokenizer(json, "the tokenizer")


def prepare_records(
    out: Path, records: Mapping[str, Sequence[Record]], texts: Iterable[str], vocab_size: int
) -> None:
    """Write the splits as JSONL, and a tokenizer.json, in a folder that train.py then reads.

    Args:
        out: The folder to write.
        records: The records of each split.
        texts: The texts that train the tokenizer.
        vocab_size: Largest number of its entries.
    """
    tokenizer = train_tokenizer(texts, vocab_size)
    with whole_folder(out, "tokenizer.json") as folder:
        write_splits(folder, records)
        (folder / "tokenizer.json").write_text(tokenizer.json, encoding="utf-8")


def find_tokenizer(
    checkpoint: Path | None, data: Path | None, texts: Iterable[str], vocab_size: int
) -> TextTokenizer:
    """Return the tokenizer of a checkpoint, or of the data, or a new one; or stop.

    Args:
        checkpoint: The folder of a trained model, if there is one.
        data: The path of the data; a folder of `data.py prepare` has a tokenizer.
        texts: The texts that train a new tokenizer.
        vocab_size: Number of entries of the model.
    """
    prepared = data if data and (data / "tokenizer.json").is_file() else None
    folder = checkpoint or prepared
    tokenizer = read_tokenizer(folder) if folder else train_tokenizer(texts, vocab_size)
    if tokenizer.vocab_size > vocab_size:
        fail(
            f"the tokenizer of {folder} has {tokenizer.vocab_size:,} entries, and the model "
            f"{vocab_size:,}: give `data.py prepare` the same --size as this script, such as "
            "`--size proxy`."
        )
    return tokenizer
