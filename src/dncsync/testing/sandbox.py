"""The sandbox kit: a vendor as a WSGI application that speaks its wire protocol, limits, lags and quirks.

The same sandbox runs on a socket (`serve`) for real processes, and in one process (`transport`) under a
virtual clock. A sandbox keeps its own truth, which tests and the demo read instead of the ledger's opinion.
"""

from __future__ import annotations

import contextlib
import json
import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import httpx
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from dncsync.clock import Clock, SystemClock
from dncsync.model import Channel, Flag
from dncsync.testing.distortion import distort
from dncsync.testing.faults import FaultKind, Faults
from dncsync.testing.sandbox_server import ConnectionBroken, SandboxServer, break_connection

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Handler = Callable[..., Response]


@dataclass(frozen=True, slots=True)
class Truth:
    """What the vendor really holds about a number in one place."""

    key: str
    """As the connector's keys."""
    channel: Channel
    flag: Flag


@dataclass(frozen=True, slots=True)
class OutgoingWebhook:
    """A call that the vendor makes to us; signed for `url`."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    not_before: float = 0.0
    """Seconds on the sandbox's monotonic clock."""


class Sandbox(ABC):
    """One vendor account. Subclasses add routes with `self.route(...)` in `__init__`."""

    vendor: str = ""

    def __init__(
        self, *, seed: int = 0, contacts: int = 0, clock: Clock | None = None, **options: Any
    ) -> None:
        """`contacts`: how many records or entries to begin with, the same for the same seed."""
        self.seed = seed
        self.contacts = contacts
        self.clock: Clock = clock or SystemClock()
        self.options = options
        self.faults = Faults()
        self.lock = threading.RLock()
        """Held by every handler: a vendor's answer is one moment."""
        self.calls: Counter[str] = Counter()
        """`METHOD rule` -> calls, and `status N` -> answers; for asserting numbers of calls."""
        self.webhook_url: str = ""
        """Where webhooks go (public URL of our listener); empty: none are sent."""
        self.outbox: deque[OutgoingWebhook] = deque()
        """Webhooks waiting to be sent."""
        self._rules: list[Rule] = []
        self._handlers: dict[str, Handler] = {}
        self._map: Map | None = None
        self._wake = threading.Event()
        self.route("/_sandbox/state", self._state)
        self.route("/_sandbox/truth", self._truth)
        self.route("/_sandbox/faults", self._faults, methods=("POST", "DELETE"))
        self.route("/_sandbox/act", self._act, methods=("POST",))
        self.route("/_sandbox/webhooks", self._webhooks, methods=("POST",))

    # --- what each vendor gives ---------------------------------------------------------------------

    @abstractmethod
    def settings(self, url: str) -> tuple[dict[str, Any], dict[str, str]]:
        """The configuration table of a system that uses this sandbox at `url`, and its secrets by field."""

    @abstractmethod
    def truth(self, number: str) -> list[Truth]:
        """What is really held about a number (E.164), over all records, lists and channels."""

    @abstractmethod
    def opt_out(self, number: str, **how: Any) -> str:
        """Somebody opts this number out at the vendor in its usual way (STOP, a tick, a disposition), with
        the webhooks that it would send. Creates the record where none exists. Returns the vendor's id."""

    @abstractmethod
    def undo(self, number: str, **how: Any) -> str:
        """Somebody takes the flag or entry away at the vendor, without any evidence."""

    @abstractmethod
    def add_contact(self, numbers: Iterable[str], **fields: Any) -> str:
        """A record with these phone values as typed (unit number: a lead without an entry). Its key."""

    def numbers(self, count: int) -> list[str]:
        """E.164 numbers of the first `count` seeded contacts."""
        return [seeded_number(self.seed, i) for i in range(count)]

    def limited_429(self) -> int:
        """How many answers were 429 so far."""
        return self.calls["status 429"]

    # --- routes ---------------------------------------------------------------------------------------

    def route(self, rule: str, handler: Handler, methods: Iterable[str] = ("GET",)) -> None:
        """`handler(request, **path values) -> Response`, for a werkzeug rule such as `/v3/<object_id>`."""
        endpoint = f"{len(self._rules)}:{handler.__name__}"
        self._rules.append(Rule(rule, endpoint=endpoint, methods=list(methods), strict_slashes=False))
        self._handlers[endpoint] = handler
        self._map = None

    def not_found(self, request: Request) -> Response:
        """The vendor's answer to a path it does not know."""
        return Response("not found", 404)

    def before(self, request: Request) -> Response | None:
        """Called first, under the lock: authentication, rate limits. An answer ends the call."""
        return None

    def after(self, request: Request, response: Response) -> Response:
        """Called with each vendor answer: headers that every answer has."""
        return response

    # --- WSGI -------------------------------------------------------------------------------------------

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        try:
            response = self._answer(request)
        except ConnectionBroken:
            break_connection(environ)
            raise
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        with self.lock:  # a rule can be bound to one map only, and the first calls may come together
            if self._map is None:
                self._map = Map(self._rules)
        adapter = self._map.bind_to_environ(request.environ)
        try:
            endpoint, values = adapter.match()
            handler: Handler | None = self._handlers[endpoint]
            rule = next(r.rule for r in self._rules if r.endpoint == endpoint)
        except HTTPException:
            handler, values, rule = None, {}, "unknown"
        if request.path.startswith("/_sandbox/"):
            return handler(request, **values) if handler else Response("unknown sandbox call", 404)
        with self.lock:
            self.calls[f"{request.method} {rule}"] += 1
        broken = self._wire_fault(request)
        if broken is not None:
            return self._count(broken)
        with self.lock:
            response = self.before(request)
            if response is None:
                response = handler(request, **values) if handler else self.not_found(request)
            response = self.after(request, response)
        return self._count(self._late_fault(request, response))

    def _count(self, response: Response) -> Response:
        if "Date" not in response.headers:
            response.headers["Date"] = format_datetime(self.clock.now(), usegmt=True)
        with self.lock:
            self.calls[f"status {response.status_code}"] += 1
        return response

    def _wire_fault(self, request: Request) -> Response | None:
        where = (request.method, request.path)
        if fault := self.faults.take(FaultKind.DELAY, *where):
            self.clock.sleep(float(fault.params.get("seconds", 1.0)))
        if self.faults.take(FaultKind.RESET_BEFORE, *where):
            raise ConnectionBroken
        if fault := self.faults.take(FaultKind.STATUS, *where):
            return _status_answer(fault.params)
        if fault := self.faults.take(FaultKind.HTML, *where):
            page = "<html><head><title>Error</title></head><body><h1>Bad gateway</h1></body></html>"
            return Response(page, int(fault.params.get("status", 502)), mimetype="text/html")
        return None

    def _late_fault(self, request: Request, response: Response) -> Response:
        where = (request.method, request.path)
        if self.faults.take(FaultKind.RESET_AFTER, *where):
            raise ConnectionBroken
        if fault := self.faults.take(FaultKind.STATUS_AFTER, *where):
            return _status_answer(fault.params)
        distort(self.faults, where, response, self.clock.now())
        if self.faults.take(FaultKind.TRUNCATED, *where):
            body = response.get_data()
            response.set_data(body[: len(body) // 2])
        return response

    # --- control over HTTP (`dncsync sandbox`, the demo, the kill test) ------------------------------------

    def _state(self, request: Request) -> Response:
        with self.lock:
            return json_response({"vendor": self.vendor, "seed": self.seed, "calls": dict(self.calls)})

    def _truth(self, request: Request) -> Response:
        with self.lock:
            return json_response([asdict(t) for t in self.truth(request.args["number"])])

    def _faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.faults.clear(request.args.get("kind"))
            return json_response({"cleared": True})
        self.faults.add(**json.loads(request.get_data()))
        return json_response({"added": True})

    def _act(self, request: Request) -> Response:
        """`{"act": "opt_out"|"undo"|"add_contact", ...arguments}`."""
        how = json.loads(request.get_data())
        act = how.pop("act")
        if act not in ("opt_out", "undo", "add_contact"):
            return json_response({"error": f"unknown act {act!r}"}, 400)
        with self.lock:
            done = getattr(self, act)(**how)
        return json_response({"id": done})

    def _webhooks(self, request: Request) -> Response:
        self.webhook_url = json.loads(request.get_data())["url"]
        return json_response({"url": self.webhook_url})

    # --- webhooks ---------------------------------------------------------------------------------------

    def send_webhook(self, hook: OutgoingWebhook) -> None:
        """Queues a webhook, with the faults of webhooks applied."""
        if not self.webhook_url or self.faults.take(FaultKind.SILENT_WEBHOOKS):
            return
        if fault := self.faults.take(FaultKind.LATE_WEBHOOKS):
            late = self.clock.monotonic() + float(fault.params.get("seconds", 5.0))
            hook = OutgoingWebhook(hook.method, hook.url, hook.headers, hook.body, late)
        copies = 2 if self.faults.take(FaultKind.DOUBLED_WEBHOOKS) else 1
        for _ in range(copies):
            if self.faults.take(FaultKind.REORDERED_WEBHOOKS):
                self.outbox.appendleft(hook)
            else:
                self.outbox.append(hook)
        self._wake.set()

    def deliver_webhooks(self, client: httpx.Client, *, limit: int = 1000) -> int:
        """Sends what is due; what is refused or unanswered goes back to the queue (sent at least once).
        Returns how many were taken with a 2xx."""
        taken = 0
        again: list[OutgoingWebhook] = []
        for _ in range(min(limit, len(self.outbox))):
            hook = self.outbox.popleft()
            if hook.not_before > self.clock.monotonic():
                again.append(hook)
                continue
            try:
                answer = client.request(hook.method, hook.url, headers=dict(hook.headers), content=hook.body)
            except httpx.HTTPError:
                again.append(hook)
                continue
            if answer.is_success:
                taken += 1
            elif answer.status_code >= 500 or answer.status_code == 429:
                again.append(hook)
            self.calls[f"webhook {answer.status_code}"] += 1
        self.outbox.extend(again)
        return taken

    # --- ways to reach it ----------------------------------------------------------------------------------

    def transport(self) -> httpx.BaseTransport:
        """In process, without a socket: for `HttpDoor(transport=...)`."""
        return InProcess(self)

    @contextlib.contextmanager
    def serve(self, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
        """On a socket (port 0: chosen by the system) with a thread per connection; yields its URL."""
        server = SandboxServer(self, host, port)
        stop = threading.Event()
        sender = threading.Thread(target=self._send_loop, args=(stop,), daemon=True)
        worker = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        worker.start()
        sender.start()
        try:
            yield f"http://{host}:{server.server_port}"
        finally:
            stop.set()
            self._wake.set()
            server.shutdown()
            server.server_close()
            server.hang_up()
            worker.join()
            sender.join()

    def _send_loop(self, stop: threading.Event) -> None:
        with httpx.Client(timeout=10, trust_env=False) as client:
            while not stop.is_set():
                self._wake.wait(0.25 if self.outbox else None)
                self._wake.clear()
                if not stop.is_set():
                    self.deliver_webhooks(client)


class InProcess(httpx.BaseTransport):
    """`httpx.WSGITransport` with broken connections told apart from errors."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._inner = httpx.WSGITransport(app=sandbox)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._inner.handle_request(request)
        except ConnectionBroken:
            raise httpx.ReadError("connection broken by the sandbox", request=request) from None


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON as most vendors send it."""
    return Response(json.dumps(body), status, headers=headers, mimetype="application/json")


def seeded_number(seed: int, index: int) -> str:
    """A synthetic, valid-looking E.164 number, distinct for distinct `index` below 4,000,000 (any seed).

    Area codes are real, so that the numbers parse; the seed only decides their order.
    """
    spread = (index * 2_654_435_761 + seed * 40_503) % 4_000_000  # odd multiplier: a permutation
    area, line = divmod(spread, 100_000)
    return f"+1{_AREA_CODES[area]}{2 + line // 12_500}{line % 12_500:05d}{(line * 7 + area) % 10}"


_AREA_CODES = [
    "201",
    "202",
    "203",
    "205",
    "206",
    "207",
    "208",
    "209",
    "210",
    "212",
    "213",
    "214",
    "215",
    "216",
    "217",
    "218",
    "219",
    "224",
    "225",
    "228",
    "229",
    "231",
    "234",
    "239",
    "240",
    "248",
    "251",
    "252",
    "253",
    "254",
    "256",
    "260",
    "262",
    "267",
    "269",
    "270",
    "276",
    "281",
    "301",
    "302",
]


def _status_answer(params: Mapping[str, Any]) -> Response:
    response = Response(params.get("body", ""), int(params.get("status", 500)), mimetype="application/json")
    if "retry_after" in params:
        response.headers["Retry-After"] = str(params["retry_after"])
    return response
