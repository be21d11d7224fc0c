"""`dncsync findings` on a ledger as real operations make it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dncsync.clock import SystemClock, to_micros
from dncsync.connector import Statement
from dncsync.drift.sighting import Sighting, settle
from dncsync.ledger import projections
from dncsync.ledger.rebuild import compare
from dncsync.ledger.sqlite import connect_reader
from dncsync.ledger.writer import DirectWriter, Tx
from dncsync.model import Channel
from dncsync.policy import Policies
from dncsync.sync import findings
from dncsync.sync.requests import Intake
from dncsync.sync.topology import Topology
from integration.cli.making import BLOCKED, CRM, FREE, call, make_ledger, refused

HOUR = 3_600_000_000
BY = ("--by", "jane", "--note", "mended it")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "ledger.sqlite"
    make_ledger(made, finding=False)
    return made


def do(path: Path, work: Callable[[Tx, int], Any]) -> Any:
    at = to_micros(SystemClock().now()) - HOUR
    with DirectWriter(path, now=at) as writer:
        return writer.call(lambda tx: work(tx, at))


def open_one(path: Path, kind: str = "not-kept", *, ago: int = 0, subject: str = "101", **more: Any) -> str:
    """Returns its short name."""
    do(
        path,
        lambda tx, at: findings.open_finding(
            tx, at - ago, kind, "crm", subject, f"{kind} of {subject}", **more
        ),
    )
    return short(path, f"{kind}/crm/{subject}")


def short(path: Path, finding_id: str) -> str:
    with closing(connect_reader(path)) as conn:
        (seq,) = conn.execute("SELECT event_seq FROM findings WHERE id = ?", (finding_id,)).fetchone()
    return f"f{seq}"


def rows(path: Path, sql: str) -> list[Any]:
    with closing(connect_reader(path)) as conn:
        return list(conn.execute(sql).fetchall())


def ask(path: Path, *arguments: str) -> Any:
    return call("findings", *arguments, "--ledger", path)


def json_of(path: Path, *arguments: str) -> Any:
    return ask(path, *arguments, "--json").json


# --- looking --------------------------------------------------------------------------------------------


def test_the_list_is_by_gravity_and_age_and_its_exit_code_says_that_somebody_is_waited_for(
    path: Path,
) -> None:
    assert ask(path, "list").code == 0, "what is for information waits for nobody"
    young = open_one(path)
    grave = open_one(path, "system-down", subject="crm")
    old = open_one(path, "rejected", ago=HOUR)
    ran = ask(path, "list", "--json")
    assert ran.code == 3
    assert [each["finding"] for each in ran.json][:3] == [grave, old, young]
    assert {
        "finding", "id", "kind", "system", "subject", "severity", "owner", "summary", "opened_at", "last_at",
        "count", "flaps", "flapping", "due_at", "acked_at", "acked_by", "note", "healed_at", "healed_by",
        "closed_at", "closed_by", "overdue", "frozen",
    } == set(ran.json[0])  # fmt: skip
    shown = ask(path, "list").out
    for word in (grave, "page", "system-down", "compliance", "due in", "1 h 00 m old"):
        assert word in shown, shown


def test_the_list_can_be_narrowed(path: Path) -> None:
    kept, down = open_one(path), open_one(path, "system-down", subject="crm")
    late = open_one(path, "rejected", ago=8 * 24 * HOUR)
    names = lambda *given: {each["finding"] for each in json_of(path, "list", *given)}  # noqa: E731
    assert names("--kind", "not-kept") == {kept}
    assert names("--severity", "page") == {down}
    assert names("--overdue") == {late}
    assert names("--system", "crm") >= {kept, down, late}
    assert ask(path, "resolve", kept, *BY).code == 0
    assert kept not in names()
    assert kept in names("--all")
    status = call("status", "--ledger", path, "--json").json
    assert status["overdue_findings"] == 1
    assert "findings list --overdue" in call("status", "--ledger", path).out


def test_a_typing_error_is_no_empty_list(path: Path) -> None:
    refused(ask(path, "list", "--system", "crn"), "no system 'crn'", "crm")
    refused(ask(path, "list", "--kind", "not-kpt"), "'not-kpt'", "not-kept")
    refused(ask(path, "list", "--severity", "grave"), "severity", code=2)


def test_a_finding_goes_by_its_number_its_id_or_the_beginning_of_it(path: Path) -> None:
    one = open_one(path)
    open_one(path, subject="102")
    for name in (one, "not-kept/crm/101"):
        assert json_of(path, "show", name)["finding"] == one
    assert json_of(path, "show", "quar")["kind"] == "quarantined"
    refused(ask(path, "show", "not-kept"), "several", one)
    assert ask(path, "resolve", "not-kept/crm/102", *BY).code == 0
    assert json_of(path, "show", "not-kept")["finding"] == one, "the open one is meant"
    for nothing in ("f999999", "nosuch", "f0"):
        refused(ask(path, "show", nothing), "no finding", "findings list --all")


def test_show_tells_everything_that_a_person_needs(path: Path) -> None:
    sighting = Sighting(
        "field-renamed", "crm", "dnc", "dnc is called dnc_old now", "dnc", "dnc_old [/b]", "name it back",
        since=1_790_000_000_000_000, baseline=("contract", "dnc", "dnc_old"),
    )  # fmt: skip
    do(path, lambda tx, at: settle(tx, at, "crm", ["field-renamed"], [sighting], "named back"))
    do(path, lambda tx, at: settle(tx, at, "crm", ["field-renamed"], [], "named back"))
    do(path, lambda tx, at: settle(tx, at, "crm", ["field-renamed"], [sighting], "named back"))
    found = json_of(path, "show", "field")
    assert found["detail"]["expected"] == "dnc"
    assert found["detail"]["since"].startswith("2026-09-21")
    assert found["exposed"]["numbers"] == 1
    assert found["exposed"]["sample"] == ["+1312\u2022\u2022\u2022\u2022\u202299"]
    assert rows(path, found["exposed"]["query"]) == [(BLOCKED,)]
    assert found["flapping"] is True
    assert [event["kind"] for event in found["history"]] == [
        "finding.opened", "finding.closed", "finding.opened",
    ]  # fmt: skip
    shown = " ".join(ask(path, "show", "field").out.split())
    for words in (
        "expected: dnc", "seen: dnc_old [/b]", "well until: 09-21", "exposed: 1 blocked number, e.g. +1312",
        "how to mend: name it back", "it is flapping, and nobody is called anew", "closed by named back",
        "came back soon", "dncsync findings accept f",
    ):  # fmt: skip
        assert words in shown, f"{words!r} is not in {shown}"
    assert BLOCKED not in shown


# --- acting ---------------------------------------------------------------------------------------------


def test_taking_it_on_needs_a_name_and_keeps_it_open(path: Path) -> None:
    name = open_one(path)
    refused(ask(path, "ack", name), "--by")
    refused(ask(path, "ack", name, "--by", "jane", "--due", "tomorrow"), "'tomorrow' is no date")
    refused(ask(path, "ack", name, "--by", "jane", "--due", "2020-01-01"), "past")
    refused(ask(path, "ack", name, "--by", "jane", "--due", "2099-01-01T10:00"), "no date")
    ran = ask(
        path, "ack", name, "--by", "jane", "--owner", "bob", "--note", "asked them", "--due", "2099-01-01"
    )
    assert ran.code == 0, ran.err
    found = json_of(path, "show", name)
    assert (found["owner"], found["acked_by"], found["note"]) == ("bob", "jane", "asked them")
    assert found["due_at"].startswith("2099-01-02T00:00:00"), "the whole day is his"
    assert found["closed_at"] is None
    assert compare(path, projections).differences == ()


def test_resolving_needs_a_name_and_a_note_and_happens_once(path: Path) -> None:
    name = open_one(path)
    refused(ask(path, "resolve", name, "--by", "jane"), "--note")
    refused(ask(path, "resolve", name, "--note", "done"), "--by")
    assert json_of(path, "resolve", name, *BY) == {"resolved": name}
    refused(ask(path, "resolve", name, *BY), "was closed", "jane")
    found = json_of(path, "show", name)
    assert (found["closed_by"], found["note"]) == ("jane", "mended it")
    assert found["history"][-1]["actor"] == "jane"
    refused(ask(path, "resolve", open_one(path, "rejected"), *BY, "--keep"), "no provisional request")


def test_a_frozen_system_is_shown_and_released(path: Path) -> None:
    name = open_one(path, "inverted-flag", subject="voice")
    (system,) = call("status", "--ledger", path, "--json").json["systems"]
    assert system["frozen"] is True
    assert "crm is frozen" in call("status", "--ledger", path).out
    assert "release crm" in " ".join(ask(path, "show", name).out.split())
    refused(ask(path, "release", "dialer", *BY), "'dialer' is not frozen")
    refused(ask(path, "release", "crm"), "--by, --note")
    assert json_of(path, "release", "crm", *BY) == {"released": "crm", "findings": [name], "compare": []}
    assert json_of(path, "show", name)["frozen"] is False
    assert compare(path, projections).differences == ()


def test_only_what_has_a_baseline_can_be_accepted(path: Path) -> None:
    name = open_one(path)
    refused(ask(path, "accept", name, *BY), "no baseline")
    refused(ask(path, "accept", name, "--by", "jane"), "--note")


def review(path: Path) -> tuple[str, str]:
    """(short name, request) of an ambiguous message on FREE."""

    def hear(tx: Tx, at: int) -> None:
        intake = Intake(Policies(), Topology({CRM.name: CRM}))
        said = Statement(
            "M1", FREE, Channel.SMS, SystemClock().now(), "who is this?", None, "MG", "sms-inbound"
        )
        intake.hear(tx, at, CRM, said)

    do(path, hear)
    ((request,),) = rows(path, "SELECT id FROM requests WHERE provisional = 1")
    return short(path, f"review/crm/{request}"), request


def test_a_provisional_block_waits_for_a_verdict(path: Path) -> None:
    name, request = review(path)
    refused(ask(path, "resolve", name, *BY), "--keep", "--release")
    refused(ask(path, "resolve", name, *BY, "--keep", "--release"), "exclude")
    assert call("number", "check", FREE, "--ledger", path).code == 3
    done = json_of(path, "resolve", name, *BY, "--release")
    assert (done["resolved"], done["request_released"], len(done["reversals"])) == (name, request, 1)
    assert call("number", "check", FREE, "--ledger", path).code == 0
    assert rows(path, "SELECT actor, reason, basis FROM reversals") == [("jane", "mended it", "review")]
    assert compare(path, projections).differences == ()


def test_a_release_that_trips_the_fuse_says_that_it_waits(path: Path, tmp_path: Path) -> None:
    name, request = review(path)
    (tmp_path / "strict.toml").write_text("fuses.clears.count = 1\n", encoding="utf-8")
    config = tmp_path / "strict-dncsync.toml"
    config.write_text(
        f'[ledger]\npath = "{path}"\n[policy]\nfile = "{tmp_path / "strict.toml"}"\n', encoding="utf-8"
    )

    other, paper = "+12125550177", tmp_path / "consent.pdf"
    paper.write_bytes(b"signed")
    assert call("number", "block", other, "--actor", "jane", "--config", config).code == 0
    signed = ("--evidence", paper, "--evidence-date", SystemClock().now().isoformat())
    why = ("--actor", "jane", "--reason", "asked", "--basis", "signed")
    assert call("number", "unblock", other, *why, *signed, "--config", config).code == 0

    ran = call("findings", "resolve", name, *BY, "--release", "--config", config, "--json")

    assert ran.code == 4
    assert ran.json["request_waiting"] == request
    assert len(ran.json["waits_for_approval"]) == 1
    assert call("number", "check", FREE, "--ledger", path, "--json").json["contact"] is False


def test_a_provisional_block_that_is_kept_is_a_firm_one(path: Path) -> None:
    name, request = review(path)
    assert json_of(path, "resolve", name, *BY, "--keep") == {"resolved": name, "kept": request}
    verdict = call("number", "check", FREE, "--ledger", path, "--json").json
    assert (verdict["contact"], verdict["why"]) == (False, "internal block")


def test_a_policy_file_is_applied_without_a_daemon_too(path: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('drift.actions = { not-kept = "page" }\n')
    config = tmp_path / "dncsync.toml"
    config.write_text(f'[ledger]\npath = "{path}"\n[policy]\nfile = "{policy}"\n')
    assert call("number", "block", FREE, "--actor", "jane", "--config", config).code == 0
    assert json_of(path, "show", open_one(path))["severity"] == "page"
    assert call("number", "block", FREE, "--actor", "jane", "--ledger", path).code == 0
    assert json_of(path, "show", open_one(path, subject="102"))["severity"] == "page", "it was told last"
    policy.write_text('drift.actions = { not-kpt = "page" }\n')
    ran = call("number", "block", FREE, "--actor", "jane", "--config", config)
    refused(ran, "no such kind of finding", "did you mean not-kept?")
