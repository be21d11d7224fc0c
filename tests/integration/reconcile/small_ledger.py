"""Ledgers made event by event, small enough to know every figure of them by heart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from dncsync.clock import VirtualClock, to_micros
from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import DirectWriter
from dncsync.policy import Policies
from dncsync.reconcile import inputs, period, quarter
from dncsync.reconcile.facts import Facts
from dncsync.runtime import commands
from dncsync.sync.requests import Intake
from dncsync.sync.topology import NO_SYSTEMS

SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
NEW_YORK = "America/New_York"

CRM = {"vendor": "hubspot", "account": "123", "role": "crm", "unit": "record"}
DIALER = {"vendor": "vicidial", "account": "", "role": "dialer", "unit": "number"}
SMS = {"vendor": "twilio", "account": "AC1", "role": "sms", "unit": "number"}
BOTH: Mapping[str, Any] = {"can_read": True, "can_list": True}
SYSTEMS: dict[str, dict[str, Any]] = {
    "crm": {**CRM, **BOTH, "channels": ["sms", "voice"]},
    "dialer": {**DIALER, **BOTH, "channels": ["voice"]},
    "texts": {**SMS, "channels": ["sms"], "can_read": False, "can_list": False},
}


def utc(*parts: int) -> int:
    """Microseconds."""
    return to_micros(datetime(*parts, tzinfo=UTC))  # type: ignore[misc, arg-type]


JULY = utc(2026, 7, 10, 12)


class SmallLedger:
    """A ledger and a clock; what is recorded is recorded at the time that is given."""

    def __init__(self, folder: Path, *, created: int = utc(2026, 6, 1)) -> None:
        self.path = folder / "ledger.sqlite"
        self.clock = VirtualClock(datetime(2026, 10, 2, 9, tzinfo=UTC))
        self.writer = DirectWriter(self.path, create=True, durable=False, now=created)
        self._intake = Intake(Policies(), NO_SYSTEMS)
        self._delivery = 0

    def record(self, kind: str, at: int, payload: Mapping[str, Any], **more: Any) -> int:
        event = NewEvent(kind, at, payload, **more)
        return self.writer.call(lambda tx: record(tx, event)).seq

    def cache(self, sql: str, *params: object) -> None:
        """Changes what is no projection: holdings and the like; or, for forgeries, what is."""
        self.writer.call(lambda tx: tx.execute(sql, params) and None)

    def close(self) -> None:
        self.writer.close()

    # --- what is in it ------------------------------------------------------------------------------------

    def system(
        self, name: str, at: int, state: str = "up", reason: str = "", snapshot: int | None = None
    ) -> None:
        vendor = SYSTEMS[name]["vendor"] if name in SYSTEMS else "other"
        self.record("system.changed", at, {"vendor": vendor, "state": state, "reason": reason}, system=name)
        if snapshot is not None:
            self.record("snapshot.completed", snapshot + HOUR, {"started_at": snapshot}, system=name)

    def request(
        self,
        name: str,
        number: str | None,
        at: int,
        *,
        source: str = "admin",
        channel: str = "voice",
        channels: Sequence[str] = ("sms", "voice"),
        system: str | None = None,
        at_vendor: tuple[str, str] | None = None,
        received: int | None = None,
        provisional: bool = False,
        strict: int = 12 * DAY,
        federal: int = 14 * DAY,
    ) -> None:
        """Deadlines are so long after it was received."""
        received = at if received is None else received
        row = {
            "id": name,
            "number": number,
            "channel": channel,
            "channels": sorted(channels),
            "numbers": [number] if number else [],
            "source": source,
            "provisional": provisional,
            "occurred_at": received,
            "received_at": received,
            "deadline_strict": received + strict,
            "deadline_federal": received + federal,
        }
        if at_vendor is not None:
            row["record"] = list(at_vendor)
        numbers = [number] if number else []
        self.record("requests.recorded", at, {"requests": [row]}, system=system, numbers=numbers)

    def delivery(
        self,
        system: str,
        key: str,
        known: int,
        *,
        request: str | None = None,
        number: str | None = None,
        channel: str = "voice",
        want: str = "set",
        accepted: float | None = None,
        verified: float | None = None,
        final: bool = False,
        goal: float = 60,
    ) -> int:
        """`accepted`, `verified`: seconds after it was known; `final`: where nothing can be read."""
        self._delivery += 1
        row = {
            "id": self._delivery,
            "system": system,
            "key": key,
            "channel": channel,
            "want": want,
            "number": number,
            "request_id": request,
            "known_at": known,
            "due_at": known,
            "deadline": known + int(goal * SECOND),
        }
        self.record("deliveries.opened", known, {"deliveries": [row]})
        ids = [self._delivery]
        if accepted is not None:
            at = known + int(accepted * SECOND)
            self.record("deliveries.sent", at, {"ids": ids, "due_at": at}, system=system)
            due = None if final else at
            taken = {"accepted": [[self._delivery, "ref"]], "due_at": due}
            self.record("deliveries.accepted", at, taken, system=system)
        if verified is not None:
            at = known + int(verified * SECOND)
            self.record("deliveries.verified", at, {"ids": ids}, system=system)
        return self._delivery

    def holding(
        self,
        system: str,
        key: str,
        *numbers: str,
        voice: str | None = None,
        sms: str | None = None,
        told_sms: str | None = None,
        gone: bool = False,
        became: str | None = None,
        seen: int = JULY,
    ) -> None:
        self.cache(
            "INSERT INTO holdings (system, key, numbers, base_voice, base_sms, told_sms, revision, gone, "
            "became, seen_at) VALUES (?,?,?,?,?,?,'',?,?,?)",
            *(system, key, json.dumps(numbers), voice, sms, told_sms, int(gone), became, seen),
        )
        for number in numbers:
            self.cache("INSERT INTO holding_numbers VALUES (?,?,?)", number, system, key)

    # --- reconciling --------------------------------------------------------------------------------------

    def command(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        at = to_micros(self.clock.now())
        # As over the daemon's socket: what is no JSON does not arrive.
        plain = json.loads(json.dumps(arguments))
        return self.writer.call(lambda tx: commands.run(tx, at, self._intake, name, plain))

    def wish(
        self,
        *,
        span: period.Span | None = None,
        seed: int = 7,
        systems: Mapping[str, Mapping[str, Any]] | None = None,
        canary: bool = False,
    ) -> quarter.Wish:
        made_with = {
            "software": "dncsync 0",
            "policy": inputs.policy(Policies(), date(2026, 9, 30), "the shipped defaults").model_dump(),
            "systems": dict(SYSTEMS if systems is None else systems),
            "within_days": 3,
            "canary": canary,
        }
        span = span or period.quarter("2026Q3", NEW_YORK)
        return quarter.Wish(span, seed, made_with, "a test", self.path.parent / "reports")

    def reconcile(self, **wish: Any) -> quarter.Outcome:
        return quarter.reconcile(self.path, self.command, self.clock, self.wish(**wish))

    def facts(self, **wish: Any) -> Facts:
        return self.reconcile(**wish).facts

    def answer(self, sql: str) -> list[tuple[Any, ...]]:
        """As `dncsync ledger query` gives it: read-only, whatever the SQL says."""
        from dncsync.ledger.query import query

        with query(self.path, sql) as found:
            return list(found)
