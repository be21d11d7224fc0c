"""The bench of the conformance kit: one connector, its sandbox and a virtual clock in one process.

A check gets a fresh `Bench`. Whatever the connector says through it (failures, refusals, log lines, calls on
the wire) is kept and searched for numbers and secrets when the bench is closed.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import httpx
import phonenumbers

from dncsync.clock import VirtualClock
from dncsync.connector import (
    Capabilities,
    Change,
    Connector,
    Context,
    Failure,
    Looked,
    Page,
    Plugin,
    SystemSettings,
    Unit,
    VendorError,
    WebhookRequest,
    Written,
)
from dncsync.http import HttpDoor, WireCall
from dncsync.model import Channel, Flag, Holding
from dncsync.testing.conformance_facts import Broken, Facts, NotApplicable
from dncsync.testing.conformance_wire import BenchTransport
from dncsync.testing.faults import Fault, FaultKind

URL = "http://sandbox.invalid"
"""Where the sandbox seems to be; nothing but the bench's transport can reach it."""
WEBHOOK_URL = "https://dnc.example.com/webhooks/under-test"
T = TypeVar("T")


class _LogCatcher(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(f"log {record.name}: {record.getMessage()}")


class Bench:
    """One connector over one fresh sandbox. Close it: that is when its words are searched."""

    def __init__(self, plugin: Plugin, facts: Facts) -> None:
        self.plugin = plugin
        self.facts = facts
        self.clock = VirtualClock()
        self.sandbox = plugin.sandbox()(
            seed=facts.seed, contacts=facts.contacts, clock=self.clock, **facts.options
        )
        self.faults = self.sandbox.faults
        self.transport = BenchTransport(self.sandbox, self.clock)
        self.said: list[str] = []
        """Everything that a person or a log may come to see."""
        self.doors: list[Mapping[str, Any]] = []
        """The options with which the connector opened its doors."""
        self.opened: list[HttpDoor] = []
        config, self.secrets = self.sandbox.settings(URL)
        self.config = {**config, **facts.config}
        self._log = _LogCatcher(self.said)
        self._log_level = logging.getLogger().level
        logging.getLogger().addHandler(self._log)
        logging.getLogger().setLevel(logging.DEBUG)
        self._closing = contextlib.ExitStack()
        self.connector = self.connect()

    # --- building ---------------------------------------------------------------------------------------

    def settings(self, **more: Any) -> SystemSettings:
        """The sandbox's configuration and secrets as the plugin's own type."""
        return self.plugin.settings.model_validate({**self.config, **self.secrets, **more})

    def connect(self) -> Connector:
        """A connector that knows nothing of earlier ones: what is left after a restart."""
        context = Context(system="under-test", clock=self.clock, open_door=self._open_door)
        connector: Connector = self.plugin.connect(self.settings(), context)
        self._closing.callback(connector.close)
        return connector

    def restart(self) -> None:
        """Kills the connector in hand and connects anew."""
        self.connector = self.connect()

    def another(self) -> Bench:
        """A fresh world of the same making, closed together with this one."""
        bench = Bench(self.plugin, self.facts)
        self._closing.callback(bench.close)
        return bench

    def _open_door(self, **options: Any) -> HttpDoor:
        self.doors.append(options)
        door = HttpDoor(
            "under-test", clock=self.clock, transport=self.transport, observe=self._observe, **options
        )
        self.opened.append(door)
        return door

    def _observe(self, call: WireCall) -> None:
        self.said.append(f"wire call {call.method} {call.route} {dict(call.notices)}")

    def close(self) -> None:
        """Lets go of everything. Raises `Broken` when a number or a secret was shown to anybody."""
        try:
            self._closing.close()
        finally:
            logging.getLogger().removeHandler(self._log)
            logging.getLogger().setLevel(self._log_level)
        self.search_what_was_said()

    def search_what_was_said(self) -> None:
        """Raises `Broken` for the first number or secret in a message, a log line or a wire record."""
        numbers = {national(n) for n in self.sandbox.numbers(self.facts.contacts)}
        secrets = [secret for secret in self.secrets.values() if len(secret) >= 6]
        for line in self.said:
            digits = re.sub(r"\D", "", line)
            if any(digits[i : i + 10] in numbers for i in range(len(digits) - 9)):
                raise Broken(f"a phone number is shown: {line!r}")
            if any(secret in line for secret in secrets):
                raise Broken(f"a secret is shown: {line!r}")

    # --- the sandbox's truth ----------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        return self.connector.capabilities

    @property
    def is_record(self) -> bool:
        return self.capabilities.unit is Unit.RECORD

    def numbers(self) -> list[str]:
        """All seeded numbers, E.164."""
        return self.sandbox.numbers(self.facts.contacts)

    def truth(self, number: str) -> dict[tuple[str, Channel], Flag]:
        """(key, channel) -> what the vendor really holds."""
        return {(t.key, t.channel): t.flag for t in self.sandbox.truth(number)}

    def set_in_truth(self, number: str) -> set[tuple[str, Channel]]:
        """The keys and channels under which a number is really suppressed."""
        return {place for place, flag in self.truth(number).items() if flag is Flag.SET}

    def keys(self, number: str) -> tuple[str, ...]:
        """The keys that a number's block is written to."""
        if not self.is_record:
            return self.connector.keys_for(number)
        return tuple(dict.fromkeys(key for key, _ in self.truth(number)))

    def pick(self, count: int, *, opted_out: bool) -> list[str]:
        """Seeded numbers, all or none of whose holdings are set, and no two with a key in common."""
        picked: list[str] = []
        used: set[str] = set()
        for number in self.numbers():
            truth, keys = self.truth(number), set(self.keys(number))
            if opted_out:
                fits = bool(truth) and all(flag is Flag.SET for flag in truth.values())
                keys = {key for key, _ in truth}
            else:
                fits = bool(keys) and all(flag is Flag.CLEAR for flag in truth.values())
            if fits and not keys & used:
                picked.append(number)
                used |= keys
            if len(picked) == count:
                return picked
        raise Broken(
            f"the sandbox has only {len(picked)} of {count} seeded numbers that are "
            f"{'opted out' if opted_out else 'not opted out'}; see its option opted_out_share"
        )

    def unknown_key(self) -> str:
        """A well-formed key that no record has."""
        if self.facts.unknown_key:
            return self.facts.unknown_key
        key = self.keys(self.pick(1, opted_out=False)[0])[0]
        head, tail = key[: len(key) // 2], key[len(key) // 2 :]
        return head + re.sub(r"\d", "9", tail)

    # --- what the engine would do -----------------------------------------------------------------------

    def wants(self, flag: Flag) -> dict[Channel, Flag]:
        return dict.fromkeys(sorted(self.capabilities.channels), flag)

    def change(self, key: str, flag: Flag = Flag.SET) -> Change:
        return Change(
            key=key,
            wants=self.wants(flag),
            request_id="req-00000001",
            source="conformance",
            requested_at=self.clock.now(),
        )

    def write(self, changes: Sequence[Change]) -> dict[str, Written]:
        """One answer per change, or `Broken`. A `VendorError` answers those that were still open."""
        self.clock.advance(1)
        asked = [change.key for change in changes]
        answers: dict[str, Written] = {}
        failure = self._gather("write", lambda: self.connector.write(changes), asked, answers)
        return self._complete("write", asked, answers, failure, lambda k, f: Written(k, failure=f))

    def read(self, keys: Sequence[str]) -> dict[str, Looked]:
        """One answer per key, or `Broken`. A `VendorError` answers those that were still open."""
        self.clock.advance(1)
        answers: dict[str, Looked] = {}
        failure = self._gather("read", lambda: self.connector.read(keys), keys, answers)
        return self._complete("read", keys, answers, failure, lambda k, f: Looked(k, failure=f))

    def settle(self) -> None:
        """Waits until a read-back means something."""
        self.clock.advance(self.capabilities.read_after + 1)

    def pages(self, operation: str, cursor: str | None) -> Iterator[Page]:
        """`snapshot` or `changes`, with the shape of each page looked at."""
        self.clock.advance(1)
        ended = False
        for page in self.guard(operation, lambda: getattr(self.connector, operation)(cursor)):
            if ended:
                raise Broken(f"{operation} went on after a page with more=False")
            if not isinstance(page.cursor, str) or not page.cursor:
                raise Broken(f"{operation} yielded a page without a cursor to go on from")
            ended = not page.more
            yield page

    def every_page(self, operation: str, cursor: str | None = None, *, most: int = 2000) -> list[Page]:
        """All pages up to the end. `Broken` when there is no end or the last page says there is more."""
        pages: list[Page] = []
        for page in self.pages(operation, cursor):
            pages.append(page)
            if len(pages) > most:
                raise Broken(f"{operation} does not end: {most} pages and still going")
        if not pages:
            raise Broken(f"{operation} yielded no page at all; an empty one still carries the cursor")
        if pages[-1].more:
            raise Broken(f"{operation} stopped without an error on a page that says more=True")
        return pages

    def guard(self, operation: str, iterate: Callable[[], Iterable[T]]) -> Iterator[T]:
        """Yields what an operation yields; its failures are kept, and any other exception is `Broken`."""
        try:
            yield from iterate()
        except VendorError as error:
            self.heard(error.failure)
            raise
        except (Broken, NotApplicable, GeneratorExit):
            raise
        except Exception as error:
            raise Broken(
                f"{operation} raised {type(error).__name__}: {error}; only VendorError may be raised"
            ) from error

    def heard(self, failure: Failure) -> None:
        """Keeps a failure's words."""
        self.said.append(f"failure {failure.kind} {failure.code} {failure.message}")

    def _gather(
        self,
        operation: str,
        results: Callable[[], Iterable[Any]],
        asked: Sequence[str],
        answers: dict[str, Any],
    ) -> Failure | None:
        try:
            for result in self.guard(operation, results):
                if result.key not in asked:
                    raise Broken(f"{operation} answered a key that was not asked for: {result.key!r}")
                if result.key in answers:
                    raise Broken(f"{operation} answered the key {result.key!r} twice")
                if result.failure is not None:
                    self.heard(result.failure)
                answers[result.key] = result
        except VendorError as error:
            return error.failure
        return None

    def _complete(
        self,
        operation: str,
        asked: Sequence[str],
        answers: dict[str, T],
        failure: Failure | None,
        failed: Callable[[str, Failure], T],
    ) -> dict[str, T]:
        for key in asked:
            if key not in answers:
                if failure is None:
                    raise Broken(f"{operation} never answered the key {key!r}; silence is not an answer")
                answers[key] = failed(key, failure)
        return answers

    # --- faults and webhooks -----------------------------------------------------------------------------

    def fault(self, kind: FaultKind, **more: Any) -> Fault:
        """Switches a fault on, with the parameters that this sandbox needs."""
        return self.faults.add(kind, **{**self.facts.fault_params.get(kind, {}), **more})

    def must_be_honoured(self, kind: FaultKind) -> None:
        """Raises `NotApplicable` when the sandbox never even looked at that fault."""
        if kind not in self.faults.consulted:
            raise NotApplicable(f"this sandbox has no fault {kind}")

    def webhooks(self) -> list[WebhookRequest]:
        """What the sandbox sends now, as our listener would hand it over."""
        caught: list[WebhookRequest] = []

        def listener(request: httpx.Request) -> httpx.Response:
            headers = {name.lower(): value for name, value in request.headers.items()}
            caught.append(
                WebhookRequest(
                    method=request.method,
                    url=str(request.url),
                    headers=headers,
                    body=request.read(),
                    received_at=self.clock.now(),
                )
            )
            return httpx.Response(200)

        with httpx.Client(transport=httpx.MockTransport(listener)) as client:
            for _ in range(self.facts.polls):
                self.sandbox.deliver_webhooks(client)
                if caught:
                    break
                self.clock.advance(5)
        return caught


# --- words the checks share ----------------------------------------------------------------------------


def national(number: str) -> str:
    """The last ten digits: how a number is recognised in a text."""
    return re.sub(r"\D", "", number)[-10:]


def e164(raw: str, region: str = "US") -> str | None:
    """A phone value as E.164; None for junk and for values with an extension."""
    try:
        parsed = phonenumbers.parse(raw, region)
    except phonenumbers.NumberParseException:
        return None
    if parsed.extension or not phonenumbers.is_possible_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def holdings_by_key(pages: Iterable[Page]) -> dict[str, Holding]:
    """The last word of some pages on each key."""
    return {holding.key: holding for page in pages for holding in page.holdings}
