"""Audio generation: a codec writes clips as tokens, and a language model continues the tokens.

The full model trains as MusicGen does (Copet et al., 2023, arXiv:2306.05284, section 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from metagen.amounts import ITEMS
from metagen.tasks.schedule import Habits
from metagen.tasks.task import Benchmark, Dims, Lookup, Section, Task
from metagen.units import CLIP

CLIP_FRAMES = 1500  # the 30 seconds that MusicGen trains on
PROXY_FRAMES = 32  # 0.64 s, as long as most spoken digits
CODEC_SHARE = 0.3  # A codec that changes late would change what the tokens mean.
PASS_FRAMES = 2**14  # frames that pass through the model at once, at most
STRIDES = ("stride_1", "stride_2", "stride_3", "stride_4")
HABITS = Habits(
    batch=192,
    rate=1e-4,
    decay=0.1,
    warmup=4000,
    source="as MusicGen",
    why={"learning_rate": "the default of audiocraft, with which MusicGen was trained"},
    units=("clips", "recordings", "tracks", "songs", "utterances", "pairs", *ITEMS),
    steps=1_000_000,
    at_once=f"{PASS_FRAMES:,} frames",
    beta2=0.95,
)


class AudioGeneration(Task):
    """From the tokens (B, K, T) of clips, with captions or without, to those that follow."""

    name = "audio_generation"
    metrics = ("bits_per_token", "bits_per_second", "log_mel_distance")
    # The quick training takes about half a minute of one thread, the full one a few minutes.
    benchmark = Benchmark(
        "spoken digits of unheard voices",
        {"quick": 360, "full": 4000},
        ("espeakng-loader", "scipy"),
        seeds=1,
        sheets=("spoken_digits",),
    )
    words = {
        "pipeline_tag": "text-to-audio",
        "unit": "frame",
        "loss_unit": "nat/token",
        "usage": "",
        "does": "writes a clip",
        "data": "digits that a formant synthesizer speaks",
        "outcome": "Spectrograms of clips of the test split, of what the proxy's codec makes of "
        "them, and of their second halves as the proxy continues their first.",
        "risks": "the quality of the sound to listeners, how results carry over to other sounds, "
        "imitation of voices and of protected works, and memorisation",
    }
    work_unit = "tok"
    rates = (CLIP,)
    units = HABITS.units
    input = "clip"
    proxy = {"sample_rate": 8000, "max_seq_len": 4 * PROXY_FRAMES}

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return replace(HABITS, samples_at_once=max(1, PASS_FRAMES // clip_frames(m)))

    def proxy_habits(self, m: Dims) -> Habits:
        return replace(HABITS, batch=8, rate=5e-3, decay=0.0, warmup=20, final_lr_share=0.02)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "seq_len": PROXY_FRAMES if reduced else clip_frames(m),
            "val_fraction": 0.1 if reduced else 0.01,
            "test_fraction": 0.2 if reduced else 0.01,
        }

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"codec_share": CODEC_SHARE, "commitment": 0.25, "codebook_rate": 5.0}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 32 if reduced else 8, "baseline_clips": 2000}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "frames": PROXY_FRAMES if reduced else min(500, clip_frames(m)),
            "temperature": 1.0,
            "top_k": 0 if reduced else 250,
            "seed": key("reproducibility.seed"),
            # The memory of the full model is counted in 16 bits.
            "dtype": "auto" if reduced else "bfloat16",
        }

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shapes of the tokens of a clip of `length` frames, and of a caption."""
        shape, size = [1, int(m["n_codebooks"]), length], int(m["codebook_size"])
        tokens = {"shape": shape, "dtype": "int64", "below": size}
        caption = {"shape": [1, int(m["text_length"])], "dtype": "int64"}
        return [tokens, caption] if m["text_length"] else [tokens]

    def left_out(self, key: Lookup) -> dict[str, str]:
        name = "training.objective"
        diffusion = "diffusion" in (key(name) or ())
        why = "the model predicts tokens autoregressively, and has no diffusion"
        return {name: why} if diffusion else {}

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        return {
            "data.seq_len": f"the window, at most {CLIP_FRAMES:,} frames as MusicGen",
            "train.codec_share": "chosen, not published: MusicGen's codec was trained apart",
            "train.commitment": "as VQ-VAE, arXiv:1711.00937",
            "train.codebook_rate": "chosen, not published: few entries get a gradient at an update",
        }


def hop(m: Dims) -> int:
    """Return the samples of a frame."""
    product = 1
    for name in STRIDES:
        product *= int(m[name])
    return product


def clip_frames(m: Dims) -> int:
    """Return the frames of a training clip: the window, up to MusicGen's."""
    return min(CLIP_FRAMES, int(m["max_seq_len"]))
