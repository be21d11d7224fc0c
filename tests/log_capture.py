"""For tests: the whole logging set-up of a process, captured, and put back afterwards."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import structlog

from dncsync import logs


@contextmanager
def captured_logs(
    level: str = "info", format: logs.Format = "json", secrets: Iterable[str] = ()
) -> Iterator[io.StringIO]:
    """`logs.configure` onto a stream that is yielded; everything it changed is as before at the end."""
    root = logging.getLogger()
    handlers, old_level = root.handlers[:], root.level
    hooks = sys.excepthook, threading.excepthook
    stream = io.StringIO()
    try:
        logs.configure(level, format, secrets, stream)
        yield stream
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(old_level)
        sys.excepthook, threading.excepthook = hooks
        structlog.reset_defaults()
