"""What a canary run tells people: at which stage it stopped, what that means, and how to mend it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from dncsync.drift.canary_runs import SECOND, Leg, Run, last_good
from dncsync.drift.sighting import exposed
from dncsync.ledger.writer import Tx
from dncsync.sync import findings

LATE, LOST, NO_WEBHOOK, CANNOT = "canary-late", "canary-lost", "canary-no-webhook", "canary-cannot-run"
KINDS = (LATE, LOST, NO_WEBHOOK, CANNOT)
CANARY = "canary"
"""Subject of what concerns no single pair."""


class Stage(StrEnum):
    """Where a change stopped on its way; the words are those of findings and reports."""

    NOT_WRITTEN = "not written"
    REFUSED = "refused"
    ABSENT = "field absent"
    NOT_KEPT = "accepted, not kept"
    NOT_SEEN = "not seen by the feed"
    NO_WEBHOOK = "no webhook"
    NOT_DUE = "nothing was due"
    NOT_SENT = "not sent"
    NOT_ACCEPTED = "not accepted"
    NOT_READ = "not read back"


MENDS: Mapping[Stage, str] = {
    Stage.NOT_WRITTEN: "see `dncsync status` for the system's state, and its call budget",
    Stage.REFUSED: "the vendor's words say why; compare the field and our permissions: `dncsync doctor`",
    Stage.ABSENT: "the field was renamed, deleted or hidden from us: `dncsync doctor` names it; restore it "
    "or our permission to see it",
    Stage.NOT_KEPT: "look in the vendor for what takes it back: a workflow, a trigger, a validation, a merge",
    Stage.NOT_SEEN: "what people change there does not reach us: check the change feed's permission and "
    "the webhook subscription",
    Stage.NO_WEBHOOK: "changes there reach us by polling only: check the webhook subscription, its URL and "
    "its secret in the vendor",
    Stage.NOT_DUE: "the number is not on any list or record that we know there: `dncsync resync`",
    Stage.NOT_SENT: "see `dncsync status` for the system's state, and its call budget",
    Stage.NOT_ACCEPTED: "see the delivery's last error: `dncsync number show`",
    Stage.NOT_READ: "see the delivery's last error: `dncsync number show`",
}


def subject(origin: str, system: str) -> str:
    """A pair of systems; of the origin by itself: its way to us."""
    return f"{origin} to us" if origin == system else f"{origin} to {system}"


def tell_leg(
    tx: Tx, at: int, run: Run, leg: Leg, stage: Stage, words: str, *, lost: bool, clear: bool = False
) -> None:
    """A leg is late, or given up. `words`: the delivery's last error, redacted; `clear`: of the reversal."""
    what = "the end of the block" if clear else "the block"
    verb = "never arrived" if lost else "did not arrive in time"
    _open(
        tx,
        at,
        LOST if lost else LATE,
        run,
        leg.system,
        f"canary {run.id}: {what} from {run.origin} {verb} in {leg.system}: {stage}",
        f"{'taken away' if clear else leg.expects} within {leg.within / SECOND:g} s of the ledger's knowing",
        stage,
        words,
    )
    if lost:
        pair = subject(run.origin, leg.system)
        findings.close_finding(tx, at, LATE, leg.system, pair, f"given up: {LOST}")


def tell_origin(tx: Tx, at: int, run: Run, stage: Stage, words: str, *, lost: bool) -> None:
    """The origin did not take the change, did not keep it, or its feeds did not bring it."""
    _open(
        tx,
        at,
        LOST if lost else LATE,
        run,
        run.origin,
        f"canary {run.id}: what was asked in {run.origin} did not become known here: {stage}",
        f"in the ledger within {run.seen_within / SECOND:g} s of the write there",
        stage,
        words,
    )
    if lost:
        pair = subject(run.origin, run.origin)
        findings.close_finding(tx, at, LATE, run.origin, pair, f"given up: {LOST}")


def tell_no_webhook(tx: Tx, at: int, run: Run) -> None:
    """The change came by polling, or not at all; the vendor's webhook did not tell of it."""
    how = "polling brought it" if run.seen_at is not None else "nothing brought it"
    _open(
        tx,
        at,
        NO_WEBHOOK,
        run,
        run.origin,
        f"canary {run.id}: {run.origin} sent no webhook for a change made there; {how}",
        f"a webhook within {run.seen_within / SECOND:g} s of the write there",
        Stage.NO_WEBHOOK,
        "",
    )


def tell_cannot(tx: Tx, at: int, why: str) -> None:
    """A run is due and cannot begin."""
    detail = {"expected": "a run at its time", "seen": why, "since": None, "mend": why}
    summary = f"no canary can fly: {why}"
    findings.open_finding(tx, at, CANNOT, None, CANARY, summary, detail=detail, quiet=True)


def close_good(tx: Tx, at: int, run: Run, legs: list[Leg]) -> None:
    """Closes what this run shows to be well again: pair by pair, in time there and back."""
    if run.seen_at is not None and run.late is None:
        _close(tx, at, run, run.origin, "was seen")
    if run.hook_expected and run.hinted_at is not None and not run.hook_late:
        pair = subject(run.origin, run.origin)
        findings.close_finding(tx, at, NO_WEBHOOK, run.origin, pair, f"a webhook told of canary {run.id}")
    for leg in legs:
        if leg.set_at is not None and leg.set_late is None and leg.clear_late is None:
            _close(tx, at, run, leg.system, "arrived")


def _close(tx: Tx, at: int, run: Run, system: str, how: str) -> None:
    for kind in (LATE, LOST):
        pair = subject(run.origin, system)
        findings.close_finding(tx, at, kind, system, pair, f"canary {run.id} {how} in time")


def _open(
    tx: Tx,
    at: int,
    kind: str,
    run: Run,
    system: str,
    summary: str,
    expected: str,
    stage: Stage,
    words: str,
) -> None:
    detail: dict[str, Any] = {
        "expected": expected,
        "seen": f"{stage}: {words}" if words else str(stage),
        "since": last_good(tx, run.origin, system),
        "exposed": exposed(tx, system),
        "mend": MENDS[stage],
        "stage": str(stage),
        "run": run.id,
    }
    severity = "page" if kind == LOST else "warning"
    pair = subject(run.origin, system)
    findings.open_finding(tx, at, kind, system, pair, summary, severity=severity, detail=detail)
