"""The canary: a number of the tenant's own, opted out in one system, awaited in the others, then taken back.

A state machine over the ledger: `step` reads where the open run stands and takes it one step further, so a
crash costs time and nothing else. At most one run is open. A run ends exactly its own requests (law 2); where
somebody else asked for the same number meanwhile, nothing is taken back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dncsync.clock import from_micros
from dncsync.drift import canary_telling as telling
from dncsync.drift.canary_ground import UNSETTLED, Expects, NotNow, Place, read_in_full, survey
from dncsync.drift.canary_legs import cleared, other_request, reached, shows_no_field, stage_of, stands
from dncsync.drift.canary_origin import ABSENT, GONE, TAKEN, OriginWrite
from dncsync.drift.canary_runs import SECOND, Leg, Run, last_begun, left_behind, legs_of, open_run
from dncsync.drift.canary_telling import Stage
from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx
from dncsync.model import Channel, Flag
from dncsync.numbers import mask
from dncsync.policy import blocked_channels
from dncsync.settings import CanarySettings
from dncsync.sync import findings
from dncsync.sync.canary_marks import ACTOR, BASIS
from dncsync.sync.deliveries import look
from dncsync.sync.requests import Intake, Refused, Reversal
from dncsync.sync.topology import SystemFacts
from dncsync.sync.will import marks

PATIENCE = 3
"""So many times its limit is an arrival waited for; then it is lost, and the run goes on without it."""
UNSETTLED_AGAIN = 900.0
"""Seconds between two readings of a place that no run can use as it is."""
LOOK_AFTER = 60.0
"""Seconds between two readings of an origin whose feeds are silent."""


class Canary:
    """Lets canaries fly. Every method runs inside one transaction; `at` is microseconds."""

    def __init__(self, settings: CanarySettings, intake: Intake, origins: Mapping[str, OriginWrite]) -> None:
        """`origins`: the chore of each system's loop."""
        self._settings = settings
        self._intake = intake
        self._origins = origins

    @property
    def systems(self) -> dict[str, SystemFacts]:
        """Those that take part."""
        chosen = self._settings.systems
        return {name: facts for name, facts in self._intake.topology.items() if not chosen or name in chosen}

    def step(self, tx: Tx, at: int) -> None:
        """Takes the open run further, or begins one that is due. Costs a few statements when nothing is."""
        run = open_run(tx)
        if run is None and (left := left_behind(tx)):
            self._reverse(tx, at, left)
        elif run is None:
            self._begin_if_due(tx, at)
        elif run.reversed_at is not None:
            self._await_clears(tx, at, run, run.reversed_at)
        elif run.seen_at is not None:
            self._await_legs(tx, at, run, run.seen_at)
        elif run.refused is not None:
            self._refused(tx, at, run)
        elif other := other_request(tx, run):
            # What stands at the origin is now that request's, and so it will be read.
            self._end(tx, at, run, "kept", _kept(run, other))
        elif run.written_at is not None:
            self._await_feed(tx, at, run, run.written_at)
        else:
            self._await_write(tx, at, run)

    # --- beginning ------------------------------------------------------------------------------------

    def begin(self, tx: Tx, at: int, *, origin: str | None, actor: str) -> str:
        """Begins a run. `origin`: None for the system that had none for longest. Returns its id.
        Raises `Refused`."""
        run = open_run(tx)
        if run is not None:
            raise NotNow(f"run {run.id} is under way; there is one at a time")
        places, number = self._choose(tx, at, origin)
        first = places[0]
        run_id = f"C{tx.head.seq + 1}"
        payload = {
            "id": run_id,
            "key": first.keys[0],
            "channel": first.channel,
            "hook_expected": self.systems[first.system].capabilities.has_webhooks,
            "seen_within": self._within(first.system),
            "legs": [
                {
                    "system": place.system,
                    "expects": Expects.ORIGIN if place is first else place.expects,
                    "why": place.why,
                    "within": self._within(place.system),
                }
                for place in places
            ],
        }
        record(tx, NewEvent("canary.begun", at, payload, number=number, system=first.system, actor=actor))
        findings.close_finding(tx, at, telling.CANNOT, None, telling.CANARY, f"run {run_id} began")
        _have_read(tx, at, places)
        self._offer(tx, first.system)
        return run_id

    def preview(self, tx: Tx, at: int, origin: str | None) -> dict[str, Any]:
        """What `begin` would do now, as JSON values. Raises `Refused`."""
        places, number = self._choose(tx, at, origin)
        return {
            "number": mask(number),
            "origin": places[0].system,
            "key": places[0].keys[0],
            "channel": str(places[0].channel),
            "seen_within_seconds": self._within(places[0].system) / SECOND,
            "webhook": "expected" if self.systems[places[0].system].capabilities.has_webhooks else "none",
            "pairs": [
                {
                    "system": place.system,
                    "expects": str(place.expects),
                    "why": place.why,
                    "within_seconds": self._within(place.system) / SECOND,
                    "no_origin": place.no_origin,
                }
                for place in places[1:]
            ],
        }

    def _choose(self, tx: Tx, at: int, origin: str | None) -> tuple[list[Place], str]:
        """The places of the first number that can fly, the origin first."""
        if not self._settings.numbers:
            raise Refused("the canary is off: no number of your own is configured as [canary] numbers")
        if origin is not None and origin not in self.systems:
            known = ", ".join(sorted(self.systems)) or "none"
            raise Refused(f"no system {origin!r} takes part in the canary; those that do: {known}")
        problems: list[Refused] = []
        for number in self._settings.numbers:
            try:
                return self._order(tx, self._survey(tx, at, number), origin), number
            except Refused as problem:
                problems.append(problem)
        raise problems[0]

    def _survey(self, tx: Tx, at: int, number: str) -> tuple[Place, ...]:
        policy = self._intake.policies.on(from_micros(at).date())
        return survey(tx, self.systems, number, blocked_channels(policy, frozenset({Channel.VOICE})))

    def _order(self, tx: Tx, places: Sequence[Place], origin: str | None) -> list[Place]:
        able = [place for place in places if not place.no_origin]
        if origin is not None:
            able = [place for place in able if place.system == origin]
            if not able:
                why = next(place.no_origin for place in places if place.system == origin)
                raise Refused(f"no run can begin in {origin}: {why}")
        if not able:
            each = "; ".join(f"{place.system}: {place.no_origin}" for place in places)
            raise _refusal(places)(f"a run can begin nowhere ({each or 'no system takes part'})")
        first = min(able, key=lambda place: (last_begun(tx, place.system), place.system))
        others = [place for place in places if place is not first]
        if all(place.expects is Expects.SKIPPED for place in others):
            each = "; ".join(f"{place.system}: {place.why}" for place in others)
            raise _refusal(places)(
                f"a run from {first.system} could be awaited nowhere ({each or 'no other system'})"
            )
        return [first, *others]

    def _begin_if_due(self, tx: Tx, at: int) -> None:
        """A round is a run from every system that can begin one, one after the other."""
        every = int(self._settings.every * 3600 * SECOND)
        begun = {name: last_begun(tx, name) for name in self.systems}
        due = sorted((last, name) for name, last in begun.items() if at - last >= every)
        if not self._settings.numbers or not due:
            return
        for _, name in due:
            try:
                self.begin(tx, at, origin=name, actor=ACTOR)
                return
            except Refused:
                continue  # most systems are no origins, and nothing is wrong with that
        self._have_read(tx, at)
        newest = max(begun.values())
        if at - newest >= every:
            self._tell_cannot(tx, at, newest, every)

    def _have_read(self, tx: Tx, at: int) -> None:
        for number in self._settings.numbers:
            try:
                _have_read(tx, at, self._survey(tx, at, number))
            except Refused:
                continue

    def _tell_cannot(self, tx: Tx, at: int, newest: int, every: int) -> None:
        """Nothing has flown for a whole round. What passes by itself is told when it has lasted another."""
        try:
            self._choose(tx, at, None)
        except Refused as problem:
            first = tx.execute("SELECT min(since) FROM systems", ()).fetchone()[0]
            passing = isinstance(problem, NotNow) or not all(
                read_in_full(tx, facts) for facts in self.systems.values() if facts.capabilities.can_list
            )
            if not passing or at - (newest or first or at) >= 2 * every:
                telling.tell_cannot(tx, at, str(problem))

    def _within(self, system: str) -> int:
        role = self._intake.topology[system].capabilities.role
        return int(self._settings.within[role] * SECOND)

    def _offer(self, tx: Tx, system: str) -> None:
        """Has the origin's loop look for what is left to do there."""

        def wake() -> None:
            if system in self._origins:
                self._origins[system].offer()
                self._intake.topology.wake([system])

        tx.after_commit(wake)

    # --- the way to us ----------------------------------------------------------------------------------

    def _await_write(self, tx: Tx, at: int, run: Run) -> None:
        self._offer(tx, run.origin)
        if at - run.begun_at <= run.seen_within:
            return
        why = f"{run.origin} took no write within {run.seen_within / SECOND:g} s"
        if _is_up(tx, run.origin):  # else the outage has a finding of its own
            self._late(tx, at, run, Stage.NOT_WRITTEN, why, lost=False)
        if run.writing_at is None:
            self._end(tx, at, run, "broken off", why)  # nothing was sent: there is nothing to take back

    def _refused(self, tx: Tx, at: int, run: Run) -> None:
        words = run.note or ""
        if run.refused in (TAKEN, GONE):
            self._end(tx, at, run, "broken off", words)
            return
        stage = Stage.ABSENT if run.refused == ABSENT else Stage.REFUSED
        self._late(tx, at, run, stage, words, lost=True)
        self._end(tx, at, run, "lost", words)

    def _await_feed(self, tx: Tx, at: int, run: Run, written: int) -> None:
        waited = at - written
        if run.kept in (None, Flag.ABSENT):
            self._offer(tx, run.origin)
        if run.kept == Flag.CLEAR:
            self._late(tx, at, run, Stage.NOT_KEPT, "", lost=True)
            if waited > run.seen_within:
                self._end(tx, at, run, "lost", f"{run.origin} accepted the write and did not keep it")
            return
        if run.kept == Flag.ABSENT:
            self._late(tx, at, run, Stage.ABSENT, "", lost=False)
        if waited > run.seen_within:
            absent = shows_no_field(tx, run.origin, [run.channel])
            self._late(tx, at, run, Stage.ABSENT if absent else Stage.NOT_SEEN, "", lost=False)
            self._watch_hook(tx, at, run)
        if waited <= PATIENCE * run.seen_within:
            return
        gone = cleared(tx, self._intake.topology[run.origin], run, written) is not None
        if gone and run.kept != Flag.ABSENT and waited > 2 * PATIENCE * run.seen_within:
            self._end(tx, at, run, "lost", f"nothing of the write is left in {run.origin}")
        else:
            # Whatever became of the feeds: what stands there is to be known, and then taken back.
            look(tx, at, run.origin, [run.origin_key], delay=LOOK_AFTER)

    def _watch_hook(self, tx: Tx, at: int, run: Run) -> bool:
        """Whether nothing more is to be learnt of the origin's webhooks."""
        if not run.hook_expected or run.hinted_at is not None or run.hook_late:
            return True
        if at - (run.left_at or at) <= run.seen_within:
            return False
        self._event(tx, at, run, "canary.late", run.origin, stage=Stage.NO_WEBHOOK)
        telling.tell_no_webhook(tx, at, run)
        return True

    # --- the way to the others ----------------------------------------------------------------------------

    def _await_legs(self, tx: Tx, at: int, run: Run, seen: int) -> None:
        settled = True
        for leg in legs_of(tx, run):
            awaited = leg.expects in (Expects.VERIFIED, Expects.ACCEPTED)
            if awaited and leg.set_at is None and not leg.set_lost:
                settled &= self._await_leg(tx, at, run, leg, seen)
        hooked = self._watch_hook(tx, at, run)
        if (settled and hooked) or not stands(tx, run):
            self._reverse(tx, at, run)

    def _await_leg(self, tx: Tx, at: int, run: Run, leg: Leg, seen: int) -> bool:
        """Whether nothing more is to be awaited there."""
        facts = self._intake.topology.get(leg.system)
        done = None if facts is None else reached(tx, facts, run, seen)
        in_time = at if done is None else done
        stage, words = stage_of(tx, facts, run, seen, Flag.SET)
        if in_time - seen > leg.within and leg.set_late is None:
            self._leg(tx, at, run, leg, set_late=stage)
            telling.tell_leg(tx, at, run, leg, stage, words, lost=False)
        if done is not None:
            self._leg(tx, at, run, leg, set_at=done)
            return True
        if at - seen <= PATIENCE * leg.within:
            return False
        self._leg(tx, at, run, leg, set_lost=1)
        telling.tell_leg(tx, at, run, leg, stage, words, lost=True)
        return True

    # --- the way back -------------------------------------------------------------------------------------

    def _reverse(self, tx: Tx, at: int, run: Run) -> None:
        """Ends exactly the run's own requests; where another request stands for a number, it ends nothing."""
        ids = run.request_ids
        rows = tx.execute(
            "SELECT number, channel FROM blocks WHERE ended_seq IS NULL "  # noqa: S608
            f"AND request_id IN ({marks(ids)}) ORDER BY number, channel",
            tuple(ids),
        ).fetchall()
        channels: dict[str, list[Channel]] = {}
        for number, channel in rows:
            channels.setdefault(number, []).append(Channel(channel))
        for number in channels:
            other = other_request(tx, replace(run, number=number))
            if other is not None:
                self._end(tx, at, run, "kept", _kept(run, other))
                return
        for number, blocked in channels.items():
            self._intake.reverse(tx, at, self._reversal(tx, at, run, number, blocked))
        self._event(tx, at, run, "canary.reversed", run.origin)

    def _reversal(self, tx: Tx, at: int, run: Run, number: str, channels: Sequence[Channel]) -> Reversal:
        begun = tx.execute("SELECT hash FROM events WHERE seq = ?", (run.event_seq,)).fetchone()
        return Reversal(
            number,
            tuple(channels),
            actor=ACTOR,
            reason=f"canary run {run.id} is over",
            basis=BASIS,
            evidence_name=f"canary run {run.id} (event {run.event_seq})",
            evidence_sha256=bytes(begun[0]).hex(),
            evidence_date=from_micros(at).isoformat(),
        )

    def _await_clears(self, tx: Tx, at: int, run: Run, reversed_at: int) -> None:
        settled = True
        for leg in legs_of(tx, run):
            facts = self._intake.topology.get(leg.system)
            if facts is None or not facts.capabilities.can_clear:
                continue
            if leg.cleared_at is None and leg.expects != Expects.SKIPPED:
                settled &= self._await_clear(tx, at, run, leg, facts, reversed_at)
        if settled:
            self._finish(tx, at, run)

    def _await_clear(self, tx: Tx, at: int, run: Run, leg: Leg, facts: SystemFacts, since: int) -> bool:
        """Whether nothing more is to be awaited there. Nobody waits for a clear, so its limit is wide."""
        done = cleared(tx, facts, run, since)
        waited = (at if done is None else done) - since
        if waited > PATIENCE * leg.within and leg.clear_late is None:
            stage, words = stage_of(tx, facts, run, since, Flag.CLEAR)
            self._leg(tx, at, run, leg, clear_late=stage)
            telling.tell_leg(tx, at, run, leg, stage, words, lost=False, clear=True)
        if done is not None:
            self._leg(tx, at, run, leg, cleared_at=done)
        return done is not None or waited > PATIENCE * PATIENCE * leg.within

    def _finish(self, tx: Tx, at: int, run: Run) -> None:
        legs = legs_of(tx, run)
        if any(leg.set_lost for leg in legs):
            outcome = "lost"
        elif run.late or run.hook_late or any(leg.set_late or leg.clear_late for leg in legs):
            outcome = "late"
        else:
            outcome = "good"
        left = [leg.system for leg in legs if leg.clear_late and leg.cleared_at is None]
        self._end(tx, at, run, outcome, f"not yet taken back in {', '.join(left)}" if left else "")

    # --- what is recorded -----------------------------------------------------------------------------------

    def _late(self, tx: Tx, at: int, run: Run, stage: Stage, words: str, *, lost: bool) -> None:
        """Says at which stage the origin failed: once, and once more where it turns out to be lost."""
        if run.late is None or (lost and run.late != stage):
            self._event(tx, at, run, "canary.late", run.origin, stage=stage)
            telling.tell_origin(tx, at, run, stage, words, lost=lost)

    def _leg(self, tx: Tx, at: int, run: Run, leg: Leg, **what: Any) -> None:
        self._event(tx, at, run, "canary.leg", leg.system, **what)

    def _end(self, tx: Tx, at: int, run: Run, outcome: str, note: str) -> None:
        self._event(tx, at, run, "canary.ended", run.origin, outcome=outcome, note=note)
        telling.close_good(tx, at, run, legs_of(tx, run))

    def _event(self, tx: Tx, at: int, run: Run, kind: str, system: str, **what: Any) -> None:
        payload = {"id": run.id, **what}
        record(tx, NewEvent(kind, at, payload, number=run.number, system=system, actor=ACTOR))


def _kept(run: Run, other: str) -> str:
    return f"request {other} stands for {mask(run.number)}: nothing is taken back"


def _have_read(tx: Tx, at: int, places: Sequence[Place]) -> None:
    """What could not be told when it was last read (a field that did not show) is read again now and then."""
    for place in places:
        if place.why == UNSETTLED:
            look(tx, at, place.system, place.keys, delay=UNSETTLED_AGAIN)


def _refusal(places: Sequence[Place]) -> type[Refused]:
    """Whether it passes by itself."""
    return NotNow if any(place.why == UNSETTLED for place in places) else Refused


def _is_up(tx: Tx, system: str) -> bool:
    row = tx.execute("SELECT state FROM systems WHERE system = ?", (system,)).fetchone()
    return row is None or row[0] == "up"
