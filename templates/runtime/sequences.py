"""Texts and pairs of texts as an encoder reads them: [CLS] a [SEP] or [CLS] a [SEP] b [SEP]."""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from runtime.errors import fail
from runtime.folders import whole_folder
from runtime.records import Record, write_splits
from runtime.tokenizer import train_bpe

SPECIAL = ("[PAD]", "[CLS]", "[SEP]")  # tokens 0, 1 and 2; the model knows PAD by its number


class TextTokenizer:
    """Texts to rows of tokens in one tensor."""

    def __init__(self, text: str, place: str) -> None:
        """Take the text of a tokenizer.json; the place is what an error names."""
        from tokenizers import Tokenizer as Library

        self.json = text
        try:
            self._library: Any = Library.from_str(text)
        except Exception as error:  # the library raises no narrower class
            fail(f"{place} is no tokenizer: {error}.")
        if [self._library.token_to_id(token) for token in SPECIAL] != [0, 1, 2]:
            fail(f"{place} does not begin with {', '.join(SPECIAL)}: make it with train.py.")
        self._library.encode_special_tokens = True  # text that says [SEP] ends nothing
        self.vocab_size = int(self._library.get_vocab_size())
        self._parts = _parts(json.loads(self._library.to_str())["model"])

    def rows(self, texts: Sequence[Any], max_len: int) -> tuple[Tensor, Tensor]:
        """Return token ids and segments, (B, T) each, of texts or of pairs of texts.

        What exceeds max_len is cut from the end, of a pair's longer text; T is that of the longest.
        """
        self._library.enable_truncation(max_len)
        self._library.enable_padding(pad_id=0, pad_token=SPECIAL[0])
        found = self._library.encode_batch(list(texts))
        ids, segments = ([getattr(row, part) for row in found] for part in ("ids", "type_ids"))
        return torch.tensor(ids), torch.tensor(segments)

    def varied(
        self, texts: Sequence[str], max_len: int, split: float, draws: Sequence[random.Random]
    ) -> Tensor:
        """Return token ids (B, T) of texts as training varies each of them, by its own draws.

        A share `split` of tokens is taken apart into the two that the tokenizer merged them from,
        and so on: a rare word then shares tokens with others, after the idea of BPE-dropout, which
        leaves merges out (Provilkov et al., 2020, arXiv:1910.13267). Of tokens that then exceed
        max_len a run is kept.
        """
        self._library.no_truncation()
        self._library.no_padding()
        found = []
        for row, draw in zip(self._library.encode_batch(list(texts)), draws, strict=True):
            first, *tokens, last = row.ids
            tokens = self._apart(tokens, split, draw)
            start = draw.randint(0, max(0, len(tokens) + 2 - max_len))
            found.append(torch.tensor([first, *tokens[start : start + max_len - 2], last]))
        return nn.utils.rnn.pad_sequence(found, batch_first=True)

    def _apart(self, tokens: Iterable[int], split: float, draw: random.Random) -> list[int]:
        """Return tokens of which a share is replaced by what they were merged from."""
        found: list[int] = []
        for token in tokens:
            parts = self._parts.get(token) if draw.random() < split else None
            found += self._apart(parts, split, draw) if parts else [token]
        return found

    def files(self) -> dict[str, str]:
        """Return the files by which transformers' AutoTokenizer opens a checkpoint."""
        names = dict(zip(("pad_token", "cls_token", "sep_token"), SPECIAL, strict=True))
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "split_special_tokens": True,
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
            **names,
        }
        return {
            "tokenizer.json": self.json,
            "tokenizer_config.json": json.dumps(settings, indent=2) + "\n",
        }


def _parts(model: Mapping[str, Any]) -> dict[int, tuple[int, int]]:
    """Return the two tokens that each merged one is made of; none where nothing is merged."""
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
    """Return what a model makes of texts, or of pairs of texts, read `size` at a time: (N, ...)."""
    found = []
    for start in range(0, len(texts), size):
        chosen = texts[start : start + size]
        tokens, segments = (part.to(device) for part in tokenizer.rows(chosen, max_len))
        made = model(tokens, segments) if isinstance(chosen[0], tuple) else model(tokens)
        found.append(made.float().cpu())
    return torch.cat(found)


def partly_hidden(tokens: Tensor, share: float) -> Tensor:
    """Return tokens (B, T) of which a share is drawn to be padding, which nothing attends to.

    Word dropout (Iyyer et al., 2015, aclanthology.org/P15-1162): no single word decides. [CLS] and
    [SEP] stay.
    """
    drawn = torch.rand(tokens.shape, device=tokens.device) < share
    return tokens.masked_fill(drawn & (tokens >= len(SPECIAL)), 0)


def read_tokenizer(folder: Path) -> TextTokenizer:
    """Return the tokenizer of a folder, or stop."""
    path = folder / "tokenizer.json"
    try:
        return TextTokenizer(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path} cannot be read: {error}.")


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file that hold text, or stop where there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path} cannot be read as UTF-8 text: {error}.")
    found = [line.strip() for line in lines if line.strip()]
    return found or fail(f"{path} holds no text.")


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> TextTokenizer:
    """Return a byte-level BPE of lower-cased text, in which a first word is as any other."""
    from tokenizers import normalizers, processors

    steps = [normalizers.NFC(), normalizers.Lowercase(), normalizers.Prepend(" ")]
    normalizer = normalizers.Sequence(steps)
    library = train_bpe(map(normalizer.normalize_str, texts), vocab_size, SPECIAL)
    library.normalizer = normalizer
    library.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, number) for number, token in enumerate(SPECIAL)],
    )
    return TextTokenizer(library.to_str(), "the tokenizer")


def prepare_records(
    out: Path, records: Mapping[str, Sequence[Record]], texts: Iterable[str], vocab_size: int
) -> None:
    """Write the splits as JSONL and tokenizer.json, which train.py then reads as they are.

    Args:
        out: The folder to make.
        records: The records of each split.
        texts: What the tokenizer is trained on.
        vocab_size: Its entries, at most.
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
        data: Where the data lies; what `data.py prepare` made has a tokenizer.
        texts: What a new one learns from.
        vocab_size: Entries that the model has.
    """
    prepared = data if data and (data / "tokenizer.json").is_file() else None
    folder = checkpoint or prepared
    found = read_tokenizer(folder) if folder else train_tokenizer(texts, vocab_size)
    if found.vocab_size > vocab_size:
        fail(
            f"the tokenizer of {folder} has {found.vocab_size:,} entries, and the model "
            f"{vocab_size:,}: run `data.py prepare` for this size."
        )
    return found
