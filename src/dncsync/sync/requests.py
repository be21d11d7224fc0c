"""Intake: requests, statements and reversals become events; their blocks are settled in every system at once.

Everything here runs inside one transaction of the ledger's writer, so that what is acknowledged is durable
(law 1) and what it makes necessary is known in the same moment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from dncsync import numbers
from dncsync.clock import from_micros, to_micros
from dncsync.connector import Look, Says, Statement, Webhook
from dncsync.deadlines import clock_start, deadlines
from dncsync.ledger.events import NewEvent, Sealed, seal
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx
from dncsync.model import Channel, OptOutKind, Role
from dncsync.numbers import region_zones
from dncsync.optout import classify
from dncsync.policy import Policies, Policy, blocked_channels
from dncsync.sync import findings
from dncsync.sync.deliveries import SECOND, Goals, look, settle, settle_numbers
from dncsync.sync.topology import SystemFacts, Topology
from dncsync.sync.will import chunks, marks, survivor

SMS_INBOUND = "sms-inbound"
"""Source of requests that were made by text; only those can START take back."""

STRENGTH: Mapping[str, int] = {OptOutKind.AMBIGUOUS: 1, OptOutKind.PHRASE: 2, OptOutKind.CONCLUSIVE: 2}
"""How much a reading asks for; those that are not here ask for nothing."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request about to be recorded: on a number, or on a record with all its numbers."""

    channel: Channel
    numbers: tuple[str, ...]
    """E.164; for a record all that it has, possibly none."""
    number: str | None = None
    record: tuple[str, str] | None = None
    """System and key."""
    scope: str = ""
    source: str = ""
    actor: str | None = None
    occurred_at: datetime | None = None
    provisional: bool = False
    words: str = ""
    id: str | None = None
    """Given only where the same request may be brought twice (an import); else the ledger names it."""


@dataclass(frozen=True, slots=True)
class Reversal:
    """The documented end of a number's blocks (laws 2 and 7; CON-04)."""

    number: str
    channels: tuple[Channel, ...]
    actor: str
    reason: str
    basis: str
    evidence_name: str
    evidence_sha256: str
    evidence_date: str = ""
    """ISO 8601: the document's own date, or its instant with a zone. Whoever took the reversal in checked
    that it is later than the blocks (OVR-03)."""


class Refused(ValueError):
    """What was asked for cannot be recorded; one clear line says why."""


class Intake:
    """What may be added to the ledger, and how. Holds no state but its configuration."""

    def __init__(
        self,
        policies: Policies,
        topology: Topology,
        *,
        company_zone: str = "America/New_York",
        salt: Callable[[], bytes] = lambda: os.urandom(16),
    ) -> None:
        self.policies = policies
        self.topology = topology
        self._company_zone = company_zone
        self._salt = salt
        sla = policies.first.rules.sla_seconds
        self.goals = Goals({Role.CRM: sla.crm, Role.DIALER: sla.dialer, Role.SMS: sla.sms})

    # --- requests -----------------------------------------------------------------------------------

    def record(
        self, tx: Tx, at: int, system: str | None, asks: Sequence[Ask], *, actor: str | None = None
    ) -> set[str]:
        """Records requests in one event. Returns the numbers that are newly covered; the caller settles them
        (`settle_numbers`) in the same transaction."""
        policy = self.policies.on(from_micros(at).date())
        sealed: list[Sealed] = []
        rows = []
        for index, ask in enumerate(asks):
            rows.append(self._row(at, tx.head.seq + 1, index, ask, policy, sealed))
        touched = {number for ask in asks for number in ask.numbers}
        if not rows:
            return touched
        record(
            tx,
            NewEvent(
                "requests.recorded",
                at,
                {"requests": rows},
                number=asks[0].number if len(asks) == 1 else None,
                system=system,
                actor=actor or (asks[0].actor if len(asks) == 1 else None),
                numbers=sorted(touched),
                private=sealed,
            ),
        )
        if policy.sync.coverage == "person":
            touched |= self._one_hop(tx, at, system, rows, policy.sync.shared_line_limit)
        return touched

    def _row(
        self, at: int, seq: int, index: int, ask: Ask, policy: Policy, sealed: list[Sealed]
    ) -> dict[str, Any]:
        received = from_micros(at)
        started = clock_start(received, ask.occurred_at)
        zones = [z for number in ask.numbers[:1] for z in region_zones(number)]
        due = deadlines(started, [*zones, self._company_zone], policy.business_days())
        row: dict[str, Any] = {
            "id": ask.id or (f"R{seq}" if index == 0 else f"R{seq}.{index}"),
            "channel": ask.channel,
            "channels": sorted(blocked_channels(policy, frozenset({ask.channel}))),
            "numbers": list(ask.numbers),
            "source": ask.source,
            "occurred_at": to_micros(started),
            "received_at": at,
            "deadline_strict": to_micros(due.strict),
            "deadline_federal": to_micros(due.federal_end),
        }
        if ask.number is not None:
            row["number"] = ask.number
        if ask.record is not None:
            row["record"] = list(ask.record)
        if ask.scope:
            row["scope"] = ask.scope
        if ask.actor:
            row["actor"] = ask.actor
        if ask.provisional:
            row["provisional"] = True
        if ask.words:
            sealed.append(seal(ask.words, self._salt()))
            row["words"] = sealed[-1].hash.hex()
        return row

    def _one_hop(
        self, tx: Tx, at: int, system: str | None, rows: Sequence[dict[str, Any]], limit: int
    ) -> set[str]:
        """Policy `coverage: person`: a number's request reaches the other numbers of its records, not of
        theirs, and not through a line that many records share."""
        covers: list[tuple[str, str]] = []
        for row in rows:
            number = row.get("number")
            if number is None:
                continue
            records = tx.execute(
                "SELECT system, key FROM holding_numbers WHERE number = ?", (number,)
            ).fetchall()
            records = [r for r in records if r[0] in self.topology and not self.topology[r[0]].by_number]
            if len(records) > limit:
                findings.open_finding(
                    tx,
                    at,
                    "shared-line",
                    system,
                    numbers.mask(number),
                    f"{numbers.mask(number)} is on {len(records)} records; its request is not spread to them",
                    severity="info",
                    quiet=True,
                )
                continue
            others = {
                n
                for r in records
                for (n,) in tx.execute("SELECT number FROM holding_numbers WHERE system = ? AND key = ?", r)
            }
            covers += [(row["id"], other) for other in sorted(others - {number})]
        return self.cover(tx, at, system, covers)

    def cover(self, tx: Tx, at: int, system: str | None, covers: Sequence[tuple[str, str]]) -> set[str]:
        """Numbers that came to a record after its request was made. `covers`: (request id, number)."""
        if not covers:
            return set()
        touched = {number for _, number in covers}
        pairs = [list(pair) for pair in dict.fromkeys(covers)]
        record(
            tx, NewEvent("requests.covered", at, {"covers": pairs}, system=system, numbers=sorted(touched))
        )
        return touched

    def block(
        self, tx: Tx, at: int, number: str, channel: Channel, *, actor: str, source: str, words: str = ""
    ) -> str:
        """An admin's or importer's request on one number, settled. Returns the request's id."""
        ask = Ask(
            channel, (number,), number, source=source, actor=actor, words=words, occurred_at=from_micros(at)
        )
        seq = tx.head.seq + 1
        self.settle(tx, at, self.record(tx, at, None, [ask], actor=actor))
        return f"R{seq}"

    def settle(self, tx: Tx, at: int, touched: Iterable[str], *, backfill: bool = False) -> None:
        """Opens and closes the deliveries that these numbers now need."""
        settle_numbers(tx, at, self.topology, self.goals, touched, backfill=backfill)

    # --- statements -----------------------------------------------------------------------------------

    def hear(self, tx: Tx, at: int, facts: SystemFacts, said: Statement) -> OptOutKind | None:
        """What a person said, recorded once per reference. Returns how it was read; None: known already.

        A further copy that asks for more than those before it (the vendor's own STOP beside a word that only
        the vendor knows) is judged and recorded again, under the reference with its reading behind it.
        """
        said = _storable(said)
        reading = OptOutKind.NOT if said.evidence_only else read(said)
        refs = [said.ref, *(f"{said.ref}#{stronger}" for stronger in STRENGTH)]
        copies = tx.execute(
            f"SELECT reading, words FROM statements WHERE system = ? AND ref IN ({marks(refs)})",  # noqa: S608
            (facts.name, *refs),
        ).fetchall()
        if copies:
            if STRENGTH.get(reading, 0) <= max(STRENGTH.get(row[0], 0) for row in copies):
                return None
            kept = any(row[1] for row in copies)
            said = replace(said, ref=f"{said.ref}#{reading}", text="" if kept else said.text)
        number = numbers.parse(said.number, facts.region).number
        request_id = None
        if number is None:
            findings.open_finding(
                tx,
                at,
                "unreadable-sender",
                facts.name,
                said.ref,
                f"{facts.name} brought a message ({reading}) from a sender that is no usable number",
            )
        elif reading in (OptOutKind.CONCLUSIVE, OptOutKind.PHRASE, OptOutKind.AMBIGUOUS):
            request_id = f"R{tx.head.seq + 1}"
            self._request(tx, at, facts, said, number, reading)
        elif reading is OptOutKind.START:
            self._restore(tx, at, facts, said, number)
        self._testify(tx, at, facts, said, number, reading, request_id)
        return reading

    def _request(
        self, tx: Tx, at: int, facts: SystemFacts, said: Statement, number: str, reading: OptOutKind
    ) -> None:
        provisional = reading is OptOutKind.AMBIGUOUS
        ask = Ask(
            said.channel,
            (number,),
            number,
            scope=said.scope,
            source=said.source or SMS_INBOUND,
            occurred_at=said.at,
            provisional=provisional,
        )
        seq = tx.head.seq + 1
        self.settle(tx, at, self.record(tx, at, facts.name, [ask]))
        if provisional:
            findings.open_finding(
                tx,
                at,
                "review",
                facts.name,
                f"R{seq}",
                f"an ambiguous message blocked {numbers.mask(number)} provisionally; read it and decide "
                f"(request R{seq})",
            )

    def _restore(self, tx: Tx, at: int, facts: SystemFacts, said: Statement, number: str) -> None:
        """START takes back the text programme that this number stopped by text; nothing else (SEED-15)."""
        policy = self.policies.on(from_micros(at).date())
        stopped = tx.execute(
            "SELECT count(*), max(occurred_at) FROM requests WHERE number = ? AND origin_system = ? "
            "AND scope = ? AND channel = 'sms' AND source = ? AND ended_seq IS NULL",
            (number, facts.name, said.scope, SMS_INBOUND),
        ).fetchone()
        if policy.sync.start_restores != "programme" or not stopped[0] or said.source != SMS_INBOUND:
            return
        if stopped[1] // SECOND >= to_micros(said.at) // SECOND:
            return  # both times are this vendor's: the STOP came later or in the same second, and wins (T8)
        record(
            tx,
            NewEvent(
                "programme.restored",
                at,
                {"scope": said.scope, "ref": said.ref},
                number=number,
                system=facts.name,
            ),
        )
        keys = [key for key in facts.keys_for(number) if facts.scope_of(key) == said.scope]
        # The vendor lifted its own block: what it was told does not stand any more.
        tx.executemany(
            "UPDATE holdings SET told_sms = NULL WHERE system = ? AND key = ?",
            [(facts.name, key) for key in keys],
        )
        self.settle(tx, at, [number])

    def _testify(
        self,
        tx: Tx,
        at: int,
        facts: SystemFacts,
        said: Statement,
        number: str | None,
        reading: OptOutKind,
        request_id: str | None,
    ) -> None:
        sealed = [seal(said.text, self._salt())] if said.text else []
        payload: dict[str, Any] = {
            "ref": said.ref,
            "channel": said.channel,
            "scope": said.scope,
            "reading": "evidence" if said.evidence_only else str(reading),
            "source": said.source,
            "at": to_micros(said.at),
        }
        if request_id is not None:
            payload["request_id"] = request_id
        if sealed:
            payload["words"] = sealed[0].hash.hex()
        event = NewEvent("statement.recorded", at, payload, number=number, system=facts.name, private=sealed)
        record(tx, event)

    def take_webhook(self, tx: Tx, at: int, facts: SystemFacts, webhook: Webhook) -> int:
        """Records what an authentic webhook brought, once per nonce. Returns how many signals were new."""
        if webhook.nonce:
            seen = tx.execute(
                "INSERT INTO nonces VALUES (?,?,?) ON CONFLICT DO NOTHING", (facts.name, webhook.nonce, at)
            )
            if seen.rowcount == 0:
                return 0
        keys = [signal.key for signal in webhook.signals if isinstance(signal, Look)]
        if keys:
            self.hint(tx, at, facts, keys)
        heard = [self.hear(tx, at, facts, s) for s in webhook.signals if isinstance(s, Statement)]
        return len(keys) + sum(reading is not None for reading in heard)

    def hint(self, tx: Tx, at: int, facts: SystemFacts, keys: Iterable[str]) -> None:
        """Has keys read soon because a vendor says that something happened there."""
        look(tx, at, facts.name, keys)
        tx.after_commit(lambda: self.topology.wake([facts.name]))

    # --- reversals ------------------------------------------------------------------------------------

    def reverse(self, tx: Tx, at: int, reversal: Reversal) -> str:
        """Ends a number's blocks. Returns the reversal's id. Raises `Refused` when nothing is blocked."""
        found = tx.execute(
            f"SELECT 1 FROM blocks WHERE number = ? AND ended_seq IS NULL "  # noqa: S608
            f"AND channel IN ({marks(reversal.channels)}) LIMIT 1",
            (reversal.number, *reversal.channels),
        ).fetchone()
        if not found:
            raise Refused(f"{numbers.mask(reversal.number)} is not blocked; there is nothing to end")
        reversal_id = f"V{tx.head.seq + 1}"
        event = record(
            tx,
            NewEvent(
                "reversal.recorded",
                at,
                {
                    "id": reversal_id,
                    "channels": [str(c) for c in reversal.channels],
                    "reason": reversal.reason,
                    "basis": reversal.basis,
                    "evidence_name": reversal.evidence_name,
                    "evidence_sha256": reversal.evidence_sha256,
                    "evidence_date": reversal.evidence_date,
                },
                number=reversal.number,
                actor=reversal.actor,
            ),
        )
        self.settle(tx, at, [reversal.number])
        # A request that ended with this number's block may have been made on a record that has it no more.
        freed = tx.execute(
            "SELECT record_system, record_key FROM requests WHERE ended_seq = ? AND record_key IS NOT NULL",
            (event.seq,),
        ).fetchall()
        for system, key in freed:
            if system in self.topology:
                keys = {key: None, survivor(tx, system, key): None}
                settle(tx, at, self.topology, self.goals, self.topology[system], keys)
        return reversal_id

    # --- catching up ----------------------------------------------------------------------------------

    def catch_up(self, tx: Tx, at: int, after: str, limit: int = 500) -> str | None:
        """Settles the next numbers past `after` (E.164, "" to begin) that were ever blocked: for a system
        that is new, and for what was recorded while no daemon ran. Returns where to go on; None: all done."""
        rows = tx.execute(
            "SELECT DISTINCT number FROM blocks WHERE number > ? ORDER BY number LIMIT ?", (after, limit)
        ).fetchall()
        found = [row[0] for row in rows]
        for chunk in chunks(found):
            self.settle(tx, at, chunk, backfill=True)
        return found[-1] if len(found) == limit else None


def _storable(said: Statement) -> Statement:
    """Half an emoji in a vendor's JSON is no text that can be kept; it must not keep the message out."""
    clean = {
        name: getattr(said, name).encode("utf-8", "replace").decode()
        for name in ("ref", "number", "text", "scope", "source")
    }
    return replace(said, **clean)


def read(said: Statement) -> OptOutKind:
    """How a statement reads: the vendor's own classification first, since it knows custom keywords; but a
    message that the vendor calls a START or HELP and that reads as an opt-out is an opt-out."""
    by_words = OptOutKind(classify(said.text).kind) if said.text else None
    if said.says is Says.STOP:
        return OptOutKind.CONCLUSIVE
    if by_words in (OptOutKind.CONCLUSIVE, OptOutKind.PHRASE):
        return by_words
    if said.says is Says.START:
        return OptOutKind.START
    if said.says is Says.HELP:
        return OptOutKind.HELP
    # No words at all (a picture, a blank): a person who answers so may well want to be left alone.
    return by_words or OptOutKind.AMBIGUOUS
