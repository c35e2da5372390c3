"""What tasks that read single images share: their sizes, their augmentation, how they train.

The full model trains by the recipe of DeiT (arXiv:2012.12877, table 9), with its augmentation where
a spec names it; ConvNeXt (arXiv:2201.03545, appendix A.1) trains ResNet-50 with the same optimizer,
rate, decay and epochs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metagen.amounts import IMAGES, ITEMS
from metagen.errors import Problem
from metagen.tasks.augmentation import KEY, Augmentations
from metagen.tasks.schedule import Habits
from metagen.tasks.task import IMAGE_SIDES, Dims, Lookup, Section, Task

SIDE = 224  # pixels, usual since AlexNet's crops
RATE_PER_IMAGE = 5e-4 / 512  # The peak rate grows in proportion to the batch.
SGD_RATE_PER_IMAGE = 0.1 / 256
IMAGES_AT_ONCE = 128  # images of 224 x 224 pixels, or as many pixels in images of another size
PADDING_SHARE = 1 / 8  # A random crop shifts an image by up to this share of a side.
PROXY_PADDING_SHARE = 1 / 16  # What the bundled images show fills them, so they move by little.
PLAIN: Mapping[str, tuple[str, ...]] = {
    "random_crop": ("crop",),
    "horizontal_flip": ("flip", "mirror", "random_horizontal_flip"),
    "random_resized_crop": ("random_resize_crop",),
    "random_erasing": ("erasing",),
    "rand_augment": ("randaugment",),
}
MIXING: Mapping[str, tuple[str, ...]] = {
    "mixup": (),
    "cutmix": (),
    "drop_path": ("stochastic_depth",),
}
LEAST_AREA = 0.08  # share of an image that a crop keeps at least, as arXiv:1409.4842
# RandAugment and the strength of erasing are DeiT's (arXiv:2012.12877, table 9).
OPERATIONS, MAGNITUDE, ERASED = 2, 9.0, 0.25


def variations(
    names: Mapping[str, tuple[str, ...]], undone: frozenset[str] = frozenset()
) -> Augmentations:
    """Return the variations of a task's images by their names; `undone` are known and not done."""
    return Augmentations(
        names=names,
        usual=frozenset({"random_crop"}),
        all=frozenset({"random_crop", "horizontal_flip"}),
        instead={"random_resized_crop": "random_crop"},
        undone=frozenset({"auto_augment", "autoaugment"}) | undone,
    )


class ImageTask(Task):
    """From images (B, C, height, width) to what a task makes of each.

    Attributes:
        augmentations: How training images may vary.
        heavy: Settings of train.py whose strengths are DeiT's, as `section.name`.
    """

    augmentations: Augmentations
    heavy: tuple[str, ...] = ()
    config_keys = Task.config_keys | {"data_augmentation"}
    work_unit = "img"
    units = (*IMAGES, *ITEMS)
    input = "image"
    shared: Mapping[str, str] = {"bench.py": "images"}
    defaults: Mapping[str, int] = {
        "image_height": SIDE,
        "image_width": SIDE,
        "num_channels": 3,
    }
    default_reasons = {
        "image_height": f"the usual {SIDE} pixels",
        "image_width": f"the usual {SIDE} pixels",
        "num_channels": "colours: red, green, blue",
    }
    # Pipelines of other libraries turn every image into three colours, grey ones too.
    proxy: Mapping[str, int] = {"num_channels": 3}
    fixed_by: Mapping[str, str] = IMAGE_SIDES

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        batch = key("training.config.batch_size") or 1024
        pixels = m["image_height"] * m["image_width"]
        return Habits(
            batch=batch,
            rate=float(f"{RATE_PER_IMAGE * batch:.3g}"),
            decay=0.05,
            warmup_epochs=5,
            source="as DeiT",
            why={
                "learning_rate": f"{RATE_PER_IMAGE:.3g} for each image of an update, as DeiT",
                "data": "those of ImageNet-1k",
            },
            units=self.units,
            data=1_281_167,
            epochs=300,
            samples_at_once=int(IMAGES_AT_ONCE * SIDE**2 // pixels),
            at_once=f"{IMAGES_AT_ONCE} images of {SIDE} x {SIDE} pixels, or as many pixels in "
            "images of another size,",
            final_lr_share=0.01,
            sgd=(
                float(f"{SGD_RATE_PER_IMAGE * batch:.3g}"),
                "0.1 for 256 images of an update, as ResNet, in proportion to the batch, as "
                "arXiv:1706.02677",
            ),
        )

    def proxy_habits(self, m: Dims) -> Habits:
        # The decay is high because the bundled images are few.
        return Habits(
            batch=32,
            rate=3e-3,
            decay=0.3,
            warmup=self.benchmark.steps["quick"] // 10,
            final_lr_share=0.01,
        )

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        names = self.augmentations.chosen(key)
        share = PROXY_PADDING_SHARE if reduced else PADDING_SHARE
        padding = round(share * min(m["image_height"], m["image_width"]))

        def full(name: str, value: Any, otherwise: Any) -> Any:
            # The proxy reads digits, which lose their meaning in a mirror or a heavy crop.
            return value if name in names and not reduced else otherwise

        return {
            "pixel_mean": 0.5,
            "pixel_std": 0.5,
            "crop_padding": padding if reduced else full("random_crop", padding, 0),
            "crop_scale": full("random_resized_crop", LEAST_AREA, 0.0),
            "flip": full("horizontal_flip", True, False),
            "operations": full("rand_augment", OPERATIONS, 0),
            "magnitude": MAGNITUDE,
            "erase": full("random_erasing", ERASED, 0.0),
            "val_fraction": 0.1,
            "test_fraction": 0.2 if reduced else 0.1,
        }

    def refused(self, key: Lookup) -> Iterator[Problem]:
        yield from self.augmentations.refused(key)

    def left_out(self, key: Lookup) -> dict[str, str]:
        return self.augmentations.left_out(key)

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shape of a batch of images: (length, C, height, width)."""
        shape = [length, m["num_channels"], m["image_height"], m["image_width"]]
        return [{"shape": shape, "dtype": "float32"}]

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        why = KEY
        if key(KEY) is None:
            why = (
                "data_augmentation is not declared: images are shifted, not mirrored, since "
                "letters and digits lose their meaning in a mirror"
            )
        heavy = ("data.operations", "data.erase", *self.heavy)
        return {
            "data.crop_padding": why,
            "data.flip": why,
            "data.crop_scale": f"{why}; the least area as arXiv:1409.4842",
            **dict.fromkeys(heavy, f"{why}; strengths as DeiT, arXiv:2012.12877, table 9"),
        }
