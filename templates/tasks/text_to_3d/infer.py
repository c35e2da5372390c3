"""Write a mesh of a caption with a trained checkpoint.

    python infer.py --prompt "small tall cone"                 OUT/shape.obj
    python infer.py --prompt "large torus" --samples 4         OUT/shape-1.obj to OUT/shape-4.obj
    python infer.py --input captions.txt --cloud               a cloud for each line of a file

The model draws a cloud of points, which is kept as a .ply file. The mesh around it is closed, but
coarse: details and openings narrower than the distances between points are filled.
"""

import argparse
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from data import Config as DataConfig
from model import Config as ModelConfig
from model import Model, conditions
from runtime.clouds import drawn
from runtime.errors import fail, run
from runtime.meshes import write_cloud, write_obj
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving
from runtime.surfaces import mesh_around, require_meshing


@dataclass(frozen=True)
class Config:
    """How shapes are drawn."""

    samples: int = 1
    """Shapes of each caption."""
    points: int = 1024
    """Points of a shape. The model treats points as a set, so it can draw more than it was trained
    with (Huang et al., 2024, arXiv:2404.03566)."""
    sampling_steps: int = 50
    """Steps from noise to a shape; fewer are faster and rougher."""
    guidance: float = 2.0
    """Strength of the caption; 1 samples the model's own distribution in half the time; more
    follows the caption more closely, and reduces variety."""
    seed: int = 42
    """Seed of the noise."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


def draw(
    model: Model, captions: Sequence[str], config: Config, device: torch.device, at_once: int
) -> Tensor:
    """Return a cloud for each caption, (S, points, 3)."""
    read = functools.partial(conditions, model.config)
    return drawn(model, read, captions, config, config.points, device, at_once)


def captions_of(args: argparse.Namespace) -> list[str]:
    """Return the captions of the options."""
    if args.prompt is not None:
        return [args.prompt]
    try:
        lines = args.input.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{args.input} cannot be read as UTF-8 text: {error}.")
    captions = [line.strip() for line in lines if line.strip()]
    return captions or fail(f"{args.input} has no captions: write one per line.")


def options(group: Group) -> None:
    what = group.add_mutually_exclusive_group(required=True)
    what.add_argument("--prompt", metavar="TEXT", help="the caption of the shape")
    what.add_argument("--input", type=existing, metavar="FILE", help="captions, one per line")
    group.add_argument("--cloud", action="store_true", help="write clouds alone, and no meshes")
    group.add_argument("--mesh", type=Path, metavar="OBJ", help="(default: OUT/shape.obj)")


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Write a cloud and a mesh of each sample of each caption."""
    args, config = trained.args, trained.config
    captions = captions_of(args)
    if not args.cloud:
        require_meshing()  # before the weights are read, which may take minutes
    model = trained.load(lambda: Model(trained.model), getattr(torch, config.dtype))
    every = [caption for caption in captions for _ in range(config.samples)]
    clouds = draw(model, every, config, trained.device, config.samples)
    target = args.mesh or args.out / "shape.obj"
    for number, (caption, cloud) in enumerate(zip(every, clouds, strict=True), start=1):
        name = target.stem if len(every) == 1 else f"{target.stem}-{number}"
        write(cloud, target.with_name(name), caption, cloud_alone=args.cloud)


def write(cloud: Tensor, target: Path, caption: str, *, cloud_alone: bool) -> None:
    """Write a cloud, and a mesh around it unless only the cloud is wanted."""
    points = cloud.double().numpy()
    write_cloud(target.with_suffix(".ply"), points)
    print(f"{caption!a}: wrote {len(points):,} points to {target.with_suffix('.ply')}")
    if cloud_alone:
        return
    mesh = mesh_around(points)
    write_obj(target.with_suffix(".obj"), mesh)
    print(f"wrote {len(mesh.faces):,} triangles around them to {target.with_suffix('.obj')}")


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "seed": Setting("seed of the noise"),
        "samples": Setting("shapes of each caption"),
        "points": Setting("points of a shape"),
        "sampling_steps": Setting("steps from noise to a shape"),
        "guidance": Setting("strength of the caption; 1 takes half the time", float),
        "dtype": Setting("format of weights and arithmetic", str, ("bfloat16", "float32")),
    },
)

if __name__ == "__main__":
    run(main)
