"""How the sandbox words its answers (sheet 1, 9)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from werkzeug.wrappers import Response

JSON = "application/json;charset=UTF-8"


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON as the API sends it; umlauts and all in UTF-8."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, headers=headers, content_type=JSON)


def error(status: int, code: str, message: str, fields: Sequence[str] | None = None) -> Response:
    """An error body: an array of one object."""
    entry: dict[str, Any] = {"message": message, "errorCode": code}
    if fields is not None:
        entry["fields"] = list(fields)
    return answer([entry], status)


def item_error(code: str, message: str, fields: Sequence[str] = ()) -> dict[str, Any]:
    """An error of one record of a collections call: `statusCode`, where whole answers say `errorCode`."""
    return {"statusCode": code, "message": message, "fields": list(fields)}
