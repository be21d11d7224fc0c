"""The VICIdial connector: list entries keyed `LIST/3125550100`, by the Non-Agent API and one report page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dncsync.connector import (
    Capabilities,
    Change,
    Context,
    Failure,
    FailureKind,
    FieldCheck,
    Limit,
    Looked,
    Page,
    Probe,
    Unit,
    VendorError,
    Webhook,
    WebhookRequest,
    Written,
)
from dncsync.model import Channel, Flag, Holding, Role
from dncsync_vicidial import checks
from dncsync_vicidial.answers import Listed, added, check_refusal, deleted, listed, phrase_of, refusal
from dncsync_vicidial.client import LIMIT, VicidialClient
from dncsync_vicidial.dispo import read_dispo
from dncsync_vicidial.fields import Entry, NumberForm, entry_of
from dncsync_vicidial.hopper import Hopper
from dncsync_vicidial.settings import INTERNAL, VicidialSettings
from dncsync_vicidial.snapshot import Snapshots

BATCH = 16
"""Keys in one `write` or `read`: at the default throttle under three seconds, so that an opt-out waits for
no longer; and one hopper search is shared by so many numbers."""

CAMPAIGNS_KNOWN_FOR = 3600.0
"""Seconds before campaigns are asked for again."""
UNKNOWN_ASKED_EVERY = 300.0
"""Seconds before a campaign that was missing is looked for again."""

_T = TypeVar("_T")
_R = TypeVar("_R")


class VicidialConnector:
    """See `dncsync.connector.Connector`. Threads are used only inside `write` and `read`."""

    def __init__(self, settings: VicidialSettings, context: Context) -> None:
        self.capabilities = Capabilities(
            unit=Unit.NUMBER,
            role=Role.DIALER,
            channels=frozenset({Channel.VOICE}),
            can_poll=False,  # no change feed without SQL (section 1): hints by Dispo URL, truth by snapshot
            has_webhooks=settings.webhook_token is not None,
            write_batch=BATCH,
            read_batch=BATCH,
            limits=(Limit(LIMIT, settings.calls_per_second, 1.0),),
        )
        self._settings = settings
        self._clock = context.clock
        self._client = VicidialClient(settings, context)
        self._form = NumberForm(settings.number_form, settings.region, settings.trunk_prefix)
        self._hopper = Hopper(self._client, self._spread)
        self._pool: ThreadPoolExecutor | None = None
        self._campaigns: Mapping[str, bool] = {}
        self._campaigns_asked: float | None = None
        self._snapshots = Snapshots(
            self._client, settings, context.clock, holding=self._holding, list_fault=self._list_fault
        )

    # --- keys --------------------------------------------------

    def keys_for(self, number: str) -> tuple[str, ...]:
        """One key per configured list. A number that this site's form cannot say keeps its E.164 form in the
        key; writing it is rejected, so that a person hears of it, and nothing is guessed."""
        digits = self._form.stored(number) or number
        return tuple(Entry(name, digits).key for name in self._settings.lists)

    # --- reading --------------------------------------------------

    def read(self, keys: Sequence[str]) -> Iterator[Looked]:
        """One `check_phone_number` for each key, with the check of that key's list only (section 3.3)."""
        if self._hopper.waiting:
            self._hopper.purge()
        faults = self._list_faults(keys)
        yield from self._spread(lambda key: self._read_one(entry_of(key), faults), keys)

    def _read_one(self, entry: Entry, faults: Mapping[str, Failure | None]) -> Looked:
        failure = faults[entry.list] or self._number_fault(entry)
        if failure is not None:
            return Looked(entry.key, failure=failure)
        which = (
            {"dnc_check": "Y"} if entry.internal else {"campaign_dnc_check": "Y", "campaign_id": entry.list}
        )
        try:
            answer = self._client.ask(
                "check_phone_number",
                phone_number=entry.digits,
                phone_code=self._form.phone_code,
                local_call_time=self._settings.local_call_time,
                **which,
            )
        except VendorError as error:
            return Looked(entry.key, failure=error.failure)
        verdict = listed(answer, entry.digits, internal=entry.internal)
        if verdict is None:
            return Looked(entry.key, failure=check_refusal(answer))
        if verdict is Listed.NO:
            return Looked(entry.key, Holding(entry.key, {}, gone=True))
        return Looked(entry.key, self._holding(entry))

    def _holding(self, entry: Entry) -> Holding:
        # No provenance and no revision: a list entry is a bare number, dates exist only in SQL (section 4.2).
        return Holding(entry.key, {Channel.VOICE: Flag.SET}, (self._form.raw(entry.digits),))

    def find(self, number: str) -> Iterator[Looked]:
        """Nothing: leads say nothing about the lists, and entries are read by key."""
        yield from ()

    def changes(self, cursor: str | None) -> Iterator[Page]:
        """One empty page: VICIdial has no change feed (`can_poll` is false); use `snapshot`."""
        yield Page((), cursor or "none", more=False)

    def snapshot(self, cursor: str | None) -> Iterator[Page]:
        """One download per list, checked whole before its first page. The last cursor of a complete snapshot
        carries the lists' sizes and may be given to the next one."""
        return self._snapshots.pages(cursor)

    # --- writing --------------------------------------------------

    def write(self, changes: Sequence[Change]) -> Iterator[Written]:
        """One call for each change, then one hopper search for all numbers that were added.

        A purge that fails is tried again with later writes and reads; it is no failure of the list entry.
        """
        faults = self._list_faults([change.key for change in changes])
        results = list(self._spread(lambda change: self._write_one(change, faults), changes))
        if self._settings.purge_hopper:
            perhaps = [c.key for c, result in zip(changes, results, strict=True) if _may_be_listed(c, result)]
            self._hopper.purge(tuple(dict.fromkeys(entry_of(key).digits for key in perhaps)))
        yield from results

    def _write_one(self, change: Change, faults: Mapping[str, Failure | None]) -> Written:
        entry, wanted = entry_of(change.key), change.wants.get(Channel.VOICE)
        if wanted is None:
            return Written(change.key)
        failure = faults[entry.list] or self._number_fault(entry)
        if wanted is Flag.ABSENT:
            failure = Failure(FailureKind.REJECTED, "an entry is there or not, never absent", "not-a-state")
        if failure is not None:
            return Written(change.key, failure)
        function, done = ("add_dnc_phone", added) if wanted is Flag.SET else ("delete_dnc_phone", deleted)
        try:
            answer = self._client.ask(function, phone_number=entry.digits, campaign_id=entry.list)
        except VendorError as error:
            return Written(change.key, error.failure)
        if not done(answer, entry.digits):
            return Written(change.key, refusal(answer, function))
        return Written(change.key, ref=phrase_of(answer.line))

    # --- what must be right before a call is made --------------------------------------------------

    def _number_fault(self, entry: Entry) -> Failure | None:
        if entry.dialable:
            return None
        if entry.digits.startswith("+"):
            words = f"the number has no {self._settings.number_form} form; this VICIdial cannot hold it"
        else:
            words = "the value is not 6 to 16 digits; only an admin can change it, on the DNC page"
        return Failure(FailureKind.REJECTED, words, "no-form")

    def _list_faults(self, keys: Sequence[str]) -> dict[str, Failure | None]:
        """For each list of these keys, why it must not be used. VICIdial takes any campaign id and says
        SUCCESS (section 3.1), so one that was not seen is neither written nor believed when read."""
        return {name: self._list_fault(name) for name in {entry_of(key).list for key in keys}}

    def _list_fault(self, name: str) -> Failure | None:
        if name not in self._settings.lists:
            return Failure(FailureKind.REJECTED, f"list {name!r} is not among the configured lists", "list")
        if name == INTERNAL:
            return None
        age = None if self._campaigns_asked is None else self._clock.monotonic() - self._campaigns_asked
        good_for = CAMPAIGNS_KNOWN_FOR if name in self._campaigns else UNKNOWN_ASKED_EVERY
        if age is None or age >= good_for:
            try:
                self._campaigns = self._client.campaigns()
            except VendorError as error:
                return error.failure
            self._campaigns_asked = self._clock.monotonic()
        if name in self._campaigns:
            return None
        words = f"campaign {name!r} is not among those the API user sees; correct `lists` or allow it"
        return Failure(FailureKind.REJECTED, words, "unknown-campaign")

    def _spread(self, work: Callable[[_T], _R], items: Sequence[_T]) -> Iterator[_R]:
        """Results in the order of the items, a few at a time where the settings allow it."""
        if self._settings.parallel == 1 or len(items) < 2:
            return map(work, items)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._settings.parallel, thread_name_prefix="vicidial")
        return self._pool.map(work, items)

    # --- hints, checks, end ---------------------------------------------------------------------------

    def parse_webhook(self, request: WebhookRequest) -> Webhook:
        """The Dispo Call URL, as a hint."""
        return read_dispo(self._settings, request)

    def describe(self) -> tuple[FieldCheck, ...]:
        """Functions by build, answers, call time, lists, and area-code entries seen while listing."""
        return checks.describe(self._client, self._settings, self._snapshots.wildcards)

    def probe(self) -> Probe:
        """Version, clock, login, and each right, without writing anything."""
        return checks.probe(self._client, self._settings, self._clock)

    def close(self) -> None:
        """Waits for calls in hand, then lets go of threads, files and connections."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._snapshots.forget()
        self._client.door.close()


def _may_be_listed(change: Change, result: Written) -> bool:
    """An add that was done, or whose answer was lost: in both cases its leads should leave the hopper."""
    wanted = change.wants.get(Channel.VOICE) is Flag.SET
    return wanted and (result.failure is None or result.failure.kind is FailureKind.UNKNOWN)
