"""Score a checkpoint on the test split: the errors of the texts that it writes.

    python eval.py                        the checkpoint that train.py wrote to `out`
    python eval.py --data my_sounds       a checkpoint that was trained on your sounds

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data import Config as DataConfig
from data import Dataset, Split, features, load_speech
from model import Config as ModelConfig
from model import Model, transcribe
from runtime.edits import ErrorRate, characters_of, words_of
from runtime.errors import run
from runtime.report import Report, metric
from runtime.scores import Samples
from runtime.scripts import Setting, Trained, scoring
from runtime.word_models import WordModels, cepstra

SHOWN = 3  # clips in the figure
FRAMES, BANDS = 200, 40  # The figure's spectrograms have no more.


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 8
    """Clips that pass through the model at once."""
    baseline_clips: int = 400
    """Training clips that the baselines are fitted on, at most."""


def spectrograms(data: Dataset, split: Split, places: Sequence[int]) -> Tensor:
    """Return the spectrograms (B, M, F) of some sounds of a split."""
    return features(torch.stack([split.read(place) for place in places]), data.model)


def written(
    model: Model, data: Dataset, split: Split, size: int, device: torch.device
) -> list[str]:
    """Return the text that the model writes of each sound, the likeliest token each time."""
    texts = []
    for start in range(0, len(split), size):
        places = range(start, min(start + size, len(split)))
        audio = spectrograms(data, split, places).to(device)
        texts += [data.words.decode(tokens) for tokens in transcribe(model, audio)]
    return texts


def commonest(train: Split) -> str:
    """Return one text for all sounds: the commonest word, as often as a text has words."""
    texts = [words_of(text) for text in train.texts]
    counts = Counter(word for text in texts for word in text)
    length = round(sum(map(len, texts)) / len(texts))
    # Of equally common words the first in the alphabet, whatever the order of the data.
    word = min(counts, key=lambda each: (-counts[each], each), default="")
    return " ".join([word] * max(1, length))


def heard(data: Dataset, split: Split, place: int) -> Any:
    """Return the coefficients of a sound up to where the silence that fills it up begins."""
    wave = split.read(place)
    sound = wave.nonzero()
    end = int(sound[-1]) + 1 if len(sound) else 1
    frames = max(2, -(-end // data.model.hop_length))
    return cepstra(features(wave[None], data.model)[0, :, :frames].numpy())


def classical(data: Dataset, most: int) -> list[str]:
    """Return what hidden Markov models of the training words write of each test sound."""
    train, test = data.splits["train"], data.splits["test"]
    known = range(min(most, len(train)))
    models = WordModels(
        [heard(data, train, place) for place in known],
        [words_of(train.texts[place]) for place in known],
    )
    return [" ".join(models.recognized(heard(data, test, place))) for place in range(len(test))]


def metrics(
    own: Sequence[str], others: dict[str, Sequence[str]], said: Sequence[str], samples: Samples
) -> list[dict[str, Any]]:
    """Return the rates of wrong words and of wrong characters, with those of other methods."""
    rows = []
    for name, unit, title, cut in (
        ("word_error_rate", "error/word", "WER", words_of),
        ("character_error_rate", "error/character", "CER", characters_of),
    ):
        right = [cut(text) for text in said]
        rates = {
            way: ErrorRate([cut(text) for text in texts], right)
            for way, texts in {"": own, **others}.items()
        }
        rows.append(
            metric(name, unit, rates.pop(""), rates, samples, title=title, higher_is_better=False)
        )
    return rows


def figure(data: Dataset, own: Sequence[str]) -> dict[str, Any]:
    """Return spectrograms of some test clips, with what is said and what is written."""
    test = data.splits["test"]
    places = np.linspace(0, len(test) - 1, min(SHOWN, len(test))).astype(int).tolist()
    audio = spectrograms(data, test, places)
    across = -(-audio.size(2) // FRAMES)
    high = -(-audio.size(1) // BANDS)
    grey = torch.nn.functional.avg_pool2d(audio, (high, across))
    clips = [
        {
            "said": test.texts[place],
            "written": own[place],
            "power": [[round(value, 2) for value in row] for row in clip],
        }
        for place, clip in zip(places, grey.tolist(), strict=True)
    ]
    seconds = data.model.samples() / data.model.sample_rate
    return {"kind": "transcripts", "seconds": seconds, "clips": clips}


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on every sound of the test split."""
    data = load_speech(trained.data, trained.args.data, trained.model, trained.folder)
    test, config = data.splits["test"], trained.config
    model = trained.load(lambda: Model(trained.model))
    own = written(model, data, test, config.batch_size, trained.device)
    others: dict[str, Sequence[str]] = {
        "commonest word": [commonest(data.splits["train"])] * len(test),
        "word HMMs": classical(data, config.baseline_clips),
    }
    groups = None if data.speakers is None else np.asarray(data.speakers)
    samples = Samples("sounds", len(test), groups, None if groups is None else "speakers")
    rows = metrics(own, others, test.texts, samples)
    return Report(data.name, data.sha256, len(test), rows, figure(data, own), n_unit="sounds")


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: spoken digits)",
    settings={"batch_size": Setting("clips that pass through the model at once")},
)

if __name__ == "__main__":
    run(main)
