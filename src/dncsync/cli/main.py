"""`dncsync`: the commands by name. Each family is imported when it is called, so that help is quick.

The overview is printed without any library: it is asked for most, by people and by shells, and the library of
the command line alone takes a tenth of a second to load.
"""

from __future__ import annotations

import io
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from importlib import import_module
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

from dncsync import __version__
from dncsync.cli.failing import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NOBODY_READS,
    EXIT_USAGE,
    explain,
    say,
)

if TYPE_CHECKING:
    from cyclopts import App

FAMILIES = {
    "init": ("dncsync.cli.setup:init", "Write an annotated configuration to begin with."),
    "doctor": (
        "dncsync.cli.setup:doctor",
        "Check credentials, scopes, fields, clock and disk, and say how to mend each fault.",
    ),
    "run": ("dncsync.cli.run:run", "Run the daemon."),
    "status": ("dncsync.cli.status:status", "Show each system's state, lag, budget and open deliveries."),
    "number": (
        "dncsync.cli.number:app",
        "Show, block, unblock or check one number; list what is in quarantine.",
    ),
    "findings": (
        "dncsync.cli.findings:app",
        "List, show, take on, resolve or accept what a person must know; release a frozen system.",
    ),
    "import": ("dncsync.cli.importing:import_csv", "Take in an existing Do-Not-Call list from a CSV file."),
    "resync": (
        "dncsync.cli.resync:resync",
        "Compare systems with the ledger in full; plan, approve, apply.",
    ),
    "plan": (
        "dncsync.cli.plan:app",
        "List, show, approve or reject mass changes that wait because a fuse tripped.",
    ),
    "canary": (
        "dncsync.cli.canary:app",
        "Opt a number of your own out in one system, and see when it arrives in each other.",
    ),
    "endings": (
        "dncsync.cli.endings:endings",
        "List what vendors have announced to end, and when.",
    ),
    "reconcile": (
        "dncsync.cli.reconcile:reconcile",
        "Compare every system with the ledger for a quarter; write, or verify, the report.",
    ),
    "ledger": ("dncsync.cli.ledger:app", "Verify, export, query, rebuild or checkpoint the ledger."),
    "sandbox": ("dncsync.cli.sandbox:sandbox", "Run vendors' sandboxes by hand."),
}
"""Command -> (where it is, what it does)."""

PURPOSE = "Propagate Do-Not-Call requests between CRMs, dialers and SMS vendors, and prove it."

EPILOGUE = """Every command takes --help, --json, --config FILE (or DNCSYNC_CONFIG) and --ledger FILE (or \
DNCSYNC_LEDGER).

Exit codes: 0 done; 1 it cannot be done, the reason is one line; 2 the command itself was wrong; 3 done, and \
something was found that a person must see; 4 recorded, and it waits for approval (dncsync plan).

Example: dncsync number show '(312) 555-0199' --ledger dncsync.sqlite"""


def app(called: str | None = None) -> App:
    """The whole command line. The family that is called is imported, with its own help; the others wait."""
    from cyclopts import App, Parameter

    made = App(
        name="dncsync",
        version=__version__,
        help=PURPOSE,
        help_format="plaintext",
        result_action="return_value",  # else it exits by itself, before what was printed has arrived
        default_parameter=Parameter(negative=(), show_default=_default_shown),
    )
    for name, (where, what) in FAMILIES.items():
        if name == called:
            module, _, attribute = where.partition(":")
            family = import_module(module)
            _unwrap_help(family)
            made.command(getattr(family, attribute), name=name)
        else:
            made.command(where, name=name, help=what)
    return made


def _default_shown(value: object) -> str | None:
    """A default that tells nothing is left out of the help."""
    return None if value is None or value is False or value == "" else str(value)


def _unwrap_help(family: ModuleType) -> None:
    """Joins the lines of each paragraph of the commands' docstrings: they are wrapped for the source file,
    and the terminal has its own width."""
    import inspect

    for command in vars(family).values():
        if isinstance(command, FunctionType) and command.__module__ == family.__name__:
            paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
            command.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def overview(width: int) -> str:
    """What `dncsync --help` prints, in lines of at most `width` characters."""
    lines = ["Usage: dncsync COMMAND [OPTIONS]", "", *textwrap.wrap(PURPOSE, width), "", "Commands:"]
    longest = max(map(len, FAMILIES))
    for name, (_, what) in FAMILIES.items():
        first = f"  {name:<{longest}}  "
        lines += textwrap.wrap(what, width, initial_indent=first, subsequent_indent=" " * len(first))
    lines += ["", "More about one: dncsync COMMAND --help", ""]
    for paragraph in EPILOGUE.split("\n\n"):
        lines += [*textwrap.wrap(paragraph, width), ""]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command and exits with its code. What may go wrong is one line, never a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _make_output_whole()
    code = _ended(lambda: _run(arguments))
    # What was printed must have arrived before the exit code says so.
    sys.exit(_ended(_flush) or code)


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("--help", "-h"):
        sys.stdout.write(overview(_width()))
        return EXIT_DONE
    if arguments == ["--version"]:
        sys.stdout.write(f"{__version__}\n")
        return EXIT_DONE
    if any(not word.isascii() and not _is_text(word) for word in arguments):
        say("one of the arguments is not UTF-8; check the terminal's encoding, or rename the file")
        return EXIT_USAGE
    from cyclopts import CycloptsError

    try:
        code = app(arguments[0])(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        known = f"{arguments[0]} " if arguments[0] in FAMILIES else ""
        say(f"{error}; try: dncsync {known}--help")
        return EXIT_USAGE
    return code if isinstance(code, int) else EXIT_DONE


def _width() -> int:
    """Columns of the terminal, as Rich finds them: `COLUMNS`, else what the terminal says, else 80."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal():
        return min(max(int(told), 40), 110)
    try:
        return min(max(os.get_terminal_size(sys.stdout.fileno()).columns, 40), 110)
    except (OSError, ValueError):
        return 80


def _make_output_whole() -> None:
    """Standard output that says so when not all of it arrived, and prints any character on any terminal.

    Under PYTHONUNBUFFERED, usual in containers, Python drops what a full disk or a closing pipe did not take
    of a long text, without an error.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        if isinstance(sys.stdout.buffer, io.RawIOBase):
            sys.stdout = open(sys.stdout.fileno(), "w", encoding=sys.stdout.encoding, closefd=False)  # noqa: SIM115
        sys.stdout.reconfigure(errors="backslashreplace")


def _flush() -> int:
    sys.stdout.flush()
    return EXIT_DONE


def _ended(step: Callable[[], int]) -> int:
    """The exit code of one step, whatever happened in it."""
    try:
        return step()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _print_no_more()
        return EXIT_NOBODY_READS
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None:
            _print_no_more()
        return explain(error)


def _print_no_more() -> None:
    """The interpreter flushes once more on its way out and would complain."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _is_text(word: str) -> bool:
    """False for bytes of the command line that were no UTF-8."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


if __name__ == "__main__":
    main()
