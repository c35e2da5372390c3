"""Train the two towers on your images and texts, or on glyphs and their names.

    python train.py                                       the proxy, on the bundled glyphs
    python train.py --data my_photos --steps 2000         the proxy, on your images and captions
    python train.py --size full --data my_photos          the full model
    python train.py --resume                              go on from the last checkpoint
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
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
from runtime.device import choose_device
from runtime.distributed import processes, rank
from runtime.errors import run
from runtime.gather import gather
from runtime.options import shared_options, sized, training_options
from runtime.settings import load_config
from runtime.tokenizer import tokenizer_files
from runtime.training import Batch, Task, named, settings, train


@dataclass(frozen=True)
class Config:
    """How the model is trained."""

    steps: int = 10000
    """Updates; the learning rate's schedule spans them."""
    batch_size: int = 64
    """Pairs in an update."""
    grad_accum: int = 1
    """Parts in which one process passes an update; a pair is told from those of its part."""
    learning_rate: float = 0.0003
    """Peak learning rate."""
    warmup_steps: int = 500
    """Updates in which the rate rises to its peak."""
    final_lr_share: float = 0.1
    """Share of the peak at which the cosine ends."""
    weight_decay: float = 0.1
    """Decay of matrices; biases and gains are not decayed."""
    beta1: float = 0.9
    """AdamW's memory of the gradient."""
    beta2: float = 0.95
    """AdamW's memory of its square."""
    grad_clip: float = 1.0
    """Greatest norm of the gradient."""
    eval_every: int = 500
    """Updates between two looks at the validation split."""
    eval_batches: int = 16
    """Batches of the validation split in such a look, at most."""
    save_every: int = 500
    """Updates between two checkpoints."""
    dtype: str = "auto"
    """auto, float32, or bfloat16 (autocast; weights stay float32)."""
    seed: int = 42
    """Draws the first weights and the order of pairs."""


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "train", "proxy"), Config()
    parser = shared_options(
        __doc__,
        data="folder of images with a metadata file (default: bundled glyphs)",
        steps=f"stop after this many updates in all {sized(proxy, full, 'steps')}",
        batch_size=f"pairs in an update {sized(proxy, full, 'batch_size')}",
        seed=f"of the weights and of the order of pairs {sized(proxy, full, 'seed')}",
        resume="go on from the checkpoint",
    )
    training_options(parser, proxy, full)
    return parser.parse_args()


def contrastive_loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the symmetric contrastive loss in nats, and the number of pairs.

    The mean of two cross-entropies, of the right text of each image among all texts and of the
    right image of each text among all images (arXiv:2103.00020, figure 3). All are those of this
    part of the update, in all processes.
    """
    images, tokens = batch  # (B, C, H, W), (B, T)
    image, text = (vectors.float() for vectors in module(images, tokens))  # (B, E) each
    images_of_all, texts_of_all = gather(image), gather(text)
    start = rank() * len(image) if len(images_of_all) > len(image) else 0
    right = torch.arange(start, start + len(image), device=image.device)
    with torch.autocast(image.device.type, enabled=False):  # bfloat16 tells few logits apart
        by_image = F.cross_entropy(image @ texts_of_all.T, right)
        by_text = F.cross_entropy(text @ images_of_all.T, right)
    return (by_image + by_text) / 2, len(image)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of some pairs without a meaning, to count what it takes."""
    c = model.config
    images = torch.zeros(samples, c.in_channels, c.image_size, c.image_size)
    tokens = torch.zeros(samples, c.max_seq_len, dtype=torch.int64)
    loss, _ = contrastive_loss(model, (images, tokens))
    return loss


def held_out(pairs: Pairs, size: int) -> Iterator[Batch]:
    """Yield the batches of the validation split that are full: their losses can be compared."""
    val = pairs.splits["val"]
    size = min(size, len(val))
    for start in range(0, len(val) - size + 1, size):
        some = val[start : start + size]
        yield pairs.images(some), pairs.tokens(some)


def processor_file(model: ModelConfig) -> dict[str, str]:
    """Return the file by which transformers brings an image to the form that the model knows."""
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": model.in_channels == 3,
        "size": {"shortest_edge": model.image_size},
        "crop_size": {"height": model.image_size, "width": model.image_size},
        "image_mean": [0.5] * model.in_channels,
        "image_std": [0.5] * model.in_channels,
    }
    return {"preprocessor_config.json": to_json(settings)}


def task(args: argparse.Namespace, config: Config) -> Task:
    """Return what there is to train: the model, the pairs and the loss."""
    data = load_config(DataConfig, "data", args.size)
    model = load_config(ModelConfig, "model", args.size)
    pairs = load_pairs(data, args.data, model)
    return Task(
        config=config,
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(pairs, data, start, count, config.seed),
        held_out=lambda size: held_out(pairs, size),
        loss=contrastive_loss,
        example=lambda module: example_loss(module, 1, data),
        identity={"sha256": pairs.sha256, **named(data=data)},
        unit="pairs",
        texts=tokenizer_files(pairs.tokenizer.json) | processor_file(model),
    )


def main() -> None:
    """Train on the device of this process, together with the others."""
    args = command_line()
    config = settings(Config, args)
    device = choose_device(args.device, args.threads)
    with processes(device):
        train(task(args, config), args, device)


if __name__ == "__main__":
    run(main)
