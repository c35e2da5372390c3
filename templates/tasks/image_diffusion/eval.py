"""Score the samples of a checkpoint against the test split, and compare with simple models.

    python eval.py                                  the checkpoint that train.py wrote to `out`
    python eval.py --size full --data my_images     the full model, on your images

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split. The
features are pixels of images of at most `side` rows and columns, so distances are comparable only
within one data set.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data import Config as DataConfig
from data import Dataset, Split, load_images
from model import Config as ModelConfig
from model import Model, conditions
from runtime.diffusion import guided, sample, signal
from runtime.errors import fail, run
from runtime.frechet import components, frechet_distance
from runtime.report import Report, metric
from runtime.scores import Mean, Samples, Score
from runtime.scripts import Setting, Trained, scoring

# The figure has a row for each caption: SHOWN real images, a gap, and as many samples.
SHOWN = 4
SHOWN_ROWS = 10
SHOWN_SIDE = 16  # pixels per side in the figure; the report grows with their square


@dataclass(frozen=True)
class Config:
    """How samples are drawn and scored."""

    samples: int = 10000
    """Images to draw, for the captions of the test split in turn; fewer raise the distance."""
    batch_size: int = 64
    """Images drawn at once."""
    sampling_steps: int = 50
    """Noise levels that a sample passes through."""
    guidance: float = 1.0
    """Strength of the caption; 1 samples the model's own distribution, more reduces variety."""
    side: int = 32
    """Largest side of the images that are compared; larger ones are scaled down."""
    components: int = 32
    """Principal components of the training images that distributions are compared in."""
    references: int = 10000
    """Largest number of training images, and of test images, in a comparison."""
    seed: int = 42
    """Seed of the noise, and of the baselines."""


@dataclass(frozen=True)
class Sample:
    """Images to compare.

    Attributes:
        pixels: (N, C, H, W) of 0 to 1.
        captions: The caption of each.
    """

    pixels: Tensor
    captions: list[str]

    @property
    def flat(self) -> Tensor:
        """The pixels as (N, D)."""
        return self.pixels.flatten(1).double()


@torch.no_grad()
def drawn(
    model: Model,
    captions: Sequence[str],
    classes: Sequence[str],
    data: DataConfig,
    config: Config,
    device: torch.device,
) -> Tensor:
    """Return a sample of the model for each caption, (N, C, H, W) of 0 to 1."""
    c, left = model.config, signal(data.noise_schedule, data.timesteps).to(device)
    generator = torch.Generator().manual_seed(config.seed)
    parts = []
    for start in range(0, len(captions), config.batch_size):
        some = captions[start : start + config.batch_size]
        size = (len(some), c.image_channels, c.image_height, c.image_width)
        # Noise is drawn on the CPU, so that every device starts from the same noise.
        noise = torch.randn(size, generator=generator).to(device)
        # Guidance needs the prediction with and without the caption; the empty caption is the
        # latter.
        condition, nothing = (
            conditions(c, each, classes).to(device) for each in (some, [""] * len(some))
        )
        predict = guided(model, condition, nothing, config.guidance)
        images = sample(predict, noise, left, config.sampling_steps)
        parts.append(_small((images.cpu() + 1) / 2, config.side))  # (B, C, side, side), 0 to 1
    return torch.cat(parts)


def _small(images: Tensor, side: int) -> Tensor:
    """Return images scaled down to a largest side; each pixel is a mean of pixels."""
    height, width = images.shape[2:]
    # Averages keep the brightness; picking single pixels would add noise to the distances.
    return F.adaptive_avg_pool2d(images, (min(side, height), min(side, width)))


def real(split: Split, config: Config) -> Sample:
    """Return the first images of a split."""
    # The digests that cut the splits are as good as random, so the first images are a fair sample.
    count = min(len(split), config.references)
    parts = [_small((split.images([i]) + 1) / 2, config.side) for i in range(count)]
    return Sample(torch.cat(parts), split.captions[:count])


def simple_models(train: Sample, captions: Sequence[str], seed: int) -> dict[str, Sample]:
    """Return images of the captions by models without any notion of shape.

    `noise` is uniform. `independent pixels` takes each pixel from a random image of the class.
    `class Gaussian` has the mean and the covariance of the images of the class.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (len(captions), *train.pixels.shape[1:])
    noise = torch.rand(shape, generator=generator)
    flat = train.flat
    pixels, gaussian = torch.empty(2, len(captions), flat.size(1), dtype=torch.float64)
    for caption in dict.fromkeys(captions):
        rows = torch.tensor([i for i, each in enumerate(captions) if each == caption])
        own = flat[[each == caption for each in train.captions]]
        own = own if len(own) else flat  # no training image has this caption
        # Each pixel has the right distribution, but pixels do not depend on each other.
        sources = torch.randint(len(own), (len(rows), flat.size(1)), generator=generator)
        pixels[rows] = own.gather(0, sources)
        # Randomly weighted sums of the deviations from the mean have the covariance of the images,
        # and need no matrix of all pairs of pixels.
        weights = torch.randn(len(rows), len(own), generator=generator, dtype=torch.float64)
        apart = (own - own.mean(0)) / max(1, len(own) - 1) ** 0.5
        gaussian[rows] = (own.mean(0) + weights @ apart).clamp(0, 1)
    simple = {"independent pixels": pixels, "class Gaussian": gaussian}
    return {
        "noise": Sample(noise, list(captions)),
        **{name: Sample(each.reshape(shape), list(captions)) for name, each in simple.items()},
    }


def trained_accuracy(samples: Sample, test: Sample, seed: int) -> Score:
    """Return the accuracy on real images of a random forest that was trained on samples.

    It is the classification accuracy score of Ravuri & Vinyals, 2019, arXiv:1905.10887.
    """
    # Only data with classes needs the library, so it is imported here.
    from sklearn.ensemble import RandomForestClassifier  # type: ignore[import-untyped]

    # A random forest needs no tuning, so the score depends on the samples alone.
    forest = RandomForestClassifier(random_state=seed)
    forest.fit(samples.flat.numpy(), samples.captions)
    return Mean(forest.predict(test.flat.numpy()) == np.asarray(test.captions))


def nearest(images: Sample, train: Sample) -> Mean:
    """Return the mean Euclidean distance from an image to its nearest training image."""
    # torch's faster form, a product of matrices, gives copies a distance above 0 by rounding.
    exact = "donot_use_mm_for_euclid_dist"
    cuts = torch.split(images.flat, 256)
    parts = (torch.cdist(cut, train.flat, compute_mode=exact).min(1).values for cut in cuts)
    return Mean(torch.cat(list(parts)))


def metrics(samples: Sample, data: Dataset, config: Config) -> list[dict[str, Any]]:
    """Return the metrics of samples against the test split, with those of simple models.

    `real training images` are no model: they show the best score that is possible.
    """
    train, test = (real(data.splits[split], config) for split in ("train", "test"))
    # Baselines get as many images as the model draws, because the distance depends on their number.
    others = simple_models(train, samples.captions, config.seed)
    others["real training images"] = train
    rows = [distribution_metric(samples, test, others, components(train.flat, config.components))]
    # Samples that a classifier can learn from show the right class; a free text is no label.
    if data.classes:
        rows.append(classifier_metric(samples, test, others, config.seed))
    return [*rows, memory_metric(samples, train, test)]


def distribution_metric(
    samples: Sample, test: Sample, others: dict[str, Sample], axes: Tensor
) -> dict[str, Any]:
    """Return the Fréchet distance between samples and the test split along some axes (D, K)."""
    # The axes come from the training images: those of the test split would favour images like it,
    # and those of samples would differ by checkpoint.
    placed = test.flat @ axes  # (N, K)
    return metric(
        "frechet_distance",
        "squared distance",
        frechet_distance(samples.flat @ axes, placed),
        {name: frechet_distance(each.flat @ axes, placed) for name, each in others.items()},
        Samples("images", len(placed)),
        title="Fréchet distance",
        higher_is_better=False,
    )


def classifier_metric(
    samples: Sample, test: Sample, others: dict[str, Sample], seed: int
) -> dict[str, Any]:
    """Return the accuracy of classifiers that are trained on samples."""
    return metric(
        "trained_classifier_accuracy",
        "share",
        trained_accuracy(samples, test, seed),
        {name: trained_accuracy(each, test, seed) for name, each in others.items()},
        Samples("images", len(test.captions)),
        title="trained classifier accuracy",
        higher_is_better=True,
    )


def memory_metric(samples: Sample, train: Sample, test: Sample) -> dict[str, Any]:
    """Return the distance to the nearest training image, which shows copies."""
    # Samples that are much nearer to a training image than real images are copies of it. A larger
    # distance is no sign of quality, so neither direction is better.
    return metric(
        "nearest_training_image",
        "distance",
        nearest(samples, train),
        # The test images are other samples than those that were drawn, so nothing is paired.
        {"real test images": float(nearest(test, train).values.mean())},
        Samples("drawn images", len(samples.captions)),
        title="distance to the nearest training image",
        higher_is_better=None,
        status="no score",
        n=len(samples.captions),
        n_unit="drawn images",
    )


def figure(samples: Sample, data: Dataset, config: Config) -> dict[str, Any]:
    """Return rows of images: real ones of a caption, a gap, and samples of the caption."""
    test = real(data.splits["test"], config)
    gap = torch.ones_like(test.pixels[0])
    rows = []
    for caption in (data.classes or list(dict.fromkeys(samples.captions)))[:SHOWN_ROWS]:
        sides = [_of(each, caption) for each in (test, samples)]
        # A caption with fewer real images gets a wider gap, which keeps the columns aligned.
        images = [*sides[0], *[gap] * (SHOWN + 1 - len(sides[0])), *sides[1]]
        rows.append([_shown(image) for image in images])
    columns = ["real", *[""] * SHOWN, "drawn"]
    return {"kind": "images", "columns": columns, "rows": rows}


def _of(images: Sample, caption: str) -> list[Tensor]:
    """Return the first images with a caption."""
    places = [i for i, each in enumerate(images.captions) if each == caption]
    return [images.pixels[i] for i in places[:SHOWN]]


def _shown(image: Tensor) -> Any:
    """Return an image as nested lists: rows of grey values, or of red, green and blue."""
    # Two digits of brightness are as much as print shows, and keep the report short.
    small = (_small(image[None], SHOWN_SIDE)[0] * 100).round() / 100
    values = small[0] if len(small) == 1 else small.permute(1, 2, 0)
    return [[_rounded(each) for each in row] for row in values.tolist()]


def _rounded(value: Any) -> Any:
    return [round(each, 2) for each in value] if isinstance(value, list) else round(value, 2)


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint by samples for the captions of the test split."""
    config, data_config, device = trained.config, trained.data, trained.device
    if config.sampling_steps > data_config.timesteps:
        fail(
            f"there are {data_config.timesteps} noise levels: set --sampling-steps to at most that."
        )
    data = load_images(data_config, trained.args.data, trained.model)
    model = trained.load(lambda: Model(trained.model))
    # Captions of the test split give samples the same shares of classes, which the distance needs.
    captions = list(itertools.islice(itertools.cycle(data.splits["test"].captions), config.samples))
    samples = Sample(drawn(model, captions, data.classes, data_config, config, device), captions)
    return Report(
        data.name,
        data.sha256,
        len(data.splits["test"]),
        metrics(samples, data, config),
        figure(samples, data, config),
        n_unit="images",
    )


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: bundled digits)",
    settings={
        "batch_size": Setting("images drawn at once"),
        "seed": Setting("seed of the noise, and of the baselines"),
        "samples": Setting("images to draw"),
        "sampling_steps": Setting("noise levels that a sample passes through"),
        "guidance": Setting("strength of the caption; 1 is the model's own distribution", float),
    },
)

if __name__ == "__main__":
    run(main)
