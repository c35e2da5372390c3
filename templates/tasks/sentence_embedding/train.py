"""Train the embedder on your pairs of texts, or on translations that come with Django.

    python train.py                                       the proxy, on the bundled pairs
    python train.py --data pairs.csv --steps 2000         the proxy, on your pairs
    python train.py --size full --data pairs.csv          the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
`AutoModel.from_pretrained("out/checkpoint")`, and sentence-transformers with
`SentenceTransformer("out/checkpoint")`.

A pair is contrasted with the other pairs of its update, in all processes. With --grad-accum, it is
contrasted with those of its own part only.
"""

import argparse
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import batch_at, batches, load_dataset
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import to_json
from runtime.device import in_float32
from runtime.distributed import world_size
from runtime.errors import fail, run
from runtime.gather import gather, own_places
from runtime.job import Batch, Job
from runtime.sequences import partly_hidden
from runtime.settings import Training
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the embedder is trained."""

    token_drop: float = 0.0
    """Share of a text's tokens that training hides from the model."""
    temperature: float = 0.05
    """Divides the cosines; a lower one punishes the nearest wrong pairs more."""


def contrastive_loss(module: nn.Module, batch: Batch, config: Config) -> tuple[Tensor, int]:
    """Return InfoNCE with in-batch negatives in nats, and the number of this process's pairs.

    -(1 / B) * sum over pairs i of log(exp(c_ii / t) / sum over j of exp(c_ij / t)), with c_ij the
    cosine of a_i and b_j; the mean of this and of the same from b to a (van den Oord et al., 2018,
    arXiv:1807.03748). j runs over the pairs of this part of the update, in all processes, without
    those that mean the same as i.

    Args:
        module: Embeds texts.
        batch: Tokens (B, 2, T), and marks (B, 3): the part, and the meanings of both texts.
        config: Has t, its `temperature`.
    """
    tokens, marks = batch
    if module.training:
        tokens = partly_hidden(tokens, config.token_drop)
    own = F.normalize(module(tokens.flatten(0, 1)).float(), dim=-1).view(len(tokens), 2, -1)
    every, every_mark = gather(own), gather(marks)  # (N, 2, d_model), (N, 3)
    partner = own_places(own, every)
    part, first, second = (marks[:, i, None] == every_mark[:, i] for i in range(3))  # (B, N)
    # A text of the same meaning is no wrong answer, so it is not contrasted.
    apart = part & ~first & ~second
    apart[torch.arange(len(own)), partner] = True
    # Cosines, divided by a small temperature, need more digits than bfloat16 has.
    with in_float32(own.device):
        directions = (own[:, 0] @ every[:, 1].T, own[:, 1] @ every[:, 0].T)
    scores = [c.div(config.temperature).masked_fill(~apart, -torch.inf) for c in directions]
    loss = F.cross_entropy(scores[0], partner) + F.cross_entropy(scores[1], partner)
    return loss / 2, len(own)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    tokens = torch.ones(samples, 2, data.max_len, dtype=torch.int64)
    marks = torch.arange(samples).unsqueeze(1).expand(-1, 3)
    return contrastive_loss(model, (tokens, marks), Config())[0]


def vector_files(width: int, max_len: int) -> dict[str, str]:
    """Return the files by which sentence-transformers gives the vectors of infer.py.

    Args:
        width: Dimensions of a vector.
        max_len: Tokens to which a text is cut.
    """
    # Each step of a vector has a folder; the network lies in the checkpoint itself.
    steps = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{name}"}
        for n, (name, path) in enumerate(steps.items())
    ]
    # BERT's pooler would get random weights: the mean of the tokens needs none.
    network = {"max_seq_length": max_len, "model_args": {"add_pooling_layer": False}}
    pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True}
    return {
        "modules.json": to_json(modules),
        "sentence_bert_config.json": to_json(network),
        "1_Pooling/config.json": to_json(pooling),
        "2_Normalize/config.json": to_json({}),
    }


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    texts = load_dataset(data, args.data, model, args.begin)
    part = part_size(config, world_size())
    return Job(
        config=config,
        data=data,
        name=texts.name,
        sha256=texts.sha256,
        splits={split: len(pairs) for split, pairs in texts.splits.items()},
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(texts, start, count, part, data.max_len, config.seed),
        held_out=lambda size: batches(texts, "val", data.max_len, size),
        loss=lambda module, batch: contrastive_loss(module, batch, config),
        example=example_loss,
        identity={"part": part},
        unit="pairs",
        texts=texts.tokenizer.files(data.max_len) | vector_files(model.d_model, data.max_len),
    )


def part_size(config: Config, processes: int) -> int:
    """Return how many pairs are contrasted with each other, or stop.

    That is a part of an update, however many processes share the work. So a part must lie in one
    process, or be spread over several of them evenly.
    """
    part, share = config.batch_size // config.grad_accum, config.batch_size // processes
    if part % share and share % part:
        fail(
            f"{share} pairs of a process and {part} of a part of the update do not divide each "
            "other: change --batch-size or --grad-accum."
        )
    return part


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="pairs of texts: .csv, .jsonl, .parquet, or a folder (default: bundled)",
)

if __name__ == "__main__":
    run(main)
