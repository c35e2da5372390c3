"""Score the samples of a checkpoint against the test split, beside simple models of the images.

    python eval.py                                  the checkpoint that train.py left in `out`
    python eval.py --size full --data my_images     the full model, on your images

Prints JSON on stdout. No other script reads the test split. The features are the pixels of images
of at most `side` rows and columns: distances are comparable within one data set only.
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from data import Config as DataConfig
from data import Dataset, Split, load_images
from model import Config as ModelConfig
from model import Model, conditions
from runtime.checkpoint import find_checkpoint, load_model
from runtime.device import choose_device
from runtime.diffusion import guided, sample, signal
from runtime.errors import fail, run
from runtime.options import positive, shared_options, sized
from runtime.report import metric, print_report
from runtime.settings import load_config

SHOWN = 4  # real images, and samples, of a row of the figure
SHOWN_ROWS = 10
SHOWN_SIDE = 16  # rows and columns of an image of the figure, at most


@dataclass(frozen=True)
class Config:
    """How samples are drawn and scored."""

    samples: int = 10000
    """Images to draw; their captions are those of the test split in turn."""
    batch_size: int = 64
    """Images drawn at once."""
    sampling_steps: int = 50
    """Noise levels that a sample passes through."""
    guidance: float = 1.0
    """Strength of the caption; 1 is the model's own distribution."""
    side: int = 32
    """Rows and columns of the images that are compared, at most; larger ones are scaled down."""
    components: int = 32
    """Principal components of the training images in which distributions are compared."""
    references: int = 10000
    """Training images, and test images, that are looked at, at most."""
    seed: int = 42
    """Of all that is drawn."""


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
        told = captions[start : start + config.batch_size]
        size = (len(told), c.image_channels, c.image_height, c.image_width)
        noise = torch.randn(size, generator=generator).to(device)
        condition, nothing = (
            conditions(c, each, classes).to(device) for each in (told, [""] * len(told))
        )
        predict = guided(model, condition, nothing, config.guidance)
        images = sample(predict, noise, left, config.sampling_steps)
        parts.append(_small((images.cpu() + 1) / 2, config.side))
    return torch.cat(parts)


def _small(images: Tensor, side: int) -> Tensor:
    """Return images of at most so many rows and columns; each pixel is a mean."""
    height, width = images.shape[2:]
    return F.adaptive_avg_pool2d(images, (min(side, height), min(side, width)))


def real(split: Split, config: Config) -> Sample:
    """Return the first images of a split."""
    count = min(len(split), config.references)
    parts = [_small((split.images([i]) + 1) / 2, config.side) for i in range(count)]
    return Sample(torch.cat(parts), split.captions[:count])


def simple_models(train: Sample, captions: Sequence[str], seed: int) -> dict[str, Sample]:
    """Return images of the captions by models that know no shapes.

    `noise` is uniform; `independent pixels` takes each pixel from an image of the class, each from
    another; `class Gaussian` has the mean and the covariance of the images of the class.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (len(captions), *train.pixels.shape[1:])
    noise = torch.rand(shape, generator=generator)
    flat = train.flat
    pixels, gaussian = torch.empty(2, len(captions), flat.size(1), dtype=torch.float64)
    for caption in dict.fromkeys(captions):
        rows = torch.tensor([i for i, each in enumerate(captions) if each == caption])
        own = flat[[each == caption for each in train.captions]]
        own = own if len(own) else flat  # nobody else has this caption
        drawn_from = torch.randint(len(own), (len(rows), flat.size(1)), generator=generator)
        pixels[rows] = own.gather(0, drawn_from)
        # A weighted sum of what sets each image apart has the covariance of the images.
        weights = torch.randn(len(rows), len(own), generator=generator, dtype=torch.float64)
        apart = (own - own.mean(0)) / max(1, len(own) - 1) ** 0.5
        gaussian[rows] = (own.mean(0) + weights @ apart).clamp(0, 1)
    found = {"independent pixels": pixels, "class Gaussian": gaussian}
    return {
        "noise": Sample(noise, list(captions)),
        **{name: Sample(each.reshape(shape), list(captions)) for name, each in found.items()},
    }


def components(images: Tensor, count: int) -> Tensor:
    """Return the first principal components of images (N, D), as (D, K)."""
    axes: Tensor = torch.linalg.svd(images - images.mean(0), full_matrices=False)[2]
    return axes[:count].T


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Return the Frechet distance of the Gaussians fitted on (N, D) and (M, D).

    |m_a - m_b|^2 + trace(A + B - 2 (AB)^(1/2)): Heusel et al., 2017, arXiv:1706.08500, equation 6.
    """
    first, second = a.T.cov(), b.T.cov()
    # The trace of the root of a product of covariances is the sum of the roots of its eigenvalues.
    roots = torch.linalg.eigvals(first @ second).real.clamp(min=0).sqrt().sum()
    apart = (a.mean(0) - b.mean(0)).square().sum()
    return float(apart + first.trace() + second.trace() - 2 * roots)


def trained_accuracy(samples: Sample, test: Sample, seed: int) -> float:
    """Return how well a random forest that was trained on samples classifies real images.

    The classification accuracy score of Ravuri & Vinyals, 2019, arXiv:1905.10887.
    """
    from sklearn.ensemble import RandomForestClassifier  # type: ignore[import-untyped]

    forest = RandomForestClassifier(random_state=seed)
    forest.fit(samples.flat.numpy(), samples.captions)
    return float(forest.score(test.flat.numpy(), test.captions))


def nearest(images: Sample, train: Sample) -> float:
    """Return the mean Euclidean distance from an image to the training image nearest to it."""
    exact = "donot_use_mm_for_euclid_dist"  # an image is at no distance from itself
    cuts = torch.split(images.flat, 256)
    parts = (torch.cdist(cut, train.flat, compute_mode=exact).min(1).values for cut in cuts)
    return float(torch.cat(list(parts)).mean())


def metrics(samples: Sample, data: Dataset, config: Config) -> list[dict[str, Any]]:
    """Return how samples differ from the test split, beside what simple models give.

    `real training images` in the place of samples say how good it can get: they are no model.
    """
    train, test = (real(data.splits[split], config) for split in ("train", "test"))
    others = simple_models(train, samples.captions, config.seed)
    others["real training images"] = train
    axes = components(train.flat, config.components)
    placed = test.flat @ axes
    distances = {n: frechet_distance(each.flat @ axes, placed) for n, each in others.items()}
    distance = frechet_distance(samples.flat @ axes, placed)
    found = [
        metric("frechet_distance", "squared distance", distance, distances, higher_is_better=False)
    ]
    if data.classes:
        scores = {n: trained_accuracy(each, test, config.seed) for n, each in others.items()}
        score = trained_accuracy(samples, test, config.seed)
        found.append(
            metric("trained_classifier_accuracy", "share", score, scores, higher_is_better=True)
        )
    # Drawn images that are much nearer than real ones are copies; farther ones may be anything.
    real_ones = {"real test images": nearest(test, train)}
    value = nearest(samples, train)
    return [
        *found,
        metric(
            "nearest_training_image",
            "distance",
            value,
            real_ones,
            higher_is_better=None,
            status="no score",
        ),
    ]


def figure(samples: Sample, data: Dataset, config: Config) -> dict[str, Any]:
    """Return what a picture shows: real images of a caption, a gap, and samples of it."""
    test = real(data.splits["test"], config)
    gap = torch.ones_like(test.pixels[0])
    rows = []
    for caption in (data.classes or list(dict.fromkeys(samples.captions)))[:SHOWN_ROWS]:
        sides = [_of(each, caption) for each in (test, samples)]
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
    small = (_small(image[None], SHOWN_SIDE)[0] * 100).round() / 100
    values = small[0] if len(small) == 1 else small.permute(1, 2, 0)
    return [[_rounded(each) for each in row] for row in values.tolist()]


def _rounded(value: Any) -> Any:
    return [round(each, 2) for each in value] if isinstance(value, list) else round(value, 2)


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "eval", "proxy"), Config()
    parser = shared_options(
        __doc__,
        data="what train.py was given (default: bundled digits)",
        batch_size=f"images drawn at once {sized(proxy, full, 'batch_size')}",
        seed=f"of all that is drawn {sized(proxy, full, 'seed')}",
    )
    group = parser.add_argument_group("options of eval.py")
    for name, kind, text in (
        ("samples", positive, "images to draw"),
        ("sampling_steps", positive, "noise levels that a sample passes through"),
        ("guidance", float, "strength of the caption; 1 is the model's own distribution"),
    ):
        option, note = f"--{name.replace('_', '-')}", sized(proxy, full, name)
        group.add_argument(option, type=kind, metavar="X", help=f"{text} {note}")
    return parser.parse_args()


def main() -> None:
    """Print the scores of a checkpoint."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "eval", args.size)
    given = {k: v for k, v in vars(args).items() if v is not None and hasattr(config, k)}
    config = replace(config, **given)
    data_config = load_config(DataConfig, "data", args.size)
    model_config = load_config(ModelConfig, "model", args.size)
    if config.sampling_steps > data_config.timesteps:
        fail(f"there are {data_config.timesteps} noise levels: --sampling-steps is at most that.")
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    data = load_images(data_config, args.data, model_config)
    model = load_model(lambda: Model(model_config), folder).to(device)
    told = list(itertools.islice(itertools.cycle(data.splits["test"].captions), config.samples))
    images = drawn(model, told, data.classes, data_config, config, device)
    samples, count = Sample(images, told), len(data.splits["test"])
    scores, shown = metrics(samples, data, config), figure(samples, data, config)
    print_report(data.name, data.sha256, count, scores, folder, shown)


if __name__ == "__main__":
    run(main)
