"""A complete small connector for the toy vendor, in both units. It keeps every rule of the conformance kit.

Its steps are small methods, so that `toy_breaks` can break each rule by overriding one of them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import SecretStr

from dncsync.clock import to_micros
from dncsync.connector import (
    Capabilities,
    Change,
    Connector,
    Context,
    Failure,
    FailureKind,
    FieldCheck,
    FieldStatus,
    Limit,
    Look,
    Looked,
    Page,
    Plugin,
    Probe,
    ProbeCheck,
    Says,
    Statement,
    SystemSettings,
    Unit,
    VendorError,
    Webhook,
    WebhookRefused,
    WebhookRequest,
    Written,
)
from dncsync.model import Channel, Flag, Holding, Role

if TYPE_CHECKING:
    import httpx

    from dncsync.testing.sandbox import Sandbox

PAGE = 50
OVERLAP = 10_000_000
"""Microseconds; twice the vendor's longest lag."""
LIMITS = (Limit("calls", 100, 10.0),)
LONGEST_BODY = 100_000


class ToySettings(SystemSettings):
    """What an admin of the toy vendor configures."""

    vendor: Literal["toy"]
    user: str
    variant: Literal["record", "number"]
    secret: SecretStr
    signing_key: SecretStr


class ToyConnector:
    """One toy account."""

    limits: Sequence[Limit] = LIMITS
    hold_on_429 = True

    def __init__(self, settings: Any, context: Context) -> None:
        self.settings = settings
        self.clock = context.clock
        self.url = settings.base_url
        self.capabilities = self.declare()
        self.door = context.open_door(
            allowed=("api.toy.example",),
            limits=self.limits,
            reroute={"https://api.toy.example": self.url},
            hold_on_429=self.hold_on_429,
        )
        self.token = ""

    def declare(self) -> Capabilities:
        return Capabilities(
            unit=Unit(self.settings.variant),
            role=Role.CRM,
            channels=frozenset(Channel),
            has_webhooks=True,
            write_batch=40,
            read_batch=50,
            limits=LIMITS,
        )

    # --- the wire ------------------------------------------------------------------------------------------

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.door.request(method, f"https://api.toy.example{path}", headers=headers, **options)

    def login(self) -> None:
        answer = self.send("POST", "/login", json={"secret": self.secret_text("secret")})
        if not answer.is_success:
            raise VendorError(self.failure_of(answer))
        self.token = str(self.body_of(answer)["token"])

    def secret_text(self, name: str) -> str:
        return str(getattr(self.settings, name).get_secret_value())

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One call, logged in; a refused token is renewed once. Raises `VendorError` unless 2xx."""
        if not self.token:
            self.login()
        answer = self.send(method, path, **options)
        if answer.status_code == 401:
            self.login()
            answer = self.send(method, path, **options)
        if not answer.is_success:
            raise VendorError(self.failure_of(answer))
        return answer

    def failure_of(self, answer: httpx.Response) -> Failure:
        """The kind by status; the vendor's words may name people, so they are not repeated."""
        from dncsync.http import failure_of

        return failure_of(answer)

    def body_of(self, answer: httpx.Response) -> Any:
        try:
            body = answer.json()
        except ValueError:
            raise self.unreadable(answer) from None
        if not isinstance(body, dict):
            raise self.unreadable(answer)
        return body

    def unreadable(self, answer: httpx.Response) -> VendorError:
        return VendorError(Failure(FailureKind.UNKNOWN, "the answer is not the JSON object it should be"))

    # --- reading -------------------------------------------------------------------------------------------

    def keys_for(self, number: str) -> tuple[str, ...]:
        return () if self.capabilities.unit is Unit.RECORD else (f"main/{number}",)

    def flag(self, row: Mapping[str, Any], channel: Channel) -> Flag:
        if channel not in row:
            return Flag.ABSENT
        return Flag.SET if row[channel] else Flag.CLEAR

    def holding(self, row: Mapping[str, Any]) -> Holding:
        flags = {channel: self.flag(row, channel) for channel in self.capabilities.channels}
        return Holding(str(row["key"]), flags, tuple(row["numbers"]), revision=str(row["version"]))

    def snapshot(self, cursor: str | None) -> Iterator[Page]:
        count, _, after = (cursor or "0|").partition("|")
        seen = int(count)
        while True:
            body = self.body_of(self.call("GET", "/rows", params={"after": after, "limit": PAGE}))
            rows = body["rows"]
            self.look_at_order(rows, after)
            seen += len(rows)
            after = rows[-1]["key"] if rows else after
            more = len(rows) == PAGE
            if not more:
                self.look_at_total(seen, body["total"])
            yield self.page(rows, f"{seen}|{after}", more)
            if not more:
                return

    def page(self, rows: Sequence[Mapping[str, Any]], cursor: str, more: bool) -> Page:
        return Page(tuple(self.holding(row) for row in rows), cursor, more)

    def look_at_order(self, rows: Sequence[Mapping[str, Any]], after: str) -> None:
        if rows and rows[0]["key"] <= after:
            raise VendorError(Failure(FailureKind.TRANSIENT, "the listing repeats a page"))

    def look_at_total(self, seen: int, total: int) -> None:
        if seen < total:
            raise VendorError(Failure(FailureKind.TRANSIENT, f"the listing ended at {seen} of {total}"))

    def changes(self, cursor: str | None) -> Iterator[Page]:
        state: dict[str, Any] = (
            json.loads(cursor) if cursor else {"at": self.floor(self.now()), "key": "", "began": None}
        )
        began = state["began"] if state["began"] is not None else self.now()
        at, key = state["at"], state["key"]
        while True:
            rows = self.feed(at, key)
            if rows:
                at, key = rows[-1]["at"], rows[-1]["key"]
            more = len(rows) == PAGE
            yield self.page(rows, self.cursor_after(at, key, began, more), more)
            if not more:
                return

    def now(self) -> int:
        return to_micros(self.clock.now())

    def floor(self, began: int) -> int:
        """Rows changed before this are surely visible to a poll that began then."""
        return began - OVERLAP

    def feed(self, at: int, key: str) -> list[dict[str, Any]]:
        params = {"since": at, "after": key, "limit": PAGE}
        rows: list[dict[str, Any]] = self.body_of(self.call("GET", "/changes", params=params))["rows"]
        return rows

    def cursor_after(self, at: int, key: str, began: int, more: bool) -> str:
        if more:
            return json.dumps({"at": at, "key": key, "began": began})
        return json.dumps({"at": self.floor(began), "key": "", "began": None})

    def rows_of(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.body_of(self.call("POST", "/read", json={"keys": keys}))["rows"]
        return rows

    def read(self, keys: Sequence[str]) -> Iterator[Looked]:
        if len(keys) > self.capabilities.read_batch:
            raise ValueError("more keys than read_batch")
        rows = {row["key"]: row for row in self.rows_of(list(keys))}
        for key in keys:
            yield self.looked(key, rows.get(key))

    def looked(self, key: str, row: Mapping[str, Any] | None) -> Looked:
        return Looked(key, Holding(key, {}, gone=True) if row is None else self.holding(row))

    def find(self, number: str) -> Iterator[Looked]:
        for row in self.body_of(self.call("GET", "/find", params={"number": number}))["rows"]:
            yield Looked(row["key"], self.holding(row))

    # --- writing -------------------------------------------------------------------------------------------

    def write(self, changes: Sequence[Change]) -> Iterator[Written]:
        if len(changes) > self.capabilities.write_batch:
            raise ValueError("more changes than write_batch")
        yield from self.write_all(changes)

    def write_all(self, changes: Sequence[Change]) -> Iterable[Written]:
        items = [self.item(change) for change in changes]
        try:
            results = self.results_of(self.post(items))
        except VendorError as error:
            return [Written(change.key, failure=error.failure) for change in changes]
        return [self.written(change.key, results.get(change.key)) for change in changes]

    def item(self, change: Change) -> dict[str, Any]:
        return {"key": change.key, **{c: flag is Flag.SET for c, flag in change.wants.items()}}

    def post(self, items: Sequence[Mapping[str, Any]]) -> httpx.Response:
        return self.call("POST", "/write", json={"items": items})

    def results_of(self, answer: httpx.Response) -> dict[str, dict[str, Any]]:
        return {result["key"]: result for result in self.body_of(answer)["results"]}

    def written(self, key: str, result: Mapping[str, Any] | None) -> Written:
        if result is None:
            return Written(key, failure=Failure(FailureKind.UNKNOWN, "the answer leaves this item out"))
        if not result["ok"]:
            words = re.sub(r"\+?\d[\d\s().-]{5,}\d", "[number]", str(result["error"]))
            return Written(key, failure=Failure(FailureKind.REJECTED, words))
        return Written(key)

    # --- webhooks ------------------------------------------------------------------------------------------

    def parse_webhook(self, request: WebhookRequest) -> Webhook:
        stamp = request.headers.get("x-toy-timestamp", "")
        self.look_at_proof(request, stamp)
        self.look_at_age(request, stamp)
        events = self.events(request.body)
        signals = tuple(self.signal(event) for event in events)
        return Webhook(signals, nonce=self.nonce(request))

    def look_at_proof(self, request: WebhookRequest, stamp: str) -> None:
        text = f"{request.method}|{self.url_of(request)}|{stamp}|".encode() + request.body
        proof = hmac.new(self.secret_text("signing_key").encode(), text, hashlib.sha256).hexdigest()
        if not self.same(proof, request.headers.get("x-toy-signature", "")):
            raise WebhookRefused(401, "the signature does not fit")

    def url_of(self, request: WebhookRequest) -> str:
        return request.url

    def same(self, proof: str, given: str) -> bool:
        return hmac.compare_digest(proof.encode(), given.encode())

    def look_at_age(self, request: WebhookRequest, stamp: str) -> None:
        if abs(to_micros(request.received_at) - int(stamp)) > 300_000_000:
            raise WebhookRefused(401, "the webhook is stale")

    def events(self, body: bytes) -> list[dict[str, Any]]:
        if len(body) > LONGEST_BODY:
            raise WebhookRefused(413, "the body is too long")
        try:
            events = self.parsed(body)["events"]
            return [
                {"key": e["key"], "number": e["number"], "id": e["id"], "at": int(e["at"])} for e in events
            ]
        except (ValueError, TypeError, LookupError, RecursionError):
            raise WebhookRefused(400, "the body is not a list of events") from None

    def parsed(self, body: bytes) -> Any:
        return json.loads(body)

    def signal(self, event: Mapping[str, Any]) -> Look | Statement:
        if self.settings.variant == "record":
            return Look(str(event["key"]))
        at = datetime.fromtimestamp(event["at"] / 1_000_000, UTC)
        return Statement(str(event["id"]), str(event["number"]), Channel.SMS, at, "STOP", Says.STOP)

    def nonce(self, request: WebhookRequest) -> str:
        return request.headers["x-toy-signature"]

    # --- about the account ---------------------------------------------------------------------------------

    def describe(self) -> tuple[FieldCheck, ...]:
        fields = self.body_of(self.call("GET", "/schema"))["fields"]
        return tuple(self.field_check(channel, fields.get(channel)) for channel in sorted(Channel))

    def field_check(self, name: str, found: Mapping[str, Any] | None) -> FieldCheck:
        expected, mend = "boolean, writable", f"In Toy, Settings > Fields, make {name} a writable boolean"
        if found is None:
            return FieldCheck(name, FieldStatus.MISSING, expected, "nothing", mend)
        if self.retyped(found):
            return FieldCheck(name, FieldStatus.CHANGED, expected, str(found["type"]), mend)
        if self.read_only(found):
            return FieldCheck(name, FieldStatus.READ_ONLY, expected, "read-only", mend)
        return FieldCheck(name, FieldStatus.OK, expected, expected)

    def retyped(self, found: Mapping[str, Any]) -> bool:
        return bool(found["type"] != "boolean")

    def read_only(self, found: Mapping[str, Any]) -> bool:
        return not found["writable"]

    def probe(self) -> Probe:
        me = self.body_of(self.call("GET", "/me"))
        may_write = "write" in me["permissions"]
        mend = "" if may_write else "In Toy, Settings > Users, give this user the permission 'write'"
        return Probe(me["account"], (ProbeCheck("permission write", may_write, str(may_write), mend),))

    def close(self) -> None:
        self.door.close()


def connect(settings: SystemSettings, context: Context) -> Connector:
    """Makes no vendor call."""
    return ToyConnector(settings, context)


def record_sandbox() -> type[Sandbox]:
    from conformance.toy_sandbox import RecordSandbox

    return RecordSandbox


def list_sandbox() -> type[Sandbox]:
    from conformance.toy_sandbox import ListSandbox

    return ListSandbox


RECORD = Plugin("toy", ToySettings, connect, record_sandbox)
NUMBER = Plugin("toy", ToySettings, connect, list_sandbox)
