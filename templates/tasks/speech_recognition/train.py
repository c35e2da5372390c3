"""Train a model of speech to text on your sounds, or on digits that eSpeak NG speaks.

    python train.py                                       the proxy, on the spoken digits
    python train.py --data my_sounds --steps 2000         the proxy, on your sounds
    python train.py --size full --data my_sounds          the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

The tokenizer is trained on the texts of the train split. Writes OUT/run.json, OUT/metrics.jsonl and
OUT/checkpoint.
"""

import argparse
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import NO_TARGET, batch_at, batches, load_speech
from data import Config as DataConfig
from model import END_OF_TEXT, START, Model
from model import Config as ModelConfig
from runtime.checkpoint import to_json
from runtime.errors import run
from runtime.job import Batch, Job
from runtime.settings import Training
from runtime.tokenizer import END_OF_TEXT as END_OF_TEXT_NAME
from runtime.tokenizer import tokenizer_files
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the model is trained."""

    ctc_share: float = 0.0
    """Share of the loss that is CTC's, of the encoder; the rest is the decoder's."""


def ctc_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the summed CTC loss of logits (B, P, V) in nats (Graves et al., 2006, section 4).

    -log of the summed chances of all paths that a text has through the positions of its clip.
    """
    said = targets > START  # without the end and what fills up, (B, T)
    lengths = torch.full((len(logits),), logits.size(1), device=logits.device)
    chances = logits.float().log_softmax(-1).transpose(0, 1)  # (P, B, V)
    texts, sizes = targets.masked_fill(~said, START), said.sum(1)
    return F.ctc_loss(chances, texts, lengths, sizes, blank=END_OF_TEXT, reduction="sum")


def speech_loss(module: nn.Module, batch: Batch, ctc_share: float) -> tuple[Tensor, int]:
    """Return the loss for each token in nats, and the number of tokens.

    (1 - s) * -(1 / N) * sum over tokens of log p(token | the clip, the tokens before it), and
    s * CTC / N, for N tokens with the ends of texts. Without a decoder the second is all.
    """
    audio, before, after = batch
    count = int((after != NO_TARGET).sum())
    if not ctc_share:
        return _of_tokens(module(audio, before), after), count
    if ctc_share == 1:
        return ctc_loss(module(audio), after) / count, count
    logits, heard = module(audio, before, joint=True)
    loss = (1 - ctc_share) * _of_tokens(logits, after) + ctc_share * ctc_loss(heard, after) / count
    return loss, count


def _of_tokens(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=NO_TARGET)


def share_of(config: Config, model: ModelConfig) -> float:
    """Return the share of CTC: all of the loss where there is no decoder."""
    return config.ctc_share if model.n_decoder_layers else 1.0


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory: texts of the longest length."""
    c = model.config
    audio = torch.zeros(samples, c.n_mels, c.frames())
    # CTC's sums over paths are small beside the logits, and need numbers that dummies lack.
    length = c.text_length or c.audio_positions
    tokens = torch.full((samples, length), START + 1)
    logits = model(audio, tokens) if c.text_length else model(audio)
    assert isinstance(logits, Tensor)
    return _of_tokens(logits, tokens)


def processor_file(model: ModelConfig) -> dict[str, str]:
    """Return the file from which transformers learns the form of the spectrograms."""
    settings = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": model.n_mels,
        "sampling_rate": model.sample_rate,
        "hop_length": model.hop_length,
        "n_fft": model.n_fft,
        "chunk_length": model.samples() / model.sample_rate,
        "padding_value": 0.0,
        "return_attention_mask": False,
    }
    return {"preprocessor_config.json": to_json(settings)}


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    speech = load_speech(data, args.data, model, args.begin)
    share = share_of(config, model)
    return Job(
        config=config,
        data=data,
        name=speech.name,
        sha256=speech.sha256,
        splits={split: len(each) for split, each in speech.splits.items()},
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(speech, data, start, count, config.seed),
        held_out=lambda size: batches(speech, "val", size),
        loss=lambda module, batch: speech_loss(module, batch, share),
        example=example_loss,
        unit="clips",
        texts=tokenizer_files(
            speech.words.library.json, model.text_length or model.audio_positions, END_OF_TEXT_NAME
        )
        | processor_file(model),
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="folder of sounds with texts, see data.py (default: spoken digits)",
)

if __name__ == "__main__":
    run(main)
