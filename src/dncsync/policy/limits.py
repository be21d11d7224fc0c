"""How far the rules of a policy may be moved, and where one goes beyond that."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from dncsync.policy.kinds import ACTIONS, NEVER_ACCEPTED
from dncsync.policy.values import STATE_MONTHS, Law, Policy, Table


class PolicyError(ValueError):
    """A policy that cannot be used. One line; `problems` holds one line for each fault."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(problems[0] + more)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a policy with its value and source, e.g. for `policy show`."""

    path: str
    value: object
    law: Law


def rules_of(policy: Policy) -> Iterator[Rule]:
    """Every rule in `policy`, in the order of the file."""
    yield from _walk(policy, "")


def _walk(table: Table, prefix: str) -> Iterator[Rule]:
    for name, info in type(table).model_fields.items():
        value = getattr(table, name)
        if isinstance(value, Table):
            yield from _walk(value, f"{prefix}{name}.")
        for law in info.metadata:
            if isinstance(law, Law):
                yield Rule(prefix + name, value, law)


LAWS: Final[Mapping[str, Law]] = {rule.path: rule.law for rule in rules_of(Policy())}


def beyond(policy: Policy) -> Iterator[str]:
    """One line for each value that is looser than its limit allows."""
    for rule in rules_of(policy):
        path, value, law, text = rule.path, rule.value, rule.law, shown(rule.value)
        if isinstance(value, int) and law.least is not None and value < law.least:
            yield f"{path} = {text}: at least {law.least} ({law.ids})"
        elif law.most is not None and value > law.most:  # type: ignore[operator]
            if not law.counsel:
                yield f"{path} = {text}: at most {law.most} ({law.ids})"
            elif path not in policy.counsel_approved:
                yield f'{path} = {text}: more than {law.most} ({law.ids}) needs [counsel_approved] "{path}"'
        elif isinstance(value, tuple) and len(set(value)) < len(value):
            yield f"{path}: lists a name twice"
    rules = policy.rules
    for path, own in (("channels_on_stop", "sms"), ("channels_on_voice_dnc", "voice")):
        if own not in getattr(rules, path):
            yield f'rules.{path}: must list "{own}" itself (REV-12)'
    for state, months in rules.ebr.state_overrides.items():
        most = STATE_MONTHS.get(state, rules.ebr.transaction_months)
        if not 0 <= months <= most:
            yield f"rules.ebr.state_overrides.{state} = {shown(months)}: from 0 to {most} (EBR-06)"
    for kind, action in policy.drift.actions.items():
        if kind not in ACTIONS:
            near = difflib.get_close_matches(kind, ACTIONS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield f"drift.actions.{shown(kind)}: there is no such kind of finding{hint}"
        elif action == "accept" and kind in NEVER_ACCEPTED:
            yield f"drift.actions.{kind}: a person must see it; policy cannot accept it"
    for path, who in policy.counsel_approved.items():
        if path not in LAWS or not LAWS[path].counsel:
            yield f'counsel_approved: "{path}" is no rule that counsel can lift'
        elif not who.strip():
            yield f'counsel_approved: "{path}" must say who approved it and where that is written'


def shown(value: object) -> str:
    """A value as the file has it, cut to what fits on a line."""
    try:
        text = str(value) if isinstance(value, date) else json.dumps(value, default=str)
    except ValueError:  # an integer of thousands of digits
        return "a huge number"
    return text if len(text) <= 60 else text[:57] + "..."
