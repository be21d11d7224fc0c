"""Bad input gets one clear line (what, where, how to mend it) and a non-zero exit; and nothing happens."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from integration.cli.making import (
    BLOCKED,
    FREE,
    call,
    command,
    csv_file,
    environ,
    events,
    make_ledger,
    refused,
    run,
)

READS = [
    ["status"],
    ["number", "show", FREE],
    ["number", "history", FREE],
    ["number", "quarantine"],
    ["ledger", "verify"],
    ["ledger", "export", "audit.sqlite"],
    ["ledger", "query", "SELECT 1"],
    ["ledger", "rebuild"],
]
WRITES = [
    ["number", "block", FREE, "--actor", "jane"],
    ["import", "list.csv"],
    ["ledger", "checkpoint", "--key", "key.pem", "--new-key", "--out", "kept.json"],
]
NAMES = [" ".join(arguments[:2]) for arguments in (*READS, *WRITES)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    csv_file(tmp_path / "list.csv", ["2125550123,voice,,,"])
    return tmp_path


def left_behind(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- the ledger -------------------------------------------------------------------------------------------


def _missing(path: Path) -> None:
    """Nothing there."""


def _folder(path: Path) -> None:
    path.mkdir()


def _garbage(path: Path) -> None:
    path.write_bytes(b"%PDF-1.7\n" + bytes(range(256)) * 64)


def _empty(path: Path) -> None:
    path.touch()


def _foreign(path: Path) -> None:
    conn = sqlite3.connect(path)
    conn.execute("CREATE TABLE contacts (id)")
    conn.close()


def _newer(path: Path) -> None:
    make_ledger(path)
    conn = sqlite3.connect(path)
    conn.execute("INSERT INTO schema_migrations VALUES (9999, '9999_later.sql', x'00', 0)")
    conn.commit()
    conn.close()


def _damaged(path: Path) -> None:
    make_ledger(path)
    page = bytearray(path.read_bytes())
    page[100:4096] = b"\xff" * (4096 - 100)
    path.write_bytes(page)


UNUSABLE = {
    _missing: "does not exist",
    _folder: "is not a file",
    _garbage: "is not a database",
    _empty: "is empty",
    _foreign: "another program",
    _newer: "newer dncsync",
    _damaged: "damaged",
}


@pytest.mark.parametrize("make", UNUSABLE, ids=[make.__name__.strip("_") for make in UNUSABLE])
@pytest.mark.parametrize("arguments", [*READS, *WRITES], ids=NAMES)
def test_an_unusable_ledger(make: object, arguments: list[str], folder: Path) -> None:
    assert callable(make)
    make(folder / "l.sqlite")
    before = left_behind(folder)
    ran = call(*arguments, "--ledger", "l.sqlite")
    refused(ran, "l.sqlite", UNUSABLE[make])
    ours = {"l.sqlite-wal", "l.sqlite-shm", "l.sqlite.lock"}
    assert left_behind(folder) - before <= ours, "nothing is half done"


@pytest.mark.parametrize("make", UNUSABLE, ids=[make.__name__.strip("_") for make in UNUSABLE])
def test_a_check_fails_closed_whatever_the_ledger(make: object, folder: Path) -> None:
    """T15: what cannot be answered is answered with "do not contact"."""
    assert callable(make)
    make(folder / "l.sqlite")
    ran = call("number", "check", FREE, "--ledger", "l.sqlite", "--json")
    assert ran.code == 3
    assert ran.json["contact"] is False
    assert UNUSABLE[make] in ran.json["why"]


@pytest.mark.parametrize(
    "arguments",
    [["--ledger", ""], ["--config", "none.toml"], ["--config", "bad.toml"], [], ["--region", "XX"]],
    ids=["folder", "no config", "bad config", "no ledger", "region"],
)
def test_a_check_fails_closed_whatever_else_is_wrong(arguments: list[str], folder: Path) -> None:
    (folder / "bad.toml").write_text("[[", encoding="utf-8")
    ran = call("number", "check", FREE, *arguments, "--json")
    assert ran.code == 3
    assert ran.json["contact"] is False
    ran = call("number", "check", FREE, *arguments)
    assert ran.code == 3
    assert "do not contact - no answer: " in ran.out


@pytest.mark.parametrize(
    "number", ["", "911", "N/A", "0000000000", "+1 312 555 0199 ext 5", "\0", "x" * 9999]
)
def test_a_check_fails_closed_for_what_is_no_number(number: str, ledger: Path) -> None:
    ran = call("number", "check", number, "--ledger", ledger, "--json")
    assert ran.code == 3
    assert ran.json["contact"] is False


def test_no_ledger_named() -> None:
    refused(call("status"), "--ledger", "DNCSYNC_CONFIG")


def test_a_ledger_that_may_not_be_read(ledger: Path) -> None:
    if os.geteuid() != 0:
        ledger.chmod(0)
        refused(run("status", "--ledger", ledger), "may not be read")
        return
    home = ledger.parent
    home.chmod(0o755)
    ledger.chmod(0o600)
    program = (
        "import os, sys; from dncsync.cli.main import main\n"
        "import dncsync.cli.status, dncsync.ledger.reading, dncsync.cli.rendering\n"
        "import dncsync.runtime.control, dncsync.sync.requests, dncsync.clock, encodings.idna\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "status", "--ledger", str(ledger)],
        capture_output=True,
        text=True,
        env=environ(),
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert "may not be read" in done.stderr or "Permission denied" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_ledger_that_another_process_holds(ledger: Path) -> None:
    from dncsync.ledger.writer import DirectWriter

    before = events(ledger)
    with DirectWriter(ledger):
        ran = run("number", "block", FREE, "--actor", "jane", "--ledger", ledger)
    refused(ran, f"in use by process {os.getpid()}")
    assert events(ledger) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A disk with 1.5 MB, which only root can have made."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("a small disk can be mounted by root only")
    return place


def _fill(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(fd, b"\0" * 4096)
    os.close(fd)


def test_a_full_disk_records_nothing(small_disk: Path, ledger: Path) -> None:
    try:
        there = small_disk / "ledger.sqlite"
        there.write_bytes(ledger.read_bytes())
        _fill(small_disk / "filler")
        ran = call("number", "block", FREE, "--actor", "jane", "--ledger", there)
        refused(ran, "disk")
        ran = call("import", "list.csv", "--ledger", there)
        refused(ran, "disk")
        (small_disk / "filler").unlink()
        assert call("number", "check", FREE, "--ledger", there).code == 0, "nothing was half done"
        assert call("number", "block", FREE, "--actor", "jane", "--ledger", there).code == 0
        assert call("ledger", "verify", "--ledger", there).code == 0
    finally:
        subprocess.run(["umount", "-l", str(small_disk)], check=True)


# --- numbers, flags ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["", "911", "N/A", "0000000000", "+1 312 555 0199 ext 5", "\0", "\x1b[2J"])
@pytest.mark.parametrize("what", ["show", "history", "block"])
def test_what_is_no_number(number: str, what: str, ledger: Path) -> None:
    actor = ["--actor", "jane"] if what == "block" else []
    before = events(ledger)
    refused(call("number", what, number, *actor, "--ledger", ledger), "is no usable number")
    assert events(ledger) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["numbr"], ["numbr", "number", "--help"]),
        (["number", "shw", FREE], ["shw", "show"]),
        (["number", "show"], ["number", "--help"]),
        (["number", "show", FREE, "--jsn"], ["--jsn"]),
        (["number", "block", FREE, "--actor", "jane", "--channel", "fax"], ["fax", "voice"]),
        (["number", "block", FREE], ["--actor"]),
        (["number", "quarantine", "--limit", "many"], ["many", "--limit"]),
        (["ledger", "query"], ["--sql"]),
        (["import"], ["--file"]),
        (["sandbox", "--contacts", "1e3"], ["1e3"]),
        (["--bogus"], ["--bogus"]),
    ],
)
def test_a_wrong_command_line(arguments: list[str], words: list[str], ledger: Path) -> None:
    more = ["--ledger", str(ledger)] if arguments[0] in ("number", "ledger", "import") else []
    refused(call(*arguments, *more), *words, code=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["number", "show", FREE, "--region", "XX"], ["'XX'", "two letters"]),
        (["number", "block", FREE, "--actor", " "], ["--actor"]),
        (["number", "quarantine", "--limit", "0"], ["--limit"]),
        (["number", "quarantine", "--system", "hubspto"], ["'hubspto'", "known"]),
        (["status", "--findings", "-1"], ["--findings"]),
        (["ledger", "query", "SELECT 1", "--limit", "0"], ["--limit"]),
        (["ledger", "query", "SELECT 1", "--timeout", "nan"], ["--timeout"]),
        (["ledger", "query", "SELECT nothing"], ["nothing"]),
        (["ledger", "query", "DELETE FROM events"], ["only reading"]),
        (["ledger", "query", "SELECT 1; DROP TABLE events"], ["one statement"]),
        (["ledger", "query", "ATTACH 'other.db' AS o"], ["only reading"]),
        (["ledger", "query", ""], ["one SELECT"]),
        (["ledger", "verify", "--checkpoint", "none.json"], ["none.json", "No such file"]),
        (["ledger", "verify", "--checkpoint", "list.csv"], ["list.csv", "not a checkpoint"]),
        (["ledger", "verify", "--trust", "zz"], ["--trust", "64"]),
        (["ledger", "export", "list.csv"], ["list.csv"]),
        (["ledger", "export", "no/such/audit.sqlite"], ["no/such"]),
        (["ledger", "checkpoint"], ["--key"]),
        (["ledger", "checkpoint", "--key", "list.csv"], ["list.csv"]),
        (["ledger", "checkpoint", "--key", "k.pem", "--new-key", "--out", "list.csv"], ["list.csv exists"]),
        (
            ["ledger", "checkpoint", "--key", "k.pem", "--new-key", "--out", "no/kept.json"],
            ["such folder"],
        ),
        (["import", "none.csv"], ["none.csv", "No such file"]),
        (["import", "."], ["not a file"]),
        (["import", "list.csv", "--rejects", "list.csv"], ["overwrite"]),
        (["import", "list.csv", "--rejects", "."], ["folder"]),
        (["import", "list.csv", "--number-column", "phone"], ["'phone'", "--number-column"]),
        (["import", "list.csv", "--actor", ""], ["--actor"]),
        (["init", "list.csv"], ["list.csv exists"]),
        (["init", "no/such/folder.toml"], ["no/such", "check the path"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done(arguments: list[str], words: list[str], ledger: Path, folder: Path) -> None:
    more = [] if arguments[0] == "init" else ["--ledger", str(ledger)]
    before, files = events(ledger), left_behind(folder) | {"ledger.sqlite.lock"}
    refused(call(*arguments, *more), *words)
    assert events(ledger) == before
    assert left_behind(folder) - {"ledger.sqlite-wal", "ledger.sqlite-shm"} <= files, "nothing is half done"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nosuch"], ["nosuch"]),
        (["twilio", "--contacts", "-1"], ["--contacts"]),
        (["twilio", "--port", "70000"], ["--port"]),
        (["twilio", "--delay", "inf"], ["--delay"]),
        (["twilio", "--fault", "slow"], ["slow", "delay"]),
        (["twilio", "--fault", '{"kind": "explode"}'], ["explode", "delay"]),
        (["twilio", "--fault", '{"kind": "delay", "self": 1}'], ["--fault"]),
    ],
)
def test_a_sandbox_that_cannot_be(arguments: list[str], words: list[str]) -> None:
    refused(call("sandbox", *arguments), *words)


def test_a_sandbox_whose_port_is_taken() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(call("sandbox", "twilio", "--port", str(port)), str(port), "Address already in use")


def test_an_argument_that_is_no_text(ledger: Path) -> None:
    done = subprocess.run(
        [os.fsencode(a) for a in command("number", "block", FREE, "--ledger", ledger)]
        + [b"--actor", b"\xff\xfe"],
        capture_output=True,
        env=environ(PYTHONUTF8="1"),
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "dncsync: one of the arguments is not UTF-8; check the terminal's encoding, or rename the file\n"
    )


# --- the configuration ------------------------------------------------------------------------------------

SYSTEM = '[systems.sms]\nvendor = "twilio"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[", ["c.toml", "not valid TOML"]),
        ('[ledgr]\npath = "l"\n', ["ledgr", "ledger"]),
        ('[ledger]\npth = "l"\n', ["pth", "path"]),
        ('[web]\nlisten = "everywhere"\n', ["web.listen", "127.0.0.1:8080"]),
        (
            SYSTEM + 'auth_token = "0123456789abcdef0123456789abcdef"\n',
            ["auth_token", "DNCSYNC_SYSTEMS__SMS__"],
        ),
        (SYSTEM + 'acount_sid = "AC1"\n', ["acount_sid"]),
        ('[systems.sms]\nvendor = "twillio"\n', ["twillio", "twilio"]),
        ('[systems.SMS]\nvendor = "twilio"\n', ["systems.SMS"]),
        ("[systems.sms]\n", ["vendor"]),
        ('[policy]\nfile = "none.toml"\n', ["none.toml"]),
        ("\0", ["c.toml"]),
        ("x = 1\n" * 200_000, ["c.toml"]),
    ],
    ids=range(12),
)
@pytest.mark.parametrize("arguments", [["doctor"], ["run"], ["status"], ["import", "list.csv"]], ids=str)
def test_a_configuration_that_cannot_be_used(
    arguments: list[str], text: str, words: list[str], folder: Path
) -> None:
    (folder / "c.toml").write_text(text, encoding="utf-8")
    before = left_behind(folder)
    line = refused(call(*arguments, "--config", "c.toml"), *words)
    assert "0123456789abcdef" not in line, "a secret is never repeated"
    assert left_behind(folder) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [(b"\xff\xfe[\0w\0", ["UTF-8"]), (None, ["folder.toml"]), (b"", ["no system is configured"])],
)
def test_a_configuration_file_that_is_none(text: bytes | None, words: list[str], folder: Path) -> None:
    if text is None:
        (folder / "folder.toml").mkdir()
    else:
        (folder / "folder.toml").write_bytes(text)
    refused(call("run", "--config", "folder.toml"), *words)


def test_a_configuration_that_is_not_there() -> None:
    refused(call("run", "--config", "none.toml"), "none.toml", "dncsync init")
    refused(call("run"), "--config", "DNCSYNC_CONFIG")


def test_doctor_names_an_authority_that_is_no_system(folder: Path) -> None:
    (folder / "p.toml").write_text('[sync]\nreversal_authorities = ["hubspto"]\n', encoding="utf-8")
    (folder / "c.toml").write_text('[policy]\nfile = "p.toml"\n', encoding="utf-8")
    ran = call("doctor", "--config", "c.toml", "--json")
    assert ran.code == 3
    (check,) = [c for c in ran.json["checks"] if c["name"] == "sync.reversal_authorities"]
    assert (check["ok"], check["seen"]) == (False, "names hubspto, which is no system here (known: none)")


def test_doctor_of_an_unknown_system(folder: Path) -> None:
    (folder / "c.toml").write_text("", encoding="utf-8")
    refused(call("doctor", "hubspto", "--config", "c.toml"), "'hubspto'", "configured: none")


def test_a_secret_that_is_missing_says_where_to_put_it(folder: Path) -> None:
    (folder / "c.toml").write_text(SYSTEM + 'account_sid = "AC' + "0" * 32 + '"\n', encoding="utf-8")
    refused(call("doctor", "--config", "c.toml"), "DNCSYNC_SYSTEMS__SMS__AUTH_TOKEN")


# --- where output goes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["number", "--help"], ["number", "show", BLOCKED], ["number", "show", BLOCKED, "--json"]],
    ids=["overview", "help", "text", "json"],
)
def test_output_that_cannot_be_written_is_no_success(
    arguments: list[str], unbuffered: str, ledger: Path
) -> None:
    where = ["--ledger", str(ledger)] if "show" in arguments else []
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command(*arguments, *where),
            stdout=full,
            stderr=subprocess.PIPE,
            env=environ(PYTHONUNBUFFERED=unbuffered),
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr.decode().count("\n") == 1, done.stderr
    assert "No space left on device" in done.stderr.decode()


def test_a_check_whose_answer_is_not_heard_allows_nothing(ledger: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("number", "check", FREE, "--ledger", ledger), stdout=full, env=environ(), timeout=60
        )
    assert done.returncode not in (0, None)


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("more", [[], ["--json"], ["--csv"]], ids=["text", "json", "csv"])
def test_a_reader_that_goes_away_is_no_traceback(more: list[str], unbuffered: str, ledger: Path) -> None:
    sql = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) SELECT i, hex(i) FROM n"
    )
    with subprocess.Popen(
        command("ledger", "query", sql, "--limit", "20000", "--ledger", ledger, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ(PYTHONUNBUFFERED=unbuffered),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == b""
