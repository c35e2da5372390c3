"""Speech recognition: a sound in, its text out.

The full model trains as Whisper does (Radford et al., 2022, arXiv:2212.04356, appendix F).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.amounts import ITEMS
from metagen.tasks.schedule import Habits
from metagen.tasks.task import Benchmark, Dims, Lookup, Section, Task
from metagen.units import CLIP

CTC = "ctc"
OBJECTIVE = "training.objective"
# Peak learning rates of Whisper, by the parameters of the smallest size that has each.
RATES = {37_184_640: 1.5e-3, 71_825_920: 1e-3, 240_582_912: 5e-4, 762_321_920: 2.5e-4}
LARGEST_RATE = 1.75e-4  # Whisper large has this rate.
CTC_SHARE = 0.3  # CTC's weight in the loss, where both objectives are declared
CLIPS_AT_ONCE = 16  # clips of half a minute that pass through the model at once, at most
BEAMS = 5


class SpeechRecognition(Task):
    """From log-mel spectrograms (B, M, F), and tokens (B, T) so far, to logits of the next."""

    name = "speech_recognition"
    metrics = ("word_error_rate", "character_error_rate")
    switches = (("no hidden bands in training", "data.masked_bands", 0),)
    # The quick training takes about half a minute of one thread, the full one some minutes.
    benchmark = Benchmark(
        "spoken digits in a row, of unheard voices",
        {"quick": 500, "full": 4000},
        ("espeakng-loader", "scipy"),
        seeds=1,
        sheets=("spoken_digits_in_a_row",),
    )
    words = {
        "pipeline_tag": "automatic-speech-recognition",
        "unit": "clip",
        "loss_unit": "nat/token",
        "usage": "--input speech.wav",
        "does": "prints the text of a sound",
        "data": "digits in a row that a formant synthesizer speaks, with noise",
        "outcome": "Spectrograms of clips of the test split, with what is said in them and what "
        "the proxy writes.",
        "risks": "words, accents, voices and noises other than those of the test split, errors "
        "that differ between groups of speakers, and text of what nobody said",
    }
    work_unit = "clip"
    rates = (CLIP,)
    units = ("clips", "utterances", "recordings", "pairs", *ITEMS)
    input = "clip"
    defaults = {
        "sample_rate": 16_000,
        "n_fft": 400,
        "hop_length": 160,
        "n_mels": 80,
        "audio_positions": 1500,
    }
    default_reasons = {
        "sample_rate": "16,000 samples a second, as Whisper",
        "n_fft": "windows of 25 ms, as Whisper",
        "hop_length": "a frame every 10 ms, as Whisper",
        "n_mels": "80 bands, as Whisper up to large-v2",
        "audio_positions": "30 seconds, as Whisper; a position is two frames",
    }
    # The bundled clips have 1.92 seconds at most.
    proxy = {
        "sample_rate": 8000,
        "n_fft": 256,
        "hop_length": 160,
        "n_mels": 32,
        "audio_positions": 48,
    }

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        sizes = [rate for least, rate in RATES.items() if parameters <= 1.1 * least]
        return Habits(
            batch=256,
            rate=sizes[0] if sizes else LARGEST_RATE,
            decay=0.1,
            warmup=2048,
            source="as Whisper",
            why={"learning_rate": "that of the smallest Whisper of about this size or more"},
            units=self.units,
            steps=1_048_576,
            samples_at_once=CLIPS_AT_ONCE,
            at_once=f"{CLIPS_AT_ONCE} clips",
            beta2=0.98,
            final_lr_share=0.0,
        )

    def proxy_habits(self, m: Dims) -> Habits:
        return Habits(batch=16, rate=4e-3, decay=0.01, warmup=40, beta2=0.98, final_lr_share=0.02)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "masked_bands": 4 if reduced else 27,
            "masked_frames": 0 if reduced else 100,
            "val_fraction": 0.1 if reduced else 0.01,
            "test_fraction": 0.2 if reduced else 0.01,
        }

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        # The proxy has too few updates to find by attention alone which sounds a word is of.
        both = reduced or CTC in (key(OBJECTIVE) or ())
        return {"ctc_share": CTC_SHARE if both and m["n_decoder_layers"] else 0.0}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 32 if reduced else 8, "baseline_clips": 400}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        # The memory of the full model is counted in 16 bits.
        return {"beams": BEAMS, "dtype": "auto" if reduced else "bfloat16"}

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shapes of spectrograms of `length` clips, and of their longest texts."""
        frames = 2 * int(m["audio_positions"])
        audio = {"shape": [length, int(m["n_mels"]), frames], "dtype": "float32"}
        tokens = {"shape": [length, int(m["text_length"])], "dtype": "int64"}
        return [audio, tokens] if m["text_length"] else [audio]

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        share = (
            "an encoder alone has no other loss"
            if not full["model"]["n_decoder_layers"]
            else f"{OBJECTIVE} names both; chosen, not published: the text is the decoder's, whose "
            "loss has the larger part"
            if full["train"]["ctc_share"]
            else f"{OBJECTIVE} names no {CTC}, and Whisper has none"
        )
        return {
            "train.ctc_share": share,
            "data.masked_bands": "as Whisper large-v2: SpecAugment's policy for LibriSpeech",
            "data.masked_frames": "as Whisper large-v2: SpecAugment's policy for LibriSpeech",
            "infer.beams": f"{BEAMS}, as Whisper's section 4.5",
        }


def clip_seconds(m: Dims) -> float:
    """Return the seconds of a clip: 2P frames."""
    return float(2 * m["audio_positions"] * m["hop_length"] / m["sample_rate"])
