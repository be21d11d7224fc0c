"""The field contract, watched: does the vendor still have each field as we need it, and may we still do what
we must? A chore of the system's loop.

`describe` and `probe` say how things are; here is what that means, and since when. The detector's baseline is
each field's fingerprint while all was well: a definition that changes in a way that still satisfies the
contract is told too, because a value may mean something else now.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, TypeVar

from dncsync.clock import Clock, to_micros
from dncsync.connector import (
    Aspect,
    Connector,
    Failure,
    FailureKind,
    FieldCheck,
    FieldStatus,
    Probe,
    VendorError,
)
from dncsync.drift import credentials
from dncsync.drift.sighting import Blind, Sighting, baseline, record_baseline, settle
from dncsync.ledger.writer import Tx, Writer
from dncsync.numbers import mask_text
from dncsync.sync import findings
from dncsync.sync.breaker import State
from dncsync.sync.calls import Calls
from dncsync.sync.topology import SystemFacts

log = logging.getLogger(__name__)

T = TypeVar("T")

DETECTOR = "contract"
"""Name of the baselines: one per field, its fingerprint."""
LONGEST = 200
"""Characters of one part of a definition that a finding shows."""
REST = 19.0
"""Times as long as it took: looking takes at most a twentieth of a loop's time, whatever the interval."""
AGAIN = 60.0
"""Seconds until the next look after one that could not see."""

FIELD_KINDS: Mapping[FieldStatus, str] = {
    FieldStatus.MISSING: "field-missing",
    FieldStatus.RENAMED: "field-renamed",
    FieldStatus.HIDDEN: "field-hidden",
    FieldStatus.READ_ONLY: "field-read-only",
    FieldStatus.CHANGED: "field-changed",
}
PROBE_KINDS: Mapping[Aspect, str] = {
    Aspect.SCOPE: "scope-lost",
    Aspect.SIGHT: "scope-lost",
    Aspect.EXCESS: "permission-excess",
    Aspect.VERSION: "version-unlisted",
    Aspect.LIMIT: "budget-low",
    Aspect.OTHER: "probe-failed",
}
SEVERITY: Mapping[str, str] = {"permission-excess": "info", "probe-failed": "warning"}
"""Of probes; what is not here stops something and pages."""
_WORDS: Mapping[FieldStatus, str] = {
    FieldStatus.MISSING: "is not there any more",
    FieldStatus.RENAMED: "was renamed",
    FieldStatus.HIDDEN: "is hidden from us",
    FieldStatus.READ_ONLY: "can no longer be written",
    FieldStatus.CHANGED: "is no longer what we need",
}


class ContractWatch:
    """Looks every `every` seconds; by the system's one loop, in the background lane."""

    def __init__(
        self,
        facts: SystemFacts,
        connector: Connector,
        writer: Writer,
        clock: Clock,
        *,
        every: float = 900.0,
        credentials_expire: date | None = None,
        read_again: Callable[[], None] | None = None,
    ) -> None:
        """`credentials_expire`: as the configuration says. `read_again`: called when a broken contract holds
        again, since what changed meanwhile could not be read; begins a full comparison."""
        self.read_again = read_again
        self._facts = facts
        self._connector = connector
        self._writer = writer
        self._clock = clock
        self._every = every
        self._expire = credentials_expire
        self._next = float("-inf")
        self._well_at: dict[str, int] = {}
        self._refused = 0
        """Looks in a row at which the credentials were refused."""

    def wait(self) -> float:
        """Seconds until the next look."""
        return max(0.0, self._next - self._clock.monotonic())

    def run(self, calls: Calls) -> None:
        """One look: at most a dozen calls, none of which changes anything."""
        began = self._clock.monotonic()
        self._next = began + min(AGAIN, self._every)
        try:
            probe, fields = self._look(calls)
        except Blind as blind:
            log.info("the field contract: %s", blind, extra={"system": self._facts.name})
            return
        if fields is not None:
            now = self._clock.monotonic()
            self._next = now + max(self._every, REST * (now - began))
        at = to_micros(self._clock.now())
        mended = self._writer.call(lambda tx: self._take(tx, at, probe, fields))
        if mended and self.read_again is not None:
            self.read_again()

    def _look(self, calls: Calls) -> tuple[Probe, tuple[FieldCheck, ...] | None]:
        """The fields are None where they could not be read; then nothing is concluded of them."""
        if calls.breaker.state is not State.UP:
            raise Blind("not looked at while the system is down")
        probe = calls.ask(lambda: _told(self._connector.probe))
        if isinstance(probe, Failure):
            raise Blind(f"the probe failed: {probe.message}")
        refused = any(check.about is Aspect.CREDENTIALS and not check.ok for check in probe.checks)
        self._refused = self._refused + 1 if refused else 0
        if refused:
            return probe, None
        fields = calls.ask(lambda: _told(self._connector.describe))
        if isinstance(fields, Failure):
            log.info("no description of fields: %s", fields.message, extra={"system": self._facts.name})
            return probe, None
        return probe, fields

    def _take(self, tx: Tx, at: int, probe: Probe, fields: Sequence[FieldCheck] | None) -> bool:
        """Settles everything that was seen. Returns whether a broken contract holds again."""
        system = self._facts.name
        self._settle(tx, at, set(PROBE_KINDS.values()), self._of_probe(probe), "the probe finds it in order")
        self._settle(tx, at, {"unauthorised"}, self._unauthorised(tx, probe), "the credentials are taken")
        expiring = credentials.expiring(system, probe.checks, self._expire, self._clock.now())
        self._settle(tx, at, {"credentials-expiring"}, expiring, "they were renewed")
        if fields is None:
            return False
        before = _open(tx, system)
        sightings = self._of_fields(tx, at, fields)
        self._settle(tx, at, set(FIELD_KINDS.values()), sightings, "describe shows the field as needed again")
        blind = credentials.cannot_see(tx, system, fields, probe.checks)
        self._settle(tx, at, {"cannot-see"}, blind, "what was hidden can be read again")
        mended = bool(before) and not _open(tx, system)
        if mended:
            for (subject,) in tx.execute(
                "SELECT subject FROM findings WHERE kind = 'field-absent' AND system = ? "
                "AND closed_at IS NULL",
                (system,),
            ).fetchall():
                words = "the field contract holds again; everything is read anew"
                findings.close_finding(tx, at, "field-absent", system, subject, words)
        return mended

    def _settle(self, tx: Tx, at: int, kinds: set[str], seen: Sequence[Sighting], healed: str) -> None:
        for kind in sorted(kinds):
            mine = [_steady(tx, _masked(sighting)) for sighting in seen if sighting.kind == kind]
            settle(tx, at, self._facts.name, {kind}, mine, healed)

    # --- fields -----------------------------------------------------------------------------------------

    def _of_fields(self, tx: Tx, at: int, fields: Sequence[FieldCheck]) -> list[Sighting]:
        system = self._facts.name
        sightings: list[Sighting] = []
        for check in fields:
            mark = json.loads(json.dumps(check.fingerprint, default=str))
            known = baseline(tx, DETECTOR, system, check.name)
            if check.status is not FieldStatus.OK:
                sightings.append(self._bad(tx, check))
            elif known is None or known == mark:
                self._well_at[check.name] = at
                if mark and known is None:
                    record_baseline(tx, at, DETECTOR, system, check.name, mark)
            else:
                sightings.append(self._other(tx, check, known, mark))
        named = {check.name for check in fields}
        rows = tx.execute(
            "SELECT subject FROM baselines WHERE detector = ? AND system = ? AND value != 'null' "
            "ORDER BY subject",
            (DETECTOR, system),
        ).fetchall()
        sightings += [self._vanished(tx, subject) for (subject,) in rows if subject not in named]
        return sightings

    def _bad(self, tx: Tx, check: FieldCheck) -> Sighting:
        return Sighting(
            FIELD_KINDS[check.status],
            self._facts.name,
            check.name,
            f"{self._facts.name}: {check.name} {_WORDS[check.status]}: {check.seen}",
            check.expected,
            check.seen,
            check.mend,
            severity="page",
            since=self._since(tx, check.name),
        )

    def _other(self, tx: Tx, check: FieldCheck, known: Any, mark: Any) -> Sighting:
        """It would still do, but it is not the definition that was there when all was well."""
        parts = sorted(part for part in {*known, *mark} if known.get(part) != mark.get(part))
        return Sighting(
            FIELD_KINDS[FieldStatus.CHANGED],
            self._facts.name,
            check.name,
            f"{self._facts.name}: the definition of {check.name} changed ({', '.join(parts)})",
            "; ".join(f"{part}: {_shown(known.get(part))}" for part in parts),
            "; ".join(f"{part}: {_shown(mark.get(part))}" for part in parts),
            "find out who changed it and whether its values still mean the same; if so, accept the finding",
            since=self._since(tx, check.name),
            baseline=(DETECTOR, check.name, mark),
        )

    def _vanished(self, tx: Tx, name: str) -> Sighting:
        """A field that the connector finds by itself, e.g. one of all phone fields, and finds no more."""
        return Sighting(
            FIELD_KINDS[FieldStatus.MISSING],
            self._facts.name,
            name,
            f"{self._facts.name}: {name} is not among the fields that we can see any more",
            "readable, as it was",
            "not described any more: deleted, hidden, or taken out of the configuration",
            "let our user read it again; if it was taken out on purpose, accept the finding",
            since=self._since(tx, name),
            baseline=(DETECTOR, name, None),
        )

    def _since(self, tx: Tx, name: str) -> int | None:
        """When it was last seen to be well; after a restart, when its baseline was recorded."""
        if name in self._well_at:
            return self._well_at[name]
        row = tx.execute(
            "SELECT at FROM baselines WHERE detector = ? AND system = ? AND subject = ?",
            (DETECTOR, self._facts.name, name),
        ).fetchone()
        return None if row is None else int(row[0])

    # --- rights and versions ----------------------------------------------------------------------------

    def _of_probe(self, probe: Probe) -> list[Sighting]:
        sightings: list[Sighting] = []
        for check in probe.checks:
            kind = PROBE_KINDS.get(check.about)
            if kind is None or (check.ok and check.about is not Aspect.EXCESS):
                continue
            excess = check.about is Aspect.EXCESS
            sightings.append(
                Sighting(
                    kind,
                    self._facts.name,
                    check.name,
                    f"{self._facts.name}: {check.name}: {check.seen}",
                    "no more than is needed" if excess else "in order",
                    check.seen,
                    check.mend,
                    severity=SEVERITY.get(kind, "page"),
                )
            )
        return sightings

    def _unauthorised(self, tx: Tx, probe: Probe) -> list[Sighting]:
        """Said at the second look in a row, and only where the breaker has not said it already: a probe may
        ask for more than our own work does."""
        system = self._facts.name
        if self._refused < 2 or findings.is_open(tx, f"system-unauthorised/{system}/{system}"):
            return []
        return [
            Sighting(
                "unauthorised",
                system,
                check.name,
                f"{system} refuses our credentials: {check.seen}",
                "credentials that are taken",
                check.seen,
                check.mend,
                severity="page",
            )
            for check in probe.checks
            if check.about is Aspect.CREDENTIALS and not check.ok
        ]


def _told(ask: Callable[[], T]) -> T | Failure:
    """A refusal as a value: a right that only the schema needs must not stop the opt-outs."""
    try:
        return ask()
    except VendorError as error:
        if error.failure.kind not in (FailureKind.UNAUTHORISED, FailureKind.REJECTED):
            raise
        return error.failure


def _open(tx: Tx, system: str) -> int:
    """How many findings about fields are open."""
    kinds = json.dumps(sorted(FIELD_KINDS.values()))
    row = tx.execute(
        "SELECT count(*) FROM findings WHERE system = ? AND closed_at IS NULL "
        "AND kind IN (SELECT value FROM json_each(?))",
        (system, kinds),
    ).fetchone()
    return int(row[0])


def _steady(tx: Tx, sighting: Sighting) -> Sighting:
    """The same sighting in the words of the open finding, where they differ only in figures (a count,
    seconds): a fault that lasts is said once."""
    row = tx.execute(
        "SELECT detail FROM findings WHERE id = ? AND closed_at IS NULL",
        ("/".join((sighting.kind, sighting.system, sighting.subject)),),
    ).fetchone()
    if row is None:
        return sighting
    said = str(json.loads(row[0]).get("seen"))
    if sighting.baseline is not None or _figureless(said) != _figureless(sighting.seen):
        return sighting
    return replace(sighting, seen=said)


def _masked(sighting: Sighting) -> Sighting:
    """Vendors' words, and names of lists and senders, may hold phone numbers."""
    return replace(
        sighting,
        subject=mask_text(sighting.subject),
        summary=mask_text(sighting.summary),
        expected=mask_text(sighting.expected),
        seen=mask_text(sighting.seen),
        mend=mask_text(sighting.mend),
    )


def _figureless(text: str) -> str:
    return re.sub(r"\d+", "0", text)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
