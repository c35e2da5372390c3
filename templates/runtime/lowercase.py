"""Byte-pair encoding of lower-cased text, for encoders of short texts."""

from collections.abc import Iterable, Sequence
from typing import Any

from runtime.errors import fail
from runtime.tokenizer import train_bpe


def open_lowercase(json: str, place: str, special: Sequence[str]) -> Any:
    """Return the tokenizer of a tokenizer.json, an object of the tokenizers library, or stop.

    Args:
        json: The text of the file.
        place: Name of the file in errors.
        special: The special tokens with the ids 0, 1 and so on.
    """
    from tokenizers import Tokenizer

    try:
        library = Tokenizer.from_str(json)
    except Exception as error:  # the library raises no narrower class
        fail(f"{place} is not a tokenizer: {error}.")
    if [library.token_to_id(token) for token in special] != list(range(len(special))):
        fail(f"{place} does not begin with {', '.join(special)}: make it with train.py.")
    # A special token in a user's text is text: it must not end or pad anything.
    library.encode_special_tokens = True
    return library


def train_lowercase(
    texts: Iterable[str], vocab_size: int, special: Sequence[str], **templates: str
) -> str:
    """Return the text of a tokenizer.json, trained on texts.

    Args:
        texts: The training texts.
        vocab_size: Largest number of entries.
        special: The special tokens; their ids count from 0.
        templates: Places of special tokens around a `single` text and a `pair` of texts.
    """
    from tokenizers import normalizers, processors

    # A leading blank makes a word at the start of a text the same token as elsewhere.
    steps = [normalizers.NFC(), normalizers.Lowercase(), normalizers.Prepend(" ")]
    normalizer = normalizers.Sequence(steps)
    library = train_bpe(map(normalizer.normalize_str, texts), vocab_size, special)
    library.normalizer = normalizer
    library.post_processor = processors.TemplateProcessing(
        **templates, special_tokens=[(token, number) for number, token in enumerate(special)]
    )
    return str(library.to_str())
