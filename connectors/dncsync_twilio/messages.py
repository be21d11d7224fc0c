"""Reading the message log: STOP and START after an outage, and error 21610 as evidence (sheet section 5).

The log has no filter for direction or error, so a sweep pages through all traffic since the watermark. The
watermark only moves when a sweep is complete, and stays an overlap behind the vendor's clock.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from dncsync.connector import Failure, FailureKind, Page, Statement, VendorError
from dncsync_twilio.client import API, TwilioClient
from dncsync_twilio.fields import row_faults, statement_of_row
from dncsync_twilio.settings import TwilioSettings

PAGE_SIZE = 1000
"""Most rows a page (sheet section 5)."""
_FORM = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Sweep:
    """The cursor: what this sweep reads, and where the next one begins. Times are UTC, to the second."""

    since: str
    """Rows with `date_sent` from here on."""
    mark: str = ""
    """Becomes `since` when this sweep is complete; empty before its first page."""
    next: str = ""
    """Path and query of the page to read next; empty: the first one."""

    def text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


def sweep_of(cursor: str) -> Sweep:
    """Raises `VendorError` (rejected): a cursor that cannot be read is never replaced by 'now' in silence."""
    try:
        values = json.loads(cursor)
        sweep = Sweep(**values)
        datetime.strptime(sweep.since, _FORM)  # noqa: DTZ007 (Z is part of the form)
        if sweep.mark:
            datetime.strptime(sweep.mark, _FORM)  # noqa: DTZ007
        if sweep.next and not sweep.next.startswith("/2010-04-01/"):
            raise ValueError("next")
    except (ValueError, TypeError) as error:
        reason = f"the cursor of the message log cannot be read ({type(error).__name__})"
        raise VendorError(Failure(FailureKind.REJECTED, reason, "cursor")) from None
    return sweep


class MessageLog:
    """Sweeps over `Messages.json`."""

    def __init__(self, client: TwilioClient, settings: TwilioSettings) -> None:
        self._client = client
        self._scopes: Collection[str] = settings.scopes
        self._overlap = timedelta(seconds=settings.poll_overlap)
        self._grace = timedelta(seconds=settings.grace)
        self._url = client.account_url("/Messages.json")

    def changes(self, cursor: str | None) -> Iterator[Page]:
        """One sweep, or the rest of one that was broken off; a page of statements at a time."""
        if cursor is None:
            sweep = Sweep((self._vendor_now() - self._overlap).strftime(_FORM))
        else:
            sweep = sweep_of(cursor)
        given = False
        try:
            for page in self._pages(sweep, floor="" if cursor is None else sweep.since):
                given = True
                yield page
        except VendorError as error:
            if (
                given
                or not sweep.next
                or error.failure.kind not in (FailureKind.REJECTED, FailureKind.UNKNOWN)
            ):
                raise
            # A page token from before a restart may not live; the sweep starts over, the watermark stays.
            yield from self._pages(Sweep(sweep.since), floor=sweep.since)

    def _pages(self, sweep: Sweep, floor: str) -> Iterator[Page]:
        """`floor`: the watermark does not move back behind it. A first sweep has none: it began by our clock
        alone, which may be ahead of Twilio's."""
        url, params = self._url, {"DateSent>": sweep.since, "PageSize": str(PAGE_SIZE)}
        pages = self._client.pages(
            API + sweep.next if sweep.next else url, "messages", None if sweep.next else params
        )
        for rows, next_url in pages:
            if not sweep.mark:
                mark = (self._vendor_now() - self._overlap).strftime(_FORM)
                sweep = replace(sweep, mark=max(floor, mark))
            statements = tuple(s for row in rows if (s := self._statement(row)) is not None)
            after = replace(sweep, next=next_url.removeprefix(API)) if next_url else Sweep(sweep.mark)
            yield Page((), after.text(), more=bool(next_url), statements=statements)

    def _vendor_now(self) -> datetime:
        """The earlier of two clocks, so that the watermark passes nothing that may still appear."""
        ours = self._client.clock.now()
        return min(ours, self._client.server_time or ours)

    def _statement(self, row: dict[str, Any]) -> Statement | None:
        if faults := row_faults(row):
            for fault in faults:
                self._client.drift[f"message {fault}"] += 1
            reason = f"messages come {', '.join(faults)}; nothing can be concluded from them"
            raise VendorError(Failure(FailureKind.UNKNOWN, reason, "drift"))
        now = self._vendor_now()
        statement = statement_of_row(row, self._scopes, now)
        if statement is not None and not statement.evidence_only and statement.at > now - self._grace:
            return None  # its webhook is on the way and says more; the overlap brings this row again
        return statement
