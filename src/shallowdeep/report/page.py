"""The report as one HTML document that needs no network."""

from __future__ import annotations

import base64
import importlib
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from shallowdeep.analysis.analysis import Analysis
from shallowdeep.analysis.galleries import Gallery
from shallowdeep.audits.stored_audits import Audits
from shallowdeep.documents import plain
from shallowdeep.errors import BadImageError, ConfigurationError
from shallowdeep.report import page_wording
from shallowdeep.report.page_sections import sections
from shallowdeep.report.page_sentences import headlines
from shallowdeep.report.page_series import Series, series_data
from shallowdeep.report.page_wording import finite

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["Series", "page"]

_FILES = "page_files"
_SCRIPTS = ("charts.js", "threshold.js", "tables.js")
_FILTERS = ("percent", "decimal", "count", "points", "pairs", "in_words", "lowest_auroc")
_IMAGES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}


def page(
    analysis: Analysis,
    *,
    series: Series | None,
    galleries: Sequence[Gallery] = (),
    audits: Audits | None = None,
) -> str:
    """Return a self-contained HTML document: sentences, charts, tables and pictures of how a network overthinks.

    Args:
        analysis: what ``analyze`` found; blocks and numbers that cannot be said are None, and are left out.
        series: every sample's confidences, for the threshold's slider; None leaves it out.
        galleries: samples to look at; those without any are left out.
        audits: what ``audit`` found, with its pictures.

    Raises:
        ConfigurationError: Jinja2 is not installed; says which extra brings it.
        BadImageError: a picture that is neither PNG nor JPEG.
    """
    environment = _environment()
    analysis, galleries, audits = finite(analysis), finite(galleries), audits or Audits()
    found, shown = analysis.findings, sections(analysis, series, galleries, audits)
    return str(
        environment.get_template("page.html.j2").render(
            analysis=analysis,
            findings=found,
            headlines=headlines(found),
            sections=shown,
            galleries=[gallery for gallery in galleries if gallery.samples],
            audits=audits,
            series=series,
            style=_text("page.css"),
            script="\n".join(_text(name) for name in _SCRIPTS),
            data={
                "exits": plain(found.exits),
                "confusion": plain(found.confusion),
                "triggered": None if audits.backdoor is None else plain(audits.backdoor.confusion),
                "suspected": None if audits.suspects is None else plain(audits.suspects.confusion),
                "series": series_data(series) if series is not None and "threshold" in shown else None,
            },
        )
    )


def unbroken(text: str) -> Markup:
    """Return a text as HTML whose intervals, such as ``(90.4-91.5 %)`` with an en dash, stay on one line."""
    markupsafe: Any = importlib.import_module("markupsafe")
    within = rf"\([^ ()]*{page_wording.NONE}[^ ()]*\)"
    escaped = str(markupsafe.escape(text))
    return cast("Markup", markupsafe.Markup(re.sub(within, r'<span class="unbroken">\g<0></span>', escaped)))


def data_address(image: bytes) -> str:
    """Return a picture as the address an ``img`` element loads without network.

    Raises:
        BadImageError: neither PNG nor JPEG.
    """
    for beginning, kind in _IMAGES.items():
        if image.startswith(beginning):
            return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"
    raise BadImageError(f"Expected the bytes of a PNG or JPEG file, got {image[:8]!r}...")


def _text(name: str) -> str:
    return (files("shallowdeep.report") / _FILES / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    """Return Jinja2's environment with the page's files and filters; names and captions are escaped."""
    try:
        jinja2: Any = importlib.import_module("jinja2")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "Expected jinja2 for the report's page, found it not installed; pip install 'shallowdeep[report]'"
        ) from error
    environment: Environment = jinja2.Environment(
        loader=jinja2.PackageLoader("shallowdeep.report", _FILES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(page_wording, name) for name in _FILTERS}
    environment.filters["address"] = data_address
    environment.filters["unbroken"] = unbroken
    environment.filters["interval"] = lambda *block, **form: unbroken(page_wording.interval(*block, **form))
    return environment
