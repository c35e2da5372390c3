"""The pages of `metagen view`: the report with what changed, documents as HTML, and folders."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from markupsafe import Markup

from metagen import files, paths
from metagen.docs import markup, render, report
from metagen.engine import changes
from metagen.work import Desk

RELOAD = "/-/reload.js"
_META = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>', re.IGNORECASE)
_FIRST = re.compile(r"(?=<h2[ >])")


class _Sources:
    """The part of a desk that templates of pages use: they state no facts."""

    def source(self, name: str) -> bytes:
        return paths.source(name).read_bytes()


_DESK = cast(Desk, _Sources())


def policy(port: int) -> str:
    """Return what a browser may load for a page of the server: nothing from elsewhere."""
    here = f"http://127.0.0.1:{port} http://localhost:{port}"
    script = " ".join(f"{each}{RELOAD}" for each in here.split())
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data: {here}; "
        f"script-src {script}; connect-src {here}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def of_report(run: Path, text: str, state: str) -> str:
    """Return a package's report with what changed since the last build, and live reload."""
    changed = _part("changes.html", changes=changes.since_last(run))
    seen = _META.sub("", text, count=1)
    # A function, since the text of the changes is no pattern.
    seen = _FIRST.sub(lambda _: changed, seen, count=1)
    return _reloading(seen, state)


def of_document(name: str, text: str, state: str) -> str:
    """Return a Markdown document of a package as a page."""
    return _reloading(_framed(name, markup.html(text, lambda address: address)), state)


def of_folder(name: str, names: Sequence[str], state: str) -> str:
    """Return a page that lists a folder of a package."""
    title = name or "The package"
    return _reloading(_framed(title, _part("listing.html", title=title, names=names)), state)


def _framed(title: str, body: str) -> str:
    style = paths.source(report.STYLE).read_text(encoding="utf-8")
    sections = [{"id": "content", "title": title}]
    return render.html(
        _DESK,
        "page/frame.html",
        policy=None,
        title=title,
        style=Markup(style),
        sections=sections,
        body=Markup(body),
        documents=(),
    )


def _part(template: str, **values: Any) -> str:
    return render.html(_DESK, f"page/{template}", **values)


def _reloading(text: str, state: str) -> str:
    """Return a page that loads itself again when the state of the package is another one."""
    script = f'<script src="{RELOAD}" data-state="{html.escape(state)}" defer></script>'
    head, end, rest = text.rpartition("</head>")
    return f"{head}{script}{end}{rest}" if end else text


def state(run: Path) -> str:
    """Return a text that differs after each build that changed the package."""
    found = []
    for name in ("manifest.json", report.TARGET):
        try:
            seen = (run / name).lstat()
        except OSError:
            continue
        found.append((name, seen.st_mtime_ns, seen.st_size, seen.st_ino))
    return files.sha256(repr(found).encode())[:16]
