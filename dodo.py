"""The graph's door for doit: `doit list` shows what can be made. There is no logic here."""

from metagen.engine import doors

DOIT_CONFIG, task_dicts = doors.open_graph()


def task_metagen():
    """Make every artifact of every spec."""
    yield from task_dicts
