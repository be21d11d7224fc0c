"""The annotated configuration that `dncsync init` writes, made from the settings classes themselves.

`python -m dncsync.settings_template` prints it; `config/dncsync.example.toml` is that text, and a test holds
the two equal.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Set
from enum import Enum
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dncsync.connector import SystemSettings, plugin, plugins
from dncsync.settings import Section, Settings
from dncsync.settings_problems import models_in
from dncsync.settings_sources import environment_name, secret_fields, types_in

WIDTH: Final = 100

HEAD: Final = """\
# dncsync: configuration. Every key is explained; a key that is left out has the value shown.
# Lines that begin with a single # and no space are not in force: remove the # and give
# a value to use them.
#
# Secrets never stand in this file. Each comes from one of
#   - an environment variable  DNCSYNC_SYSTEMS__<NAME>__<FIELD>  (upper case, - written as _)
#   - a file  <name>.<field>  in the secrets folder below
#   - a systemd credential of that name (LoadCredential=<name>.<field>:...)
# Other keys can be set from the environment too, as DNCSYNC_<SECTION>__<KEY>.
# Relative paths count from the folder of this file. `dncsync doctor` checks what is written here.
"""

SYSTEMS: Final = """\
# --- Systems: one table for each connected account -------------------------------------------------
#
# The name after "systems." is yours: a-z, 0-9 and -, at most 31 characters. It is what reports call
# the system, and part of its webhook address, so do not change it later.
"""


def template(vendors: Iterable[str]) -> str:
    """The whole text, with one example system for each vendor, none of them in force; it loads as it is."""
    parts = [HEAD]
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            parts.append("\n".join(_section(name, field.annotation)) + "\n")
    parts.append(SYSTEMS)
    parts += ["\n".join(_system(vendor)) + "\n" for vendor in sorted(vendors)]
    return "\n".join(parts)


def _section(name: str, section: type[Section]) -> Iterator[str]:
    yield from _comment((section.__doc__ or "").strip())
    yield f"[{name}]"
    for key, field in section.model_fields.items():
        yield from _comment(_sentences(field.description))
        yield _setting(key, field)


def _system(vendor: str) -> Iterator[str]:
    settings = plugin(vendor).settings
    secrets = secret_fields(settings)
    yield f"#[systems.{vendor}]"
    yield f"#vendor = {_toml(vendor)}"
    for key, field in settings.model_fields.items():
        if key == "vendor":
            continue
        if key in secrets:
            yield from _comment(_secret(settings, vendor, key, field))
            continue
        need = "Required." if field.is_required() else ""
        yield from _comment(_sentences(need, field.description, _keys_of(field)))
        yield "#" + _setting(key, field).removeprefix("#")


def _secret(settings: type[SystemSettings], vendor: str, key: str, field: FieldInfo) -> str:
    need = "required" if field.is_required() else "optional"
    variable = environment_name("systems", vendor, key)
    return _sentences(
        f"Secret {key}, {need}.", field.description, f"From {variable} or a file {vendor}.{key}"
    )


def _keys_of(field: FieldInfo) -> str:
    """The keys of a table inside a system's table."""
    keys = [
        f"{key}: {inner.description}" if inner.description else key
        for model in models_in(field.annotation)
        for key, inner in model.model_fields.items()
    ]
    return f"Keys: {'; '.join(keys)}" if keys else ""


def _setting(key: str, field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is None or default is PydanticUndefined:
        empty = (
            '[""]' if any(part in (list, tuple, frozenset) for part in types_in(field.annotation)) else '""'
        )
        return f"#{key} = {empty}"
    return f"{key} = {_toml(default)}"


def _toml(value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_unset=True, exclude_none=True)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{k} = {_toml(v)}" for k, v in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, Set):
        value = sorted(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value.as_posix() if isinstance(value, Path) else value, ensure_ascii=False)


def _sentences(*texts: str | None) -> str:
    return " ".join(text if text.endswith(".") else f"{text}." for text in texts if text)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ") if text else []


if __name__ == "__main__":
    sys.stdout.write(template(plugins()))
