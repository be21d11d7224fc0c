"""Values as words: counts, shares, spans and instants that never flatter, and text that shows what it is.

A span is rounded up and a share of what went well is rounded down: "within 3 h 12 min" and "99.99 %" must be
true of the exact value too.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from math import ceil, floor
from typing import Final

from dncsync.reconcile.report.document import Cell, Kind

MINUTE: Final = 60
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
NOTHING: Final = "\u2013"
JOINED: Final = "\u00a0"
"""Between a figure and its unit: no line ends there."""
_BLANKS: Final = re.compile(r"[ \t\r\n\f\v]+")
MOST_LETTERS: Final = 400
"""Of one cell on page and paper; the CSV and the JSON have it whole."""


def count(value: int) -> str:
    """1234567 as 1,234,567."""
    return f"{value:,}"


def share(value: float) -> str:
    """0.99996 as 99.99 %, rounded down; only everything is 100 %."""
    percent = value * 100
    if percent in (0.0, 100.0):
        return f"{percent:.0f}{JOINED}%"
    if 0 < percent < 0.01:
        return f"<{JOINED}0.01{JOINED}%"
    # Ten digits first: 0.9999 * 100 is 99.99 less an error in the last place, which is not a loss.
    return f"{min(floor(round(percent, 10) * 100) / 100, 99.99):.2f}{JOINED}%"


def span(seconds: float) -> str:
    """A duration in seconds, rounded up to two units: `0.4 s`, `59 s`, `3 h 12 min`, `4 d 7 h`."""
    if seconds < 0:
        return f"\u2212{span(-seconds)}"
    if seconds < 10:
        # Six digits first: an error in a float's last place is no tenth of a second.
        tenths = ceil(round(seconds * 10, 6))
        return f"{tenths // 10}.{tenths % 10}{JOINED}s" if tenths % 10 else f"{tenths // 10}{JOINED}s"
    whole = ceil(round(seconds, 6))
    if whole < 100:
        return f"{whole}{JOINED}s"
    if whole < 10 * MINUTE:
        return _two(whole, MINUTE, "min", "s")
    if whole <= HOUR:
        return f"{ceil(whole / MINUTE)}{JOINED}min"
    if whole <= 2 * DAY:
        return _two(ceil(whole / MINUTE), 60, "h", "min")
    return _two(ceil(whole / HOUR), 24, "d", "h")


def _two(small: int, per: int, large_unit: str, small_unit: str) -> str:
    large, rest = divmod(small, per)
    return (
        f"{large:,}{JOINED}{large_unit}{JOINED}{rest}{JOINED}{small_unit}"
        if rest
        else f"{large:,}{JOINED}{large_unit}"
    )


def instant(microseconds: int) -> str:
    """`2026-09-30 23:59 UTC`, to the minute before."""
    return f"{_utc(microseconds):%Y-%m-%d %H:%M} UTC"


def hours(value: float) -> str:
    """Number-hours, rounded up to a tenth below a hundred and to whole ones above."""
    if value >= 100:
        return f"{ceil(round(value, 6)):,}"
    return f"{ceil(round(value * 10, 6)) / 10:g}"


def day(microseconds: int) -> str:
    """`2026-09-30`, of UTC."""
    return f"{_utc(microseconds):%Y-%m-%d}"


def iso(microseconds: int) -> str:
    """ISO 8601 with microseconds and Z."""
    return f"{_utc(microseconds):%Y-%m-%dT%H:%M:%S.%f}Z"


def _utc(microseconds: int) -> datetime:
    # Whole seconds and the rest apart: a float of microseconds since 1970 is not exact.
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def plural(number: int, one: str, many: str = "") -> str:
    """`1 system`, `2 systems`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def listed(words: list[str], most: int = 5) -> str:
    """`a`, `a and b`, `a, b and 3 more`."""
    if len(words) > most:
        return f"{', '.join(words[:most])} and {count(len(words) - most)} more"
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def sentence(text: str) -> str:
    """A statement with a capital and an end; empty stays empty."""
    text = text.strip()
    if not text:
        return ""
    return f"{text[0].upper()}{text[1:]}{'' if text[-1] in '.!?' else '.'}"


def shown(value: Cell, kind: Kind) -> str:
    """A cell on page and paper."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        match kind:
            case Kind.COUNT:
                return count(value)
            case Kind.INSTANT:
                return instant(value).removesuffix(" UTC")  # the column's title says so
    if isinstance(value, int | float):
        match kind:
            case Kind.SPAN:
                return span(value)
            case Kind.SHARE:
                return share(value)
            case Kind.HOURS:
                return hours(value)
    return legible(str(value))


def machine(value: Cell, kind: Kind) -> str:
    """A cell of the CSV: seconds, ISO 8601, plain digits."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and kind is Kind.INSTANT:
        return iso(value)
    return str(value)


def legible(text: str, most: int = MOST_LETTERS) -> str:
    """Strangers' text as one line that hides nothing: what steers or reverses is spelled as its code."""
    whole = unicodedata.normalize("NFC", _BLANKS.sub(" ", text).strip(" "))
    if len(whole) > most:
        whole = f"{whole[: most - 1]}…"
    return "".join(spelled(letter) if _unseen(letter) else letter for letter in whole)


def spelled(letter: str) -> str:
    """A character as its code point in angles."""
    return f"\u2039U+{ord(letter):04X}\u203a"


def _unseen(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp")
