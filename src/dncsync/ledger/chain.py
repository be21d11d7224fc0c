"""The hash chain: what each event's hash covers, so that anybody can compute it again.

    hash = SHA-256(hash of the event before, followed by
                   the JSON array [seq, at, kind, number, system, actor, payload])

The array is UTF-8 JSON without blanks; `payload` stands in it as a string, exactly the text that is
stored. JSON tells a number from a string from null, and quotes what a string contains, so no two different
events encode to the same bytes. `json.dumps(fields, separators=(",", ":"), ensure_ascii=False)` of the
standard library yields the same bytes (a test holds that): an auditor needs nothing of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import orjson

GENESIS = bytes(32)
"""Stands for the event before the first one."""

# What JSON does not know is refused instead of being turned into text of some library's choice.
_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


def canonical(payload: Mapping[str, object]) -> str:
    """The one JSON text of `payload`: sorted keys, no blanks.

    Raises `TypeError` for what is no JSON: dates, bytes, keys that are no strings, integers past 64 bits.
    """
    return orjson.dumps(payload, option=_CANONICAL).decode()


def encode(
    seq: int, at: int, kind: str, number: str | None, system: str | None, actor: str | None, payload: str
) -> bytes:
    """The bytes an event adds to its hash. Raises `TypeError` where a field has no JSON form."""
    return orjson.dumps((seq, at, kind, number, system, actor, payload))


def link(
    prev: bytes,
    seq: int,
    at: int,
    kind: str,
    number: str | None,
    system: str | None,
    actor: str | None,
    payload: str,
) -> bytes:
    """The 32-byte hash of an event that follows the event with hash `prev`."""
    return sha256(prev + orjson.dumps((seq, at, kind, number, system, actor, payload))).digest()
