"""The repository as a product: no secrets, no long files, the same names in every connector."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from dncsync.redaction import looks_like_secret

ROOT = Path(__file__).parents[2]
LONGEST, LONGEST_TEST = 450, 650
"""Lines of a Python file that ships, and of one that tests. Two things live in a longer one."""
CONNECTORS = sorted(path for path in (ROOT / "connectors").iterdir() if path.name.startswith("dncsync_"))
SAME_NAMES = {
    "README.md",
    "__init__.py",
    "client.py",
    "connector.py",
    "fields.py",
    "manifest.toml",
    "quality.toml",
    "sandbox.py",
}
"""In every connector, so that who knows one knows all (design section 5)."""

# Live shapes that `looks_like_secret` does not know because nobody logs them.
LITERALS = [
    r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    r"\bgh[pousr]_[A-Za-z0-9]{30,}",
    r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    r"\bSK[0-9a-f]{32}\b",
    r"\bAC[0-9a-f]{32}\b",
]
INVENTED = re.compile(
    r"(?:(.)\1{7,}|0123456789|1234567890|example|sandbox|test|fake|invented)", re.IGNORECASE
)
"""What a made-up value says of itself: eight times one character, digits in a row, or a word."""


def files() -> list[Path]:
    """What belongs to the repository, new files included, ignored ones not."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = listed.stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def secrets_in(text: str) -> list[str]:
    """Lines with a literal that looks like a secret and does not call itself made up."""
    found = []
    for line in text.splitlines():
        if looks_like_secret(line) or any(re.search(shape, line) for shape in LITERALS):
            found += [line.strip()] if not INVENTED.search(line) else []
    return found


def test_no_literal_looks_like_a_secret() -> None:
    suspects = {
        str(path.relative_to(ROOT)): found
        for path in files()
        if path.name != "uv.lock" and (found := secrets_in(text_of(path)))
    }
    assert not suspects, 'say "example" in it, or build it at run time'


@pytest.mark.parametrize(
    "line",
    [
        'token = "pat~-na1-6f1d2c3b-4a5e-4f60-8b7c-9d0e1f2a3b4c"',
        "AC~6f1d2c3b4a5e4f608b7c9d0e1f2a3b4c",
        "curl https://me:~hunter2hunter2@dialer.acme.com/",
    ],
)
def test_a_planted_secret_is_found(line: str) -> None:
    assert secrets_in(line.replace("~", ""))


def test_no_private_key_and_no_database_is_kept() -> None:
    names = [path for path in files() if path.suffix in (".pem", ".key", ".sqlite", ".db", ".p12", ".env")]
    assert not names


def test_no_python_file_is_too_long() -> None:
    lengths = {
        str(path.relative_to(ROOT)): count
        for path in files()
        if path.suffix == ".py"
        and (count := len(text_of(path).splitlines()))
        > (LONGEST_TEST if path.is_relative_to(ROOT / "tests") else LONGEST)
    }
    assert not lengths, "too long: two things live there"


@pytest.mark.parametrize("folder", CONNECTORS, ids=lambda folder: folder.name)
def test_every_connector_has_the_same_file_names(folder: Path) -> None:
    missing = SAME_NAMES - {path.name for path in folder.iterdir()}
    assert not missing


def test_every_connector_is_installed_and_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    entries = project["project"]["entry-points"]["dncsync.connectors"]
    packaged = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    for folder in CONNECTORS:
        vendor = folder.name.removeprefix("dncsync_")
        assert entries[vendor] == f"{folder.name}:PLUGIN"
        assert f"connectors/{folder.name}" in packaged


def test_every_test_file_stands_where_the_readme_says() -> None:
    readme = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "tests").rglob("test_*.py"):
        folder = path.relative_to(ROOT / "tests").parts[0]
        assert f"`{folder}/`" in readme, f"{path}: no word about {folder}/ in tests/README.md"


def test_every_make_target_is_explained_by_make_help() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    explained = set(re.findall(r"^([a-z][a-z-]*):.*## ", makefile, re.MULTILINE))
    assert targets == explained
