"""The mapping between keys, E.164 numbers and what VICIdial stores; and what a build must be able to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from dncsync_vicidial.settings import INTERNAL

ADD_SINCE = "191113-1758"
"""First build with `add_dnc_phone` (section 3)."""
DELETE_SINCE = "240302-0804"
"""First build with `delete_dnc_phone` (section 3)."""

_DIALABLE = re.compile(r"[0-9]{6,16}")
_WILDCARD = re.compile(r"[0-9]{3}X{7}")
_NANP = re.compile(r"\+1([2-9][0-9]{9})")

Form = Literal["ten-digits", "national", "international"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One place on one list, as a key names it."""

    list: str
    """`SYSTEM_INTERNAL` or a campaign id."""
    digits: str
    """As VICIdial stores it. For a number that has no form here, the E.164 number with its plus."""

    @property
    def key(self) -> str:
        """`LIST/3125550100`."""
        return f"{self.list}/{self.digits}"

    @property
    def dialable(self) -> bool:
        """Whether the API can say anything about it: 6 to 16 digits and nothing else (section 3.3)."""
        return _DIALABLE.fullmatch(self.digits) is not None

    @property
    def internal(self) -> bool:
        return self.list == INTERNAL


def entry_of(key: str) -> Entry:
    """The inverse of `Entry.key`; campaign ids hold no slash, whatever the stored value holds."""
    name, _, digits = key.partition("/")
    return Entry(name, digits)


def is_dialable(digits: str) -> bool:
    """6 to 16 ASCII digits: what `check_phone_number` takes."""
    return _DIALABLE.fullmatch(digits) is not None


def is_wildcard(row: str) -> bool:
    """`201XXXXXXX` blocks an area code; it is no number, and only the admin page writes it (section 3.4)."""
    return _WILDCARD.fullmatch(row) is not None


@dataclass(frozen=True, slots=True)
class NumberForm:
    """How this site's leads, and so its DNC entries, are written (section 3.1, silent failure 4)."""

    form: Form
    region: str
    trunk_prefix: str = ""

    def stored(self, number: str) -> str | None:
        """What VICIdial must hold to match this E.164 number; None where the form cannot say it."""
        if self.form == "ten-digits":
            match = _NANP.fullmatch(number)
            return match[1] if match else None
        if self.form == "international":
            return number[1:] if number.startswith("+") and is_dialable(number[1:]) else None
        return self._national(number)

    def raw(self, digits: str) -> str:
        """A stored value as the engine should parse it with the system's region.

        Digits that carry their country code by configuration get the plus that VICIdial cannot hold; all
        others stay as stored.
        """
        return f"+{digits}" if self.form == "international" and is_dialable(digits) else digits

    @property
    def phone_code(self) -> str:
        """What `check_phone_number` wants beside the number; `1` also where the number carries its own."""
        if self.form != "national":
            return "1"
        import phonenumbers

        return str(phonenumbers.country_code_for_region(self.region))

    def _national(self, number: str) -> str | None:
        import phonenumbers

        try:
            parsed = phonenumbers.parse(number)
        except phonenumbers.NumberParseException:
            return None
        if parsed.country_code != phonenumbers.country_code_for_region(self.region):
            return None
        digits = self.trunk_prefix + phonenumbers.national_significant_number(parsed)
        return digits if is_dialable(digits) else None
