"""Our scale for connectors: one small function per rule, run over every connector folder.

A folder `dncsync_VENDOR/` has the files of `FILES`. `quality.toml` has one table per name in `RULES`:

    [field-contract]
    status = "done"
    test = "tests/integration/acme/test_schema.py::test_a_missing_field_is_described"   # or a list of them

    [webhook-replay]
    status = "exempt"
    reason = "Acme sends no webhooks"

A rule shown by the conformance kit names the suite and the check:
`tests/integration/acme/test_conformance.py::TestAcme::test_conforms[a-replay-has-the-same-nonce]`.

`manifest.toml` has `vendor`, `name`, `sheet` (where the facts were taken from), `checked` (a date), and:

    [[api]]            # each API that is called
    name = "CRM objects"
    version = "v3"

    [capabilities]     # as `dncsync.connector.Capabilities`, without limits
    unit = "record"
    channels = ["sms", "voice"]
    ...

    [[limits]]         # each published limit that the budget keeps
    name = "search"
    calls = 5
    seconds = 1.0
    checked = 2026-11-21
    source = "hubspot.md, section 4"

    [[unconfirmed]]    # each thing that nobody outside the vendor can know
    what = "how long the search index lags"
    switch = "sandbox option index_lag"
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from dncsync.connector import Capabilities

FILES = (
    "__init__.py",
    "manifest.toml",
    "connector.py",
    "client.py",
    "fields.py",
    "sandbox.py",
    "quality.toml",
    "README.md",
)
"""Who knows one connector knows all."""

RULES: Mapping[str, str] = {
    "config-tested-before-saving": "the probe finds wrong credentials, scopes and hosts before they are used",
    "field-contract": "describe finds fields that are missing, hidden, retyped, renamed or read-only",
    "idempotent-write": "writing what is already there is a success",
    "per-item-results": "a bad item fails alone",
    "unknown-settled-by-reading": "after a timeout or reset the outcome is unknown, and a read settles it",
    "read-back": "what was written is read from the vendor's own record, not from an index or a memory",
    "absent-is-not-clear": "a field that is not in an answer is absent, never clear",
    "change-feed-with-overlap": "changes that become visible late are not passed by",
    "resumable-snapshot": "a full read goes on from its cursor after a crash, and never ends short",
    "constant-memory": "a full read holds some pages, not the account",
    "provenance": "who set a flag, how and when, as far as the vendor tells",
    "webhook-authentic": "forged and stale webhooks are refused",
    "webhook-replay": "the same webhook has the same nonce",
    "budget-declared": "the vendor's published limits are kept by the call budget",
    "every-call-through-the-door": "every call goes through the HTTP door, the SDK's too",
    "failures-are-shared-kinds": "the vendor's errors become the shared kinds of failure",
    "html-and-malformed-bodies": "a web page or half an answer is a failure of the right kind",
    "secrets-redacted": "no number and no secret in a message, a log or a wire record",
    "sandbox-faults": "the sandbox honours the faults that make sense for its vendor",
    "sandbox-million": "the sandbox holds a million contacts without strain",
    "spec-checked": "sandbox and connector are checked against the vendor's own description",
    "setup-documented": "the README takes an admin from nothing to a tested connection",
    "removal-described": "the README says how to remove the connector and what stays behind",
    "unconfirmed-switchable": "what is not confirmed is a switch of the sandbox, and both ways work",
}
"""Rule -> what it asks for."""


@dataclass(frozen=True)
class ConnectorFolder:
    """One connector package in a checkout."""

    path: Path
    root: Path
    """The checkout; tests are named relative to it."""

    @property
    def vendor(self) -> str:
        return self.path.name.removeprefix("dncsync_")

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        return _toml(self.path / "manifest.toml")

    @cached_property
    def quality(self) -> Mapping[str, Any]:
        return _toml(self.path / "quality.toml")

    @cached_property
    def readme(self) -> str:
        readme = self.path / "README.md"
        return readme.read_text() if readme.is_file() else ""


Validator = Callable[[ConnectorFolder], Iterator[str]]


def _toml(path: Path) -> Mapping[str, Any]:
    """An absent or unreadable file is an empty one: `files_are_the_same` and `files_can_be_read` tell."""
    try:
        return tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return {}


def _tables(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []


# --- the folder ---------------------------------------------------------------------------------------------


def files_are_the_same(folder: ConnectorFolder) -> Iterator[str]:
    """Every connector has the same files."""
    yield from (f"{name} is missing" for name in FILES if not (folder.path / name).is_file())


def files_can_be_read(folder: ConnectorFolder) -> Iterator[str]:
    """The manifest and the quality file are TOML."""
    for name in ("manifest.toml", "quality.toml"):
        try:
            tomllib.loads((folder.path / name).read_text())
        except FileNotFoundError:
            continue
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            yield f"{name} cannot be read: {error}"


# --- manifest.toml ------------------------------------------------------------------------------------------


def manifest_says_who(folder: ConnectorFolder) -> Iterator[str]:
    """Vendor, name, and where and when the facts were taken."""
    if folder.manifest.get("vendor") != folder.vendor:
        yield f"manifest: vendor is {folder.manifest.get('vendor')!r}, the folder says {folder.vendor!r}"
    for key in ("name", "sheet"):
        if not isinstance(folder.manifest.get(key), str) or not folder.manifest[key]:
            yield f"manifest: {key} is missing"
    if not isinstance(folder.manifest.get("checked"), date):
        yield "manifest: checked is not a date"


def manifest_names_apis(folder: ConnectorFolder) -> Iterator[str]:
    """Each API that is called, with its version."""
    apis = _tables(folder.manifest.get("api"))
    if not apis:
        yield "manifest: no [[api]] with name and version"
    for api in apis:
        if not api.get("name") or not isinstance(api.get("version"), str):
            yield f"manifest: an [[api]] lacks name or version: {dict(api)}"


def manifest_documents_limits(folder: ConnectorFolder) -> Iterator[str]:
    """Each limit with its figures, the day they were checked, and their source."""
    if not isinstance(folder.manifest.get("limits", []), list):
        yield "manifest: limits is not a list of tables ([[limits]])"
    for limit in _tables(folder.manifest.get("limits")):
        name = limit.get("name", "?")
        if not isinstance(limit.get("calls"), int) or not isinstance(limit.get("seconds"), int | float):
            yield f"manifest: limit {name} lacks calls or seconds"
        if not isinstance(limit.get("checked"), date):
            yield f"manifest: limit {name} lacks the date on which it was checked"
        if not limit.get("source"):
            yield f"manifest: limit {name} lacks its source"


def manifest_documents_capabilities(folder: ConnectorFolder) -> Iterator[str]:
    """Every capability of the contract is written down; limits have their own tables."""
    declared = folder.manifest.get("capabilities")
    if not isinstance(declared, Mapping):
        yield "manifest: no [capabilities]"
        return
    known = {f.name for f in fields(Capabilities)} - {"limits"}
    yield from (f"manifest: capability {name} is missing" for name in sorted(known - set(declared)))
    yield from (f"manifest: capability {name} does not exist" for name in sorted(set(declared) - known))


def manifest_lists_what_is_unconfirmed(folder: ConnectorFolder) -> Iterator[str]:
    """Each unconfirmed thing names the switch that covers it."""
    if not isinstance(folder.manifest.get("unconfirmed"), list):
        yield "manifest: no list of [[unconfirmed]] (an empty one is `unconfirmed = []`)"
    for entry in _tables(folder.manifest.get("unconfirmed")):
        if not entry.get("what") or not entry.get("switch"):
            yield f"manifest: an [[unconfirmed]] lacks what or switch: {dict(entry)}"


def manifest_disagreements(manifest: Mapping[str, Any], declared: Capabilities) -> Iterator[str]:
    """Where the manifest says other than the connector itself declares (with its usual settings)."""
    written = manifest.get("capabilities", {})
    for field in fields(Capabilities):
        if field.name == "limits" or field.name not in written:
            continue
        value = getattr(declared, field.name)
        plain = sorted(value) if isinstance(value, frozenset) else value
        said = sorted(written[field.name]) if isinstance(written[field.name], list) else written[field.name]
        if said != plain:
            yield f"manifest: capability {field.name} is {said!r}, the connector declares {plain!r}"
    said_limits = {
        (limit.get("name"), limit.get("calls"), float(limit.get("seconds", 0)))
        for limit in _tables(manifest.get("limits"))
    }
    for limit in declared.limits:
        if (limit.name, limit.calls, float(limit.seconds)) not in said_limits:
            yield f"manifest: limit {limit.name} ({limit.calls} in {limit.seconds} s) is not in it"


# --- quality.toml -------------------------------------------------------------------------------------------


def every_rule_is_answered(folder: ConnectorFolder) -> Iterator[str]:
    """Each rule is there once, done or exempt, and no other."""
    yield from (f"quality: rule {name} is missing" for name in RULES if name not in folder.quality)
    yield from (f"quality: rule {name} does not exist" for name in folder.quality if name not in RULES)
    for name, rule in _rules(folder):
        if rule.get("status") not in ("done", "exempt"):
            yield f"quality: {name} is neither done nor exempt"


def exemptions_have_reasons(folder: ConnectorFolder) -> Iterator[str]:
    """An exemption says why, in more than a word."""
    for name, rule in _rules(folder):
        if rule.get("status") == "exempt" and len(str(rule.get("reason", "")).split()) < 3:
            yield f"quality: {name} is exempt without a reason"


def done_rules_name_their_tests(folder: ConnectorFolder) -> Iterator[str]:
    """What is done is shown by a test that exists."""
    for name, rule in _rules(folder):
        if rule.get("status") != "done":
            continue
        named = rule.get("test", [])
        tests = [named] if isinstance(named, str) else named
        if not tests:
            yield f"quality: {name} is done, but names no test"
        for test in tests:
            if reason := why_not_collected(folder.root, str(test)):
                yield f"quality: {name} names {test}: {reason}"


def _rules(folder: ConnectorFolder) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, rule in folder.quality.items():
        yield name, rule if isinstance(rule, Mapping) else {}


def why_not_collected(root: Path, test: str) -> str:
    """Why pytest would not collect `path::[Class::]name[case]`, or a whole suite of the kit `path::Class`;
    empty when it would. No test file is imported."""
    path, *names = test.split("::")
    file = root / path
    if not path.startswith("tests/") or not Path(path).name.startswith("test_"):
        return "it is not a test file below tests/"
    if not file.is_file():
        return "the file does not exist"
    if not names:
        return "it names a file, not a test"
    name, _, case = names[-1].partition("[")
    body: Iterable[ast.stmt] = ast.parse(file.read_text()).body
    if name.startswith("Test"):
        suite = next((n for n in body if isinstance(n, ast.ClassDef) and n.name == name), None)
        return "" if suite and _is_suite(suite) else f"{name} is no suite of the conformance kit"
    for class_name in names[:-1]:
        found = next((n for n in body if isinstance(n, ast.ClassDef) and n.name == class_name), None)
        if found is None:
            return f"there is no class {class_name}"
        if name == "test_conforms" and _is_suite(found):
            return "" if not case or case.rstrip("]") in _check_names() else f"there is no check {case}"
        body = found.body
    if not name.startswith("test_"):
        return "its name does not begin with test_"
    functions = {n.name for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    return "" if name in functions else f"there is no function {name}"


def _is_suite(found: ast.ClassDef) -> bool:
    return any("ConformanceSuite" in ast.unparse(base) for base in found.bases)


def _check_names() -> frozenset[str]:
    from dncsync.testing.conformance import CHECKS

    return frozenset(one.name for one in CHECKS)


# --- README.md ----------------------------------------------------------------------------------------------


def readme_takes_an_admin_through(folder: ConnectorFolder) -> Iterator[str]:
    """From nothing to a tested connection, and back to nothing."""
    text = folder.readme.lower()
    for word, why in (
        ("dncsync doctor", "how to test the connection"),
        ("secret", "which secrets are needed"),
        ("base_url", "the configuration table"),
        ("remove", "how to remove it"),
    ):
        if word not in text:
            yield f"README: nothing about {why} (looked for {word!r})"


VALIDATORS: tuple[Validator, ...] = (
    files_are_the_same,
    files_can_be_read,
    manifest_says_who,
    manifest_names_apis,
    manifest_documents_limits,
    manifest_documents_capabilities,
    manifest_lists_what_is_unconfirmed,
    every_rule_is_answered,
    exemptions_have_reasons,
    done_rules_name_their_tests,
    readme_takes_an_admin_through,
)


def connector_folders(root: Path) -> list[ConnectorFolder]:
    """The connector packages of a checkout."""
    return [
        ConnectorFolder(path, root)
        for path in sorted((root / "connectors").glob("dncsync_*"))
        if path.is_dir()
    ]


def complaints(folder: ConnectorFolder) -> list[str]:
    """Everything that is wrong with a folder, one line each."""
    return [complaint for validator in VALIDATORS for complaint in validator(folder)]
