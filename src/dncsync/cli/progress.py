"""Progress bars on standard error, where that is a terminal; silence elsewhere and with --json."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

Report = Callable[[int, int | None], None]
"""`report(done, total)`; total None: not known."""


@contextlib.contextmanager
def bar(what: str, *, quiet: bool = False) -> Iterator[Report]:
    """A bar for work that may take more than a second or two."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
