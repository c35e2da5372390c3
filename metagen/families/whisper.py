"""Whisper: speech to text (Radford et al., 2022, arXiv:2212.04356), or its encoder with CTC.

Symbols: P positions of the encoder, each of two frames, T tokens of the longest text, d = d_model,
f = d_ff, M bands, V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from metagen.families import axes, parts
from metagen.families.axes import Axis, Rule
from metagen.families.blocks import Blocks
from metagen.families.demand import ALONE, Cost, Demand, Need, Use
from metagen.families.family import Dims, Figures, Lookup, Peak, Value, dim
from metagen.families.parts import HALF, Part
from metagen.families.trend import Row, Trend, rows
from metagen.tasks.speech_recognition import CTC, SpeechRecognition, clip_seconds
from metagen.units import CLIP

VOCABULARY = 51_864  # entries of the published English-only models
LENGTH = 448  # tokens of a text, in every published model
HEAD_DIMS = (64, 32, 16, 8)  # Published models have the first.
OF_A_DECODER = ("n_decoder_layers", "text_length")
WITHOUT = f"training.objective is {CTC} alone: the encoder writes the text, without a decoder"


class Whisper(Blocks):
    """Two convolutions and blocks over a spectrogram; blocks over tokens, which attend to them."""

    name = "whisper"
    kind = "speech-to-text Transformer"
    task = SpeechRecognition()
    components = (
        "transformer_encoder encoder audio_encoder transformer_decoder decoder convolution conv "
        "convolutional_stem log_mel spectrogram cross_attention embedding lm_head ctc_head"
    )
    traits = {
        "n_encoder_layers": dim("n_encoder_layers", "n_layers"),
        "d_model": dim("d_model"),
        "expansion": Blocks.traits["expansion"],
    }
    rules = (
        axes.divides("n_heads", "d_model", "the heads share the width evenly"),
        Rule(
            ("d_model",),
            lambda m: m["d_model"] % 2 == 0,
            "half of a position's numbers are sines and half cosines, so d_model must be even",
        ),
        Rule(
            OF_A_DECODER,
            lambda m: (m["n_decoder_layers"] > 0) == (m["text_length"] > 0),
            "a decoder has layers and places for tokens, so both of n_decoder_layers and "
            "text_length are 0, or neither",
        ),
    )
    zeros = frozenset(OF_A_DECODER)
    embedding_modules = ("embed_tokens",)
    proxy_dims = {
        **{"d_model": 64, "n_heads": 4, "d_ff": 128, "vocab_size": 320},
        **{"n_encoder_layers": 2, "n_decoder_layers": 1, "text_length": 16},
    }

    def fixed(self, key: Lookup) -> dict[str, Value]:
        """Return also that a spec of CTC alone has no decoder."""
        alone = key("training.objective") == (CTC,)
        return {**super().fixed(key), **(dict.fromkeys(OF_A_DECODER, 0) if alone else {})}

    def rows(self, published: bytes) -> list[Row]:
        """Return the models whose decoder is as deep as their encoder, which most sizes are of.

        The others are a large encoder with a decoder that was cut.
        """
        return [row for row in rows(published) if row["n_layers"] == row["decoder_layers"]]

    # What it is made of, and what it asks of its hardware.

    def parts(self, m: Dims) -> list[Part]:
        """Return the encoder; the decoder, if there is one, for the longest text; and the table."""
        written = m["text_length"] if m["n_decoder_layers"] else m["audio_positions"]
        # The output layer is the table of the tokens itself.
        output = parts.linear(m["d_model"], m["vocab_size"], written, bias=False)
        return [*encoder(m), *decoder(m), output]

    def peaks(self, m: Dims) -> list[Peak]:
        """Return the stem, a block of each side and the logits.

        The stem holds what its first convolution makes, before and after GELU. A block of the
        decoder holds the encoder's states, and their keys and values, beside what one of the
        encoder does.
        """
        d, places, entries = int(m["d_model"]), int(m["audio_positions"]), int(m["vocab_size"])
        length, inner = int(m["text_length"]), block_width(m)
        stem = 2 * places * (int(m["n_mels"]) + 2 * d)
        words = f"2 x {places:,} frames x ({m['n_mels']:,} bands + 2 x {d:,})"
        held = [
            Peak(stem, words),
            Peak(places * inner, f"encoder {places:,} positions x {inner:,}"),
        ]
        if not length:
            out = f"logits {places:,} positions x ({d:,} + {entries:,})"
            return [*held, Peak(places * (d + entries), out)]
        read, written = 3 * places * d, length * inner
        across = f"decoder 3 x {places:,} positions x {d:,} + {length:,} tokens x {inner:,}"
        out = f"logits {places:,} positions x {d:,} + {length:,} tokens x ({d:,} + {entries:,})"
        return [
            *held,
            Peak(read + written, across),
            Peak(places * d + length * (d + entries), out),
        ]

    def demand(self, m: Dims, use: Use = ALONE) -> Demand:
        """Return what the longest text of one clip takes, which is written token by token.

        Each token reads the decoder's weights, and the keys and values of those before it and of
        the clip. With CTC all of a text comes out of one pass.
        """
        one, tokens = super().demand(m, use), int(m["text_length"])
        seconds = {CLIP: 60 * clip_seconds(m)}
        if not tokens:
            return replace(one, worth=seconds)
        head = m["vocab_size"] * m["d_model"]
        written = HALF * (parts.count(decoder(m)) + head)
        cached = cache_bytes(m)
        first = Cost(
            one.first.flops / use.batch,
            float(HALF * parts.count(encoder(m)) + tokens * (written + cached)),
            float(tokens * cached),
            calls=tokens,
        )
        return replace(one, cache=use.batch * cached, first=first.at_once(use.batch), worth=seconds)

    def explained(self, m: Dims, parameters: int, use: Use = ALONE) -> dict[str, str]:
        words = super().explained(m, parameters, use)
        if not m["text_length"]:
            return words
        at_once = f" x {use.batch} requests" if use.batch > 1 else ""
        cache = (
            f"2 x {m['n_decoder_layers']} layers x {m['d_model']:,} x ({m['text_length']:,} tokens "
            f"+ {m['audio_positions']:,} positions) x {HALF} bytes{at_once}"
        )
        return {**words, "cache": cache}

    # The space around published models.

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget
        depth, width = (trend.lines[name].at(budget) for name in ("n_encoder_layers", "d_model"))
        depths = axes.depths_near(depth)
        widths = axes.near(width, step_of(width))

        def narrow(m: Dims) -> Iterable[int]:
            return self.within(budget, widths, lambda d: least({**m, "d_model": d}, budget), 8)

        return (
            *self.usual(),
            Axis("n_encoder_layers", lambda m: depths, grid=True),
            Axis("n_decoder_layers", lambda m: (m["n_encoder_layers"],)),
            Axis("text_length", lambda m: (LENGTH if m["n_decoder_layers"] else 0,)),
            Axis("d_model", narrow, grid=True),
            Axis("n_heads", lambda m: axes.heads(m["d_model"], HEAD_DIMS)[:1]),
            Axis("vocab_size", lambda m: (entries(m["d_model"], budget),)),
            self.inner_axis(budget),
        )

    # Words, the scaled-down model and its variants.

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        table = axes.table_reason(int(m["vocab_size"]), VOCABULARY, int(m["d_model"]), need.budget)
        share = m["vocab_size"] * m["d_model"] / self.count(m)
        decoder_reasons = {
            "n_decoder_layers": "as many as the encoder, as in Whisper from tiny to large",
            "text_length": f"the {LENGTH} tokens of Whisper",
        }
        return {
            **super().reasons(m, need, trend),
            **(decoder_reasons if m["text_length"] else dict.fromkeys(OF_A_DECODER, WITHOUT)),
            "n_heads": f"heads of {m['d_model'] / m['n_heads']:g} dimensions; published models "
            f"have {HEAD_DIMS[0]}",
            "vocab_size": f"{table}; the table holds {share:.1%} of the parameters",
        }

    def proxy(self, m: Dims) -> dict[str, Value]:
        """Return a small model that has a decoder if the full one has."""
        small = super().proxy(m)
        return small if m["text_length"] else {**small, **dict.fromkeys(OF_A_DECODER, 0)}

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (
            ("half the depth of the decoder", "n_decoder_layers", m["n_decoder_layers"] // 2),
            ("half the depth of the encoder", "n_encoder_layers", m["n_encoder_layers"] // 2 or 1),
            ("half the bands", "n_mels", m["n_mels"] // 2),
            ("feed-forward layers of twice the width", "d_ff", 2 * m["d_model"]),
        )

    def figures(self, m: Dims) -> Figures:
        """Return the parameters of each side, and what a clip is cut into."""
        frames = m["sample_rate"] / m["hop_length"]
        return {
            "encoder_parameters": (parts.count(encoder(m)), "parameters"),
            "decoder_parameters": (parts.count(decoder(m)), "parameters"),
            "table_parameters": (int(m["vocab_size"] * m["d_model"]), "parameters"),
            "clip": (clip_seconds(m), "s"),
            "window": (1000 * m["n_fft"] / m["sample_rate"], "ms"),
            "frame_rate": (frames, "frames/s"),
            "position_rate": (frames / 2, "positions/s"),
        }


def encoder(m: Dims) -> list[Part]:
    """Return the two convolutions, the blocks and the last norm.

    A block has 4dd + 2df weights; keys have no bias, which leaves 8d + f other parameters. The
    positions are stored and are no parameters.
    """
    d, f, places = int(m["d_model"]), int(m["d_ff"]), int(m["audio_positions"])
    block = Part(4 * d * d + 2 * d * f, 8 * d + f, places, pairs=4 * places * places * d)
    return [
        Part(int(m["n_mels"]) * d * 3, d, 2 * places),
        Part(d * d * 3, d, places, state=places * d),
        block * m["n_encoder_layers"],
        parts.norm(d),
    ]


def decoder(m: Dims) -> list[Part]:
    """Return the table of places, the blocks and the last norm; [] without a decoder.

    A block has what one of the encoder has, for the tokens; and attention to the clip, whose
    queries and results are of the tokens, and whose keys and values of the encoder's positions.
    """
    d, f, length = int(m["d_model"]), int(m["d_ff"]), int(m["text_length"])
    places, layers = int(m["audio_positions"]), m["n_decoder_layers"]
    if not layers:
        return []
    pairs = 4 * length * (length + places) * d
    return [
        parts.table(length, d),
        Part(6 * d * d + 2 * d * f, 13 * d + f, length, pairs=pairs) * layers,
        Part(2 * d * d, places=places) * layers,
        parts.norm(d),
    ]


def block_width(m: Dims) -> int:
    """Return the numbers that the inside of a block holds at each of its places.

    That is the residual stream, its normalized copy, and the wider of attention (queries, keys,
    values, result) and the feed-forward layer (before and after GELU).
    """
    d, f = int(m["d_model"]), int(m["d_ff"])
    return 2 * d + max(4 * d, 2 * f)


def cache_bytes(m: Dims) -> int:
    """Return keys and values of the longest text and of its clip, in bf16."""
    places = m["text_length"] + m["audio_positions"]
    return int(2 * m["n_decoder_layers"] * m["d_model"] * places * HALF)


def step_of(width: float) -> int:
    """Return what widths to try are multiples of: a whole head, or a part of a narrow stream."""
    return max(axes.granule(width), min(HEAD_DIMS[0], axes.floor_power(width) // 4))


def entries(width: Value, budget: int) -> int:
    """Return the entries of a table of this width that has room in a budget."""
    return axes.table_entries(VOCABULARY, int(width), budget)


def least(m: Dims, budget: int) -> Dims:
    """Return a design with the narrowest feed-forward layers, to see what a width takes."""
    return {"vocab_size": entries(m["d_model"], budget), **m, "d_ff": axes.granule(m["d_model"])}


FAMILY = Whisper()
