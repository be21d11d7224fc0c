"""Exit codes, and errors as one clear line."""

from __future__ import annotations

import errno
import os
import sys

EXIT_DONE = 0
EXIT_CANNOT = 1
EXIT_USAGE = 2
EXIT_FOUND = 3
EXIT_HELD = 4
"""It is recorded, and waits for a person's approval: `dncsync plan`."""
EXIT_INTERRUPTED = 130
EXIT_NOBODY_READS = 141
"""As a shell tells it of a command whose output nobody reads any more."""

LONGEST_LINE = 600
"""Characters; a file's own words may be megabytes."""

_MENDS = {
    errno.ENOENT: "check the path",
    errno.EACCES: "run as the user that may, or choose another place",
    errno.EPERM: "run as the user that may, or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.ENOSPC: "free some space and run it again",
    errno.EDQUOT: "free some space and run it again",
    errno.EISDIR: "give a file, not a folder",
    errno.ENOTDIR: "check the path",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EADDRINUSE: "choose another port, or stop what uses it",
}


_TOLD_TO_PEOPLE = (
    ("dncsync.connector", "UnknownVendor"),
    ("dncsync.connector", "VendorError"),
    ("dncsync.ledger.reading_findings", "NoSuchFinding"),
    ("dncsync.ledger.sqlite", "LedgerError"),
    ("dncsync.policy", "PolicyError"),
    ("dncsync.settings_sources", "ConfigError"),
    ("dncsync.sync.plan_file", "PlanRefused"),
    ("dncsync.sync.reversals", "Refused"),
    ("dncsync.web.server", "ListenError"),
)
"""Errors whose `str()` is the one line, by module and name."""


class Cannot(Exception):
    """The command cannot do what it was asked; `str()` is one line: what, where, how to mend."""


def explain(error: Exception) -> int:
    """Prints one line about an error that ended a command, and returns the exit code."""
    say(reason(error))
    return EXIT_CANNOT


def reason(error: Exception) -> str:
    """What went wrong, where, and how to mend it; not yet masked."""
    if isinstance(error, Cannot):
        return str(error)
    if isinstance(error, OSError):
        return _of_the_machine(error)
    if isinstance(error, _loaded(*_TOLD_TO_PEOPLE)):
        return str(error)
    if isinstance(error, _loaded(("dncsync.ledger.sqlite", "Error"))):
        return (
            f"the ledger did not take it ({error}), and nothing of it was recorded; check the disk and the "
            "rights to the ledger's folder, then run it again"
        )
    if os.environ.get("DNCSYNC_DEBUG"):
        import traceback

        traceback.print_exception(error)
    return (
        f"this is a fault of dncsync itself ({type(error).__name__}); nothing was half done. "
        "Set DNCSYNC_DEBUG=1 to see where, and please report it"
    )


def _loaded(*names: tuple[str, str]) -> tuple[type[BaseException], ...]:
    """Those of the classes whose module is loaded: an error of any other cannot have happened, and loading
    all of them would make a mistyped path cost a second."""
    found = (getattr(sys.modules.get(module), name, None) for module, name in names)
    return tuple(each for each in found if isinstance(each, type))


def _of_the_machine(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else "what was to be printed could not be written: "
    mend = _MENDS.get(error.errno or 0)
    return f"{where}{error.strerror or error}" + (f"; {mend}" if mend else "")


def say(text: object) -> None:
    """One line to the person, on standard error."""
    sys.stderr.write(f"dncsync: {one_line(text)}\n")


def one_line(text: object) -> str:
    """Masked, short, and of printable characters only: an error may carry what a vendor, a file or a stranger
    said, and a terminal obeys control characters."""
    from dncsync.numbers import mask_text

    line = mask_text(printable(" ".join(str(text)[: 4 * LONGEST_LINE].split())))
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 3] + "..."


def printable(text: str) -> str:
    """The text with control characters, and whatever else a terminal might obey, spelled out."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
