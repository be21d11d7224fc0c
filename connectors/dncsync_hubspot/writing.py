"""Writing flags in batches, with one result for every change whatever HubSpot answers (sheet section 4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dncsync.clock import Clock
from dncsync.connector import Change, Failure, FailureKind, VendorError, Written
from dncsync_hubspot.client import BATCH, Json, Wire
from dncsync_hubspot.errors import Refused, named_ids, plain, property_faults
from dncsync_hubspot.fields import Fields
from dncsync_hubspot.records import Records, modified_ms, pieces
from dncsync_hubspot.settings import HubSpotSettings

Results = dict[str, Written]


@dataclass(frozen=True, slots=True)
class Input:
    """One contact of a batch."""

    id: str
    properties: Mapping[str, str]


class Writer:
    """`write()` of one portal."""

    def __init__(
        self, wire: Wire, fields: Fields, records: Records, settings: HubSpotSettings, clock: Clock
    ) -> None:
        self._wire = wire
        self._fields = fields
        self._records = records
        self._trace = settings.write_trace_ids
        self._clock = clock

    def write(self, changes: Sequence[Change]) -> Iterator[Written]:
        """One result per change, in order of rounds: two changes of one contact go one after the other, as
        duplicate ids in one request reject it whole."""
        waiting = list(changes)
        while waiting:
            this_round: dict[str, Change] = {}
            later: list[Change] = []
            for change in waiting:
                if change.key in this_round or len(this_round) == BATCH:
                    later.append(change)
                else:
                    this_round[change.key] = change
            yield from self._round(list(this_round.values()))
            waiting = later

    def _round(self, changes: Sequence[Change]) -> Iterator[Written]:
        results: Results = {}
        current: Mapping[str, Json] = {}
        ids = [change.key for change in changes if change.key.isascii() and change.key.isdigit()]
        if self._fields.needs_current and ids:
            try:
                current = self._records.current(ids)
            except VendorError as error:
                yield from (Written(change.key, error.failure) for change in changes)
                return
        inputs: list[Input] = []
        for change in changes:
            if change.key not in ids:
                failure = Failure(FailureKind.REJECTED, "not a HubSpot contact id")
                results[change.key] = Written(change.key, failure)
                continue
            if self._fields.needs_current and change.key not in current:
                failure = Failure(FailureKind.UNKNOWN, "not found before the write; read it", "not-found")
                results[change.key] = Written(change.key, failure)
                continue
            present = current[change.key]["properties"] if self._fields.needs_current else {}
            try:
                properties = self._fields.to_properties(change, present, self._clock.now())
            except ValueError as error:
                results[change.key] = Written(change.key, Failure(FailureKind.REJECTED, str(error)))
                continue
            inputs.append(Input(change.key, properties))
        if inputs:
            results |= self._send(inputs)
        lost = Failure(FailureKind.UNKNOWN, "HubSpot's answer does not mention this contact; read it", "lost")
        for change in changes:
            yield results.get(change.key) or Written(change.key, lost)

    def _send(self, inputs: Sequence[Input]) -> Results:
        sent = self._wire.server_ms()
        try:
            answer, ref = self._wire.batch_update([self._body(one) for one in inputs])
        except VendorError as error:
            if isinstance(error, Refused) and error.status == 400:
                return self._single_out(inputs, error)
            return {one.id: Written(one.id, error.failure) for one in inputs}
        return self._reconciled(inputs, answer, ref, sent)

    def _body(self, one: Input) -> dict[str, object]:
        body: dict[str, object] = {"id": one.id, "properties": dict(one.properties)}
        if self._trace:
            body["objectWriteTraceId"] = one.id
        return body

    def _reconciled(self, inputs: Sequence[Input], answer: Json, ref: str, sent: int) -> Results:
        """Inputs - results - errors must be empty; what is left is settled by reading (sheet section 4)."""
        by_id = {one.id: one for one in inputs}
        results: Results = {}
        errors = answer.get("errors")
        for error in errors if isinstance(errors, list) else []:
            if not isinstance(error, dict):
                continue
            code = str(error.get("category") or "")
            faults = property_faults(error)
            words = plain(str(error.get("message") or code))
            # Not found may also mean merged away: the reader finds out (sheet 3.6).
            kind = FailureKind.UNKNOWN if code == "OBJECT_NOT_FOUND" else FailureKind.REJECTED
            failure = Failure(kind, words, faults[0].code if faults else code)
            for key in named_ids(error) & by_id.keys():
                results[key] = Written(key, failure, ref)
        for record in answer["results"]:
            key = str(record.get("id")) if isinstance(record, dict) else ""
            if key in by_id and key not in results:
                results[key] = self._kept(by_id[key], record, ref, sent)
        return results

    def _kept(self, one: Input, record: Json, ref: str, sent: int) -> Written:
        """Whether a result shows what was sent; that it shows it at all is not certain (sheet 10.3)."""
        shown = record.get("properties")
        if isinstance(shown, dict):
            for name, value in one.properties.items():
                if name in self._fields.flag_names and name in shown and (shown[name] or "") != value:
                    words = f"HubSpot took the write and shows another value of {name!r}"
                    return Written(one.id, Failure(FailureKind.UNKNOWN, words, "not-kept"), ref)
            self._records.own.note(one.id, modified_ms(record), sent)
        return Written(one.id, ref=ref)

    def _single_out(self, inputs: Sequence[Input], error: Refused) -> Results:
        """A 400 applies nothing, whatever was wrong; finds the items to blame, and writes the others."""
        if len(inputs) == 1:
            return {inputs[0].id: Written(inputs[0].id, error.failure)}
        if blamed := named_ids(error.body) & {one.id for one in inputs}:
            rest = [one for one in inputs if one.id not in blamed]
            results = {key: Written(key, error.failure) for key in blamed}
            return results | (self._send(rest) if rest else {})
        ours = {name for one in inputs for name in one.properties}
        named = {fault.name for fault in property_faults(error.body)} & ours
        groups = _by_values(inputs, named)
        if len(groups) == 1 and named:
            # The same values in all of them: sending any of them again would fail again.
            return {one.id: Written(one.id, error.failure) for one in inputs}
        if len(groups) == 1:
            groups = list(pieces(inputs, (len(inputs) + 1) // 2))
        found: Results = {}
        for group in groups:
            found |= self._send(group)
        return found


def _by_values(inputs: Sequence[Input], names: set[str]) -> list[Sequence[Input]]:
    """Apart by what they say in these properties; items that do not name them together."""
    groups: dict[tuple[tuple[str, str], ...], list[Input]] = {}
    for one in inputs:
        says = tuple(sorted((name, one.properties[name]) for name in names & one.properties.keys()))
        groups.setdefault(says, []).append(one)
    return list(groups.values())
