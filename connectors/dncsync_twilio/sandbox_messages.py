"""The sandbox's message log: listing with filters and page tokens, and sends that end in 21610."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

from dncsync_twilio.sandbox_store import Message, Store

DEFAULT_PAGE, LARGEST_PAGE = 50, 1000
FAR = 32_503_680_000.0  # the year 3000


class BadQuery(ValueError):
    """A parameter that cannot be read: 400."""


def message_json(account_sid: str, message: Message, at: float) -> dict[str, Any]:
    """The Message resource as it stands at that time (seconds since the epoch)."""
    status, error = message.now(at)
    uri = f"/2010-04-01/Accounts/{account_sid}/Messages/{message.sid}"
    when = format_datetime(datetime.fromtimestamp(int(message.created), UTC))
    return {
        "account_sid": account_sid,
        "api_version": "2010-04-01",
        "body": message.body,
        "date_created": when,
        "date_sent": when if message.dated else None,
        "date_updated": when,
        "direction": message.direction,
        "error_code": error,
        "error_message": "Attempt to send to unsubscribed recipient" if error else None,
        "from": message.sender or None,
        "messaging_service_sid": message.service or None,
        "num_media": str(message.media),
        "num_segments": "1",
        "price": None,
        "price_unit": "USD",
        "sid": message.sid,
        "status": status,
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": message.recipient,
        "uri": f"{uri}.json",
    }


def page_of(
    account_sid: str,
    store: Store,
    query: dict[str, str],
    *,
    now: float,
    lag: float,
    share: float,
    stuck: bool,
) -> dict[str, Any]:
    """One page of the listing, newest first.

    `lag`: seconds for which a message is not listed yet. `share` below 1: the listing ends early. `stuck`:
    the next page is this one. Raises `BadQuery`.
    """
    try:
        size = max(1, min(int(query.get("PageSize", DEFAULT_PAGE)), LARGEST_PAGE))
        number = int(query.get("Page", 0))
    except ValueError:
        raise BadQuery("PageSize and Page are numbers") from None
    since, before = _window(query)
    token = query.get("PageToken", "").removeprefix("PA") or None
    if token is not None and store.message(token) is None:
        raise BadQuery("PageToken is not valid")
    rows = list(
        store.messages(
            since=since,
            before=min(before, now - lag),
            sender=query.get("From"),
            recipient=query.get("To"),
            undated=not any(name.startswith("DateSent") for name in query),
            after_sid=token,
            limit=size + 1,
        )
    )
    more = len(rows) > size and share >= 1
    rows = rows[: max(1, int(min(len(rows), size) * share))] if rows else []
    base = f"/2010-04-01/Accounts/{account_sid}/Messages.json"
    filters = {k: v for k, v in query.items() if k not in ("Page", "PageToken", "PageSize")}
    filters["PageSize"] = str(size)
    here = {**filters, "Page": str(number)} | ({"PageToken": f"PA{token}"} if token else {})
    there = here
    if rows and not stuck:
        there = {**filters, "Page": str(number + 1), "PageToken": f"PA{rows[-1].sid}"}
    return {
        "messages": [message_json(account_sid, row, now) for row in rows],
        "page": number,
        "page_size": size,
        "start": number * size,
        "end": number * size + max(0, len(rows) - 1),
        "uri": f"{base}?{urlencode(here)}",
        "first_page_uri": f"{base}?{urlencode({**filters, 'Page': '0'})}",
        "previous_page_uri": None,
        "next_page_uri": f"{base}?{urlencode(there)}" if (more or stuck) else None,
    }


def _window(query: dict[str, str]) -> tuple[float, float]:
    """`DateSent` is one day, `DateSent>` from then on, `DateSent<` until then; all GMT."""
    since, before = 0.0, FAR
    if "DateSent" in query:
        day = _instant(query["DateSent"]).replace(hour=0, minute=0, second=0, microsecond=0)
        since, before = day.timestamp(), (day + timedelta(days=1)).timestamp() - 0.001
    if "DateSent>" in query:
        since = _instant(query["DateSent>"]).timestamp()
    if "DateSent<" in query:
        before = _instant(query["DateSent<"]).timestamp()
    return since, before


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            raise BadQuery("DateSent is no date") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
