"""Decoding by connectionist temporal classification (CTC: Graves et al., 2006).

Shapes in comments: P positions, V entries of the vocabulary.
"""

import math

import torch
from torch import Tensor

BLANK = 0  # the entry of the vocabulary that stands for no token


def collapsed(chances: Tensor) -> list[int]:
    """Return the text of the likeliest token of each position (P, V): no repeats, no blanks."""
    best = torch.unique_consecutive(chances.argmax(-1)).tolist()
    return [token for token in best if token != BLANK]


def prefixes(chances: Tensor, beams: int) -> list[int]:
    """Return the text whose paths together are likeliest, of logarithms of chances (P, V).

    Prefix search (Hannun et al., 2014, arXiv:1408.2873, algorithm 1) without a language model: a
    text has the chance of its paths that end in a blank, and of those that end in its last token.
    """
    known: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}
    for position in chances:
        values, tokens = position.topk(min(2 * beams, len(position)))
        nearest = dict(zip(tokens.tolist(), values.tolist(), strict=True))
        blank = float(position[BLANK])
        found: dict[tuple[int, ...], tuple[float, float]] = {}
        for text, (in_blank, in_token) in known.items():
            _add(found, text, blank + added(in_blank, in_token), -math.inf)
            if text:
                _add(found, text, -math.inf, float(position[text[-1]]) + in_token)
            for token, value in nearest.items():
                if token == BLANK:
                    continue
                # The same token again begins anew only after a blank.
                before = in_blank if text and token == text[-1] else added(in_blank, in_token)
                _add(found, (*text, token), -math.inf, value + before)
        ranked = sorted(found, key=lambda text: added(*found[text]), reverse=True)
        known = {text: found[text] for text in ranked[:beams]}
    return list(max(known.items(), key=lambda each: added(*each[1]))[0])


def _add(
    found: dict[tuple[int, ...], tuple[float, float]],
    text: tuple[int, ...],
    in_blank: float,
    in_token: float,
) -> None:
    old = found.get(text, (-math.inf, -math.inf))
    found[text] = (added(old[0], in_blank), added(old[1], in_token))


def added(one: float, other: float) -> float:
    """Return the logarithm of the sum of two numbers that are given by theirs."""
    high, low = max(one, other), min(one, other)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
