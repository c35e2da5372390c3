"""The keys of a spec, in one table.

A leaf key is a dotted name with one value. Defaults have the form of values in a spec; an absent
key without a default is "not declared".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from metagen import amounts, units
from metagen.spec import words
from metagen.spec.kinds import (
    Kind,
    choice,
    date,
    did_you_mean,
    either,
    flag,
    image_size,
    list_of,
    pattern,
    pins,
    quantity,
    real,
    record,
    refuse,
    text,
    texts,
    whole,
)

_ARTIFACTS_DOC = (
    "Artifacts to build, with all that they are measured on; `pytorch_skeleton` and "
    "`training_recipe` are `code/`, `benchmark_report` and `eval_report` the same report."
)
NAME = text(200)
LINE = text(10_000)
PROSE = text(10_000, lines=True)
NUMBER_OF = whole(1, 10**9)
COUNT = quantity(units.parse_count, units.COUNT, numbers=True)
TASK = choice(*words.TASKS)
SHARE = real(0.0, 1.0)
ADDRESS = pattern(r"https?://[^\s<>\"'`\\|]+", "an address that begins with https://")


@dataclass(frozen=True)
class Key:
    """A leaf key: its dotted name, allowed values, meaning and default.

    A key that is `prose` changes the text of documents, and no figure and no code.
    """

    name: str
    kind: Kind
    doc: str
    default: Any = None
    required: bool = False
    prose: bool = False


def _inputs() -> Kind:
    return list_of(choice(*words.INPUTS, barred=words.UNBUILDABLE), least=1)


def _outputs() -> Kind:
    synonyms, barred = words.OUTPUT_SYNONYMS, words.UNBUILDABLE
    return list_of(choice(*words.OUTPUTS, synonyms=synonyms, barred=barred), least=1)


def _objective() -> Kind:
    return list_of(choice(*words.OBJECTIVES, synonyms=words.OBJECTIVE_SYNONYMS), least=1)


def _device() -> Kind:
    """One device or a class of them, or a number of devices such as 8xH100."""
    known = (*words.DEVICE_CLASSES, *words.devices())
    allowed = f"{', '.join(known)}, or a number of one of these, such as 8xH100"

    def parse(value: Any) -> Any:
        if not isinstance(value, str):
            refuse(value, allowed)
        count, name = units.counted(value)
        near = units.nearest(name, (*words.short_names(), *known))
        many = f"{count}x" if count > 1 else ""
        device = words.device(name) or refuse(
            value, allowed, did_you_mean(near and f"{many}{near}")
        )
        return f"{many}{device}"

    json = {"anyOf": [{"enum": list(known)}, {"type": "string"}]}
    return Kind(allowed, parse, json, as_text=True)


def _language() -> Kind:
    """A code of ISO 639, which script and region may follow."""
    allowed = "an ISO 639 code of a language, such as en or zh-Hant"
    form = pattern(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*", allowed)

    def parse(value: Any) -> Any:
        code = form.parse(value)
        return code if code.partition("-")[0] in words.languages() else refuse(value, allowed)

    return Kind(allowed, parse, form.json)


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
            prose=True,
        ),
        Key("description", PROSE, "Description of the model in a sentence or two.", prose=True),
        Key("version", NAME, "Version of the model package.", prose=True),
        Key("license", license_id, "Licence of the model: a Hugging Face identifier.", prose=True),
        Key(
            "authors",
            list_of(NAME),
            "Authors of the model, for the cards and the paper.",
            prose=True,
        ),
        Key("modality.inputs", _inputs(), "Inputs of the model.", ["text"]),
        Key("modality.outputs", _outputs(), "Outputs of the model.", ["text"]),
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
        "language": (list_of(_language()), "Languages that the model is for, by ISO 639 code."),
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
        Key("release.dtype", dtypes, "Format of the released weights; left out, as trained."),
        *(Key(f"release.{name}", kind, doc, prose=True) for name, (kind, doc) in kinds.items()),
    )


def _source() -> Kind:
    """One source of training data: its name, or a mapping with what is known of it."""
    known = {
        "url": ADDRESS,
        "license": NAME,
        "date": date(coarse=True),
        "kind": choice(*words.ACQUISITIONS),
        "language": list_of(_language()),
        "description": PROSE,
    }
    return either(LINE, record(known, name=LINE))


def _ablations() -> Kind:
    """Names of ablations; `all` stands for each of the family, and on a command line so does 1."""
    named = list_of(NAME)
    words = {"all": ("all",), "none": (), 1: ("all",), 0: ()}
    allowed = "all or 1, none or 0, or a list of names of the family's ablations"

    def parse(value: Any) -> tuple[str, ...]:
        if isinstance(value, list):
            return tuple(named.parse(value))
        if isinstance(value, (str, int)) and value in words:
            return words[value]
        hint = f"write [{value}]" if isinstance(value, str) else ""
        refuse(value, allowed, hint)

    return Kind(allowed, parse, {"anyOf": [{"enum": list(words)}, dict(named.json)]})


def _task() -> tuple[Key, ...]:
    actions = choice("discrete", "continuous")
    return (
        Key("task.type", TASK, "Task of the model; where it is left out, the modalities tell."),
        Key("task.domain", NAME, "Domain of the task.", prose=True),
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
            _device(),
            "Device to run on: a class, a device, or several devices.",
        ),
        Key("constraints.image_size", image_size(65_536), "Size of an image."),
        Key("constraints.patch_size", image_size(65_536), "Size of a patch of an image."),
        Key("constraints.latent_size", image_size(65_536), "Size of the latents of an image."),
    )


def _training() -> tuple[Key, ...]:
    amount = quantity(amounts.spell_amount, amounts.AMOUNT)
    hardware = quantity(_spell_hardware, units.HARDWARE)
    duration = quantity(units.spell_duration, units.DURATION)
    return (
        Key("training.objective", _objective(), "Training objective, or several of them."),
        Key(
            "training.data.sources",
            list_of(_source()),
            "Sources of the training data, each a name or a mapping.",
            prose=True,
        ),
        Key("training.data.size", amount, "Amount of training data (k = 1,000)."),
        Key("training.data.governance.pii", PROSE, "Handling of personal data.", prose=True),
        Key(
            "training.data.governance.copyright",
            PROSE,
            "Legal basis for using the data.",
            prose=True,
        ),
        Key(
            "training.data.governance.consent",
            PROSE,
            "Consent of the people in the data.",
            prose=True,
        ),
        Key(
            "training.data.governance.retention",
            PROSE,
            "Time for which the data is stored.",
            prose=True,
        ),
        Key(
            "training.data.governance.filtering", PROSE, "Filters applied to the data.", prose=True
        ),
        Key(
            "training.data.governance.provenance", PROSE, "Record of the data's origin.", prose=True
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
            prose=True,
        ),
        Key(
            "training.compute.region",
            NAME,
            "Country or region of the data centre of the full training.",
            prose=True,
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
            prose=True,
        ),
        Key("training.alignment.policy", PROSE, "Policy for the alignment.", prose=True),
        *_training_config(),
    )


def _spell_hardware(value: str) -> str:
    count, device = units.parse_hardware(value)
    return f"{count}x{device}"


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
        Key("architecture.components", components, "Parts that the model must have.", []),
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
            prose=True,
        ),
        Key("evaluation.baselines", list_of(NAME), "Models to compare with.", [], prose=True),
        Key("evaluation.metrics", list_of(NAME), "Metrics to report.", []),
        Key("evaluation.bench", choice(*words.BENCHES), "Length of the proxy's training.", "quick"),
        Key("evaluation.seeds", whole(1, 10), "Trainings of the proxy, a seed each."),
        Key(
            "evaluation.ablations",
            _ablations(),
            "Changes of the proxy to train and score beside it; `blueprint/ablations.yaml` lists "
            "the family's.",
            [],
        ),
        Key("reproducibility.seed", whole(0, 2**32 - 1), "Seed of all random numbers.", 42),
        Key("reproducibility.determinism", PROSE, "Guarantee for repeated runs.", prose=True),
    )
