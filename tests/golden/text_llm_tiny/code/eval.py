"""Score a checkpoint on the test split, and compare with n-gram models of the training text.

    python eval.py                                the checkpoint that train.py wrote to `out`
    python eval.py --size full --data tokens      the full model, on prepared tokens

Prints JSON on stdout. No other script reads the test split.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from data import Config as DataConfig
from data import Corpus, Tokens, load_corpus, windows
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.report import Report, metric
from runtime.scores import Samples
from runtime.scripts import Setting, Trained, scoring


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 32
    """Windows scored at once."""
    stride: int = 256
    """Tokens from one window to the next; a smaller stride gives more context, and takes longer."""
    baseline_bytes: int = 16000000
    """Largest training split for n-gram baselines, in bytes; their counts fill the memory."""


@torch.no_grad()
def score(
    model: Model, tokens: Tokens, seq_len: int, config: Config, device: torch.device
) -> NDArray[np.float64]:
    """Return for each window: the bits of its tokens, how many rank first, and how many it has.

    The shape is (3, windows). Tokens that an earlier window scored do not count.
    """
    parts = []
    for inputs, targets in windows(tokens, seq_len, config.stride, config.batch_size):
        logits = model(inputs.to(device)).float().flatten(0, 1).cpu()  # (B * T, V)
        flat = targets.flatten()
        # Targets of -1 are context that an earlier window scored; argmax is never -1, so they are
        # no hits.
        # Bits compare with file sizes: 2 bits per byte could compress the text to a quarter.
        bits = F.cross_entropy(logits, flat, ignore_index=-1, reduction="none") / math.log(2)
        each = torch.stack([bits.double(), logits.argmax(-1) == flat, flat >= 0])
        parts.append(each.view(3, *targets.shape).sum(-1))
    return torch.cat(parts, 1).numpy()


class NGram:
    """A byte n-gram model with Witten-Bell smoothing (Bell, Cleary & Witten, 1990).

    p(c | h) = (count(hc) + types(h) * p(c | h')) / (count(h) + types(h)), where h' is h without
    its oldest byte and types(h) is how many different bytes followed h; below is the uniform model.
    """

    def __init__(self, order: int, text: bytes) -> None:
        self.order = order
        self.counts: Counter[bytes] = Counter()
        # All orders up to the longest are counted, because unseen histories fall back on shorter
        # ones.
        for n in range(1, order + 1):
            self.counts.update(text[i : i + n] for i in range(len(text) - n + 1))
        self.followers: Counter[bytes] = Counter()
        self.types: Counter[bytes] = Counter()
        # The bytes of a gram before its last one are a history; each different gram adds a type to
        # it.
        for gram, count in self.counts.items():
            self.followers[gram[:-1]] += count
            self.types[gram[:-1]] += 1

    def probability(self, history: bytes, byte: bytes) -> float:
        """Return p(byte | history)."""
        # The uniform model below all orders gives each byte a probability above 0.
        p = 1 / 256
        # Histories grow from none to the longest; each one mixes its counts with the estimate
        # before.
        for n in range(self.order):
            h = history[len(history) - n :]
            if h in self.types:
                p = (self.counts[h + byte] + self.types[h] * p) / (
                    self.followers[h] + self.types[h]
                )
        return p

    def bits_per_byte(self, text: bytes, start: int) -> float:
        """Return the mean over bytes, from `start` on, of -log2 p(byte | the bytes before it)."""
        bits = 0.0
        for i in range(start, len(text)):
            history = text[max(0, i - self.order + 1) : i]
            bits -= math.log2(self.probability(history, text[i : i + 1]))
        return bits / (len(text) - start)

    def accuracy(self, text: bytes, start: int) -> float:
        """Return the share of bytes that are the likeliest after their longest known history."""
        # The most common gram comes first, so each history gets its likeliest byte.
        best: dict[bytes, bytes] = {}
        for gram, _ in self.counts.most_common():
            best.setdefault(gram[:-1], gram[-1:])
        hits = 0
        for i in range(start, len(text)):
            history = text[max(0, i - self.order + 1) : i]
            # The loop ends, because the empty history is always known.
            while history not in best:
                history = history[1:]
            hits += best[history] == text[i : i + 1]
        return hits / (len(text) - start)


def baselines(corpus: Corpus, config: Config) -> dict[str, NGram]:
    """Return n-gram models of the train split; none for tokens that are not bytes."""
    # Bits per byte compare across tokenizers. N-grams over thousands of entries would not.
    if corpus.tokenizer_json or corpus.num_bytes["train"] > config.baseline_bytes:
        return {}
    train = corpus.splits["train"][:].tobytes()
    # A unigram knows frequencies, a bigram pairs, a 5-gram most words: each step shows what the
    # model must at least have learned.
    return {name: NGram(n, train) for name, n in (("unigram", 1), ("bigram", 2), ("5-gram", 5))}


def metrics(
    model: Model, corpus: Corpus, seq_len: int, config: Config, device: torch.device
) -> list[dict[str, Any]]:
    """Return bits per byte and next-token accuracy on the test split, with their baselines."""
    # The last token before the split is context, so that each token of the split is scored.
    tokens = np.concatenate([corpus.splits["val"][-1:], corpus.splits["test"][:]])
    # Windows overlap, so each token has at least seq_len - stride tokens of context.
    bits, hits, counts = score(model, tokens, seq_len, config, device)
    # A window has about as many bytes as its share of the tokens.
    in_bytes = counts * corpus.num_bytes["test"] / counts.sum()
    # Neighbouring tokens depend on each other, so whole windows are resampled.
    samples = Samples("windows", len(counts))
    simple, text = baselines(corpus, config), tokens.tobytes()
    unit = "byte" if corpus.tokenizer_json is None else "token"
    return [
        metric(
            "bits_per_byte",
            "bit/byte",
            lambda weights: float(weights @ bits / (weights @ in_bytes)),
            {name: ngram.bits_per_byte(text, start=1) for name, ngram in simple.items()},
            samples,
            title="bits per byte",
            higher_is_better=False,
        ),
        metric(
            f"next_{unit}_accuracy",
            "share",
            lambda weights: float(weights @ hits / (weights @ counts)),
            {name: ngram.accuracy(text, start=1) for name, ngram in simple.items()},
            samples,
            title=f"next-{unit} accuracy",
            higher_is_better=True,
        ),
    ]


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on every token of the test split."""
    corpus = load_corpus(trained.data, trained.args.data, trained.model.vocab_size)
    model = trained.load(lambda: Model(trained.model))
    scores = metrics(model, corpus, trained.data.seq_len, trained.config, trained.device)
    count, unit = len(corpus.splits["test"]), "tokens" if corpus.tokenizer_json else "bytes"
    return Report(corpus.name, corpus.sha256, count, scores, n_unit=unit)


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: bundled corpus)",
    settings={"batch_size": Setting("windows scored at once")},
)

if __name__ == "__main__":
    run(main)
