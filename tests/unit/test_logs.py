"""Logs: whatever is logged, however, by whomever, no number and no secret reaches the stream."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest
import structlog
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from dncsync import logs
from dncsync.redaction import REDACTED, Redactor
from log_capture import captured_logs

LIBRARIES = [
    "httpx",
    "apscheduler.scheduler",
    "urllib3.connectionpool",
    "simple_salesforce.api",
    "hubspot.crm",
]
LIBRARIES += ["uvicorn.error", "twilio.http_client", "dncsync.x", "py.warnings"]

# --- what must never appear --------------------------------------------------------------------------------

nanp = st.builds(
    lambda area, rest: (f"{area}", f"{rest // 10_000:03}", f"{rest % 10_000:04}"),
    st.integers(201, 989),
    st.integers(2_000_000, 9_999_999),
)
NOTATIONS: list[Callable[[str, str, str], str]] = [
    lambda a, b, c: f"+1{a}{b}{c}",
    lambda a, b, c: f"1{a}{b}{c}",
    lambda a, b, c: f"{a}{b}{c}",
    lambda a, b, c: f"({a}) {b}-{c}",
    lambda a, b, c: f"({a}){b}-{c}",
    lambda a, b, c: f"{a}-{b}-{c}",
    lambda a, b, c: f"{a}.{b}.{c}",
    lambda a, b, c: f"{a} {b} {c}",
    lambda a, b, c: f"+1 ({a}) {b}-{c}",
    lambda a, b, c: f"1-{a}-{b}-{c}",
    lambda a, b, c: f"001 {a} {b} {c}",
    lambda a, b, c: f"tel:+1-{a}-{b}-{c}",
    lambda a, b, c: f"%2B1{a}{b}{c}",
    lambda a, b, c: f"+1%20{a}%20{b}%20{c}",
    lambda a, b, c: f"{a}\N{NO-BREAK SPACE}{b}\N{NO-BREAK SPACE}{c}",
    lambda a, b, c: f"{a}\N{NON-BREAKING HYPHEN}{b}\N{EN DASH}{c}",
    lambda a, b, c: f"+44 20 {a}{b[0]} {c}",
    lambda a, b, c: f"+49 ({b[0]}){a}/{b}{c}",
    lambda a, b, c: f"{a}{b}{c} ext. 12",
    lambda a, b, c: "".join(chr(0xFF10 + int(d)) for d in f"{a}{b}{c}"),
]
numbers = st.builds(lambda parts, write: (parts, write(*parts)), nanp, st.sampled_from(NOTATIONS))
secrets = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=8, max_size=40
).filter(
    lambda s: not any(s in form for form in (REDACTED * 2, "\N{BULLET}" * 50)) and any(map(str.isalnum, s))
)


@dataclass
class Person:
    phone: str
    password: str


class Stubborn:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        raise ValueError(self.text)


def _raise(text: str) -> None:
    try:
        raise KeyError(text)
    except KeyError as inner:
        outer = ValueError(f"cannot use {text!r}")
        outer.add_note(f"seen in {text.encode()!r}")
        raise outer from inner


def by_event(text: str) -> None:
    structlog.get_logger("x").info(f"saw {text} there")


def by_value(text: str) -> None:
    structlog.get_logger("x").warning("saw", it=text, n=[text, (text,)], d={"a": {"b": {text: {text}}}})


def by_odd_value(text: str) -> None:
    values = {"b": text.encode(), "p": Person(text, text), "s": Stubborn(text), "e": ValueError(text)}
    structlog.get_logger("x").warning("saw", **values, deep=[[[[[[[[[[text]]]]]]]]]])


def by_key(text: str) -> None:
    structlog.get_logger("x").warning("saw", **{text: 1})


def by_spelling(text: str) -> None:
    said = f"{text!r} {text!a} {quote(text)} {json.dumps(text)} {json.dumps([text], ensure_ascii=False)}"
    structlog.get_logger("x").warning(said, url=f"https://h.example/a?p={quote(text, safe='')}&x=1")


def by_context(text: str) -> None:
    with structlog.contextvars.bound_contextvars(number=text):
        structlog.get_logger("x").warning("saw")


def by_exception(text: str) -> None:
    try:
        _raise(text)
    except ValueError:
        structlog.get_logger("x").exception("failed")


def by_group(text: str) -> None:
    structlog.get_logger("x").error("failed", exc_info=ExceptionGroup(text, [ValueError(text)]))


def by_stack(text: str) -> None:
    structlog.get_logger("x").error("here", stack_info=True, said=text)


def by_library(text: str) -> None:
    for name in LIBRARIES:
        logging.getLogger(name).warning("GET %s %r", text, {"x": text})


def by_library_exception(text: str) -> None:
    try:
        _raise(text)
    except ValueError:
        logging.getLogger("urllib3.connectionpool").exception("retry of %s", text, stack_info=True)


def by_broken_library_call(text: str) -> None:
    logging.getLogger("hubspot").warning("%d calls of %s", text)


def by_extra(text: str) -> None:
    logging.getLogger("httpx").warning("call", extra={"phone": text})


def by_warning(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"odd value {text}", stacklevel=1)


def by_uncaught(text: str) -> None:
    try:
        _raise(text)
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
        threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, None)))


WAYS = [
    by_event,
    by_value,
    by_odd_value,
    by_key,
    by_spelling,
    by_context,
    by_exception,
    by_group,
    by_stack,
    by_library,
    by_library_exception,
    by_broken_library_call,
    by_extra,
    by_warning,
    by_uncaught,
]


def digits_in_rows(text: str) -> list[str]:
    """The digits that a reader could take for one number, whatever stands between them but letters, masks and
    line breaks; escapes and full-width ones undone."""
    for escape in (r"\xa0", r"\u2011", r"\u2013", r"\xc2\xa0", r"\xe2\x80\x91", r"\xe2\x80\x93"):
        text = text.replace(escape, " ")
    rows = re.split(r"[^\W\d]|[\n\N{BULLET}]", text)
    return ["".join(str(int(c)) for c in row if c.isdecimal()) for row in rows]


@pytest.mark.parametrize("format", ["json", "console"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@given(number=numbers)
@settings(max_examples=20)
def test_no_number_reaches_the_log(
    way: Callable[[str], None], format: logs.Format, number: tuple[tuple[str, str, str], str]
) -> None:
    (_, exchange, line), written = number
    with captured_logs("debug", format) as stream:
        way(written)
    text = stream.getvalue()
    assert text
    assert written not in text
    assert not any(f"{exchange}{line}" in row for row in digits_in_rows(text))


@pytest.mark.parametrize("format", ["json", "console"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@given(secret=secrets)
@settings(max_examples=20)
def test_no_secret_reaches_the_log(way: Callable[[str], None], format: logs.Format, secret: str) -> None:
    with captured_logs("debug", format) as baseline:
        way("-")
    with captured_logs("debug", format, [secret]) as stream:
        way(f"a{secret}b")
        way(secret)
    text = stream.getvalue()
    assert text
    for spelled in {
        secret,
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        repr(secret.encode())[2:-1],
        quote(secret),
    }:
        if spelled not in baseline.getvalue():  # such as a secret that is the word "information"
            assert spelled not in text


# --- what must stay readable --------------------------------------------------------------------------------


def test_a_record_is_one_json_object_with_utc_time_level_logger_and_our_own_ids() -> None:
    uuid = UUID("0192f0c1-7a2b-7c3d-8e4f-123456789012")
    at = datetime(2026, 11, 23, 15, 0, 0, 123456, UTC)
    with captured_logs() as stream:
        structlog.get_logger("x").info(
            "sent",
            request=str(uuid),
            ref=uuid,
            at=at,
            seq=123456789,
            count=12,
            ok=True,
            took=timedelta(seconds=2),
        )
        logging.getLogger("dncsync.y").info("from %s", "logging")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert datetime.fromisoformat(first["timestamp"]).utcoffset() == timedelta(0)
    assert (first["level"], first["event"]) == ("info", "sent")
    assert first["request"] == first["ref"] == str(uuid)
    assert first["at"] == "2026-11-23T15:00:00.123456+00:00"
    assert (first["seq"], first["count"], first["ok"], first["took"]) == (123456789, 12, True, 2.0)
    assert (second["logger"], second["event"]) == ("dncsync.y", "from logging")


def test_an_int_that_is_a_number_is_masked_and_one_that_is_not_stays_an_int() -> None:
    shown = Redactor().value({"phone": 3125550199, "f": 3125550199.0, "status": 503, "took": 0.25})
    assert shown == {
        "phone": "312\N{BULLET}\N{BULLET}\N{BULLET}\N{BULLET}\N{BULLET}99",
        "f": shown["f"],
        "status": 503,
        "took": 0.25,
    }
    assert "5550199" not in str(shown["f"])


@pytest.mark.parametrize(
    "value", [2**70, "lone \ud800 surrogate", float("nan"), object(), {1: {(2, 3): b"x"}}]
)
def test_what_json_cannot_hold_is_still_a_line(value: object) -> None:
    with captured_logs() as stream:
        structlog.get_logger("x").info("odd", value=value)
    assert json.loads(stream.getvalue())["event"] == "odd"


def test_a_cycle_is_still_a_line() -> None:
    knot: dict[str, Any] = {}
    knot["knot"] = knot
    with captured_logs() as stream:
        structlog.get_logger("x").info("odd", value=knot)
    assert json.loads(stream.getvalue())["event"] == "odd"


@pytest.mark.parametrize("format", ["json", "console"])
def test_nobody_forges_a_line_or_moves_the_cursor(format: logs.Format) -> None:
    with captured_logs("info", format) as stream:
        structlog.get_logger("x").info("said\nforged", words="a\r\nb\x1b[2Jc\x85d\u2028e")
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert not any(c in text[:-1] for c in "\r\x1b\x85\u2028") or format == "json"
    assert "\x1b" not in text
    assert "forged" in text


def test_a_console_line_is_readable_and_its_traceback_follows() -> None:
    with captured_logs("info", "console") as stream:
        try:
            raise ValueError("no reading of +13125550199")
        except ValueError:
            structlog.get_logger("x").exception("boom", system="crm", said="two words")
    head, *rest = stream.getvalue().splitlines()
    assert " error    boom  system=crm said='two words'" in head
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1].startswith("ValueError: no reading of +1312\N{BULLET}")


def test_levels_hold_for_ours_and_for_libraries() -> None:
    with captured_logs("info") as stream:
        structlog.get_logger("x").debug("no")
        logging.getLogger("httpx").info("no")
        logging.getLogger("httpx").warning("yes")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["yes"]
    with captured_logs("debug") as stream:
        structlog.get_logger("x").debug("yes")
        logging.getLogger("httpx").info("yes")
        logging.getLogger("httpcore.http11").debug("no")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["yes", "yes"]


def test_a_library_that_brought_its_own_handler_is_heard_through_ours() -> None:
    logger = logging.getLogger("simple_salesforce.own")
    logger.addHandler(own := logging.StreamHandler(sys.stderr))
    logger.propagate = False
    with captured_logs() as stream:
        logger.warning("saw +13125550199")
    assert own not in logger.handlers
    assert "saw +1312\N{BULLET}" in stream.getvalue()


def test_real_calls_of_the_libraries_show_no_query_in_clear() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    with captured_logs("debug", secrets=["hunter2-hunter2"]) as stream:
        with httpx.Client(transport=transport) as client:
            client.get("https://dialer.example/api?phone=3125550199&pass=hunter2-hunter2")
        with pytest.raises(urllib3.exceptions.MaxRetryError):
            urllib3.PoolManager(retries=1).request("GET", "http://127.0.0.1:1/x?phone=3125550199")
    text = stream.getvalue()
    assert "HTTP Request" in text
    assert "Retrying" in text
    assert "5550199" not in text
    assert "hunter2" not in text


def test_a_record_that_cannot_be_formatted_is_not_shown_raw(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with captured_logs() as stream:
        logging.getLogger("hubspot").warning("%d calls of %s", "+13125550199")
    line = json.loads(stream.getvalue())
    assert line["event"] == "a log record could not be written"
    assert line["error"] == "TypeError"
    assert line["where"].startswith("test_logs:")
    assert capsys.readouterr().err == ""


def test_a_closed_stream_disturbs_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    with captured_logs() as stream:
        stream.close()
        structlog.get_logger("x").info("saw +13125550199")
    assert "5550199" not in capsys.readouterr().err


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="one of debug, info"):
        logs.configure("loud")


def test_a_traceback_keeps_what_helps() -> None:
    with pytest.raises(ValueError, match="cannot use") as caught:
        _raise("+13125550199")
    shown = Redactor().traceback(caught.value)
    assert "direct cause" in shown
    assert "in _raise" in shown
    assert "5550199" not in shown
