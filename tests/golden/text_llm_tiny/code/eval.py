"""Score a checkpoint on the test split, and compare with n-gram models of the training text.

    python eval.py                                the checkpoint that train.py wrote to `out`
    python eval.py --size full --data tokens      the full model, on prepared tokens
    torchrun --nproc-per-node 8 eval.py --size full --data tokens      one model on 8 devices

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from data import Config as DataConfig
from data import Corpus, Tokens, load_corpus, windows
from model import Config as ModelConfig
from model import Model
from runtime.device import in_bfloat16
from runtime.distributed import world_size
from runtime.errors import run
from runtime.report import Report, metric
from runtime.scores import Samples
from runtime.scripts import Setting, Trained, scoring
from runtime.shares import load_share
from runtime.shown import one_line

PASSAGES = 3  # Readers see so many of the test split, continued.
BEGINNING, DRAWN = 64, 96  # tokens that the model reads and draws
TEMPERATURE = 0.8  # lower values favour likely tokens


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 32
    """Windows scored at once."""
    stride: int = 256
    """Tokens from one window to the next; a smaller stride gives more context, and takes longer."""
    baseline_bytes: int = 16000000
    """Largest training split for n-gram baselines, in bytes; their counts fill the memory."""
    dtype: str = "auto"
    """Format of the weights: `float32`, `bfloat16`, or `auto` for bfloat16 on a capable GPU."""


@torch.no_grad()
def score(
    model: Model, tokens: Tokens, seq_len: int, config: Config, device: torch.device
) -> Tensor:
    """Return the bits of each token but the first, -log2 p(token | the tokens before it)."""
    bits = []
    for inputs, targets in windows(tokens, seq_len, config.stride, config.batch_size):
        logits = model(inputs.to(device)).float().flatten(0, 1).cpu()  # (B * T, V)
        flat = targets.flatten()
        # Targets of -1 are padding, or context that an earlier window scored.
        nats = F.cross_entropy(logits, flat, ignore_index=-1, reduction="none")[flat >= 0]
        # Bits compare with file sizes: a model of 2 bits per byte could compress the text to a
        # quarter.
        bits.append(nats.double() / math.log(2))
    return torch.cat(bits)


Numbers = NDArray[Any]


class NGrams:
    """A byte n-gram model: interpolated Kneser-Ney, or Witten-Bell smoothing.

    Kneser-Ney (Kneser & Ney, 1995), interpolated with one discount an order (Chen & Goodman, 1999):

        p(c | h) = (max(0, count(hc) - D) + D * types(h) * p(c | h')) / count(h)

    D = n1 / (n1 + 2 * n2), from the numbers of n-grams seen once and twice. Below the longest
    order, count(hc) is the number of different bytes that came before hc. Witten-Bell (Witten &
    Bell, 1991):

        p(c | h) = (count(hc) + types(h) * p(c | h')) / (count(h) + types(h))

    h' is h without its oldest byte, and types(h) is how many different bytes followed h. A history
    that the text lacks leaves p(c | h'). Below all orders, each byte has the same probability.
    """

    def __init__(self, order: int, text: bytes, *, kneser_ney: bool = False) -> None:
        """Count the n-grams of a text up to an order of at most 8."""
        self.order, self.kneser_ney = order, kneser_ney
        # Each order has its n-grams as sorted numbers, and the count of each.
        self.orders = [np.unique(_grams(text, n), return_counts=True) for n in range(1, order + 1)]
        if kneser_ney:
            # A byte is likely after a rare history if it follows many different bytes, not if it
            # is frequent after one.
            for n in range(1, order):
                longer = self.orders[n][0] & np.uint64(256**n - 1)
                self.orders[n - 1] = np.unique(longer, return_counts=True)

    def bits(self, text: bytes) -> Numbers:
        """Return -log2 p(byte | the bytes before it) for all bytes but the first order - 1."""
        p = np.full(len(text) - self.order + 1, 1 / 256)
        for n, (grams, counts) in enumerate(self.orders, start=1):
            # N-grams are sorted, so those with the same history are neighbours.
            histories, first = np.unique(grams >> 8, return_index=True)
            totals = np.add.reduceat(counts, first)
            types = np.diff(np.append(first, len(grams)))
            scored = _grams(text, n)[self.order - n :]
            count = _found(grams, counts, scored)
            total, kinds = (_found(histories, each, scored >> 8) for each in (totals, types))
            if self.kneser_ney:
                once, twice = (counts == 1).sum(), (counts == 2).sum()
                # A discount of 0 would leave nothing for new bytes after a known history.
                discount = once / (once + 2 * twice) if once else 0.5
                share = np.maximum(0, count - discount) + discount * kinds * p
            else:
                share, total = count + kinds * p, total + kinds
            p = np.divide(share, total, out=p, where=total > 0)
        bits: Numbers = -np.log2(p)
        return bits


def _grams(text: bytes, n: int) -> Numbers:
    """Return all n-grams of a text as 64-bit numbers, with the newest byte in the lowest bits."""
    symbols = np.frombuffer(text, np.uint8).astype(np.uint64)
    grams: Numbers = np.zeros(max(0, len(text) - n + 1), np.uint64)
    for i in range(n):
        grams = grams << 8 | symbols[i : len(grams) + i]
    return grams


def _found(keys: Numbers, values: Numbers, wanted: Numbers) -> Numbers:
    """Return the values of sorted keys; 0 for those that are not among them."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def baselines(corpus: Corpus, config: Config) -> dict[str, Numbers]:
    """Return the bits of each byte of the test split by n-gram models of the train split."""
    if corpus.num_bytes["train"] > config.baseline_bytes:
        return {}
    # N-grams read bytes, whatever the model's tokens are.
    train, test = corpus.text("train"), corpus.text("test")
    before = train + corpus.text("val")
    # A unigram knows frequencies, a bigram pairs, a 5-gram most words: each step shows what the
    # model must at least have learned. Kneser-Ney smoothing makes use of the longest n-grams.
    models = {
        "unigram": NGrams(1, train),
        "bigram": NGrams(2, train),
        "Witten-Bell 5-gram": NGrams(5, train),
        "Kneser-Ney 8-gram": NGrams(8, train, kneser_ney=True),
    }
    return {
        name: each.bits(before[len(before) - each.order + 1 :] + test)
        for name, each in models.items()
    }


class PerByte:
    """Bits per byte of a text, as a score of how often each of its passages counts."""

    def __init__(self, passages: Numbers, bits: Numbers, sizes: Numbers) -> None:
        """Add up bits by the passage of each of them; `sizes` is the bytes of each passage."""
        self.bits, self.sizes = np.bincount(passages, bits, len(sizes)), sizes

    def __call__(self, weights: Numbers) -> float:
        return float(weights @ self.bits / (weights @ self.sizes))


def metrics(
    model: Model, corpus: Corpus, seq_len: int, config: Config, device: torch.device
) -> list[dict[str, Any]]:
    """Return bits per byte on the test split, with its baselines."""
    # The last token before the split is context, so that each token of the split is scored.
    tokens = np.concatenate([corpus.splits["val"][-1:], corpus.splits["test"][:]])
    # Windows overlap, so each token has at least seq_len - stride tokens of context.
    bits = score(model, tokens, seq_len, config, device).numpy()
    lengths = np.array(corpus.tokenizer.lengths(corpus.splits["test"][:].tolist()))
    # Neighbouring tokens depend on each other, so whole passages are resampled.
    passages = np.arange(len(bits)) // config.stride
    sizes = np.bincount(passages, lengths)
    byte_passages = np.repeat(passages, lengths)
    # Bits per byte compare whatever the tokens are. The share of correct tokens would not: a longer
    # token is harder to predict. The model also pays for the tokens between documents.
    return [
        metric(
            "bits_per_byte",
            "bit/byte",
            PerByte(passages, bits, sizes),
            {
                name: PerByte(byte_passages, each, sizes)
                for name, each in baselines(corpus, config).items()
            },
            Samples("passages", len(sizes)),
            title="bits per byte",
            higher_is_better=False,
        )
    ]


@torch.no_grad()
def continued(model: Model, tokens: list[int], seq_len: int, device: torch.device) -> list[int]:
    """Return DRAWN tokens that the model draws after others, of which it reads the last seq_len."""
    generator = torch.Generator().manual_seed(0)
    text = list(tokens)
    for _ in range(DRAWN):
        logits = model(torch.tensor([text[-seq_len:]], device=device))[0, -1].double().cpu()  # (V,)
        chances = torch.softmax((logits - logits.max()) / TEMPERATURE, dim=-1)
        text.append(int(torch.multinomial(chances, 1, generator=generator)))
    return text[len(tokens) :]


def passages(model: Model, corpus: Corpus, seq_len: int, device: torch.device) -> dict[str, Any]:
    """Return some passages of the test split, and how the model continues their beginnings."""
    tokens, length = corpus.splits["test"], BEGINNING + DRAWN
    rows = []
    count = min(PASSAGES, len(tokens) // length)
    for number in range(count):
        start = number * (len(tokens) // count)
        passage = tokens[start : start + length].tolist()
        texts = (passage[:BEGINNING], passage[BEGINNING:])
        drawn = continued(model, texts[0], seq_len, device)
        rows.append([one_line(corpus.tokenizer.decode(each)) for each in (*texts, drawn)])
    return {"kind": "texts", "columns": ["beginning", "there", "proxy"], "rows": rows}


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on every token of the test split."""
    corpus = load_corpus(trained.data, trained.args.data, trained.model.vocab_size, trained.folder)
    model = load_share(lambda: Model(trained.model), trained.folder, trained.device)
    low = in_bfloat16(trained.device, trained.config.dtype)
    model.to(trained.device, torch.bfloat16 if low else torch.float32)
    scores = metrics(model, corpus, trained.data.seq_len, trained.config, trained.device)
    # Processes that share a model would have to draw the same token, as infer.py makes them do.
    alone = world_size() == 1
    texts = passages(model, corpus, trained.data.seq_len, trained.device) if alone else {}
    figure = texts if texts.get("rows") else None
    size = corpus.num_bytes["test"]
    return Report(corpus.name, corpus.sha256, size, scores, figure, n_unit="bytes")


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: bundled corpus)",
    settings={
        "batch_size": Setting("windows scored at once"),
        "dtype": Setting(
            "auto: bfloat16 on a GPU that supports it", str, ("auto", "float32", "bfloat16")
        ),
    },
)

if __name__ == "__main__":
    run(main)
