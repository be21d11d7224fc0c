"""Writing checkboxes by sObject Collections (sheet 8.1): 200 records a call, one result per record.

One column a call, because one bad column fails a record's whole update (sheet 5); records sorted by object,
because a call may have ten runs of an object; results matched by index, because failed ones carry no id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dncsync.connector import Change, Failure, FailureKind, VendorError, Written
from dncsync.model import Channel, Flag
from dncsync_salesforce.client import OrgClient, chunks
from dncsync_salesforce.failures import failure_of_item, first_error
from dncsync_salesforce.fields import Kind, parse_key

BATCH = 200
FIELD_FAULTS = ("INVALID_FIELD", "INVALID_FIELD_FOR_INSERT_UPDATE", "INVALID_TYPE")
UNANSWERED = Failure(FailureKind.UNKNOWN, "the answer does not account for this record", "unanswered")
Outcome = Mapping[str, Failure | None]
"""Result by key; None is success."""


@dataclass(frozen=True, slots=True)
class _Tick:
    """One column of one record."""

    key: str
    sobject: str
    record_id: str
    field: str
    value: bool

    @property
    def record(self) -> dict[str, object]:
        return {"attributes": {"type": self.sobject}, "id": self.record_id, self.field: self.value}


class Writes:
    """Makes records say what the engine wants."""

    def __init__(self, client: OrgClient, kinds: Sequence[Kind]) -> None:
        self._client = client
        self._kinds = {kind.sobject: kind for kind in kinds}

    def write(self, changes: Sequence[Change]) -> Iterator[Written]:
        """See `Connector.write`. Voice goes first; what fails for any channel fails the change."""
        outcome: dict[str, Failure | None] = {}
        ticks: dict[Channel, dict[tuple[str, str], _Tick]] = {channel: {} for channel in Channel}
        for change in changes:
            outcome[change.key] = None
            try:
                for channel, tick in self._ticks(change):
                    ticks[channel][tick.sobject, tick.record_id] = tick  # the later of two changes counts
            except ValueError as error:
                outcome[change.key] = Failure(FailureKind.REJECTED, str(error), "bad-key")
        for channel in (Channel.VOICE, Channel.SMS):
            wanted = sorted(ticks[channel].values(), key=lambda tick: (tick.sobject, tick.record_id))
            for part in chunks(wanted, BATCH):
                for key, failure in self._call(part).items():
                    if outcome[key] is None and failure is not None:
                        outcome[key] = self._client.discreet(failure)
        for change in changes:
            yield Written(change.key, outcome[change.key])

    def _ticks(self, change: Change) -> Iterator[tuple[Channel, _Tick]]:
        sobject, record_id = parse_key(change.key)
        if sobject not in self._kinds:
            raise ValueError(f"{sobject} records are not configured for this system")
        for channel, wanted in change.wants.items():
            flag = self._kinds[sobject].flags.get(channel)
            if flag is not None:
                value = flag.opted_out_when if wanted is Flag.SET else not flag.opted_out_when
                yield channel, _Tick(change.key, sobject, record_id, flag.field, value)

    def _call(self, ticks: Sequence[_Tick]) -> Outcome:
        """One call; where the vendor refuses it whole, and so did nothing, smaller ones."""
        try:
            answers = self._client.patch([tick.record for tick in ticks])
        except VendorError as error:
            if error.failure.kind not in (FailureKind.REJECTED, FailureKind.UNAUTHORISED):
                return {tick.key: error.failure for tick in ticks}
            return self._call_parts(ticks, error.failure)
        outcome = _by_index(ticks, answers)
        duplicates = [
            tick
            for tick, answer in zip(ticks, answers, strict=False)
            if isinstance(answer, dict) and _may_be_saved_anyway(answer.get("errors"))
        ]
        if not duplicates:
            return outcome
        try:
            again = self._client.patch([tick.record for tick in duplicates], allow_duplicates=True)
        except VendorError as error:
            return {**outcome, **{tick.key: error.failure for tick in duplicates}}
        return {**outcome, **_by_index(duplicates, again)}

    def _call_parts(self, ticks: Sequence[_Tick], failure: Failure) -> Outcome:
        """One hidden column of one object, or one bad record, must not keep the others from being written."""
        objects = sorted({tick.sobject for tick in ticks})
        if len(objects) > 1:
            parts: list[Sequence[_Tick]] = [[t for t in ticks if t.sobject == name] for name in objects]
        elif len(ticks) == 1 or failure.kind is FailureKind.UNAUTHORISED or failure.code in FIELD_FAULTS:
            return {tick.key: failure for tick in ticks}
        else:
            parts = [ticks[: len(ticks) // 2], ticks[len(ticks) // 2 :]]
        outcome: dict[str, Failure | None] = {}
        for part in parts:
            outcome.update(self._call(part))
        return outcome


def _by_index(ticks: Sequence[_Tick], answers: Sequence[object]) -> dict[str, Failure | None]:
    outcome: dict[str, Failure | None] = {tick.key: UNANSWERED for tick in ticks}
    for tick, answer in zip(ticks, answers, strict=False):
        if not isinstance(answer, dict) or answer.get("id") not in (None, "", tick.record_id):
            continue  # out of step with what was sent: it says nothing of this record
        if answer.get("success") is True:
            outcome[tick.key] = None if answer.get("id") == tick.record_id else UNANSWERED
        else:
            outcome[tick.key] = failure_of_item(answer.get("errors"))
    return outcome


def _may_be_saved_anyway(errors: object) -> bool:
    """Whether a duplicate rule stands in the way that lets the user save after a warning. Collections answers
    may leave `duplicateResult` out; then one try tells."""
    code, _ = first_error(errors)
    if code != "DUPLICATES_DETECTED":
        return False
    entry = errors[0] if isinstance(errors, list) else errors
    result = entry.get("duplicateResult") if isinstance(entry, dict) else None
    return not isinstance(result, dict) or result.get("allowSave") is not False
