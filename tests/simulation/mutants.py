"""Deliberate faults in rules and loops, each of which the simulation must catch: `make mutants`."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dncsync.clock import to_micros
from dncsync.connector import Failure, FailureKind, Written
from dncsync.ledger import projections
from dncsync.ledger.events import NewEvent
from dncsync.model import Channel, Flag
from dncsync.rules import Seen, Verdict, judge
from dncsync.sync import bookmarks, cache, deliveries, fuse_decisions, fuse_plan, lost, observe, turn, writing
from dncsync.sync.following import Following
from dncsync.sync.requests import Intake, Reversal
from dncsync.sync.reversals import Refused
from dncsync.sync.turn import SystemLoop
from simulation.world import LawBroken, World, simulate

Mutation = Callable[[], contextlib.AbstractContextManager[Any]]


def watermark_before_delivery() -> Any:
    """The cursor moves in a transaction of its own, before the page is taken in."""
    take = Following._take_in

    def early(self: Following, page: Any, feed: str, *, to: str | None, **given: Any) -> None:
        at = self._at()
        if to is not None:
            self._writer.call(lambda tx: bookmarks.advance(tx, at, self._facts.name, feed, to, 0))
        take(self, page, feed, to=to, **given)

    return mock.patch.object(Following, "_take_in", early)


def base_updated_on_a_200() -> Any:
    """An accepted write is taken for what the holding says."""
    end = writing.end_write

    def believing(tx: Any, at: int, facts: Any, batch: Any, results: Any, jitter: Any) -> list[str]:
        overtaken = end(tx, at, facts, batch, results, jitter)
        good = {result.key for result in results if result.failure is None}
        for change in batch.changes:
            for channel, flag in change.wants.items():
                if change.key in good:
                    tx.execute(
                        f"UPDATE holdings SET base_{channel} = ?, written_{channel} = NULL "
                        "WHERE system = ? AND key = ?",
                        (flag, facts.name, change.key),
                    )
        return overtaken

    return mock.patch.object(turn, "end_write", believing)


def timeout_taken_as_failure() -> Any:
    """What is unknown is taken for what did not happen."""
    end = writing.end_write

    def failing(tx: Any, at: int, facts: Any, batch: Any, results: Any, jitter: Any) -> list[str]:
        nothing = Failure(FailureKind.TRANSIENT, "taken as not done")
        results = [
            replace(r, failure=nothing) if r.failure and r.failure.kind is FailureKind.UNKNOWN else r
            for r in results
        ]
        overtaken = end(tx, at, facts, batch, results, jitter)
        for result in results:
            if result.failure is nothing:
                tx.execute(
                    "UPDATE holdings SET written_voice = NULL WHERE system = ? AND key = ?",
                    (facts.name, result.key),
                )
        return overtaken

    return mock.patch.object(turn, "end_write", failing)


def clear_without_a_reversal() -> Any:
    """A flag that somebody cleared in a CRM ends the block."""
    report = lost.report

    def trusting(
        tx: Any, at: int, facts: Any, holding: Any, channel: Any, verdict: Any, who: Any, **given: Any
    ) -> None:
        report(tx, at, facts, holding, channel, verdict, who, **given)
        if verdict.cleared_there:
            tx.execute(
                "UPDATE blocks SET ended_at = ?, ended_seq = ? WHERE ended_seq IS NULL AND number IN "
                "(SELECT number FROM holding_numbers WHERE system = ? AND key = ?)",
                (at, tx.head.seq, facts.name, holding.key),
            )

    return mock.patch.object(lost, "report", trusting)


def batch_marked_good_as_a_whole() -> Any:
    """One good item makes the whole batch good."""
    end = writing.end_write

    def generous(tx: Any, at: int, facts: Any, batch: Any, results: Any, jitter: Any) -> list[str]:
        if any(result.failure is None for result in results):
            results = [Written(change.key, ref="ok") for change in batch.changes]
        return end(tx, at, facts, batch, results, jitter)

    return mock.patch.object(turn, "end_write", generous)


def echo_believed() -> Any:
    """Our own write, coming back, is taken for a person's request."""

    def forgetful(seen: Seen, desired: Flag) -> Verdict:
        return judge(replace(seen, written=None, ours=None), desired)

    return mock.patch.object(observe, "judge", forgetful)


def verified_when_accepted() -> Any:
    """A 2xx is a receipt."""
    accept = projections._deliveries_accepted

    def sure(tx: Any, event: Any, payload: Any) -> None:
        accept(tx, event, payload)
        tx.executemany(
            "UPDATE deliveries SET verified_at = ? WHERE id = ?",
            [(event.at, i) for i, _ in payload["accepted"]],
        )

    return mock.patch.dict(projections._HANDLERS, {"deliveries.accepted": sure})


def lagging_page_believed() -> Any:
    """A feed that lags is taken for a fresh reading."""
    real = observe.observe

    def credulous(*args: Any, fresh: bool, **kwargs: Any) -> Any:
        return real(*args, fresh=True, **kwargs)

    return mock.patch.object(turn, "observe", credulous)


def missing_row_clears() -> Any:
    """What a listing does not show is taken for removed."""
    end = Following._end

    def hasty(self: Following) -> None:
        at = self._at()
        self._writer.call(
            lambda tx: tx.execute(
                "UPDATE blocks SET ended_at = ?, ended_seq = ? WHERE ended_seq IS NULL AND number IN (SELECT "
                "n.number FROM holding_numbers n JOIN holdings h USING (system, key) WHERE n.system = ? AND "
                "h.base_voice = 'set' AND h.seen_at < (SELECT started_at FROM bookmarks WHERE system = ? AND "
                "feed = 'snapshot'))",
                (at, tx.head.seq, self._facts.name, self._facts.name),
            )
        )
        end(self)

    return mock.patch.object(Following, "_end", hasty)


def gives_up_after_three_attempts() -> Any:
    """A delivery that fails three times is closed."""
    end = writing.end_write

    def weary(tx: Any, at: int, facts: Any, batch: Any, results: Any, jitter: Any) -> list[str]:
        overtaken = end(tx, at, facts, batch, results, jitter)
        tired = [i for i, attempts in batch.attempts.items() if attempts >= 3]
        marks = ",".join("?" * len(tired))
        rows = tx.execute(f"SELECT id FROM deliveries WHERE open = 1 AND id IN ({marks})", tired)
        deliveries.close(tx, at, [row[0] for row in rows.fetchall()], "superseded")
        return overtaken

    return mock.patch.object(turn, "end_write", weary)


def acknowledged_before_the_commit() -> Any:
    """The vendor hears 2xx, then the ledger is written."""
    return mock.patch.object(World, "acknowledge_first", True)


def start_lifts_everything() -> Any:
    """START by text ends every block of the number."""

    def broad(self: Intake, tx: Any, at: int, facts: Any, said: Any, number: str) -> None:
        row = tx.execute("SELECT 1 FROM blocks WHERE number = ? AND ended_seq IS NULL", (number,)).fetchone()
        if row:
            channels = tuple(facts.capabilities.channels) + tuple(Channel)
            with contextlib.suppress(Refused):  # it waits for approval already
                self.reverse(tx, at, Reversal(number, channels, "START", "START", "written", "-", "-", "-"))

    return mock.patch.object(Intake, "_restore", broad)


def clear_without_looking() -> Any:
    """A reversal is written without reading the holding first."""

    def blind(self: SystemLoop, due: Any) -> bool:
        written = [due.clears and self._write(Flag.CLEAR, backfill=behind) for behind in (False, True)]
        return any(written)

    return mock.patch.object(SystemLoop, "_clear", blind)


def restart_believes_what_it_sent() -> Any:
    """After a crash, what was in flight is taken for done."""
    start = SystemLoop.start

    def optimistic(self: SystemLoop) -> None:
        at = self._at()

        def settle(tx: Any) -> None:
            rows = tx.execute(
                "SELECT id FROM deliveries WHERE system = ? AND open = 1 AND state = 'sent'",
                (self.facts.name,),
            )
            ids = [row[0] for row in rows.fetchall()]
            if ids:
                projections.record(tx, NewEvent("deliveries.verified", at, {"ids": ids}))

        self._writer.call(settle)
        start(self)

    return mock.patch.object(SystemLoop, "start", optimistic)


def number_follows_its_record() -> Any:
    """A number that leaves a record loses the block that it got there."""
    store = cache.store

    def tidy(tx: Any, at: int, facts: Any, accepted: Sequence[Any]) -> Any:
        parsed = store(tx, at, facts, accepted)
        for holding, _ in accepted:
            keep = parsed[holding.key]
            marks = ",".join("?" * len(keep))
            tx.execute(
                "UPDATE blocks SET ended_at = ?, ended_seq = ? WHERE ended_seq IS NULL AND request_id IN "
                "(SELECT id FROM requests WHERE record_system = ? AND record_key = ?) AND number NOT IN "
                f"({marks})",
                (at, tx.head.seq, facts.name, holding.key, *keep),
            )
        return parsed

    return mock.patch.object(cache, "store", tidy)


def timer_hides_the_echo() -> Any:
    """A write is ours for ten seconds, whatever comes back later."""
    real = cache.load

    def timed(tx: Any, facts: Any, keys: Any) -> Any:
        found = real(tx, facts, keys)
        now = CLOCK[0]() if CLOCK else 0
        for key, cached in found.items():
            row = tx.execute(
                "SELECT max(sent_at) FROM deliveries WHERE system = ? AND key = ?", (facts.name, key)
            ).fetchone()
            if row[0] is not None and now - row[0] > 10_000_000:
                cached.written = dict.fromkeys(cached.written)
        return found

    return mock.patch.object(cache, "load", timed)


def held_spreads_anyway() -> Any:
    """What a tripped fuse holds is settled like everything else."""
    return mock.patch.object(deliveries, "waits", return_value=False)


def approval_takes_what_came_later() -> Any:
    """Whoever approves a plan approves also what is held after the look."""
    enough = fuse_decisions._enough

    def generous(approvals: Any, needed: int) -> Any:
        names, event = enough(approvals, needed)
        return names, event and 1 << 40

    return mock.patch.object(fuse_decisions, "_enough", generous)


def rejection_applies_the_plan() -> Any:
    """A rejected plan is applied all the same."""

    def deaf(tx: Any, at: int, fuse_id: str, by: str, reason: str) -> Any:
        shown = fuse_plan.show(tx, fuse_plan.fuse(tx, fuse_id), 0)  # type: ignore[arg-type]
        assert shown.revision is not None
        return fuse_decisions.approve(tx, at, fuse_id, by, shown.revision.sha256, reason)

    return mock.patch.object(fuse_decisions, "reject", deaf)


CLOCK: list[Callable[[], int]] = []
"""The world's clock in microseconds, for the mutation that needs one."""

MUTANTS: Sequence[Mutation] = (
    watermark_before_delivery,
    base_updated_on_a_200,
    timeout_taken_as_failure,
    clear_without_a_reversal,
    batch_marked_good_as_a_whole,
    echo_believed,
    verified_when_accepted,
    lagging_page_believed,
    missing_row_clears,
    gives_up_after_three_attempts,
    acknowledged_before_the_commit,
    start_lifts_everything,
    clear_without_looking,
    restart_believes_what_it_sent,
    number_follows_its_record,
    timer_hides_the_echo,
    held_spreads_anyway,
    approval_takes_what_came_later,
    rejection_applies_the_plan,
)


def hunt(mutation: Mutation, seeds: Iterator[int]) -> tuple[int, int, str] | None:
    """Runs seeds until one breaks a law. Returns (seed, law, what), or None: it got away."""
    with mutation():
        for seed in seeds:
            try:
                simulate(seed, on_start=_give_clock)
            except LawBroken as broken:
                return seed, broken.law, str(broken)
            except AssertionError as broken:
                return seed, 0, f"an assertion of the code itself: {broken}"
    return None


def _give_clock(world: World) -> None:
    CLOCK[:] = [lambda: to_micros(world.clock.now())]


def main() -> int:
    """Prints the table; 0 only if every mutant was caught."""
    logging.disable(logging.CRITICAL)  # what the mutants break, they break loudly
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=120, help="most seeds to try on each mutant")
    options.add_argument("--only", default="", help="part of a mutant's name")
    chosen = options.parse_args()
    escaped = 0
    print(f"{'mutant':34} {'caught':8} {'seed':>5} {'law':>4}  what was seen")
    for mutation in MUTANTS:
        name = mutation.__name__
        if chosen.only not in name:
            continue
        began = time.monotonic()
        found = hunt(mutation, iter(range(chosen.seeds)))
        took = f"{time.monotonic() - began:.0f} s"
        if found is None:
            escaped += 1
            print(f"{name:34} {'ESCAPED':8} {'':>5} {'':>4}  in {chosen.seeds} seeds ({took})", flush=True)
        else:
            seed, law, what = found
            print(f"{name:34} {'yes':8} {seed:>5} {law or '-':>4}  {what[:90]}", flush=True)
    print(f"{escaped} escaped" if escaped else "every mutant was caught")
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
