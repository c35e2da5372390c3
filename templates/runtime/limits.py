"""Values that the settings of a script may have; what is outside of them is refused at the door."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from runtime.errors import fail


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`; `open_` leaves out the ends that it names."""

    least: float = 0
    most: float = math.inf
    open_: str = ""

    def holds(self, value: float) -> bool:
        """Return whether a number is in the range; infinity and NaN never are."""
        low = value > self.least or (value == self.least and "least" not in self.open_)
        high = value < self.most or (value == self.most and "most" not in self.open_)
        return math.isfinite(value) and low and high

    def __str__(self) -> str:
        low = f"above {self.least}" if "least" in self.open_ else f"of {self.least} or more"
        if math.isinf(self.most):
            return low
        return f"{low} and {'below' if 'most' in self.open_ else 'at most'} {self.most}"


ABOVE = Range(open_="least")
SHARE, BELOW_ONE = Range(0, 1), Range(0, 1, "most")
COUNT, LENGTH, SEED = Range(1, 10**9), Range(0, 10**9), Range(0, 2**32 - 1)
UPDATES = Range(1, 10**12)

# The ranges of settings, by the section of config.json and the name; a setting that is not here is
# a number of 0 or more, or of 1 or more if it is a whole number of the model.
RANGES: dict[str, dict[str, Range]] = {
    "train": {
        "steps": UPDATES,
        "batch_size": COUNT,
        "grad_accum": COUNT,
        "learning_rate": ABOVE,
        "warmup_steps": Range(0, 10**12),
        "final_lr_share": SHARE,
        "beta1": BELOW_ONE,
        "beta2": BELOW_ONE,
        "grad_clip": ABOVE,
        "eval_every": UPDATES,
        "eval_batches": COUNT,
        "save_every": UPDATES,
        "seed": SEED,
        "group_size": Range(2, 10**9),
        "label_smoothing": SHARE,
        # A sample that is always left out would be divided by its share of 0.
        "drop_path": BELOW_ONE,
        "token_drop": BELOW_ONE,
        "temperature": ABOVE,
        "ema_decay": SHARE,
        "unconditional_probability": SHARE,
        "n_envs": COUNT,
        "rollout_steps": COUNT,
        "n_epochs": COUNT,
        "replay_size": COUNT,
        "replay_ratio": COUNT,
        "target_every": COUNT,
        # A copy that takes nothing would stay as it began.
        "target_share": Range(0, 1, "least"),
        "real_share": SHARE,
        # The entropy of numbers is negative where they vary little.
        "least_entropy": Range(-(10**9), 10**9),
        "rollout_from": UPDATES,
        "rollout_every": UPDATES,
        "rollout_starts": COUNT,
        "rollout_length": COUNT,
        "rollouts_kept": COUNT,
        "discount": SHARE,
        "gae_lambda": SHARE,
        "clip": ABOVE,
        "first_exploration": SHARE,
        "last_exploration": SHARE,
        "exploration_share": SHARE,
        # Each of two stages needs an update.
        "codec_share": Range(0, 1, "least most"),
        # A decoder of which the loss says nothing would stay as it began.
        "ctc_share": BELOW_ONE,
    },
    "data": {
        "seq_len": COUNT,
        "max_len": COUNT,
        "timesteps": COUNT,
        "val_fraction": BELOW_ONE,
        "test_fraction": BELOW_ONE,
        "crop_share": SHARE,
        "crop_scale": SHARE,
        "word_drop": BELOW_ONE,
        "token_split": SHARE,
        "erase": SHARE,
        "pixel_std": ABOVE,
        "frame_step": COUNT,
        "shift": ABOVE,
        "val_episodes": Range(1, 10**6),
        "test_episodes": Range(1, 10**6),
    },
    "eval": {
        "batch_size": COUNT,
        "points": COUNT,
        "shapes": COUNT,
        "references": COUNT,
        "stride": COUNT,
        "candidates": Range(2, 10**9),
        "samples": COUNT,
        "sampling_steps": COUNT,
        "side": COUNT,
        "components": COUNT,
        "folds": Range(2, 10**9),
        "baseline_clips": COUNT,
        "seed": SEED,
    },
    "infer": {
        "batch_size": COUNT,
        "points": COUNT,
        "samples": COUNT,
        "sampling_steps": COUNT,
        "quantile": SHARE,
        "frames": COUNT,
        "top_p": Range(0, 1, "least"),
        "opacity": SHARE,
        "beams": COUNT,
        "seed": SEED,
    },
    "model": {
        **dict.fromkeys(("node_features", "edge_features", "user_layers", "d_tower"), LENGTH),
        "n_numeric": LENGTH,
        "obs_dim": LENGTH,
        "frame_height": LENGTH,
        "frame_width": LENGTH,
        "n_frames": LENGTH,
        "d_conv": LENGTH,
        "n_categorical": LENGTH,
        "n_categories": LENGTH,
        "n_frequencies": LENGTH,
        "n_decoder_layers": LENGTH,
        "upper_layers": LENGTH,
        "lowest_layers": LENGTH,
        "attention_level": LENGTH,
        **dict.fromkeys(("text_length", "text_width", "text_layers", "text_heads"), LENGTH),
        "dropout": BELOW_ONE,
        "norm_eps": ABOVE,
        "rope_theta": ABOVE,
    },
}
NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def check_settings(kind: type[Any], section: str, values: Mapping[str, Any], place: str) -> None:
    """Stop at the first setting of a wrong type, or outside of its range.

    Args:
        kind: The Config that the settings are fields of.
        section: What it configures: `model`, `data`, `train`, `eval` or `infer`.
        values: The settings by their names.
        place: Where they stand, for the sentence.
    """
    for name, value in values.items():
        if fault := _fault(kind, section, name, value):
            fail(f"{place}: {name} {fault}.")


def check_options(kind: type[Any], section: str, values: Mapping[str, Any]) -> None:
    """Stop at the first setting that the command line sets to what it cannot be."""
    for name, value in values.items():
        if fault := _fault(kind, section, name, value):
            fail(f"--{name.replace('_', '-')} {fault}.")


def _fault(kind: type[Any], section: str, name: str, value: Any) -> str | None:
    """Return what a setting must be and is not, None if it is right."""
    wanted = get_type_hints(kind)[name]
    said = NAMES.get(wanted, "")
    if said and not _is(value, wanted):
        return f"must be {said}, and it is {json.dumps(value, default=str)[:80]}"
    if wanted not in (int, float):
        return None
    default = COUNT if section == "model" and wanted is int else Range()
    limits = RANGES[section].get(name, default)
    return None if limits.holds(value) else f"must be {said} {limits}, and it is {value}"


def _is(value: object, kind: type) -> bool:
    """Return whether a value of JSON has a type; a whole number is also a number."""
    return type(value) is kind or (kind is float and type(value) is int)
