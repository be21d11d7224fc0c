"""What is wrong with a configuration, as one line for whoever edits it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dncsync.connector import SystemSettings
from dncsync.numbers import mask_text
from dncsync.redaction import Redactor
from dncsync.settings_sources import ConfigError, Key, Origins, secret_fields, suggestion, supply, types_in

# What pydantic's kinds of error mean to somebody who edits the file; others keep pydantic's words.
_WORDS: Final = {
    "bool": "must be true or false",
    "dict": "must be a table",
    "float": "must be a number",
    "frozen_set": 'must be a list, e.g. ["a", "b"]',
    "int": "must be a whole number",
    "list": 'must be a list, e.g. ["a", "b"]',
    "mapping": "must be a table",
    "model": "must be a table",
    "path": "must be a path, in quotes",
    "set": 'must be a list, e.g. ["a", "b"]',
    "string": "must be text, in quotes",
    "tuple": 'must be a list, e.g. ["a", "b"]',
}


def first_problem(
    error: ValidationError,
    settings: type[BaseModel],
    systems: Mapping[str, type[SystemSettings]],
    origins: Origins,
    secrets: Redactor,
) -> ConfigError:
    """The problem to mend first: a misspelt key, since it also makes the right one look missing."""
    problems = error.errors(include_url=False, include_input=False)
    problem = min(problems, key=lambda p: p["type"] != "extra_forbidden")
    key = tuple(str(part) for part in problem["loc"])
    root: type[BaseModel] = settings
    if len(key) > 2 and key[0] == "systems" and key[1] in systems:
        root = systems[key[1]]
    text = mask_text(secrets.without_known(_in_words(problem, key, root)))
    if len(problems) > 1:
        text += f" (and {len(problems) - 1} more)"
    return ConfigError(origins.of(key), ".".join(key), text)


def _in_words(problem: ErrorDetails, key: Key, root: type[BaseModel]) -> str:
    kind = problem["type"]
    model = model_at(root, key[2:-1] if issubclass(root, SystemSettings) else key[:-1])
    if kind == "extra_forbidden":
        return f"unknown key{suggestion(key[-1], model.model_fields)}"
    if kind == "missing":
        if issubclass(model, SystemSettings) and key[-1] in secret_fields(model):
            return f"this secret is missing; {supply(key)}"
        field = model.model_fields.get(key[-1])
        return f"is missing: {field.description}" if field is not None and field.description else "is missing"
    words = _WORDS.get(re.sub(r"_(type|parsing|from_float|attributes_type)$", "", kind))
    if words is not None:
        return words
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    message = re.sub(r"^Input should be ", "must be ", message)
    return message[:1].lower() + message[1:]


def model_at(root: type[BaseModel], key: Key) -> type[BaseModel]:
    """The model that holds the keys below `key`; names in a mapping and places in a list are passed over."""
    model = root
    for part in key:
        field = model.model_fields.get(part)
        if field is not None:
            model = next(models_in(field.annotation), model)
    return model


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field of that type may hold."""
    return (part for part in types_in(annotation) if isinstance(part, type) and issubclass(part, BaseModel))
