"""The bundler, which joins a template file and the shared definitions it needs in one file.

`from layers.attention import Attention` is the include directive. Each shared definition is copied
verbatim, with its comments, to just above the first statement of the file that needs it, after the
definitions that it needs itself. Imports are merged and sorted, and lose their comments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from metagen.errors import TaskError
from metagen.package.config import Value, set_config
from metagen.package.imports import render_imports
from metagen.package.modules import Import, Module, Statement, fail, parse

Read = Callable[[str], bytes]


def bundle(name: str, read: Read, config: Mapping[str, Value] | None = None) -> bytes:
    """Return a template file in its form for a package.

    Args:
        name: The file, such as `templates/families/decoder/model.py`.
        read: Returns the bytes of a source file by its name.
        config: A value for each field of the file's `Config`; None leaves it unchanged.

    Raises:
        TaskError: An import, an annotation, a definition or a value cannot be bundled; the place
            is the line of the template.
    """
    main = parse(name, read(name).decode())
    if config is not None:
        set_config(main, config, read)
    collector = _Collector(main, read)
    for statement in main.statements:
        collector.add(main, statement)
    return collector.text().encode()


class _Collector:
    """Collects statements in their order in the bundled file."""

    def __init__(self, main: Module, read: Read) -> None:
        self._main = main
        self._read = read
        self._modules = {main.name: main}
        self._statements: list[tuple[Module, Statement]] = []
        self._seen: set[tuple[str, int]] = set()
        self._owners: dict[str, tuple[object, str]] = {}
        self._imports: list[Import] = [i for i in main.imports.values() if i.module == "__future__"]

    def add(self, module: Module, statement: Statement) -> None:
        """Add a statement, after everything that it needs."""
        if (module.name, statement.line) in self._seen:
            return
        self._seen.add((module.name, statement.line))
        for used in dict.fromkeys(statement.uses):
            self._follow(module, used, statement)
        if statement.binds:
            self._claim(statement.binds, module.name, f"{module.name}:{statement.line}")
        self._statements.append((module, statement))

    def _follow(self, module: Module, used: str, statement: Statement) -> None:
        """Add the definition of a name: a shared one, one of the same module, or an import."""
        if used in module.shared:
            path, line = module.shared[used]
            shared = self._load(path, module, line)
            definition = shared.definition(used)
            if definition is None:
                fail(module.name, line, f"{path} does not define {used}")
            self.add(shared, definition)
        elif used in module.imports:
            item = module.imports[used]
            self._claim(used, item, f"{module.name}:{statement.line}")
            self._imports.append(item)
        elif module is not self._main and (neighbour := module.definition(used)):
            self.add(module, neighbour)

    def _load(self, path: str, importer: Module, line: int) -> Module:
        if path not in self._modules:
            try:
                source = self._read(path).decode()
            except (OSError, TaskError):
                fail(importer.name, line, f"there is no shared module {path}")
            module = self._modules[path] = parse(path, source)
            for statement in module.statements:
                if statement.binds is None:
                    fail(path, statement.line, "a shared module may hold definitions only")
        return self._modules[path]

    def _claim(self, name: str, owner: object, place: str) -> None:
        """Refuse a name with two definitions."""
        first = self._owners.setdefault(name, (owner, place))
        if first[0] != owner:
            file, _, line = place.rpartition(":")
            fail(file, int(line), f"{name} clashes with the {name} of {first[1]}", "rename one")

    def text(self) -> str:
        """Return the file: docstring, imports, statements."""
        parts, previous = [], None
        for module, statement in self._statements:
            gap = statement.gap if previous is module is self._main else 2
            parts.append("\n" * (gap + 1 if previous else 0) + statement.text)
            previous = module
        # Formatters put one blank line between imports and a constant, two above other statements.
        space = "\n\n" if self._statements and self._statements[0][1].is_constant else "\n\n\n"
        head = self._main.docstring + "\n\n" if self._main.docstring else ""
        return head + render_imports(self._imports) + space + "".join(parts) + "\n"
