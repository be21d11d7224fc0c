"""Text that may be shown: known secrets replaced, whatever looks like a secret replaced, numbers masked.

Pure. Logs, findings and answers to strangers go through one `Redactor`; settings asks `looks_like_secret`
before it accepts a value from a file.
"""

from __future__ import annotations

import base64
import json
import re
import traceback
from collections.abc import Iterable, Mapping, Set
from datetime import date, datetime, timedelta
from enum import Enum
from functools import lru_cache
from types import TracebackType
from typing import Any, Final
from urllib.parse import quote, quote_plus
from uuid import UUID

from dncsync.numbers import mask_text

REDACTED: Final = "[redacted]"
SHORTEST_SECRET: Final = 4
"""Characters. Anything shorter would blot out ordinary words; settings refuses such a secret."""
LONGEST_TEXT: Final = 16_384
"""Characters of one value that are shown; the rest is cut off, after redaction."""
DEEPEST: Final = 8
"""Levels of nested values that are walked; below that a value is shown as its repr, redacted as text."""
SHORT_TEXT: Final = 32
"""Characters. Texts up to here, most of them names of keys and systems, are remembered as they were shown."""
REMEMBERED: Final = 512
"""So many of them."""

# Shapes of credentials that reach us at run time (session ids, tokens in a vendor's error text) or are
# pasted where they do not belong. Each names the part that is hidden as `secret`.
_TOKENS: Final = (
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?P<s1>.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    r"\b(?:[Bb]earer|[Bb]asic|OAuth)[ +](?P<s2>[A-Za-z0-9._~+/=!-]{8,})",
    r"\b(?P<s3>pat-(?:na|eu|ap)[0-9]-[0-9a-fA-F-]{20,})",  # HubSpot private app
    r"\b(?P<s4>00D[A-Za-z0-9]{9,15}![A-Za-z0-9._]{16,})",  # Salesforce session
    r"\b(?P<s5>eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?)",  # JWT
    r"(?<=://)(?P<s6>[^/\s:@\"']*:[^/\s@\"']+)(?=@)",  # user:password in a URL
    r"\b(?P<s7>(?:AKIA|ASIA)[A-Z0-9]{16})\b",  # AWS key id
)
_TOKEN: Final = re.compile("|".join(_TOKENS), re.DOTALL)

_CREDENTIAL: Final = (
    r"(?:access|refresh|auth|api|client|consumer|private|session|signing|webhook|account)?[-_]?"
    r"(?:token|secret|passw(?:or)?d|passphrase|pwd|credentials?|authorization|cookie|private[-_]?key|api[-_]?key)"
)
_SECRET_NAME: Final = re.compile(rf"(?:\b|_){_CREDENTIAL}\Z", re.IGNORECASE)
# `token=...` in a query, `"password": "..."` in JSON, `pass=` of the VICIdial API, in text of any origin.
_ASSIGNED: Final = re.compile(
    rf"(?P<name>\b(?:\w*?{_CREDENTIAL}|pass)\b[\"']?\s?[=:]\s?[\"']?)(?P<value>[^\s\"'&,;}})\]]{{4,}})",
    re.IGNORECASE,
)
# Characters above ASCII as `repr`, JSON and URLs spell them: a no-break space inside a number, for instance.
_ESCAPED: Final = re.compile(
    r"(?P<bytes>(?:\\x[89a-fA-F][0-9a-fA-F])+)|(?P<url>(?:%[89a-fA-F][0-9a-fA-F])+)"
    r"|\\u(?P<u>[0-9a-fA-F]{4})|\\U(?P<U>[0-9a-fA-F]{8})"
)

OWN_NUMBERS: Final = frozenset(
    {"seq", "from_seq", "to_seq", "sequence", "rows", "events", "count", "total", "bytes", "pid", "port"}
)
"""Keys under which an `int` is ours (a sequence, a count) and no phone number."""


def is_secret_name(name: str) -> bool:
    """Whether a key of that name holds a credential: `access_token`, `Client-Secret`, `password`."""
    return _SECRET_NAME.search(name) is not None


def looks_like_secret(value: str) -> bool:
    """Whether a text contains something in the shape of a credential: a private key, a token, a login URL."""
    return _TOKEN.search(value) is not None


def without_tokens(text: str) -> str:
    """The text with everything in the shape of a credential replaced; numbers stay."""
    return _TOKEN.sub(_hide_token, text)


class Redactor:
    """Makes values safe to show. Immutable and thread-safe."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """`secrets`: the values themselves; those shorter than `SHORTEST_SECRET` are left out."""
        spelled: set[str] = set()
        for secret in secrets:
            spelled |= _spellings(secret)
        longest_first = sorted(spelled, key=lambda s: (-len(s), s))
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        self._short = lru_cache(REMEMBERED)(self._redacted)

    def text(self, text: str) -> str:
        """The text without secrets and with numbers masked."""
        return self._short(text) if len(text) <= SHORT_TEXT else self._redacted(text)

    def _redacted(self, text: str) -> str:
        text = self.without_secrets(text)
        plain = _ESCAPED.sub(_unescaped, text)
        if plain != text:
            plain = self.without_secrets(plain)
            if (masked := mask_text(plain)) != plain:
                return _cut(masked)
        return _cut(mask_text(text))

    def value(self, value: Any, key: str = "", depth: int = 0) -> Any:
        """The value with every text inside it redacted, as JSON can carry it.

        Containers keep their shape, keys included; numbers, dates and ids of ours stay as they are;
        anything else becomes its repr. `key`: the name under which the value stands.
        """
        if value is None or isinstance(value, bool):
            return value
        if key and is_secret_name(key):
            return REDACTED
        if isinstance(value, Enum):
            value = value.value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int | float):
            if key in OWN_NUMBERS and isinstance(value, int):
                return value
            shown = self.text(repr(value))
            return value if shown == repr(value) else shown
        if isinstance(value, datetime | date):
            return value.isoformat()
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, UUID):
            return str(value)
        if isinstance(value, BaseException):
            return self.text(f"{type(value).__name__}: {_shown(value, str)}")
        if depth < DEEPEST:
            if isinstance(value, Mapping):
                return {
                    self.text(k if isinstance(k, str) else _shown(k)): self.value(v, str(k), depth + 1)
                    for k, v in value.items()
                }
            if isinstance(value, list | tuple | Set):
                return [self.value(item, key, depth + 1) for item in value]
        return self.text(_shown(value))

    def traceback(
        self, error: BaseException | None, trace: TracebackType | None = None, kind: type | None = None
    ) -> str:
        """A whole traceback, causes, notes and groups included, as redacted text."""
        lines = traceback.format_exception(
            kind or type(error), error, trace or getattr(error, "__traceback__", None)
        )
        return self.text("".join(lines).rstrip("\n"))

    def without_secrets(self, text: str) -> str:
        """The text without known secrets and without what looks like one; numbers stay."""
        return _ASSIGNED.sub(rf"\g<name>{REDACTED}", without_tokens(self.without_known(text)))

    def without_known(self, text: str) -> str:
        """The text without the secrets that were given."""
        return self._known.sub(REDACTED, text) if self._known is not None else text


def _spellings(secret: str) -> set[str]:
    """The forms in which a secret turns up: as it is, line by line, URL-quoted, escaped, in base64."""
    found: set[str] = set()
    for part in {secret, secret.strip(), *(line.strip() for line in secret.splitlines())}:
        raw = part.encode("utf-8", "surrogatepass")
        encoded = base64.b64encode(raw).decode()
        found |= {
            part,
            quote(part, safe="", errors="replace"),
            quote(part, errors="replace"),
            quote_plus(part, errors="replace"),
            repr(part)[1:-1],
            ascii(part)[1:-1],
            repr(raw)[2:-1],
            json.dumps(part)[1:-1],
            json.dumps(part, ensure_ascii=False)[1:-1],
            encoded,
            encoded.rstrip("="),
            base64.urlsafe_b64encode(raw).decode().rstrip("="),
        }
    return {form for form in found if len(form) >= SHORTEST_SECRET}


def _hide_token(match: re.Match[str]) -> str:
    name = match.lastgroup
    assert name is not None
    start, end = match.start(name) - match.start(), match.end(name) - match.start()
    return match[0][:start] + REDACTED + match[0][end:]


def _unescaped(match: re.Match[str]) -> str:
    """What an escape stands for, or a space where that cannot be printed."""
    if found := match["bytes"]:
        raw = bytes.fromhex(found.replace("\\x", ""))
    elif found := match["url"]:
        raw = bytes.fromhex(found.replace("%", ""))
    else:
        code = int(match["u"] or match["U"], 16)
        char = chr(code) if code <= 0x10FFFF else " "
        return char if char.isprintable() else " "
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return "".join(c if c.isprintable() else " " for c in text)


def _shown(value: object, how: Any = repr) -> str:
    try:
        return str(how(value))
    except Exception as error:
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + f" ... [{len(text)} characters]"
