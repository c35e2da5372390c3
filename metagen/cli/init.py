"""`metagen init`: a first spec, for a modality or of a released model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metagen.errors import Problem, SpecError, UsageError

if TYPE_CHECKING:
    from metagen.families import Route
    from metagen.families.configs import Draft

_SECTIONS = {
    "constraints": {
        "parameter_budget": ('{max: "10M"}', "constraints.parameter_budget.max"),
        "memory_budget": ('"2GB"', "constraints.memory_budget"),
        "device": ("consumer_gpu", "constraints.device"),
    },
    "training": {
        "data": ('{sources: ["my data"]}', "training.data.sources"),
        "compute": ('{hardware: "1xA100", duration: "1 day"}', "training.compute.hardware"),
        "config": ("{batch_size: 64}", "training.config.batch_size"),
    },
    "release": {
        "language": ("[en]", "release.language"),
        "intended_use": ('"Drafts that a person edits."', "release.intended_use"),
        "out_of_scope": ('"Decisions about people."', "release.out_of_scope"),
        "contact": ('"models@example.org"', "release.contact"),
    },
}


def _words(context: object, parameter: object, text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


@click.command()
@click.option("--inputs", callback=_words, help="Inputs, such as text, or image,text.")
@click.option("--outputs", callback=_words, help="Outputs, such as label.")
@click.option(
    "--from",
    "config",
    type=click.Path(path_type=Path),
    help="A config.json of transformers, whose dimensions the spec pins.",
)
@click.option("--name", default="my_model", show_default=True, help="Name of the model.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("spec.yaml"),
    show_default=True,
    help="File to write; one that exists is never replaced.",
)
def init(
    inputs: tuple[str, ...], outputs: tuple[str, ...], config: Path | None, name: str, out: Path
) -> None:
    """Write a commented spec, for a modality or of a released model.

    With neither --inputs nor --from the spec is that of a text model.
    """
    from metagen.families import configs

    if config is not None:
        draft = configs.read(config)
        lines = list(_of_config(draft, name, config))
        for each in draft.lacks:
            click.echo(f"not in the spec: {each}", err=True)
    else:
        lines = list(_of_modality(inputs or ("text",), outputs or ("text",), name))
    _write(out, "\n".join(lines) + "\n")
    click.echo(f"wrote {out}; next: metagen explain {out}")


def _write(out: Path, text: str) -> None:
    """Write a new file and check that it is a valid spec."""
    try:
        with out.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        hint = "name another file with --out"
        raise UsageError(Problem("This file exists, and stays as it is.", str(out), hint)) from None
    from metagen.engine import graph
    from metagen.spec import load

    try:
        graph.of_spec(load(out))
    except SpecError:
        out.unlink()
        raise


def _of_modality(inputs: tuple[str, ...], outputs: tuple[str, ...], name: str) -> Iterator[str]:
    route, others = _route(inputs, outputs)
    yield from _head(name)
    yield f"modality: {{inputs: {_list(inputs)}, outputs: {_list(outputs)}}}"
    key = {"task.type": "task: {type: %s}", "architecture.family": "architecture: {family: %s}"}
    for each, text in key.items():
        if len({_first(r, each) for r in (route, *others)}) > 1:
            rest = ", ".join(f"{_first(r, each)} for {r.family}" for r in others)
            yield f"{text % _first(route, each)}  # {route.family}; or {rest}"
    for section, parts in _SECTIONS.items():
        yield f"{section}:"
        yield from _commented(parts)


def _route(inputs: tuple[str, ...], outputs: tuple[str, ...]) -> tuple[Route, list[Route]]:
    """Return the first route of a modality, and the others that it fits.

    Raises:
        SpecError: No family builds it.
    """
    from metagen import families

    declared = {families.INPUTS: inputs, families.OUTPUTS: outputs}
    fitting = [route for route in families.ROUTES if not route.misfits(declared.get)]
    if not fitting:
        families.route(declared.get)  # Raises with the nearest routes.
    return fitting[0], fitting[1:]


def _first(route: Route, key: str) -> str:
    return min(route.allowed[key])


def _head(name: str) -> Iterator[str]:
    yield "# A spec of MetaGen. An editor with a YAML language server completes and checks it by"
    yield "# its schema, which `metagen schema > spec.schema.json` writes beside it."
    yield "# yaml-language-server: $schema=spec.schema.json"
    yield 'metagen_version: "1.0"'
    yield f"name: {_quoted(name)}"


def _commented(parts: dict[str, tuple[str, str]]) -> Iterator[str]:
    from metagen.spec.schema import keys

    for name, (value, key) in parts.items():
        yield f"  # {name}: {value}  # {keys()[key].doc}"


def _list(words: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_quoted, words))}]"


def _quoted(value: Any) -> str:
    """Return a value as JSON, which is YAML too; a plain word stays plain."""
    import json

    plain = isinstance(value, str) and value.isascii() and value.isidentifier()
    reserved = {"null", "true", "false"}
    return value if plain and value.lower() not in reserved else json.dumps(value)


def _of_config(draft: Draft, name: str, config: Path) -> Iterator[str]:
    from metagen import families
    from metagen.spec.declared import nested

    route = next(each for each in families.ROUTES if each.family == draft.family)
    yield from _head(name)
    yield f"# The shape of a {draft.name} model, read from its config.json."
    for lack in draft.lacks:
        yield f"# Not in the spec: {lack.encode('ascii', 'backslashreplace').decode()}"
    modality = {key: min(route.allowed[key]).split("+") for key in families.KEYS[:2]}
    others = {key: _first(route, key) for key in families.KEYS[2:4]}
    count = {"constraints.parameter_budget.max": str(_counted(draft))}
    pins = {"architecture.dims": draft.dims}
    tree = nested({**modality, **others, **count, **draft.keys, **pins})
    for section, content in tree.items():
        yield f"{section}: {_flow(content)}"


def _flow(content: Any) -> str:
    if isinstance(content, dict):
        return "{" + ", ".join(f"{key}: {_flow(part)}" for key, part in content.items()) + "}"
    if isinstance(content, list):
        return _list(tuple(content))
    return _quoted(content)


def _counted(draft: Draft) -> int:
    """Return the parameters of the pinned model."""
    from metagen import families

    family = families.named(draft.family)
    usual = {name: value for name, (value, _) in family.constants.items()}
    fixed = family.fixed(lambda key: _typed(key, draft.keys.get(key)))
    window = draft.keys.get("constraints.context_window")
    context = {family.context_dim: window} if family.context_dim and window else {}
    return family.count({**usual, **family.task.defaults, **context, **fixed, **draft.dims})


def _typed(key: str, value: Any) -> Any:
    from metagen.spec.schema import keys

    return None if value is None else keys()[key].kind.parse(value)


COMMANDS = (init,)
