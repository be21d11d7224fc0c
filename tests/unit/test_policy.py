"""The policy: defaults of regulation section 12, limits that hold, dates, and errors that say how to mend."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dncsync.deadlines import Calendar
from dncsync.model import Channel
from dncsync.policy import (
    Change,
    NoticeKind,
    Policies,
    Policy,
    PolicyError,
    blocked_channels,
    load,
    parse,
    rules_of,
)
from dncsync.policy.kinds import ACTIONS, NEVER_ACCEPTED

CONFIG = Path(__file__).parents[2] / "config" / "policy.toml"
VOICE, SMS = Channel.VOICE, Channel.SMS
VERIFIED = date(2026, 11, 21)


def test_the_shipped_file_says_exactly_the_built_in_defaults() -> None:
    assert load(CONFIG) == Policies() == parse("")


def test_the_shipped_file_names_every_rule_with_its_sources_and_freedom() -> None:
    text = CONFIG.read_text(encoding="utf-8")
    table, lines = "", {}
    for line in text.splitlines():
        if line.startswith("["):
            table = line.strip("[]") + "."
        elif "=" in line and not line.startswith("#"):
            lines[table + line.split(" =")[0]] = line
    for rule in rules_of(Policy()):
        line = lines[rule.path]
        if rule.path != "verified_on":
            assert f"# {rule.law.change}" in line, rule.path
            assert ("counsel" in line) == rule.law.counsel, rule.path
        assert "[" not in line.split("#")[1] or any(i in line for i in rule.law.ids.split()), rule.path
    tomllib.loads(text.replace("# [", "[").replace('# "rules', '"rules'))  # the commented part is TOML too


def test_defaults_of_section_12() -> None:
    policy = Policy()
    rules = policy.rules
    assert policy.verified_on == VERIFIED
    assert rules.honor_deadline_business_days == 10
    assert rules.sla_seconds.model_dump() == {"ledger": 1, "dialer": 60, "sms": 60, "crm": 900, "all": 86400}
    assert (rules.confirmation.max, rules.confirmation.window_seconds) == (1, 300)
    assert rules.scope_on_stop == "global"
    assert rules.revoke_all_mandatory_from == date(2027, 1, 31)
    assert set(rules.channels_on_stop) == set(rules.channels_on_voice_dnc)
    assert rules.registry_max_age_days == 30
    assert rules.ebr.state_overrides == {"TX": 12, "TN": 12}
    assert rules.override.ebr_lifts_internal is False
    assert Calendar(rules.calendars.alarm) is Calendar.STRICT
    assert Calendar(rules.calendars.report) is Calendar.FEDERAL
    assert policy.sync.reversal_authorities == ()
    assert policy.sync.start_restores == "programme"


def kinds_in_the_source() -> set[str]:
    """The kinds of finding that the house opens, spelled out in the call or by a constant of its module."""
    found: set[str] = set()
    for path in (Path(__file__).parents[2] / "src" / "dncsync").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = dict(constants(tree))
        for call in ast.walk(tree):
            name = getattr(
                getattr(call, "func", None), "attr", getattr(getattr(call, "func", None), "id", "")
            )
            place = {"open_finding": 2, "close_finding": 2, "Sighting": 0}.get(name)
            if not isinstance(call, ast.Call) or place is None:
                continue
            for value in [k.value for k in call.keywords if k.arg == "kind"] or call.args[place : place + 1]:
                for leaf in [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]:
                    kind = names.get(leaf.id) if isinstance(leaf, ast.Name) else getattr(leaf, "value", None)
                    found |= {kind} if isinstance(kind, str) else set()
    return found


def constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names that a module gives to texts, alone or several in a line."""
    for each in tree.body:
        value = getattr(each, "value", None)
        for target in getattr(each, "targets", [getattr(each, "target", None)]):
            pairs = [(target, value)]
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs = list(zip(target.elts, value.elts, strict=True))
            for name, text in pairs:
                said = getattr(text, "value", None)
                if isinstance(name, ast.Name) and isinstance(said, str):
                    yield name.id, said


def test_policy_knows_every_kind_of_finding() -> None:
    found = kinds_in_the_source()
    spelled_out, by_constant = {"not-kept", "cleared-there", "legal-deadline", "review"}, {"webhooks-silent"}
    assert spelled_out | by_constant <= found, "the search finds them"
    assert found <= set(ACTIONS), f"add to policy/kinds.py and config/policy.toml: {found - set(ACTIONS)}"
    assert set(NEVER_ACCEPTED) <= set(ACTIONS)


def test_the_shipped_file_lists_every_kind_of_finding() -> None:
    written = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["drift"]["actions"]
    assert written == dict(ACTIONS)


def test_a_file_changes_the_kinds_it_names() -> None:
    drift = parse('drift.actions = { field-absent = "freeze", volume-high = "accept" }').first.drift
    assert drift.actions == {**ACTIONS, "field-absent": "freeze", "volume-high": "accept"}


def test_business_days_of_message_classes() -> None:
    assert Policy().business_days() == 10
    assert Policy().business_days("package_delivery") == 6
    assert Policy().business_days("healthcare_exempt") == 0
    stricter = parse("rules.honor_deadline_business_days = 3").first
    assert stricter.business_days("package_delivery") == 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        # T22
        (
            "rules.honor_deadline_business_days = 15",
            "rules.honor_deadline_business_days = 15: at most 10 (REV-05 INT-03 SEED-02)",
        ),
        (
            "rules.override.ebr_lifts_internal = true",
            "rules.override.ebr_lifts_internal = true: must be false (OVR-02 SEED-13)",
        ),
        ("rules.override.ttl_months = 13", "rules.override.ttl_months = 13: at most 12 (OVR-04)"),
        ("rules.internal_min_years = 4", "rules.internal_min_years = 4: at least 5 (INT-08)"),
        ("rules.registry_max_age_days = 32", "rules.registry_max_age_days = 32: at most 31 (REG-03 CLK-10)"),
        (
            'rules.internal_block_ttl = "5 years"',
            "rules.internal_block_ttl = \"5 years\": must be 'never' (INT-08)",
        ),
        (
            "rules.ebr.state_overrides.TX = 18",
            "rules.ebr.state_overrides.TX = 18: from 0 to 12 (EBR-06)",
        ),
        ('rules.channels_on_stop = ["voice"]', 'rules.channels_on_stop: must list "sms" itself (REV-12)'),
        (
            "rules.confirmation.window_seconds = 600",
            "rules.confirmation.window_seconds = 600: more than 300 (REV-07) needs "
            '[counsel_approved] "rules.confirmation.window_seconds"',
        ),
        (
            "rules.revoke_all_mandatory_from = 2028-01-31",
            "rules.revoke_all_mandatory_from = 2028-01-31: more than 2027-01-31 (REV-10) needs "
            '[counsel_approved] "rules.revoke_all_mandatory_from"',
        ),
        (
            "rules.honour_deadline_business_days = 5",
            "rules.honour_deadline_business_days: unknown key; "
            "did you mean rules.honor_deadline_business_days?",
        ),
        (
            'drift.actions.field-renmed = "page"',
            'drift.actions."field-renmed": there is no such kind of finding; did you mean field-renamed?',
        ),
        (
            'drift.actions.review = "accept"',
            "drift.actions.review: a person must see it; policy cannot accept it",
        ),
        (
            'drift.actions.volume-high = "shout"',
            "drift.actions.volume-high = \"shout\": must be 'page', 'freeze', 'warn', 'as_seen' or 'accept'",
        ),
        ("drift.flap_minutes = -1", "drift.flap_minutes = -1: at least 0 (design-7)"),
        ("drift.due_days.review = 2", "drift.due_days.review = 2: at most 1 (REV-03)"),
        ("colour = 1", "colour: unknown key"),
        ("rules = 1", "rules = 1: must be a table"),
        ('rules.channels_on_stop = "sms"', 'rules.channels_on_stop = "sms": must be a list (REV-12 SEED-12)'),
        (
            'sync.reversal_authorities = ["crm", "crm"]',
            "sync.reversal_authorities: lists a name twice",
        ),
        (
            "rules.honor_deadline_business_days = true",
            "rules.honor_deadline_business_days = true: must be a valid integer (REV-05 INT-03 SEED-02)",
        ),
        ('verified_on = "2026-11-21"', 'verified_on = "2026-11-21": must be a valid date (REV-13)'),
        (
            'counsel_approved."rules.override.ttl_months" = "Jane Roe"',
            'counsel_approved: "rules.override.ttl_months" is no rule that counsel can lift',
        ),
        (
            'counsel_approved."rules.scope_on_stop" = " "',
            'counsel_approved: "rules.scope_on_stop" must say who approved it and where that is written',
        ),
        ("policy_schema = 2", "policy_schema = 2: must be 1"),
        (
            'rules.override.ttl_months = 13\nsync.coverage = "all"',
            "sync.coverage = \"all\": must be 'record' or 'person' (SEED-11)",
        ),
        (
            "rules.override.ttl_months = 13\nrules.internal_min_years = 1",
            "rules.internal_min_years = 1: at least 5 (INT-08) (and 1 more)",
        ),
        ("rules = ", "not valid TOML: Invalid value (at end of document)"),
        ("amendments = 1", "amendments: write each one as a table [[amendments]]"),
        (
            '[[amendments]]\nwhy = "x"',
            "amendments, number 1: needs `from`, a date such as 2027-02-01, and may have `why`, a text",
        ),
        (
            "[[amendments]]\nfrom = 2027-01-01\nrules.override.ttl_months = 13",
            "amendments, number 1: rules.override.ttl_months = 13: at most 12 (OVR-04)",
        ),
        (
            "[[amendments]]\nfrom = 2027-01-02\n[[amendments]]\nfrom = 2027-01-02",
            "amendments, number 2: from 2027-01-02 is not after 2027-01-02",
        ),
    ],
)
def test_a_looser_or_wrong_value_is_refused_in_one_line(text: str, line: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse(text)
    assert str(caught.value) == line


def test_a_stricter_value_needs_nobody() -> None:
    text = (
        "rules.override.ttl_months = 6\nrules.ebr.state_overrides = { FL = 6 }\nrules.sla_seconds.all = 3600"
    )
    policy = parse(text).first
    assert policy.rules.override.ttl_months == 6
    assert policy.rules.ebr.state_overrides == {"TX": 12, "TN": 12, "FL": 6}


def test_counsel_may_lift_a_limit_by_name() -> None:
    text = """
        rules.confirmation.window_seconds = 600
        counsel_approved."rules.confirmation.window_seconds" = "Jane Roe, memo 7"
    """
    assert parse(text).first.rules.confirmation.window_seconds == 600


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "policy.toml"
    with pytest.raises(PolicyError, match=r"policy\.toml: cannot be read: .*No such file"):
        load(missing)
    missing.write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyError, match="cannot be read"):
        load(missing)
    missing.write_text("rules.override.ttl_months = 13")
    with pytest.raises(PolicyError, match=r"policy\.toml: rules\.override\.ttl_months = 13: at most 12"):
        load(missing)


# --- dates ---

NARROW = 'rules.scope_on_stop = "narrow"\n'
COUNSEL = 'counsel_approved."rules.scope_on_stop" = "Jane Roe, memo of 2027-01-12"\n'


def test_t23_narrow_scope_ends_with_the_waiver() -> None:
    policies = parse(NARROW)
    last, after = date(2027, 1, 30), date(2027, 1, 31)
    policies.check(last)
    assert policies.on(last).rules.scope_on_stop == "narrow"
    with pytest.raises(PolicyError, match=r'rules\.scope_on_stop = "narrow": not allowed from 2027-01-31'):
        policies.check(after)
    assert policies.on(after).rules.scope_on_stop == "global"  # a daemon that runs on is safe by itself


def test_t23_counsel_may_keep_it_narrow() -> None:
    policies = parse(NARROW + COUNSEL)
    policies.check(date(2027, 3, 1))
    assert policies.on(date(2027, 3, 1)).rules.scope_on_stop == "narrow"


def test_an_amendment_holds_from_its_day_and_builds_on_the_one_before() -> None:
    policies = parse(
        NARROW
        + """
        rules.override.ttl_months = 6
        [[amendments]]
        from = 2027-01-15
        why = "before the waiver ends"
        rules.scope_on_stop = "global"
        [[amendments]]
        from = 2027-02-15
        rules.sla_seconds.crm = 60
        """
    )
    assert policies.on(date(2027, 1, 14)).rules.scope_on_stop == "narrow"
    assert policies.on(date(2027, 1, 15)).rules.scope_on_stop == "global"
    assert policies.on(date(2027, 1, 15)).rules.sla_seconds.crm == 900
    assert policies.on(date(2027, 2, 15)).rules.sla_seconds.crm == 60
    assert policies.on(date(2027, 2, 15)).rules.scope_on_stop == "global"
    assert policies.on(date(2027, 2, 15)).rules.override.ttl_months == 6
    assert policies.amendments[0].why == "before the waiver ends"
    policies.check(date(2027, 2, 20))


@pytest.mark.parametrize(
    ("today", "unverified"),
    [
        (VERIFIED, False),
        (date(2026, 12, 31), False),
        (date(2027, 1, 1), True),  # watched from this day on, whatever the age
        (VERIFIED + timedelta(days=61), True),
        (VERIFIED - timedelta(days=1), True),  # verified in the future
    ],
)
def test_a_policy_that_nobody_compared_with_the_law_is_noticed(today: date, unverified: bool) -> None:
    kinds = {notice.kind for notice in Policies().check(today)}
    assert (NoticeKind.UNVERIFIED in kinds) is unverified
    assert NoticeKind.UNREVIEWED in kinds


def test_sixty_days_are_enough_and_a_reviewer_silences_the_banner() -> None:
    policies = parse('verified_on = 2027-03-01\nreviewed_by = "Jane Roe"')
    assert policies.check(date(2027, 4, 30)) == ()
    assert [n.kind for n in policies.check(date(2027, 5, 1))] == [NoticeKind.UNVERIFIED]


# --- channels ---


def test_unified_spreads_and_separate_does_not() -> None:
    separate = parse('sync.channels = "separate"').first
    for requested in (frozenset({VOICE}), frozenset({SMS}), frozenset({VOICE, SMS})):
        assert blocked_channels(Policy(), requested) == {VOICE, SMS}
        assert blocked_channels(separate, requested) == requested


def test_the_lists_may_make_it_one_way() -> None:
    policy = parse('rules.channels_on_voice_dnc = ["voice", "ringless"]').first
    assert blocked_channels(policy, frozenset({SMS})) == {SMS, VOICE}
    assert blocked_channels(policy, frozenset({VOICE})) == {VOICE}


MEDIA = st.sets(st.sampled_from(["mms", "rcs", "ringless", "voice", "sms"]))


@given(
    st.frozensets(st.sampled_from(Channel)),
    st.sampled_from(["unified", "separate"]),
    MEDIA.map(lambda media: sorted(media | {"sms"})),
    MEDIA.map(lambda media: sorted(media | {"voice"})),
)
def test_a_request_blocks_at_least_what_it_was_made_on(
    requested: frozenset[Channel], mode: str, on_stop: list[str], on_voice: list[str]
) -> None:
    lists = f"rules.channels_on_stop = {on_stop}\nrules.channels_on_voice_dnc = {on_voice}"
    policy = parse(f'sync.channels = "{mode}"\n{lists}').first
    blocked = blocked_channels(policy, requested)
    assert blocked >= requested
    assert blocked_channels(policy, frozenset()) == frozenset()
    union = frozenset().union(*(blocked_channels(policy, frozenset({one})) for one in requested))
    assert blocked == union


@given(st.data())
def test_no_number_beyond_its_limit_gets_in(data: st.DataObject) -> None:
    bounded = [r for r in rules_of(Policy()) if isinstance(r.value, int) and not isinstance(r.value, bool)]
    rule = data.draw(st.sampled_from(bounded))
    value = data.draw(st.integers(-5, 200_000))
    law = rule.law
    fits = (law.least is None or value >= law.least) and (not isinstance(law.most, int) or value <= law.most)
    try:
        parse(f"{rule.path} = {value}")
    except PolicyError:
        assert not fits
    else:
        assert fits


@given(st.text(st.characters(codec="utf-8"), max_size=60))
@example("x = " + "[" * 5000)
@example("x = 0x" + "1" * 5000)
@example("rules.internal_min_years = -0x" + "1" * 5000)
@example("rules.ebr.transaction_months = 0x" + "1" * 5000)
@example("rules.ebr.state_overrides.TX = 0x" + "1" * 5000)
@example("x = " + "1" * 5000)
@example("rules = [" + "1," * 5000 + "]")
def test_any_text_is_a_policy_or_one_clear_line(text: str) -> None:
    said = "fine"
    try:
        parse(text)
    except PolicyError as error:
        said = str(error)
    assert said.isprintable()
    assert 0 < len(said) < 300


def test_every_rule_has_a_source_and_up_only_rules_have_a_limit() -> None:
    for rule in rules_of(Policy()):
        assert rule.law.ids
        if rule.law.change is Change.UP and isinstance(rule.value, int):
            assert rule.law.least is not None or rule.law.most is not None
