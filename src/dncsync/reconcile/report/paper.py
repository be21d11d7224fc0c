"""The report as a PDF, set by typst: PDF/A-3a for archives, PDF/UA-1 for screen readers, report.json inside.

typst compiles without network, without the system's fonts and without reading a file: the program is a
resource of this package, and everything said reaches it as data, so no text of anybody can become markup.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final, Literal

import typst

from dncsync.reconcile.report.layout import SOFT
from dncsync.reconcile.report.wording import spelled

Paper = Literal["us-letter", "a4"]

_SOURCE: Final = files("dncsync.reconcile.report") / "templates" / "report.typ"
_DRAWN: Final = (
    (0x20, 0x24F), (0x2B0, 0x482), (0x48A, 0x4FF), (0x5D0, 0x5EA), (0x621, 0x63A), (0x641, 0x64A),
    (0x660, 0x669), (0x1E00, 0x1FFF), (0x2000, 0x200D), (0x2010, 0x2027), (0x202F, 0x2040), (0x20A0, 0x20C0),
    (0x2100, 0x211E), (0x2126, 0x2151), (0x2153, 0x2184), (0x2190, 0x22FF), (0x2500, 0x2606),
    (0x2713, 0x2714), (0x2717, 0x2718),
)  # fmt: skip
"""What typst's own fonts can draw (Latin, Greek, Cyrillic, Hebrew, Arabic, signs); a test draws them all."""


def pdf(layout: dict[str, Any], attached: bytes, as_of: int, paper: Paper) -> bytes:
    """The PDF. `layout`: of `layout.laid_out`; `attached`: report.json; `as_of`: microseconds UTC, its date.

    Raises `typst.TypstError` where typst cannot set it.
    """
    return _compiled(layout, attached, as_of, paper, "pdf")[0]


def pictures(layout: dict[str, Any], as_of: int, paper: Paper, dots_per_inch: float = 96) -> list[bytes]:
    """The same pages as PNG, for looking at them."""
    return _compiled(layout, b"{}", as_of, paper, "png", dots_per_inch)


def _compiled(
    layout: dict[str, Any],
    attached: bytes,
    as_of: int,
    paper: Paper,
    form: Literal["pdf", "png"],
    dots_per_inch: float | None = None,
) -> list[bytes]:
    made = typst.compile(
        _SOURCE.read_bytes(),
        format=form,
        ppi=dots_per_inch,
        ignore_system_fonts=True,
        sys_inputs={
            "layout": json.dumps(drawable(layout), ensure_ascii=False),
            "attached": attached.decode(),
            "paper": paper,
        },
        pdf_standards=["a-3a", "ua-1"] if form == "pdf" else [],
        timestamp=as_of // 1_000_000,
    )
    return made if isinstance(made, list) else [made]


def drawable(value: Any) -> Any:
    """The same with every character that no font of typst has spelled as its code point, e.g. U+5C71.

    PDF/A forbids boxes in place of letters, and they would tell nobody what stood there. The page has the
    letters themselves.
    """
    if isinstance(value, str):
        if value.isascii():
            return value
        return "".join(_drawn(letter) for letter in value)
    if isinstance(value, dict):
        return {key: drawable(part) for key, part in value.items()}
    if isinstance(value, list):
        return [drawable(part) for part in value]
    return value


def _drawn(letter: str) -> str:
    code = ord(letter)
    if code < 0x80 or any(first <= code <= last for first, last in _DRAWN):
        return letter
    return f"{SOFT}{spelled(letter)}{SOFT}"
