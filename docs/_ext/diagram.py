"""Diagrams: boxes on a grid and arrows between them, written as text, drawn as SVG by the build.

    ```{diagram} What it shows, as a caption
    :alt: What it says, for who does not see it.

    ask 1,1: The free lookup
    done 2,1 end: Accepted
    ask -> done: issued
    ```

A box is ``NAME ROW,COLUMN [KIND]: TEXT`` (``end`` and ``aside`` are kinds), an arrow is
``NAME -> NAME[: TEXT]``. Colours are the theme's, so that it is light and dark as the page is. All texts are
translated as the page's are.
"""

from __future__ import annotations

import re
import textwrap
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.addnodes import translatable
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

BOX = re.compile(r"(?P<name>\w+) (?P<row>\d+),(?P<column>\d+)(?: (?P<kind>end|aside))?: (?P<text>.+)")
ARROW = re.compile(r"(?P<name>\w+) -> (?P<to>\w+)(?:: (?P<text>.+))?")
GAP, LINE, CHARACTER, PADDING = 40, 18, 7.3, 10
"""Pixels: between boxes, of a line of text, of a letter of 14 pixels on average, in a box."""


class diagram(nodes.General, nodes.Element, translatable):  # noqa: N801 - as docutils names its nodes
    """Its parts, each with its text."""

    def preserve_original_messages(self) -> None:
        self["originals"] = [part["text"] for part in self["parts"] if part["text"]] + [self["alt"]]

    def apply_translated_message(self, original_message: str, translated_message: str) -> None:
        for part in self["parts"]:
            if part["text"] == original_message:
                part["text"] = translated_message
        if self["alt"] == original_message:
            self["alt"] = translated_message

    def extract_original_messages(self) -> Sequence[str]:
        return list(dict.fromkeys(self["originals"]))


class Diagram(SphinxDirective):
    """A figure with a caption, and in it the diagram."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {
        "alt": directives.unchanged_required,
        "width": directives.positive_int,
    }

    def run(self) -> list[nodes.Node]:
        parts = [self.part(line) for line in self.content if line.strip()]
        drawn = diagram("", parts=parts, alt=self.options["alt"], width=self.options.get("width", 150))
        self.set_source_info(drawn)
        text, messages = self.state.inline_text(self.arguments[0], self.lineno)
        caption = nodes.caption(self.arguments[0], "", *text)
        self.set_source_info(caption)
        return [nodes.figure("", drawn, caption, classes=["diagram"]), *messages]

    def part(self, line: str) -> dict[str, str]:
        if found := BOX.fullmatch(line) or ARROW.fullmatch(line):
            return {key: value or "" for key, value in found.groupdict().items()}
        raise self.error(f"neither a box nor an arrow: {line}")


def draw(node: diagram) -> Iterator[str]:
    """The SVG, piece by piece."""
    width: int = node["width"]
    boxes = [part for part in node["parts"] if "row" in part]
    lines = {box["name"]: wrapped(box["text"], width - 2 * PADDING) for box in boxes}
    rows = range(1, max(int(box["row"]) for box in boxes) + 1)
    heights = {
        row: max(len(lines[box["name"]]) for box in boxes if int(box["row"]) == row) * LINE + 2 * PADDING
        for row in rows
    }
    tops = {row: 1 + sum(heights[above] + GAP for above in rows if above < row) for row in rows}
    columns = max(int(box["column"]) for box in boxes)
    size = (columns * (width + GAP) - GAP + 2, tops[rows[-1]] + heights[rows[-1]] + 1)
    yield f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {size[0]} {size[1]}" '
    yield f'width="{size[0]}" height="{size[1]}" aria-label="{escape(node["alt"])}">'
    places = {}
    for box in boxes:
        row, name = int(box["row"]), box["name"]
        x, y, height = 1 + (int(box["column"]) - 1) * (width + GAP), tops[row], heights[row]
        places[name] = (x + width / 2, y + height / 2, height / 2)
        yield f'<rect class="{box["kind"]}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
        first = y + height / 2 - (len(lines[name]) - 1) * LINE / 2 + 5
        yield text(x + width / 2, first, lines[name], "middle")
    for part in node["parts"]:
        if "to" in part:
            yield from arrow(places[part["name"]], places[part["to"]], width / 2, part["text"])
    yield "</svg>"


def arrow(
    begin: tuple[float, float, float], end: tuple[float, float, float], half: float, said: str
) -> Iterator[str]:
    """Straight along a row or a column; else along the row first."""
    (x, y, high), (to_x, to_y, to_high) = begin, end
    right, down = (1 if to_x > x else -1), (1 if to_y > y else -1)
    if y == to_y:
        x, to_x = x + right * half, to_x - right * half
        label, anchor = ((x + to_x) / 2, y - 7), "middle"
        head = f"M{to_x - right * 8} {y - 4}L{to_x} {y}L{to_x - right * 8} {y + 4}"
    else:
        start = (x, y + down * high) if x == to_x else (x + right * half, y)
        (x, y), to_y = start, to_y - down * to_high
        label, anchor = (to_x + 7, to_y - down * 16), "start"
        head = f"M{to_x - 4} {to_y - down * 8}L{to_x} {to_y}L{to_x + 4} {to_y - down * 8}"
    yield f'<path d="M{x} {y}H{to_x}V{to_y}{head}"/>'
    if said:
        yield text(*label, [said], anchor)


def text(x: float, y: float, lines: list[str], anchor: str) -> str:
    each = enumerate(lines)
    spans = "".join(f'<tspan x="{x}" y="{y + n * LINE}">{escape(line)}</tspan>' for n, line in each)
    return f'<text text-anchor="{anchor}">{spans}</text>'


def wrapped(told: str, pixels: float) -> list[str]:
    return textwrap.wrap(told, int(pixels / CHARACTER), break_long_words=False, break_on_hyphens=False)


def visit(self: HTML5Translator, node: diagram) -> None:
    self.body.append(f'<div class="diagram-box" tabindex="0">{"".join(draw(node))}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_node(diagram, html=(visit, None))
    app.add_directive("diagram", Diagram)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
