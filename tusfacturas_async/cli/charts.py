"""Charts as SVG inside a page: drawn by pygal, coloured by the page's own style, their text to be selected.

pygal's styles, scripts and tooltips are left out: a page that is forwarded runs nothing and fetches nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from .visible import as_html

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH, _HEIGHT = 420, 240
_LABELS: Final = 4
"""Labels below a chart: more would run into one another on a telephone."""

_STEPS: Final = 4
"""Lines across a chart, at most."""

_LEFT_OUT: Final = ("desc", "titles", "tooltip-overlay", "text-overlay", "legends")

CHART_STYLE: Final = """
.plot .background, .graph > .background, svg > .background, rect.background { fill: none; }
.axis text, .chart-title { fill: var(--ink); font: 11px system-ui, sans-serif; }
.axis.x text { text-anchor: middle; } .axis.y text { text-anchor: end; }
.axis .line { stroke: var(--line); fill: none; } .guides .guide.line { stroke: var(--line); fill: none; }
.axis.x .guides .guide.line { stroke: none; }
svg { width: 100%; max-width: 34rem; height: auto; display: block; user-select: text; }
figure { margin: 1rem 0; flex: 1 1 20rem; min-width: 0; break-inside: avoid; }
figcaption { font-weight: 600; } .note { font-weight: 400; color: var(--faint); }
.part { white-space: nowrap; }
.dot { display: inline-block; width: .75em; height: .75em; border-radius: 50%; margin-right: .35em; }
"""
"""What the page's style needs for the charts; ``--ink``, ``--line`` and ``--faint`` are the page's."""


def bars(
    title: str, note: str, labels: Sequence[str], series: Mapping[str, tuple[str, Sequence[int]]], axis: str
) -> str:
    """A figure of stacked bars.

    Args:
        title: What it shows.
        note: What there is to say about it.
        labels: What each bar stands for; a few of them are shown.
        series: The name of each part, with its colour (CSS) and its value for each bar.
        axis: What the bars' lengths count.
    """
    import pygal  # noqa: PLC0415 - a tenth of a second, which only a report needs

    chart = pygal.StackedBar(
        width=_WIDTH,
        height=_HEIGHT,
        css=(),
        js=(),
        show_legend=False,
        print_values=False,
        pretty_print=False,
        disable_xml_declaration=True,
        show_minor_x_labels=False,
        truncate_label=-1,
        include_x_axis=True,
        margin=4,
        spacing=6,
        formatter=lambda value: f"{value:g}",
    )
    peak = max(map(sum, zip(*(values for _, values in series.values()), strict=True)))
    chart.y_labels = list(range(0, peak + 1, -(-peak // _STEPS) or 1))  # calls are whole
    every = max(1, -(-len(labels) // _LABELS))
    chart.x_labels = list(labels)
    chart.x_labels_major = list(labels)[::every]
    for name, (_, values) in series.items():
        chart.add(name, list(values))
    colours = "".join(
        f".{_name(title)} .color-{n} {{ fill: {colour}; }}" for n, (colour, _) in enumerate(series.values())
    )
    return (
        f'<figure class="{_name(title)}"><style>{colours}</style><figcaption>{as_html(title)} '
        f'<span class="note">{as_html(note)}</span></figcaption>{_svg(chart, title)}'
        f'<p class="note">{_legend(series)}{as_html(axis)}</p></figure>'
    )


def _legend(series: Mapping[str, tuple[str, Sequence[int]]]) -> str:
    return ", ".join(
        f'<span class="part"><span class="dot" style="background:{colour}"></span>'
        f"{as_html(name)}: {sum(values)}</span>"
        for name, (colour, values) in series.items()
    )


def _svg(chart: Any, title: str) -> str:
    root = chart.render_tree()
    root.attrib = {"viewBox": root.get("viewBox"), "role": "img", "aria-label": title}
    for parent in list(root.iter()):
        for child in list(parent):
            classes = child.get("class", "").split()
            if child.tag is ET.Comment or child.tag in {"desc", "defs"} or set(classes) & set(_LEFT_OUT):
                parent.remove(child)
    drawn: str = ET.tostring(root, encoding="unicode", method="html")
    return drawn


def _name(title: str) -> str:
    """A class of CSS for this figure."""
    return "chart-" + "".join(character for character in title.lower() if character.isalnum())
