"""Cosines of texts by the weights of their character n-grams, which need no tokenizer."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


class TfIdf:
    """Cosines of texts by TF-IDF over character n-grams.

    The weight of an n-gram g in a text is count(g) * (1 + log((1 + N) / (1 + texts with g))), for
    the N texts of training (Sparck Jones, 1972).
    """

    def __init__(self, texts: Iterable[str], longest: int = 3) -> None:
        """Count the n-grams of training texts, of length one to `longest`."""
        self.lengths = range(1, longest + 1)
        known = list(texts)
        self.texts_with = Counter(gram for text in known for gram in self._grams(text))
        self.total = len(known)

    def _grams(self, text: str) -> Counter[str]:
        # Spaces at both ends make n-grams at the edge of a word differ from those inside one.
        line = f" {text.lower()} "
        return Counter(line[i : i + n] for n in self.lengths for i in range(len(line) - n + 1))

    def similarities(self, texts: Sequence[str]) -> Tensor:
        """Return the cosines of all pairs of texts, (N, N)."""
        # Only texts that share an n-gram have a cosine above 0, so each n-gram adds to its texts
        # alone.
        postings: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for row, text in enumerate(texts):
            weights = {
                gram: count * (1 + math.log((1 + self.total) / (1 + self.texts_with[gram])))
                for gram, count in self._grams(text).items()
            }
            norm = math.sqrt(sum(weight**2 for weight in weights.values()))
            for gram, weight in weights.items():
                postings[gram].append((row, weight / norm))
        cosines = torch.zeros(len(texts), len(texts))  # (N, N)
        for entries in postings.values():
            rows = torch.tensor([row for row, _ in entries])
            weights_of = torch.tensor([weight for _, weight in entries])
            cosines[rows[:, None], rows] += weights_of[:, None] * weights_of
        return cosines
