"""`dncsync findings`: what a person must know, and what a person does about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from dncsync.cli.failing import EXIT_DONE, EXIT_FOUND, EXIT_HELD, Cannot
from dncsync.cli.options import NOTHING, Common, print_json

if TYPE_CHECKING:
    from dncsync.ledger.sqlite import Connection

app = App(
    name="findings",
    help="List, show, take on, resolve or accept what a person must know; release a frozen system.",
)

Name = Annotated[str, Parameter(help="As listed, e.g. f12; or the beginning of its id that no other has.")]
By = Annotated[str, Parameter(help="Who does this; goes into the ledger.")]
Note = Annotated[str, Parameter(help="A sentence for those who come later.")]


@app.command(name="list")
def list_findings(
    *,
    system: Annotated[str | None, Parameter(help="Only of this system.")] = None,
    kind: Annotated[str | None, Parameter(help="Only of this kind, e.g. field-renamed.")] = None,
    severity: Annotated[
        Literal["page", "warning", "info"] | None, Parameter(help="Only of this one.")
    ] = None,
    all: Annotated[bool, Parameter(help="Closed ones too.")] = False,
    overdue: Annotated[bool, Parameter(help="Only those that should have been dealt with by now.")] = False,
    common: Common = NOTHING,
) -> int:
    """List the findings that are open, the gravest and oldest first.

    Exit code 0: none that waits for a person; 3: at least one (what is only for information does not count).

    Example: dncsync findings list --overdue
    """
    from dncsync.ledger import reading_findings

    with common.reading() as conn:
        found = reading_findings.listed(
            conn,
            _now(),
            system=system,
            kind=kind,
            severity=severity,
            closed_too=all,
            overdue=overdue,
        )
        if not found:
            _known(conn, system, kind)
    if common.json:
        print_json(found)
    else:
        from dncsync.cli import findings_shown

        findings_shown.listed(found)
    waits = any(each["closed_at"] is None and each["severity"] != "info" for each in found)
    return EXIT_FOUND if waits else EXIT_DONE


@app.command
def show(finding: Name, *, common: Common = NOTHING) -> int:
    """Show one finding: what was expected and seen, since when, who is exposed, how to mend it, its history.

    Example: dncsync findings show f12
    """
    from dncsync.ledger import reading_findings

    with common.reading() as conn:
        found = reading_findings.whole(conn, _now(), reading_findings.named(conn, finding))
    if common.json:
        print_json(found)
    else:
        from dncsync.cli import findings_shown

        findings_shown.whole(found)
    return EXIT_DONE


@app.command
def ack(
    finding: Name,
    *,
    by: By = "",
    owner: Annotated[str, Parameter(help="Who deals with it; without it, whoever --by names.")] = "",
    note: Note = "",
    due: Annotated[
        str, Parameter(help="By when: 2026-11-30, or 2026-11-30T15:00-05:00; without it, as it was.")
    ] = "",
    common: Common = NOTHING,
) -> int:
    """Take a finding on: say who deals with it, and by when. It stays open.

    Example: dncsync findings ack f12 --by jane --owner bob --note 'asked HubSpot' --due 2026-11-30
    """
    _given(("--by", by))
    return _do(common, "ack-finding", {"id": finding, "actor": by, "owner": owner, "note": note, "due": due})


@app.command
def resolve(
    finding: Name,
    *,
    by: By = "",
    note: Note = "",
    keep: Annotated[
        bool,
        Parameter(help="Of an ambiguous message: it was a request; the provisional block stays for good."),
    ] = False,
    release: Annotated[
        bool, Parameter(help="Of an ambiguous message: it was none; what it blocked provisionally is freed.")
    ] = False,
    common: Common = NOTHING,
) -> int:
    """Close a finding that you have dealt with. What is still seen at the next look opens again.

    If it had frozen its system's reads, the system is believed again, and compared whole.

    A finding of kind `review` needs a verdict on the provisional block: --keep or --release. The reviewer's
    name and note are the record of why; whatever else blocks the number stands. Exit code 4: too many were
    released at once, and it waits for approval (see `dncsync plan`).

    Example: dncsync findings resolve f12 --by jane --note 'renamed back in HubSpot'
    """
    _given(("--by", by), ("--note", note))
    if keep and release:
        raise Cannot("--keep and --release exclude each other")
    arguments: dict[str, Any] = {"id": finding, "actor": by, "note": note}
    if keep or release:
        arguments["verdict"] = "keep" if keep else "release"
    return _do(common, "resolve-finding", arguments)


@app.command
def accept(finding: Name, *, by: By = "", note: Note = "", common: Common = NOTHING) -> int:
    """Accept what a detector saw as normal from now on: it becomes the baseline, and the finding closes.

    Example: dncsync findings accept f12 --by jane --note 'we moved half of the list to another account'
    """
    _given(("--by", by), ("--note", note))
    return _do(common, "accept-finding", {"id": finding, "actor": by, "note": note})


@app.command
def release(
    system: Annotated[str, Parameter(help="The frozen system's name.")],
    *,
    by: By = "",
    note: Note = "",
    common: Common = NOTHING,
) -> int:
    """Believe a frozen system's clears and absences again. What was doubted is read afresh, and put right.

    Example: dncsync findings release hubspot --by jane --note 'the flag means again what it meant'
    """
    _given(("--by", by), ("--note", note))
    return _do(common, "release-system", {"system": system, "actor": by, "note": note})


def _given(*options: tuple[str, str]) -> None:
    missing = [name for name, value in options if not value.strip()]
    if missing:
        raise Cannot(f"the ledger keeps who did what and why; missing: {', '.join(missing)}")


def _do(common: Common, command: str, arguments: dict[str, Any]) -> int:
    done = common.command(command, arguments)
    if common.json:
        print_json(done)
    else:
        from dncsync.cli import rendering

        rendering.result({name: value for name, value in done.items() if value != []})
    return EXIT_HELD if done.get("waits_for_approval") else EXIT_DONE


def _known(conn: Connection, system: str | None, kind: str | None) -> None:
    """Raises `Cannot` for a name that nothing has: a typing error must not read as "none"."""
    from dncsync.policy.kinds import ACTIONS

    if system is not None:
        found = conn.execute("SELECT system FROM systems UNION SELECT system FROM findings ORDER BY 1")
        names = [row[0] for row in found if row[0]]
        if system not in names:
            raise Cannot(f"no system {system!r} in this ledger; known: {', '.join(names) or 'none'}")
    seen = "SELECT 1 FROM findings WHERE kind = ? LIMIT 1"
    if kind is not None and kind not in ACTIONS and not conn.execute(seen, (kind,)).fetchone():
        raise Cannot(f"no finding is of kind {kind!r}; the kinds: {', '.join(sorted(ACTIONS))}")


def _now() -> int:
    from dncsync.clock import SystemClock, to_micros

    return to_micros(SystemClock().now())
