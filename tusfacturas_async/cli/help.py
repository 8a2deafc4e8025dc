"""Help as plain text in two columns, in the chosen language; as a page of the manual from the same source."""

from __future__ import annotations

import re
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from .texts import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

_SAID_BY_ABSENCE: Final = frozenset({"()", "[]", "False", "None", ""})
"""Defaults that nobody needs to be told."""

_KIND: Final = re.compile(r"(?<![-\w])(?:STR|INT|FLOAT|PATH|DATE|FILE|NAME|REFERENCES?|SINCE|TEXTS|UNTIL)\b")
"""What an option takes, as Python calls it, and the names of arguments."""

_LABELS: Final = 26
"""Columns for the names of options; a longer one stands on a line of its own."""

_WIDE: Final = 10_000
"""Columns in which no text wraps."""


def plain(what: Any, console: Console, options: ConsoleOptions) -> str:
    """The text of what cyclopts would render, paragraphs in one line each, what is indented as it stands."""
    if what is None:
        return ""
    rendered = "".join(segment.text for segment in console.render(what, options.update(width=_WIDE)))
    lines = [line.rstrip() for line in rendered.strip().split("\n")]
    return "\n".join(_joined(lines))


def _joined(lines: list[str]) -> Iterator[str]:
    paragraph: list[str] = []
    for line in [*lines, ""]:
        if line and not line.startswith(" "):
            paragraph.append(line)
            continue
        if paragraph:
            yield " ".join(paragraph)
            paragraph = []
        yield line


def described(entry: HelpEntry, console: Console, options: ConsoleOptions) -> str:
    """What an entry is for, its default and where else it may come from."""
    parts = [plain(entry.description, console, options)]
    if entry.choices:
        parts.append(say("help choices", names=", ".join(entry.choices)))
    if entry.env_var:
        parts.append(say("help variable", name=", ".join(entry.env_var)))
    if entry.default is not None and entry.default not in _SAID_BY_ABSENCE:
        parts.append(say("help default", value=entry.default))
    if entry.required:
        parts.append(say("help required"))
    return " ".join(filter(None, parts)).replace("\n", " ")


def labels(entry: HelpEntry) -> str:
    """How an entry is written."""
    return kinds_named(", ".join(sorted(entry.display_labels_with_metavar, key=len)))


def kinds_named(written: str) -> str:
    """The same in the chosen language."""
    return _KIND.sub(lambda found: say(f"help {found[0]}"), written)


class HelpText:
    """Renders help for a terminal or a pipe."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print one panel: its title, and its entries."""
        if not panel.entries:
            return
        named = [labels(entry) for entry in panel.entries]
        width = min(max(map(len, named)), _LABELS)
        indent = " " * (width + 4)
        self._print(console, Text(f"{panel.title}:", "bold"))
        for name, entry in zip(named, panel.entries, strict=True):
            told = described(entry, console, options)
            lines = wrap(told, max(console.width - len(indent), _LABELS), break_on_hyphens=False) or [""]
            if len(name) > width:  # on a line of its own
                lines.insert(0, "")
            self._print(console, Text(f"  {name:<{width}}  {lines[0]}".rstrip()))
            for line in lines[1:]:
                self._print(console, Text(indent + line))
        self._print(console, Text(""))

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print how the command is written."""
        if usage:
            self._print(console, Text(f"{usage_line(usage, console, options)}\n"))

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Print what the command does; an example stays on its line, to be copied."""
        for line in plain(description, console, options).split("\n"):
            shown = (
                [line] if line.startswith(" ") else wrap(line, console.width, break_on_hyphens=False) or [""]
            )
            self._print(console, Text("\n".join(shown)))

    @staticmethod
    def _print(console: Console, text: Text) -> None:
        console.print(text, soft_wrap=True)


class ManualPage:
    """Renders help as roff, in which manual pages are written."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Write one panel."""
        if panel.entries:
            self._write(console, f".PP\n\\fB{_roff(str(panel.title))}\\fR")
        for entry in panel.entries:
            told = described(entry, console, options)
            self._write(console, f".TP\n\\fB{_roff(labels(entry))}\\fR\n{_roff(told)}")

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Write how the command is written."""
        if usage:
            self._write(console, f".PP\n{_roff(usage_line(usage, console, options))}")

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Write what the command does."""
        for line in plain(description, console, options).split("\n"):
            self._write(console, f".br\n{_roff(line)}" if line.startswith(" ") else f".PP\n{_roff(line)}")

    @staticmethod
    def _write(console: Console, text: str) -> None:
        console.print(Text(text), soft_wrap=True)


def usage_line(usage: Any, console: Console, options: ConsoleOptions) -> str:
    """``Usage: …`` in the chosen language."""
    line = kinds_named(plain(usage, console, options).removeprefix("Usage:").strip())
    for word, key in (("[OPTIONS]", "help options"), ("[ARGS", "help args"), ("COMMAND", "help command")):
        line = line.replace(word, say(key))
    return say("help usage", line=line)


def _roff(text: str) -> str:
    """A text in which no character is a request to roff."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
