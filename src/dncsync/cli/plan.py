"""`dncsync plan`: mass changes that wait because a fuse tripped, and what a person decides about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from dncsync.cli.failing import EXIT_DONE, EXIT_FOUND, EXIT_HELD, Cannot
from dncsync.cli.options import NOTHING, Common, print_json
from dncsync.cli.progress import bar

if TYPE_CHECKING:
    from dncsync.ledger.sqlite import Connection
    from dncsync.sync.fuse_plan import Fuse, Shown

app = App(
    name="plan",
    help="Mass changes ask first: what waits because a fuse tripped, and what you decide about it.",
)

Id = Annotated[str, Parameter(help="The plan, e.g. F12; `dncsync plan list` names those that wait.")]
By = Annotated[str, Parameter(help="Who decides: a person's name, kept in the ledger.")]
DryRun = Annotated[bool, Parameter(negative=(), help="Check everything, say what would be, decide nothing.")]
_SHA256 = re.compile(r"[0-9a-f]{64}")


@app.command(name="list")
def list_(
    *,
    all: Annotated[bool, Parameter(negative=(), help="Also those that were decided.")] = False,
    common: Common = NOTHING,
) -> int:
    """List the plans that wait for a person.

    Exit code 0: none waits; 3: some do.

    Example: dncsync plan list --ledger dncsync.sqlite
    """
    from dncsync.sync import fuse_plan

    with common.reading() as conn:
        found = [_brief(conn, of) for of in fuse_plan.fuses(conn, every=all)]
    if common.json:
        print_json(found)
    else:
        _list_out(found)
    return EXIT_FOUND if any(each["state"] in ("waiting", "approved") for each in found) else EXIT_DONE


@app.command
def show(
    id: Id,
    *,
    file: Annotated[
        Path | None, Parameter(help="Write every change here (JSON Lines, with its SHA-256; owner only).")
    ] = None,
    sample: Annotated[int, Parameter(help="Numbers to show.")] = 10,
    show_numbers: Annotated[bool, Parameter(negative=(), help="Do not mask numbers.")] = False,
    common: Common = NOTHING,
) -> int:
    """Show what a plan would do: counts by system and kind, a sample, and the SHA-256 that approval takes.

    The file lists every number x system x channel. It names numbers: keep it as you keep the ledger.

    Example: dncsync plan show F12 --file f12.plan.jsonl
    """
    from dncsync.sync import fuse_plan

    if sample < 0:
        raise Cannot("--sample: 0 or more")
    with common.reading() as conn:
        of = _named(conn, id)
        seen = fuse_plan.show(conn, of, sample)
        found = {**_brief(conn, of), **_whole(seen, show_numbers)}
        if file is not None:
            if seen.revision is None:
                raise Cannot(f"{of.id} has nothing that waits; there is no plan to write")
            fuse_plan.write(file, conn, of)
            found["file"] = str(file)
    if common.json:
        print_json(found)
    else:
        _show_out(found)
    return EXIT_DONE


@app.command
def approve(
    id: Id,
    *,
    by: By = "",
    plan: Annotated[
        str, Parameter(help="What you looked at: the SHA-256 from `plan show`, or its file.")
    ] = "",
    note: Annotated[str, Parameter(help="Why, in a sentence.")] = "",
    dry_run: DryRun = False,
    common: Common = NOTHING,
) -> int:
    """Approve exactly the plan that you looked at, and have it applied.

    What came after that look stays held, as the next revision. Where policy asks for two approvals, a second,
    different person gives the same command. The plan is applied unchanged, behind fresh opt-outs; by the
    daemon, or recorded here for its next start. Stopped half-way, run it again, or leave it to the daemon.

    Exit code 0: approved and applied; 4: another person's approval is needed, or later changes wait.

    Example: dncsync plan approve F12 --by 'Jane Roe' --plan f12.plan.jsonl --note 'the list of the merger'
    """
    from dncsync.sync import fuse_plan

    _given(("--by", by), ("--plan", plan))
    with common.reading() as conn:
        of = _named(conn, id)
        digest = plan.strip().lower()
        if not _SHA256.fullmatch(digest):
            digest = fuse_plan.sha256_of(Path(plan), of.id)
        if dry_run:
            return _dry(common, conn, of, {"approve": digest}, digest)
    with common.commands() as run:
        done = run("approve-plan", {"id": id, "by": by, "sha256": digest, "note": note})
        if done["state"] == "approved":
            with bar(f"applying {id}", quiet=common.json) as report:
                piece = run("apply-plan", {"id": id})
                total, so_far = piece["done"] + piece["left"], piece["done"]
                report(so_far, total)
                while piece["left"]:
                    piece = run("apply-plan", {"id": id})
                    so_far += piece["done"]
                    report(so_far, total)
    with common.reading() as conn:
        after = _named(conn, id)
        out = {**done, **_brief(conn, after), "left_out": _left_out(conn, id)}
    if common.json:
        print_json(out)
    else:
        _approved_out(out)
    return EXIT_DONE if after.state == "applied" else EXIT_HELD


@app.command
def reject(
    id: Id,
    *,
    by: By = "",
    reason: Annotated[str, Parameter(help="Why, in a sentence.")] = "",
    dry_run: DryRun = False,
    common: Common = NOTHING,
) -> int:
    """Reject a plan: nothing of what waits there spreads to any system.

    The numbers stay blocked here, since only a reversal ends a block: see `dncsync number unblock`. Reversals
    that waited are not carried out.

    Example: dncsync plan reject F12 --by 'Jane Roe' --reason 'somebody imported the wrong column'
    """
    _given(("--by", by), ("--reason", reason))
    if dry_run:
        with common.reading() as conn:
            return _dry(common, conn, _named(conn, id), {"reject": reason}, None)
    done = common.command("reject-plan", {"id": id, "by": by, "reason": reason})
    with common.reading() as conn:
        out = {**done, **_brief(conn, _named(conn, id))}
    if out["direction"] == "blocks":
        out["now"] = "its numbers stay blocked here; one by one: dncsync number unblock NUMBER"
    else:
        out["now"] = "its blocks stand; none of its reversals was carried out"
    _print(common, out)
    return EXIT_DONE


# --- gathering --------------------------------------------------------------------------------------------


def _named(conn: Connection, fuse_id: str) -> Fuse:
    from dncsync.sync import fuse_plan

    of = fuse_plan.fuse(conn, fuse_id)
    if of is None:
        waiting = ", ".join(each.id for each in fuse_plan.fuses(conn)) or "none"
        raise Cannot(f"there is no plan {fuse_id!r}; waiting: {waiting}")
    return of


def _given(*options: tuple[str, str]) -> None:
    missing = [name for name, value in options if not value.strip()]
    if missing:
        raise Cannot(f"a decision needs a person's name and what it is about; missing: {', '.join(missing)}")


def _brief(conn: Connection, of: Fuse) -> dict[str, Any]:
    from dncsync.sync import fuse_plan

    return fuse_plan.brief(conn, of)


def _whole(seen: Shown, show_numbers: bool) -> dict[str, Any]:
    from dncsync.numbers import mask

    sample = [dict(change) for change in seen.sample]
    for change in sample:
        change["number"] = change["number"] if show_numbers else mask(change["number"])
    revision = seen.revision
    return {
        "revision": revision.event if revision else None,
        "sha256": revision.sha256 if revision else None,
        "changes": revision.changes if revision else 0,
        "numbers": seen.numbers,
        "totals": seen.totals,
        "sample": sample,
    }


def _left_out(conn: Connection, fuse_id: str) -> list[dict[str, str]]:
    from dncsync.numbers import mask
    from dncsync.sync import fuse_plan

    return [{**each, "number": mask(each["number"])} for each in fuse_plan.left_out(conn, fuse_id)]


def _dry(common: Common, conn: Connection, of: Fuse, would: Mapping[str, str], digest: str | None) -> int:
    from dncsync.sync import fuse_plan

    if of.state not in ("waiting", "approved"):
        raise Cannot(f"{of.id} is {of.state} already, by {of.decided_by}")
    out: dict[str, Any] = {"would": dict(would), **_brief(conn, of)}
    if digest is not None:
        match = next((r for r in fuse_plan.revisions(conn, of) if r.sha256 == digest), None)
        if match is None:
            raise Cannot(f"no plan of {of.id} has that SHA-256; look at it again: dncsync plan show {of.id}")
        out |= {"revision": match.event, "changes": match.changes}
    _print(common, out)
    return EXIT_DONE


# --- showing ----------------------------------------------------------------------------------------------


def _print(common: Common, out: Mapping[str, Any]) -> None:
    if common.json:
        print_json(out)
    else:
        from dncsync.cli import rendering

        rendering.result({name: value for name, value in out.items() if not isinstance(value, list | dict)})


def _list_out(found: list[dict[str, Any]]) -> None:
    from dncsync.cli import rendering

    out = rendering.console()
    if not found:
        out.print("No plan waits for a person.")
        return
    made = rendering.grid("", "plan", "what", "state", "since", "held", "approvals", "why")
    for each in found:
        rendering.row(
            made,
            each["id"],
            f"{each['direction']}, {each['system'] or 'everywhere'}",
            each["state"],
            rendering.clock(each["tripped_at"]),
            f"{each['held']:,}",
            f"{len(each['approved_by'])} of {each['needed']}",
            each["reason"],
        )
    out.print(made)
    out.print("Look at one: dncsync plan show F12", style="dim")


def _show_out(found: Mapping[str, Any]) -> None:
    from rich.text import Text

    from dncsync.cli import rendering
    from dncsync.cli.failing import printable

    out = rendering.console()
    out.print(Text(found["id"], "bold"), Text(printable(f"{found['state']}: {found['reason']}")))
    if found["sha256"] is None:
        out.print("Nothing waits in it that is not decided.")
        return
    what = "requests, blocked here and not spread" if found["direction"] == "blocks" else "reversals"
    out.print(f"{found['changes']:,} {what}, of {found['numbers']:,} numbers")
    made = rendering.grid("Would change", "system", "kind", "changes")
    made.columns[2].justify = "right"
    for system, kinds in found["totals"].items():
        for kind, count in kinds.items():
            rendering.row(made, system or "here", kind, f"{count:,}")
    out.print(made)
    if found["sample"]:
        some = rendering.grid("Some of its numbers", "number", "because of")
        for change in found["sample"]:
            rendering.row(some, change["number"], change.get("request") or change.get("id", ""))
        out.print(some)
    if found["approved_by"]:
        names = printable(", ".join(found["approved_by"]))
        out.print(f"approved by {names}: {len(found['approved_by'])} of {found['needed']}")
    out.print(Text(f"SHA-256 {found['sha256']}"), soft_wrap=True)
    if found["state"] == "rejected":
        return
    approve = found.get("file") or found["sha256"]
    out.print(Text(f"Approve: dncsync plan approve {found['id']} --by NAME --plan {approve}"), soft_wrap=True)
    out.print(Text(f"Reject: dncsync plan reject {found['id']} --by NAME --reason TEXT"), soft_wrap=True)


def _approved_out(out: Mapping[str, Any]) -> None:
    from dncsync.cli import rendering
    from dncsync.cli.failing import printable

    console = rendering.console()
    names = printable(", ".join(out["approved_by"]) or out["decided_by"] or "")
    again = "already " if out.get("already") else ""
    if out["state"] == "applied":
        console.print(f"{out['id']} was {again}approved by {names} and is applied.")
    elif out["approved_to"] and not out["approved_by"]:
        console.print(f"{out['id']}: what you looked at is applied; {out['held']:,} came later and wait.")
        console.print(f"Look at them: dncsync plan show {out['id']}")
    else:
        console.print(
            f"{out['id']} is {again}approved by {names}: {len(out['approved_by'])} of {out['needed']}; "
            "a different person must approve it too."
        )
    for each in out["left_out"]:
        console.print(printable(f"left out: {each['number']} ({each['id']}): {each['why']}"))
