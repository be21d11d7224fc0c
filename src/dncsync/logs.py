"""Structured logs: one line a record, UTC, every number masked, every secret redacted, whoever wrote it.

Our own code logs through `structlog.get_logger()`; what libraries log through `logging`, warnings and
uncaught exceptions take the same way out. The one handler renders only what went through the `Redactor`.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final, Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from dncsync.redaction import Redactor

Format = Literal["json", "console"]

LEVELS: Final = ("debug", "info", "warning", "error")

# Chatty at INFO, with whole URLs: shown from WARNING on, or from INFO on when we debug.
LIBRARIES: Final = (
    "apscheduler",
    "asyncio",
    "httpcore",
    "httpx",
    "hubspot",
    "requests",
    "simple_salesforce",
    "twilio",
    "urllib3",
    "uvicorn",
    "werkzeug",
)

OWN_EXTRAS: Final = ("system", "reason")
"""What the floors below say beside their words (`extra=...` of `logging`): which system, and why."""

# Ours, rendered as they are: the processors below made them from fixed words.
_STRUCTURE: Final = ("timestamp", "level")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def configure(
    level: str = "info",
    format: Format = "json",
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> Redactor:
    """Sends all logging of the process to `stream` (default: standard error). Call again to change it.

    `level`: one of `LEVELS`. `secrets`: values to redact wherever they turn up. Returns the redactor,
    for other texts that leave the process. Replaces `sys.excepthook` and
    `threading.excepthook`, so that an uncaught exception is a redacted record too.
    """
    if level not in LEVELS:
        raise ValueError(f"unknown log level; one of {', '.join(LEVELS)}")
    redactor = Redactor(secrets)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    handler = _Handler(stream if stream is not None else sys.stderr)
    handler.setFormatter(_formatter(redactor, format))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(threshold)
    _quieten(logging.INFO if threshold <= logging.DEBUG else logging.WARNING)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        cache_logger_on_first_use=False,
    )
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    return redactor


def _quieten(threshold: int) -> None:
    """Libraries log through the root handler only, from `threshold` on."""
    known = list(logging.root.manager.loggerDict)
    for name in {*LIBRARIES, *(n for n in known if n.partition(".")[0] in LIBRARIES)}:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(threshold if name in LIBRARIES else logging.NOTSET)
    # Whole paths, and so the tokens that some vendors carry there: our listener writes its own lines.
    logging.getLogger("uvicorn.access").propagate = False


def _formatter(redactor: Redactor, format: Format) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(allow=OWN_EXTRAS),
        ],
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _redact_with(redactor),
            _as_json if format == "json" else _as_line,
        ],
    )


def _redact_with(redactor: Redactor) -> Processor:
    def redact(logger: WrappedLogger, method: str, record: EventDict) -> EventDict:
        shown: dict[str, Any] = {key: record.pop(key) for key in _STRUCTURE if key in record}
        error = record.pop("exc_info", None)
        stack = record.pop("stack_info", None)
        shown["event"] = redactor.text(str(record.pop("event", "")))
        for key, value in record.items():
            name = redactor.text(str(key))
            shown[f"{name}_" if name in shown else name] = redactor.value(value, str(key))
        if stack:
            shown["stack"] = redactor.text(str(stack))
        if error:
            shown["exception"] = _traceback(redactor, error)
        return shown

    return redact


def _traceback(redactor: Redactor, error: Any) -> str:
    if isinstance(error, BaseException):
        return redactor.traceback(error)
    if isinstance(error, tuple) and len(error) == 3:
        kind, value, trace = error
        return redactor.traceback(value, trace, kind) if kind is not None else ""
    kind, value, trace = sys.exc_info()
    return redactor.traceback(value, trace, kind) if kind is not None else ""


def _as_json(logger: WrappedLogger, method: str, record: EventDict) -> str:
    options = orjson.OPT_NON_STR_KEYS
    try:
        return orjson.dumps(record, option=options).decode()
    except orjson.JSONEncodeError:  # a lone surrogate, an int beyond 64 bits
        text = {key: str(value).encode("utf-8", "backslashreplace").decode() for key, value in record.items()}
        return orjson.dumps(text, option=options).decode()


def _as_line(logger: WrappedLogger, method: str, record: EventDict) -> str:
    """`time level event key=value ...`, then a traceback. No control character of a record gets through, so
    that nobody forges a line or moves the cursor of whoever reads it."""
    exception = record.pop("exception", "")
    stack = record.pop("stack", "")
    head = f"{record.pop('timestamp', '')} {record.pop('level', ''):<8} {record.pop('event', '')}"
    pairs = " ".join(f"{key}={_console_value(value)}" for key, value in record.items())
    lines = [_CONTROL.sub(_escape, f"{head}  {pairs}".rstrip())]
    lines += [_CONTROL.sub(_escape, line) for text in (stack, exception) if text for line in text.split("\n")]
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()


def _console_value(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return repr(text) if isinstance(value, str) and (" " in text or not text) else text


def _escape(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]


class _Handler(logging.StreamHandler[TextIO]):
    """Never falls back on printing a record raw, as the standard handler does when formatting fails."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        error = sys.exc_info()[0]
        what = error.__name__ if error is not None else "error"
        try:
            self.stream.write(
                orjson.dumps(
                    {
                        "level": "error",
                        "event": "a log record could not be written",
                        "error": what,
                        "where": f"{record.module}:{record.lineno}",
                    }
                ).decode()
                + self.terminator
            )
        except Exception:  # the stream itself is gone: there is nowhere left to say so
            return


def _log_uncaught(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("dncsync").critical("uncaught exception", exc_info=(kind, value, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
