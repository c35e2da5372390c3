"""Score a checkpoint on the test split: the bits of its tokens, and the sound of its codec.

    python eval.py                        the checkpoint that train.py wrote to `out`
    python eval.py --data my_sounds       a checkpoint that was trained on your sounds

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from data import Config as DataConfig
from data import Dataset, Split, batches, load_clips
from model import Config as ModelConfig
from model import Model, aligned, generate
from runtime.errors import run
from runtime.report import Report, metric
from runtime.scores import Mean, Samples
from runtime.scripts import Setting, Trained, scoring
from runtime.spectra import WINDOWS, log_mel, log_mel_distance
from runtime.transform import TransformCodec

SHOWN = 3  # clips in the figure
SHOWN_WINDOW = 256  # samples of a window of their spectrograms
QUIET, LOUD = -11.5, -5.0  # logarithms of the powers that are black and white in the figure
Values = NDArray[np.float64]  # (clips,)


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 8
    """Clips scored at once."""
    baseline_clips: int = 2000
    """Training clips that the baselines are fitted on, at most."""


@dataclass(frozen=True)
class Read:
    """Some clips as the codec reads them.

    Attributes:
        wave: Their samples (B, S).
        text: Their captions [(B, L)], or [] for a model without them.
        codes: Their tokens (B, K, T).
    """

    wave: Tensor
    text: list[Tensor]
    codes: Tensor


@torch.no_grad()
def read(model: Model, split: Split, most: int, size: int, device: torch.device) -> list[Read]:
    """Return the first clips of a split with their tokens, in batches."""
    some = replace(split, captions=split.captions[:most])
    found = []
    for wave, *text in batches(some, size, model.config):
        codes = model.codec.encode(wave[:, None].to(device)).cpu()
        found.append(Read(wave, text, codes))
    return found


@torch.no_grad()
def bits(model: Model, clips: list[Read], device: torch.device) -> Values:
    """Return the mean bits of a token of each clip, -log2 p(token | the tokens before it)."""
    means = []
    for each in clips:
        logits = model(each.codes.to(device), *(text.to(device) for text in each.text))
        # Logits lie at the places of delayed codes, (B, K, T + K - 1, N).
        chances = F.log_softmax(logits.float(), dim=-1).cpu()
        placed = torch.stack([aligned(part) for part in chances.unbind(-1)], dim=-1)
        nats = -placed.gather(-1, each.codes[..., None])[..., 0]  # (B, K, T)
        means.append(nats.double().mean((1, 2)) / math.log(2))
    return torch.cat(means).numpy()


class Bigram:
    """The chance of a token after the one before it in its codebook, with that of the token alone.

    p(c | h) = (count(hc) + types(h) * p(c)) / (count(h) + types(h)), where types(h) is how many
    different tokens followed h (Witten & Bell, 1991); p(c) = (count(c) + 1) / (total + N).
    """

    def __init__(self, codes: Tensor, size: int) -> None:
        """Count the tokens of training clips (B, K, T), each codebook by itself."""
        books = codes.size(1)
        self.alone = torch.ones(books, size, dtype=torch.float64)
        pairs = torch.zeros(books, size + 1, size, dtype=torch.float64)
        for book in range(books):
            own = codes[:, book]
            before = F.pad(own[:, :-1], (1, 0), value=size)  # what stands before the first
            self.alone[book] += torch.bincount(own.flatten(), minlength=size)
            both = (before * size + own).flatten()
            pairs[book] = torch.bincount(both, minlength=(size + 1) * size).view(size + 1, size)
        self.alone /= self.alone.sum(1, keepdim=True)
        types = (pairs > 0).sum(2, keepdim=True)
        known = pairs + types * self.alone[:, None]
        total = pairs.sum(2, keepdim=True) + types
        self.after = torch.where(total > 0, known / total.clamp(min=1), self.alone[:, None])

    def bits(self, codes: Tensor, *, paired: bool) -> Values:
        """Return the mean bits of a token of clips (B, K, T), by pairs or by single tokens."""
        size, book = self.alone.size(1), torch.arange(codes.size(1))[:, None]
        before = F.pad(codes[..., :-1], (1, 0), value=size)
        chances = self.after[book, before, codes] if paired else self.alone[book, codes]
        return (-chances.log2()).mean((1, 2)).numpy()


def token_metrics(
    own: Values, train: Tensor, test: Tensor, model: ModelConfig, samples: Samples
) -> list[dict[str, Any]]:
    """Return bits per token and per second, with those of tokens and of pairs of tokens."""
    ngrams = Bigram(train, model.codebook_size)
    scores = {
        "unigram": ngrams.bits(test, paired=False),
        "bigram": ngrams.bits(test, paired=True),
    }
    # A uniform choice of an entry is what a token takes when stored.
    stored = math.log2(model.codebook_size)
    tokens = model.n_codebooks * model.sample_rate / model.frame()  # a second
    rows = []
    for name, unit, title, factor in (
        ("bits_per_token", "bit/token", "bits per token", 1.0),
        ("bits_per_second", "bit/s", "bits per second", tokens),
    ):
        others = {key: Mean(factor * values) for key, values in scores.items()}
        rows.append(
            metric(
                name,
                unit,
                Mean(factor * own),
                {"uniform": factor * stored, **others},
                samples,
                title=title,
                higher_is_better=False,
            )
        )
    return rows


def resynthesis(
    model: Model, train: list[Read], test: list[Read], samples: Samples, device: torch.device
) -> dict[str, Any]:
    """Return the log-mel distance of test clips from what the codec makes of them."""
    c = model.config
    with torch.no_grad():
        made = torch.cat([model.codec.decode(x.codes.to(device))[:, 0].cpu() for x in test])
    wave, known = torch.cat([x.wave for x in test]), torch.cat([x.wave for x in train])
    classical = TransformCodec(known, c.frame(), c.n_codebooks, c.codebook_size)
    others = {
        "silence": log_mel_distance(torch.zeros_like(wave), wave, c.sample_rate),
        "mean spectrum": from_mean(known, wave, c.sample_rate),
        "transform codec": log_mel_distance(classical(wave), wave, c.sample_rate),
    }
    return metric(
        "log_mel_distance",
        "nat",
        Mean(log_mel_distance(made, wave, c.sample_rate)),
        {name: Mean(each) for name, each in others.items()},
        samples,
        title="log-mel distance of the codec",
        higher_is_better=False,
    )


def from_mean(train: Tensor, test: Tensor, rate: int) -> Tensor:
    """Return the distance (B,) of test clips from the mean log-mel spectrum of training clips."""
    apart = []
    for window in WINDOWS:
        mean = log_mel(train, rate, window).mean((0, 1))
        apart.append((log_mel(test, rate, window) - mean).abs().mean((1, 2)))
    return torch.stack(apart).mean(0)


@torch.no_grad()
def figure(model: Model, test: list[Read], seed: int, device: torch.device) -> dict[str, Any]:
    """Return spectrograms: clips, what the codec makes of them, and first halves continued."""
    first, count = test[0], min(SHOWN, len(test[0].wave))
    codes = first.codes[:count].to(device)
    text = [each[:count].to(device) for each in first.text]
    half = codes.size(2) // 2
    start, added = codes[..., :half], codes.size(2) - half
    drawn = generate(model, start, text[0] if text else None, added, seed=seed)
    waves = [first.wave[:count], *(model.codec.decode(each)[:, 0].cpu() for each in (codes, drawn))]
    columns = [_shown(wave, model.config.sample_rate) for wave in waves]
    rows = [[column[place] for column in columns] for place in range(count)]
    return {"kind": "images", "columns": ["clip", "codec", "continued"], "rows": rows}


def _shown(wave: Tensor, rate: int) -> list[list[list[float]]]:
    """Return spectrograms of clips (B, S) as rows of grey values, low frequencies below."""
    power = log_mel(wave, rate, SHOWN_WINDOW).transpose(1, 2).flip(1)  # (B, M, F)
    grey = (power.clamp(QUIET, LOUD) - QUIET) / (LOUD - QUIET)
    shown: list[list[list[float]]] = [
        [[round(value, 2) for value in row] for row in each] for each in grey.tolist()
    ]
    return shown


def scores(
    trained: Trained[Config, DataConfig, ModelConfig], data: Dataset, model: Model
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the metrics of a checkpoint, and its figure."""
    config, device = trained.config, trained.device
    train, test = (
        read(model, data.splits[split], most, config.batch_size, device)
        for split, most in (("train", config.baseline_clips), ("test", len(data.splits["test"])))
    )
    count = len(data.splits["test"])
    samples = Samples("clips", count, np.asarray(data.sources), "sounds or voices")
    known, scored = (torch.cat([each.codes for each in split]) for split in (train, test))
    rows = token_metrics(bits(model, test, device), known, scored, trained.model, samples)
    rows.append(resynthesis(model, train, test, samples, device))
    return rows, figure(model, test, 0, device)


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on every clip of the test split."""
    data = load_clips(trained.data, trained.args.data, trained.model)
    model = trained.load(lambda: Model(trained.model))
    rows, drawn = scores(trained, data, model)
    return Report(data.name, data.sha256, len(data.splits["test"]), rows, drawn, n_unit="clips")


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: spoken digits)",
    settings={"batch_size": Setting("clips scored at once")},
)

if __name__ == "__main__":
    run(main)
