"""`metagen init`: specs for a modality, and of released models from their config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from metagen import families
from metagen.cli import main
from metagen.engine import graph
from metagen.sizing import explain, search
from metagen.spec import load

LLAMA = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256,
    "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
    "hidden_act": "silu", "attention_bias": False, "tie_word_embeddings": False,
}  # fmt: skip
BERT = {
    "model_type": "bert", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "vocab_size": 30522, "max_position_embeddings": 512,
}  # fmt: skip
VIT = {
    "model_type": "vit", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "image_size": 224, "patch_size": 16, "num_labels": 1000,
}  # fmt: skip
QWEN = {
    "model_type": "qwen2", "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14,
    "num_key_value_heads": 2, "intermediate_size": 4864, "vocab_size": 151936,
    "max_position_embeddings": 32768, "tie_word_embeddings": True, "use_sliding_window": False,
    "sliding_window": 32768, "rope_theta": 1e6, "rms_norm_eps": 1e-6,
}  # fmt: skip
RESNET = {
    "model_type": "resnet", "depths": [3, 4, 6, 3], "embedding_size": 64,
    "hidden_sizes": [256, 512, 1024, 2048], "layer_type": "bottleneck", "num_labels": 1000,
}  # fmt: skip
CLIP = {"model_type": "clip", "projection_dim": 512, "text_config": {}, "vision_config": {}}
QWEN3 = {
    "model_type": "qwen3", "hidden_size": 4096, "num_hidden_layers": 36, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 12288, "vocab_size": 151936,
    "max_position_embeddings": 40960, "tie_word_embeddings": False, "rope_theta": 1e6,
    "hidden_act": "silu", "rms_norm_eps": 1e-6, "use_sliding_window": False, "sliding_window": None,
    "max_window_layers": 36, "attention_bias": False, "rope_scaling": None,
}  # fmt: skip
GEMMA = {
    "model_type": "gemma", "hidden_size": 2048, "num_hidden_layers": 18, "num_attention_heads": 8,
    "num_key_value_heads": 1, "head_dim": 256, "intermediate_size": 16384, "vocab_size": 256000,
    "max_position_embeddings": 8192, "rms_norm_eps": 1e-6, "hidden_act": "gelu",
}  # fmt: skip
GEMMA2 = {"model_type": "gemma2", "hidden_size": 2304, "query_pre_attn_scalar": 256}
GEMMA3 = {
    "model_type": "gemma3_text", "hidden_size": 1152, "num_hidden_layers": 26,
    "num_attention_heads": 4, "num_key_value_heads": 1, "intermediate_size": 6912,
    "vocab_size": 262144, "max_position_embeddings": 32768, "sliding_window": 512,
    "sliding_window_pattern": 6, "rope_local_base_freq": 10000, "cache_implementation": "hybrid",
    "query_pre_attn_scalar": 256,
}  # fmt: skip
PATCHTST = {
    "model_type": "patchtst", "context_length": 512, "patch_length": 12, "patch_stride": 12,
    "prediction_length": 96, "d_model": 128, "num_attention_heads": 16, "ffn_dim": 512,
    "num_hidden_layers": 3, "num_input_channels": 7, "norm_type": "layernorm",
    "pooling_type": None, "positional_encoding_type": "random", "ff_dropout": 0.2,
    "path_dropout": 0.2,
}  # fmt: skip
# Counts of the released models, by transformers' num_parameters(); Qwen2.5-0.5B has 24 times
# 896 + 2 * 128 biases of queries, keys and values besides, 494,032,768 in all.
PUBLISHED = {
    "llama": (LLAMA, 8_030_261_248),  # Llama-3.1-8B
    "bert": (BERT, 109_483_778),  # bert-base-uncased with a classifier of two classes
    "vit": (VIT, 86_567_656),  # vit-base-patch16-224
    "qwen2": (QWEN, 494_032_768 - 24 * (896 + 2 * 128)),
    "resnet": (RESNET, 25_557_032),  # resnet-50
    "clip": (CLIP, 151_277_313),  # clip-vit-base-patch32
    # Without the gains of the norms that our block lacks, which the spec names.
    "qwen3": (QWEN3, 8_190_735_360 - 36 * 2 * 128),  # Qwen3-8B
    "gemma": (GEMMA, 2_506_172_416),  # gemma-2b
    "gemma2": (GEMMA2, 2_614_341_888 - 26 * 2 * 2304),  # gemma-2-2b
    "gemma3": (GEMMA3, 999_885_952 - 26 * 2 * (1152 + 256)),  # gemma-3-1b
    "patchtst": (PATCHTST, 1_118_048),
}


def init(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["init", *arguments, "--out", str(folder / "spec.yaml")])


def of_config(folder: Path, config: Any) -> Result:
    path = folder / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return init(folder, "--from", str(path))


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_released_models_config_becomes_a_spec_of_its_count(kind: str, tmp_path: Path) -> None:
    config, parameters = PUBLISHED[kind]
    done = of_config(tmp_path, config)
    assert done.exit_code == 0, done.output
    made = search.solution(explain.desk_over(load(tmp_path / "spec.yaml")))
    assert made.design.parameters == parameters
    assert made.design.parameters == made.need.budget
    every = {"gemma2": 2, "gemma3": 6}.get(kind)
    assert made.design.dims.get("global_every") == every


@pytest.mark.parametrize(
    ("config", "lack"),
    [
        (LLAMA | {"attention_bias": True}, "attention_bias: true is left out"),
        (LLAMA | {"rope_scaling": {"factor": 8.0}}, 'rope_scaling: {"factor": 8.0} is left out'),
        (LLAMA | {"rope_parameters": {"rope_type": "yarn"}}, 'rope_scaling: {"rope_type": "yarn"}'),
        (LLAMA | {"model_type": "mistral", "sliding_window": 4096}, "sliding_window: 4096"),
        (LLAMA | {"hidden_act": "gelu"}, 'hidden_act: "gelu" is left out'),
        (LLAMA | {"num_experts": 8}, "num_experts: 8 has no place"),
        (QWEN, "qwen2 models have biases of queries, keys and values"),
        (RESNET | {"hidden_sizes": [1, 2, 3, 4]}, "hidden_sizes: [1, 2, 3, 4] has no place"),
        (QWEN3, "qwen3 models have a norm of the queries and keys of each head"),
        (
            QWEN3 | {"layer_types": ["chunked_attention", "full_attention"]},
            'layer_types: ["chunked_attention", "full_attention"] has no place',
        ),
        (GEMMA, 'hidden_act: "gelu" is left out; our block has hidden_act: "silu"'),
        (GEMMA, "gemma models have token embeddings that are multiplied by the root"),
        (GEMMA2, "gemma2 models have norms after the attention and the feed-forward layer"),
        (GEMMA2, "final_logit_softcapping: 30.0 is left out"),
        (GEMMA2 | {"query_pre_attn_scalar": 144}, "query_pre_attn_scalar: 144 has no place"),
        (GEMMA2 | {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        (GEMMA3, "rope_local_base_freq: 10000 has no place"),
        (GEMMA3, "gemma3_text models have a norm of the queries and keys"),
        (
            {"model_type": "gemma3", "text_config": GEMMA3, "vision_config": {"image_size": 896}},
            'vision_config: {"image_size": 896} has no place',
        ),
        (PATCHTST | {"norm_type": "batchnorm"}, 'norm_type: "batchnorm" is left out'),
        ({"model_type": "patchtst"}, 'positional_encoding_type: "sincos" is left out'),
        ({"model_type": "patchtst"}, 'pooling_type: "mean" is left out'),
        (PATCHTST | {"path_dropout": 0.1}, "path_dropout: 0.1 has no place"),
        (PATCHTST | {"channel_attention": True}, "channel_attention: true is left out"),
        (PATCHTST | {"loss": "nll"}, 'loss: "nll" is left out'),
    ],
)
def test_what_the_block_lacks_is_named_in_the_spec_and_on_standard_error(
    config: dict[str, Any], lack: str, tmp_path: Path
) -> None:
    done = of_config(tmp_path, config)
    assert lack in done.stderr
    assert f"# Not in the spec: {lack}" in (tmp_path / "spec.yaml").read_text()


def test_windows_of_some_layers_are_pinned(tmp_path: Path) -> None:
    pattern = ["sliding_attention"] * 3 + ["full_attention"]
    some = {"use_sliding_window": True, "sliding_window": 4096, "layer_types": pattern * 9}
    assert "window" not in of_config(tmp_path, QWEN3 | some).stderr
    text = (tmp_path / "spec.yaml").read_text()
    assert "window: 4096" in text
    assert "global_every: 4" in text


@pytest.mark.parametrize("config", [LLAMA, BERT, VIT, PATCHTST])
def test_nothing_is_said_of_a_config_that_the_block_follows(
    config: dict[str, Any], tmp_path: Path
) -> None:
    assert of_config(tmp_path, config).stderr == ""


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("{", "this is not JSON"),
        ("[" * 100_000, "this is not JSON"),
        ("[1]", "this JSON is not a mapping"),
        ("{}", "no family has the shape of model_type null"),
        (LLAMA | {"model_type": ["llama"]}, "no family has the shape of model_type"),
        (LLAMA | {"hidden_size": "wide"}, 'hidden_size is "wide"; a number above 0 is read'),
        (LLAMA | {"num_attention_heads": 0}, "num_attention_heads is 0"),
        (LLAMA | {"hidden_size": None}, "the config states no d_model"),
        (LLAMA | {"hidden_size": 2**21}, "is not allowed: give a whole number"),
        (LLAMA | {"vocab_size": [1]}, "vocab_size is [1]"),
        (" " * (2**20 + 1), "the config cannot be read"),
    ],
    ids=range(11),
)
def test_a_wrong_config_is_a_sentence_and_leaves_no_file(
    config: Any, sentence: str, tmp_path: Path
) -> None:
    done = of_config(tmp_path, config)
    assert (done.exit_code, sentence in done.stderr) == (2, True), done.output
    assert not (tmp_path / "spec.yaml").exists()


ROUTES = [(r.allowed[families.INPUTS], r.allowed[families.OUTPUTS]) for r in families.ROUTES]


@pytest.mark.parametrize(("inputs", "outputs"), [(min(i), min(o)) for i, o in ROUTES])
def test_a_spec_of_each_modality_is_valid_with_and_without_its_commented_keys(
    inputs: str, outputs: str, tmp_path: Path
) -> None:
    listed = ("--inputs", inputs.replace("+", ","), "--outputs", outputs.replace("+", ","))
    assert init(tmp_path, *listed).exit_code == 0
    path = tmp_path / "spec.yaml"
    path.write_text(path.read_text().replace("\n  # ", "\n  "))
    made = graph.of_spec(load(path))
    assert made.spec.key("constraints.device") == "consumer_gpu"


def test_a_file_that_exists_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("mine")
    done = init(tmp_path)
    assert (done.exit_code, "stays as it is" in done.stderr) == (2, True)
    assert (tmp_path / "spec.yaml").read_text() == "mine"


def test_a_modality_that_no_family_makes_writes_nothing(tmp_path: Path) -> None:
    done = init(tmp_path, "--inputs", "text", "--outputs", "video")
    assert (done.exit_code, "no model family makes video from text" in done.stderr) == (2, True)
    assert not (tmp_path / "spec.yaml").exists()
