"""Train the two towers on your images and texts, or on glyphs and their names.

    python train.py                                       the proxy, on the bundled glyphs
    python train.py --data my_photos --steps 2000         the proxy, on your images and captions
    python train.py --size full --data my_photos          the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
`AutoModel.from_pretrained("out/checkpoint")`.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import Pairs, batch_at, load_pairs
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import to_json
from runtime.device import in_float32
from runtime.errors import run
from runtime.gather import gather, own_places
from runtime.job import Batch, Job
from runtime.settings import Training
from runtime.tokenizer import END_OF_TEXT, tokenizer_files
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the two towers are trained."""

    batch_size: int = 64
    """Pairs in an update."""
    grad_accum: int = 1
    """Parts of an update; more take less memory, and contrast a pair with fewer others."""


def contrastive_loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the symmetric contrastive loss in nats, and the number of pairs.

    The mean of two cross-entropies: of the right text of each image among all texts, and of the
    right image of each text among all images (arXiv:2103.00020, figure 3). "All" are those that
    all processes have in this part of the update.
    """
    images, tokens = batch  # (B, C, H, W), (B, T)
    image, text = (vectors.float() for vectors in module(images, tokens))  # (B, E) each
    images_of_all, texts_of_all = gather(image), gather(text)
    right = own_places(image, images_of_all)
    # Logits differ by less than bfloat16 can express.
    with in_float32(image.device):
        by_image = F.cross_entropy(image @ texts_of_all.T, right)
        by_text = F.cross_entropy(text @ images_of_all.T, right)
    return (by_image + by_text) / 2, len(image)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    c = model.config
    images = torch.zeros(samples, c.in_channels, c.image_size, c.image_size)
    tokens = torch.zeros(samples, c.max_seq_len, dtype=torch.int64)
    return contrastive_loss(model, (images, tokens))[0]


def held_out(pairs: Pairs, size: int) -> Iterator[Batch]:
    """Yield the full batches of the validation split.

    A smaller batch has fewer wrong partners, and so a smaller loss that cannot be compared.
    """
    val = pairs.splits["val"]
    size = min(size, len(val))
    for start in range(0, len(val) - size + 1, size):
        some = val[start : start + size]
        yield pairs.images(some), pairs.tokens(some)


def processor_file(model: ModelConfig) -> dict[str, str]:
    """Return the file from which transformers learns how to prepare an image for the model."""
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": model.in_channels == 3,
        "size": {"shortest_edge": model.image_size},
        "crop_size": {"height": model.image_size, "width": model.image_size},
        "image_mean": [0.5] * model.in_channels,
        "image_std": [0.5] * model.in_channels,
    }
    return {"preprocessor_config.json": to_json(settings)}


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    pairs = load_pairs(data, args.data, model, args.begin)
    return Job(
        config=config,
        data=data,
        name=pairs.name,
        sha256=pairs.sha256,
        splits={split: len(each) for split, each in pairs.splits.items()},
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(pairs, data, start, count, config.seed),
        held_out=lambda size: held_out(pairs, size),
        loss=contrastive_loss,
        example=example_loss,
        unit="pairs",
        texts=tokenizer_files(pairs.tokenizer.json, model.max_seq_len, END_OF_TEXT)
        | processor_file(model),
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="folder of images with a metadata file (default: bundled glyphs)",
)

if __name__ == "__main__":
    run(main)
