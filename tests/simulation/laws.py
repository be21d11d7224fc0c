"""The laws, checked from the world's side: against the vendors' own truth and what people really did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dncsync.clock import VirtualClock, to_micros
from dncsync.ledger import projections
from dncsync.ledger.rebuild import compare
from dncsync.ledger.sqlite import connect_reader
from dncsync.ledger.verify import verify
from simulation import approvals

if TYPE_CHECKING:
    from simulation.world import World

SCAN = 0.6 * 3600.0
"""Seconds: the snapshot interval of the simulated daemon."""


class LawBroken(AssertionError):
    """A law does not hold; `trace` tells the story."""

    def __init__(self, law: int, what: str, trace: list[str]) -> None:
        super().__init__(f"law {law}: {what}")
        self.law = law
        self.trace = trace


def check_quiet(world: World) -> None:
    """Law 6: a world in which nothing happens sees no write."""
    before = sum(len(vendor.writes) for vendor in world.vendors)
    world.let_pass(2 * SCAN)
    wrote = sum(len(vendor.writes) for vendor in world.vendors) - before
    _hold(world, 6, wrote == 0, f"{wrote} writes in a world where nothing happens")


def check_laws(world: World) -> None:
    assert world.writer is not None
    world.writer.close()
    world.writer = None
    check_acknowledged(world)
    conn = connect_reader(world.path)
    try:
        blocked = {
            row[0]
            for row in conn.execute("SELECT number FROM blocks WHERE channel = 'voice' AND ended_seq IS NULL")
        }
        check_ratchet(world, conn, blocked)
        check_suppressed(world, conn, blocked)
        if world.approver is not None:
            wrong = approvals.broken(world, world.approver, conn)
            _hold(world, 9, wrong is None, wrong or "")
        check_claims(world, conn)
        orphans = conn.execute("SELECT count(*) FROM deliveries WHERE open = 1").fetchone()[0]
        _hold(world, 5, orphans == 0, f"{orphans} deliveries still open in a healthy world")
        clears = conn.execute(
            "SELECT count(*) FROM blocks WHERE ended_seq IS NOT NULL AND ended_seq NOT IN "
            "(SELECT event_seq FROM reversals)"
        ).fetchone()[0]
        _hold(world, 2, clears == 0, "a block ended without a reversal")
    finally:
        conn.close()
    report = verify(world.path)
    _hold(world, 8, not report.problems, f"the chain does not verify: {report.problems[:3]}")
    differences = compare(world.path, projections).differences
    _hold(world, 8, not differences, f"a rebuild differs: {differences[:3]}")


def check_acknowledged(world: World) -> None:
    """Law 1: what was acknowledged is on disk, also in the moment after a death."""
    conn = connect_reader(world.path)
    try:
        known = {row[0] for row in conn.execute("SELECT ref FROM statements")}
    finally:
        conn.close()
    missing = [ref for ref in world.acknowledged if ref not in known]
    _hold(world, 1, not missing, f"acknowledged and not in the ledger: {missing}")


def check_ratchet(world: World, conn: Any, blocked: set[str]) -> None:
    """Law 2, from the world's side. What was asked is blocked, unless reversed after it can have been
    known; what was reversed long after the last request is free (law 7: no echo counts as newer)."""
    known = {row[0] for row in conn.execute("SELECT ref FROM statements")}
    for message_at, said in world.sms.said:
        _hold(world, 3, said.ref in known, f"{said.ref} was said at {message_at:.1f} and never heard")
        if said.text != "START" and world.reversed_at.get(said.number, -1.0) < message_at:
            _hold(world, 2, said.number in blocked, f"{said.number} said {said.text!r} and is not blocked")


def check_suppressed(world: World, conn: Any, blocked: set[str]) -> None:
    """Law 3: whatever can be read and holds a blocked number is suppressed, by the vendor's own truth; and
    nothing else is (a block that nobody asked for would be an echo)."""
    records = {
        (row[0], row[1])
        for row in conn.execute(
            "SELECT record_system, record_key FROM requests "
            "WHERE record_key IS NOT NULL AND ended_seq IS NULL"
        )
    }
    asked = records - _held_records(conn)
    spreads = approvals.spreading(conn)
    for vendor in (world.hubspot, world.salesforce):
        for row in vendor.rows.values():
            survivor = row
            while survivor.became is not None:  # a record-level request follows the record
                survivor = vendor.rows[survivor.became]
            for known in (records, asked):
                if (vendor.name, row.key) in known:
                    known.add((vendor.name, survivor.key))
        for row in vendor.rows.values():
            if row.gone:
                continue
            want = (vendor.name, row.key) in records or any(n in blocked for n in row.numbers)
            if want and (vendor.name, row.key) not in asked and not any(n in spreads for n in row.numbers):
                continue  # all that wants it was rejected: it stands here, and stays there as it was (law 9)
            _hold(
                world, 3, row.flag == want, f"{vendor.name} {row.key} {row.numbers} is {row.flag}, not {want}"
            )
    for number in world.numbers:
        listed = world.dialer.rows.get(f"LIST/{number}")
        on_list = listed is not None and listed.flag
        if number in blocked and number not in spreads:
            continue
        _hold(world, 3, on_list == (number in blocked), f"{number} on the dialer's list: {on_list}")
    check_ticks(world, conn, records, blocked)


def _held_records(conn: Any) -> set[tuple[str, str]]:
    """Records all of whose own requests a fuse holds."""
    rows = conn.execute(
        "SELECT record_system, record_key FROM requests r WHERE record_key IS NOT NULL AND ended_seq IS NULL "
        "GROUP BY 1, 2 HAVING min(EXISTS (SELECT 1 FROM held h WHERE h.request_id = r.id AND h.number = '' "
        "AND h.released_seq IS NULL))"
    )
    return {(row[0], row[1]) for row in rows}


def check_ticks(world: World, conn: Any, records: set[tuple[str, str]], blocked: set[str]) -> None:
    """Law 2: a tick that stands, and that no reversal came after, is a block. Law 7: nothing but a person
    makes a request; no echo of ours does, whatever the clocks say, unless nobody can tell it from a tick."""
    for (name, key), since in world.ticked.items():
        vendor = world.hubspot if name == "hubspot" else world.salesforce
        row = vendor.rows[key]
        if any(world.reversed_at.get(number, -1.0) >= since for number in world.numbers):
            continue  # one of the numbers it ever had may have been reversed since
        if not vendor.tells_who and any(where == key and not flag for _, where, flag in vendor.writes):
            continue  # ticked again under our clear, or that never landed: no mark and no name says which
        kept = (name, key) in records or any(number in blocked for number in row.numbers)
        _hold(world, 2, kept, f"{name} {key} {row.numbers} was ticked at {since:.1f}, and it is forgotten")
    rows = conn.execute(
        "SELECT id, origin_system, record_key, number, scope FROM requests WHERE source IN "
        "('record-flag', 'list-entry', 'UI')"
    )
    for request_id, system, record_key, number, scope in rows.fetchall():
        origin = next(v for v in world.vendors if v.name == system)
        key = record_key or f"{scope}/{number}"
        covered = [
            n for (n,) in conn.execute("SELECT number FROM blocks WHERE request_id = ?", (request_id,))
        ]
        if not origin.tells_who and any(n in world.reversed_at for n in covered):
            continue  # a late write of ours that a reversal overtook, or a tick: it counts as one (CON-05)
        _hold(
            world, 7, key in origin.set_by_people, f"{request_id}: nobody ever asked for it on {system} {key}"
        )


def check_claims(world: World, conn: Any) -> None:
    """Law 4: behind every `verified` there is a reading that showed it, made after the write."""
    for vendor in world.vendors:
        rows = conn.execute(
            "SELECT key, want, sent_at, verified_at FROM deliveries "
            "WHERE system = ? AND verified_at NOT NULL",
            (vendor.name,),
        ).fetchall()
        _hold(
            world,
            4,
            not rows or vendor.capabilities.can_read,
            f"{vendor.name} cannot be read, yet is verified",
        )
        start = to_micros(VirtualClock().now())
        for key, want, sent_at, verified_at in rows:
            sent, done = (sent_at - start) / 1e6, (verified_at - start) / 1e6
            seen = [r for r in vendor.readings if r.key == key and sent <= r.at <= done + 1e-6]
            good = bool(seen) and seen[-1].flag == (want == "set")
            _hold(world, 4, good, f"{vendor.name} {key} is verified {want} at {done:.1f} without a reading")
    rows = conn.execute(
        "SELECT key, want, sent_at, accepted_at FROM deliveries WHERE system = 'sms' AND state = 'accepted'"
    ).fetchall()
    for key, want, sent_at, accepted_at in rows:
        sent, done = (sent_at - start) / 1e6, (accepted_at - start) / 1e6
        told = [w for w in world.sms.writes if w[1] == key and sent <= w[0] <= done + 1e-6]
        good = bool(told) and told[-1][2] == (want == "set")
        _hold(world, 4, good, f"sms {key} is called accepted at {done:.1f}, and was never told")


def _hold(world: World, law: int, holds: bool, what: str) -> None:
    if not holds:
        raise LawBroken(law, what, world.trace)
