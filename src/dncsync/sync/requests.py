"""Intake: requests, statements and reversals become events; their blocks are settled in every system at once.

Everything here runs inside one transaction of the ledger's writer, so that what is acknowledged is durable
(law 1) and what it makes necessary is known in the same moment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from dncsync import numbers
from dncsync.clock import from_micros, to_micros
from dncsync.connector import Look, Statement, Webhook
from dncsync.deadlines import clock_start, deadlines
from dncsync.ledger.events import NewEvent, Sealed, seal
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx
from dncsync.model import Channel, OptOutKind, Role
from dncsync.numbers import region_zones
from dncsync.policy import Policies, Policy, blocked_channels
from dncsync.sync import activity, canary_marks, findings, fuses, reversals
from dncsync.sync.deliveries import Goals, look, settle_numbers
from dncsync.sync.fuses import How, Pair
from dncsync.sync.hearing import STRENGTH, read, storable
from dncsync.sync.patience import SECOND
from dncsync.sync.reversals import Ended, Refused, Reversal
from dncsync.sync.topology import SystemFacts, Topology
from dncsync.sync.will import marks

SMS_INBOUND = "sms-inbound"
"""Source of requests that were made by text; only those can START take back."""


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
    canary: str = ""
    """The canary run whose own change this is."""


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
        self,
        tx: Tx,
        at: int,
        system: str | None,
        asks: Sequence[Ask],
        *,
        actor: str | None = None,
        how: How = How.SAID,
    ) -> set[str]:
        """Records requests in one event. Returns the numbers that are newly covered; the caller settles them
        (`settle_numbers`) in the same transaction. Too many that were not said one by one (`how`) trip a
        fuse: they are blocked all the same, and settling then spreads nothing of them."""
        policy = self.policies.on(from_micros(at).date())
        sealed: list[Sealed] = []
        rows = []
        for index, ask in enumerate(asks):
            rows.append(self._row(at, tx.head.seq + 1, index, ask, policy, sealed))
        touched = {number for ask in asks for number in ask.numbers}
        if not rows:
            return touched
        # A canary is ours: it is not counted, and nobody need approve it.
        counted = [row for row, ask in zip(rows, asks, strict=True) if not ask.canary]
        arrived = fuses.arrival(tx, at, self.topology, system, how, len(counted))
        event = record(
            tx,
            NewEvent(
                "requests.recorded",
                at,
                {"requests": rows} | ({"arrived": arrived} if arrived else {}),
                number=asks[0].number if len(asks) == 1 else None,
                system=system,
                actor=actor or (asks[0].actor if len(asks) == 1 else None),
                numbers=sorted(touched),
                private=sealed,
            ),
        )
        for run_id in dict.fromkeys(ask.canary for ask in asks if ask.canary):
            made = [row["id"] for row, ask in zip(rows, asks, strict=True) if ask.canary == run_id]
            canary_marks.note_seen(tx, at, system, run_id, made)
        pairs: list[Pair] = [(row["id"], number) for row in counted for number in row["numbers"]]
        pairs += [(row["id"], "") for row in counted if "record" in row]
        fuses.guard_blocks(tx, event, policy.fuses, self.topology, arrived, pairs)
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

    def cover(
        self,
        tx: Tx,
        at: int,
        system: str | None,
        covers: Sequence[Pair],
        *,
        how: How = How.SAID,
    ) -> set[str]:
        """Numbers that came to a record after its request was made. `covers`: (request id, number)."""
        if not covers:
            return set()
        touched = {number for _, number in covers}
        pairs = list(dict.fromkeys(covers))
        arrived = fuses.arrival(tx, at, self.topology, system, how, len(pairs))
        payload: dict[str, Any] = {"covers": [list(pair) for pair in pairs]}
        payload |= {"arrived": arrived} if arrived else {}
        event = record(tx, NewEvent("requests.covered", at, payload, system=system, numbers=sorted(touched)))
        policy = self.policies.on(from_micros(at).date()).fuses
        held = fuses.holding(tx, [request_id for request_id, _ in pairs])
        for fuse in sorted(set(held.values())):  # what a held request reaches later is held with it
            fuses.hold(tx, at, fuse, system, [pair for pair in pairs if held.get(pair[0]) == fuse])
        free = [pair for pair in pairs if pair[0] not in held]
        fuses.guard_blocks(tx, event, policy, self.topology, arrived, free)
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

    def settle(
        self,
        tx: Tx,
        at: int,
        touched: Iterable[str],
        *,
        backfill: bool = False,
        origin: SystemFacts | None = None,
    ) -> None:
        """Opens and closes the deliveries that these numbers now need (see `settle_numbers`)."""
        settle_numbers(tx, at, self.topology, self.goals, touched, backfill=backfill, origin=origin)

    # --- statements -----------------------------------------------------------------------------------

    def hear(self, tx: Tx, at: int, facts: SystemFacts, said: Statement) -> OptOutKind | None:
        """What a person said, recorded once per reference. Returns how it was read; None: known already.

        A further copy that asks for more than those before it (the vendor's own STOP beside a word that only
        the vendor knows) is judged and recorded again, under the reference with its reading behind it.
        """
        said = storable(said)
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
        self.settle(tx, at, self.record(tx, at, facts.name, [ask]), origin=facts)
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
            canary_marks.note_hint(tx, at, facts.name, keys)
        heard = [self.hear(tx, at, facts, s) for s in webhook.signals if isinstance(s, Statement)]
        new = len(keys) + sum(reading is not None for reading in heard)
        opt_outs = sum(reading in STRENGTH for reading in heard)
        activity.count(tx, at, facts.name, webhooks=1, webhook_signals=new, opt_outs=opt_outs)
        return new

    def hint(self, tx: Tx, at: int, facts: SystemFacts, keys: Iterable[str]) -> None:
        """Has keys read soon because a vendor says that something happened there."""
        look(tx, at, facts.name, keys)
        tx.after_commit(lambda: self.topology.wake([facts.name]))

    # --- reversals ------------------------------------------------------------------------------------

    def reverse(self, tx: Tx, at: int, reversal: Reversal) -> Ended:
        """Ends a number's blocks, unless the fuse on reversals holds it back. Raises `Refused` when nothing
        is blocked, or the same waits already."""
        policy = self.policies.on(from_micros(at).date()).fuses
        return reversals.reverse(tx, at, reversal, self.topology, self.goals, policy)


__all__ = ["SMS_INBOUND", "STRENGTH", "Ask", "Ended", "How", "Intake", "Refused", "Reversal", "read"]
