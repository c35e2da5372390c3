"""The record of builds under damage: a row is lost at most, and never believed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from metagen.engine.ledger import Ledger
from metagen.engine.workspace import locked


class Broken:
    """A connection to a file whose pages are damaged."""

    in_transaction = True

    def execute(self, *_: object) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    def close(self) -> None:
        pass


def test_a_row_that_is_no_text_any_more_counts_as_absent(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(Ledger(path)) as ledger:
        ledger.put("run", [("trace", "a", 1), ("trace", "b", 2)])
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("update row set body = cast(x'fffe' as text) where name = 'a'")
    with closing(Ledger(path)) as ledger:
        assert ledger.rows("run", "trace") == {"b": 2}
    assert not path.with_name("ledger.sqlite.damaged").exists()


def test_what_was_read_before_damage_shows_is_in_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(Ledger(path)) as ledger:
        ledger.put("run", [("trace", "a", 1), ("written", "x", 2), ("written", "y", 3)])
    with closing(Ledger(path)) as ledger:
        ledger.rows("run", "trace")
        ledger.rows("run", "written")
        ledger.put("run", [("written", "y", None)])
        ledger._connection.close()
        ledger._connection = Broken()  # type: ignore[assignment]
        ledger.put("run", [("trace", "b", 4)])
    assert path.with_name("ledger.sqlite.damaged").is_file()
    with closing(Ledger(path)) as ledger:
        assert ledger.rows("run", "trace") == {"a": 1, "b": 4}
        assert ledger.rows("run", "written") == {"x": 2}


def test_a_folder_in_the_place_of_the_lock_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / ".metagen" / "lock").mkdir(parents=True)
    with locked(tmp_path, wait=False):
        assert (tmp_path / ".metagen" / "lock").is_file()
        assert len(list(tmp_path.glob(".metagen/lock.damaged-*"))) == 1
