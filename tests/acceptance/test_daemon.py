"""The daemon as a tired admin and a hostile outsider meet it: the real process, sandboxes on sockets."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import socket
import stat
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from dncsync.clock import SystemClock
from dncsync.connector import plugin
from dncsync.ledger import verify
from dncsync.ledger.sqlite import connect_reader
from dncsync.model import Flag
from dncsync.runtime import control
from dncsync.testing.daemon import DaemonProcess, running
from dncsync.testing.faults import FaultKind
from dncsync.testing.sandbox import OutgoingWebhook, Sandbox, seeded_number

SEED = 41
PATIENCE = 90.0
PERSON = "+13125550142"
OTHER = "+14155550163"
HANG = 30.0
"""Seconds that a hung vendor takes to answer; three times what a service manager waits."""


def sandbox(vendor: str, *, clock: Any = None, contacts: int = 20) -> Sandbox:
    return plugin(vendor).sandbox()(seed=SEED, contacts=contacts, clock=clock)


def known_by(*vendors: str, contacts: int = 20) -> dict[str, Sandbox]:
    """Sandboxes in which PERSON and OTHER are on record."""
    boxes = {vendor: sandbox(vendor, contacts=contacts) for vendor in vendors}
    for vendor, box in boxes.items():
        for number in (PERSON, OTHER) if vendor != "twilio" else ():
            box.add_contact([number])
    return boxes


def until(what: str, happens: Callable[[], object], daemon: DaemonProcess) -> None:
    """Waits for what other processes do."""
    deadline = time.monotonic() + PATIENCE
    while not happens():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: it did not happen; log: {daemon.log.read_text()[-3000:]}")
        time.sleep(0.05)


def flags(box: Sandbox, number: str) -> set[Flag]:
    with box.lock:
        return {truth.flag for truth in box.truth(number)}


def rows(daemon: DaemonProcess, sql: str, *params: Any) -> list[tuple[Any, ...]]:
    with closing(connect_reader(daemon.config.with_name("ledger.sqlite"))) as conn:
        return list(conn.execute(sql, params).fetchall())


def is_read_in_full(daemon: DaemonProcess, systems: int) -> Callable[[], bool]:
    def happened() -> bool:
        done = rows(daemon, "SELECT count(*) FROM systems WHERE snapshot_at IS NOT NULL")[0][0]
        waiting = rows(daemon, "SELECT count(*) FROM deliveries WHERE open = 1")[0][0]
        return bool(done == systems and waiting == 0)

    return happened


def dncsync(daemon: DaemonProcess, *arguments: str, config: bool = False) -> subprocess.CompletedProcess[str]:
    """A command on the daemon's ledger; with `config`, on its configuration."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("DNCSYNC_")}
    where = ("--config", str(daemon.config)) if config else ("--ledger", str(ledger_of(daemon)))
    return subprocess.run(
        [sys.executable, "-m", "dncsync.cli.main", *arguments, *where],
        capture_output=True,
        text=True,
        timeout=60,
        env={**environ, **daemon.environ},
    )


def ledger_of(daemon: DaemonProcess) -> Path:
    return daemon.config.with_name("ledger.sqlite")


def done(ran: subprocess.CompletedProcess[str]) -> Any:
    assert ran.returncode == 0, (ran.returncode, ran.stdout, ran.stderr)
    return json.loads(ran.stdout)


# --- stopping ---------------------------------------------------------------------------------------------


def test_sigterm_ends_it_within_ten_seconds_while_every_vendor_hangs(tmp_path: Path) -> None:
    """What was in flight is `sent` in the ledger, and after the next start it is settled by reading."""
    boxes = known_by("hubspot", "salesforce", "vicidial", "twilio")
    table_of = boxes["vicidial"].settings
    boxes["vicidial"].settings = lambda url: ({**table_of(url)[0], "parallel": 4}, table_of(url)[1])  # type: ignore[method-assign]
    with running(tmp_path, boxes) as (daemon, _):
        daemon.start()
        until("every system is read", is_read_in_full(daemon, 3), daemon)
        hangs = [box.faults.add(FaultKind.DELAY, seconds=HANG) for box in boxes.values()]
        people = [PERSON, *(seeded_number(SEED + 3, i) for i in range(9))]
        (tmp_path / "list.csv").write_text("\n".join(["number", *people]) + "\n", encoding="utf-8")
        done(dncsync(daemon, "import", str(tmp_path / "list.csv"), "--json"))
        until("every vendor hangs", lambda: all(fault.hits for fault in hangs), daemon)
        until(
            "a pool of threads waits for the dialer",  # the interpreter would wait for them on its way out
            lambda: rows(
                daemon,
                "SELECT 1 FROM deliveries WHERE state = 'sent' AND system = 'vicidial' LIMIT 1 OFFSET 1",
            ),
            daemon,
        )
        began = time.monotonic()
        assert daemon.stop(timeout=HANG) == 0
        assert time.monotonic() - began < 10.0
        assert rows(daemon, "SELECT count(*) FROM deliveries WHERE open = 1")[0][0] > 0, "nothing was in hand"
        assert verify.verify(ledger_of(daemon)).ok
        assert "Traceback" not in daemon.log.read_text()
        assert '"clean":false' in daemon.log.read_text(), "nobody was waited for in vain"
        for box in boxes.values():
            box.faults.clear()
        daemon.start()
        until(
            "everybody holds the block",
            lambda: all(flags(box, PERSON) == {Flag.SET} for box in boxes.values()),
            daemon,
        )
        until(
            "what can be read is verified",
            lambda: not rows(daemon, "SELECT 1 FROM deliveries WHERE open = 1"),
            daemon,
        )
        assert daemon.stop() == 0
        assert verify.verify(ledger_of(daemon)).ok


def test_sigterm_ends_an_idle_one_at_once(tmp_path: Path) -> None:
    with running(tmp_path, known_by("twilio")) as (daemon, _):
        daemon.start()
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 4.0
        assert not control.socket_path(ledger_of(daemon)).exists()


def test_a_caller_who_never_ends_his_call_does_not_hold_it(tmp_path: Path) -> None:
    with running(tmp_path, known_by("twilio")) as (daemon, _):
        daemon.start()
        url = httpx.URL(daemon.url)
        with socket.create_connection((url.host, url.port or 0)) as slow:
            slow.sendall(b"POST /hooks/twilio HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbody")
            assert httpx.get(f"{daemon.url}/healthz").status_code == 200
            began = time.monotonic()
            assert daemon.stop() == 0
            assert time.monotonic() - began < 10.0


# --- one at a time ----------------------------------------------------------------------------------------


def test_a_second_daemon_says_who_holds_the_ledger(tmp_path: Path) -> None:
    with running(tmp_path, known_by("twilio")) as (daemon, _):
        daemon.start()
        assert daemon.process is not None
        second = dncsync(daemon, "run", config=True)
        assert second.returncode == 1
        assert second.stdout == ""
        assert second.stderr == (
            f"dncsync: {ledger_of(daemon).resolve()} is in use by process {daemon.process.pid} on "
            f"{socket.gethostname()}; stop it first, or use a command that only reads\n"
        )
        assert httpx.get(f"{daemon.url}/readyz").status_code == 200, "the first is not disturbed"
        assert done(dncsync(daemon, "status", "--json"))["daemon"] is True
        assert daemon.stop() == 0


def test_an_address_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with running(tmp_path, known_by("twilio")) as (daemon, _):
        listen = re.search(r'listen = "127\.0\.0\.1:(\d+)"', daemon.config.read_text())
        assert listen is not None
        with socket.create_server(("127.0.0.1", int(listen[1]))):
            ran = dncsync(daemon, "run", config=True)
        assert ran.returncode == 1
        assert ran.stderr.count("\n") == 1
        assert f"port {listen[1]}" in ran.stderr
        assert "[web] listen" in ran.stderr
        daemon.start()
        assert daemon.stop() == 0


# --- commands beside it, and without it -------------------------------------------------------------------


def consent(folder: Path) -> list[str]:
    document = folder / "consent.pdf"
    document.write_bytes(b"please call me again")
    when = datetime.now(UTC).isoformat()
    said = ["--actor", "jane", "--reason", "asked", "--basis", "signed"]
    return [*said, "--evidence", str(document), "--evidence-date", when, "--json"]


@pytest.mark.parametrize("beside", [True, False], ids=["beside it", "without it"])
def test_commands_reach_the_vendors(beside: bool, tmp_path: Path) -> None:
    """Without a daemon they are recorded, and done when one starts."""
    boxes = known_by("hubspot")
    (tmp_path / "list.csv").write_text(f"number\n{OTHER}\n", encoding="utf-8")
    with running(tmp_path, boxes) as (daemon, _):
        daemon.start()
        until("it is read", is_read_in_full(daemon, 1), daemon)

        @contextlib.contextmanager
        def giving_commands() -> Iterator[None]:
            if not beside:
                assert daemon.stop() == 0
            assert done(dncsync(daemon, "status", "--json"))["daemon"] is beside
            yield
            if not beside:
                daemon.start()

        with giving_commands():
            done(dncsync(daemon, "number", "block", PERSON, "--actor", "jane", "--json"))
            assert dncsync(daemon, "number", "check", PERSON).returncode == 3, "durable when it returns"
            assert done(dncsync(daemon, "import", str(tmp_path / "list.csv"), "--json"))["imported"] == 1
        for number in (PERSON, OTHER):
            until("HubSpot is told", lambda n=number: flags(boxes["hubspot"], n) == {Flag.SET}, daemon)  # type: ignore[misc]
        until("it is verified", is_read_in_full(daemon, 1), daemon)
        with giving_commands():
            done(dncsync(daemon, "number", "unblock", PERSON, *consent(tmp_path)))
        until("HubSpot is cleared", lambda: flags(boxes["hubspot"], PERSON) == {Flag.CLEAR}, daemon)
        assert flags(boxes["hubspot"], OTHER) == {Flag.SET}
        refusal = dncsync(daemon, "number", "unblock", PERSON, *consent(tmp_path))
        assert refusal.returncode == 1
        assert refusal.stderr.count("\n") == 1
        assert "not blocked" in refusal.stderr
        assert daemon.stop() == 0
    assert verify.verify(tmp_path / "ledger.sqlite").ok


def test_the_socket_is_its_owners_and_a_dead_ones_does_no_harm(tmp_path: Path) -> None:
    boxes = known_by("hubspot")
    with running(tmp_path, boxes) as (daemon, _):
        daemon.start()
        path = control.socket_path(ledger_of(daemon))
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        daemon.kill()
        assert path.exists(), "killed, it could not take its socket away"
        assert done(dncsync(daemon, "status", "--json"))["daemon"] is False
        done(dncsync(daemon, "number", "block", PERSON, "--actor", "jane", "--json"))
        daemon.start()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert done(dncsync(daemon, "status", "--json"))["daemon"] is True
        until("HubSpot is told", lambda: flags(boxes["hubspot"], PERSON) == {Flag.SET}, daemon)
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("block", b"{", 400),
        ("block", b"[]", 422),
        ("block", b"{}", 422),
        ("block", b'{"number": "312", "actor": "j"}', 422),
        ("block", b'{"number": "+13125550142", "actor": ""}', 422),
        ("unblock", b'{"number": "+13125550142"}', 422),
        ("import", b'{"rows": ["x"], "actor": "j"}', 422),
        ("import", b'{"rows": [{"number": "+13125550142", "requested_at": "x"}], "actor": "j"}', 422),
        ("snapshot", b'{"systems": ["nosuch"]}', 422),
        ("resolve-finding", b'{"id": "nosuch", "actor": "j", "note": "n"}', 422),
        ("drop", b"{}", 422),
    ],
)
@pytest.mark.usefixtures("quiet")
def test_a_bad_command_on_the_socket_is_refused(path: str, body: bytes, status: int, quiet: Quiet) -> None:
    before = quiet.events()
    transport = httpx.HTTPTransport(uds=str(control.socket_path(ledger_of(quiet.daemon))))
    with httpx.Client(transport=transport) as client:
        answer = client.post(f"http://daemon/{path}", content=body)
    assert answer.status_code == status, answer.text
    assert "\n" not in answer.json()["error"]
    assert quiet.events() == before


# --- outsiders --------------------------------------------------------------------------------------------


class Quiet:
    """A daemon at rest, whose vendors say nothing by themselves."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.daemon = daemon

    def events(self) -> int:
        """What was recorded, but for the loops' own words about vendors that do not answer."""
        own = "kind NOT IN ('system.changed', 'finding.opened', 'finding.closed')"
        return int(rows(self.daemon, f"SELECT count(*) FROM events WHERE {own}")[0][0])

    def hook(self, vendor: str, number: str, *, age: float = 0.0) -> OutgoingWebhook:
        """What the vendor would send for an opt-out, signed with its secret, so many seconds ago."""
        clock = SystemClock()
        now = clock.now
        clock.now = lambda: now() - timedelta(seconds=age)  # type: ignore[method-assign]
        twin = sandbox(vendor, clock=clock)
        twin.webhook_url = f"{self.daemon.url}/hooks/{vendor}"
        if vendor != "twilio":
            twin.add_contact([number])
        twin.outbox.clear()
        twin.opt_out(number)
        return twin.outbox[-1]

    def post(
        self, hook: OutgoingWebhook, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> httpx.Response:
        content = hook.body if body is None else body
        return httpx.request(
            hook.method, hook.url, headers={**hook.headers, **(headers or {})}, content=content
        )


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quiet]:
    boxes = known_by("hubspot", "twilio")
    with running(tmp_path_factory.mktemp("quiet"), boxes, sync={"snapshot_every": 700}) as (daemon, _):
        daemon.start()
        until("HubSpot is read", is_read_in_full(daemon, 1), daemon)
        for box in boxes.values():  # the loops go on, and find nobody there: what follows came by webhooks
            box.faults.add(FaultKind.RESET_BEFORE)
        yield Quiet(daemon)
        assert daemon.stop() == 0
        assert verify.verify(ledger_of(daemon)).ok


SIGNATURE = {"hubspot": "X-HubSpot-Signature-v3", "twilio": "X-Twilio-Signature"}


def about(quiet: Quiet, number: str) -> int:
    """Events that carry the number, or a key that is to be read because of a webhook."""
    found = rows(quiet.daemon, "SELECT count(*) FROM events WHERE number = ?", number)[0][0]
    looks = rows(quiet.daemon, "SELECT count(*) FROM looks")[0][0]
    nonces = rows(quiet.daemon, "SELECT count(*) FROM nonces WHERE system <> ''")[0][0]
    return int(found + looks + nonces)


@pytest.mark.parametrize("vendor", SIGNATURE)
@pytest.mark.parametrize("forgery", ["no signature", "wrong signature", "another body", "doubled", "empty"])
def test_a_forged_webhook_has_no_effect(vendor: str, forgery: str, quiet: Quiet) -> None:
    number = seeded_number(SEED + 1, 1)
    hook = quiet.hook(vendor, number)
    name = SIGNATURE[vendor]
    headers, body = dict(hook.headers), hook.body
    if forgery == "no signature":
        headers = {k: v for k, v in headers.items() if "signature" not in k.lower()}
    elif forgery == "wrong signature":
        headers = {
            k: "A" + v[1:] if "signature" in k.lower() and len(v) > 8 else v for k, v in headers.items()
        }
    elif forgery == "another body":
        body = body.replace(b"0", b"9")
    elif forgery == "doubled":
        headers[name] = f"{headers[name]}, {headers[name]}"
        headers.pop("X-HubSpot-Signature", None)
        headers.pop("X-HubSpot-Signature-Version", None)
    else:
        headers = {**{k: v for k, v in headers.items() if "signature" not in k.lower()}, name: ""}
    before = about(quiet, number)
    answer = quiet.post(OutgoingWebhook(hook.method, hook.url, headers, body))
    assert 400 <= answer.status_code <= 499, (answer.status_code, answer.text)
    assert len(answer.text.splitlines()) == 1
    assert number[2:] not in answer.text
    assert about(quiet, number) == before


@pytest.mark.parametrize("age", [400.0, -400.0, 86_400.0], ids=["stale", "early", "of yesterday"])
def test_a_stale_webhook_has_no_effect(age: float, quiet: Quiet) -> None:
    number = seeded_number(SEED + 1, 2)
    hook = quiet.hook("hubspot", number, age=age)
    before = about(quiet, number)
    answer = quiet.post(hook)
    assert answer.status_code == 401, answer.text
    assert about(quiet, number) == before


@pytest.mark.parametrize("vendor", SIGNATURE)
def test_a_replayed_webhook_has_no_effect(vendor: str, quiet: Quiet) -> None:
    number = seeded_number(SEED + 1, 3)
    hook = quiet.hook(vendor, number)
    before = about(quiet, number)
    assert quiet.post(hook).status_code == 200
    once = about(quiet, number)
    assert once > before, "the true one has an effect, or this test proves nothing"
    for _ in range(3):
        assert quiet.post(hook).status_code < 500
    assert about(quiet, number) == once


def test_a_true_webhook_to_another_system_has_no_effect(quiet: Quiet) -> None:
    hook = quiet.hook("twilio", seeded_number(SEED + 1, 4))
    before = quiet.events()
    moved = OutgoingWebhook(hook.method, hook.url.replace("twilio", "hubspot"), hook.headers, hook.body)
    assert 400 <= quiet.post(moved).status_code <= 499
    assert quiet.events() == before


@pytest.mark.parametrize(
    "path",
    ["/hooks/nosuch", "/hooks/", "/hooks/+13125550142", "/hooks/..%2f..%2fetc", "/hooks/TWILIO", "/block"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_system_is_404(path: str, method: str, quiet: Quiet) -> None:
    before = quiet.events()
    answer = httpx.request(method, f"{quiet.daemon.url}{path}", content=b"{}" if method == "POST" else None)
    assert answer.status_code == 404
    assert "3125550142" not in answer.text
    assert quiet.events() == before


# --- the disk ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def full_disk(folder: Path, daemon: DaemonProcess) -> Iterator[None]:
    """No byte more fits beside the ledger."""
    filler = folder / "filler"
    fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
    for size in (65_536, 4_096, 1):
        with contextlib.suppress(OSError):
            while True:
                os.write(fd, b"\0" * size)
    os.close(fd)
    yield
    filler.unlink()


@contextlib.contextmanager
def failing_writes(folder: Path, daemon: DaemonProcess) -> Iterator[None]:
    """The kernel refuses every write of that process to a file, its log included."""
    assert daemon.process is not None
    before = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    yield
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("a small disk can be mounted by root only")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_on_a_full_disk_nothing_is_acknowledged(small_disk: Path) -> None:
    _nothing_is_acknowledged(small_disk, full_disk)


def test_where_writes_fail_nothing_is_acknowledged(tmp_path: Path) -> None:
    _nothing_is_acknowledged(tmp_path, failing_writes)


def _nothing_is_acknowledged(folder: Path, trouble: Callable[..., Any]) -> None:
    boxes = known_by("hubspot", "twilio")
    with running(folder, boxes) as (daemon, _):
        daemon.start()
        until("HubSpot is read", is_read_in_full(daemon, 1), daemon)
        assert httpx.get(f"{daemon.url}/readyz").status_code == 200
        twilio = boxes["twilio"]
        with trouble(folder, daemon):
            until("it says so", lambda: httpx.get(f"{daemon.url}/readyz").status_code == 503, daemon)
            assert httpx.get(f"{daemon.url}/healthz").status_code == 200
            with twilio.lock:
                twilio.opt_out(PERSON)
            until("the webhook is refused", lambda: twilio.calls["webhook 503"] > 1, daemon)
            assert twilio.calls["webhook 200"] == 0
            assert rows(daemon, "SELECT count(*) FROM blocks WHERE number = ?", PERSON) == [(0,)]
            refusal = dncsync(daemon, "number", "block", OTHER, "--actor", "jane")
            assert refusal.returncode == 1
            assert refusal.stderr.count("\n") == 1, refusal.stderr
            assert rows(daemon, "SELECT count(*) FROM blocks WHERE number = ?", OTHER) == [(0,)]
        until("it is ready again", lambda: httpx.get(f"{daemon.url}/readyz").status_code == 200, daemon)
        until("HubSpot is told", lambda: flags(boxes["hubspot"], PERSON) == {Flag.SET}, daemon)
        assert daemon.stop() == 0
        assert verify.verify(ledger_of(daemon)).ok


# --- what it writes down ----------------------------------------------------------------------------------


def spellings(secret: str) -> set[str]:
    """A secret as it might turn up: in clear, in a URL, in JSON, in a header."""
    return {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], b64encode(secret.encode()).decode()}


def test_the_log_of_a_busy_daemon_has_no_number_and_no_secret(tmp_path: Path) -> None:
    """At its most talkative, through opt-outs, an outage, wrong credentials, broken answers and forgeries."""
    vendors = ("hubspot", "salesforce", "vicidial", "twilio")
    boxes = known_by(*vendors)
    numbers = {PERSON, OTHER} | {n for box in boxes.values() for n in box.numbers(20)}
    asked = [seeded_number(SEED + 2, i) for i in range(12)]
    numbers.update(asked)
    for number in asked:
        for vendor in ("hubspot", "salesforce", "vicidial"):
            boxes[vendor].add_contact([number])
    boxes["hubspot"].add_contact([f"({asked[0][2:5]}) {asked[0][5:8]}-{asked[0][8:]} ext. 7", "N/A"])
    with running(tmp_path, boxes, logs={"level": "debug"}) as (daemon, _):
        # Known before any system was read: its records are looked for by the number.
        assert dncsync(daemon, "number", "block", asked[-3], "--actor", "jane", config=True).returncode == 0
        daemon.start()
        until("every system is read", is_read_in_full(daemon, 3), daemon)

        def everywhere(number: str) -> Callable[[], bool]:
            return lambda: all(flags(box, number) == {Flag.SET} for box in boxes.values())

        told = f'{{"message": "no such number: {PERSON}"}}'
        boxes["hubspot"].faults.add(FaultKind.STATUS, status=503, body=told, times=12)
        boxes["salesforce"].faults.add(FaultKind.RESET_BEFORE, times=4)
        boxes["hubspot"].faults.add(FaultKind.TRUNCATED, times=1)
        boxes["salesforce"].faults.add(FaultKind.RESET_AFTER, times=1)
        boxes["salesforce"].faults.add(FaultKind.HTML, status=200, times=1)
        boxes["vicidial"].faults.add(FaultKind.STATUS, status=500, body=told, times=2)
        boxes["twilio"].faults.add(FaultKind.STATUS, status=400, body=told, times=1)
        for number, vendor in zip(asked, vendors * 2, strict=False):
            with boxes[vendor].lock:
                boxes[vendor].opt_out(number)
        until("all is everywhere", lambda: all(everywhere(n)() for n in asked[:8]), daemon)
        for box in boxes.values():
            box.faults.clear()
            box.faults.add(FaultKind.EXPIRED_TOKEN)
        dncsync(
            daemon, "number", "block", asked[-1], "--actor", "jane", "--words", f"call {asked[-2]} instead"
        )
        until("credentials are refused", lambda: "unauthorised" in daemon.log.read_text(), daemon)
        digits = PERSON.removeprefix("+")
        for path in (
            f"/hooks/{digits}",
            f"/hooks/twilio?From=%2B{digits}",
            f"/{PERSON}",
            f"/hooks/nosuch/{digits}",
        ):
            httpx.post(f"{daemon.url}{path}", content=f"From={quote(PERSON)}&Body=STOP".encode())
        httpx.post(f"{daemon.url}/hooks/hubspot", json=[{"objectId": PERSON, "token": "x" * 40}])
        assert daemon.stop() == 0
    text = daemon.log.read_text()
    assert all(json.loads(line) for line in text.splitlines()), "every line is one record"
    for word in (
        "webhook",
        "unauthorised",
        "rejected" if "rejected" in text else "warning",
        '"logger":"dncsync.http"',
    ):
        assert word in text, f"{word!r} is not there: the log of a daemon that was not busy proves nothing"
    down = [record for record in map(json.loads, text.splitlines()) if record["event"] == "system is down"]
    assert {"hubspot"} <= {record["system"] for record in down}, "it says which"
    assert any("503" in record["reason"] or "no such number" in record["reason"] for record in down), (
        "and why"
    )
    for number in numbers:
        area, exchange, line = number[2:5], number[5:8], number[8:]
        found = re.search(rf"{area}(?:\W|%\w\w|\\u\w{{4}}){{0,4}}{exchange}(?:\W|%\w\w){{0,4}}{line}", text)
        assert not found, f"{number} is in the log: {text[max(0, found.start() - 200) : found.end() + 50]}"
    for name, secret in daemon.environ.items():
        for spelling in spellings(secret):
            assert spelling not in text, f"{name} is in the log"
