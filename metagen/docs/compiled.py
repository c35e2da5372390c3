"""Templates that a process has compiled: a build renders some parts in many documents."""

from __future__ import annotations

from types import CodeType

import jinja2
from jinja2.bccache import Bucket

Codes = dict[tuple[str, str], CodeType]  # the code by the key of a template and its checksum


class Compiled(jinja2.BytecodeCache):
    """Compiled templates in memory, of environments that compile alike."""

    def __init__(self, codes: Codes) -> None:
        self.codes = codes

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self.codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code:
            self.codes[bucket.key, bucket.checksum] = bucket.code
