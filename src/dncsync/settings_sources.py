"""Where configuration comes from: the TOML file, the environment, files that hold one secret each.

Each source yields a nested table and notes the origin of every value, so that a problem found later is told
at the place where it can be mended.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import SecretBytes, SecretStr

from dncsync.connector import SystemSettings
from dncsync.redaction import SHORTEST_SECRET, is_secret_name, looks_like_secret, without_tokens

PREFIX: Final = "DNCSYNC_"
LARGEST_FILE: Final = 1_048_576
"""Bytes of a configuration or secret file; anything larger is some other file."""

Table = dict[str, Any]
Key = tuple[str, ...]


class ConfigError(Exception):
    """The configuration cannot be used. `str()` is one line: where, which key, what, how to mend it."""

    def __init__(self, where: object, key: str, text: str) -> None:
        line = f"{where}: {key}: {text}" if key else f"{where}: {text}"
        super().__init__(_one_line(without_tokens(line)))


class Origins:
    """Remembers where each value came from."""

    def __init__(self, path: Path) -> None:
        self._default = str(path)
        self._found: dict[Key, str] = {}

    def note(self, key: Key, origin: str) -> None:
        """`key` came from `origin`; the first one noted wins, as the first source does."""
        self._found.setdefault(key, origin)

    def of(self, key: Key) -> str:
        """The origin of a key or of the table that it stands in; the file when nothing else gave it."""
        for length in range(len(key), 0, -1):
            if key[:length] in self._found:
                return self._found[key[:length]]
        return self._default


# --- the file --------------------------------------------------------------------------------------------


def read_toml(path: Path) -> Table:
    """The file as a table. Raises `ConfigError`, with line and column where it is no TOML."""
    text = _read(path, "write one with `dncsync init`, or name another with --config")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError(path, "", "not valid TOML: nested too deeply") from None
    except ValueError as error:
        found = re.fullmatch(r"(.*) \(at (line \d+, column \d+|end of document)\)", str(error), re.DOTALL)
        what, where = (found[1], found[2]) if found else (str(error), "")
        raise ConfigError(path, where, f"not valid TOML: {what[:1].lower()}{what[1:]}") from None


def refuse_literal_secrets(
    path: Path, table: Mapping[str, Any], systems: Mapping[str, type[SystemSettings]]
) -> None:
    """Raises `ConfigError` for a secret field in the file, and for anything that looks like a secret."""
    for key, value in _leaves(table):
        dotted = ".".join(key)
        if len(key) >= 3 and key[0] == "systems" and key[1] in systems:
            settings = systems[key[1]]
            if key[2] in secret_fields(settings):
                raise ConfigError(
                    path, ".".join(key[:3]), f"a secret has no place in this file; {supply(key)}"
                )
            unknown = key[2] not in settings.model_fields
            if unknown and is_secret_name(key[2]) and not nearest(key[2], settings.model_fields):
                secrets = ", ".join(sorted(secret_fields(settings))) or "none"
                raise ConfigError(
                    path,
                    ".".join(key[:3]),
                    f"unknown key, and secrets have no place in this file; secrets of this vendor: {secrets}",
                )
        if isinstance(value, str) and looks_like_secret(value):
            raise ConfigError(
                path,
                dotted,
                "its value looks like a secret, which has no place in this file; put it into the environment "
                "or the secrets folder, and change it at the vendor if others could read it",
            )


# --- the environment -------------------------------------------------------------------------------------


def from_environment(
    environ: Mapping[str, str],
    sections: Mapping[str, Iterable[str]],
    systems: Mapping[str, type[SystemSettings]],
    origins: Origins,
) -> Table:
    """What `DNCSYNC_<SECTION>__<KEY>` and `DNCSYNC_SYSTEMS__<NAME>__<FIELD>` say.

    Raises `ConfigError` for a name that nothing has, or a misspelt secret would be missing in silence.
    """
    table: Table = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or "__" not in variable:
            continue
        section, _, rest = variable.removeprefix(PREFIX).partition("__")
        if section.lower() == "systems":
            name, field = _system_and_field(variable, rest, systems)
            key: Key = ("systems", name, field)
            value = _decoded(variable, environ[variable], systems[name], field)
        else:
            key = (section.lower(), rest.lower())
            _must_be_known(variable, key[0], "section", [*sections, "systems"])
            _must_be_known(variable, key[1], "key", sections[key[0]])
            value = environ[variable]
        origins.note(key, f"environment variable {variable}")
        _put(table, key, value)
    return table


def environment_name(*key: str) -> str:
    """`("systems", "main-crm", "token")` -> `DNCSYNC_SYSTEMS__MAIN_CRM__TOKEN`."""
    return PREFIX + "__".join(part.upper().replace("-", "_") for part in key)


def supply(key: Key) -> str:
    """How to supply a secret."""
    return (
        f"set {environment_name(*key)}, or put it into a file named {key[1]}.{key[2]} in the secrets folder "
        "or systemd's credentials"
    )


def _system_and_field(
    variable: str, rest: str, systems: Mapping[str, type[SystemSettings]]
) -> tuple[str, str]:
    for name in sorted(systems, key=len, reverse=True):
        start = name.upper().replace("-", "_") + "__"
        if rest.startswith(start):
            field = rest.removeprefix(start).lower()
            if field == "vendor":
                raise ConfigError("environment", variable, "the vendor is set in the file only")
            _must_be_known(variable, field, f"field of system {name!r}", systems[name].model_fields)
            return name, field
    spelled = rest.partition("__")[0].lower().replace("_", "-")
    _must_be_known(variable, spelled, "system of the file", systems)
    raise ConfigError("environment", variable, f"say which field: {variable}__<FIELD>")


def _must_be_known(variable: str, word: str, kind: str, known: Iterable[str]) -> None:
    names = list(known)
    if word not in names:
        raise ConfigError("environment", variable, f"there is no {kind} {word!r}{suggestion(word, names)}")


def _decoded(variable: str, value: str, settings: type[SystemSettings], field: str) -> Any:
    annotation = settings.model_fields[field].annotation
    if not any(part in (list, tuple, dict, set, frozenset) for part in types_in(annotation)):
        return checked_secret(variable, value) if field in secret_fields(settings) else value
    try:
        return json.loads(value)
    except ValueError:
        raise ConfigError("environment", variable, 'use JSON for this field, e.g. ["a", "b"]') from None


# --- secret files ----------------------------------------------------------------------------------------


def from_secret_files(
    folders: Iterable[Path], systems: Mapping[str, type[SystemSettings]], origins: Origins
) -> Table:
    """Secrets from files named `<system>.<field>`; the first folder that has one wins.

    One line break at the end is dropped. Raises `ConfigError` for a folder or file that cannot be read and
    for a file whose name is almost right.
    """
    table: Table = {}
    for folder in folders:
        try:
            names = sorted(entry.name for entry in folder.iterdir())
        except OSError as error:
            raise ConfigError(folder, "", f"the secrets folder cannot be read: {_reason(error)}") from None
        for file_name in names:
            key = _secret_key(folder, file_name, systems)
            if key is None or key[2] in table.get("systems", {}).get(key[1], {}):
                continue
            file = folder / file_name
            text = _read(file, "give it to the user that dncsync runs as")
            origins.note(key, f"file {file}")
            _put(table, key, checked_secret(file, text.removesuffix("\n").removesuffix("\r")))
    return table


def _secret_key(folder: Path, file_name: str, systems: Mapping[str, type[SystemSettings]]) -> Key | None:
    """The key that a file in a secrets folder stands for; None for a file of somebody else."""
    system, dot, field = file_name.partition(".")
    if not dot or not field:
        return None
    where = folder / file_name
    if system not in systems:
        near = nearest(system, systems)
        if near and field in secret_fields(systems[near]):
            raise ConfigError(where, "", f"there is no system {system!r}; did you mean {near}.{field}?")
        return None
    known = secret_fields(systems[system])
    if field not in known:
        hint = suggestion(field, known)
        raise ConfigError(where, "", f"system {system!r} has no secret {field!r}{hint}")
    return ("systems", system, field)


def checked_secret(where: object, value: str) -> str:
    """The secret, unless it is empty or so short that it could not be redacted from logs."""
    if not value.strip():
        raise ConfigError(where, "", "the secret is empty")
    if len(value) < SHORTEST_SECRET:
        raise ConfigError(where, "", f"the secret is shorter than {SHORTEST_SECRET} characters")
    return value


# --- shared ----------------------------------------------------------------------------------------------


def secret_fields(settings: type[SystemSettings]) -> frozenset[str]:
    """The fields whose type holds a `SecretStr`, also inside `| None` and the like."""
    return frozenset(
        name
        for name, field in settings.model_fields.items()
        if any(part in (SecretStr, SecretBytes) for part in types_in(field.annotation))
    )


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that somebody who typed `word` most likely meant."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name."""
    names = sorted(known)
    if near := nearest(word, names):
        return f"; did you mean {near!r}?"
    return f"; known: {', '.join(names)}" if names else "; there are none"


def types_in(annotation: Any) -> Iterator[Any]:
    """A type and all that it is made of: `tuple[SecretStr | None, ...]` -> tuple, SecretStr, None, ..."""
    origin = typing.get_origin(annotation)
    yield origin if origin not in (None, typing.Union, types.UnionType, typing.Annotated) else annotation
    for part in typing.get_args(annotation):
        yield from types_in(part)


def _leaves(table: Mapping[str, Any], before: Key = ()) -> Iterator[tuple[Key, Any]]:
    for name, value in table.items():
        yield from _leaves_of((*before, name), value)


def _leaves_of(key: Key, value: Any) -> Iterator[tuple[Key, Any]]:
    if isinstance(value, Mapping):
        yield key, None  # a table under the name of a secret is refused as well
        yield from _leaves(value, key)
    elif isinstance(value, list):
        yield key, None
        for item in value:
            yield from _leaves_of(key, item)
    else:
        yield key, value


def _put(table: Table, key: Key, value: Any) -> None:
    for part in key[:-1]:
        table = table.setdefault(part, {})
    table[key[-1]] = value


def _read(path: Path, mend: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(path, "", f"there is no such file; {mend}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(path, "", f"cannot be read: {_reason(error)}; {mend}") from None
    if len(raw) > LARGEST_FILE:
        raise ConfigError(path, "", f"larger than {LARGEST_FILE} bytes; this is some other file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(path, f"line {line}", "not UTF-8; save the file as UTF-8") from None


def _reason(error: Exception) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
