"""Texts of a split as batches of tokens, each text with its target: a class or a number.

A `config` is the Config of data.py: how long texts are, and how those of training vary.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from runtime.order import samples_at
from runtime.sequences import TextTokenizer

Sample = tuple[str, Any]
"""A text with its target: the number of its class, or a quantity."""


def rows(
    samples: Sequence[Sample], tokenizer: TextTokenizer, max_len: int
) -> tuple[Tensor, Tensor]:
    """Return tokens (B, T) and targets (B) of some samples."""
    # Val and test texts keep their first tokens and whole words: scores must not depend on chance.
    tokens, _ = tokenizer.rows([text for text, _ in samples], max_len)  # (B, T)
    return tokens, torch.tensor([target for _, target in samples])


def batch_at(
    train: Sequence[Sample],
    tokenizer: TextTokenizer,
    position: int,
    count: int,
    config: Any,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Return the samples at some positions of the training order: tokens (B, T), targets (B).

    The position alone decides how a sample is varied, so a resumed run repeats it.
    """
    # Seed and position decide the samples, so several processes can share the work without overlap.
    samples = [train[index] for _, index in samples_at(position, count, len(train), seed)]
    # Each sample has its own generator, so its draws do not depend on the batch size.
    draws = [random.Random(f"{seed} {place}") for place in range(position, position + count)]
    texts = [text for text, _ in samples]
    # Random parts and split tokens give a text another form in each epoch, which delays
    # overfitting.
    tokens = tokenizer.varied(texts, config.max_len, config.token_split, draws)
    return tokens, torch.tensor([target for _, target in samples])


def batches(
    samples: Sequence[Sample], tokenizer: TextTokenizer, max_len: int, size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the samples of a split in order, in batches."""
    for start in range(0, len(samples), size):
        yield rows(samples[start : start + size], tokenizer, max_len)
