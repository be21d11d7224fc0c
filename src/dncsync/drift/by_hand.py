"""What a person would find who opened the records one by one: three questions to the cache of the vendors.

Each is asked of a whole system and answered with a count and a few keys, in constant memory. They are asked
once a day, since they read everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from dncsync import numbers
from dncsync.drift.ledger_detector import Seen, roughly
from dncsync.drift.sighting import Sighting
from dncsync.ledger.sqlite import Connection
from dncsync.model import Channel
from dncsync.sync.topology import SystemFacts, shown

DAILY = 86_400.0
SAMPLE = 20
"""Keys named in a finding."""

DUPLICATE = "duplicate-notation"
UNASKED = "block-without-request"
LOST = "lost-on-conversion"


@dataclass(frozen=True, slots=True)
class Found:
    """How many holdings, and the first of their keys."""

    count: int
    keys: tuple[str, ...]

    def named(self, facts: SystemFacts) -> str:
        """The keys, for people; numbers in them are masked."""
        more = ", ..." if self.count > len(self.keys) else ""
        return ", ".join(shown(facts, key) for key in self.keys) + more


class DuplicateNotation:
    """One number on several records of a system, written in several ways: whoever looks for it there, or
    filters a list by it, finds one of them and misses the others."""

    kinds = (DUPLICATE,)
    healed = "no number is written in several ways any more"
    every = DAILY

    def look(self, conn: Connection, at: int, facts: SystemFacts) -> Seen:
        if facts.by_number:
            return Seen()  # its keys are our own spelling
        found, pairs = duplicates(conn, facts)
        if not found.count:
            return Seen()
        sighting = Sighting(
            DUPLICATE,
            facts.name,
            facts.name,
            f"{pairs} numbers stand on several records of {facts.name} in different notations "
            f"({found.count} records, e.g. {found.named(facts)})",
            expected="one number, one notation, so that it can be found by its text",
            seen=f"{roughly(pairs)} numbers",
            mend=f"bring the phone fields of {facts.name} into one form (E.164 is best), or merge the "
            "records; dncsync itself compares the numbers and blocks every one of them",
            severity="info",
            keys=(),
        )
        return Seen([sighting])


_SHARED = (
    "SELECT n.number, h.key, h.numbers FROM (SELECT number FROM holding_numbers WHERE system = ?1 "
    "GROUP BY number HAVING count(*) > 1) AS s CROSS JOIN holding_numbers n ON n.number = s.number AND "
    "n.system = ?1 CROSS JOIN holdings h ON h.system = ?1 AND h.key = n.key AND h.gone = 0 ORDER BY n.number"
)


def duplicates(conn: Connection, facts: SystemFacts) -> tuple[Found, int]:
    """Records that write a number otherwise than another record of the system does; and how many numbers."""
    count = pairs = 0
    keys: list[str] = []
    for number, rows in groupby(conn.execute(_SHARED, (facts.name,)), key=itemgetter(0)):
        written = {(key, _notation(raw, number, facts.region)) for _, key, raw in rows}
        if len({text for _, text in written}) < 2:
            continue
        pairs += 1
        count += len(written)
        if len(keys) < SAMPLE:
            keys += sorted({key for key, _ in written})
    return Found(count, tuple(keys[:SAMPLE])), pairs


def _notation(raw: str, number: str, region: str) -> str:
    """How a record writes the number: the first of its values that reads as it."""
    values: Iterable[str] = json.loads(raw)
    return next((value for value in values if numbers.parse(value, region).number == number), "")


class BlockWithoutRequest:
    """A block that nothing in the ledger explains: no request that ever stood, no blocked number, nothing
    that we wrote. It may be our own flag whose reason was lost, or an answer that was misread."""

    kinds = (UNASKED,)
    healed = "every block has a request behind it"
    every = DAILY

    def look(self, conn: Connection, at: int, facts: SystemFacts) -> Seen:
        found = unasked(conn, facts)
        if not found.count:
            return Seen()
        sighting = Sighting(
            UNASKED,
            facts.name,
            facts.name,
            f"{found.count} holdings of {facts.name} carry a block for which the ledger has no request "
            f"(e.g. {found.named(facts)})",
            expected="behind each block a request, now or in the past, or a write of ours",
            seen=f"{roughly(found.count)} holdings",
            mend=f"open some of them in {facts.name} and see who set the flag and when; leave it set. Record "
            "the request with `dncsync number block` where there was one",
            keys=found.keys,
        )
        return Seen([sighting])


_UNASKED = (
    "FROM holdings h WHERE h.system = ?1 AND h.gone = 0 AND (h.base_voice = 'set' OR h.base_sms = 'set') "
    "AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.record_system = ?1 AND r.record_key = h.key) "
    "AND NOT EXISTS (SELECT 1 FROM holdings e JOIN requests r ON r.record_system = ?1 "
    "AND r.record_key = e.key WHERE e.system = ?1 AND e.became = h.key) "
    "AND NOT EXISTS (SELECT 1 FROM holding_numbers n JOIN blocks b ON b.number = n.number "
    "WHERE n.system = ?1 AND n.key = h.key) "
    "AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.system = ?1 AND d.key = h.key AND d.want = 'set')"
)
_A_NUMBER = " AND EXISTS (SELECT 1 FROM holding_numbers n WHERE n.system = ?1 AND n.key = h.key)"
"""An entry of a list that is no number is quarantined, and told of as that."""


def unasked(conn: Connection, facts: SystemFacts) -> Found:
    """Holdings with a block that nobody asked for."""
    return _found(conn, _UNASKED + (_A_NUMBER if facts.by_number else ""), facts.name)


class LostOnConversion:
    """A record was converted or merged, and the one that came of it does not carry its block. The request
    follows the record, and so will the flag; but until then somebody may call."""

    kinds = (LOST,)
    healed = "every survivor carries the block again"
    every = DAILY

    def look(self, conn: Connection, at: int, facts: SystemFacts) -> Seen:
        if facts.by_number:
            return Seen()
        found = lost(conn, facts)
        if not found.count:
            return Seen()
        sighting = Sighting(
            LOST,
            facts.name,
            facts.name,
            f"{found.count} records of {facts.name} were converted or merged into one that does not carry "
            f"their block (e.g. {found.named(facts)})",
            expected="what comes of a conversion or a merge carries the block of the records that went in",
            seen=f"{roughly(found.count)} records",
            mend=f"map the do-not-contact fields in the settings for conversion of {facts.name} (Salesforce: "
            "Lead > Map Lead Fields), so that the flag is not lost for the seconds until it is put back",
            keys=found.keys,
        )
        return Seen([sighting])


_LOST = (
    "FROM holdings e JOIN holdings h ON h.system = ?1 AND h.key = e.became AND h.gone = 0 "
    "WHERE e.system = ?1 AND e.became IS NOT NULL AND ({ways})"
)
_WAY = (
    "(h.base_{channel} = 'clear' AND (EXISTS (SELECT 1 FROM requests r WHERE r.record_system = ?1 "
    "AND r.record_key = e.key AND r.ended_seq IS NULL "
    "AND instr(',' || r.channels || ',', ',{channel},') > 0) "
    "OR (e.base_{channel} = 'set' AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.record_system = ?1 "
    "AND r.record_key = e.key AND r.ended_seq IS NOT NULL) AND NOT EXISTS (SELECT 1 FROM holding_numbers n "
    "JOIN blocks b ON b.number = n.number WHERE n.system = ?1 AND n.key = e.key "
    "AND b.ended_seq IS NOT NULL))))"
)
"""A flag that stands on the ended record because nothing is written there any more is no lost one: a reversal
ended what it stood for."""


def lost(conn: Connection, facts: SystemFacts) -> Found:
    """Ended records whose survivor does not carry their block; keys are the survivors'."""
    ways = " OR ".join(_WAY.format(channel=channel.value) for channel in Channel)
    return _found(conn, _LOST.format(ways=ways), facts.name)


def _found(conn: Connection, source: str, system: str) -> Found:
    (count,) = conn.execute(f"SELECT count(DISTINCT h.key) {source}", (system,)).fetchone()
    rows = conn.execute(f"SELECT DISTINCT h.key {source} ORDER BY h.key LIMIT ?2", (system, SAMPLE))
    return Found(count, tuple(row[0] for row in rows.fetchall())) if count else Found(0, ())
