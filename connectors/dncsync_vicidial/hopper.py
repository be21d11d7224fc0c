"""Takes leads of freshly blocked numbers out of the hopper; those already loaded would still be dialled.

Costs (section 5.2): one `lead_search` for all numbers of a batch, and one `update_lead` for each lead found.
A number without leads costs its share of the search and nothing more.

The list entry is what a delivery proves. A purge that fails is no failure of the delivery (the entry stands,
and saying otherwise would be untrue): it is tried again with every later write or read, the read-back first.
What still waits is lost when the process ends; then leads already loaded may be dialled once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from dncsync.connector import Failure, FailureKind, VendorError
from dncsync_vicidial.answers import Word, read_leads, refusal
from dncsync_vicidial.client import VicidialClient

MOST_LEADS = 5000
"""`records` of a search. A cut is silent, so a search that reaches it is repeated number by number."""

MOST_AT_ONCE = 16
"""Numbers in one search."""

MOST_WAITING = 10_000

NO_RIGHT = "the hopper cannot be purged: the API user may not search or update leads"
DROPPED = "numbers given up after a purge of the hopper was rejected"

Spread = Callable[[Callable[[str], Failure | None], Sequence[str]], Iterable[Failure | None]]
"""Like `map`, perhaps on several threads."""


class Hopper:
    """The hopper of one VICIdial. Used by the system's one loop."""

    def __init__(self, client: VicidialClient, spread: Spread) -> None:
        self._client = client
        self._spread = spread
        self._waiting: dict[str, None] = {}
        """Numbers whose leads are not yet known to be out, oldest first."""

    @property
    def waiting(self) -> int:
        """Numbers whose leads are not yet known to be out of the hopper."""
        return len(self._waiting)

    def purge(self, numbers: Sequence[str] = ()) -> None:
        """Takes the leads of these numbers (as stored), and of those still waiting, out of the hopper.

        Never raises `VendorError`.
        """
        self._waiting |= dict.fromkeys(numbers)
        while len(self._waiting) > MOST_WAITING:
            self._drop(next(iter(self._waiting)))
        batch = tuple(self._waiting)[:MOST_AT_ONCE]
        if not batch:
            return
        try:
            leads = self._leads(batch)
        except VendorError as error:
            self._settle(batch, dict.fromkeys(batch, error.failure))
            return
        owner = {lead: number for number, found in leads.items() for lead in found}
        failures = {
            owner[lead]: failure
            for lead, failure in zip(owner, self._spread(self._remove, tuple(owner)), strict=True)
            if failure is not None
        }
        self._settle(batch, failures)

    def _settle(self, batch: Iterable[str], failures: dict[str, Failure]) -> None:
        for number in batch:
            failure = failures.get(number)
            if failure is None:
                self._waiting.pop(number, None)
            elif failure.code == "permission":
                self._waiting.pop(number, None)
                self._client.note(NO_RIGHT)
            elif failure.kind is FailureKind.REJECTED:
                self._drop(number)
            else:  # to the end, so that it keeps no other waiting
                self._waiting.pop(number, None)
                self._waiting[number] = None

    def _drop(self, number: str) -> None:
        self._waiting.pop(number, None)
        self._client.note(DROPPED)

    def _leads(self, numbers: Sequence[str]) -> dict[str, list[str]]:
        answer = self._client.ask(
            "lead_search",
            search_method="PHONE_NUMBER",
            phone_number=",".join(numbers),
            records=str(MOST_LEADS),
            header="NO",
        )
        if answer.says("NO MATCHES FOUND"):
            return {}
        if answer.word is not Word.ROW or not answer.whole:
            raise VendorError(refusal(answer, "lead_search"))
        found = read_leads(answer)
        cut = sum(len(ids) for ids, _ in found.values()) >= MOST_LEADS
        if (cut or any(count > len(ids) for ids, count in found.values())) and len(numbers) > 1:
            return {n: ids for number in numbers for n, ids in self._leads((number,)).items()}
        if cut:
            self._client.note(f"a number with {MOST_LEADS} leads or more: not all could be purged")
        return {number: ids for number, (ids, _) in found.items() if number in numbers}

    def _remove(self, lead: str) -> Failure | None:
        try:
            answer = self._client.ask("update_lead", lead_id=lead, remove_from_hopper="Y")
        except VendorError as error:
            return error.failure
        # NOT REMOVED: it is not in the hopper, or its call is under way or over. No match: it was deleted.
        if answer.says("REMOVED FROM HOPPER") or answer.says("NO MATCHES FOUND"):
            return None
        return refusal(answer, "update_lead")
