"""Matplotlib's SVG made fit for a page: small, in the page's font and colours, with its own ids."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from xml.etree import ElementTree

from .page import INK, VARIABLES

__all__ = ["page_svg", "printable"]

_NAMES = {light: f"var(--{name},{light})" for name, (light, _) in VARIABLES.items()}
_COLOR = re.compile(r"#[0-9a-f]{6}")
_TEXT = re.compile(r"font: (?:\d+ |bold )?([\d.]+)px [^;]*")
_COMMAND = re.compile(r"([MLCQz])([^MLCQz]*)")
# What every page says of all charts, or what SVG takes for granted.
_DEFAULTS = {"stroke-linejoin: round", "stroke-linejoin: miter", "stroke-width: 0", f"fill: {INK}"}


def page_svg(written: str, key: str, kind: str, box: str, title: str, description: str) -> str:
    """An inline ``<svg>`` of class `kind`.

    Parameters
    ----------
    written
        What Matplotlib wrote with ``svg.fonttype`` none.
    key
        Begins every id, so that many charts share a page.
    box
        The part to show, as ``viewBox`` takes it.
    title, description
        For those who do not see the chart.
    """
    root = ElementTree.fromstring(written[written.index("<svg") :])
    body = "".join(_elements(root, _Ids(key)))
    head = (
        f'<svg class="{kind}" viewBox="{box}" font-size="12" role="img" '
        f'aria-labelledby="{key}-t {key}-d"><title id="{key}-t">{escape(printable(title))}</title>'
        f'<desc id="{key}-d">{escape(printable(description))}</desc>'
    )
    return f"{head}{body}</svg>"


def printable(text: str) -> str:
    """The text without what no page and no XML may hold: control characters, halves of pairs."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


class _Ids(dict[str, str]):
    """Matplotlib's ids → short ones that begin with the key."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __missing__(self, name: str) -> str:
        self[name] = f"{self._key}-{len(self)}"
        return self[name]


def _elements(parent: ElementTree.Element, ids: _Ids) -> Iterator[str]:
    for element in parent:
        tag = element.tag.rpartition("}")[2]
        if tag == "path":
            drawn = _path(element.get("d", ""))
            if drawn:
                name = f' id="{ids[element.attrib["id"]]}"' if "id" in element.attrib else ""
                yield f'<path{name} d="{drawn}"{_style(element)}/>'
        elif tag == "use":
            target = next(value for name, value in element.items() if name.endswith("href"))
            place = "".join(f' {axis}="{_short(element.get(axis, "0"))}"' for axis in "xy")
            yield f'<use href="#{ids[target[1:]]}"{place}{_style(element)}/>'
        elif tag == "text":
            yield _text(element)
        elif tag == "defs":
            inside = "".join(_elements(element, ids))
            yield f"<defs>{inside}</defs>" if inside else ""
        elif tag == "g":
            yield from _elements(element, ids)


def _text(element: ElementTree.Element) -> str:
    style = element.get("style", "")
    anchor = re.search(r"text-anchor: (\w+)", style)
    size = _TEXT.search(style)
    place = "".join(f' {axis}="{_short(element.get(axis, "0"))}"' for axis in "xy")
    if anchor and anchor[1] != "start":
        place += f' text-anchor="{anchor[1]}"'
    if size and size[1] != "12":
        place += f' font-size="{size[1]}"'
    return f"<text{place}>{escape(''.join(element.itertext()).strip())}</text>"


def _style(element: ElementTree.Element) -> str:
    rules = [rule.strip() for rule in element.get("style", "").split(";")]
    text = ";".join(rule.replace(": ", ":") for rule in rules if rule and rule not in _DEFAULTS)
    text = re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", text)
    text = _COLOR.sub(lambda found: _NAMES.get(found[0], found[0]), text)
    return f' style="{text}"' if text else ""


def _path(data: str) -> str:
    """The same path to a tenth of a pixel, in steps from point to point."""
    parts: list[str] = []
    x = y = 0
    for command, rest in _COMMAND.findall(data):
        if command == "z":
            parts.append("z")
            continue
        points = [round(10 * float(number)) for number in rest.split()]
        if command == "M":
            x, y = points
            parts.append(f"M{_tenths(x)}{_after(y)}")
        elif command == "L":
            across, down = points[0] - x, points[1] - y
            x, y = points
            if across and down:
                parts.append(f"l{_tenths(across)}{_after(down)}")
            elif across or down:
                parts.append(f"h{_tenths(across)}" if across else f"v{_tenths(down)}")
        else:
            steps = [point - (x, y)[i % 2] for i, point in enumerate(points)]
            x, y = points[-2:]
            parts.append(command.lower() + "".join([_tenths(steps[0]), *map(_after, steps[1:])]))
    return "".join(parts)


def _tenths(value: int) -> str:
    whole, rest = divmod(abs(value), 10)
    sign = "-" if value < 0 else ""
    return f"{sign}{whole or ''}.{rest}" if rest else f"{sign}{whole}"


def _after(value: int) -> str:
    text = _tenths(value)
    return text if value < 0 else f" {text}"


def _short(number: str) -> str:
    return _tenths(round(10 * float(number)))
