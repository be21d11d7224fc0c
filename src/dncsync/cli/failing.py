"""Exit codes, and errors as one clear line."""

from __future__ import annotations

import os
import sys
import traceback

EXIT_DONE = 0
EXIT_CANNOT = 1
EXIT_USAGE = 2
EXIT_FOUND = 3


class Cannot(Exception):
    """The command cannot do what it was asked; `str()` is one line: what, where, how to mend."""


def explain(error: Exception) -> int:
    """Prints one line about an error that ended a command, and returns the exit code."""
    from dncsync.connector import UnknownVendor, VendorError
    from dncsync.ledger.sqlite import LedgerError
    from dncsync.policy import PolicyError
    from dncsync.settings import ConfigError
    from dncsync.sync.requests import Refused

    known = (
        Cannot,
        ConfigError,
        LedgerError,
        PolicyError,
        Refused,
        UnknownVendor,
        VendorError,
        OSError,
    )
    if isinstance(error, OSError) and not isinstance(error, Cannot):
        where = f"{error.filename}: " if error.filename else ""
        text = f"{where}{error.strerror or error}"
    elif isinstance(error, known):
        text = str(error)
    else:
        if os.environ.get("DNCSYNC_DEBUG"):
            traceback.print_exception(error)
        text = (
            f"this is a fault of dncsync itself ({type(error).__name__}); nothing was half done. "
            "Set DNCSYNC_DEBUG=1 to see where, and please report it"
        )
    say(text)
    return EXIT_CANNOT


def say(text: object) -> None:
    """One line to the person, on standard error."""
    sys.stderr.write(f"dncsync: {one_line(text)}\n")


def one_line(text: object) -> str:
    """Masked, and without line breaks: an error may carry what a vendor or a file said."""
    from dncsync.numbers import mask_text

    return mask_text(" ".join(str(text).split()))
