"""A folder of files that appears whole, or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


class Stage:
    """Where the files are written before they appear; each is on the disk when its call returns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.names: list[str] = []
        """In the order of writing."""

    def file(self, name: str, content: bytes) -> None:
        """Writes one file."""
        with (self._folder / name).open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self.names.append(name)

    @contextmanager
    def text(self, name: str) -> Iterator[TextIO]:
        """A UTF-8 file to write to, line ends as written."""
        with (self._folder / name).open("x", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        self.names.append(name)


@contextmanager
def whole(folder: Path, last: str) -> Iterator[Stage]:
    """A stage whose files move to `folder` when the block ends; if it raises, nothing moves.

    A new folder appears with all its files in one rename. In one that exists, the file `last` is taken away
    first and comes back last: a crash between leaves a folder without it, never one that passes for whole.
    """
    exists = folder.is_dir()
    if not exists:
        folder.parent.mkdir(parents=True, exist_ok=True)
    home = folder if exists else folder.parent
    stage = home / f".{folder.name}-{secrets.token_hex(6)}.partial"
    stage.mkdir()
    try:
        made = Stage(stage)
        yield made
        _synced(stage)
        if not exists:
            stage.rename(folder)
            _synced(home)
            return
        (folder / last).unlink(missing_ok=True)
        _synced(folder)
        for name in sorted(made.names, key=lambda name: name == last):
            if name == last:
                _synced(folder)
            (stage / name).replace(folder / name)
        _synced(folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _synced(folder: Path) -> None:
    """Returns once the folder's names are on the disk."""
    if os.name == "nt":  # which cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
