"""A report as a chart: an SVG that is drawn here, from a Vega-Lite specification. Needs the extra ``reports``.

What is withheld is hatched, so that nobody takes it for nought.
"""

import importlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from creditshare.errors import ConfigurationError
from creditshare.reports.words import value_in_words
from creditshare.reports.workbook import MISSING

FONT: Final = "system-ui, 'Segoe UI', Roboto, 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"
QUIET: Final = {"light": "#5b6472", "dark": "#9aa4b2"}
LINE: Final = {"light": "#e3e6ea", "dark": "#2d3541"}
HUE: Final = {"light": "#1f6f78", "dark": "#62b6be"}
RAMP: Final = {
    "light": ["#e4f0f1", "#a9d0d3", "#62a5ac", "#1f6f78", "#0d4147"],
    "dark": ["#1c2f33", "#275a61", "#3b8890", "#62b6be", "#b5e4e8"],
}
SENTINEL: Final = "#b0b1b2"
"""The fill of what is withheld; replaced by a pattern once the chart is drawn."""
PATTERN: Final = (
    '<defs><pattern id="withheld" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="6" height="6" fill="{ground}"/><rect width="1.6" height="6" fill="{line}"/></pattern></defs>'
)
MOST_BANDS: Final = 30
WIDTH: Final = 720
Spec = dict[str, Any]


def make_chart(report: Mapping[str, Any], *, theme: str = "light", language: str = "en") -> str | None:
    """Return the chart of a report as SVG, or nothing for one without rows."""
    spec = chart_of(report, theme=theme, language=language)
    if spec is None:
        return None
    try:
        vega: Any = importlib.import_module("vl_convert")
    except ImportError:
        raise ConfigurationError(MISSING) from None
    svg = str(vega.vegalite_to_svg(json.dumps(spec)))
    ground, line = ("#ffffff", "#a3aab4") if theme == "light" else ("#161b22", "#5b6675")
    start = svg.index(">", svg.index("<svg")) + 1
    hatched = svg.replace(SENTINEL, "url(#withheld)")
    return hatched[:start] + PATTERN.format(ground=ground, line=line) + hatched[start:]


def chart_of(report: Mapping[str, Any], *, theme: str, language: str = "en") -> Spec | None:
    """Return the specification: bars along one dimension, a heat map over two, lines where months have several."""
    rows, dimensions = report["rows"], [c["name"] for c in report["columns"] if c["kind"] == "dimension"]
    if not rows or not dimensions:
        return None
    titles = {column["name"]: column["title"] for column in report["columns"]}
    measure = next(c["name"] for c in report["columns"] if c["kind"] == "measure" and c["name"] != "borrowers")
    if report["report"] == "multi_lender":
        measure = "borrowers"
    axes = [name for name in dimensions if name != "currency"]
    data = [_datum(row, measure, report, dimensions, language) for row in rows]
    if len(axes) == 1:
        spec = _bars(axes[0], data, titles, measure, theme)
    elif axes[0] == "month" and report["report"] in {"multi_lender", "inquiries", "consents"}:
        spec = _lines(axes, data, titles, measure, theme)
    else:
        spec = _heat(axes, data, titles, measure, theme)
    return spec | {"data": {"values": data}, **_frame(theme)}


def _datum(
    row: Mapping[str, Any], measure: str, report: Mapping[str, Any], dimensions: Sequence[str], language: str
) -> dict[str, Any]:
    datum = dict(row) | {name: value_in_words(name, row[name], report, language) for name in dimensions}
    datum["withheld"] = row.get(measure) is None
    return datum


def _frame(theme: str) -> Spec:
    text = {"labelColor": QUIET[theme], "titleColor": QUIET[theme], "labelFont": FONT, "titleFont": FONT}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": None,
        "padding": 8,
        "config": {
            "font": FONT,
            "view": {"stroke": None},
            "axis": {
                **text,
                "domainColor": LINE[theme],
                "tickColor": LINE[theme],
                "gridColor": LINE[theme],
                "labelFontSize": 11,
                "titleFontSize": 11,
                "titleFontWeight": "normal",
                "labelPadding": 6,
            },
            "legend": {**text, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal"},
        },
    }


def _bars(axis: str, data: Sequence[Mapping[str, Any]], titles: Mapping[str, str], measure: str, theme: str) -> Spec:
    """Bars of a measure; a withheld one is a hatched strip over the whole height."""
    x = {"field": axis, "type": "ordinal", "title": None, "axis": _thinned(axis, data)}
    return {
        "width": WIDTH,
        "height": 240,
        "layer": [
            {
                "transform": [{"filter": "datum.withheld"}],
                "mark": {"type": "bar", "color": SENTINEL},
                "encoding": {"x": x, "y": {"value": 0}, "y2": {"value": 240}},
            },
            {
                "transform": [{"filter": "!datum.withheld"}],
                "mark": {"type": "bar", "color": HUE[theme], "cornerRadiusEnd": 2},
                "encoding": {
                    "x": x,
                    "y": {
                        "field": measure,
                        "type": "quantitative",
                        "title": titles[measure],
                        "axis": {"tickCount": 5, "format": ",d", "domain": False, "ticks": False},
                    },
                },
            },
        ],
    }


def _lines(
    axes: Sequence[str], data: Sequence[Mapping[str, Any]], titles: Mapping[str, str], measure: str, theme: str
) -> Spec:
    """A line for each value of the second dimension."""
    return {
        "width": WIDTH - 90,
        "height": 240,
        "mark": {"type": "line", "point": {"size": 28}, "strokeWidth": 2},
        "encoding": {
            "x": {"field": axes[0], "type": "ordinal", "title": None, "axis": _thinned(axes[0], data)},
            "y": {
                "field": measure,
                "type": "quantitative",
                "title": titles[measure],
                "axis": {"tickCount": 5, "format": ",d", "domain": False, "ticks": False},
            },
            "color": {
                "field": axes[1],
                "type": "nominal",
                "title": titles[axes[1]],
                "scale": {"range": [HUE[theme], "#c0742f", "#7a5ba6", "#4f7d3a", "#a33e57", QUIET[theme]]},
            },
        },
    }


def _heat(
    axes: Sequence[str], data: Sequence[Mapping[str, Any]], titles: Mapping[str, str], measure: str, theme: str
) -> Spec:
    """A heat map over the last two dimensions; of many values those with the most, and withheld cells hatched."""
    across, down = (axes[-2], axes[-1]) if len(axes) > 1 else (axes[0], axes[0])
    x: Spec = {"field": across, "type": "ordinal", "title": None, "axis": _thinned(across, data)}
    y: Spec = {
        "field": down,
        "type": "ordinal",
        "title": None,
        "axis": {"ticks": False, "domain": False, "labelLimit": 180},
    }
    values = sorted({str(one[down]) for one in data})
    if len(values) > MOST_BANDS:
        weight = dict.fromkeys(values, 0)
        for one in data:
            weight[str(one[down])] += one[measure] or 0
        values = sorted(sorted(values, key=lambda value: (-weight[value], value))[:MOST_BANDS])
    y["sort"] = values
    most = [{"filter": {"field": down, "oneOf": values}}]
    return {
        "width": WIDTH - 90,
        "height": {"step": 18},
        "layer": [
            {
                "transform": [*most, {"filter": "datum.withheld"}],
                "mark": {"type": "rect", "color": SENTINEL},
                "encoding": {"x": x, "y": y},
            },
            {
                "transform": [*most, {"filter": "!datum.withheld"}],
                "mark": {"type": "rect"},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": {
                        "field": measure,
                        "type": "quantitative",
                        "aggregate": "sum",
                        "title": titles[measure],
                        "scale": {"type": "quantize", "nice": True, "range": RAMP[theme]},
                        "legend": {"orient": "bottom", "type": "symbol", "symbolType": "square", "format": ",d"},
                    },
                },
            },
        ],
    }


def _thinned(axis: str, data: Sequence[Mapping[str, Any]]) -> Spec:
    """Label as many values as there is place for; of months each January."""
    values = sorted({str(one[axis]) for one in data})
    shown = values
    if axis == "month" and len(values) > MOST_BANDS // 2:
        shown = [value for value in values if value.endswith("-01")]
    step = -(-len(shown) // (MOST_BANDS // 2))
    return {"labelAngle": -40, "ticks": False, "values": shown[:: max(1, step)], "labelOverlap": True, "grid": False}
