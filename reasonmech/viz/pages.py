"""Pages: text as HTML, and templates filled in with it, so that nothing in a text is markup or a control."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any, final

from jinja2 import Environment
from markupsafe import Markup

from reasonmech.printable import printable


@final
class Source(Markup):
    """A library's or our own source, which goes into a page as it is."""

    __slots__ = ()


def as_html(text: object) -> str:
    """Any text inside an element, or an attribute in quotes."""
    return html.escape(printable(str(text)))


def fill_in(template: str, values: Mapping[str, object]) -> Markup:
    """A template of jinja with values in it: escaped (`Markup` is not) and printable (`Source` stays)."""
    environment = Environment(autoescape=True, trim_blocks=True, finalize=_finalise)
    return Markup(environment.from_string(template).render(values))


def _finalise(value: Any) -> Any:
    match value:
        case Source():
            return value
        case Markup():
            return Markup(printable(value))
        case str():
            return printable(value)
    return value
