"""The diffusion Transformer of talking heads: blocks of Wan that hear speech and read a caption.

A chunk of a video is generated beside a portrait and the frames before it. Cross-attention has one
query for the caption and for the sound, as FantasyTalking's (arXiv:2504.04842).

Symbols: d = d_model, f = d_ff, T = steps of patches of a pass, S = patches of a step, L =
text_length, K = spectra that a step hears.
"""

from __future__ import annotations

from collections.abc import Iterable

from metagen.families import captions, parts
from metagen.families.axes import Axis, Rule
from metagen.families.demand import Need
from metagen.families.diffusion import two_layers
from metagen.families.family import Dims, Figures, Peak, Value
from metagen.families.parts import Part
from metagen.families.trend import Trend
from metagen.families.video_dit import VideoDiT, generated, numbers
from metagen.tasks.talking_head_generation import (
    SAMPLES_A_BAND,
    TICKS,
    TalkingHeadGeneration,
    bands,
)


class TalkingHeadDiT(VideoDiT):
    """Patches of a portrait and of a chunk; blocks that also read a caption and the sound."""

    name = "talking_head_dit"
    kind = "diffusion Transformer of talking heads"
    task = TalkingHeadGeneration()
    components = f"{VideoDiT.components} {captions.COMPONENTS} audio_encoder cross_attention"
    size_column = "params_of_blocks"
    size_unit = "parameters of blocks of this form"
    rules = (
        *VideoDiT.rules,
        captions.RULE,
        Rule(
            ("sample_rate", "frame_rate"),
            lambda m: m["sample_rate"] % (SAMPLES_A_BAND * m["frame_rate"]) == 0,
            f"a frame has whole spectra, so sample_rate must be a multiple of {SAMPLES_A_BAND} x "
            "frame_rate",
        ),
    )
    constants = {
        **VideoDiT.constants,
        "audio_reach": (2, "a window of five frames, as MultiTalk"),
        **captions.CONSTANTS,
    }
    # The proxy has about 0.4 million parameters.
    proxy_dims = {
        **VideoDiT.proxy_dims,
        "patch_size": 6,
        "audio_reach": 1,
        "text_length": 32,
        "text_width": 32,
        "text_layers": 1,
        "text_heads": 2,
        "vocab_size": captions.ENTRIES,
    }
    still_steps = 1  # The portrait is a step of its own.

    def parts(self, m: Dims) -> list[Part]:
        """Return what reads the caption and the sound, and the Transformer around its blocks.

        A block has 6d^2 + 2df weights for the patches, and 2d^2 for keys and values of the caption
        and as many for those of the sound; biases, gains and a table of six vectors: 24d + f.
        """
        d, length, heard = (int(each) for each in (m["d_model"], m["text_length"], spectra(m)))
        n, spoken = self.context(m), self.steps(m) * heard
        hidden, embedded = two_layers(int(m["time_dim"]), d)
        return [
            *captions.text_encoder(m),
            *_each(two_layers(int(m["text_width"]), d), length),
            *_each(two_layers(bands(m), d), spoken),
            parts.table(heard, d),
            parts.linear(2 * numbers(m), d, n),  # beside those of the portrait
            *_each((hidden, embedded, parts.linear(d, 6 * d)), 2),
            *self.blocks(m),
            parts.table(2, d),
            parts.linear(d, numbers(m), self.noisy(m)),
        ]

    def blocks(self, m: Dims) -> list[Part]:
        """Return the blocks: their patches, and their keys and values of caption and sound."""
        d, f, n = int(m["d_model"]), int(m["d_ff"]), self.context(m)
        length, heard = int(m["text_length"]), spectra(m)
        block = Part(6 * d * d + 2 * d * f, 18 * d + f, n)
        read = n * (length + heard)
        keys = Part(2 * d * d, 3 * d)
        return [
            *(
                block._replace(pairs=4 * (each + read) * d, times=times)
                for each, times in self.pairs(m)
            ),
            keys._replace(places=length, times=int(m["n_layers"])),
            keys._replace(places=self.steps(m) * heard, times=int(m["n_layers"])),
        ]

    def peaks(self, m: Dims) -> list[Peak]:
        """Return the inside of a block, beside what all blocks read of the caption and the sound.

        Keys and values of the sound are there too while it is read.
        """
        (block,) = super().peaks(m)
        d, heard = int(m["d_model"]), self.steps(m) * spectra(m)
        length = int(m["text_length"])
        read = (length + 3 * heard) * d
        words = f"{block.words} + ({length:,} bytes + 3 x {heard:,} spectra) x {d:,}"
        return [Peak(block.numbers + read, words)]

    def size(self, m: Dims) -> int:
        """Return the parameters of the blocks, which the table of published models has."""
        return parts.count(self.blocks(m))

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        return (*captions.text_axes(need.budget), *super().axes(need, trend))

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        given = super().reasons(m, need, trend)
        return {
            **given,
            **captions.text_reasons(m, self.count(m), need.budget),
            "num_frames": f"{given['num_frames']}; the portrait is one step more",
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (*super().changes(m), ("sound of the own frames alone", "audio_reach", 0))

    def figures(self, m: Dims) -> Figures:
        return {
            **super().figures(m),
            **captions.text_figures(m),
            "bands": (bands(m), ""),
            "spectra_of_step": (spectra(m), ""),
            "chunk_seconds": (generated(m) / m["frame_rate"], "s"),
        }


def spectra(m: Dims) -> int:
    """Return the spectra that a step hears: those of its frames and of some on each side."""
    return int(TICKS * (m["patch_frames"] + 2 * m["audio_reach"]))


def _each(layers: Iterable[Part], places: int) -> list[Part]:
    return [layer._replace(places=places) for layer in layers]


FAMILY = TalkingHeadDiT()
