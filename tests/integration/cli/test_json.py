"""`--json` of every command: one document, keys that scripts can rely on, and the exit code beside it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from integration.cli.making import (
    BLOCKED,
    FREE,
    call,
    command,
    csv_file,
    environ,
)


def test_status(ledger: Path) -> None:
    ran = call("status", "--ledger", ledger, "--json")
    assert ran.code == 3, "a finding waits for a person"
    found = ran.json
    assert {
        "ledger", "daemon", "blocked_numbers", "requests", "events", "open_findings", "findings_by_severity",
        "systems", "findings", "overdue_findings", "plans", "canary", "sqlite_warning",
    } == set(found)  # fmt: skip
    assert found["daemon"] is False
    assert found["blocked_numbers"] == 1
    assert found["findings_by_severity"]["warning"] == 1
    assert {f["kind"] for f in found["findings"]} == {"cleared-there", "quarantined"}


def test_status_of_a_ledger_in_which_all_is_well(tmp_path: Path) -> None:
    from integration.cli.making import make_ledger

    make_ledger(tmp_path / "l.sqlite", finding=False)
    ran = call("status", "--ledger", tmp_path / "l.sqlite", "--json")
    assert ran.code == 0, ran.out


def test_number_show(ledger: Path) -> None:
    ran = call("number", "show", "312-555-0199", "--ledger", ledger, "--json")
    assert ran.code == 0
    found = ran.json
    assert {
        "number", "blocked", "requests", "reversals", "programmes_restored", "statements", "deliveries",
        "holdings", "waits_for",
    } == set(found)  # fmt: skip
    assert found["number"] == BLOCKED
    assert found["blocked"] == ["sms", "voice"]
    (delivery,) = found["deliveries"]
    assert delivery["proof"] == "verified"
    assert delivery["known_at"] <= delivery["sent_at"] <= delivery["accepted_at"] <= delivery["verified_at"]


def test_number_history_in_the_ledgers_order(ledger: Path) -> None:
    found = call("number", "history", BLOCKED, "--ledger", ledger, "--json").json
    assert set(found) == {"number", "events"}
    seqs = [event["seq"] for event in found["events"]]
    assert seqs == sorted(seqs)
    assert "requests.recorded" in {event["kind"] for event in found["events"]}


def test_number_check(ledger: Path) -> None:
    ran = call("number", "check", BLOCKED, "--channel", "sms", "--ledger", ledger, "--json")
    assert ran.code == 3
    assert ran.json["contact"] is False
    assert {"number", "channel", "contact", "why", "request", "source", "system", "since"} == set(ran.json)
    ran = call("number", "check", FREE, "--ledger", ledger, "--json")
    assert ran.code == 0
    assert ran.json["contact"] is True


def test_number_block_is_durable_when_it_returns(ledger: Path) -> None:
    ran = call("number", "block", FREE, "--actor", "jane", "--ledger", ledger, "--json")
    assert ran.code == 0
    assert set(ran.json) == {"number", "done", "channel", "request"}
    assert call("number", "check", FREE, "--ledger", ledger).code == 3


def test_number_unblock(ledger: Path, tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    consent = tmp_path / "consent.pdf"
    consent.write_bytes(b"signed")
    when = (datetime.now(UTC) - timedelta(minutes=1)).isoformat(timespec="seconds")
    ran = call(
        "number", "unblock", BLOCKED, "--actor", "jane", "--reason", "asked", "--basis", "signed",
        "--evidence", consent, "--evidence-date", when, "--ledger", ledger, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert set(ran.json) == {"number", "done", "evidence_sha256", "reversal"}
    (reversal,) = call("number", "show", BLOCKED, "--ledger", ledger, "--json").json["reversals"]
    assert reversal["evidence_date"] == when
    assert reversal["evidence_name"] == "consent.pdf"
    assert call("number", "check", BLOCKED, "--ledger", ledger).code == 0
    assert call("ledger", "rebuild", "--ledger", ledger).code == 0, "the date is in the event too"


def test_number_quarantine(ledger: Path) -> None:
    ran = call("number", "quarantine", "--ledger", ledger, "--json")
    assert ran.code == 0
    (row,) = ran.json
    assert set(row) == {"system", "key", "raw", "problem", "seen_at"}


def test_import(ledger: Path, tmp_path: Path) -> None:
    list_ = csv_file(tmp_path / "list.csv", ["2125550123,voice,2019-05-01,paper,please", "N/A,,,,"])
    ran = call("import", list_, "--ledger", ledger, "--json")
    assert ran.code == 3
    assert ran.json == {
        "rows": 2, "imported": 1, "known": 0, "rejected": 1, "dry_run": False,
        "rejects_file": str(list_) + ".rejects.csv",
    }  # fmt: skip


def test_ledger_verify(ledger: Path) -> None:
    ran = call("ledger", "verify", "--ledger", ledger, "--json")
    assert ran.code == 0
    assert set(ran.json) == {"ok", "events", "head", "checkpoints", "problems", "omitted"}


def test_ledger_verify_of_a_forged_ledger(ledger: Path) -> None:
    from integration.ledger.making import forging

    with forging(ledger) as conn:
        conn.execute("UPDATE events SET actor = 'nobody \x1b[2J' WHERE seq = 2")
    ran = call("ledger", "verify", "--ledger", ledger, "--json")
    assert ran.code == 3
    assert ran.json["ok"] is False
    assert ran.json["problems"]
    shown = call("ledger", "verify", "--ledger", ledger)
    assert shown.code == 3
    assert "does not verify" in shown.out


def test_ledger_export(ledger: Path, tmp_path: Path) -> None:
    ran = call("ledger", "export", tmp_path / "audit.sqlite", "--ledger", ledger, "--json")
    assert ran.code == 0
    assert set(ran.json) == {"file", "head", "root", "complete", "rows"}
    assert ran.json["complete"] is True


def test_ledger_query(ledger: Path) -> None:
    sql = "SELECT number, hash FROM events WHERE number IS NOT NULL"
    ran = call("ledger", "query", sql, "--ledger", ledger, "--json")
    assert ran.code == 0
    assert set(ran.json) == {"columns", "rows", "truncated"}
    assert ran.json["rows"][0][0] == BLOCKED
    table = call("ledger", "query", sql, "--ledger", ledger, "--csv")
    assert table.out.splitlines()[1].split(",") == ran.json["rows"][0], "the same bytes in both"


def test_ledger_rebuild(ledger: Path) -> None:
    ran = call("ledger", "rebuild", "--ledger", ledger, "--json")
    assert ran.code == 0
    assert set(ran.json) == {"ok", "events", "differences", "applied"}


def test_ledger_rebuild_finds_and_mends_a_projection(ledger: Path) -> None:
    from integration.ledger.making import forging

    with forging(ledger) as conn:
        conn.execute("UPDATE blocks SET ended_seq = 1")
    assert call("number", "check", BLOCKED, "--ledger", ledger).code == 0, "the forgery clears the number"
    ran = call("ledger", "rebuild", "--ledger", ledger, "--json")
    assert ran.code == 3
    assert {d["table"] for d in ran.json["differences"]} == {"blocks"}
    assert call("ledger", "rebuild", "--apply", "--ledger", ledger).code == 3
    assert call("ledger", "rebuild", "--ledger", ledger).code == 0
    assert call("number", "check", BLOCKED, "--ledger", ledger).code == 3


def test_ledger_checkpoint_and_the_verification_that_uses_it(ledger: Path, tmp_path: Path) -> None:
    key, out = tmp_path / "key.pem", tmp_path / "kept.json"
    ran = call(
        "ledger", "checkpoint", "--new-key", "--key", key, "--out", out, "--ledger", ledger, "--json"
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert set(ran.json) == {"file", "seq", "at"}
    found = call("ledger", "verify", "--checkpoint", out, "--ledger", ledger, "--json")
    assert found.code == 0
    assert found.json["checkpoints"] == 2, "the one in the ledger and the one kept"


def test_init_and_doctor(tmp_path: Path) -> None:
    config = tmp_path / "dncsync.toml"
    assert call("init", config, "--json").json == {"file": str(config)}
    ran = call("doctor", "--config", config, "--json")
    assert set(ran.json) == {"ok", "checks"}
    assert all({"about", "name", "ok", "seen", "mend"} == set(check) for check in ran.json["checks"])
    assert ran.code == (0 if ran.json["ok"] else 3)


def test_sandbox_prints_a_configuration_and_ends_on_sigterm() -> None:
    process = subprocess.Popen(
        command("sandbox", "twilio", "--contacts", "5", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ(),
    )
    assert process.stdout is not None
    (box,) = json.loads(process.stdout.readline())
    assert {"vendor", "url", "config", "secrets"} == set(box)
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert err == b""
