"""`dncsync number`: everything about one number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from dncsync.cli.failing import EXIT_DONE, EXIT_FOUND, EXIT_HELD, Cannot
from dncsync.cli.options import NOTHING, Common, print_json

if TYPE_CHECKING:
    from dncsync.ledger.sqlite import Connection

app = App(name="number", help="Show, block, unblock or check one number, in any common notation.")

Number = Annotated[str, Parameter(help="In any common notation, e.g. '(312) 555-0199'.")]
Region = Annotated[str, Parameter(help="Country of a number without a country code (ISO, two letters).")]


def _e164(text: str, region: str) -> str:
    from dncsync import numbers

    if not numbers.is_region(region):
        raise Cannot(f"region {region!r} is no country code; use two letters, e.g. US")
    parsed = numbers.parse(text, region)
    if parsed.number is None:
        hint = f"; did you mean {parsed.base}?" if parsed.base else "; give it e.g. as +13125550199"
        raise Cannot(f"{text!r} is no usable number ({parsed.problem}){hint}")
    return parsed.number


@app.command
def show(number: Number, *, region: Region = "US", common: Common = NOTHING) -> int:
    """Show a number's state, its requests, and how far each reached every system.

    Example: dncsync number show 312-555-0199 --ledger dncsync.sqlite
    """
    from dncsync.cli import rendering
    from dncsync.ledger import reading

    e164 = _e164(number, region)
    with common.reading() as conn:
        found = reading.number(conn, e164)
    if common.json:
        print_json(found)
    else:
        rendering.number(found)
    return EXIT_DONE


@app.command
def history(number: Number, *, region: Region = "US", common: Common = NOTHING) -> int:
    """Show every event that concerns a number, in the ledger's order.

    Example: dncsync number history +13125550199 --json
    """
    from dncsync.cli import rendering
    from dncsync.ledger import reading

    e164 = _e164(number, region)
    with common.reading() as conn:
        events = list(reading.history(conn, e164))
    if common.json:
        print_json({"number": e164, "events": events})
    else:
        rendering.history(e164, events)
    return EXIT_DONE


@app.command
def check(
    number: Number,
    *,
    channel: Literal["voice", "sms"] = "voice",
    region: Region = "US",
    common: Common = NOTHING,
) -> int:
    """Say whether a number may be contacted. Exit code 0: no block; 3: do not contact.

    What cannot be answered is answered with "do not contact" (exit code 3, and the reason).

    Example: dncsync number check 3125550199 --channel sms && send-text
    """
    verdict = _check(number, region, channel, common)
    if common.json:
        print_json(verdict)
    else:
        from dncsync.cli import rendering

        rendering.verdict(verdict)
    return EXIT_DONE if verdict["contact"] else EXIT_FOUND


def _check(number: str, region: str, channel: str, common: Common) -> dict[str, Any]:
    from dncsync.cli.failing import one_line, reason

    try:
        from dncsync.ledger import reading

        e164 = _e164(number, region)
        with common.reading() as conn:
            return reading.verdict(conn, e164, channel)
    except Exception as error:
        # Closed when in doubt, whatever the doubt is (law 10).
        why = f"no answer: {one_line(reason(error))}"
        return {"number": number, "channel": channel, "contact": False, "why": why}


@app.command
def block(
    number: Number,
    *,
    actor: Annotated[str, Parameter(help="Who took the request.")],
    channel: Literal["voice", "sms"] = "voice",
    words: Annotated[str, Parameter(help="What the consumer said; erasable.")] = "",
    region: Region = "US",
    dry_run: Annotated[bool, Parameter(help="Say what would be recorded, and record nothing.")] = False,
    common: Common = NOTHING,
) -> int:
    """Record a Do-Not-Call request for a number. It is durable when this returns.

    Example: dncsync number block '(312) 555-0199' --actor jane --words 'asked by letter'
    """
    e164 = _e164(number, region)
    if not actor.strip():
        raise Cannot("--actor is blank; say who took the request")
    if dry_run:
        return _say(common, {"number": e164, "would": "block", "channel": channel})
    arguments = {"number": e164, "channel": channel, "actor": actor, "words": words}
    done = common.command("block", arguments)
    return _say(common, {"number": e164, "done": "blocked", "channel": channel, **done})


@app.command
def unblock(
    number: Number,
    *,
    actor: Annotated[str, Parameter(help="Who decides.")] = "",
    reason: Annotated[str, Parameter(help="Why, in a sentence.")] = "",
    basis: Annotated[
        str, Parameter(help="signed, written or recorded_verbal: the kind of newer consent.")
    ] = "",
    evidence: Annotated[Path | None, Parameter(help="The document; its hash goes into the ledger.")] = None,
    evidence_date: Annotated[
        str,
        Parameter(
            help="The document's own date (2026-11-21; of the block's own day: 2026-11-21T15:30-05:00)."
        ),
    ] = "",
    channel: Annotated[
        list[Literal["voice", "sms"]] | None, Parameter(help="Only this channel; may be repeated.")
    ] = None,
    region: Region = "US",
    dry_run: Annotated[bool, Parameter(help="Check everything, and record nothing.")] = False,
    common: Common = NOTHING,
) -> int:
    """End a number's blocks with a documented reversal: newer, express consent of the consumer.

    Refuses without actor, reason, basis and evidence, and where the evidence is not later than the blocks. An
    existing business relationship is no basis. The document stays with you; the ledger keeps its hash.

    More reversals at once than the policy's fuse allows are not carried out: they are recorded and wait, the
    blocks stand, and the exit code is 4 (see `dncsync plan`).

    Example: dncsync number unblock +13125550199 --actor jane --reason 'asked to be called again' \
--basis signed --evidence consent.pdf --evidence-date 2026-11-21
    """
    e164 = _e164(number, region)
    given = (
        ("--actor", actor),
        ("--reason", reason),
        ("--basis", basis),
        ("--evidence", str(evidence or "")),
        ("--evidence-date", evidence_date),
    )
    missing = [name for name, value in given if not value.strip()]
    if missing or evidence is None:
        raise Cannot(f"a block ends only with documented consent; missing: {', '.join(missing)}")
    digest = _sha256(evidence)
    arguments = {
        "number": e164,
        "channels": list(channel or ("voice", "sms")),
        "actor": actor,
        "reason": reason,
        "basis": basis,
        "evidence_name": evidence.name,
        "evidence_sha256": digest,
        "evidence_date": evidence_date,
    }
    if dry_run:
        from dncsync.clock import SystemClock, to_micros
        from dncsync.runtime import commands

        with common.reading() as conn:
            commands.reversal_of(conn, to_micros(SystemClock().now()), arguments)
        return _say(common, {"would": "unblock", **arguments})
    done = common.command("unblock", arguments)
    if fuse := done.get("waits_for"):
        why = f"too many at once: the block stands until {fuse} is approved; dncsync plan show {fuse}"
        _say(common, {"number": e164, "done": "held", "why": why, "evidence_sha256": digest, **done})
        return EXIT_HELD
    return _say(common, {"number": e164, "done": "unblocked", "evidence_sha256": digest, **done})


def _sha256(document: Path) -> str:
    """The hash of a document that has something in it. Raises `Cannot`."""
    from hashlib import file_digest

    if not document.is_file():
        raise Cannot(f"{document}: no such file; --evidence names the document that shows the consent")
    with document.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
        if file.tell() == 0:
            raise Cannot(f"{document}: the file is empty; it is no evidence")
    return digest


@app.command
def quarantine(*, system: str | None = None, limit: int = 100, common: Common = NOTHING) -> int:
    """List phone values that are no usable number, with the record that holds each.

    Example: dncsync number quarantine --system hubspot
    """
    from dncsync.cli import rendering
    from dncsync.ledger import reading

    if limit < 1:
        raise Cannot("--limit: at least 1")
    with common.reading() as conn:
        rows = reading.quarantined(conn, system, limit)
        if not rows and system is not None:
            _known(conn, system)
    if common.json:
        print_json(rows)
    else:
        rendering.table("Quarantined phone values", rows)
    return EXIT_DONE


def _known(conn: Connection, system: str) -> None:
    """Raises `Cannot` for a system that the ledger has never seen: a typing error must not read as "none"."""
    names = [row[0] for row in conn.execute("SELECT system FROM systems ORDER BY system")]
    if system not in names:
        raise Cannot(f"no system {system!r} in this ledger; known: {', '.join(names) or 'none'}")


def _say(common: Common, result: dict[str, Any]) -> int:
    if common.json:
        print_json(result)
    else:
        from dncsync.cli import rendering

        rendering.result(result)
    return EXIT_DONE
