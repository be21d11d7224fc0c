"""`dncsync import`: files as people have them, hostile ones, and interruptions."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from dncsync.ledger import verify
from dncsync.ledger.sqlite import connect_reader
from dncsync.testing.sandbox import seeded_number
from integration.cli.making import call, command, csv_file, environ, events, refused


def blocked(ledger: Path) -> set[str]:
    with closing(connect_reader(ledger)) as conn:
        return {row[0] for row in conn.execute("SELECT number FROM blocks WHERE ended_seq IS NULL")}


def test_run_twice_it_is_in_once(ledger: Path, tmp_path: Path) -> None:
    list_ = csv_file(tmp_path / "list.csv", [f"{seeded_number(1, i)},,,," for i in range(1_200)])
    first = call("import", list_, "--ledger", ledger, "--json")
    assert first.code == 0
    assert (first.json["imported"], first.json["known"]) == (1_200, 0)
    before = events(ledger)
    again = call("import", list_, "--ledger", ledger, "--json")
    assert again.code == 0
    assert (again.json["imported"], again.json["known"]) == (0, 1_200)
    assert events(ledger) == before


def test_killed_half_way_and_run_again_it_is_in_once(ledger: Path, tmp_path: Path) -> None:
    """kill -9 on the real process, after its first batch is durable and before its last."""
    many = 20_000
    numbers = [seeded_number(2, i) for i in range(many)]
    list_ = csv_file(tmp_path / "list.csv", [f"{n},,,," for n in numbers])
    process = subprocess.Popen(command("import", list_, "--ledger", ledger), env=environ())
    with closing(connect_reader(ledger)) as conn:
        while process.poll() is None:
            (imported,) = conn.execute("SELECT count(*) FROM requests").fetchone()
            if imported > 1_000:
                process.send_signal(signal.SIGKILL)
                break
        process.wait(30)
        (imported,) = conn.execute("SELECT count(*) FROM requests").fetchone()
    assert process.returncode == -signal.SIGKILL, "it was done before it could be killed"
    assert 0 < imported < many
    ran = call("import", list_, "--ledger", ledger, "--json")
    assert ran.code == 4, "so many at once wait for approval; they are blocked all the same"
    assert ran.json["waits_for"].startswith("F")
    assert ran.json["imported"] + ran.json["known"] == many
    assert ran.json["known"] >= imported - 1, "what was durable is known (one request is the ledger's own)"
    assert set(numbers) <= blocked(ledger)
    assert verify.verify(ledger).ok


def test_a_dry_run_writes_nothing(ledger: Path, tmp_path: Path) -> None:
    list_ = csv_file(tmp_path / "list.csv", ["2125550123,,,,", "N/A,,,,"])
    before = events(ledger)
    ran = call("import", list_, "--dry-run", "--json")
    assert ran.code == 3
    assert ran.json == {"rows": 2, "imported": 1, "known": 0, "rejected": 1, "dry_run": True}
    assert events(ledger) == before
    assert not (tmp_path / "list.csv.rejects.csv").exists()


BAD_ROWS = {
    "N/A,,,,": "junk",
    "3125550199 x77,,,,": "extension",
    "2125550123,fax,,,": "channel: neither voice nor sms",
    "2125550123,,yesterday,,": "requested_at: not ISO 8601",
    "2125550123,,2999-01-01,,": "requested_at: in the future",
    "2125550123,,1969-07-20,,": "requested_at: in the future or before 1970",
    "2125550123,,,,x,surplus": "more cells than the header has",
    "2125550123,,,," + "x" * 10_001: "words: longer than 10,000 characters",
    "2125550123,,,stran\0ge,": "source: control characters",
    "2125550123,,,\x1b[2J,": "source: control characters",
    "2125550123,,," + "x" * 201 + ",": "source: longer than 200 characters",
}


def test_bad_rows_are_told_with_their_line_and_reason(ledger: Path, tmp_path: Path) -> None:
    list_ = csv_file(tmp_path / "list.csv", ["2125550123,sms,2020-02-02,paper,fine", *BAD_ROWS])
    ran = call("import", list_, "--ledger", ledger, "--json")
    assert ran.code == 3
    assert (ran.json["imported"], ran.json["rejected"]) == (1, len(BAD_ROWS))
    with Path(ran.json["rejects_file"]).open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["line", "reason", "number", "channel", "requested_at", "source", "words"]
    for line, (row, said) in enumerate(zip(rows[1:], BAD_ROWS.values(), strict=True), 3):
        assert row[0] == str(line)
        assert said in row[1]
    assert not (tmp_path / "list.csv.rejects.csv.partial").exists()


def test_rejects_can_be_mended_and_imported(ledger: Path, tmp_path: Path) -> None:
    list_ = csv_file(tmp_path / "list.csv", ["N/A,,,=cmd|calc,+1 (212) 555-0199"])
    assert call("import", list_, "--ledger", ledger).code == 3
    rejects = tmp_path / "list.csv.rejects.csv"
    rejects.write_text(rejects.read_text(encoding="utf-8").replace("N/A", "2125550123"), encoding="utf-8")
    assert call("import", rejects, "--ledger", ledger).code == 0
    with closing(connect_reader(ledger)) as conn:
        (source,) = conn.execute("SELECT source FROM requests ORDER BY event_seq DESC LIMIT 1").fetchone()
    assert source == "=cmd|calc", "the guard of the rejects file is not taken for content"


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ('=HYPERLINK(""http://x"")', '\'=HYPERLINK("http://x")'),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3+cmd|x", "'-2+3+cmd|x"),
        ("\t=1", "'\t=1"),
        ("+1 (312) 555-019", "+1 (312) 555-019"),
        ("fine", "fine"),
    ],
)
def test_a_spreadsheet_computes_nothing_in_the_rejects(
    cell: str, written: str, ledger: Path, tmp_path: Path
) -> None:
    list_ = csv_file(tmp_path / "list.csv", [f'N/A,,,,"{cell}"'])
    assert call("import", list_, "--ledger", ledger).code == 3
    with (tmp_path / "list.csv.rejects.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[1][-1] == written


GOOD = "number\n" + "\n".join(seeded_number(3, i) for i in range(600)) + "\n"

NO_LISTS = {
    "utf-16": (GOOD.encode("utf-16"), ["not UTF-8", "UTF-16"]),
    "utf-16 without a mark": (GOOD.encode("utf-16-le"), ["NUL", "UTF-8"]),
    "excel": (b"PK\x03\x04" + bytes(range(256)), ["not UTF-8", "Excel"]),
    "latin-1 in the last line": (GOOD.encode() + b"\xe9\n", ["not UTF-8"]),
    "a quote never closed": (GOOD.encode() + b'"2125550123\n', ["not CSV", "quote"]),
    "a line of 10 MB": (GOOD.encode() + b"x" * 10_000_000 + b"\n", ["not CSV", "field larger"]),
    "a header of 10 MB": (b"x," * 5_000_000 + b"\n", ["no column 'number'"]),
    "nothing": (b"", ["no column 'number'", "(nothing)"]),
    "no header": (b"2125550123\n", ["no column 'number'", "--number-column"]),
    "a column twice": (b"number,number\n2125550123,\n", ["'number' is there twice"]),
    "binary": (bytes(range(256)) * 100, ["not UTF-8"]),
}


@pytest.mark.parametrize("name", NO_LISTS)
def test_a_file_that_is_no_such_list_changes_nothing(name: str, ledger: Path, tmp_path: Path) -> None:
    """Also where the fault is far behind many good rows."""
    content, words = NO_LISTS[name]
    (tmp_path / "list.csv").write_bytes(content)
    before, files = events(ledger), set(tmp_path.iterdir())
    line = refused(call("import", tmp_path / "list.csv", "--ledger", ledger), *words)
    assert len(line) < 700
    assert events(ledger) == before
    assert {path.name for path in set(tmp_path.iterdir()) - files} <= {
        "ledger.sqlite-shm",
        "ledger.sqlite-wal",
    }


def test_rejects_that_cannot_be_written_stop_the_import_before_it_begins(
    ledger: Path, tmp_path: Path
) -> None:
    list_ = csv_file(tmp_path / "list.csv", ["2125550123,,,,", "N/A,,,,"])
    before = events(ledger)
    ran = call("import", list_, "--rejects", tmp_path / "no" / "rejects.csv", "--ledger", ledger)
    refused(ran, "rejects cannot be written", "nothing was imported")
    assert events(ledger) == before


def test_an_excel_file_with_a_byte_order_mark_is_read(ledger: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b'\xef\xbb\xbfnumber,words\r\n(212) 555-0123,"two\r\nlines"\r\n')
    ran = call("import", tmp_path / "list.csv", "--ledger", ledger, "--json")
    assert ran.code == 0, ran.err
    assert "+12125550123" in blocked(ledger)


def test_other_names_of_columns(ledger: Path, tmp_path: Path) -> None:
    list_ = csv_file(tmp_path / "list.csv", ["2125550123,2020-02-02"], header="Phone,Date")
    names = ("--number-column", "Phone", "--requested-at-column", "Date", "--source", "paper")
    assert call("import", list_, *names, "--ledger", ledger).code == 0
    (request,) = call("number", "show", "2125550123", "--ledger", ledger, "--json").json["requests"]
    assert request["occurred_at"].startswith("2020-02-02")
    assert request["source"] == "paper"


def test_a_list_in_a_pipe_is_told_to_be_saved(ledger: Path, tmp_path: Path) -> None:
    """It is read twice: first checked as a whole, then recorded."""
    os.mkfifo(tmp_path / "pipe")
    refused(call("import", tmp_path / "pipe", "--ledger", ledger), "not a file")
