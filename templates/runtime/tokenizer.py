"""Text as tokens: bytes, or byte-pair encoding by the tokenizers library."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from runtime.errors import fail

END_OF_TEXT = "<|endoftext|>"
# Byte-level tokenizers write a byte as a visible character. Byte 255 is in no UTF-8 text, so a
# client that ignores padding ignores nothing else.
NUL, PADDING = "\u0100", "\u00ff"


class Tokenizer(Protocol):
    """The interface of tokenizers in the scripts."""

    end_of_text: int
    padding: int
    vocab_size: int
    json: str | None
    """Text of its tokenizer.json; None where a token is a byte."""

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        ...

    def lengths(self, tokens: Sequence[int]) -> list[int]:
        """Return how many bytes of text each token stands for."""
        ...


class ByteTokenizer:
    """UTF-8 bytes as tokens; byte 0, which no text needs, ends a text."""

    end_of_text = 0
    padding = 255
    vocab_size = 256
    json: str | None = None

    def encode(self, text: str) -> list[int]:
        """Return the bytes of a text."""
        return list(text.encode())

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of bytes; bytes that are not UTF-8 become U+FFFD."""
        return bytes(tokens).decode(errors="replace")

    def lengths(self, tokens: Sequence[int]) -> list[int]:
        """Return 1 for each token."""
        return [1] * len(tokens)


class BPETokenizer:
    """Byte-level byte-pair encoding (Sennrich et al., 2016, arXiv:1508.07909)."""

    def __init__(self, library: Any) -> None:
        """Use a tokenizer of the tokenizers library, such as `train_bpe` returns, or stop."""
        for token in (END_OF_TEXT, PADDING):
            if library.token_to_id(token) is None:
                fail(f"the tokenizer has no token {token}: make one with `python data.py prepare`.")
        library.encode_special_tokens = True  # text that says <|endoftext|> ends nothing
        self._library = library
        self.json: str | None = str(library.to_str(pretty=True))
        self.end_of_text: int = library.token_to_id(END_OF_TEXT)
        self.padding: int = library.token_to_id(PADDING)
        self.vocab_size = int(library.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        return list(self._library.encode(text).ids)

    def entries(self) -> dict[str, int]:
        """Return the number of each entry of the vocabulary."""
        return dict(self._library.get_vocab())

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, on all cores."""
        return [list(row.ids) for row in self._library.encode_batch(texts)]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return str(self._library.decode(list(tokens)))

    def lengths(self, tokens: Sequence[int]) -> list[int]:
        """Return how many bytes of text each token stands for; the end of a text has none."""
        # The library writes each byte of a token as one visible character.
        sizes = {token: len(text) for text, token in self._library.get_vocab().items()}
        return [0 if token == self.end_of_text else sizes[token] for token in tokens]


def load_tokenizer(kind: str, folder: Path) -> Tokenizer:
    """Return the tokenizer of a configuration; `bpe` is read from the folder's tokenizer.json."""
    return ByteTokenizer() if kind == "byte" else open_bpe(folder / "tokenizer.json")


def open_bpe(path: Path) -> BPETokenizer:
    """Return the tokenizer of a tokenizer.json, or stop."""
    from tokenizers import Tokenizer as Library

    if not path.is_file():
        fail(f"{path} does not exist: make it with `python data.py prepare`.")
    try:
        return BPETokenizer(Library.from_file(str(path)))
    except Exception as error:  # the library raises no narrower class
        fail(f"{path} is not a tokenizer: {error}.")


def tokenizer_files(tokenizer_json: str | None, most: int, pad: str = PADDING) -> dict[str, str]:
    """Return the files that transformers' AutoTokenizer needs to open a checkpoint.

    Args:
        tokenizer_json: The text of the tokenizer; None at byte level.
        most: Tokens of the longest input of the model.
        pad: The token that fills up the shorter rows of a batch.
    """
    names = {"eos_token": END_OF_TEXT if tokenizer_json else NUL, "pad_token": pad}
    return {
        "tokenizer.json": tokenizer_json or _byte_tokenizer_json(),
        "tokenizer_config.json": tokenizer_config(most, names),
    }


def tokenizer_config(most: int, names: Mapping[str, str], *, segments: bool = False) -> str:
    """Return the text of tokenizer_config.json, with which transformers reads text as we do.

    Args:
        most: Tokens of the longest input of the model.
        names: The special tokens by role, such as `pad_token`.
        segments: Whether the model reads the number of each token's text.
    """
    inputs = ["input_ids", *(["token_type_ids"] if segments else []), "attention_mask"]
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": most,
        "model_input_names": inputs,
        # The name of a special token in a user's text is text.
        "split_special_tokens": True,
        "clean_up_tokenization_spaces": False,
        **names,
    }
    return json.dumps(settings, indent=2) + "\n"


def _byte_tokenizer_json() -> str:
    """Return a tokenizer.json that gives each byte its value, as `ByteTokenizer` does."""
    from tokenizers import Tokenizer as Library
    from tokenizers import decoders, models, pre_tokenizers

    # The library writes a byte as a visible character: itself, or else one from 256 on.
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    vocabulary = {chr(b if b in visible else next(others)): b for b in range(256)}
    library = Library(models.BPE(vocab=vocabulary, merges=[]))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    library.decoder = decoders.ByteLevel()
    return str(library.to_str())


def train_bpe(
    texts: Iterable[str], vocab_size: int, special: Sequence[str] = (END_OF_TEXT,)
) -> Any:
    """Return a byte-level BPE of the tokenizers library, trained on texts.

    The special tokens come first, in their order.
    """
    from tokenizers import Tokenizer as Library
    from tokenizers import decoders, models, pre_tokenizers, trainers

    library = Library(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special),
        # All 256 bytes are tokens, so that every text can be encoded.
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator(texts, trainer)
    library.encode_special_tokens = True  # text that says <|endoftext|> ends nothing
    return library
