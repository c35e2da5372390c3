"""Registered forecasts of ladders beside held-out sizes, over three data sets.

    python benchmarks/ladder.py --out DIR [--data NAME ...] [--rungs 5] [--largest 55k]

For each data set a ladder registers its forecast of the full model of a byte-level spec; the full
model is trained afterwards, with the batch and rate that the forecast names, and `metagen ladder
check` compares. Everything that has run is kept in DIR, so a run that was stopped goes on.
All of it takes hours of an idle machine.

The texts ship with Python, with torch and with the extra `data`: the sources of Python's standard
library, the sources of torch, and the translations of Django into some ninety languages.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

MOST_BYTES = 24_000_000  # A longer text is cut.
# The package of each text, None for the standard library, and which of its files are read.
TEXTS = {"stdlib": (None, "*.py"), "torch": ("torch", "*.py"), "django": ("django", "*.po")}
SPEC = """\
metagen_version: "1.0"
name: {name}
modality: {{inputs: [text], outputs: [text]}}
task: {{type: generation}}
constraints: {{parameter_budget: {{max: "600k"}}, context_window: 128, device: cpu}}
training:
  objective: [autoregressive]
  data: {{size: "{tokens} tokens"}}
{config}architecture:
  family: transformer
  dims: {{vocab_size: 256, d_model: 96, n_layers: 5, n_heads: 4, n_kv_heads: 4, head_dim: 24,
         d_ff: 256, tie_embeddings: true}}
evaluation: {{bench: none}}
"""
TOKENS = 8_864_000  # 16 for each parameter of the full model
CONFIG = """\
  config: {{batch_size: {batch_size}, learning_rate: {learning_rate}, warmup_steps: {warmup_steps}}}
"""


def main() -> None:
    """Run the ladders of the chosen data sets and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", nargs="*", choices=TEXTS, default=list(TEXTS))
    parser.add_argument("--rungs", default="5")
    parser.add_argument("--largest", default="56k")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = [_of(name, args) for name in args.data]
    print("| data | parameters x | operations x | forecast | range | measured | miss | covered |")
    print("| --- | ---: | ---: | ---: | --- | ---: | ---: | --- |")
    for row in rows:
        print(row)
    print(f"covered: {sum(row.endswith('yes |') for row in rows)} of {len(rows)}")


def _of(name: str, args: argparse.Namespace) -> str:
    """Register the forecast on a data set, train the full model, and return the row of both."""
    folder = args.out / name
    folder.mkdir(exist_ok=True)
    text, spec = _text(folder, name), folder / "spec.yaml"
    spec.write_text(SPEC.format(name=name, tokens=TOKENS, config=""))
    out = folder / "out"
    size = ("--rungs", args.rungs, "--largest", args.largest)
    _metagen("ladder", spec, "--out", out, "--data", text, *size)
    ladder = out / f"ladder-{name}"
    forecast = json.loads((ladder / "forecast.json").read_bytes())
    if not (ladder / "check.json").exists():
        # The settings of the forecast decide the full training; the dims stay, so it still binds.
        settings = CONFIG.format(**forecast["model"]["settings"])
        spec.write_text(SPEC.format(name=name, tokens=TOKENS, config=settings))
        _metagen("release", spec, "--out", out, "--train", "--data", text)
        _metagen("ladder", "check", out / f"run-{name}", "--data", text)
    return _row(name, forecast, json.loads((ladder / "check.json").read_bytes()))


def _row(name: str, forecast: dict[str, Any], check: dict[str, Any]) -> str:
    said, reach = forecast["forecast"], forecast["reach"]
    cells = (
        name,
        f"{reach['size']:.1f}",
        f"{reach['compute']:.0f}",
        f"{said['loss']:.4f}",
        f"{said['low']:.4f} to {said['high']:.4f}",
        f"{check['measured']:.4f}",
        f"{check['miss']:+.1%}",
        "yes" if check["inside"] else "no",
    )
    return f"| {' | '.join(cells)} |"


def _text(folder: Path, name: str) -> Path:
    """Write files of a package into one, in the order of their names."""
    path = folder / "text.txt"
    if not path.exists():
        package, files = TEXTS[name]
        found = importlib.util.find_spec(package) if package else None
        root = Path(found.origin).parent if found and found.origin else None
        root = root or Path(sysconfig.get_paths()["stdlib"])
        whole = bytearray()
        for source in sorted(root.rglob(files)):
            if "site-packages" not in source.relative_to(root).parts and len(whole) < MOST_BYTES:
                whole += source.read_bytes() + b"\n"
        path.write_bytes(bytes(whole[:MOST_BYTES]).decode("utf-8", "ignore").encode())
    return path


def _metagen(*arguments: object) -> None:
    command = (Path(sys.executable).with_name("metagen"), *map(str, arguments))
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
