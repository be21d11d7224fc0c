"""What the sandbox kit does to finished answers: drift of their keys, and headers that announce an ending."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

from werkzeug.wrappers import Response

from dncsync.testing.faults import FaultKind, Faults

_ENDS_IN = timedelta(days=60)


def distort(faults: Faults, where: tuple[str, str], response: Response, now: datetime) -> None:
    """Changes `response` in place as the faults in force for this call (method, path) say."""
    if fault := faults.take(FaultKind.ENDING, *where):
        value = str(fault.params.get("value") or format_datetime(now + _ENDS_IN, usegmt=True))
        response.headers[str(fault.params.get("header", "Sunset"))] = value
    for kind, change in _CHANGES.items():
        fault = faults.active(kind)
        if fault is None or not (response.mimetype or "").endswith("json"):
            continue
        if (fault := faults.take(kind, *where)) is not None:
            response.set_data(json.dumps(change(json.loads(response.get_data()), fault.params)))


def _add(body: Any, params: dict[str, Any]) -> Any:
    key = str(params.get("key", "brandNew"))
    lists = (
        [value for value in body.values() if isinstance(value, list)] if isinstance(body, dict) else [body]
    )
    objects = [item for item in (lists[0] if lists else ()) if isinstance(item, dict)]
    for one in objects or ([body] if isinstance(body, dict) else ()):
        one[key] = "new"
    return body


def _leave_out(body: Any, params: dict[str, Any]) -> Any:
    return _everywhere(body, str(params["key"]), lambda holder, key: holder.pop(key))


def _retype(body: Any, params: dict[str, Any]) -> Any:
    def other(holder: dict[str, Any], key: str) -> None:
        value = holder[key]
        holder[key] = [value] if isinstance(value, str) else json.dumps(value)

    return _everywhere(body, str(params["key"]), other)


def _say(body: Any, params: dict[str, Any]) -> Any:
    word = str(params.get("word", "brandnew"))
    return _everywhere(body, str(params["key"]), lambda holder, key: holder.__setitem__(key, word))


def _everywhere(body: Any, key: str, change: Callable[[dict[str, Any], str], object]) -> Any:
    if isinstance(body, dict):
        if key in body:
            change(body, key)
        for value in body.values():
            _everywhere(value, key, change)
    elif isinstance(body, list):
        for value in body:
            _everywhere(value, key, change)
    return body


_CHANGES: dict[FaultKind, Callable[[Any, dict[str, Any]], Any]] = {
    FaultKind.UNKNOWN_KEY: _add,
    FaultKind.MISSING_KEY: _leave_out,
    FaultKind.RETYPED_KEY: _retype,
    FaultKind.NEW_WORD: _say,
}
