"""Diffusion of point clouds by caption: the Transformer of Point-E (arXiv:2212.08751).

Point-E's features of CLIP are replaced by a small Transformer over bytes. Symbols: d = d_model,
f = d_ff, N = n_points, T = text_length.
"""

from __future__ import annotations

from collections.abc import Iterable

from metagen.families import axes, captions, parts
from metagen.families.axes import Axis, Rule
from metagen.families.blocks import Blocks, block_peak
from metagen.families.demand import ALONE, Demand, Need, Use
from metagen.families.diffusion import GUIDED, STEPS, held_in_sampling, sampled
from metagen.families.family import Dims, Figures, Peak, Trait, Value
from metagen.families.parts import Part
from metagen.families.trend import Trend
from metagen.tasks.text_to_3d import TextTo3D

COORDINATES = 3
TIME = 4  # The two layers of the noise level are 4 times the width inside, as in Point-E.
HEAD_DIMS = (16, 64)


class PointDiffusion(Blocks):
    """A Transformer whose tokens are the noise level, the bytes of a caption and the points."""

    name = "point_diffusion"
    kind = "text-conditioned diffusion model of point clouds"
    task = TextTo3D()
    arithmetic = "images"
    components = (
        f"{captions.COMPONENTS} transformer diffusion_transformer dit point_transformer "
        "point_cloud_diffusion surface_reconstruction marching_cubes"
    )
    traits = {
        **Blocks.traits,
        "head_dim": Trait("d_model / n_heads", lambda m: m["d_model"] / m["n_heads"]),
    }
    rules = (
        axes.divides("n_heads", "d_model", "the heads share the width evenly"),
        captions.RULE,
        Rule(
            ("d_model",),
            lambda m: m["d_model"] % 2 == 0,
            "a noise level is as many cosines as sines, so d_model must be even",
        ),
    )
    formats = {"sampling_steps": int}
    constants = captions.CONSTANTS
    # The proxy has about 0.3 million parameters.
    proxy_dims = {
        "d_model": 64,
        "n_layers": 4,
        "n_heads": 4,
        "d_ff": 256,
        "text_length": 24,
        "text_width": 32,
        "text_layers": 1,
        "text_heads": 2,
        "vocab_size": captions.ENTRIES,
    }

    def parts(self, m: Dims) -> list[Part]:
        """Return the text encoder, the embeddings of the tokens, the blocks and the last layer."""
        d, n, length = m["d_model"], m["n_points"], m["text_length"]
        return [
            *captions.text_encoder(m),
            parts.linear(m["text_width"], d, length),
            parts.linear(d, TIME * d),
            parts.linear(TIME * d, d),
            parts.linear(COORDINATES, d, n),
            parts.norm(d),
            parts.encoder_block(d, m["d_ff"], tokens(m)) * m["n_layers"],
            parts.norm(d),
            parts.linear(d, COORDINATES, n),
        ]

    def peaks(self, m: Dims) -> list[Peak]:
        return [block_peak(m, tokens(m), "tokens")]

    def demand(self, m: Dims, use: Use = ALONE) -> Demand:
        """Return what drawing one shape takes: all sampling steps, each twice for guidance."""
        return sampled(super().demand(m, use), int(m["sampling_steps"]))

    def explained(self, m: Dims, parameters: int, use: Use = ALONE) -> dict[str, str]:
        given, [peak] = super().explained(m, parameters), self.peaks(m)
        held = held_in_sampling(peak, f"{GUIDED * use.batch} shapes")
        return {"weights": given["weights"], "activations": held}

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget
        depth, width = (trend.lines[name].at(budget) for name in ("n_layers", "d_model"))
        head_dims = axes.powers_near(trend.lines["head_dim"].at(budget), *HEAD_DIMS)
        return (
            *self.usual(),
            *captions.text_axes(budget),
            Axis("n_layers", lambda m: axes.depths_near(depth), grid=True),
            Axis("d_model", lambda m: self._widths(m, budget, width, min(head_dims)), grid=True),
            Axis("n_heads", lambda m: axes.heads(m["d_model"], head_dims), grid=True),
            self.inner_axis(budget),
            STEPS,
        )

    def _widths(self, m: Dims, budget: int, centre: float, head: int) -> range:
        """Return multiples of a head around the trend; for a very small budget, below it."""

        def narrow(width: int) -> Dims:
            return {**m, "d_model": width, "d_ff": axes.granule(width)}

        widths = axes.near(centre, max(head, axes.granule(centre)))
        return self.within(budget, widths, narrow, 2)

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        head_dim = trend.lines["head_dim"].at(self.count(m))
        return {
            **super().reasons(m, need, trend),
            **captions.text_reasons(m, self.count(m), need.budget),
            "n_heads": f"heads of {m['d_model'] / m['n_heads']:g} dimensions; published models "
            f"give {head_dim:.0f}",
            "sampling_steps": "fewer steps draw worse samples (DDIM, table 1), and no limit "
            "requires fewer",
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        width = m["d_model"]
        return (
            ("half the depth", "n_layers", max(1, m["n_layers"] // 2)),
            ("half the heads", "n_heads", axes.divisor_near(width, m["n_heads"] / 2)),
            ("feed-forward layer of the width", "d_ff", width),
            ("half the points", "n_points", max(1, m["n_points"] // 2)),
        )

    def figures(self, m: Dims) -> Figures:
        return {
            "tokens": (tokens(m), "tokens"),
            "head_dim": (int(m["d_model"] // m["n_heads"]), ""),
            **captions.text_figures(m),
        }


def tokens(m: Dims) -> int:
    """Return the tokens of a pass: one for the noise level, one for each byte and each point."""
    return int(1 + m["text_length"] + m["n_points"])


FAMILY = PointDiffusion()
