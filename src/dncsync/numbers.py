"""Phone numbers: E.164 from whatever a field, a person or a vendor holds; masks for logs; time zones.

Nothing is guessed and nothing is dropped: a value either yields one number, or says in one word what is wrong
with it, so that it can be quarantined with a finding and a person can decide.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import phonenumbers
from phonenumbers import Leniency, NumberParseException, PhoneNumber, PhoneNumberMatcher


class Problem(StrEnum):
    """Why a value yields no number."""

    EMPTY = "empty"
    """Nothing there, or only spaces and invisible characters."""
    JUNK = "junk"
    """A placeholder: `N/A`, `none`, `0000000000`, `1234567890`."""
    UNPARSABLE = "unparsable"
    """Words, or digits in no notation of a phone number."""
    IMPOSSIBLE = "impossible"
    """A wrong count of digits for its country, or an area code that cannot exist."""
    EXTENSION = "extension"
    """A main line with an extension: a block of the line would cover everybody behind it."""
    AMBIGUOUS = "ambiguous"
    """More than one reading: two numbers in one field, words that spell digits, `+` before ten US digits."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """One phone value as read. Either `number` or `problem` is set, never both."""

    raw: str
    """As received; empty for a missing value."""
    number: str | None
    """E.164, e.g. `+13125550199`."""
    problem: Problem | None = None
    base: str | None = None
    """With a problem: the E.164 number that a person may choose, e.g. the main line before an extension."""


# A hundred times the common case, so it is read without the library. `_plain` must agree with `_careful`.
_PLAIN: Final = re.compile(
    r"(?:\+1|1)?[-. ]?\(?([2-9][0-9]{2})\)?[-. ]?([0-9]{3})[-. ]?([0-9]{4})", re.ASCII
).fullmatch
_US_E164: Final = re.compile(r"\+1[2-9][0-9]{9}", re.ASCII).fullmatch
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII).fullmatch

_JUNK: Final = """
    na none null nil nan no nope nothing unknown undefined unavailable anonymous private restricted blocked
    withheld test tbd tba tbc pending missing empty blank declined refused x xx xxx nophone nonumber
    nophonenumber notavailable notapplicable notprovided notgiven donotcall dnc
"""
_JUNK_WORDS: Final = frozenset(_JUNK.split())
_SEQUENCES: Final = frozenset(
    {"1234567890", "0123456789", "9876543210", "0987654321", "123456789", "12345678"}
)
_PLACEHOLDERS: Final = _SEQUENCES | {digit * 10 for digit in "0123456789"}

# What people write after a number. Without this the library would spell it out in digits.
_LABEL: Final = re.compile(
    r"[\s(\[,:-]*\b(?:cell(?:ular)?|mobile|home|work|office|phone|main|direct|landline|fax|tel)\b[\s)\].:]*\Z",
    re.IGNORECASE,
)
_LETTER: Final = re.compile(r"[^\W\d_]")
_TOLL_FREE: Final = re.compile(r"\+18(?:00|33|44|55|66|77|88)")
_WRONG_LENGTH: Final = (
    NumberParseException.TOO_SHORT_NSN,
    NumberParseException.TOO_SHORT_AFTER_IDD,
    NumberParseException.TOO_LONG,
)
_LONGEST: Final = 250  # characters; the library reads no more


def parse(raw: str | None, region: str = "US") -> Parsed:
    """Reads one phone value. Never raises.

    `region` (ISO 3166, two letters) is the home country of the system: how to read a value that has no `+`.
    A number is usable when its length is possible for its country and, in the North American plan, its area
    code can exist. Whether it is assigned is not asked: new area codes would fail until the library knows
    them, and a block on a number that nobody has costs nothing.
    """
    if raw is None:
        return Parsed("", None, Problem.EMPTY)
    number = _plain(raw, region)
    if number is not None:
        return Parsed(raw, number)
    return _careful(raw, region)


def is_region(region: str) -> bool:
    """Whether `parse` knows the country; configuration is checked with this."""
    return region in phonenumbers.SUPPORTED_REGIONS


def is_e164(value: str) -> bool:
    """Whether `value` has the form of E.164: `+`, then 7 to 15 ASCII digits, the first not zero."""
    return _E164(value) is not None


def _plain(raw: str, region: str) -> str | None:
    """The E.164 number of a value in one of the plain US notations, or None: look more carefully."""
    if _US_E164(raw):
        return None if raw[2:] in _PLACEHOLDERS else raw
    if region != "US" or (match := _PLAIN(raw)) is None:
        return None
    national = "".join(match.groups())
    return None if national in _PLACEHOLDERS else "+1" + national


def _careful(raw: str, region: str) -> Parsed:
    """The library's reading, and what it would guess or drop in silence told apart."""
    text = "".join(c for c in raw if unicodedata.category(c) != "Cf").strip()
    if not text:
        return Parsed(raw, None, Problem.EMPTY)
    if _is_junk(text):
        return Parsed(raw, None, Problem.JUNK)
    if len(text) > _LONGEST:
        return Parsed(raw, None, Problem.UNPARSABLE)
    text = _LABEL.sub("", text) or text
    try:
        read = phonenumbers.parse(text, region)
    except NumberParseException as error:
        wrong_length = error.error_type in _WRONG_LENGTH
        return _unread(raw, text, region, Problem.IMPOSSIBLE if wrong_length else Problem.UNPARSABLE)
    number = _usable(read)
    if number is None:
        return _unread(raw, text, region, Problem.IMPOSSIBLE)
    if number[2:] in _PLACEHOLDERS and number[1] == "1":
        return Parsed(raw, None, Problem.JUNK)
    if read.extension:
        return Parsed(raw, None, Problem.EXTENSION, number)
    if phonenumbers.is_alpha_number(text) and not _TOLL_FREE.match(number):
        return Parsed(raw, None, Problem.AMBIGUOUS, number)
    if region == "US" and (home := _plus_by_mistake(text, read)) is not None:
        return Parsed(raw, None, Problem.AMBIGUOUS, home)
    return Parsed(raw, number)


def _is_junk(text: str) -> bool:
    digits = "".join(str(unicodedata.decimal(c)) for c in text if c.isdecimal())
    if not digits:
        word = "".join(c for c in text.casefold() if c.isalpha())
        return not word or word in _JUNK_WORDS
    if _LETTER.search(text):
        return False
    return set(digits) in ({"0"}, {"1"}) or digits in _SEQUENCES or digits.removeprefix("1") in _SEQUENCES


def _usable(read: PhoneNumber) -> str | None:
    """E.164 without the extension, when its length and area code are possible and it reads back as itself."""
    if phonenumbers.is_possible_number_with_reason(read) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    number = _format(read)
    if not is_e164(number) or (read.country_code == 1 and number[2] in "01"):
        return None
    try:  # `+49 00 0000` loses a zero each time that it is read: no number
        return number if _format(phonenumbers.parse(number)) == number else None
    except NumberParseException:
        return None


def _format(read: PhoneNumber) -> str:
    return str(phonenumbers.format_number(read, phonenumbers.PhoneNumberFormat.E164))


def _unread(raw: str, text: str, region: str, problem: Problem) -> Parsed:
    """A value that is no number as a whole: two numbers in it are ambiguous, one is offered as `base`."""
    found = PhoneNumberMatcher(text, region, leniency=Leniency.POSSIBLE)
    numbers = {number for match in found if (number := _usable(match.number)) is not None}
    if len(numbers) > 1:
        return Parsed(raw, None, Problem.AMBIGUOUS)
    return Parsed(raw, None, problem, numbers.pop() if numbers else None)


def _plus_by_mistake(text: str, read: PhoneNumber) -> str | None:
    """`+3125550199` reads as the Netherlands, but is most likely Chicago: the US reading, if there is one."""
    if read.country_code == 1 or not text.startswith("+") or phonenumbers.is_valid_number(read):
        return None
    try:
        home = phonenumbers.parse(text[1:], "US")
    except NumberParseException:
        return None
    return _usable(home) if phonenumbers.is_valid_number(home) else None


# --- masks -------------------------------------------------------------------------------------------------

_BULLET: Final = "\N{BULLET}"
_HIDDEN: Final = 5  # at least so many digits are hidden, i.e. 100,000 candidates remain

# What may stand between two digits of one number, also URL-encoded: no letters, line breaks or list marks.
_GAP: Final = r"""(?:%20|%2[bB89dDeE]|[^\w\r\n,;:=|"'<>{}&?]|_){0,4}"""
# Digits that are surely something else, tried first: UUIDs, ISO times, IPv4 addresses, long hex identifiers.
_KEEP: Final = (
    r"(?<![0-9A-Za-z])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9A-Za-z])"
    r"|(?<!\d)(?:19|20)[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])(?!\d)"
    r"(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]{1,9}(?!\d))?)?"
    r"(?:Z|[+-](?:0[0-9]|1[0-4]):?[0-5][0-9](?!\d))?)?"
    r"|(?<![\w.])(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(?![\w.])"
    r"|(?<![0-9A-Za-z])(?:[A-Z]{2})?(?=[0-9a-f]{0,62}[a-f])(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})(?![0-9A-Za-z])"
)
_PHONE_LIKE: Final = re.compile(rf"(?P<keep>{_KEEP})|\+?\(?\d(?:{_GAP}\d){{6,}}")


def mask(number: str) -> str:
    """A number that a log may show: `+13125550199` becomes `+1312•••••99`.

    At most the first four and the last two digits stay, and at least five are hidden, so that the mask helps
    to follow one number through a log and leaves 100,000 candidates. Separators among the hidden digits go.
    """
    digits = [i for i, c in enumerate(number) if c.isdecimal()]
    if len(digits) < _HIDDEN + 2:
        return _BULLET * len(number)
    head = min(4, len(digits) - _HIDDEN - 2)
    first, last = digits[head], digits[-3]
    return number[:first] + _BULLET * (len(digits) - head - 2) + number[last + 1 :]


def mask_text(text: str) -> str:
    """Masks everything in `text` that may be a phone number: seven or more digits, however separated.

    UUIDs, ISO dates and times, IPv4 addresses and hex digests stay. A vendor's numeric record id, an epoch or
    a row of short numbers cannot be told from a phone number and is masked too: privacy wins.
    """
    return _PHONE_LIKE.sub(lambda m: m[0] if m["keep"] is not None else mask(m[0]), text)


# --- time zones --------------------------------------------------------------------------------------------

US_ZONES: Final = (
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Phoenix",
    "America/Los_Angeles",
    "America/Anchorage",
    "America/Adak",
    "Pacific/Honolulu",
)
"""The zones of the fifty states: the candidates of a US number whose area code tells nothing."""


def region_zones(number: str) -> tuple[str, ...]:
    """The IANA zones where the owner of an E.164 number may be, by area code (regulation CLK-04, CLK-09).

    All zones of the area code; for a toll-free, non-geographic or unknown North American one all zones of the
    fifty states; outside North America nothing, and the company's zone and UTC decide alone. It is a guess:
    mobile numbers move.
    """
    if not number.startswith("+1"):
        return ()
    return _ZONES_OF.get(number[2:5], US_ZONES)


# phonenumberslite has no time zones. This is the table of `phonenumbers` 9.0.34 (Apache-2.0), its prefixes
# joined by area code; overlays 364, 448, 458, 930, 986 get the zones of the code that they overlay, and zones
# that have agreed since 2007 are one (Boise is Denver, Juneau is Anchorage).
_AREA_CODES: Final = {
    "America/New_York": """
        201 202 203 207 212 215 216 220 223 227 229 231 234 239 240 248 252 260 267 269 272 276 283 301 302
        304 305 313 315 317 321 324 326 329 330 332 336 339 347 351 352 363 380 386 401 404 407 410 412 413
        419 434 440 443 445 463 470 472 475 478 484 502 508 513 516 517 518 540 551 561 567 570 571 582 585
        586 603 607 609 610 614 616 617 631 640 645 646 656 667 678 680 681 686 703 704 706 716 717 718 724
        727 728 732 734 740 743 754 757 762 765 770 771 772 774 781 786 802 803 804 810 813 814 821 826 828
        835 838 839 843 845 848 854 856 857 859 860 862 863 864 865 878 904 908 910 912 914 917 919 929 934
        937 941 943 947 948 954 959 973 978 980 984 989
    """,
    "America/Chicago": """
        205 210 214 217 218 224 225 228 235 251 254 256 262 274 281 309 312 314 316 318 319 320 325 327 331
        334 337 346 353 361 402 405 409 414 417 430 432 447 464 469 479 501 504 507 512 515 531 534 539 557
        563 572 573 580 601 608 612 615 618 629 630 636 641 651 659 660 662 682 689 708 712 713 715 726 730
        731 737 763 769 773 779 806 815 816 817 830 832 847 870 872 901 903 913 918 920 931 936 938 940 945
        952 956 972 975 979 985
    """,
    "America/Los_Angeles": """
        206 209 213 253 279 310 323 341 350 360 369 408 415 424 425 442 503 509 510 530 559 562 564 619 626
        628 650 657 661 669 702 707 714 725 738 747 760 805 818 820 831 840 858 909 916 925 949 951 971
    """,
    "America/Toronto": """
        226 249 263 289 343 354 365 367 382 416 437 438 450 468 514 519 548 579 581 613 647 683 705 742 753
        819 873 905 942
    """,
    "America/Denver": "303 307 385 406 435 505 575 719 720 748 801 915 970 983",
    "America/Chicago America/New_York": "219 270 364 423 448 574 606 812 850 906 930",
    "America/Chicago America/Denver": "308 605 620 701 785",
    "America/Denver America/Los_Angeles": "208 458 541 775 986",
    "America/Edmonton": "368 403 587 780 825",
    "America/Vancouver": "236 257 604 672 778",
    "America/Halifax": "428 506 782 902",
    "America/Phoenix": "480 520 602 623",
    "America/Winnipeg": "204 431 474 584",
    "America/Santo_Domingo": "809 829 849",
    "America/Jamaica": "658 876",
    "America/Puerto_Rico": "787 939",
    "America/Regina": "306 639",
    "America/Adak America/Anchorage Pacific/Honolulu": "907",
    "America/Anguilla": "264",
    "America/Antigua": "268",
    "America/Barbados": "246",
    "America/Cayman": "345",
    "America/Denver America/Phoenix": "928",
    "America/Dominica": "767",
    "America/Edmonton America/Fort_Nelson America/Toronto America/Vancouver America/Winnipeg": "867",
    "America/Edmonton America/Vancouver": "250",
    "America/Grand_Turk": "649",
    "America/Grenada": "473",
    "America/Halifax America/St_Johns": "709",
    "America/Halifax America/Toronto": "418",
    "America/Lower_Princes": "721",
    "America/Montserrat": "664",
    "America/Nassau": "242",
    "America/Port_of_Spain": "868",
    "America/St_Johns": "879",
    "America/St_Kitts": "869",
    "America/St_Lucia": "758",
    "America/St_Thomas": "340",
    "America/St_Vincent": "784",
    "America/Toronto America/Winnipeg": "807",
    "America/Tortola": "284",
    "Atlantic/Bermuda": "441",
    "Pacific/Guam": "671",
    "Pacific/Honolulu": "808",
    "Pacific/Pago_Pago": "684",
    "Pacific/Saipan": "670",
}

_ZONES_OF: Final = {
    code: tuple(zones.split()) for zones, codes in _AREA_CODES.items() for code in codes.split()
}
