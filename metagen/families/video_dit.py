"""The video diffusion Transformer: Wan's form (arXiv:2503.20314) without text, over pixels.

Wan's VAE is replaced by patches of pixels. The first frames of a clip are given and the rest are
generated, as in Wan2.2-TI2V: the patches of given frames hold no noise.

Symbols: d = d_model, f = d_ff, T = steps of patches in time, S = patches of a step, N = T S.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from metagen.families import axes, parts
from metagen.families.axes import Axis, Rule
from metagen.families.blocks import Blocks, block_peak
from metagen.families.demand import ALONE, Cost, Demand, Need, Use
from metagen.families.diffusion import STEPS, two_layers
from metagen.families.family import Dims, Figures, Peak, Trait, Value
from metagen.families.parts import Part
from metagen.families.trend import Trend
from metagen.families.vit import LEAST_PATCHES, PATCH, WHOLE, patch_sizes
from metagen.families.vit import patches as patches_of_frame
from metagen.tasks.video_generation import VideoGeneration
from metagen.units import INFINITE, rate_unit

HEAD_DIMS = (16, 128)
LEAST_HEAD = 6  # dimensions: a pair for time, rows and columns each
TOKENS = 4096  # tokens of a clip by default; Latte has 16 x 256 at 256 x 256 pixels
MOST_STEPS = 2**12  # steps of patches in time, for an infinite window
GIVEN = 4  # A quarter of a clip is given.
# Factorized attention is cheaper; the newer models of the table have full attention.
FACTORIZED_PRICE = 1.0
CONTEXT = "constraints.context_window"
FRAMES = rate_unit(VideoGeneration.work_unit)


class VideoDiT(Blocks):
    """Patches of space and time, blocks with adaLN-zero and rotary places, a velocity for each."""

    name = "video_dit"
    kind = "diffusion Transformer that continues videos"
    task = VideoGeneration()
    arithmetic = "images"
    components = (
        "transformer diffusion_transformer dit video_dit patch_embedding patchify time_embedding "
        "spatiotemporal_attention denoiser"
    )
    formats = {"sampling_steps": int}
    size_column = "params_without_text"
    size_unit = "parameters without those for text"
    traits = {
        **Blocks.traits,
        "head_dim": Trait("d_model / n_heads", lambda m: m["d_model"] / m["n_heads"]),
    }
    rules: tuple[Rule, ...] = (
        axes.divides("n_heads", "d_model", "the heads share the width evenly"),
        Rule(
            ("d_model", "n_heads"),
            lambda m: (
                m["d_model"] % (2 * m["n_heads"]) == 0 and m["d_model"] >= LEAST_HEAD * m["n_heads"]
            ),
            "rotary places turn pairs of a head for time, rows and columns, so d_model / n_heads "
            f"must be even and at least {LEAST_HEAD}",
        ),
        axes.divides("patch_size", "image_height", WHOLE),
        axes.divides("patch_size", "image_width", WHOLE),
        axes.divides("patch_frames", "num_frames", "patches cut a clip without a rest"),
        axes.divides("patch_frames", "given_frames", "a patch is given as a whole"),
        Rule(
            ("given_frames", "num_frames"),
            lambda m: m["given_frames"] < m["num_frames"],
            "at least one frame is generated, so given_frames is below num_frames",
        ),
        Rule(
            ("image_channels",),
            lambda m: m["image_channels"] in (1, 3),
            "a frame is grey or in colours, so image_channels must be 1 or 3",
        ),
    )
    fixed_by = {"patch_size": "constraints.patch_size"}
    constants = {
        "patch_frames": (2, "as CogVideoX1.5; Wan's VAE and patches join 4 frames"),
        "time_dim": (256, "the value of DiT and Wan"),
        "norm_eps": (1e-6, "the value of Wan"),
        "rope_theta": (10000.0, "the value of Wan"),
    }
    # The proxy has about 0.3 million parameters. Its frames have few rows of patches, which only
    # fast rotations tell apart.
    proxy_dims = {
        "patch_frames": 2,
        "patch_size": 4,
        "d_model": 96,
        "n_layers": 2,
        "n_heads": 2,
        "d_ff": 256,
        "factorized": False,
        "rope_theta": 10.0,
    }

    still_steps = 0  # steps of patches of still images, before those of the clip

    # A clip is one pass, and its patches are what the context window counts.

    @property
    def windowed(self) -> bool:
        return True

    def context(self, m: Dims) -> int:
        """Return the patches of a pass: T S."""
        return self.steps(m) * patches_of_frame(m)

    def steps(self, m: Dims) -> int:
        """Return the steps of patches of a pass."""
        return self.still_steps + steps(m)

    def noisy(self, m: Dims) -> int:
        """Return the patches that are generated."""
        return int(generated(m) // m["patch_frames"]) * patches_of_frame(m)

    def pairs(self, m: Dims) -> tuple[tuple[int, int], ...]:
        """Return the pairs of patches that attend in a block, and how many blocks have as many."""
        t, s, layers = self.steps(m), patches_of_frame(m), int(m["n_layers"])
        if not m["factorized"]:
            return (((t * s) ** 2, layers),)
        return ((t * s**2, layers - layers // 2), (s * t**2, layers // 2))

    def input_length(self, m: Dims, use: Use = ALONE) -> int:
        return 1

    def training_length(self, m: Dims) -> int:
        return 1

    def parts(self, m: Dims) -> list[Part]:
        """Return the patch embedding, the embedding of two times, the blocks and the last layer.

        A block has 4d^2 + 2df weights; biases, the gains of queries and keys, and a table of six
        vectors: 13d + f. Given frames have a time of their own, and no output.
        """
        d, f, n = int(m["d_model"]), int(m["d_ff"]), self.context(m)
        block = Part(4 * d * d + 2 * d * f, 13 * d + f, n)
        hidden, embedded = two_layers(int(m["time_dim"]), d)
        return [
            parts.linear(numbers(m), d, n),
            hidden._replace(places=2),
            embedded._replace(places=2),
            parts.linear(d, 6 * d, 2),
            *(block._replace(pairs=4 * each * d, times=times) for each, times in self.pairs(m)),
            parts.table(2, d),
            parts.linear(d, numbers(m), self.noisy(m)),
        ]

    def peaks(self, m: Dims) -> list[Peak]:
        return [block_peak(m, self.context(m), "patches")]

    def demand(self, m: Dims, use: Use = ALONE) -> Demand:
        """Return what generating one clip takes: a pass for each sampling step."""
        draws, one = int(m["sampling_steps"]), super().demand(m, use)
        return replace(
            one,
            first=Cost(draws * one.first.flops, draws * one.first.bytes, calls=draws),
            passes=draws,
            worth={FRAMES: float(generated(m))},
        )

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget
        depth, width = (trend.lines[name].at(budget) for name in ("n_layers", "d_model"))
        head_dims = axes.powers_near(trend.lines["head_dim"].at(budget), *HEAD_DIMS)
        return (
            *self.usual(),
            Axis("image_width", lambda m: (m["image_height"],)),
            Axis("patch_size", lambda m: patch_sizes(m)[:1]),
            Axis("n_layers", lambda m: axes.depths_near(depth), grid=True),
            Axis("d_model", lambda m: self._widths(m, budget, width, min(head_dims)), grid=True),
            Axis("n_heads", lambda m: axes.heads(m["d_model"], head_dims), grid=True),
            self.inner_axis(budget),
            Axis("factorized", lambda m: (False, True), _factorized_price, _attention),
            STEPS,
            Axis("num_frames", lambda m: (self._frames(m, need),)),
            Axis("given_frames", lambda m: (_given(m),)),
        )

    def _widths(self, m: Dims, budget: int, centre: float, head: int) -> range:
        """Return multiples of a head around the trend; for a very small budget, below it."""

        def narrow(width: int) -> Dims:
            return {**m, **ONE_STEP, "d_model": width, "d_ff": axes.granule(width)}

        widths = axes.near(centre, max(head, axes.granule(centre)))
        return self.within(budget, widths, narrow, LEAST_HEAD)

    def inner_axis(self, budget: int) -> Axis:
        # The frames of a clip are chosen later, and change no count.
        def widest(m: Dims) -> tuple[int]:
            return (self.fill({**m, **ONE_STEP}, "d_ff", self.inner_step(m), budget),)

        return Axis("d_ff", widest, fills=True)

    def _frames(self, m: Dims, need: Need) -> int:
        """Return the frames whose patches fill the window, or the most that meet the limits."""
        if need.context == INFINITE:
            return self._most_frames(m, need)
        wanted = TOKENS if need.context is None else int(need.context)
        filled = wanted / patches_of_frame(m)
        return int(m["patch_frames"]) * max(2, math.ceil(filled) - self.still_steps)

    def _most_frames(self, m: Dims, need: Need) -> int:
        """Return the largest power of two of steps that meets the limits, or else two."""
        each, most = int(m["patch_frames"]), MOST_STEPS

        def meets(count: int) -> bool:
            clip = {**m, "num_frames": count * each}
            return not need.excess(self.demand({**clip, "given_frames": _given(clip)}, need.use))

        while most > 2 and not meets(most):
            most //= 2
        return most * each

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        given = super().reasons(m, need, trend)
        head_dim = trend.lines["head_dim"].at(self.size(m))
        return {
            **given,
            "patch_size": "constraints.patch_size"
            if "patch_size" in need.fixed
            else f"at most {PATCH} pixels and at least {LEAST_PATCHES} patches along a side: "
            f"{patches_of_frame(m):,} patches a step",
            "n_heads": f"heads of {m['d_model'] / m['n_heads']:g} dimensions; published models "
            f"give {head_dim:.0f}",
            "num_frames": f"{steps(m):,} steps of {m['patch_frames']} frames: "
            f"{self.context(m):,} patches, {_window_reason(need)}",
            "given_frames": "a quarter of the clip, in whole steps and at least one",
            "factorized": f"{_attention(m)}; factorized attention takes fewer operations, and "
            "limits alone require it",
            "sampling_steps": "fewer steps generate worse frames, and no limit requires fewer"
            if m["sampling_steps"] == 50
            else "fewer steps generate worse frames, and a limit requires them",
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        width, step = m["d_model"], self.inner_step(m)
        return (
            ("factorized attention", "factorized", True),
            ("joint attention", "factorized", False),
            ("half the heads", "n_heads", axes.divisor_near(width, m["n_heads"] / 2)),
            ("feed-forward layer of twice the width", "d_ff", axes.multiple(2 * width, step)),
            ("half the depth", "n_layers", max(1, m["n_layers"] // 2)),
        )

    def figures(self, m: Dims) -> Figures:
        return {
            "patches": (self.context(m), ""),
            "steps": (self.steps(m), ""),
            "patches_of_step": (patches_of_frame(m), ""),
            "generated_frames": (generated(m), ""),
            "head_dim": (int(m["d_model"] // m["n_heads"]), ""),
        }


# The smallest clip, for counts of designs whose frames are not chosen yet.
ONE_STEP = {"num_frames": 2, "given_frames": 0, "factorized": False}


def steps(m: Dims) -> int:
    """Return the steps of patches of a clip."""
    return int(m["num_frames"] // m["patch_frames"])


def generated(m: Dims) -> int:
    """Return the frames that a pass generates."""
    return int(m["num_frames"] - m["given_frames"])


def numbers(m: Dims) -> int:
    """Return the numbers of a patch."""
    return int(m["image_channels"] * m["patch_frames"] * m["patch_size"] ** 2)


def _given(m: Dims) -> int:
    """Return a quarter of the frames, in whole steps, and at least one step."""
    return int(m["patch_frames"]) * max(1, round(steps(m) / GIVEN))


def _factorized_price(m: Dims, value: Value | None) -> float:
    return FACTORIZED_PRICE if value else 0.0


def _attention(m: Dims) -> str:
    return "factorized attention" if m["factorized"] else "full attention"


def _window_reason(need: Need) -> str:
    if need.context is None:
        return f"about the {TOKENS:,} of Latte, since no {CONTEXT} is declared"
    if need.context == INFINITE:
        return "the largest power of two of steps that the other constraints allow"
    return f"the fewest that reach {CONTEXT}, {need.context:,}"


FAMILY = VideoDiT()
