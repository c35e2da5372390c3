"""Train the model on your images, questions and answers, or on questions about composed scenes.

    python train.py                                       the proxy, on the bundled questions
    python train.py --data my/rows.jsonl --steps 2000     the proxy, on your questions
    python train.py --size full --data my/rows.jsonl      the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Only tokens of answers are learned: image and prompt are given. Writes OUT/run.json,
OUT/metrics.jsonl and OUT/checkpoint.
"""

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data import Config as DataConfig
from data import batch_at, batches, load_questions
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import to_json
from runtime.errors import run
from runtime.job import Batch, Job
from runtime.settings import Training
from runtime.tokenizer import tokenizer_files
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the model is trained."""


def answer_loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of the tokens of answers in nats, and their number.

    -(1 / A) * sum over i of log p(a_i | image, prompt, a_1 ... a_{i-1}), where the end of the text
    is the last token of an answer.
    """
    images, tokens, prompts, targets = batch
    return module(images, tokens, prompts, targets), int((targets >= 0).sum())


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    c = model.config
    images = torch.zeros(samples, c.num_channels, c.image_size, c.image_size)
    tokens = torch.zeros(samples, data.text(c), dtype=torch.int64)
    prompts = torch.full((samples,), data.text(c) // 2)
    loss: Tensor = model(images, tokens, prompts, tokens)
    return loss


def processor_file(model: ModelConfig) -> dict[str, str]:
    """Return the file from which transformers learns how to prepare an image for the model."""
    settings = {
        "image_processor_type": "SiglipImageProcessor",
        "do_convert_rgb": model.num_channels == 3,
        "size": {"height": model.image_size, "width": model.image_size},
        "image_mean": [0.5] * model.num_channels,
        "image_std": [0.5] * model.num_channels,
    }
    return {"preprocessor_config.json": to_json(settings)}


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    whole = load_questions(data, args.data, model, args.begin)
    tokenizer = whole.tokenizer
    return Job(
        config=config,
        data=data,
        name=whole.name,
        sha256=whole.sha256,
        splits={split: len(each) for split, each in whole.splits.items()},
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(whole, start, count, config.seed),
        held_out=lambda size: batches(whole, "val", size),
        loss=answer_loss,
        example=example_loss,
        unit="tokens",
        counted="questions",
        amount=data.text(model),
        entries={
            "bos_token_id": None,
            "eos_token_id": tokenizer.end_of_text,
            "pad_token_id": tokenizer.padding,
        },
        texts=tokenizer_files(tokenizer.json, model.max_seq_len) | processor_file(model),
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="rows with image, prompt and answer, see data.py (default: bundled scenes)",
)

if __name__ == "__main__":
    run(main)
