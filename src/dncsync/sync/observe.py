"""Taking in what was read: the cache of the vendors is brought up to date, and each channel is judged.

Pages of changes and snapshots may lag behind our own writes. So what they say of a holding that we know is
only a hint when it differs: the key is read afresh. What we have never seen is taken as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx
from dncsync.model import Channel, Flag, Holding, Provenance
from dncsync.rules import Seen, Verdict, judge
from dncsync.sync import (
    activity,
    authorities,
    cache,
    canary_marks,
    doubts,
    findings,
    freezes,
    lost,
    revisions,
)
from dncsync.sync.deliveries import close, look, settle, settle_numbers
from dncsync.sync.patience import LONGEST_BACKOFF, SECOND, Jitter, backoff
from dncsync.sync.requests import Ask, How, Intake
from dncsync.sync.topology import SystemFacts
from dncsync.sync.will import blocked_among, chunks, desired, marks, record_requests
from dncsync.sync.writing import healed


@dataclass(slots=True)
class Tally:
    """What a page came to."""

    seen: int = 0
    new: int = 0
    looked_again: int = 0
    requests: int = 0
    verified: int = 0
    contradicted: int = 0
    cleared_there: int = 0
    drifted: int = 0
    unannounced: int = 0
    """Changes that a feed or a listing showed before any webhook spoke of them."""
    flipped_set: int = 0
    """Holdings that we knew and that somebody else turned to "do not contact"."""
    flipped_clear: int = 0
    """The reverse."""

    def add(self, other: Tally) -> None:
        """Sums two tallies into this one."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(slots=True)
class _Work:
    """What a page makes necessary, collected and done in batches."""

    asks: list[Ask] = field(default_factory=list)
    foreseen: list[Ask] = field(default_factory=list)
    """Those that a person approved in a plan."""
    settle: dict[str, str | None] = field(default_factory=dict)
    covers: list[tuple[str, str]] = field(default_factory=list)
    foreseen_covers: list[tuple[str, str]] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    judged: dict[tuple[str, Channel], tuple[Verdict, Flag]] = field(default_factory=dict)
    approved: set[str] = field(default_factory=set)
    """Keys whose reading an approved plan asked for."""
    asked: set[str] = field(default_factory=set)
    """Records that may have a request of their own."""
    fields: lost.Fields = field(default_factory=lost.Fields)
    doubts: doubts.Doubts | None = None
    """Of a system whose reads are frozen."""
    cleared: dict[str, list[tuple[Channel, Verdict]]] = field(default_factory=dict)
    """Where a block is not there any more."""

    def believed(self, holding: Holding, before: cache.Cached | None) -> Holding:
        """The holding as far as it is believed."""
        return holding if self.doubts is None else self.doubts.believed(holding, before)

    def doubted(self, key: str, channel: Channel) -> bool:
        """Whether this flag is there, and is not believed."""
        return self.doubts is not None and (key, channel) in self.doubts.shown


def observe(
    tx: Tx,
    at: int,
    intake: Intake,
    facts: SystemFacts,
    holdings: Sequence[Holding],
    *,
    fresh: bool,
    jitter: Jitter,
    backfill: bool = False,
    asked: int | None = None,
    listing: bool = False,
    unheard: bool = False,
) -> Tally:
    """Takes in holdings as one system showed them.

    `fresh`: read by key just now, after every write that was made before; only such a reading verifies
    anything (law 4). `backfill`: a snapshot; what it makes due goes behind fresh opt-outs. `asked`: when the
    reading was asked for (microseconds); a hint that came later is not answered by it. `listing`: a page of a
    snapshot. `unheard`: a page on which whatever differs should have been announced by a webhook before.
    """
    tally = Tally(seen=len(holdings))
    holdings = list({holding.key: holding for holding in holdings}.values())
    cached = cache.load(tx, facts, [holding.key for holding in holdings])
    if unheard:
        tally.unannounced = activity.unannounced(tx, facts, holdings, cached)
    work = _Work()
    if freezes.frozen(tx, facts.name):
        work.doubts = doubts.begin(tx, facts, [holding.key for holding in holdings])
    accepted: list[tuple[Holding, cache.Cached | None]] = []
    for holding in holdings:
        before = cached.get(holding.key)
        if before is None or before.unseen:
            tally.new += 1
            if fresh or not _evidence_missing(facts, holding):
                accepted.append((work.believed(holding, before), before))
            else:
                work.looks.append(holding.key)
        elif fresh:
            accepted.append((work.believed(holding, before), before))
        elif not cache.same(facts, holding, before) and not (
            work.doubts and work.doubts.tells_nothing(holding, before)
        ):
            work.looks.append(holding.key)
            tally.looked_again += 1
    tx.executemany(
        "UPDATE holdings SET seen_at = ? WHERE system = ? AND key = ?",
        [(at, facts.name, holding.key) for holding in holdings if holding.key in cached],
    )
    if work.doubts:
        doubts.keep(tx, at, work.doubts)
    if work.looks:
        _look_unless_waiting(tx, at, facts, work.looks)
    if accepted:
        _accept(
            tx,
            at,
            intake,
            facts,
            accepted,
            work,
            tally,
            fresh=fresh,
            jitter=jitter,
            backfill=backfill,
            asked=asked,
        )
    activity.count(
        tx,
        at,
        facts.name,
        polled_changes=tally.unannounced,
        listed=tally.seen if listing else 0,
        opt_outs=0 if backfill else tally.requests,
        flipped_set=tally.flipped_set,
        flipped_clear=tally.flipped_clear,
    )
    return tally


def _accept(
    tx: Tx,
    at: int,
    intake: Intake,
    facts: SystemFacts,
    accepted: Sequence[tuple[Holding, cache.Cached | None]],
    work: _Work,
    tally: Tally,
    *,
    fresh: bool,
    jitter: Jitter,
    backfill: bool,
    asked: int | None,
) -> None:
    parsed = cache.store(tx, at, facts, accepted)
    every = {number for found in parsed.values() for number in found}
    blocked = blocked_among(tx, every)
    if not facts.by_number:
        work.asked = _asked_before(tx, facts, list(parsed))
    if fresh:
        work.approved = _approved(tx, facts, list(parsed))
    for holding, before in accepted:
        turned = activity.flipped(facts, holding, before)
        tally.flipped_set += turned is Flag.SET
        tally.flipped_clear += turned is Flag.CLEAR
        _judge(tx, at, facts, holding, before, parsed[holding.key], blocked, work, tally)
    believed = work.doubts is None
    tally.cleared_there += authorities.judge_clears(
        tx,
        at,
        intake,
        facts,
        [holding for holding, _ in accepted],
        parsed,
        work.cleared,
        # What a person approved as something to put back is put back.
        may_count=lambda key: fresh and believed and key not in work.approved,
        asked=asked or 0,
    )
    if fresh:
        _confirm(tx, at, facts, work, tally, jitter)
        tx.executemany(
            "DELETE FROM looks WHERE system = ? AND key = ? AND due_at <= ?",
            [(facts.name, holding.key, at if asked is None else asked) for holding, _ in accepted],
        )
    touched: set[str] = set()
    if work.asks or work.foreseen:
        tally.requests += sum(not ask.canary for ask in (*work.foreseen, *work.asks))
        for how, each in ((How.APPROVED, work.foreseen), (How.READ, work.asks)):
            touched |= intake.record(tx, at, facts.name, each, how=how)
    for how, covers in ((How.APPROVED, work.foreseen_covers), (How.READ, work.covers)):
        touched |= intake.cover(tx, at, facts.name, covers, how=how)
    work.fields.heal(tx, at, facts)
    if touched:
        settle_numbers(tx, at, intake.topology, intake.goals, touched, backfill=backfill, origin=facts)
    if work.settle:
        settle(tx, at, intake.topology, intake.goals, facts, work.settle, backfill=backfill)


def _judge(
    tx: Tx,
    at: int,
    facts: SystemFacts,
    holding: Holding,
    before: cache.Cached | None,
    own: tuple[str, ...],
    blocked: dict[str, set[Channel]],
    work: _Work,
    tally: Tally,
) -> None:
    if holding.became is not None:
        work.looks.append(holding.became)
        look(tx, at, facts.name, [holding.became])
    ended = holding.gone and not facts.by_number
    if ended:
        work.settle[holding.key] = None
    quiet = before is None and blocked.keys().isdisjoint(own)
    for channel in facts.capabilities.channels:
        observed = cache.observed(holding, channel)
        if observed is None or (ended and observed is not Flag.SET):
            continue  # no such field on this holding; or a record that ended, whose blanks say nothing
        if not work.doubted(holding.key, channel):
            work.fields.note(holding.key, channel, absent=observed is Flag.ABSENT)
        if quiet and observed is Flag.CLEAR:
            continue  # most of a first snapshot: nobody asked for anything here
        provenance = holding.provenance.get(channel, Provenance())
        seen = Seen(
            base=before.base[channel] if before else None,
            observed=observed,
            written=before.written[channel] if before else None,
            base_revision=revisions.known_mark(before.revision, channel) if before else "",
            revision=revisions.mark(holding, channel),
            ours=provenance.ours,
            unanswered=before is not None and before.told[channel] is not before.written[channel],
        )
        wanted = desired(tx, facts, holding.key, channel)
        verdict = judge(seen, wanted)
        if verdict.request:
            _ask(tx, facts, holding, channel, provenance, own, work)
        if ended or (facts.by_number and not own and not holding.gone):
            continue  # nothing is written there; an entry that is no number is nobody's to take away
        work.judged[holding.key, channel] = (verdict, observed)
        work.settle[holding.key] = next((n for n in own if channel in blocked.get(n, ())), None)
        if verdict.drift and not work.doubted(holding.key, channel):
            tally.drifted += 1
            findings.open_finding(
                tx,
                at,
                "field-absent",
                facts.name,
                (subject := lost.subject_of(holding.key, channel)),
                f"{facts.name} no longer shows the field for {subject}; its holdings cannot be read",
                severity="page",
                quiet=True,
            )
        if verdict.cleared_there or verdict.not_kept:
            work.cleared.setdefault(holding.key, []).append((channel, verdict))
    if holding.key in work.asked:
        _note_covers(tx, facts, holding.key, own, work)


def _ask(
    tx: Tx,
    facts: SystemFacts,
    holding: Holding,
    channel: Channel,
    provenance: Provenance,
    own: tuple[str, ...],
    work: _Work,
) -> None:
    scope = facts.scope_of(holding.key) if facts.by_number else ""
    # One that a person refused to spread does not keep a later one from being heard.
    standing = (
        "AND ended_seq IS NULL AND NOT EXISTS (SELECT 1 FROM held w JOIN fuses f ON f.id = w.fuse_id "
        "WHERE w.request_id = requests.id AND f.state = 'rejected' AND w.released_seq IS NULL)"
    )
    if facts.by_number:
        if not own:
            return  # an entry that is no number (a wildcard): quarantined
        known = tx.execute(
            "SELECT 1 FROM requests WHERE number = ? AND origin_system = ? AND scope = ? AND channel = ? "  # noqa: S608
            + standing,
            (own[0], facts.name, scope, channel),
        ).fetchone()
    else:
        known = tx.execute(
            "SELECT 1 FROM requests WHERE record_system = ? AND record_key = ? AND channel = ? "  # noqa: S608
            + standing,
            (facts.name, holding.key, channel),
        ).fetchone()
    if known:
        return  # the request stands already; setting the flag again adds nothing
    run = canary_marks.run_behind(tx, facts.name, holding.key, provenance.ours)
    source = provenance.source or ("list-entry" if facts.by_number else "record-flag")
    (work.foreseen if holding.key in work.approved else work.asks).append(
        Ask(
            channel=channel,
            numbers=own,
            number=own[0] if facts.by_number else None,
            record=None if facts.by_number else (facts.name, holding.key),
            scope=scope,
            source=canary_marks.SOURCE if run else source,
            actor=canary_marks.ACTOR if run else provenance.actor or None,
            occurred_at=provenance.at,
            canary=run or "",
        )
    )


def _approved(tx: Tx, facts: SystemFacts, keys: Sequence[str]) -> set[str]:
    """Keys that are read because an approved plan asks for it."""
    found: set[str] = set()
    for chunk in chunks(keys):
        rows = tx.execute(
            f"SELECT key FROM looks WHERE system = ? AND approved = 1 AND key IN ({marks(chunk)})",  # noqa: S608
            (facts.name, *chunk),
        )
        found |= {row[0] for row in rows}
    return found


def _asked_before(tx: Tx, facts: SystemFacts, keys: Sequence[str]) -> set[str]:
    """Those of these records that may have a request, their own or of a record that was merged into them. A
    page at a time, since most have none."""
    found: set[str] = set()
    for chunk in chunks(keys):
        for sql in (
            "SELECT record_key FROM requests WHERE record_system = ? AND ended_seq IS NULL AND record_key",
            "SELECT became FROM holdings WHERE system = ? AND became",
        ):
            found |= {row[0] for row in tx.execute(f"{sql} IN ({marks(chunk)})", (facts.name, *chunk))}
    return found


def _note_covers(tx: Tx, facts: SystemFacts, key: str, own: tuple[str, ...], work: _Work) -> None:
    """A request made on a record covers numbers that come to it later."""
    if not own:
        return
    for request_id, _ in record_requests(tx, facts.name, key):
        known = {
            row[0] for row in tx.execute("SELECT number FROM blocks WHERE request_id = ?", (request_id,))
        }
        covers = work.foreseen_covers if key in work.approved else work.covers
        covers += [(request_id, number) for number in own if number not in known]


def _confirm(tx: Tx, at: int, facts: SystemFacts, work: _Work, tally: Tally, jitter: Jitter) -> None:
    """Closes or re-opens the deliveries of the keys that were just read."""
    verified: list[int] = []
    moot: list[int] = []
    contradicted: list[dict[str, Any]] = []
    absent: list[int] = []
    held: list[int] = []
    for (key, channel), (_, observed) in work.judged.items():
        row = tx.execute(
            "SELECT id, want, state, sent_at, attempts FROM deliveries "
            "WHERE system = ? AND key = ? AND channel = ? AND open = 1",
            (facts.name, key, channel),
        ).fetchone()
        if row is None:
            continue
        delivery_id, want, state, sent_at, attempts = row
        if work.doubted(key, channel):
            if want == Flag.CLEAR or state != "due":
                held.append(delivery_id)  # until somebody can say what is true there
        elif observed == want:
            (moot if sent_at is None else verified).append(delivery_id)
        elif observed is Flag.ABSENT:
            absent.append(delivery_id)
        elif state != "due":
            wait = 0.0 if state == "sent" else backoff(attempts, jitter)
            contradicted.append(
                {"id": delivery_id, "due_at": at + int(wait * SECOND), "error": f"read back: {observed}"}
            )
    tally.verified += len(verified)
    tally.contradicted += len(contradicted)
    if verified:
        record(tx, NewEvent("deliveries.verified", at, {"ids": verified}, system=facts.name))
        healed(tx, at, facts, dict.fromkeys(key for key, _ in work.judged), "read back as wanted")
    if contradicted:
        record(tx, NewEvent("deliveries.contradicted", at, {"contradicted": contradicted}, system=facts.name))
    close(tx, at, moot, "moot")
    for ids, seconds in ((absent, 60.0), (held, LONGEST_BACKOFF)):
        if ids:
            later = at + int(seconds * SECOND)
            record(tx, NewEvent("deliveries.delayed", at, {"ids": ids, "due_at": later}, system=facts.name))


def _evidence_missing(facts: SystemFacts, holding: Holding) -> bool:
    """A record that is new to us and set, on a page that does not say by whom: a reading by key may, and
    gives the mark by which a later tick is known as another one."""
    if facts.by_number or not facts.capabilities.can_read:
        return False
    if Flag.SET not in holding.flags.values():
        return False  # most of a first snapshot
    return any(
        flag is Flag.SET and channel not in holding.provenance for channel, flag in holding.flags.items()
    )


def _look_unless_waiting(tx: Tx, at: int, facts: SystemFacts, keys: Sequence[str]) -> None:
    """A delivery that was sent is read back anyway; reading it twice would tell nothing more."""
    waiting: set[str] = set()
    for chunk in chunks(keys):
        rows = tx.execute(
            "SELECT key FROM deliveries WHERE system = ? AND open = 1 AND state IN ('sent', 'accepted') "  # noqa: S608
            f"AND key IN ({marks(chunk)})",
            (facts.name, *chunk),
        )
        waiting |= {row[0] for row in rows}
    look(tx, at, facts.name, [key for key in keys if key not in waiting])
