"""Train the codec, then the language model, on your sounds or on digits that eSpeak NG speaks.

    python train.py                                       the proxy, on the spoken digits
    python train.py --data my_sounds --steps 2000         the proxy, on your sounds
    python train.py --size full --data my_sounds          the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

The first updates train the codec alone; the others, the language model on the codec's tokens. The
learning rate rises and falls once in each of these two stages, and the losses that are written are
those of the stage. Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint.
"""

import argparse
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import batch_at, batches, load_clips
from model import Config as ModelConfig
from model import Model, conditions
from runtime.errors import run
from runtime.job import Batch, Job, Stage
from runtime.settings import Training
from runtime.spectra import log_mel_distance
from runtime.training import script

WAVE = 0.1  # Weight of the samples beside the spectra, as EnCodec's (its section 3.4).


@dataclass(frozen=True)
class Config(Training):
    """How codec and language model are trained."""

    codec_share: float = 0.3
    """Share of the updates, the first ones, that train the codec."""
    commitment: float = 0.25
    """Weight of the distance that holds the encoder's latents to their entries of the codebooks."""
    codebook_rate: float = 5.0
    """Multiple of the learning rate for the codebooks."""


def codec_loss(module: nn.Module, batch: Batch, rate: int, commitment: float) -> tuple[Tensor, int]:
    """Return the codec's loss of clips, and their number.

    |log-mel - log-mel'| + 0.1 |x - x'| + |sg(z) - e|^2 + commitment * |z - sg(e)|^2, where x' is
    what the codec makes of x, z its latents and e their entries.
    """
    wave = batch[0]  # (B, S)
    made, drawn, held = module(wave, task="codec")
    made = made[:, 0].float()
    spectral = log_mel_distance(made, wave, rate).mean()
    loss = spectral + WAVE * F.l1_loss(made, wave) + drawn + commitment * held
    return loss, len(wave)


def token_loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of the tokens of clips in nats, and the number of clips.

    -(1 / KT) * sum over k and t of log p(token k of frame t | the tokens before it, the caption),
    where frame t of codebook k comes after frame t + k - j of each codebook j before it.
    """
    wave, *text = batch
    return module(wave, *text, task="loss"), len(wave)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory: that of the language model."""
    c = model.config
    codes = torch.zeros(samples, c.n_codebooks, data.seq_len, dtype=torch.int64)
    logits = model(codes, *conditions(c, [""] * samples))
    return F.cross_entropy(
        logits.flatten(0, 2).float(), torch.zeros_like(logits[..., 0]).flatten().long()
    )


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    clips = load_clips(data, args.data, model)
    train, val = clips.splits["train"], clips.splits["val"]
    return Job(
        config=config,
        data=data,
        name=clips.name,
        sha256=clips.sha256,
        splits={split: len(each) for split, each in clips.splits.items()},
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(train, start, count, model, config.seed),
        held_out=lambda size: batches(val, size, model),
        loss=lambda module, batch: codec_loss(module, batch, model.sample_rate, config.commitment),
        stages=(Stage(config.codec_share, token_loss),),
        # Few numbers of a codebook get a gradient at an update, and all must follow the encoder.
        rates={"codec.codebooks": config.codebook_rate},
        example=example_loss,
        unit="frames",
        counted="clips",
        amount=data.seq_len,
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="folder of sounds, see data.py (default: spoken digits)",
)

if __name__ == "__main__":
    run(main)
