"""The report as one page of HTML that needs nothing beside itself: no script, no font, no link outwards."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup, escape

from dncsync.reconcile.report.layout import SOFT

_TEMPLATES = files("dncsync.reconcile.report") / "templates"


def html(layout: dict[str, Any]) -> bytes:
    """The page. `layout`: of `layout.laid_out`; every text in it is escaped here."""
    style = (_TEMPLATES / "report.css").read_text("utf-8")
    source = (_TEMPLATES / "report.html").read_text("utf-8")
    environment = Environment(
        loader=DictLoader({"report.html": source}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["soft"] = _soft
    digest = b64encode(sha256(style.encode()).digest()).decode()
    # The only style that the page's content policy lets through is ours; nothing else is loaded or run.
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    # `Markup` holds only what this package made: the style sheet and, in the template, the drawings.
    page = environment.get_template("report.html").render(
        **layout,
        style=Markup(style),  # noqa: S704
        content_policy=policy,
    )
    return page.encode()


def _soft(text: str) -> Markup:
    """Text with `<wbr>` at its soft breaks: copied, it comes without them."""
    return Markup("<wbr>").join(escape(part) for part in text.split(SOFT))
