"""Score a checkpoint on the test split, and compare with simple methods on pixels.

    python eval.py                      the checkpoint that train.py wrote to `out`
    python eval.py --data my_images     a checkpoint that was trained on your folder

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from data import Config as DataConfig
from data import Images, load_images
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.image_batches import Split, batches
from runtime.pixel_rows import flat_pixels, without_copies
from runtime.regression import Values, best_penalty, number_metrics, ridge, scatter
from runtime.report import Report
from runtime.scores import Samples
from runtime.scripts import Setting, Trained, scoring
from runtime.splits import SPLITS
from runtime.targets import read_target

NEIGHBOURS = 5  # images whose mean number the nearest-neighbour baseline predicts


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 256
    """Images scored at once."""
    baseline_side: int = 16
    """Height and width of images for the baselines, in pixels."""
    baseline_images: int = 20000
    """Training images above which the mean is the only baseline."""


@torch.no_grad()
def predict(
    model: Model, split: Split, config: Config, data: DataConfig, device: torch.device
) -> Tensor:
    """Return the standardized number of each image of a split: (N,)."""
    parts = [model(x.to(device)).cpu() for x, _ in batches(split, config.batch_size, data)]
    return torch.cat(parts)


def baselines(
    images: Images, load_small: Callable[[], Images], config: Config
) -> Iterator[tuple[str, Values]]:
    """Yield the numbers of the test split by simpler methods, fitted on the train split.

    `ridge regression` and `5-NN` read the pixels of the same images, scaled down; a large training
    split omits both, because they would take longer than the model itself.
    """
    target = images.target
    # The mean of the train split has an R² of about 0: a method below it learned nothing.
    yield "mean", np.full(len(images.values["test"]), target.mean)
    if len(images.values["train"]) > config.baseline_images:
        return
    # Small images are enough for methods that know no shapes, and keep distances cheap.
    small = load_small()
    rows = [flat_pixels(small.splits[split], config.batch_size) for split in SPLITS]
    train, val, test = without_copies(rows, small.splits["train"].pixels[[0]].size(1))
    x, y = train.numpy(), images.splits["train"].targets.double().numpy()
    truth = images.splits["val"].targets.double().numpy()
    penalty = best_penalty(lambda each: ridge(x, y, val.numpy(), each), truth)
    # A network that cannot beat a linear model of pixels has learned no shapes.
    yield "ridge regression", ridge(x, y, test.numpy(), penalty) * target.std + target.mean
    count = min(NEIGHBOURS, len(train))
    nearest = torch.cdist(test, train).topk(count, largest=False).indices.numpy()
    yield f"{NEIGHBOURS}-NN", images.values["train"][nearest].mean(1)


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on the images of the test split."""
    config, data, path = trained.config, trained.data, trained.args.data
    target = read_target(trained.folder)
    images = load_images(data, path, target.name, trained.model)
    # Numbers are standardized by the train split: another one would shift every prediction.
    trained.check_data(target, images.target, images.name, "images")
    model = trained.load(lambda: Model(trained.model))
    side = config.baseline_side
    # The folder is read again at the small size, so that each method scales the original images.
    small = replace(trained.model, image_height=side, image_width=side)
    simple = dict(baselines(images, lambda: load_images(data, path, target.name, small), config))
    truth, split = images.values["test"], images.splits["test"]
    predicted = target.restored(predict(model, split, config, data, trained.device))
    return Report(
        images.name,
        images.sha256,
        len(truth),
        number_metrics(truth, predicted, simple, Samples("images", len(truth)), target.name),
        scatter(truth, predicted, target.name, "images"),
        n_unit="images",
    )


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: bundled digits)",
    settings={"batch_size": Setting("images scored at once")},
)

if __name__ == "__main__":
    run(main)
