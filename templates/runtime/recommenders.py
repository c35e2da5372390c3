"""Recommenders without a network, and how well an order of all items serves each user."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Numbers = NDArray[np.float64]
Scorer = Callable[[Sequence[Integers]], Numbers]
"""From the histories of some users, as item numbers, to a score of each item: (users, items)."""

USERS_AT_ONCE = 1024
SEEN = -np.inf  # the score of an item of the history: it is not recommended again


@dataclass(frozen=True)
class Query:
    """A user to recommend items to.

    Attributes:
        history: The items that are known of it, numbered from 0.
        relevant: The items that it took next.
    """

    history: Integers
    relevant: Integers


def best(scores: Numbers, histories: Sequence[Integers], count: int) -> Integers:
    """Return the numbers of the best items that no history has, the best first: (users, count)."""
    scores = scores.astype(np.float64)
    for row, history in zip(scores, histories, strict=True):
        row[history] = SEEN
    count = min(count, scores.shape[1])
    # Sorting all items would take far longer than finding the best.
    top = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable")
    return np.asarray(np.take_along_axis(top, order, 1))


def first(scorer: Scorer, queries: Sequence[Query], count: int, batch: int) -> Integers:
    """Return the numbers of the best `count` items of each user, the best first: (users, count)."""
    return np.concatenate([*_first(scorer, queries, count, batch)])


def _first(scorer: Scorer, queries: Sequence[Query], count: int, batch: int) -> Iterator[Integers]:
    for start in range(0, len(queries), batch):
        histories = [query.history for query in queries[start : start + batch]]
        yield best(scorer(histories), histories, count)


def hits(found: Integers, queries: Sequence[Query]) -> NDArray[np.bool_]:
    """Return whether each item of `first` is relevant to its user: (users, count)."""
    pairs = zip(found, queries, strict=True)
    return np.stack([np.isin(items, query.relevant) for items, query in pairs])


def recall(found: NDArray[np.bool_], queries: Sequence[Query], k: int) -> Numbers:
    """Return the share of each user's relevant items among the best k."""
    return np.asarray(found[:, :k].sum(1) / [len(query.relevant) for query in queries])


def ndcg(found: NDArray[np.bool_], queries: Sequence[Query], k: int) -> Numbers:
    """Return each user's nDCG@k: hits discounted by log2(1 + rank), over those of the best order.

    Jarvelin & Kekalainen, 2002, ACM TOIS 20(4).
    """
    found = found[:, :k]
    gains = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(gains)[[min(k, len(query.relevant)) - 1 for query in queries]]
    return np.asarray(found @ gains[: found.shape[1]] / ideal)


def popularity(counts: Numbers) -> Scorer:
    """Return the recommender of the most frequent items, the same for all users."""
    return lambda histories: np.tile(counts, (len(histories), 1))


def together(user: Integers, item: Integers, items: int) -> Numbers:
    """Return how many users took both of each two items: X'X, (items, items).

    Args:
        user: The user of each pair, ascending: (M,).
        item: The item of each pair, numbered from 0: (M,).
        items: How many items there are.
    """
    total = np.zeros((items, items))
    # The table of all users and items would not fit into memory, so some users come at a time.
    for start in range(0, int(user.max()) + 1, USERS_AT_ONCE):
        first, last = np.searchsorted(user, (start, start + USERS_AT_ONCE))
        some = np.zeros((USERS_AT_ONCE, items))
        some[user[first:last] - start, item[first:last]] = 1
        total += some.T @ some
    return total


def neighbours(gram: Numbers) -> Scorer:
    """Return the recommender of items near those of the history: the sum of cosines to them.

    Sarwar et al., 2001. `gram` is that of `together`.
    """
    lengths = np.sqrt(np.maximum(np.diag(gram), 1))
    cosines = gram / np.outer(lengths, lengths)
    np.fill_diagonal(cosines, 0)
    return _linear(cosines)


def ease(gram: Numbers, weight: float) -> Scorer:
    """Return EASE, the linear model of items from items (Steck, 2019, arXiv:1905.03375).

    The weights B minimize |X - XB|^2 + weight |B|^2 with a diagonal of 0: with
    P = (X'X + weight I)^-1, B is -P / diag(P) off the diagonal. `gram` is X'X.
    """
    inverse = np.linalg.inv(gram + weight * np.eye(len(gram)))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return _linear(weights)


def _linear(weights: Numbers) -> Scorer:
    return lambda histories: np.stack([weights[history].sum(0) for history in histories])
