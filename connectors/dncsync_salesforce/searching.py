"""A second opinion by SOSL: the spellings to ask for, and what of the answer to believe (sheet 11)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dncsync.model import Holding
from dncsync_salesforce.fields import Kind

_RESERVED = re.compile(r"([?&|!{}\[\]()^~*:\\\"'+\-])")


def spellings(number: str) -> tuple[str, ...]:
    """How an E.164 number may have been typed. Values are stored as typed, and how SOSL cuts them into words
    is not documented, so several are asked for at once."""
    digits = number.lstrip("+")
    if not digits.startswith("1") or len(digits) != 11:
        return digits, number, digits[2:]
    area, exchange, line = digits[1:4], digits[4:7], digits[7:]
    return (
        digits[1:],
        digits,
        number,
        f"({area}) {exchange}-{line}",
        f"{area}-{exchange}-{line}",
        f"{area}.{exchange}.{line}",
        f"+1 {area} {exchange} {line}",
    )


def sosl(number: str, kinds: Sequence[Kind], *, persons: bool) -> str:
    """The search; only records that may be written are asked for. `persons`: the org has person accounts."""
    terms = " OR ".join('"' + _RESERVED.sub(r"\\\1", words) + '"' for words in spellings(number))
    conditions = {"Lead": " WHERE IsConverted = false", "PersonAccount": " WHERE IsPersonAccount = true"}
    if persons:
        conditions["Contact"] = " WHERE IsPersonAccount = false"
    returning = ", ".join(f"{kind.sobject}(Id{conditions.get(kind.name, '')})" for kind in kinds)
    return f"FIND {{{terms}}} IN PHONE FIELDS RETURNING {returning}"


def keys(found: Sequence[Mapping[str, Any]], kinds: Sequence[Kind]) -> list[str]:
    """Our keys of the records found, each once."""
    by_prefix = {kind.id_prefix: kind for kind in kinds}
    ids = [str(record.get("Id", "")) for record in found]
    return list(dict.fromkeys(by_prefix[i[:3]].key(i) for i in ids if i[:3] in by_prefix))


def holds(holding: Holding, number: str) -> bool:
    """Whether some value of the record has the number's last digits; the engine normalises, this sieves."""
    tail = number.lstrip("+")[-10:]
    return any(tail in re.sub(r"\D", "", value) for value in holding.numbers)
