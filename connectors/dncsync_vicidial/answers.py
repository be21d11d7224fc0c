"""What VICIdial's text answers say. Pure; every answer, good or bad, is HTTP 200 (section 2).

Separators differ between document, program and builds (section 3.1), so a line is read by its first word and
its phrase. Nothing here quotes a line: lines hold numbers, and a bad login echoes the password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from dncsync.connector import Failure, FailureKind


class Word(StrEnum):
    """The first word of an answer."""

    SUCCESS = "SUCCESS"
    ERROR = "ERROR"
    NOTICE = "NOTICE"
    VERSION = "VERSION"
    AREACODE = "AREACODE"
    ROW = "row"
    """A line of data, e.g. `3125550100|2|17-18`."""


_KNOWN = re.compile(r"(SUCCESS|ERROR|NOTICE|VERSION|AREACODE): ?|([0-9]+)\|")
DATABASE_DOWN = "MySQL connect ERROR:"


@dataclass(frozen=True, slots=True)
class Answer:
    """A readable answer."""

    word: Word
    """Of the first readable line."""
    lines: tuple[str, ...]
    """All readable lines, the first one first."""
    stray: bool
    """Something stood in front, e.g. a PHP warning; to be reported, never stripped in silence."""
    whole: bool
    """It ends with a line feed, as every complete answer does."""

    @property
    def line(self) -> str:
        return self.lines[0]

    def says(self, phrase: str) -> bool:
        """Whether any line holds this phrase."""
        return any(phrase in line for line in self.lines)


def read_answer(body: str) -> Answer | None:
    """The lines that begin with a known word; None where there is none (an HTML page, an empty body)."""
    seen = [(m, line) for line in body.splitlines() if (m := _KNOWN.match(line))]
    if not seen:
        return None
    word = Word.ROW if seen[0][0][2] else Word(seen[0][0][1])
    first = next(line for line in body.splitlines() if line.strip())
    return Answer(
        word=word,
        lines=tuple(line for _, line in seen),
        stray=first != seen[0][1],
        whole=body.endswith("\n"),
    )


class Login(StrEnum):
    """How a login was refused (section 2.2); the value is VICIdial's code."""

    BAD = "BAD"
    LOCK = "LOCK"
    IP = "IPBLOCK"
    SECOND_FACTOR = "2FA"


def login_refused(text: str) -> Login | None:
    """Whether a text, of the API or of a page, refuses the login. Its words are never passed on."""
    line = next((x for x in text.splitlines() if _LOGIN.search(x)), None)
    if line is None:
        return None
    if "Login incorrect" in line:
        return Login.SECOND_FACTOR if line.rstrip().endswith("|2FA|") else Login.BAD
    return Login.LOCK if "Too many login attempts" in line else Login.IP


_LOGIN = re.compile(
    r"^(?:ERROR: )?(?:Login incorrect, please try|Too many login attempts|Your IP Address is not allowed)"
)


def phrase_of(line: str) -> str:
    """VICIdial's own words without what follows them: no number, no user. For messages and traces."""
    match = re.match(r"(?:(SUCCESS|ERROR|NOTICE): )?(.*?)(?: - |: ?\||:? ?$|\|)", line)
    words = match[2] if match else ""
    return re.sub(r"[0-9]{4,}", "*", words)[:120]


class Listed(StrEnum):
    """What `check_phone_number` says of one number on one list."""

    YES = "yes"
    NO = "no"


_IN_DNC = re.compile(r"ERROR: check_phone_number PHONE NUMBER IN (CAMPAIGN )?DNC\b")


def listed(answer: Answer, digits: str, *, internal: bool) -> Listed | None:
    """A hit is an ERROR line and a miss has no SUCCESS word (section 3.3); None: it says neither.

    Asked with one of the two checks only, because a hit on the internal list hides the campaign's.
    """
    match = _IN_DNC.match(answer.line)
    if match and _names(answer.line, digits):
        return Listed.YES if (match[1] is None) == internal else None
    clean = re.match(r"AREACODE: [01]\|.*#PHONE: ([0-9]+)\|[01]\|", answer.line)
    return Listed.NO if clean and clean[1] == digits else None


def added(answer: Answer, digits: str) -> bool:
    """`add_dnc_phone` did it, or found it done: ALREADY EXISTS is success in error clothing."""
    return (
        answer.word is Word.SUCCESS and _told(answer, "add_dnc_phone DNC NUMBER HAS BEEN ADDED", digits)
    ) or _told(answer, "add_dnc_phone DNC NUMBER ALREADY EXISTS", digits)


def deleted(answer: Answer, digits: str) -> bool:
    """`delete_dnc_phone` did it, or found nothing to delete."""
    return (
        answer.word is Word.SUCCESS and _told(answer, "delete_dnc_phone DNC NUMBER HAS BEEN DELETED", digits)
    ) or _told(answer, "delete_dnc_phone DNC NUMBER DOES NOT EXIST", digits)


def _told(answer: Answer, phrase: str, digits: str) -> bool:
    return phrase in answer.line and _names(answer.line, digits)


def _names(line: str, digits: str) -> bool:
    """The line is about this number; one that was cut before its columns is not taken."""
    return re.search(rf"(?<![0-9]){re.escape(digits)}(?![0-9])", line) is not None


def refusal(answer: Answer, function: str) -> Failure:
    """What an answer means that is none of the good ones of `function`."""
    line = answer.line
    if "NO FUNCTION SPECIFIED" in line:
        return Failure(
            FailureKind.REJECTED,
            f"this VICIdial has no function {function}; its build is too old, upgrade it",
            "no-function",
        )
    if "DOES NOT HAVE PERMISSION" in line or "THIS USER HAS NO VIEWABLE CAMPAIGNS" in line:
        return Failure(
            FailureKind.UNAUTHORISED,
            f"the API user may not use {function}: {_words(line, function)}",
            "permission",
        )
    if answer.word is Word.ERROR and answer.whole:
        return Failure(FailureKind.REJECTED, f"{function}: {_words(line, function)}", "error")
    return unreadable(function)


def check_refusal(answer: Answer) -> Failure:
    """As `refusal` for `check_phone_number`: of a reading, only words that we know are final."""
    known = answer.says("INVALID PHONE NUMBER") or answer.says("NOT A VALID CALL TIME")
    failure = refusal(answer, "check_phone_number")
    return failure if failure.code != "error" or known else unreadable("check_phone_number")


def unreadable(function: str) -> Failure:
    """An answer that means nothing to us: it may or may not have happened."""
    return Failure(FailureKind.UNKNOWN, f"unreadable answer to {function}", "unreadable")


def _words(line: str, function: str) -> str:
    """The phrase of a line without the function's name, which stands before some of them, and without the
    user's, which VICIdial puts inside some."""
    return re.sub(r"\bauth \S+ ", "", phrase_of(line)).removeprefix(f"{function} ")


@dataclass(frozen=True, slots=True)
class Version:
    """The answer to `function=version`, which needs no login."""

    version: str
    build: str
    """`YYMMDD-HHMM`, so that builds compare as text."""
    server_time: datetime
    """From EPOCH, UTC; DATE is the server's local time."""


def read_version(line: str) -> Version | None:
    """None where the fixed shape of section 2.2 is not met."""
    parts = dict(re.findall(r"([A-Z]+): ([^|]*)\|", line))
    build, epoch = parts.get("BUILD", ""), parts.get("EPOCH", "")
    if not re.fullmatch(r"[0-9]{6}-[0-9]{4}", build) or not re.fullmatch(r"[0-9]{9,11}", epoch):
        return None
    return Version(parts.get("VERSION", ""), build, datetime.fromtimestamp(int(epoch), UTC))


def read_campaigns(body: str) -> dict[str, bool] | None:
    """`campaigns_list` (pipe form, with header): campaign id -> active; None where the header is missing."""
    lines = body.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith("campaign_id|")), None)
    if start is None or not body.endswith("\n"):
        return None
    rows = (line.split("|") for line in lines[start + 1 :] if "|" in line)
    return {row[0]: row[2] == "Y" for row in rows if len(row) > 2 and row[0]}


def read_leads(answer: Answer) -> dict[str, tuple[list[str], int]]:
    """`lead_search`: phone -> (lead ids, how many VICIdial says it found)."""
    found: dict[str, tuple[list[str], int]] = {}
    for line in answer.lines:
        match = re.match(r"([0-9]+)\|([0-9]+)\|([0-9-]*)", line)
        if match:
            found[match[1]] = ([lead for lead in match[3].split("-") if lead], int(match[2]))
    return found
