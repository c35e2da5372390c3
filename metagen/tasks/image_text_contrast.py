"""Contrast of images and texts.

The full model trains as CLIP does (Radford et al., 2021, arXiv:2103.00020, section 2.5 and tables
18 and 19).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.amounts import IMAGES, ITEMS
from metagen.tasks.schedule import Habits
from metagen.tasks.task import Benchmark, Dims, Lookup, Section, Task

SIDE = 224  # pixels, as in every published model
LENGTH = 77  # tokens of the longest text, as in every published model
# More pairs at once do not fit a device; pairs are contrasted with those of the same pass only.
PAIRS_AT_ONCE = 1024
SHIFT_SHARE = 1 / 14  # CLIP's random crop gives way to a shift of at most 16 of 224 pixels.


class ImageTextContrast(Task):
    """From an image (B, C, side, side) and a text (B, T) to two vectors of one space."""

    name = "image_text_contrast"
    compares_within_a_batch = True
    metrics = ("recall_at_1", "recall_at_10")
    switches = (("no random shifts", "data.shift", 0),)
    # The quick training takes about ten seconds of one thread, the full one about three minutes.
    benchmark = Benchmark(
        "glyphs and their names",
        {"quick": 160, "full": 2000},
        ("matplotlib",),
        sheets=("dejavu_glyphs",),
    )
    words = {
        "pipeline_tag": "zero-shot-image-classification",
        "unit": "pair",
        "loss_unit": "nat/pair",
        "usage": '--prompt "greek small letter omega"',
        "does": "finds the images that belong to a text, or with --input the texts of an image",
        "data": "glyphs of a font and their Unicode names",
        "outcome": "How often a right answer is among the first k, beside the baselines.",
        "risks": "bias, harmful associations of texts with images of people, and robustness",
    }
    work_unit = "img"
    units = ("pairs", "captions", *IMAGES, *ITEMS)
    input = "pair"
    defaults = {"in_channels": 3, "image_size": SIDE, "max_seq_len": LENGTH}
    default_reasons = {
        "in_channels": "colours: red, green and blue",
        "image_size": f"the {SIDE} pixels of every published model",
        "max_seq_len": f"the {LENGTH} tokens of CLIP and of every published model of its kind",
    }
    proxy = {
        "in_channels": 3,  # Pipelines of other libraries prepare every image in three colours.
        "image_size": 32,
        "vocab_size": 768,
        "max_seq_len": 32,
    }
    fixed_by = {"image_size": "constraints.image_size", "embed_dim": "task.embedding_dim"}

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return Habits(
            batch=32_768,
            rate=4e-4,
            decay=0.2,
            warmup=2000,
            source="as CLIP",
            why={
                "learning_rate": "as CLIP's ViT-L/14",
                "data": "as CLIP, since no number of pairs is declared",
            },
            units=self.units,
            data=400_000_000,
            epochs=32,
            samples_at_once=PAIRS_AT_ONCE,
            at_once=f"{PAIRS_AT_ONCE:,} pairs",
            beta2=0.98,
            final_lr_share=0.05,
        )

    def proxy_habits(self, m: Dims) -> Habits:
        return Habits(batch=128, rate=2e-3, decay=0.1, warmup=20, beta2=0.98, final_lr_share=0.05)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "shift": 2 if reduced else round(SHIFT_SHARE * m["image_size"]),
            "val_fraction": 0.05 if reduced else 0.01,
            "test_fraction": 0.175 if reduced else 0.01,
        }

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 64, "pairs": 1000, "baseline_pairs": 20_000}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"top": 5, "weight_bits": 16}

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shapes of images (length, C, side, side) and of texts (length, T)."""
        images = [length, m["in_channels"], m["image_size"], m["image_size"]]
        return [
            {"shape": images, "dtype": "float32"},
            {"shape": [length, m["max_seq_len"]], "dtype": "int64"},
        ]

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        return {"data.shift": "a fourteenth of the side, in place of CLIP's random crop"}
