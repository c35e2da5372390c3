"""The verdicts on Llama-3-8B under the constraints that a test chooses, and its sizes by hand."""

import json

import yaml
from blueprint_desk import PlainDesk
from llama import LLAMA_3_8B

from metagen.sizing.verdicts import TARGET, work

PARAMETERS = 8_030_261_248
WEIGHTS = 16_060_522_496
CACHE = 131_072 * 8192  # bytes a token, at a window of 8,192 tokens
TABLE = 2 * 128_256 * 4096  # bytes of the input table, of which a token reads one row


def verdicts(spec, folder, parameters=PARAMETERS, bits=(16, 16), **changed):
    """Return the entries of constraints.json by constraint, with some of the dimensions changed."""
    desk = PlainDesk(spec, folder)
    dims = {**LLAMA_3_8B, "max_seq_len": 8192, **changed}
    points = [
        {"length": 128, "forward_per_unit": 15e9},
        {"length": 8192, "forward_per_unit": 20e9},
    ]
    flops = {"training_per_unit": 48e9, "points": points}
    infer = dict(zip(("weight_bits", "cache_bits"), bits, strict=True))
    desk.package = {
        "blueprint/architecture.yaml": yaml.safe_dump(
            {"family": "decoder", "infer": infer}
        ).encode(),
        "blueprint/graph.json": json.dumps({"config": dims}).encode(),
        "blueprint/params.json": json.dumps({"total": parameters}).encode(),
        "blueprint/flops.json": json.dumps(flops).encode(),
    }
    made = json.loads(work(desk)[TARGET])
    return {each["constraint"]: each for each in made}
