"""The sandbox portal's answers: HubSpot's bodies, word for word where the sheet has them (3 to 7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from werkzeug.wrappers import Request, Response

from dncsync_hubspot.sandbox_schema import WriteFault


def json(value: Any, status: int = 200) -> Response:
    """JSON with HubSpot's content type."""
    return Response(orjson.dumps(value), status, content_type="application/json;charset=utf-8")


def error(status: int, category: str, message: str, correlation: str, **more: Any) -> Response:
    """The error envelope (sheet 5.1)."""
    body = {"status": "error", "message": message, "correlationId": correlation, "category": category, **more}
    return json(body, status)


def body(request: Request) -> Mapping[str, Any]:
    """The request's JSON object; anything else is an empty one."""
    try:
        value = orjson.loads(request.get_data() or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def names(request: Request, key: str) -> tuple[str, ...]:
    """Property names: repeated keys or comma lists (sheet 3.1)."""
    return tuple(name for part in request.args.getlist(key) for name in part.split(",") if name)


def is_true(request: Request, key: str) -> bool:
    """Booleans come as `True` from the SDK, `true` from others (sheet 10.1)."""
    return request.args.get(key, "false").lower() == "true"


def unauthorised(correlation: str, *, expired: bool = False) -> Response:
    """401: bad, absent or expired token (sheet 1.4)."""
    if expired:
        words = "The OAuth token used to make this call expired 42 second(s) ago."
        return error(401, "EXPIRED_AUTHENTICATION", words, correlation)
    words = (
        "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find "
        "more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview"
    )
    return error(401, "INVALID_AUTHENTICATION", words, correlation)


def missing_scopes(correlation: str, scopes: Iterable[str]) -> Response:
    """403 (sheet 1.4)."""
    words = "This app hasn't been granted all required scopes to make this call."
    context = {"requiredGranularScopes": sorted(scopes)}
    return error(
        403,
        "MISSING_SCOPES",
        words,
        correlation,
        errors=[{"message": "One or more of the following scopes are required.", "context": context}],
        links={"scopes": "https://developers.hubspot.com/scopes"},
    )


def limited(policy: str, correlation: str, with_hint: bool) -> Response:
    """The three shapes of 429 (sheet section 7)."""
    if policy == "SECONDLY":
        response = error(429, "RATE_LIMITS", "You have reached your secondly limit.", correlation)
    else:
        words = "daily" if policy == "DAILY" else "ten_secondly_rolling"
        response = json(
            {
                "status": "error",
                "message": f"You have reached your {words} limit.",
                "errorType": "RATE_LIMIT",
                "correlationId": correlation,
                "policyName": policy,
                "requestId": correlation,
            },
            429,
        )
    if with_hint:
        response.headers["Retry-After"] = "1" if policy == "SECONDLY" else "10"
    return response


def invalid(correlation: str, message: str) -> Response:
    """400 of a request as a whole."""
    return error(400, "VALIDATION_ERROR", message, correlation)


def duplicate_ids(correlation: str, ids: Sequence[str]) -> Response:
    """400: duplicate ids reject everything (sheet section 4)."""
    words = f"Duplicate IDs found in batch input: [{', '.join(ids)}]. IDs must be unique"
    return error(400, "VALIDATION_ERROR", words, correlation, context={"ids": list(ids)})


def property_errors(faults: Sequence[WriteFault], portal: int) -> dict[str, Any]:
    """Message and `errors[]` of a write with properties that are not valid (sheet 5.3)."""
    embedded = [
        {
            "isValid": False,
            "message": fault.message,
            "error": fault.code,
            "name": fault.name,
            "localizedErrorMessage": fault.message,
            "portalId": portal,
        }
        for fault in faults
    ]
    errors = [
        {"message": fault.message, "code": fault.code, "context": {"propertyName": [fault.name]}}
        for fault in faults
    ]
    return {"message": f"Property values were not valid: {orjson.dumps(embedded).decode()}", "errors": errors}


def bad_properties(correlation: str, faults: Sequence[WriteFault], portal: int) -> Response:
    """400 of a write."""
    said = property_errors(faults, portal)
    return error(400, "VALIDATION_ERROR", said["message"], correlation, errors=said["errors"])


def not_numeric(correlation: str, contact_id: str) -> Response:
    """404 with two spaces (sheet 3.1)."""
    words = "Object not found.  objectId are usually numeric."
    return error(404, "OBJECT_NOT_FOUND", words, correlation, context={"id": [contact_id]})


def no_such_contact(correlation: str) -> Response:
    """404 of a numeric id (text UNCONFIRMED)."""
    return error(404, "OBJECT_NOT_FOUND", "resource not found", correlation)


def no_such_property(correlation: str, name: str) -> Response:
    """404 of a property (body UNCONFIRMED)."""
    return error(404, "OBJECT_NOT_FOUND", f'Property "{name}" does not exist', correlation)


def conflict(correlation: str, message: str) -> Response:
    """409."""
    return error(409, "CONFLICT", message, correlation)


def missing_in_batch(ids: Sequence[str], traces: Sequence[str]) -> dict[str, Any]:
    """One entry of a 207's `errors` (sheet section 4)."""
    context: dict[str, list[str]] = {"ids": list(ids)}
    if traces:
        context["objectWriteTraceId"] = list(traces)
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "message": "Could not get some CONTACT objects, they may be deleted or not exist. "
        "Check that ids are valid.",
        "context": context,
        "errors": [],
        "links": {},
    }
