"""The two shapes of Twilio's listings, for the sandbox's short ones."""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Request

Rows = list[dict[str, Any]]


def old_page(request: Request, key: str, rows: Rows) -> dict[str, Any]:
    """A listing of the 2010 API: relative URIs at the top level."""
    size, page, here, more = _slice(request, rows)
    link = f"{request.path}?PageSize={size}&Page="
    return {
        key: here,
        "page": page,
        "page_size": size,
        "start": page * size,
        "end": page * size + max(0, len(here) - 1),
        "uri": f"{link}{page}",
        "first_page_uri": f"{link}0",
        "previous_page_uri": f"{link}{page - 1}" if page else None,
        "next_page_uri": f"{link}{page + 1}&PageToken=PT{page + 1}" if more else None,
    }


def new_page(request: Request, key: str, rows: Rows) -> dict[str, Any]:
    """A listing of the newer APIs: absolute URLs under `meta`."""
    size, page, here, more = _slice(request, rows)
    link = f"https://messaging.twilio.com{request.path}?PageSize={size}&Page="
    meta = {
        "page": page,
        "page_size": size,
        "first_page_url": f"{link}0",
        "previous_page_url": f"{link}{page - 1}" if page else None,
        "next_page_url": f"{link}{page + 1}&PageToken=PT{page + 1}" if more else None,
        "key": key,
        "url": f"{link}{page}",
    }
    return {"meta": meta, key: here}


def _slice(request: Request, rows: Rows) -> tuple[int, int, Rows, bool]:
    size = max(1, min(request.args.get("PageSize", 50, type=int), 1000))
    page = max(0, request.args.get("Page", 0, type=int))
    return size, page, rows[page * size : (page + 1) * size], len(rows) > (page + 1) * size
