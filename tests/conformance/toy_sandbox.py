"""A toy vendor that is small and nasty: rows become visible late, listings lie, errors quote numbers.

Two makes of one protocol: `RecordSandbox` keeps people with several phone values, `ListSandbox` a plain
do-not-contact list whose entries come and go.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from werkzeug.wrappers import Request, Response

from conformance.toy_vendor import connect
from dncsync.clock import to_micros
from dncsync.connector import Connector, Context, SystemSettings
from dncsync.model import Channel, Flag
from dncsync.testing.faults import FaultKind
from dncsync.testing.sandbox import OutgoingWebhook, Sandbox, Truth, json_response, seeded_number

SECRET = "toy-secret-9d41c7"
SIGNING = "toy-signing-key-77ab"
LONGEST_LAG = 5.0
"""Seconds until a changed row is surely visible in the change feed."""
CALLS, WINDOW = 100, 10.0
NEW: Mapping[str, bool] = {"voice": False, "sms": False}


@dataclass(frozen=True)
class Row:
    """One person, or one entry."""

    key: str
    numbers: tuple[str, ...]
    flags: Mapping[str, bool] = field(default_factory=lambda: dict(NEW))
    before: Mapping[str, bool] = field(default_factory=lambda: dict(NEW))
    modified: int = 0
    version: int = 1

    @property
    def on_the_list(self) -> bool:
        return any(self.flags.values())


class ToySandbox(Sandbox):
    """What both makes have in common: log-in, limits, listing, changes, read, write, schema, webhooks."""

    vendor = "toy"
    variant: ClassVar[str]

    def __init__(self, *, opted_out_share: float = 0.02, **options: Any) -> None:
        super().__init__(**options)
        self.rows: dict[str, Row] = {}
        self.tokens: set[str] = set()
        self.taken: list[float] = []
        self.events = 0
        for index in range(self.contacts):
            self._seed(index, index * 7919 % 1000 < opted_out_share * 1000)
        for rule, handler, methods in (
            ("/login", self._login, ("POST",)),
            ("/me", self._me, ("GET",)),
            ("/schema", self._schema, ("GET",)),
            ("/rows", self._list, ("GET",)),
            ("/changes", self._changes, ("GET",)),
            ("/find", self._find, ("GET",)),
            ("/read", self._read, ("POST",)),
            ("/write", self._write, ("POST",)),
        ):
            self.route(rule, handler, methods)

    # --- the store --------------------------------------------------------------------------------------

    def _seed(self, index: int, opted_out: bool) -> None:
        raise NotImplementedError

    def row_of_a_new(self, key: str) -> Row | None:
        """The row that a write to an unknown key makes; None: the key is refused."""
        raise NotImplementedError

    def keys_of(self, number: str) -> list[str]:
        raise NotImplementedError

    def change(self, key: str, flags: Mapping[str, bool]) -> None:
        row = self.rows[key]
        merged = {**row.flags, **flags}
        if merged != row.flags:
            self.rows[key] = replace(
                row, flags=merged, before=row.flags, modified=self.now(), version=row.version + 1
            )

    def now(self) -> int:
        return to_micros(self.clock.now())

    def settings(self, url: str) -> tuple[dict[str, Any], dict[str, str]]:
        table = {"vendor": "toy", "base_url": url, "user": "toy", "variant": self.variant}
        return table, {"secret": SECRET, "signing_key": SIGNING}

    def truth(self, number: str) -> list[Truth]:
        return [
            Truth(key, Channel(channel), Flag.SET if on else Flag.CLEAR)
            for key in self.keys_of(number)
            for channel, on in self.rows[key].flags.items()
        ]

    def opt_out(self, number: str, **how: Any) -> str:
        keys = self.keys_of(number) or [self.add_contact([number])]
        for key in keys:
            self.change(key, {"voice": True, "sms": True})
            self.events += 1
            self._send({"id": f"e{self.events}", "key": key, "number": number, "at": self.now()})
        return keys[0]

    def undo(self, number: str, **how: Any) -> str:
        for key in self.keys_of(number):
            self.change(key, NEW)
        return self.keys_of(number)[0]

    # --- webhooks -----------------------------------------------------------------------------------------

    def _send(self, event: Mapping[str, Any]) -> None:
        if self.webhook_url:
            body = json.dumps({"events": [event]}).encode()
            headers = self.sign("POST", self.webhook_url, body)
            self.send_webhook(OutgoingWebhook("POST", self.webhook_url, headers, body))

    def sign(self, method: str, url: str, body: bytes) -> dict[str, str]:
        """The headers of an authentic webhook."""
        at = str(self.now())
        text = f"{method}|{url}|{at}|".encode() + body
        proof = hmac.new(SIGNING.encode(), text, hashlib.sha256).hexdigest()
        return {"x-toy-timestamp": at, "x-toy-signature": proof, "content-type": "application/json"}

    # --- the wire -----------------------------------------------------------------------------------------

    def before(self, request: Request) -> Response | None:
        now = self.clock.monotonic()
        self.taken = [t for t in self.taken if t > now - WINDOW]
        if len(self.taken) >= CALLS:
            return json_response({"error": "slow down"}, 429, {"Retry-After": "3"})
        self.taken.append(now)
        if request.path == "/login":
            return None
        if self.faults.take(FaultKind.EXPIRED_TOKEN):
            return json_response({"error": "token expired"}, 401)
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return json_response({"error": "log in first"}, 401)
        return None

    def _login(self, request: Request) -> Response:
        if json.loads(request.get_data()).get("secret") != SECRET:
            return json_response({"error": "wrong secret"}, 401)
        self.tokens.add(token := f"token-{len(self.tokens)}")
        return json_response({"token": token})

    def _me(self, request: Request) -> Response:
        lost = self.faults.active(FaultKind.LOST_PERMISSION) is not None
        return json_response({"account": "toy-1", "permissions": ["read"] if lost else ["read", "write"]})

    def _lost_fields(self) -> set[str]:
        hidden = self.faults.active(FaultKind.HIDDEN_FIELD)
        renamed = self.faults.active(FaultKind.RENAMED_FIELD)
        return {"voice"} if hidden or renamed else set()

    def _schema(self, request: Request) -> Response:
        retyped = self.faults.active(FaultKind.RETYPED_FIELD) is not None
        read_only = self.faults.active(FaultKind.READ_ONLY_FIELD) is not None
        kind = "text" if retyped else "boolean"
        fields = {name: {"type": kind, "writable": not read_only} for name in set(NEW) - self._lost_fields()}
        return json_response({"fields": fields})

    def _shown(self, row: Row, flags: Mapping[str, bool]) -> dict[str, Any]:
        kept = {name: on for name, on in flags.items() if name not in self._lost_fields()}
        return {"key": row.key, "numbers": row.numbers, "version": row.version, "at": row.modified, **kept}

    def listed(self) -> list[Row]:
        return sorted(self.rows.values(), key=lambda row: row.key)

    def _list(self, request: Request) -> Response:
        rows = self.listed()
        given = rows
        if fault := self.faults.take(FaultKind.SHORT_LIST):
            given = rows[: int(len(rows) * float(fault.params.get("share", 0.5)))]
        after = "" if self.faults.take(FaultKind.REPEATED_PAGE) else request.args.get("after", "")
        page = [row for row in given if row.key > after][: int(request.args["limit"])]
        return json_response({"total": len(rows), "rows": [self._shown(row, row.flags) for row in page]})

    def _visible(self, row: Row) -> bool:
        lag = zlib.crc32(f"{row.key}{row.version}".encode()) % 1000 / 1000 * LONGEST_LAG
        if fault := self.faults.active(FaultKind.STALE_INDEX):
            lag += float(fault.params.get("seconds", 60))
        return row.modified + lag * 1_000_000 <= self.now()

    def _changes(self, request: Request) -> Response:
        since = (int(request.args["since"]), request.args.get("after", ""))
        rows = sorted(
            (row.modified, row.key) for row in self.rows.values() if row.modified and self._visible(row)
        )
        page = [self.rows[key] for at, key in rows if (at, key) > since][: int(request.args["limit"])]
        return json_response({"rows": [self._shown(row, row.flags) for row in page]})

    def _find(self, request: Request) -> Response:
        rows = [self.rows[key] for key in self.keys_of(request.args["number"])]
        return json_response({"rows": [self._shown(row, row.flags) for row in rows]})

    def _read(self, request: Request) -> Response:
        asked = json.loads(request.get_data())
        rows = [self.rows[key] for key in asked["keys"] if key in self.rows]
        from_index = bool(asked.get("indexed"))
        shown = [self._shown(r, r.before if from_index and not self._visible(r) else r.flags) for r in rows]
        return json_response({"rows": shown}, 207 if len(rows) < len(asked["keys"]) else 200)

    def _write(self, request: Request) -> Response:
        if self.faults.active(FaultKind.LOST_PERMISSION):
            return json_response({"error": "missing permission: write"}, 403)
        dropped = self.faults.take(FaultKind.DROPPED_WRITE)
        results = []
        for item in json.loads(request.get_data())["items"]:
            key = item.pop("key")
            error = self._refusal(key, item)
            if error is None and not dropped:
                self.change(key, item)
            results.append({"key": key, "ok": error is None, "error": error or ""})
        return json_response({"results": results})

    def _refusal(self, key: str, flags: Mapping[str, bool]) -> str | None:
        if self.faults.active(FaultKind.READ_ONLY_FIELD) or set(flags) & self._lost_fields():
            return "field cannot be written"
        if key not in self.rows:
            fresh = self.row_of_a_new(key)
            if fresh is None:
                return f"no row {key}, ask for another than +12015550123"
            self.rows[key] = fresh
        return None


class RecordSandbox(ToySandbox):
    """People; a write to an unknown key is refused."""

    variant = "record"

    def _seed(self, index: int, opted_out: bool) -> None:
        number = seeded_number(self.seed, index)
        shared = [seeded_number(self.seed, index - 1)] if index % 11 == 10 else []
        typed = f"({number[2:5]}) {number[5:8]}-{number[8:]}" if index % 2 else number
        flags = dict.fromkeys(NEW, opted_out)
        self.rows[f"p{index:06d}"] = Row(f"p{index:06d}", (typed, *shared), flags, flags)

    def row_of_a_new(self, key: str) -> Row | None:
        return None

    def keys_of(self, number: str) -> list[str]:
        typed = {number, f"({number[2:5]}) {number[5:8]}-{number[8:]}"}
        return [row.key for row in self.rows.values() if typed & set(row.numbers)]

    def add_contact(self, numbers: Iterable[str], **fields: Any) -> str:
        key = f"p{len(self.rows):06d}"
        self.rows[key] = Row(key, tuple(numbers), modified=self.now())
        return key


class ListSandbox(ToySandbox):
    """A list: an entry is there or not; a write makes it. Taken-off entries stay in the change feed."""

    variant = "number"

    def _seed(self, index: int, opted_out: bool) -> None:
        if opted_out:
            flags = dict.fromkeys(NEW, True)
            key = f"main/{seeded_number(self.seed, index)}"
            self.rows[key] = Row(key, (key.removeprefix("main/"),), flags, flags)

    def listed(self) -> list[Row]:
        return [row for row in super().listed() if row.on_the_list]

    def row_of_a_new(self, key: str) -> Row | None:
        number = key.removeprefix("main/")
        if not key.startswith("main/+") or not number[1:].isdigit():
            return None
        return Row(key, (number,))

    def keys_of(self, number: str) -> list[str]:
        return [f"main/{number}"] if f"main/{number}" in self.rows else []

    def add_contact(self, numbers: Iterable[str], **fields: Any) -> str:
        number = next(iter(numbers))
        self.rows[f"main/{number}"] = Row(f"main/{number}", (number,))
        return f"main/{number}"


def connect_from_a_heavy_module(settings: SystemSettings, context: Context) -> Connector:
    """For the check that importing is cheap: this module imports werkzeug."""
    return connect(settings, context)
