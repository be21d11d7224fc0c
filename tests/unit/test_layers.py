"""The floors of the house (design section 8): a module imports from its own floor or below, and connectors
see only what third parties' connectors see."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSE = ROOT / "src" / "dncsync"
CONNECTORS = ROOT / "connectors"

FLOORS: list[set[str]] = [
    {"model", "clock", "numbers", "optout", "policy", "redaction"},
    {"connector", "rules", "deadlines", "budget", "logs"}
    | {"settings", "settings_sources", "settings_problems", "settings_template"},
    {"http", "http_sdks", "shapes", "testing", "ledger"},
    {"sync", "gate"},
    {"drift", "reconcile"},
    {"web"},
    {"runtime"},
    {"cli"},
    {"testing.demo"},  # tells its story with the real daemon
]
FLOOR_OF = {name: number for number, floor in enumerate(FLOORS) for name in floor}

SEEN_BY_CONNECTORS = {"budget", "clock", "connector", "http", "model", "shapes", "testing"}

PURE = ["model", "numbers", "optout", "policy", "rules", "deadlines", "redaction"]
IMPURE_MODULES = {"time", "random", "secrets", "socket", "sqlite3", "pysqlite3", "subprocess", "threading"}
IMPURE_MODULES |= {"httpx", "requests", "urllib.request", "asyncio", "os"}
IMPURE_CALLS = {"now", "utcnow", "today", "uuid1", "uuid4", "urandom", "read_text", "read_bytes", "open"}
AT_THE_DOOR = {("policy", "read_text")}
"""`policy.load` reads the one file that it is given; all else in there takes text."""


def sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def house() -> list[Path]:
    return [path for path in sources(HOUSE) if path.parent != HOUSE or path.name != "__init__.py"]


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module: str) -> int | None:
    """The floor of `ledger.events`: its own, or that of what it is part of."""
    while module not in FLOOR_OF:
        if "." not in module:
            return None
        module = module.rpartition(".")[0]
    return FLOOR_OF[module]


def imported(tree: ast.Module, package: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that is imported when the code runs, also inside functions."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(inner for part in node.body for inner in ast.walk(part))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def imports_of(path: Path, root: Path) -> list[tuple[int, str]]:
    package = ".".join(path.relative_to(root).parent.parts)
    return list(imported(ast.parse(path.read_text(encoding="utf-8")), package))


def test_every_module_has_a_floor() -> None:
    homeless = [module_name(path, HOUSE) for path in house() if floor_of(module_name(path, HOUSE)) is None]
    assert not homeless, "give these a floor in FLOORS"


@pytest.mark.parametrize("path", house(), ids=lambda path: module_name(path, HOUSE))
def test_a_module_imports_from_its_own_floor_or_below(path: Path) -> None:
    own = floor_of(module_name(path, HOUSE))
    assert own is not None
    for line, name in imports_of(path, HOUSE.parent):
        if not name.startswith("dncsync."):
            continue
        floor = floor_of(name.removeprefix("dncsync."))
        assert floor is None or floor <= own, f"{path}:{line} reaches up to {name}"


@pytest.mark.parametrize("path", house(), ids=lambda path: module_name(path, HOUSE))
def test_the_house_knows_no_vendor(path: Path) -> None:
    for line, name in imports_of(path, HOUSE.parent):
        assert not name.startswith("dncsync_"), f"{path}:{line}: {name}; connectors come by entry point"


@pytest.mark.parametrize("path", sources(CONNECTORS), ids=lambda path: module_name(path, CONNECTORS))
def test_a_connector_sees_only_the_contract_and_itself(path: Path) -> None:
    own = path.relative_to(CONNECTORS).parts[0]
    for line, name in imports_of(path, CONNECTORS):
        top, _, rest = name.partition(".")
        if top == "dncsync":
            assert rest.partition(".")[0] in SEEN_BY_CONNECTORS, f"{path}:{line} sees {name}"
        elif top.startswith("dncsync_"):
            assert top == own, f"{path}:{line} sees another connector, {name}"


@pytest.mark.parametrize("module", PURE)
def test_pure_code_has_no_clock_no_files_and_no_chance(module: str) -> None:
    path = HOUSE / f"{module}.py"
    if not path.exists():
        path = HOUSE / module / "__init__.py"
    files = [path] if path.name != "__init__.py" else sources(path.parent)
    assert files[0].exists()
    for file in files:
        for line, name in imports_of(file, HOUSE.parent):
            parts = name.split(".")
            roots = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
            assert not roots & IMPURE_MODULES, f"{file}:{line} imports {name}"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func
                name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
                allowed = (module, name) in AT_THE_DOOR
                assert allowed or name not in IMPURE_CALLS, f"{file}:{node.lineno} calls {name}()"


# --- the rules themselves are tried ----------------------------------------------------------------------


def test_an_import_is_seen_wherever_it_hides() -> None:
    code = (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from dncsync.cli import main\n"
        "def f():\n    import dncsync.runtime.embedded\n"
        "from . import web\nfrom .ledger import chain\nfrom ..sync import turn\n"
    )
    names = [name for _, name in imported(ast.parse(code), "dncsync.ledger")]
    assert "dncsync.cli.main" not in names
    assert names[1:] == [
        "dncsync.ledger.web",
        "dncsync.ledger.ledger.chain",
        "dncsync.sync.turn",
        "dncsync.runtime.embedded",
    ]


def test_floors_are_found_by_what_a_module_is_part_of() -> None:
    assert floor_of("ledger.migrations.x") == FLOOR_OF["ledger"]
    assert floor_of("testing.demo") == len(FLOORS) - 1
    assert floor_of("testing.sandbox") == FLOOR_OF["testing"]
    assert floor_of("nowhere.x") is None
