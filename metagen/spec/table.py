"""The keys of a spec, in one table.

A leaf key is a dotted name with one value. Defaults have the form of values in a spec; an absent
key without a default is "not declared".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from metagen import amounts, units
from metagen.spec import values, words
from metagen.spec.kinds import (
    Kind,
    choice,
    date,
    either,
    flag,
    image_size,
    list_of,
    pins,
    quantity,
    real,
    record,
    targets,
    texts,
    whole,
)
from metagen.spec.values import ADDRESS, COUNT, LINE, NAME, NUMBER_OF, PROSE, SHARE, TASK

_ARTIFACTS_DOC = (
    "Artifacts to build, with all that they are measured on; `pytorch_skeleton` and "
    "`training_recipe` are `code/`, `benchmark_report` and `eval_report` the same report."
)
_TARGET_DOC = (
    "Values that the trained model must reach, by metric: `val_loss`, which `metagen ladder` "
    "forecasts, or one of `eval.py`."
)

# What a key may be for alone, as the table in docs/spec.md says it.
ONLY = {
    "prose": "Prose only.",
    "check": "Checked only.",
    "release": "Of a release only.",
}


@dataclass(frozen=True)
class Key:
    """A leaf key: its dotted name, allowed values, meaning and default.

    Attributes:
        only: What alone a key changes, a key of `ONLY`; "" for one that changes the package.
    """

    name: str
    kind: Kind
    doc: str
    default: Any = None
    required: bool = False
    only: str = ""


def table() -> tuple[Key, ...]:
    """Return every leaf key, in the order of a spec."""
    model = (*_task(), *_constraints(), *_training(), *_architecture())
    return (*_package(), *_release(), *model, *_results())


def _package() -> tuple[Key, ...]:
    license_id = choice(*words.LICENSES, any_case=True)
    return (
        Key("metagen_version", choice("1.0"), "Version of the spec language.", required=True),
        Key(
            "name",
            NAME,
            "Name of the model; the run folder is named after it.",
            required=True,
            only="prose",
        ),
        Key("description", PROSE, "Description of the model in a sentence or two.", only="prose"),
        Key("version", NAME, "Version of the model package.", only="prose"),
        Key(
            "license", license_id, "Licence of the model: a Hugging Face identifier.", only="prose"
        ),
        Key(
            "authors",
            list_of(NAME),
            "Authors of the model, for the cards and the paper.",
            only="prose",
        ),
        Key("modality.inputs", values.inputs(), "Inputs of the model.", ["text"]),
        Key("modality.outputs", values.outputs(), "Outputs of the model.", ["text"]),
    )


def _release() -> tuple[Key, ...]:
    """Return the keys of the released folder, and what its records ask of the supplier."""
    dtypes = choice("float32", "bfloat16", "float16")
    kinds = {
        "supplier": (NAME, "Organisation or person that provides the model."),
        "contact": (NAME, "E-mail address or web address for questions about the model."),
        "location": (NAME, "Country or region of the supplier."),
        "date": (date(), "Day on which the model is released."),
        "repository": (ADDRESS, "Address of the repository that the model is loaded from."),
        "language": (
            list_of(values.language()),
            "Languages that the model is for, by ISO 639 code.",
        ),
        "intended_use": (PROSE, "Uses that the model is meant for."),
        "out_of_scope": (PROSE, "Uses that the model is not meant for."),
        "risk": (choice(*words.RISKS), "Risk of the model, as its supplier assesses it."),
        "autonomous": (flag(), "Whether it acts without a person who approves each action."),
        "standards": (list_of(NAME), "Standards and regulations that the model complies with."),
        "license_name": (NAME, "Name of a licence that `license` calls `other`."),
        "citation": (PROSE, "Reference or BibTeX by which the model is to be cited."),
        "base_model": (NAME, "The Hub's name of the model that `training.init_from` holds."),
        "license_link": (LINE, "Address of the licence's text."),
    }
    return (
        Key(
            "release.dtype",
            dtypes,
            "Format of the released weights; left out, as trained.",
            only="release",
        ),
        *(Key(f"release.{name}", kind, doc, only="prose") for name, (kind, doc) in kinds.items()),
    )


def _task() -> tuple[Key, ...]:
    actions = choice("discrete", "continuous")
    return (
        Key("task.type", TASK, "Task of the model; where it is left out, the modalities tell."),
        Key("task.domain", NAME, "Domain of the task.", only="prose"),
        Key("task.num_classes", NUMBER_OF, "Number of classes of a classifier."),
        Key("task.num_outputs", NUMBER_OF, "Outputs of a regression; channels of a series."),
        Key("task.horizon", NUMBER_OF, "Future steps of a forecast."),
        Key("task.lookback", NUMBER_OF, "Past steps that a forecast uses."),
        Key(
            "task.action_space",
            actions,
            "Actions are choices (discrete) or quantities (continuous).",
        ),
        Key("task.num_actions", NUMBER_OF, "Actions of a discrete action space."),
        Key("task.action_dim", NUMBER_OF, "Dimensions of a continuous action space."),
        Key("task.num_anchors", NUMBER_OF, "Anchor boxes of a detector at each position."),
        Key("task.mask_resolution", image_size(65_536), "Size of a predicted mask."),
        Key("task.node_features", NUMBER_OF, "Features of a node of the graph."),
        Key("task.edge_features", NUMBER_OF, "Features of an edge of the graph."),
        Key("task.embedding_dim", NUMBER_OF, "Dimensions of an embedding."),
    )


def _constraints() -> tuple[Key, ...]:
    memory = quantity(units.parse_bytes, units.BYTES, numbers=True)
    context = quantity(units.parse_context, units.CONTEXT, numbers=True)
    tokens = quantity(units.parse_tokens, units.PROMPT, numbers=True)
    rate = quantity(lambda value: str(units.parse_rate(value)), units.RATE)
    latency = quantity(units.spell_latency, units.LATENCY)
    return (
        Key("constraints.parameter_budget.min", COUNT, "Fewest parameters (B = 10^9)."),
        Key("constraints.parameter_budget.max", COUNT, "Most parameters (B = 10^9)."),
        Key("constraints.memory_budget", memory, "Most memory in use (GB = 10^9, GiB = 2^30)."),
        Key("constraints.context_window", context, "Tokens in view (k = 1,024, M = 1,048,576)."),
        Key("constraints.latency", latency, "Longest time until the first output."),
        Key("constraints.throughput", rate, "Least output per second, of all requests together."),
        Key("constraints.batch", whole(1, 65_536), "Requests that are answered at once.", 1),
        Key("constraints.prompt_length", tokens, "Tokens that are read before the first output."),
        Key(
            "constraints.device",
            values.device(),
            "Device to run on: a class, a device, or several devices.",
        ),
        Key("constraints.image_size", image_size(65_536), "Size of an image."),
        Key("constraints.patch_size", image_size(65_536), "Size of a patch of an image."),
        Key("constraints.latent_size", image_size(65_536), "Size of the latents of an image."),
    )


def _training() -> tuple[Key, ...]:
    amount = quantity(amounts.spell_amount, amounts.AMOUNT)
    hardware = quantity(values.spell_hardware, units.HARDWARE)
    duration = quantity(units.spell_duration, units.DURATION)
    intensity = quantity(units.spell_intensity, units.INTENSITY)
    return (
        Key("training.objective", values.objective(), "Training objective, or several of them."),
        Key(
            "training.data.sources",
            list_of(values.source()),
            "Sources of the training data, each a name or a mapping.",
            only="prose",
        ),
        Key("training.data.size", amount, "Amount of training data (k = 1,000)."),
        Key("training.data.governance.pii", PROSE, "Handling of personal data.", only="prose"),
        Key(
            "training.data.governance.copyright",
            PROSE,
            "Legal basis for using the data.",
            only="prose",
        ),
        Key(
            "training.data.governance.consent",
            PROSE,
            "Consent of the people in the data.",
            only="prose",
        ),
        Key(
            "training.data.governance.retention",
            PROSE,
            "Time for which the data is stored.",
            only="prose",
        ),
        Key(
            "training.data.governance.filtering",
            PROSE,
            "Filters applied to the data.",
            only="prose",
        ),
        Key(
            "training.data.governance.provenance",
            PROSE,
            "Record of the data's origin.",
            only="prose",
        ),
        Key("training.compute.hardware", hardware, "Devices for the full training."),
        Key("training.compute.duration", duration, "Duration of the full training."),
        Key(
            "training.compute.utilization",
            real(0.0, 1.0, above=True),
            "Share of the devices' arithmetic peak that training reaches.",
        ),
        Key(
            "training.compute.energy_source",
            choice(*words.ENERGY_SOURCES),
            "Main source of the electricity of the full training.",
            only="prose",
        ),
        Key(
            "training.compute.region",
            NAME,
            "Country or region of the data centre of the full training.",
            only="prose",
        ),
        Key(
            "training.compute.carbon_intensity",
            intensity,
            "CO2 of the electricity there, for each kWh; left out, the world's average.",
        ),
        Key(
            "training.init_from",
            LINE,
            "Folder of the weights that the full training starts from, on the machine that trains: "
            "a checkpoint of `train.py` or transformers.",
        ),
        Key(
            "training.alignment.method",
            list_of(NAME),
            "Alignment methods, such as rlhf.",
            only="prose",
        ),
        Key("training.alignment.policy", PROSE, "Policy for the alignment.", only="prose"),
        *_training_config(),
    )


def _training_config() -> tuple[Key, ...]:
    rate, decay = real(0.0, 100.0, above=True), real(0.0, 100.0)
    steps, augmentation = whole(0, 10**12), either(flag(), list_of(NAME))
    optimizer = "Optimizer of the full model; the proxy trains with adamw."
    return (
        Key("training.config.batch_size", NUMBER_OF, "Sequences or samples in a training step."),
        Key("training.config.learning_rate", rate, "Peak learning rate."),
        Key("training.config.epochs", NUMBER_OF, "Passes over the training data."),
        Key("training.config.optimizer", choice(*words.OPTIMIZERS), optimizer),
        Key("training.config.weight_decay", decay, "Weight decay."),
        Key("training.config.warmup_steps", steps, "Steps of learning-rate warm-up."),
        Key("training.config.warmup_epochs", steps, "Epochs of learning-rate warm-up."),
        Key("training.config.ema_decay", SHARE, "Decay of the moving average of the weights."),
        Key("training.config.noise_schedule", NAME, "Noise schedule of a diffusion model."),
        Key("training.config.timesteps", NUMBER_OF, "Noise levels of a diffusion model."),
        Key("training.config.unconditional_probability", SHARE, "Share trained without condition."),
        Key("training.config.data_augmentation", augmentation, "Augmentation of training images."),
    )


def _architecture() -> tuple[Key, ...]:
    components = list_of(record(name=NAME, type=NAME), distinct=False)
    return (
        Key("architecture.family", choice(*words.FAMILIES), "Family of architectures."),
        Key(
            "architecture.components",
            components,
            "Parts that the model must have.",
            [],
            only="check",
        ),
        Key("architecture.dims", pins(), "Dimensions pinned by name in architecture.yaml.", {}),
        Key(
            "architecture.search",
            texts(1_000),
            "Reasons of pinned dimensions and of settings, as `metagen search` finds them.",
            {},
        ),
    )


def _results() -> tuple[Key, ...]:
    artifacts = list_of(choice(*words.ARTIFACTS), least=1)
    return (
        Key(
            "outputs.artifacts",
            artifacts,
            _ARTIFACTS_DOC,
            list(words.ARTIFACTS),
        ),
        Key(
            "evaluation.benchmarks",
            list_of(NAME),
            "Benchmarks intended for the model.",
            [],
            only="prose",
        ),
        Key("evaluation.baselines", list_of(NAME), "Models to compare with.", [], only="prose"),
        Key(
            "evaluation.metrics",
            list_of(NAME),
            "Metrics that eval.py must report.",
            [],
            only="check",
        ),
        Key(
            "evaluation.lifecycle",
            choice(*words.LIFECYCLES),
            "Stage of the evaluation: whether it will still change, or is given up.",
            only="prose",
        ),
        Key(
            "evaluation.preregistration",
            ADDRESS,
            "Address of the plan of the evaluation, where it was registered before it ran.",
            only="prose",
        ),
        Key("evaluation.target", targets(), _TARGET_DOC, {}),
        Key("evaluation.bench", choice(*words.BENCHES), "Length of the proxy's training.", "quick"),
        Key("evaluation.seeds", whole(1, 10), "Trainings of the proxy, a seed each."),
        Key(
            "evaluation.ablations",
            values.ablations(),
            "Changes of the proxy to train and score beside it; `blueprint/ablations.yaml` lists "
            "the family's.",
            [],
        ),
        Key("reproducibility.seed", whole(0, 2**32 - 1), "Seed of all random numbers.", 42),
        Key("reproducibility.determinism", PROSE, "Guarantee for repeated runs.", only="prose"),
    )
