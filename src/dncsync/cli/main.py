"""`dncsync`: the commands by name. Each family is imported when it is called, so that help is quick."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from cyclopts import App, CycloptsError

from dncsync import __version__
from dncsync.cli.failing import EXIT_DONE, EXIT_USAGE, explain, say

FAMILIES = {
    "init": ("dncsync.cli.setup:init", "Write an annotated configuration to begin with."),
    "doctor": (
        "dncsync.cli.setup:doctor",
        "Check credentials, scopes, fields, clock and disk, and say how to mend each fault.",
    ),
    "run": ("dncsync.cli.run:run", "Run the daemon."),
    "status": ("dncsync.cli.status:status", "Show each system's state, lag, budget and open deliveries."),
    "number": ("dncsync.cli.number:app", "Show, block, unblock or check one number."),
    "import": ("dncsync.cli.importing:import_csv", "Take in an existing Do-Not-Call list from a CSV file."),
    "resync": (
        "dncsync.cli.resync:resync",
        "Compare systems with the ledger in full; plan, approve, apply.",
    ),
    "ledger": ("dncsync.cli.ledger:app", "Verify, export, query, rebuild or checkpoint the ledger."),
    "sandbox": ("dncsync.cli.sandbox:sandbox", "Run vendors' sandboxes by hand."),
}
"""Command -> (where it is, what it does)."""

EPILOGUE = """Every command takes --help, --json, --config FILE (or DNCSYNC_CONFIG) and --ledger FILE \
(or DNCSYNC_LEDGER).

Exit codes: 0 done; 1 it cannot be done, the reason is one line; 2 the command itself was wrong; \
3 done, and something was found that a person must see."""


def app(called: str | None = None) -> App:
    """The whole command line. The family that is called is imported, with its own help; the others wait."""
    made = App(
        name="dncsync",
        version=__version__,
        help="Propagate Do-Not-Call requests between CRMs, dialers and SMS vendors, and prove it.",
        help_epilogue=None if called in FAMILIES else EPILOGUE,
        help_format="plaintext",
    )
    for name, (where, what) in FAMILIES.items():
        if name == called:
            module, _, attribute = where.partition(":")
            made.command(getattr(import_module(module), attribute), name=name)
        else:
            made.command(where, name=name, help=what)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command and exits with its code. What may go wrong is one line, never a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = app(arguments[0] if arguments else None)(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        say(f"{error}; try: dncsync {arguments[0] if arguments[0] in FAMILIES else ''} --help")
        sys.exit(EXIT_USAGE)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # nothing reads us any more; the interpreter must not complain on the way out
        sys.exit(141)
    except Exception as error:
        sys.exit(explain(error))
    sys.exit(code if isinstance(code, int) else EXIT_DONE)


if __name__ == "__main__":
    main()
