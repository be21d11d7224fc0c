"""The policy file: TOML text into typed policies, and one line for each fault in it."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from dncsync.policy.dated import Amendment, Policies
from dncsync.policy.limits import LAWS, PolicyError, beyond, shown
from dncsync.policy.values import Policy


def load(path: Path) -> Policies:
    """Reads a policy file. Raises PolicyError, its line beginning with the path."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError([f"{path}: cannot be read: {error}"]) from error
    except PolicyError as error:
        raise PolicyError([f"{path}: {problem}" for problem in error.problems]) from error


def parse(text: str) -> Policies:
    """Reads the TOML text of a policy. Raises PolicyError."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # tomllib lets both through
        raise PolicyError([f"not valid TOML: {error}"]) from error
    changes = document.pop("amendments", [])
    first = _policy(document)
    if not isinstance(changes, list) or not all(isinstance(change, dict) for change in changes):
        raise PolicyError(["amendments: write each one as a table [[amendments]]"])
    amendments: list[Amendment] = []
    for number, change in enumerate(changes, start=1):
        where = f"amendments, number {number}"
        since = change.pop("from", None)
        why = change.pop("why", "")
        if not isinstance(since, date) or isinstance(since, datetime) or not isinstance(why, str):
            raise PolicyError(
                [f"{where}: needs `from`, a date such as 2027-02-01, and may have `why`, a text"]
            )
        if amendments and since <= amendments[-1].since:
            raise PolicyError([f"{where}: from {since} is not after {amendments[-1].since}"])
        document = _merged(document, change)
        try:
            amendments.append(Amendment(since, why, _policy(document)))
        except PolicyError as error:
            raise PolicyError([f"{where}: {problem}" for problem in error.problems]) from error
    return Policies(first, tuple(amendments))


def _policy(document: dict[str, Any]) -> Policy:
    try:
        policy = Policy.model_validate(document)
    except ValidationError as error:
        raise PolicyError([_explain(dict(fault)) for fault in error.errors()]) from None
    if problems := list(beyond(policy)):
        raise PolicyError(problems)
    return policy


def _merged(document: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(document)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


_PLAIN_WORDS: Final = {"model_type": "must be a table", "tuple_type": "must be a list"}


def _explain(fault: Mapping[str, Any]) -> str:
    """One line for a fault that pydantic found."""
    path, value = ".".join(str(part) for part in fault["loc"]), shown(fault["input"])
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(path, [*LAWS, *Policy.model_fields], n=1)
        return f"{path}: unknown key" + (f"; did you mean {near[0]}?" if near else "")
    law = LAWS.get(path)
    source = f" ({law.ids})" if law else ""
    if fault["type"] == "literal_error":
        wanted = fault["ctx"]["expected"].replace("False", "false").replace("True", "true")
        return f"{path} = {value}: must be {wanted}{source}"
    words = fault["msg"].replace("Input should be", "must be")
    return f"{path} = {value}: {_PLAIN_WORDS.get(fault['type'], words)}{source}"
