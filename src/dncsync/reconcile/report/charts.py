"""The report's charts: drawn by pygal on the server, then cleaned so that one SVG serves page and paper.

pygal writes a style sheet, scripts and tooltips into each drawing. All of that is taken out and the look is
put on the shapes as plain attributes: nothing then needs a script or an inline style, so the page keeps its
strict content policy, and typst draws what the browser draws. Tones differ in lightness and the last one is
hatched, so a grey print or a colour-blind eye loses nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from xml.etree import ElementTree as ET

import pygal  # type: ignore[import-untyped]
from pygal.style import Style  # type: ignore[import-untyped]

# For plug-ins, which we have none of, pygal adds a finder of modules in a protocol that Python has dropped:
# every import of a module that is not there would then warn, anywhere in the process.
sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]

INK: Final = "#1c2530"
SOFT: Final = "#5a6675"
RULE: Final = "#d5dbe2"
WARN: Final = "#a8401a"
LADDER: Final = ("#cfe0ee", "#99bfdb", "#6299c4", "#2f6c9f", "#17406b", "#0b2038")
"""Light to dark: more of the same thing, e.g. a longer time."""
HATCHED: Final = "hatched"
"""The tone of what is not known or not confirmed."""
PALE_HATCHED: Final = "pale hatched"
"""The tone of the rest."""
KINDS: Final = ("#17406b", "#c3dcee", "#a8401a", "#e0a03a", "#5f8fb3", PALE_HATCHED)
"""Different things on each other; neighbours differ in lightness, the last is the rest."""
_HATCHES: Final = {HATCHED: WARN, PALE_HATCHED: SOFT}
FONT: Final = "'Libertinus Serif', 'Source Serif 4', Charter, 'Iowan Old Style', Georgia, serif"
WIDTH: Final = 720
_SVG: Final = "http://www.w3.org/2000/svg"
_DROPPED: Final = {"script", "style", "defs", "desc", "title"}
_SIZE: Final = {"legend": "13", "axis": "12"}
_LETTER: Final = 6.4
"""Width of a letter of the legend, on the wide side: fonts differ between page and paper."""
_STYLE: Final = Style(
    background="transparent",
    plot_background="transparent",
    font_family=FONT,
    label_font_size=12,
    major_label_font_size=12,
)


def bars(
    name: str,
    title: str,
    described: str,
    rows: Sequence[str],
    parts: Mapping[str, Sequence[int | float | None]],
    tones: Sequence[str],
    said: Callable[[float], str],
    *,
    most: float | None = None,
) -> str:
    """Lying stacked bars: a bar for each of `rows`, first on top; a part for each entry of `parts`."""
    chart = pygal.HorizontalStackedBar(
        **_common(said),
        height=64 + 30 * max(1, len(rows)),
    )
    chart.x_labels = [_short(row) for row in reversed(rows)]
    if most is not None:
        chart.range = (0, most)
        chart.y_labels = [most * step / 4 for step in range(5)]
    for part, values in parts.items():
        chart.add(part, list(reversed(values)))
    return _painted(chart, name, title, described, tones, tuple(parts))


def columns(
    name: str,
    title: str,
    described: str,
    steps: Sequence[str],
    parts: Mapping[str, Sequence[int | float | None]],
    tones: Sequence[str],
    said: Callable[[float], str],
) -> str:
    """Standing stacked columns over time: one for each of `steps`."""
    chart = pygal.StackedBar(
        **_common(said),
        height=230,
        show_minor_x_labels=False,
        x_labels_major_every=max(1, -(-len(steps) // 13)),
    )
    chart.spacing = 10 if len(steps) < 40 else 2
    chart.x_labels = list(steps)
    tops = [sum(values[i] or 0 for values in parts.values()) for i in range(len(steps))]
    chart.y_labels = _grid(max(tops, default=0))
    for part, values in parts.items():
        chart.add(part, list(values))
    return _painted(chart, name, title, described, tones, tuple(parts))


def _common(said: Callable[[float], str]) -> dict[str, Any]:
    return {
        "style": _STYLE,
        "js": [],
        "width": WIDTH,
        "margin": 6,
        "spacing": 10,
        "explicit_size": False,
        "pretty_print": False,
        "show_legend": False,  # ours stands above and wraps; pygal's second row falls off the drawing
        "truncate_label": -1,
        "value_formatter": said,
        "min_scale": 3,
        "max_scale": 6,
        "no_data_text": "nothing to draw",
        "disable_xml_declaration": True,
    }


def _grid(top: float) -> list[float]:
    """Round steps from zero to at least `top`; whole where the values are counts."""
    if top < 1e-6:  # four milliseconds of one number: nothing that a chart can show
        return [0, 1]
    size = 1.0
    while size * 10 <= top:
        size *= 10
    while size > top:
        size /= 10
    step = next(step for step in (0.2, 0.25, 0.5, 1, 2, 2.5, 5) if step * size * 5 >= top) * size
    if top >= 1:
        step = max(1.0, step)
    if top >= 5 and step != int(step):
        step = float(int(step) + 1)
    lines = [0.0]
    while lines[-1] < top:
        lines.append(lines[-1] + step)
    return lines


def _short(text: str, most: int = 26) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


# --- painting ---------------------------------------------------------------------------------------------


def _painted(
    chart: Any, name: str, title: str, described: str, tones: Sequence[str], parts: Sequence[str]
) -> str:
    drawn = ET.fromstring(chart.render(is_unicode=True))  # noqa: S314 - our own drawing
    ET.register_namespace("", _SVG)
    svg = ET.Element(f"{{{_SVG}}}svg")
    legend, legend_height = _legend(parts, tones, name)
    left, top, width, height = (float(part) for part in drawn.attrib["viewBox"].split())
    for key, value in (
        ("viewBox", f"{left:g} {top:g} {width:g} {height + legend_height:g}"),
        ("role", "img"),
        ("aria-labelledby", f"{name}-title {name}-desc"),
        ("font-family", FONT),
        ("font-size", _SIZE["axis"]),
        ("fill", INK),
    ):
        svg.set(key, value)
    for tag, text in (("title", title), ("desc", described)):
        said = ET.SubElement(svg, f"{{{_SVG}}}{tag}")
        said.set("id", f"{name}-{tag}")
        said.text = text
    for tone, colour in _HATCHES.items():
        if tone in tones:
            svg.append(_hatch(name, tone, colour))
    svg.append(legend)
    body = ET.SubElement(svg, f"{{{_SVG}}}g")
    body.set("transform", f"translate(0 {legend_height:g})")
    for child in drawn:
        _copy(child, body, name, tones, ())
    return ET.tostring(svg, encoding="unicode")


def _legend(parts: Sequence[str], tones: Sequence[str], name: str) -> tuple[ET.Element, float]:
    """Boxes with words, wrapped to the width, and how high they stand; nothing for a single part."""
    legend = ET.Element(f"{{{_SVG}}}g")
    if len(parts) < 2:
        return legend, 0.0
    x, row = 8.0, 0
    for place, part in enumerate(parts):
        words = _short(part, 40)
        wide = 18 + _LETTER * len(words) + 22
        if x > 8 and x + wide > WIDTH:
            x, row = 8.0, row + 1
        box = ET.SubElement(legend, f"{{{_SVG}}}rect")
        look = {"x": f"{x:g}", "y": f"{6 + 20 * row}", "width": "12", "height": "12"}
        for key, value in {**look, **_tone(tones[place % len(tones)], name, SOFT)}.items():
            box.set(key, value)
        text = ET.SubElement(legend, f"{{{_SVG}}}text")
        for key, value in {
            "x": f"{x + 18:g}",
            "y": f"{16.5 + 20 * row}",
            "font-size": _SIZE["legend"],
        }.items():
            text.set(key, value)
        text.text = words
        x += wide
    return legend, 32.0 + 20 * row


def _tone(tone: str, name: str, edge: str) -> dict[str, str]:
    hatch = _HATCHES.get(tone)
    return {
        "fill": f"url(#{_hatch_id(name, tone)})" if hatch else tone,
        "stroke": hatch or edge,
        "stroke-width": "0.75",
    }


def _hatch_id(name: str, tone: str) -> str:
    return f"{name}-{tone.replace(' ', '-')}"


def _hatch(name: str, tone: str, colour: str) -> ET.Element:
    defs = ET.Element(f"{{{_SVG}}}defs")
    pattern = ET.SubElement(defs, f"{{{_SVG}}}pattern")
    for key, value in (
        ("id", _hatch_id(name, tone)),
        ("patternUnits", "userSpaceOnUse"),
        ("width", "6"),
        ("height", "6"),
        ("patternTransform", "rotate(45)"),
    ):
        pattern.set(key, value)
    ground = ET.SubElement(pattern, f"{{{_SVG}}}rect")
    stroke = ET.SubElement(pattern, f"{{{_SVG}}}rect")
    for rect, width, fill in ((ground, "6", "#ffffff"), (stroke, "2.4", colour)):
        rect.set("width", width)
        rect.set("height", "6")
        rect.set("fill", fill)
    return defs


def _copy(node: Any, into: ET.Element, name: str, tones: Sequence[str], around: tuple[str, ...]) -> None:
    """Copies a shape with its look as attributes. `around`: the classes of what it stands in."""
    tag = node.tag.rpartition("}")[2]
    classes = tuple(node.get("class", "").split())
    if tag in _DROPPED or "tooltip-overlay" in classes or "background" in classes:
        return
    if tag == "rect" and 0.0 in (float(node.get("width", 1)), float(node.get("height", 1))):
        return  # its edge would still show, as if there were a little
    within = around + classes
    look = _look(tag, classes, within, name, tones)
    if look is None:
        return
    copy = ET.SubElement(into, f"{{{_SVG}}}{tag}")
    for key, value in node.attrib.items():
        if key not in ("class", "id", "style", "rx", "ry"):
            copy.set(key, _rounded(value) if key in ("x", "y", "width", "height") else value)
    for key, value in look.items():
        copy.set(key, value)
    if tag == "text":
        copy.text = node.text
    for child in node:
        _copy(child, copy, name, tones, within)
    if tag == "g" and len(copy) == 0:
        into.remove(copy)


def _look(
    tag: str, classes: tuple[str, ...], within: tuple[str, ...], name: str, tones: Sequence[str]
) -> dict[str, str] | None:
    """The attributes of one shape; None: it is not drawn."""
    if tag == "text":
        if "y" in within and "axis" in within:
            return {"text-anchor": "end"}
        if "x" in within and "axis" in within:
            return {"text-anchor": "middle", "fill": SOFT}
        return {"text-anchor": "middle", "fill": SOFT}
    if tag == "path" and "axis" in within:
        lying = "horizontal" in within
        if ("y" in within) is lying:
            return None
        first = "axis" in classes
        return {"stroke": SOFT if first else RULE, "stroke-width": "1" if first else "0.75", "fill": "none"}
    if tag == "rect":
        serie = next((c for c in reversed(within) if c.startswith("color-")), None)
        if serie is None:
            return {"fill": "none"}
        return _tone(tones[int(serie.removeprefix("color-")) % len(tones)], name, "#ffffff")
    return {}


def _rounded(value: str) -> str:
    """Two decimals: a hundredth of a point is less than a printer can show."""
    try:
        return f"{float(value):.2f}".rstrip("0").rstrip(".")
    except ValueError:
        return value
