"""The spec language, from YAML or JSON to a frozen `Spec`.

========  ========================================================================
schema    the keys by name, as a page and as a JSON Schema
table     the table of keys; words, kinds, values: what they allow
reader    text to nodes with their places, within limits
declared  nodes to leaf keys; overrides
door      loading: merges defaults, file and overrides, resolves references, types values
checked   the `Spec` that all higher packages read
========  ========================================================================
"""

from metagen.spec.checked import Spec
from metagen.spec.door import load
from metagen.spec.schema import json_schema, markdown, variables
from metagen.units import nearest

__all__ = ["Spec", "json_schema", "load", "markdown", "nearest", "variables"]
